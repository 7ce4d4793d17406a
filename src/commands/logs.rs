//! `almaplan logs RUN [STEP] [-f]`: what the steps printed, read back from `runs/<run>`.
//!
//! [`LogReader`] reads what is there and, called again, what was added since: following is calling it until the run ends.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use almaplan_engine::event::StepId;
use indexmap::IndexMap;
use jiff::Timestamp;

use crate::cli::LogsArgs;
use crate::diagnose::{Exit, Reason, Refusal};
use crate::machine;
use crate::session;
use crate::view::step_log::{self, Entry};
use crate::view::words::{Tone, Words, harmless};

use super::{Globals, print};

/// How often a run that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Prints what the steps of a run printed; with `-f` until the run has no process any more.
///
/// # Errors
/// There is no such run or step, its logs cannot be read, or its journal is damaged.
pub fn run(args: &LogsArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = machine::find(globals, &args.run)?;
    let folder = found.store.run_folder(&args.run);
    let failed = |error: LogsError| globals.refusal(Reason::Internal, &[("error", error.to_string().into())]);
    let words = globals.words();
    // A step that printed something need not be looked up.
    if let Some(step) = args.step.as_ref().filter(|step| !step_log::path(&folder, step).exists())
        && session::saga_of(globals, &found)?.find(step).is_none()
    {
        return Err(globals.refusal(Reason::UnknownStep, &[("run", args.run.as_str().into()), ("step", step.as_str().into())]));
    }
    let mut reader = LogReader::new(folder, args.step.clone());
    loop {
        // Looked at before reading: what is printed before the end is still read after it.
        let goes_on = args.follow && machine::is_running(globals, &found.row)?;
        for line in reader.next_lines(&words).map_err(failed)? {
            print(&format!("{line}\n"));
        }
        if !goes_on {
            // What was printed is not in the journal, and is shown whatever became of that; but a damaged one is never passed over.
            return machine::verify(globals, &found).map(|()| Exit::Ok);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Why logs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The folder or a file in it cannot be read.
    #[error("the logs in `{path}` could not be read ({source})")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the logs of a run.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    only: Option<StepId>,
    // Up to where each file was read: always behind a whole line.
    read: IndexMap<PathBuf, u64>,
}

impl LogReader {
    /// The logs in `folder` (`runs/<run>`), of one step or of all.
    pub fn new(folder: PathBuf, only: Option<StepId>) -> Self {
        Self { folder, only, read: IndexMap::new() }
    }

    /// What was printed and not read yet, in the order of time. A line that is being written is left for the next call; logs
    /// that do not exist (yet) are no error.
    ///
    /// # Errors
    /// Something that exists cannot be read.
    pub fn next_lines(&mut self, words: &Words) -> Result<Vec<String>, LogsError> {
        let mut found = Vec::new();
        for path in self.files()? {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let text = whole_lines(&path, from).map_err(|source| LogsError::Read { path: path.clone(), source })?;
            let step = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.extend(text.lines().filter_map(step_log::read).map(|entry| (entry.at.to_owned(), self.line(words, &step, &entry))));
            self.read.insert(path, from + text.len() as u64);
        }
        // Stable, so that lines of one step stay in order.
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found.into_iter().map(|(_, line)| line).collect())
    }

    fn files(&self) -> Result<Vec<PathBuf>, LogsError> {
        if let Some(step) = &self.only {
            let path = step_log::path(&self.folder, step);
            return Ok(if path.exists() { vec![path] } else { Vec::new() });
        }
        let failed = |source| LogsError::Read { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn line(&self, words: &Words, step: &str, entry: &Entry<'_>) -> String {
        let time = entry.at.parse::<Timestamp>().map_or_else(|_| entry.at.to_owned(), |at| words.time(at));
        let step = if self.only.is_some() { String::new() } else { format!(" {}", words.paint(Tone::Strong, step)) };
        let text = harmless(entry.text);
        let text = if entry.stream == "stderr" { words.paint(Tone::Warning, text) } else { text.into_owned() };
        format!("{}{step} {text}", words.paint(Tone::Faint, time))
    }
}

fn whole_lines(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes.truncate(end);
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use almaplan_engine::update::Stream;

    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;
    use crate::view::step_log::StepLogs;

    #[test]
    fn following_gives_each_line_once_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let words = sample::words(Tongue::En);
        let runs = folder.path().join("r1");
        let mut all = LogReader::new(runs.clone(), None);
        assert_eq!(all.next_lines(&words).unwrap(), Vec::<String>::new());

        let (a, b) = (StepId::new("a"), StepId::new("b"));
        let mut logs = StepLogs::new(runs.clone());
        logs.keep(sample::at(2000), &a, Stream::Stdout, "second").unwrap();
        logs.keep(sample::at(1000), &b, Stream::Stderr, "first").unwrap();
        assert_eq!(all.next_lines(&words).unwrap(), ["14:15:03 b first", "14:15:04 a second"]);

        let mut file = fs::OpenOptions::new().append(true).open(runs.join("a.log")).unwrap();
        file.write_all(b"2026-02-06T14:15:09.000Z stdout half").unwrap();
        assert_eq!(all.next_lines(&words).unwrap(), Vec::<String>::new());
        file.write_all(b" done\n").unwrap();
        assert_eq!(all.next_lines(&words).unwrap(), ["14:15:09 a half done"]);
        assert_eq!(LogReader::new(runs, Some(b)).next_lines(&words).unwrap(), ["14:15:03 first"]);
    }
}
