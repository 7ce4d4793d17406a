//! `log-check`: fails on lines that were written since the start and look like trouble.
//!
//! What was written since an offset may be spread over files by now:
//!
//! ```text
//!  start:  app.log      ······|offset
//!  later:  app.log.2    ······|xxxxxx   the rest of the file that the offset belongs to
//!          app.log.1    xxxxxxxxxxxxx   whole
//!          app.log      xxxxx           whole
//! ```
//!
//! An offset belongs to the newest file in which it is where a line begins; the file that was given is tried first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration as Time, SystemTime};

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::human::DurationOr;
use crate::input::OrDefault;
use crate::process;

/// How many of the lines that should not be there are shown.
const SHOWN: usize = 20;
/// How much of one line is shown, in characters.
const SHOWN_LINE: usize = 400;
/// How much of a line is looked at as one, in bytes.
const LONGEST: u64 = 64 << 10;
/// How many lines of a traceback are kept.
const LONGEST_TRACEBACK: usize = 200;
/// What begins a Python traceback.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// Fails when lines that look like errors were written to log files since the service was started; follows rotation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogCheck {
    /// The log files. One that does not exist is empty.
    pub files: Vec<PathBuf>,
    /// How long each file was before the start, in bytes, by absolute path: `log_offsets` of `start-service`. One that is not there is read from its beginning.
    #[serde(default)]
    pub from: OrDefault<BTreeMap<String, Option<u64>>>,
    /// Regular expressions that no line may match.
    #[serde(default)]
    #[schemars(default = "patterns")]
    pub patterns: Option<Vec<String>>,
    /// Regular expressions of lines that are all right although they match; a traceback belongs to the line before it.
    #[serde(default)]
    pub allow: OrDefault<Vec<String>>,
    /// The process that writes them, which must still run when they have been read.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How long to wait before reading, for lines that are still on their way to the file.
    #[serde(default)]
    pub settle: DurationOr<1_000>,
}

/// What was read.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogCheckOutput {
    /// How many lines were written since the start.
    pub lines: u64,
    /// How many of them matched but are allowed.
    pub allowed: u64,
}

fn patterns() -> Vec<String> {
    ["Traceback", r"\bERROR\b", r"\bCRITICAL\b"].map(str::to_owned).to_vec()
}

/// Why the logs are not all right, or cannot be read.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("`{pattern}` is no regular expression: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("could not read {file}: {reason}", file = file.display())]
    Read { file: PathBuf, reason: std::io::Error },
    #[error("process {0} has ended although its logs have no errors")]
    Ended(u32),
    #[error("stopped as asked")]
    Stopped,
}

impl Step for LogCheck {
    const KIND: &'static str = "log-check";
    const TRAITS: Traits =
        Traits { effect: Effect::Observes, on_interrupt: OnInterrupt::Rerun, timeout: Some(Time::from_secs(120)), adopts: false };
    type Output = LogCheckOutput;

    async fn run(&self, cx: &Context) -> Result<LogCheckOutput, Failure> {
        let scan = Scan::new(self, cx).map_err(Failure::clean)?;
        tokio::select! {
            () = tokio::time::sleep(self.settle.0) => {}
            () = cx.cancelled() => return Err(Failure::dirty(LogError::Stopped)),
        }
        let scanned = tokio::task::spawn_blocking(move || scan.read()).await.map_err(Failure::clean)?;
        let output = scanned.map_err(Failure::clean)?.verdict()?;
        // What it said is all right, but it is gone: nothing after this would notice in time.
        match self.pid.filter(|pid| process::supported().is_ok() && process::meant(cx, *pid).is_none()) {
            Some(pid) => Err(Failure::clean(LogError::Ended(pid))),
            None => Ok(output),
        }
    }
}

/// A stretch of a log: everything in `file` from `offset` on.
#[derive(Debug, PartialEq)]
struct Stretch {
    file: PathBuf,
    offset: u64,
}

/// One reading of all files.
struct Scan {
    files: Vec<(PathBuf, u64)>,
    patterns: Vec<Regex>,
    allow: Vec<Regex>,
    /// Files that were begun after this belong to the run.
    since: SystemTime,
    cx: Context,
}

impl Scan {
    fn new(step: &LogCheck, cx: &Context) -> Result<Self, LogError> {
        let offset = |file: &Path| step.from.iter().find(|(key, _)| cx.path(key) == file).and_then(|(_, offset)| *offset).unwrap_or(0);
        let files = step.files.iter().map(|file| cx.path(file)).map(|file| (file.clone(), offset(&file))).collect();
        let since = SystemTime::try_from(cx.run().started_at).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Self {
            files,
            patterns: regexes(&step.patterns.clone().unwrap_or_else(patterns))?,
            allow: regexes(&step.allow)?,
            since,
            cx: cx.clone(),
        })
    }

    fn read(&self) -> Result<Scanned, LogError> {
        let mut scanned = Scanned::default();
        for (file, offset) in &self.files {
            let stretches = stretches(file, *offset, self.since).map_err(|reason| LogError::Read { file: file.clone(), reason })?;
            for stretch in stretches {
                self.read_stretch(&stretch, &mut scanned).map_err(|reason| LogError::Read { file: stretch.file.clone(), reason })?;
                if self.cx.is_cancelled() {
                    return Err(LogError::Stopped);
                }
            }
        }
        Ok(scanned)
    }

    fn read_stretch(&self, stretch: &Stretch, scanned: &mut Scanned) -> std::io::Result<()> {
        let mut file = File::open(&stretch.file)?;
        file.seek(SeekFrom::Start(stretch.offset))?;
        let mut reader = BufReader::new(file);
        let (mut raw, mut at, mut open) = (Vec::new(), stretch.offset, None::<Entry>);
        // What has no line ends is read in pieces: it must not fill the memory.
        while reader.by_ref().take(LONGEST).read_until(b'\n', &mut raw)? > 0 {
            let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
            scanned.lines += 1;
            // Every line may begin an entry: a traceback belongs to the line before it, also where that matches nothing.
            if let Some(line) = match &mut open {
                Some(entry) => entry.take(line),
                None => Some(line),
            } {
                self.close(open.replace(Entry::new(at, line)), stretch, scanned)?;
            }
            at += raw.len() as u64;
            raw.clear();
            if scanned.lines.is_multiple_of(4096) && self.cx.is_cancelled() {
                break;
            }
        }
        self.close(open, stretch, scanned)
    }

    fn close(&self, entry: Option<Entry>, stretch: &Stretch, scanned: &mut Scanned) -> std::io::Result<()> {
        let Some(entry) = entry else { return Ok(()) };
        let matches = |regexes: &[Regex]| entry.lines().any(|line| regexes.iter().any(|regex| regex.is_match(line)));
        if !matches(&self.patterns) {
            return Ok(());
        }
        if matches(&self.allow) {
            scanned.allowed += 1;
            return Ok(());
        }
        scanned.found += 1;
        if scanned.shown.len() < SHOWN {
            let number = line_number(&stretch.file, entry.at)?;
            scanned.shown.push(format!("{}:{number}: {}", stretch.file.display(), entry.headline()));
            scanned.tail.extend(entry.more.iter().map(|line| short(line)));
        }
        Ok(())
    }
}

/// A line, and the traceback that follows it.
struct Entry {
    /// Where it begins in the file.
    at: u64,
    first: String,
    more: Vec<String>,
    within: Within,
}

/// Where in an entry the last line was.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Line,
    Traceback,
    /// After the line that names the exception: another traceback may follow ("During handling of …").
    Exception,
}

impl Entry {
    fn new(at: u64, first: String) -> Self {
        let within = if first.contains(TRACEBACK) { Within::Traceback } else { Within::Line };
        Self { at, first, more: Vec::new(), within }
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.first.as_str()).chain(self.more.iter().map(String::as_str))
    }

    /// Its first line, and the exception where a traceback follows: "ERROR in app … `ZeroDivisionError`: division by zero".
    fn headline(&self) -> String {
        match self.more.iter().rfind(|line| !line.is_empty()) {
            Some(exception) => format!("{} … {}", short(&self.first), short(exception)),
            None => short(&self.first),
        }
    }

    /// Takes `line`, the next one, if it still belongs to it; else gives it back.
    fn take(&mut self, line: String) -> Option<String> {
        let indented = line.starts_with([' ', '\t']) || line.is_empty();
        let (belongs, within) = match self.within {
            Within::Line | Within::Exception if line.starts_with(TRACEBACK) => (true, Within::Traceback),
            Within::Line => (false, Within::Line),
            Within::Traceback if indented => (true, Within::Traceback),
            Within::Traceback => (true, Within::Exception),
            Within::Exception => {
                let joint = line.is_empty() || line.starts_with("During handling of") || line.starts_with("The above exception");
                (joint, Within::Exception)
            }
        };
        self.within = within;
        if !belongs {
            return Some(line);
        }
        // Which exception it was comes last.
        if self.more.len() == LONGEST_TRACEBACK {
            self.more.pop();
        }
        self.more.push(line);
        None
    }
}

/// The beginning of a line.
fn short(line: &str) -> String {
    match line.char_indices().nth(SHOWN_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What a reading found.
#[derive(Default)]
struct Scanned {
    lines: u64,
    allowed: u64,
    found: u64,
    shown: Vec<String>,
    tail: Vec<String>,
}

impl Scanned {
    fn verdict(self) -> Result<LogCheckOutput, Failure> {
        if self.found == 0 {
            return Ok(LogCheckOutput { lines: self.lines, allowed: self.allowed });
        }
        let more = if self.found > self.shown.len() as u64 {
            format!("\n(and {} more)", self.found - self.shown.len() as u64)
        } else {
            String::new()
        };
        let message =
            format!("the logs have {} of {} new lines that should not be there:\n{}{more}", self.found, self.lines, self.shown.join("\n"));
        Err(Failure::clean(message).with_tail(self.tail))
    }
}

fn regexes(patterns: &[String]) -> Result<Vec<Regex>, LogError> {
    let regex =
        |pattern: &String| Regex::new(pattern).map_err(|error| LogError::Pattern { pattern: pattern.clone(), reason: error.to_string() });
    patterns.iter().map(regex).collect()
}

/// Where the lines are that were written to `file` since it was `offset` bytes long, oldest first.
fn stretches(file: &Path, offset: u64, since: SystemTime) -> std::io::Result<Vec<Stretch>> {
    let rotated = rotated(file)?;
    let known = std::fs::metadata(file).ok().map(|metadata| metadata.len());
    let mut newest_first = Vec::new();
    if known.is_some_and(|length| length >= offset)
        && (offset == 0 || begins_line(file, offset) || !rotated.iter().any(|old| begins_line(old, offset)))
    {
        newest_first.push(Stretch { file: file.to_owned(), offset });
        if offset == 0 {
            // It was empty or missing: what was begun since then and rotated away is new as a whole.
            let begun_since =
                |old: &PathBuf| std::fs::metadata(old).and_then(|metadata| metadata.created()).is_ok_and(|created| created >= since);
            newest_first.extend(rotated.into_iter().take_while(begun_since).map(|file| Stretch { file, offset: 0 }));
        }
    } else {
        newest_first.extend(known.map(|_| Stretch { file: file.to_owned(), offset: 0 }));
        let fits = |old: &PathBuf| std::fs::metadata(old).is_ok_and(|metadata| metadata.len() >= offset);
        let home = rotated.iter().position(|old| begins_line(old, offset)).or_else(|| rotated.iter().position(fits));
        if let Some(home) = home.filter(|_| offset > 0) {
            newest_first.extend(rotated.into_iter().take(home + 1).map(|file| Stretch { file, offset: 0 }));
            newest_first.last_mut().expect("the file that the offset belongs to was just added").offset = offset;
        }
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// The files that `file` was renamed or copied to (`app.log.1`, `app.log.2026-02-06`), newest first.
fn rotated(file: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(Vec::new()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(suffix) = name.strip_prefix(&prefix) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        // Only numbers and dates: `app.log.gz` and `app.log.lock` are something else.
        if metadata.is_file() && suffix.starts_with(|c: char| c.is_ascii_digit()) && !suffix.ends_with("gz") && !suffix.ends_with("zip") {
            found.push((metadata.modified()?, std::cmp::Reverse(suffix.parse::<u64>().unwrap_or(0)), entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, _, path)| path).collect())
}

/// Whether a line of `file` begins at `offset`.
fn begins_line(file: &Path, offset: u64) -> bool {
    let before = || -> std::io::Result<u8> {
        let mut file = File::open(file)?;
        file.seek(SeekFrom::Start(offset.saturating_sub(1)))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    before().is_ok_and(|byte| byte == b'\n')
}

/// The number of the line at `offset`, counted from 1.
fn line_number(file: &Path, offset: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(File::open(file)?.take(offset));
    let mut number = 1;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(number);
        }
        number += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{read, rename, write};
    use std::io::Write;
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tempfile::{TempDir, tempdir};

    use super::*;

    async fn check(folder: &TempDir, with: Value) -> Result<LogCheckOutput, Failure> {
        let mut with = with;
        with["settle"] = json!("0s");
        let step: LogCheck = serde_json::from_value(with).unwrap();
        step.run(&Context::standalone(folder.path(), Arc::new(|_| {}))).await
    }

    fn from(folder: &TempDir, file: &str) -> Value {
        let file = folder.path().join(file);
        let length = std::fs::metadata(&file).unwrap().len();
        json!({ file.to_str().unwrap(): length })
    }

    fn append(folder: &TempDir, file: &str, text: &str) {
        File::options().append(true).create(true).open(folder.path().join(file)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn only_lines_since_the_start_count_and_a_traceback_is_told_whole() {
        let folder = tempdir().unwrap();
        append(&folder, "app.log", "INFO up\nERROR before the start\n");
        let offsets = from(&folder, "app.log");
        append(&folder, "app.log", "INFO fine, no ERRORS\n");
        let with = json!({ "files": ["app.log", "missing.log"], "from": offsets });
        assert_eq!(check(&folder, with.clone()).await.unwrap().lines, 1);

        let traceback = "ERROR in app: request failed\nTraceback (most recent call last):\n  File \"app.py\", line 3\n    1/0\nZeroDivisionError: division by zero\n";
        append(&folder, "app.log", &format!("{traceback}INFO going on\n"));
        let failure = check(&folder, with.clone()).await.unwrap_err();
        let line =
            format!("{}:4: ERROR in app: request failed … ZeroDivisionError: division by zero", folder.path().join("app.log").display());
        assert_eq!(failure.message, format!("the logs have 1 of 7 new lines that should not be there:\n{line}"));
        assert_eq!(failure.tail.last().map(String::as_str), Some("ZeroDivisionError: division by zero"));
        assert!(failure.clean);

        let mut allowing = with;
        allowing["allow"] = json!(["request failed$"]);
        assert_eq!(check(&folder, allowing.clone()).await.unwrap().allowed, 1);
        append(&folder, "app.log", "CRITICAL what nobody allowed\n");
        let failure = check(&folder, allowing).await.unwrap_err();
        assert!(failure.message.contains("1 of 8 new lines") && failure.message.contains("what nobody allowed"), "{failure}");
    }

    #[tokio::test]
    async fn lines_that_were_rotated_away_since_the_start_are_read() {
        let folder = tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        append(&folder, "app.log", "INFO a rather long line from before the start\nERROR before the start\n");
        let offsets = from(&folder, "app.log");
        append(&folder, "app.log", "CRITICAL first\n");
        rename(path("app.log"), path("app.log.1")).unwrap();
        append(&folder, "app.log", "ERROR second\n");
        let with = json!({ "files": ["app.log"], "from": offsets });
        let failure = check(&folder, with.clone()).await.unwrap_err();
        assert!(failure.message.contains("2 of 2 new lines"), "{failure}");
        assert!(
            failure.message.contains("app.log.1:3: CRITICAL first") && failure.message.contains("app.log:1: ERROR second"),
            "{failure}"
        );

        // The new file has grown past the offset, and there was a second rotation.
        append(&folder, "app.log", &format!("INFO {}\n", "x".repeat(200)));
        rename(path("app.log.1"), path("app.log.2")).unwrap();
        rename(path("app.log"), path("app.log.1")).unwrap();
        append(&folder, "app.log", &format!("ERROR third {}\n", "x".repeat(200)));
        let failure = check(&folder, with).await.unwrap_err();
        assert!(failure.message.contains("3 of 4 new lines") && failure.message.contains("app.log.2:3: CRITICAL first"), "{failure}");
    }

    #[tokio::test]
    async fn a_log_that_was_cut_is_read_from_its_beginning() {
        let folder = tempdir().unwrap();
        append(&folder, "app.log", "ERROR before the start, and long enough\n");
        let with = json!({ "files": ["app.log"], "from": from(&folder, "app.log") });
        write(folder.path().join("app.log"), "CRITICAL new\n").unwrap();
        assert!(check(&folder, with).await.unwrap_err().message.contains("app.log:1: CRITICAL new"));
        assert_eq!(read(folder.path().join("app.log")).unwrap(), b"CRITICAL new\n");
    }

    #[tokio::test]
    async fn old_rotated_files_are_left_alone() {
        let folder = tempdir().unwrap();
        append(&folder, "app.log.1", "ERROR long ago\nERROR and again\n");
        append(&folder, "app.log", "INFO up\n");
        let offsets = from(&folder, "app.log");
        append(&folder, "app.log", "INFO going on\n");
        assert_eq!(check(&folder, json!({ "files": ["app.log"], "from": offsets })).await.unwrap().lines, 1);
    }

    // A service that answered the last check and died a moment later left no error behind, and nothing undid its release.
    #[tokio::test]
    async fn a_writer_that_has_ended_is_no_success_although_its_logs_are_clean() {
        let folder = tempdir().unwrap();
        append(&folder, "app.log", "INFO started\n");
        let mut writer = crate::test_context::sleeper().spawn().unwrap();
        let with = json!({ "files": ["app.log"], "pid": writer.id() });
        assert_eq!(check(&folder, with.clone()).await.unwrap().lines, 1);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let failure = check(&folder, with).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("has ended"), "{failure}");
    }

    #[tokio::test]
    async fn a_pattern_that_is_none_is_named() {
        let folder = tempdir().unwrap();
        assert!(check(&folder, json!({ "files": [], "patterns": ["(["] })).await.unwrap_err().message.contains("`([`"));
    }
}
