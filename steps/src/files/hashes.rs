//! Hashes of files that were read by an earlier run, so that what stands still is not read again.
//!
//! The record is a file beside the target, never in it. A hash is taken from it only for a file of the same length, times and number on
//! the volume as when it was read, and none is put there for a file that was written so lately that one more write might not show in its
//! times. A record that is missing, or damaged, only costs time.
//!
//! ```text
//!  stage: writes it anew ──> one part for the source, one for the target
//!         or appends ──────> the same of what is new, where that is little
//!  sync:  appends ─────────> one part for what it put in place
//! ```
//! Each part begins with a checksum of its own; the later one stands.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use blake3::Hash;

use super::copy::Copied;
use super::walk::{Fingerprint, Meta, time_ns};
use super::{FileError, beside, inside, platform, read_file};

/// A file whose content is younger than this may be written once more without its times showing it, on any file system.
const YOUNG_NS: i64 = 2_000_000_000;
const PART: &str = "almaplan-hashes-2";
/// With so many parts the record is written anew.
const PARTS: usize = 32;
/// An entry with a short name, in bytes.
const SHORT: usize = 100;

/// The record of a target and of where its releases come from.
pub(crate) struct Hashes {
    file: PathBuf,
    bytes: Vec<u8>,
    parts: Vec<(PathBuf, Range<usize>)>,
}

/// The hashes of the files of one folder: what the record knew, and what is known now.
pub(crate) struct Known<'a> {
    root: &'a Path,
    before: HashMap<&'a str, Before<'a>>,
    learned: Mutex<BTreeMap<String, (Fingerprint, Hash)>>,
    read: AtomicU64,
    began_ns: i64,
}

/// What the record says of a file: the hash of its content and how it looked when that was read; and whether that still holds.
struct Before<'a> {
    hash: &'a [u8; blake3::OUT_LEN],
    looks: &'a Looks,
    holds: AtomicBool,
}

/// How a file looks, and how long its name is, which follows in the record.
type Looks = [u8; 40];

impl Hashes {
    /// The record of the target `to`.
    pub fn load(to: &Path) -> Self {
        let file = beside(to, ".almaplan-hashes");
        let bytes = read_file(&file).unwrap_or_default();
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some((root, entries)) = part_at(&bytes, at) {
            at = entries.end;
            parts.push((root, entries));
        }
        Self { file, bytes, parts }
    }

    /// What is known of the files in `root`; with `distrust` nothing is.
    pub fn of<'a>(&'a self, root: &'a Path, distrust: bool) -> Known<'a> {
        let mut known = Known::nothing(root);
        for (_, entries) in self.parts.iter().filter(|(of, _)| of == root && !distrust) {
            let mut left = &self.bytes[entries.clone()];
            // Rather a few too many than moving them all several times.
            known.before.reserve(left.len() / SHORT);
            // What was put in place comes after what was staged, and stands.
            known.before.extend(std::iter::from_fn(|| next_entry(&mut left)));
        }
        known
    }

    /// Lets the record say what is known now. Not durable by itself.
    pub fn save(&self, known: [&Known<'_>; 2]) {
        let is_whole = self.parts.last().is_some_and(|(_, entries)| entries.end == self.bytes.len());
        let (said, new) = known.iter().fold((0, 0), |(said, new), known| (said + known.before.len(), new + known.differences()));
        // Who cannot keep hashes reads files again.
        if is_whole && self.parts.len() < PARTS && 4 * new <= said {
            known.iter().for_each(|known| append(&self.file, known));
            return;
        }
        let unfinished = beside(&self.file, ".new");
        let whole = known.map(|known| known.part(true)).concat();
        if std::fs::write(&unfinished, whole).and_then(|()| platform::rename(&unfinished, &self.file)).is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
    }

    /// Adds what was put in place in `to`, to what a stage left there.
    pub fn append(to: &Path, known: &Known<'_>) {
        append(&beside(to, ".almaplan-hashes"), known);
    }
}

fn append(record: &Path, known: &Known<'_>) {
    if !known.learned().is_empty() {
        let opened = OpenOptions::new().append(true).open(record);
        let _ = opened.and_then(|mut file| file.write_all(&known.part(false)));
    }
}

impl<'a> Known<'a> {
    /// Of a folder of which nothing is known.
    pub fn nothing(root: &'a Path) -> Self {
        let began_ns = time_ns(SystemTime::now());
        Self { root, before: HashMap::new(), learned: Mutex::default(), read: AtomicU64::new(0), began_ns }
    }

    /// The hash of the file `name`, which looks like `meta`: as it is known, else as `read` finds it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn hash(&self, name: &str, meta: &Meta, read: impl FnOnce() -> Result<Copied, FileError>) -> Result<Hash, FileError> {
        let fingerprint = self.fingerprint(name, meta);
        let before = self.before.get(name).filter(|_| platform::identifies(&fingerprint));
        if let Some(before) = before.filter(|before| *before.looks == looks(name, &fingerprint)) {
            before.holds.store(true, Ordering::Relaxed);
            return Ok(Hash::from_bytes(*before.hash));
        }
        let hash = read()?.hash;
        self.count();
        if platform::look(&self.path(name)).is_ok_and(|after| self.fingerprint(name, &after) == fingerprint) {
            self.learn(name, fingerprint, hash);
        }
        Ok(hash)
    }

    /// The file `name` that looked so before and after it was read has this hash.
    pub fn learn(&self, name: &str, at: Fingerprint, hash: Hash) {
        if self.began_ns.saturating_sub(at.modified_ns) > YOUNG_NS {
            let before = self.before.get(name).filter(|before| (before.hash, before.looks) == (hash.as_bytes(), &looks(name, &at)));
            if let Some(before) = before {
                before.holds.store(true, Ordering::Relaxed);
            } else {
                self.learned().insert(name.to_owned(), (at, hash));
            }
        }
    }

    /// How the file `name` looks, which `meta` is of.
    pub fn fingerprint(&self, name: &str, meta: &Meta) -> Fingerprint {
        platform::fingerprint(|| self.path(name), meta)
    }

    /// Where the file `name` is.
    pub fn path(&self, name: &str) -> PathBuf {
        inside(self.root, name)
    }

    /// One more file was read.
    pub fn count(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    /// How many files were read to know their hashes.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// How much the record does not say, or says although it does not hold.
    fn differences(&self) -> usize {
        self.learned().len() + self.before.values().filter(|before| !before.holds.load(Ordering::Relaxed)).count()
    }

    fn learned(&self) -> MutexGuard<'_, BTreeMap<String, (Fingerprint, Hash)>> {
        self.learned.lock().expect("no code panics while it holds this lock")
    }

    /// A part of the record: all that is known now, or what the record does not say.
    fn part(&self, all: bool) -> Vec<u8> {
        let mut body = serde_json::to_vec(self.root).unwrap_or_default();
        body.push(b'\n');
        let mut add = |hash: &[u8], looks: &[u8], name: &str| {
            for part in [hash, looks, name.as_bytes()] {
                body.extend_from_slice(part);
            }
        };
        for (name, before) in self.before.iter().filter(|(_, before)| all && before.holds.load(Ordering::Relaxed)) {
            add(before.hash, before.looks, name);
        }
        for (name, (at, hash)) in &*self.learned() {
            add(hash.as_bytes(), &looks(name, at), name);
        }
        [format!("{PART} {} {}\n", blake3::hash(&body).to_hex(), body.len()).as_bytes(), &body].concat()
    }
}

/// The folder and the entries of the part that begins there; nothing where it is damaged.
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

fn looks(name: &str, at: &Fingerprint) -> Looks {
    let numbers = [at.len, at.modified_ns.cast_unsigned(), at.changed_ns.cast_unsigned(), at.file, name.len() as u64];
    let mut looks = [0; 40];
    for (place, number) in looks.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    looks
}

/// What the entry that `left` begins with says of which file; it is taken from there.
fn next_entry<'a>(left: &mut &'a [u8]) -> Option<(&'a str, Before<'a>)> {
    let (hash, rest) = left.split_first_chunk()?;
    let (looks, rest) = rest.split_first_chunk::<{ size_of::<Looks>() }>()?;
    let len = u64::from_le_bytes(*looks.last_chunk()?);
    let (name, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *left = rest;
    Some((std::str::from_utf8(name).ok()?, Before { hash, looks, holds: AtomicBool::new(false) }))
}
