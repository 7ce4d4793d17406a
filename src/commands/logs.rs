//! `almaplan logs [RUN] [STEP] [-f]`: what the steps printed, read back from `runs/<run>`.
//!
//! [`LogReader`] reads what is there and, called again, what was added since: following is calling it until the run ends.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use almaplan_engine::event::StepId;
use almaplan_engine::runs::{RunError, Runs};
use almaplan_engine::trust;
use indexmap::IndexMap;
use jiff::Timestamp;

use crate::cli::LogsArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::terminal::{Terminal, print};
use crate::view::format::{Formatter, Style, sanitize};
use crate::view::step_log::{self, Entry};

/// How often a run that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Prints what the steps of a run printed; with `-f` until the run has no process any more.
///
/// # Errors
/// There is no such run or step, its logs cannot be read, or its journal is damaged.
pub fn run(args: &LogsArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = runs.find_or_newest(args.run.as_ref())?;
    let folder = found.store.run_folder(&found.row.run);
    let fmt = terminal.formatter();
    // A step that printed something need not be looked up.
    if let Some(step) = args.step.as_ref().filter(|step| !step_log::path(&folder, step).exists())
        && found.replay(&runs.registry)?.saga.find(step).is_none()
    {
        return Err(RunError::UnknownStep { run: found.row.run, step: step.clone() }.into());
    }
    let mut reader = LogReader::new(folder, args.step.clone());
    loop {
        // Looked at before reading: what is printed before the end is still read after it.
        let goes_on = args.follow && runs.process_of(&found.row)?.is_some();
        for line in reader.next_lines(&fmt)? {
            print(&format!("{line}\n"));
        }
        if !goes_on {
            // What was printed is not in the journal, and is shown whatever became of that; but a damaged one is never passed over.
            found.records()?;
            return Ok(Exit::Ok);
        }
        std::thread::sleep(LOOK_EVERY);
    }
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
    pub fn next_lines(&mut self, fmt: &Formatter) -> Result<Vec<String>, Refusal> {
        let mut found = Vec::new();
        for path in self.files()? {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let text = whole_lines(&path, from).map_err(|source| Refusal::LogsUnreadable { path: path.clone(), source })?;
            let step = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.extend(text.lines().filter_map(step_log::read).map(|entry| (entry.at.to_owned(), self.line(fmt, &step, &entry))));
            self.read.insert(path, from + text.len() as u64);
        }
        // Stable, so that lines of one step stay in order.
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found.into_iter().map(|(_, line)| line).collect())
    }

    fn files(&self) -> Result<Vec<PathBuf>, Refusal> {
        if let Some(step) = &self.only {
            let path = step_log::path(&self.folder, step);
            return Ok(if path.exists() { vec![path] } else { Vec::new() });
        }
        let failed = |source| Refusal::LogsUnreadable { path: self.folder.clone(), source };
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

    fn line(&self, fmt: &Formatter, step: &str, entry: &Entry<'_>) -> String {
        let time = entry.at.parse::<Timestamp>().map_or_else(|_| entry.at.to_owned(), |at| fmt.time(at));
        let step = if self.only.is_some() { String::new() } else { format!(" {}", fmt.paint(Style::Strong, step)) };
        let text = sanitize(entry.text);
        let text = if entry.stream == "stderr" { fmt.paint(Style::Warning, text) } else { text.into_owned() };
        format!("{}{step} {text}", fmt.paint(Style::Faint, time))
    }
}

fn whole_lines(path: &Path, from: u64) -> io::Result<String> {
    let mut file = trust::open(path)?;
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
    use crate::lang::Language;
    use crate::view::sample;
    use crate::view::step_log::StepLogs;

    #[test]
    fn following_gives_each_line_once_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let fmt = sample::fmt(Language::En);
        let runs = folder.path().join("r1");
        let mut all = LogReader::new(runs.clone(), None);
        assert_eq!(all.next_lines(&fmt).unwrap(), Vec::<String>::new());

        let (a, b) = (StepId::new("a"), StepId::new("b"));
        let mut logs = StepLogs::new(runs.clone());
        logs.keep(sample::at(2000), &a, Stream::Stdout, "second").unwrap();
        logs.keep(sample::at(1000), &b, Stream::Stderr, "first").unwrap();
        assert_eq!(all.next_lines(&fmt).unwrap(), ["14:15:03 b first", "14:15:04 a second"]);

        let mut file = fs::OpenOptions::new().append(true).open(runs.join("a.log")).unwrap();
        file.write_all(b"2026-02-06T14:15:09.000Z stdout half").unwrap();
        assert_eq!(all.next_lines(&fmt).unwrap(), Vec::<String>::new());
        file.write_all(b" done\n").unwrap();
        assert_eq!(all.next_lines(&fmt).unwrap(), ["14:15:09 a half done"]);
        assert_eq!(LogReader::new(runs, Some(b)).next_lines(&fmt).unwrap(), ["14:15:03 first"]);
    }
}
