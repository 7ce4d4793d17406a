//! Hashes of files that were read by an earlier run, so that what stands still is not read again.
//!
//! The record is a file beside the target, never in it. A hash is taken from it only for a file of the same length, times and number on
//! the volume as when it was read, and none is put there for a file that was written so lately that one more write might not show in its
//! times. A record that is missing, or damaged, only costs time.
//!
//! ```text
//!  stage: writes it anew ──> one part for the source, one for the target
//!  sync:  appends ─────────> one part for what it put in place
//! ```
//! Each part begins with a checksum of its own; the later one stands. It is lines of text, read where they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;

use super::copy::Copied;
use super::walk::{Fingerprint, Meta};
use super::{FileError, beside, platform, read_file};

/// A file whose content is younger than this may be written once more without its times showing it, on any file system.
const YOUNG: Duration = Duration::from_secs(2);
const PART: &str = "almaplan-hashes-1";

/// The record of a target and of where its releases come from.
pub(crate) struct Hashes {
    file: PathBuf,
    bytes: Vec<u8>,
    parts: Vec<(PathBuf, Range<usize>)>,
}

/// The hashes of the files of one folder: what the record knew, and what is known now.
pub(crate) struct Known<'a> {
    root: &'a Path,
    before: IndexMap<&'a str, Before<'a>>,
    learned: Mutex<BTreeMap<String, (Fingerprint, String)>>,
    read: AtomicU64,
    began: SystemTime,
}

/// How a file looked when its content was read, the hash of that, the line that says so, and whether it still holds.
struct Before<'a> {
    fingerprint: Fingerprint,
    hash: &'a str,
    line: &'a str,
    holds: AtomicBool,
}

impl Hashes {
    /// The record of the target `to`.
    pub fn load(to: &Path) -> Self {
        let file = beside(to, ".almaplan-hashes");
        let bytes = read_file(&file).unwrap_or_default();
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some((root, lines)) = part_at(&bytes, at) {
            at = lines.end;
            parts.push((root, lines));
        }
        Self { file, bytes, parts }
    }

    /// What is known of the files in `root`; with `distrust` nothing is.
    pub fn of<'a>(&'a self, root: &'a Path, distrust: bool) -> Known<'a> {
        let mut known = Known::nothing(root);
        for (_, lines) in self.parts.iter().filter(|(of, _)| of == root && !distrust) {
            let text = std::str::from_utf8(&self.bytes[lines.clone()]).unwrap_or_default();
            // What was put in place comes after what was staged, and stands.
            known.before.extend(text.lines().filter_map(entry));
        }
        known
    }

    /// Writes the record anew, where it says something else already. Not durable by itself.
    pub fn save(&self, known: [&Known<'_>; 2]) {
        let whole = self.parts.last().is_some_and(|(_, lines)| lines.end == self.bytes.len());
        if whole && self.parts.len() == known.len() && known.iter().all(|known| known.is_as_before()) {
            return;
        }
        let text: String = known.map(Known::part).concat();
        let unfinished = beside(&self.file, ".new");
        // Who cannot keep hashes reads files again.
        if std::fs::write(&unfinished, text).and_then(|()| platform::rename(&unfinished, &self.file)).is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
    }

    /// Adds what was put in place in `to`, to what a stage left there.
    pub fn append(to: &Path, known: &Known<'_>) {
        if !known.is_as_before() {
            let opened = OpenOptions::new().append(true).open(beside(to, ".almaplan-hashes"));
            let _ = opened.and_then(|mut file| file.write_all(known.part().as_bytes()));
        }
    }
}

impl<'a> Known<'a> {
    /// Of a folder of which nothing is known.
    pub fn nothing(root: &'a Path) -> Self {
        Self { root, before: IndexMap::new(), learned: Mutex::default(), read: AtomicU64::new(0), began: SystemTime::now() }
    }

    /// The hash of the file `name`, which is at `path` and looks like `meta`: as it is known, else as `read` finds it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn hash(
        &self,
        name: &str,
        path: &Path,
        meta: &Meta,
        read: impl FnOnce() -> Result<Copied, FileError>,
    ) -> Result<Cow<'a, str>, FileError> {
        let fingerprint = platform::fingerprint(path, meta);
        let before = self.before.get(name).filter(|before| before.fingerprint == fingerprint && platform::identifies(&fingerprint));
        if let Some(before) = before {
            before.holds.store(true, Ordering::Relaxed);
            return Ok(Cow::Borrowed(before.hash));
        }
        let hash = read()?.hash.to_hex().to_string();
        self.count();
        if platform::look(path).is_ok_and(|after| platform::fingerprint(path, &after) == fingerprint) {
            self.learn(name, (path, meta), &hash);
        }
        Ok(Cow::Owned(hash))
    }

    /// The file at `path` that looked like `meta` before and after it was read has this hash.
    pub fn learn(&self, name: &str, (path, meta): (&Path, &Meta), hash: &str) {
        let old = |modified: SystemTime| self.began.duration_since(modified).is_ok_and(|age| age > YOUNG);
        // A line is a file.
        if old(meta.modified) && !name.contains('\n') {
            let mut learned = self.learned.lock().expect("no code panics while it holds this lock");
            learned.insert(name.to_owned(), (platform::fingerprint(path, meta), hash.to_owned()));
        }
    }

    /// One more file was read.
    pub fn count(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    /// How many files were read to know their hashes.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn is_as_before(&self) -> bool {
        let learned = self.learned.lock().expect("no code panics while it holds this lock");
        learned.is_empty() && self.before.values().all(|before| before.holds.load(Ordering::Relaxed))
    }

    /// All that is known now, as a part of the record.
    fn part(&self) -> String {
        let mut body = serde_json::to_string(self.root).unwrap_or_default() + "\n";
        for before in self.before.values().filter(|before| before.holds.load(Ordering::Relaxed)) {
            body.extend([before.line, "\n"]);
        }
        for (name, (at, hash)) in &*self.learned.lock().expect("no code panics while it holds this lock") {
            let _ = writeln!(body, "{hash} {} {} {} {} {name}", at.len, at.modified_ns, at.changed_ns, at.file);
        }
        format!("{PART} {} {}\n{body}", blake3::hash(body.as_bytes()).to_hex(), body.len())
    }
}

/// The folder and the lines of the part that begins there; nothing where it is damaged.
fn part_at(bytes: &[u8], at: usize) -> Option<(PathBuf, Range<usize>)> {
    let line = |from: usize| bytes[from..].iter().position(|byte| *byte == b'\n').map(|len| from..from + len);
    let head = line(at)?;
    let mut words = std::str::from_utf8(&bytes[head.clone()]).ok()?.split(' ');
    let (PART, hash, len) = (words.next()?, words.next()?, words.next()?.parse::<usize>().ok()?) else { return None };
    let begin = head.end + 1;
    let body = bytes.get(begin..begin.checked_add(len)?)?;
    if blake3::hash(body).to_hex().as_str() != hash {
        return None;
    }
    let root = line(begin).filter(|root| root.end < begin + len)?;
    Some((serde_json::from_slice(&bytes[root.clone()]).ok()?, root.end + 1..begin + len))
}

fn entry(line: &str) -> Option<(&str, Before<'_>)> {
    let mut words = line.splitn(6, ' ');
    let hash = words.next()?;
    let (len, modified_ns) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (changed_ns, file) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fingerprint = Fingerprint { len, modified_ns, changed_ns, file };
    Some((words.next()?, Before { fingerprint, hash, line, holds: AtomicBool::new(false) }))
}
