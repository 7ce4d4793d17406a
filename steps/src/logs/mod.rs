//! Log files that others write: where one ended at some moment, and where what was written since is by now.
//!
//! ```text
//!  start:  app.log      ······|offset
//!  later:  app.log.2.gz ······|xxxxxx   the rest of the file that the offset belongs to
//!          app.log.1    xxxxxxxxxxxxx   whole
//!          app.log      xxxxx           whole
//! ```
//!
//! What its lines mean is left to the kinds.

mod lines;
mod rotated;

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub(crate) use lines::{Lines, line_number};
use rotated::{Rotated, rotated};

use crate::process::{self, LastLines};

/// How many bytes before an offset tell whether a file is still the one that it was taken of.
const MARKED: u64 = 64;
/// How much of the end of a log is read for its last lines, in bytes.
const END: u64 = 64 << 10;
/// How many rotated files an offset is looked for in: more than are made during a deploy.
const SEARCHED: usize = 16;

/// Where a log ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Offset {
    /// Its length, in bytes.
    pub bytes: u64,
    /// The hash of the bytes before it; a log that was begun anew has others there.
    mark: Option<String>,
}

/// An offset as it is kept: alone it is the length.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected how long the file was, in bytes")]
enum Written {
    Bytes(u64),
    Marked { bytes: u64, mark: String },
}

impl From<Written> for Offset {
    fn from(written: Written) -> Self {
        match written {
            Written::Bytes(bytes) => Self { bytes, mark: None },
            Written::Marked { bytes, mark } => Self { bytes, mark: Some(mark) },
        }
    }
}

impl From<Offset> for Written {
    fn from(Offset { bytes, mark }: Offset) -> Self {
        match mark {
            None => Self::Bytes(bytes),
            Some(mark) => Self::Marked { bytes, mark },
        }
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "object"] })
    }
}

impl Offset {
    /// Where `file` ends now; the beginning where it cannot be read.
    pub fn end_of(file: &Path) -> Self {
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let mark = if bytes == 0 { None } else { lines::open(file, 0).and_then(|file| mark(file, bytes)).ok().flatten() };
        Self { bytes, mark }
    }

    /// Whether `file` is the one that it was taken of, as far as can be told.
    fn belongs_to(&self, file: &Path) -> bool {
        let Ok(reader) = lines::open(file, 0) else { return false };
        match &self.mark {
            Some(known) => mark(reader, self.bytes).is_ok_and(|found| found.as_ref() == Some(known)),
            None => lines::begins_line(file, self.bytes),
        }
    }
}

/// The hash of the last bytes before `end`; `None` where the file ends before.
fn mark(mut file: impl Read, end: u64) -> io::Result<Option<String>> {
    let length = end.min(MARKED);
    let skipped = io::copy(&mut file.by_ref().take(end - length), &mut io::sink())?;
    let mut before = Vec::new();
    file.take(length).read_to_end(&mut before)?;
    let whole = skipped + before.len() as u64 == end;
    Ok(whole.then(|| blake3::hash(&before).to_hex()[..16].to_owned()))
}

/// A stretch of a log: everything in `file` from `offset` on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
}

/// Where the lines are that were written since an offset.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// Oldest first.
    pub(crate) stretches: Vec<Stretch>,
    /// Why some of them could not be found.
    pub(crate) lost: Option<Lost>,
}

/// Why lines that were written since an offset could not be found.
#[derive(Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{file} was begun anew since the start, and what it held before was not found", file = .0.display())]
    BegunAnew(PathBuf),
    #[error("whether {file} is still the file of the start cannot be told: at the offset no line begins", file = .0.display())]
    NoLine(PathBuf),
    #[error("{file} may hold lines since the start, and is packed in a way that cannot be read here", file = .0.display())]
    Packed(PathBuf),
}

/// The last lines of what was written to `file` since `offset`, for people: somebody may wait for a service meanwhile, so no more than the end
/// of the file is read. None of what is no file, or cannot be read.
pub(crate) fn last_lines(file: &Path, offset: &Offset) -> Vec<String> {
    let read = || -> io::Result<String> {
        let size = std::fs::metadata(file)?.len();
        // One that is shorter was begun anew.
        let from = if offset.bytes > size { 0 } else { offset.bytes };
        let begin = from.max(size.saturating_sub(END));
        let mut bytes = Vec::new();
        lines::open(file, begin)?.take(END).read_to_end(&mut bytes)?;
        Ok(process::end_of(&bytes, bytes.len(), begin > from))
    };
    LastLines::of(&read().unwrap_or_default())
}

/// Where what was written to `file` since `offset` is; the offset was taken at `since` at the latest.
///
/// # Errors
/// The folder of the file cannot be read.
pub(crate) fn since(file: &Path, offset: &Offset, since: SystemTime) -> io::Result<Since> {
    let old = rotated(file)?;
    let here = std::fs::metadata(file).ok().map(|metadata| metadata.len());
    if offset.bytes == 0 {
        // It was empty or missing: what was begun since then and rotated away is new as a whole.
        let begun: Vec<Rotated> = old.into_iter().take_while(|old| old.begun_since(since)).collect();
        return Ok(whole_files(here.map(|_| file), &begun));
    }
    let from_offset = || Since { stretches: vec![Stretch { file: file.to_owned(), offset: offset.bytes }], lost: None };
    if here.is_some_and(|length| length >= offset.bytes) && offset.belongs_to(file) {
        return Ok(from_offset());
    }
    let home = old.iter().take(SEARCHED).position(|old| old.is_readable() && offset.belongs_to(&old.path));
    if let Some(home) = home {
        let mut since = whole_files(here.map(|_| file), &old[..home]);
        since.stretches.insert(0, Stretch { file: old[home].path.clone(), offset: offset.bytes });
        return Ok(since);
    }
    let packed = old.iter().find(|old| !old.is_readable() && old.modified >= since).map(|old| Lost::Packed(old.path.clone()));
    // Without a mark nothing but line ends tells files apart, and the last line of a log may have none.
    if offset.mark.is_none() && here.is_some_and(|length| length >= offset.bytes) {
        return Ok(Since { lost: Some(packed.unwrap_or_else(|| Lost::NoLine(file.to_owned()))), ..from_offset() });
    }
    let lost = packed.unwrap_or_else(|| Lost::BegunAnew(file.to_owned()));
    Ok(Since { lost: Some(lost), ..whole_files(here.map(|_| file), &[]) })
}

/// All of `newest` and of the `rotated` files, which come newest first.
fn whole_files(newest: Option<&Path>, rotated: &[Rotated]) -> Since {
    let readable = rotated.iter().filter(|old| old.is_readable()).map(|old| old.path.as_path());
    let mut stretches: Vec<Stretch> = newest.into_iter().chain(readable).map(|file| Stretch { file: file.to_owned(), offset: 0 }).collect();
    stretches.reverse();
    let packed = rotated.iter().find(|old| !old.is_readable());
    Since { stretches, lost: packed.map(|old| Lost::Packed(old.path.clone())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_lines_are_those_since_the_offset_and_of_a_log_that_was_begun_anew_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("app.log");
        std::fs::write(&log, "old\n").unwrap();
        let offset = Offset::end_of(&log);
        assert_eq!(last_lines(&log, &offset), [""; 0]);
        std::fs::write(&log, format!("old\n{}last\n", "line\n".repeat(20_000))).unwrap();
        assert_eq!(last_lines(&log, &offset).last().unwrap(), "last");
        std::fs::write(&log, "a\n").unwrap();
        assert_eq!(last_lines(&log, &offset), ["a"]);
        assert_eq!(last_lines(&folder.path().join("none"), &offset), [""; 0]);
    }

    // Whoever may write where the logs are could hold up a run, and the way back, for ever.
    #[cfg(unix)]
    #[test]
    fn a_pipe_in_place_of_a_log_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("app.log");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(last_lines(&pipe, &Offset::default())));
        let lines = ended.recv_timeout(std::time::Duration::from_secs(60)).expect("it is not waited for");
        assert_eq!(lines, [""; 0]);
    }
}
