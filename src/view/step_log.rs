//! What each step printed, kept as `runs/<run>/<step>.log`: one line `TIME STREAM TEXT`, so that any text tool reads it.
//!
//! The folder `runs` is made for the owner alone by whoever makes the state folder; nothing here widens that.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use almaplan_engine::append_private;
use almaplan_engine::event::StepId;
use almaplan_engine::trust;
use almaplan_engine::update::Stream;
use jiff::Timestamp;

/// Why a line could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StepLogError {
    /// The file cannot be opened or written.
    #[error("what the steps print is no longer kept: `{file}` could not be written ({source})")]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The logs of one run.
#[derive(Debug)]
pub struct StepLogs {
    folder: PathBuf,
    files: HashMap<StepId, File>,
}

impl StepLogs {
    /// Keeps logs in `folder`, which is made when the first line comes.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, files: HashMap::new() }
    }

    /// Keeps one line.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn keep(&mut self, at: Timestamp, step: &StepId, stream: Stream, line: &str) -> Result<(), StepLogError> {
        let failed = |source| StepLogError::Write { file: path(&self.folder, step), source };
        if !self.files.contains_key(step) {
            self.files.insert(step.clone(), open(&self.folder, step).map_err(failed)?);
        }
        let file = self.files.get_mut(step).expect("it was opened just now");
        file.write_all(entry(at, stream, line).as_bytes()).map_err(failed)
    }
}

/// The log of `step` below the folder of a run.
pub fn path(folder: &Path, step: &StepId) -> PathBuf {
    let mut name = String::new();
    for c in step.as_str().chars() {
        match c {
            '.' if name.is_empty() => name.push_str("%2E"),
            c if c.is_alphanumeric() || "-_.".contains(c) => name.push(c),
            c => name.extend(c.to_string().bytes().map(|byte| format!("%{byte:02X}"))),
        }
    }
    folder.join(name + ".log")
}

fn open(folder: &Path, step: &StepId) -> io::Result<File> {
    // What a step prints is as private as the journal.
    append_private(&path(folder, step))
}

/// One line as it is kept. A stray carriage return or line end must not look like another entry.
fn entry(at: Timestamp, stream: Stream, line: &str) -> String {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let text = line.trim_end_matches(['\r', '\n']).replace(['\r', '\n'], " ");
    format!("{at:.3} {stream} {text}\n")
}

/// An entry, read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was printed, RFC 3339 UTC.
    pub at: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// What.
    pub text: &'a str,
}

/// Reads one line of a log; `None` where it is not one of ours (cut off by a crash).
pub fn read(line: &str) -> Option<Entry<'_>> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let (at, rest) = line.split_once(' ')?;
    let (stream, text) = rest.split_once(' ')?;
    at.parse::<Timestamp>().ok()?;
    Some(Entry { at, stream, text })
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Whole lines.
    pub text: String,
    /// Bytes of the log before them.
    pub left_out: u64,
}

/// The last lines of the log in `path`, at most `bytes` of it; `None` where there is no log. A line that is being written is not there yet.
///
/// # Errors
/// It exists and cannot be read.
pub fn tail(path: &Path, bytes: u64) -> io::Result<Option<Tail>> {
    let mut file = match trust::open(path).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let from = file.metadata()?.len().saturating_sub(bytes);
    // One byte more: whether a line begins there is told by what is before it.
    file.seek(SeekFrom::Start(from.saturating_sub(1)))?;
    let mut read = Vec::new();
    file.take(bytes + 1).read_to_end(&mut read)?;
    let line_end = |byte: &u8| *byte == b'\n';
    let end = read.iter().rposition(line_end).map_or(0, |end| end + 1);
    let begin = if from == 0 { 0 } else { read.iter().position(line_end).map_or(end, |end| end + 1) };
    let text = String::from_utf8_lossy(&read[begin..end]).into_owned();
    Ok(Some(Tail { text, left_out: if from == 0 { 0 } else { from - 1 + begin as u64 } }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_770_386_102_000 + ms).unwrap()
    }

    #[test]
    fn lines_of_a_step_are_appended_to_what_an_earlier_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs").join("r1");
        let step = StepId::new("tests");
        StepLogs::new(runs.clone()).keep(at(0), &step, Stream::Stdout, "um\r").unwrap();
        let mut logs = StepLogs::new(runs.clone());
        logs.keep(at(5), &step, Stream::Stderr, "dois\ntrês").unwrap();
        logs.keep(at(6), &StepId::new("other"), Stream::Stdout, "").unwrap();
        let text = fs::read_to_string(runs.join("tests.log")).unwrap();
        assert_eq!(text, "2026-02-06T13:55:02.000Z stdout um\n2026-02-06T13:55:02.005Z stderr dois três\n");
        let entries: Vec<_> = text.lines().map(|line| read(line).unwrap()).collect();
        assert_eq!(entries[1], Entry { at: "2026-02-06T13:55:02.005Z", stream: "stderr", text: "dois três" });
        assert_eq!(read("2026-02-06T13:5"), None);
    }

    #[test]
    fn the_end_of_a_log_is_whole_lines_and_says_how_much_is_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.log");
        let told = |text: &str, left_out| Some(Tail { text: text.to_owned(), left_out });
        assert_eq!(tail(&file, 8).unwrap(), None);
        fs::write(&file, "one\ntwo\nthree\nhal").unwrap();
        assert_eq!(tail(&file, 100).unwrap(), told("one\ntwo\nthree\n", 0));
        assert_eq!(tail(&file, 13).unwrap(), told("two\nthree\n", 4));
        assert_eq!(tail(&file, 12).unwrap(), told("three\n", 8));
        assert_eq!(tail(&file, 3).unwrap(), told("", 14));
    }

    #[test]
    fn no_name_of_a_step_leads_out_of_the_folder() {
        let name = |step: &str| path(Path::new("r"), &StepId::new(step));
        assert_eq!(name("../x"), Path::new("r").join("%2E.%2Fx.log"));
        assert_eq!(name("cópia 1"), Path::new("r").join("cópia%201.log"));
    }

    #[test]
    fn a_log_that_cannot_be_written_says_which() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StepLogs::new(file.path().join("below-a-file")).keep(at(0), &StepId::new("s"), Stream::Stdout, "x").unwrap_err();
        assert!(error.to_string().contains("s.log"), "{error}");
    }
}
