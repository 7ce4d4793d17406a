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
//! Each part begins with a checksum of its own; the later one stands.

use std::collections::BTreeMap;
use std::fs::{Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::copy::Copied;
use super::walk::Fingerprint;
use super::{FileError, beside, platform, read_file};

/// A file whose content is younger than this may be written once more without its times showing it, on any file system.
const YOUNG: Duration = Duration::from_secs(2);
const PART: &str = "almaplan-hashes-1";

/// How a file looked when its content was read, and the hash of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry(Fingerprint, String);

/// The record of a target and of where its releases come from.
pub(crate) struct Hashes {
    file: PathBuf,
    parts: BTreeMap<PathBuf, BTreeMap<String, Entry>>,
    appended: bool,
}

/// The hashes of the files of one folder: what the record knew, and what is known now.
pub(crate) struct Known {
    before: BTreeMap<String, Entry>,
    now: Mutex<BTreeMap<String, Entry>>,
    read: AtomicU64,
    began: SystemTime,
}

impl Hashes {
    /// The record of the target `to`, as far as it can be understood.
    pub fn load(to: &Path) -> Self {
        let file = beside(to, ".almaplan-hashes");
        let bytes = read_file(&file).unwrap_or_default();
        let (mut parts, mut rest, mut count) = (BTreeMap::<PathBuf, BTreeMap<String, Entry>>::new(), bytes.as_slice(), 0);
        while let Some((root, entries, after)) = first_part(rest) {
            parts.entry(root).or_default().extend(entries);
            (rest, count) = (after, count + 1);
        }
        Self { appended: count != parts.len() || !rest.is_empty(), file, parts }
    }

    /// What is known of the files in `root`; with `distrust` nothing is.
    pub fn of(&self, root: &Path, distrust: bool) -> Known {
        let before = self.parts.get(root).filter(|_| !distrust).cloned().unwrap_or_default();
        Known { before, now: Mutex::default(), read: AtomicU64::new(0), began: SystemTime::now() }
    }

    /// Writes the record anew, where it says something else already. Not durable by itself.
    pub fn save(&self, known: [(&Path, &Known); 2]) {
        let now: BTreeMap<PathBuf, BTreeMap<String, Entry>> = known.iter().map(|(root, known)| ((*root).to_owned(), known.now())).collect();
        if now == self.parts && !self.appended {
            return;
        }
        let text: String = now.iter().map(|(root, entries)| part(root, entries)).collect();
        let unfinished = beside(&self.file, ".new");
        // Who cannot keep hashes reads files again.
        let _ = std::fs::write(&unfinished, text).and_then(|()| platform::rename(&unfinished, &self.file));
    }

    /// Adds what was put in place in `to`, to what a stage left there.
    pub fn append(to: &Path, known: &Known) {
        let (file, entries) = (beside(to, ".almaplan-hashes"), known.now());
        if !entries.is_empty() {
            let opened = OpenOptions::new().append(true).open(file);
            let _ = opened.and_then(|mut file| file.write_all(part(to, &entries).as_bytes()));
        }
    }
}

impl Known {
    /// Of a folder of which nothing is known.
    pub fn nothing() -> Self {
        Self { before: BTreeMap::new(), now: Mutex::default(), read: AtomicU64::new(0), began: SystemTime::now() }
    }

    /// The hash of the file `name`, which is at `path` and looks like `meta`: as it is known, else as `read` finds it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn hash(
        &self,
        name: &str,
        path: &Path,
        meta: &Metadata,
        read: impl FnOnce() -> Result<Copied, FileError>,
    ) -> Result<String, FileError> {
        let fingerprint = platform::fingerprint(path, meta);
        let entry = self.before.get(name).filter(|entry| entry.0 == fingerprint && platform::identifies(&fingerprint));
        if let Some(entry) = entry {
            self.insert(name, entry.clone());
            return Ok(entry.1.clone());
        }
        let hash = read()?.hash.to_hex().to_string();
        self.read.fetch_add(1, Ordering::Relaxed);
        if path.symlink_metadata().is_ok_and(|after| platform::fingerprint(path, &after) == fingerprint) {
            self.learn(name, (path, meta), &hash);
        }
        Ok(hash)
    }

    /// The file at `path` that looked like `meta` before and after it was read has this hash.
    pub fn learn(&self, name: &str, (path, meta): (&Path, &Metadata), hash: &str) {
        let old = |modified: SystemTime| self.began.duration_since(modified).is_ok_and(|age| age > YOUNG);
        if meta.modified().is_ok_and(old) {
            self.insert(name, Entry(platform::fingerprint(path, meta), hash.to_owned()));
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

    fn insert(&self, name: &str, entry: Entry) {
        self.now.lock().expect("no code panics while it holds this lock").insert(name.to_owned(), entry);
    }

    fn now(&self) -> BTreeMap<String, Entry> {
        self.now.lock().expect("no code panics while it holds this lock").clone()
    }
}

fn part(root: &Path, entries: &BTreeMap<String, Entry>) -> String {
    let body = serde_json::to_string(&(root, entries)).unwrap_or_default();
    format!("{PART} {} {}\n{body}\n", blake3::hash(body.as_bytes()).to_hex(), body.len())
}

/// The part with which `bytes` begin, and what follows it; nothing where it is damaged.
fn first_part(bytes: &[u8]) -> Option<(PathBuf, BTreeMap<String, Entry>, &[u8])> {
    let end = bytes.iter().take(200).position(|byte| *byte == b'\n')?;
    let mut head = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
    let (PART, hash, len) = (head.next()?, head.next()?, head.next()?.parse::<usize>().ok()?) else { return None };
    let rest = &bytes[end + 1..];
    let body = rest.get(..len)?;
    if blake3::hash(body).to_hex().as_str() != hash || rest.get(len) != Some(&b'\n') {
        return None;
    }
    let (root, entries) = serde_json::from_slice(body).ok()?;
    Some((root, entries, &rest[len + 1..]))
}
