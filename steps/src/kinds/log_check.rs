//! `log-check`: fails on lines that were written since the start and look like trouble.
//!
//! Where those lines are by now, and how they are read, is the room `logs`'.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration as Time, SystemTime};

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::PanicError;
use crate::human::DurationOr;
use crate::input::OrDefault;
use crate::logs::{self, Lines, Lost, Offset, Stretch, line_number};
use crate::process;

/// How many of the lines that should not be there are shown.
const SHOWN: usize = 20;
/// How much of one line is shown, in characters.
const SHOWN_LINE: usize = 400;
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
    /// Where each file ended before the start, by absolute path: `log_offsets` of `start-service`, or lengths in bytes. One that is not
    /// there is read from its beginning.
    #[serde(default)]
    pub from: OrDefault<BTreeMap<String, Option<Offset>>>,
    /// Regular expressions that no line may match.
    #[serde(default, deserialize_with = "checked::expressions")]
    #[schemars(default = "patterns")]
    pub patterns: Option<Vec<String>>,
    /// Regular expressions of lines that are all right although they match; a traceback belongs to the line before it.
    #[serde(default, deserialize_with = "checked::expressions")]
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
#[derive(Debug, Serialize, thiserror::Error)]
enum LogsError {
    #[error("`{pattern}` is no regular expression: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("could not read {file}: {reason}", file = file.display())]
    Read {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
    #[error("process {0} has ended although its logs have no errors")]
    Ended(u32),
    #[error("the logs have {found} of {lines} new lines that should not be there:\n{shown}")]
    Found { found: u64, lines: u64, shown: String },
    #[error("the logs have {found} of {lines} new lines that should not be there:\n{shown}\n(and {more} more)")]
    FoundMore { found: u64, lines: u64, shown: String, more: u64 },
    #[error(transparent)]
    Stopped(Stopped),
}

/// What is told although it goes on.
#[derive(Debug, Serialize, thiserror::Error)]
enum LogsNote {
    #[error("{lost}: look there yourself")]
    Lost { lost: Lost },
}

impl Kind for LogCheck {
    const KIND: &'static str = "log-check";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Time::from_secs(120));
    type Output = LogCheckOutput;

    async fn run(&self, cx: &Context) -> Result<LogCheckOutput, Failure> {
        let scan = Scan::new(self, cx).map_err(Failure::clean)?;
        tokio::select! {
            () = tokio::time::sleep(self.settle.0) => {}
            () = cx.cancelled() => return Err(Failure::dirty(Stopped)),
        }
        let scanned = tokio::task::spawn_blocking(move || scan.read()).await.map_err(|panic| Failure::clean(PanicError { panic }))?;
        let output = scanned.map_err(Failure::clean)?.verdict()?;
        // What it said is all right, but it is gone: nothing after this would notice in time.
        match self.pid.filter(|pid| process::supported().is_ok() && process::meant(cx, *pid).is_none()) {
            Some(pid) => Err(Failure::clean(LogsError::Ended(pid))),
            None => Ok(output),
        }
    }
}

/// One reading of all files.
struct Scan {
    files: Vec<(PathBuf, Offset)>,
    patterns: Vec<Regex>,
    allow: Vec<Regex>,
    /// Files that were begun after this belong to the run.
    since: SystemTime,
    cx: Context,
}

impl Scan {
    fn new(step: &LogCheck, cx: &Context) -> Result<Self, LogsError> {
        let known = |file: &Path| step.from.iter().find(|(key, _)| cx.path(key) == file).and_then(|(_, offset)| offset.clone());
        let offset = |file: &Path| known(file).unwrap_or_default();
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

    fn read(&self) -> Result<Scanned, LogsError> {
        let mut scanned = Scanned::default();
        for (file, offset) in &self.files {
            let since = logs::since(file, offset, self.since).map_err(|reason| LogsError::Read { file: file.clone(), reason })?;
            if let Some(lost) = since.lost {
                self.cx.warn(LogsNote::Lost { lost });
            }
            for stretch in since.stretches {
                self.read_stretch(&stretch, &mut scanned).map_err(|reason| LogsError::Read { file: stretch.file.clone(), reason })?;
                if self.cx.is_cancelled() {
                    return Err(LogsError::Stopped(Stopped));
                }
            }
        }
        Ok(scanned)
    }

    fn read_stretch(&self, stretch: &Stretch, scanned: &mut Scanned) -> std::io::Result<()> {
        let mut lines = Lines::of(stretch)?;
        let (mut at, mut open) = (0, None::<Entry>);
        while let Some(line) = lines.next()? {
            scanned.lines += 1;
            // Every line may begin an entry: a traceback belongs to the line before it, also where that matches nothing.
            if let Some(line) = match &mut open {
                Some(entry) => entry.take(line),
                None => Some(line),
            } {
                self.close(open.replace(Entry::new(at, line)), stretch, scanned)?;
            }
            at += 1;
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
            let number = line_number(&stretch.file, stretch.offset)? + entry.at;
            scanned.shown.push(format!("{}:{number}: {}", stretch.file.display(), entry.headline()));
            scanned.tail.extend(entry.more.iter().map(|line| short(line)));
        }
        Ok(())
    }
}

/// A line, and the traceback that follows it.
struct Entry {
    /// Which line of its stretch it begins at, counted from 0.
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
        let Self { found, lines, shown, tail, .. } = self;
        let (others, shown) = (found - shown.len() as u64, shown.join("\n"));
        let error = match others {
            0 => LogsError::Found { found, lines, shown },
            more => LogsError::FoundMore { found, lines, shown, more },
        };
        Err(Failure::clean(error).with_tail(tail))
    }
}

fn regexes(patterns: &[String]) -> Result<Vec<Regex>, LogsError> {
    let regex =
        |pattern: &String| Regex::new(pattern).map_err(|error| LogsError::Pattern { pattern: pattern.clone(), reason: error.to_string() });
    patterns.iter().map(regex).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{File, read, rename, write};
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

    // `m` of an escape sequence and `E` of a word are both letters: to `\bERROR\b` they were one word.
    #[tokio::test]
    async fn a_coloured_line_is_read_as_it_is_seen() {
        for line in [
            "\x1b[31mERROR\x1b[0m database is gone",
            "\x1b[32m10:00\x1b[0m | \x1b[31m\x1b[1mERROR   \x1b[0m | app - gone",
            "\x1b[38;5;196mCRITICAL\x1b[m gone",
            "\x1b]8;;http://x\x07ERROR\x1b]8;;\x07 gone",
        ] {
            let folder = tempdir().unwrap();
            append(&folder, "app.log", &format!("INFO up\n{line}\n"));
            let failure = check(&folder, json!({ "files": ["app.log"] })).await.unwrap_err();
            assert!(failure.message.contains("1 of 2") && !failure.message.contains('\x1b'), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_log_in_utf16_is_read_with_and_without_its_mark() {
        for (mark, encoding) in [("\u{feff}", encoding_rs::UTF_16LE), ("", encoding_rs::UTF_16LE), ("\u{feff}", encoding_rs::UTF_16BE)] {
            let folder = tempdir().unwrap();
            let utf16 = |text: &str| almaplan_engine::encoding::encode(text, encoding);
            let file = folder.path().join("app.log");
            write(&file, utf16(&format!("{mark}INFO antes\r\nERROR velho\r\n"))).unwrap();
            let offsets = json!({ file.to_str().unwrap(): Offset::end_of(&file) });
            let with = json!({ "files": ["app.log"], "from": offsets });
            assert_eq!(check(&folder, with.clone()).await.unwrap().lines, 0);
            let mut log = File::options().append(true).open(&file).unwrap();
            log.write_all(&utf16("INFO up\r\nERROR não há banco\r\n")).unwrap();
            let failure = check(&folder, with).await.unwrap_err();
            assert!(failure.message.contains("1 of 2") && failure.message.contains("app.log:4: ERROR não há banco"), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_log_that_was_rotated_under_another_loggers_name_is_found() {
        let old = "INFO a line of the version before\n".repeat(20);
        let all = format!("{old}ERROR of the new version\n");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(all.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        for (name, content) in [
            ("app.log-20261130", all.as_bytes()),
            ("app.2026-11-30_05-00-00_123456.log", all.as_bytes()),
            ("app.log.1.gz", packed.as_slice()),
        ] {
            let folder = tempdir().unwrap();
            append(&folder, "app.log", &old);
            let path = folder.path().join("app.log");
            for offset in [json!(Offset::end_of(&path)), json!(old.len())] {
                let renamed = folder.path().join(name);
                write(&renamed, content).unwrap();
                write(&path, "INFO after the rotation\n").unwrap();
                let with = json!({ "files": ["app.log"], "from": { path.to_str().unwrap(): offset } });
                let failure = check(&folder, with).await.unwrap_err();
                assert!(failure.message.contains(&format!("{name}:21: ERROR of the new version")), "{failure}");
            }
        }
    }

    async fn warnings(folder: &TempDir, with: Value) -> (Result<LogCheckOutput, Failure>, Vec<String>) {
        let run = crate::test_context::TestRun::default();
        let step: LogCheck = serde_json::from_value(with).unwrap();
        let ended = step.run(&run.context(folder.path())).await;
        let notes = run.notes.lock().unwrap().iter().map(|(_, note)| note.clone()).collect();
        (ended, notes)
    }

    // An application that opens its log anew had written more than was there before: its first lines were passed over in silence.
    #[tokio::test]
    async fn a_log_that_was_begun_anew_and_is_longer_is_read_whole_and_that_is_said() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("app.log");
        write(&file, "INFO before the start\n").unwrap();
        let offset = Offset::end_of(&file);
        write(&file, format!("ERROR first\n{}", "INFO more\n".repeat(20))).unwrap();
        let with = |offset: Value| json!({ "files": ["app.log"], "settle": "0s", "from": { file.to_str().unwrap(): offset } });
        let (ended, notes) = warnings(&folder, with(json!(offset))).await;
        assert!(ended.unwrap_err().message.contains("app.log:1: ERROR first"));
        assert!(notes[0].contains("begun anew"), "{notes:?}");
        // With a bare length it can only be said that something is wrong.
        let (_, notes) = warnings(&folder, with(json!(25))).await;
        assert!(notes[0].contains("cannot be told"), "{notes:?}");
    }

    #[tokio::test]
    async fn what_is_packed_in_another_way_is_said() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("app.log");
        write(&file, "INFO before the start, and long enough\n").unwrap();
        let offset = Offset::end_of(&file);
        write(folder.path().join("app.log.1.xz"), "?").unwrap();
        write(&file, "INFO after\n").unwrap();
        let with = json!({ "files": ["app.log"], "settle": "0s", "from": { file.to_str().unwrap(): offset } });
        let (_, notes) = warnings(&folder, with).await;
        assert!(notes[0].contains("begun anew") || notes[0].contains("cannot be read here"), "{notes:?}");
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

    #[test]
    fn a_pattern_that_is_none_is_named_before_the_step_begins() {
        for with in [json!({ "files": [], "patterns": ["(["] }), json!({ "files": [], "allow": ["a", "(["] })] {
            let refused = serde_json::from_value::<LogCheck>(with).unwrap_err().to_string();
            assert!(refused.contains("`([`") && refused.contains("unclosed"), "{refused}");
        }
    }
}
