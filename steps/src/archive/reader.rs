//! Reads an archive as if an enemy had written it: everything is checked before anything is used.
//!
//! What two programs could understand differently is refused: two ends, an end and a zip64 end that disagree, an entry that is one thing
//! in the directory and another in front of its content, two names for one entry, bytes that belong to nothing. So the entries lie one
//! after the other from the first byte to the directory, and what is checked is what is there.
//!
//! ```text
//!  (header  name  fields  content  [descriptor])…  directory  [zip64 end  locator]  end  comment
//! ```

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use flate2::Crc;
use jiff::tz::TimeZone;
use ring::digest;

use super::details::{Details, decode_name};
use super::format::{
    DEFLATED, DESCRIPTOR, DOS_FOLDER, END_LEN, END64_LEN, FLAG_DESCRIPTOR, FLAG_ENCRYPTED, FLAG_MASKED, FLAG_STRONG, LOCAL_LEN, LOCATOR64,
    LOCATOR64_LEN, MAX32, MODE_FILE, MODE_FOLDER, MODE_KIND, MODE_LINK, STORED, Take, from_dos_time,
};
use super::inflate::{Broken, Handle};
use super::record::{End, Extra, Local, RawEntry, is_end};
use super::{ABSENT, ArchiveError, DIRECTORY_SUM, SAVED, checksum};
use crate::files::{FileKind, complaint, is_byte_name, link_complaint, name_text, odd_complaint, platform};
use crate::local_host::local_zone;

/// The longest text of a link that is followed anywhere.
const LINK_LEN: u64 = 4096;

/// The longest content that is held in memory as a whole.
const CONTENT_LEN: u64 = 512 << 20;
/// Flags of contents that only a password makes readable.
const FLAGS_ENCRYPTED: u16 = FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED;

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the directory.
    pub directory: u64,
    /// Bytes of all contents together.
    pub total: u64,
    /// How many times larger than its compressed form a content may be, from `ratio_from` bytes on.
    pub ratio: u64,
    /// See `ratio`.
    pub ratio_from: u64,
    /// The rules of Windows for names hold.
    pub windows: bool,
    /// Links may lead anywhere: it is known who made the archive.
    pub links_lead_out: bool,
}

impl Default for Limits {
    fn default() -> Self {
        // Deflate reaches 1032 at most, on nothing but zeros, which an honest folder may have. Whoever reads asks for room first.
        let (ratio, ratio_from) = (1040, 100 << 20);
        Self {
            entries: 5_000_000,
            directory: 2 << 30,
            total: 16 << 40,
            ratio,
            ratio_from,
            windows: platform::WINDOWS_NAMES,
            links_lead_out: false,
        }
    }
}

/// One entry of a checked archive.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// With `/`, without one at the end.
    pub name: String,
    /// Folder, file or link.
    pub kind: FileKind,
    /// When it was modified, in seconds since 1970.
    pub modified_s: i64,
    /// Unix permission bits.
    pub mode: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// Where a link leads.
    pub link: Option<String>,
    /// What else was kept of it; `None` in archives of other programs and of older versions.
    pub details: Option<Details>,
    /// The name that other programs see, where it is another one.
    encoded: Option<String>,
    method: u16,
    crc: u32,
    compressed: u64,
    /// Checksum and lengths follow the content.
    descriptor: bool,
    /// Of the local header; once it was looked at, of the content.
    offset: u64,
}

/// An archive whose whole directory was checked.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Its entries, in the order of its directory.
    pub entries: Vec<Entry>,
    /// It says that the folder did not exist.
    pub absent: bool,
    path: PathBuf,
    /// What was checked is what is read, whatever is put under its name meanwhile.
    file: File,
}

/// Where the directory is.
struct Directory {
    count: u64,
    offset: u64,
    len: u64,
    comment: Vec<u8>,
}

impl Entry {
    /// Whether two entries that are said to be names of one file can be.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.size, self.crc, self.mode) == (other.size, other.crc, other.mode)
    }
}

impl Archive {
    /// Opens and checks an archive; contents are checked as they are read.
    ///
    /// # Errors
    /// It is missing, damaged, or holds anything that must not be made on disk.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, ArchiveError> {
        let reader = Reader::open(path)?;
        let directory = reader.directory(limits)?;
        let mut entries = reader.entries(&directory, limits)?;
        reader.check_names(&entries, limits.windows)?;
        reader.locate(&mut entries, directory.offset)?;
        let absent = directory.comment.starts_with(ABSENT.as_bytes());
        let mut archive = Self { entries, absent, path: path.to_owned(), file: reader.into_file() };
        archive.read_links(limits)?;
        Ok(archive)
    }

    /// A handle for [`Archive::read`]; each thread needs one of its own.
    ///
    /// # Errors
    /// This process has too many files open.
    pub fn handle(&self) -> Result<Handle, ArchiveError> {
        self.file.try_clone().map(Handle::new).map_err(|source| ArchiveError::Io { doing: "open", path: self.path.clone(), source })
    }

    /// Hands the content of `entry` to `sink`, piece by piece; it is what was archived only if this returns `Ok`.
    ///
    /// # Errors
    /// The content is damaged or not as long as declared, or `sink` fails.
    pub fn read<E: From<ArchiveError>>(
        &self,
        handle: &mut Handle,
        entry: &Entry,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut crc = Crc::new();
        let mut left = entry.size;
        let pass = |piece: &[u8]| -> Result<(), E> {
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| self.damaged(entry, "is longer than it says"))?;
            crc.update(piece);
            sink(piece)
        };
        let read = match entry.method {
            STORED => handle.stored(entry.offset, entry.compressed, pass),
            _ => handle.inflated(entry.offset, entry.compressed, pass),
        };
        match read {
            Err(Broken::Refused(error)) => return Err(error),
            Err(Broken::Read(source)) => return Err(ArchiveError::Io { doing: "read", path: self.path.clone(), source }.into()),
            Err(Broken::Deflate(error)) => return Err(self.damaged(entry, &format!("cannot be decompressed ({error})")).into()),
            Err(Broken::TooLong) => return Err(self.damaged(entry, "has something after its end").into()),
            Ok(()) => {}
        }
        if left != 0 {
            return Err(self.damaged(entry, "is shorter than it says").into());
        }
        if crc.sum() != entry.crc {
            return Err(self.damaged(entry, "does not have the checksum that it says").into());
        }
        Ok(())
    }

    /// The names in the archive at `path`, by its directory alone.
    ///
    /// # Errors
    /// It is missing or damaged, or holds names that must not be made on disk.
    pub fn names(path: &Path) -> Result<HashSet<String>, ArchiveError> {
        let (reader, limits) = (Reader::open(path)?, Limits::default());
        let entries = reader.entries(&reader.directory(&limits)?, &limits)?;
        reader.check_names(&entries, limits.windows)?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// The SHA-256 of all its bytes, in hexadecimal.
    ///
    /// # Errors
    /// It cannot be read, or `check` says that it is not to go on.
    pub fn sha256<E: From<ArchiveError>>(&self, check: impl Fn() -> Result<(), E>) -> Result<String, E> {
        let failed = |source| ArchiveError::Io { doing: "read", path: self.path.clone(), source };
        let len = self.file.metadata().map_err(failed)?.len();
        let (mut hasher, mut buffer, mut at) = (digest::Context::new(&digest::SHA256), vec![0; 1 << 20], 0);
        while at < len {
            check()?;
            let count = buffer.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
            platform::read_exact_at(&self.file, &mut buffer[..count], at).map_err(failed)?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(HEXLOWER.encode(hasher.finish().as_ref()))
    }

    /// The whole content of an entry.
    ///
    /// # Errors
    /// As [`Archive::read`], or it is too long for memory.
    pub fn content(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        if entry.size > CONTENT_LEN {
            return Err(hostile(&self.path, &entry.name, "is too large"));
        }
        let mut content = Vec::new();
        self.read(&mut self.handle()?, entry, |piece| {
            content.extend_from_slice(piece);
            Ok::<_, ArchiveError>(())
        })?;
        Ok(content)
    }

    fn read_links(&mut self, limits: &Limits) -> Result<(), ArchiveError> {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            if entry.kind != FileKind::Link {
                continue;
            }
            if entry.size > LINK_LEN {
                return Err(hostile(&self.path, &entry.name, "is a link with a target that is too long"));
            }
            let not_utf8 = || hostile(&self.path, &entry.name, "is a link to a name that is not UTF-8");
            let text = name_text(&self.content(entry)?).ok_or_else(not_utf8)?;
            if !limits.links_lead_out && is_byte_name(&text) {
                return Err(not_utf8());
            }
            if text.is_empty() || text.contains('\0') {
                return Err(hostile(&self.path, &entry.name, "is a link to nothing"));
            }
            self.entries[index].link = Some(text);
        }
        if limits.links_lead_out {
            return Ok(());
        }
        let links: HashSet<&str> =
            self.entries.iter().filter(|entry| entry.kind == FileKind::Link).map(|entry| entry.name.as_str()).collect();
        for entry in &self.entries {
            let Some(target) = &entry.link else { continue };
            if let Some(reason) = link_complaint(&entry.name, target, &links, limits.windows) {
                return Err(hostile(&self.path, &entry.name, &format!("{reason} (to `{}`)", shown(target))));
            }
        }
        Ok(())
    }

    fn damaged(&self, entry: &Entry, reason: &str) -> ArchiveError {
        hostile(&self.path, &entry.name, &format!("{reason}: the archive is damaged"))
    }
}

/// An archive that is open, and not checked yet.
pub(super) struct Reader {
    file: File,
    len: u64,
    path: PathBuf,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, ArchiveError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ArchiveError::Missing(path.to_owned()),
            _ => ArchiveError::Io { doing: "open", path: path.to_owned(), source },
        };
        // Opened only when it is known to be a file: opening a pipe waits until somebody writes.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(ArchiveError::Damaged { path: path.to_owned(), reason: "it is not a file".to_owned() });
        }
        Self::new(File::open(path).map_err(failed)?, path).map_err(failed)
    }

    /// `path` is for errors.
    pub fn new(file: File, path: &Path) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len, path: path.to_owned() })
    }

    /// The bytes of the directory.
    pub fn directory_bytes(&self) -> Result<Vec<u8>, ArchiveError> {
        let directory = self.directory(&Limits::default())?;
        self.at(directory.offset, directory.len)
    }

    pub fn into_file(self) -> File {
        self.file
    }

    fn directory(&self, limits: &Limits) -> Result<Directory, ArchiveError> {
        let tail_len = self.len.min((END_LEN + 0xFFFF) as u64);
        let tail = self.at(self.len - tail_len, tail_len)?;
        let mut ends = (0..=tail.len().saturating_sub(END_LEN)).filter(|&at| is_end(&tail[at..]));
        let at = ends.next().ok_or_else(|| self.damaged("it has no end: it is not a zip archive, or was cut off"))?;
        if ends.next().is_some() {
            return Err(self.damaged("it has two ends"));
        }
        let end_at = self.len - tail_len + at as u64;
        let end = End::parse(&tail[at..]).ok_or_else(|| self.damaged("its end was cut off"))?;
        let comment = tail[at + END_LEN..].to_vec();
        let wide = self.end64(end_at)?;
        if wide.as_ref().is_some_and(|(wide, _)| !end.may_be(wide)) {
            return Err(self.damaged("its two ends disagree"));
        }
        let (end, ends_at) = wide.unwrap_or((end, end_at));
        if end.disks != 0 || end.count_here != end.count {
            return Err(self.damaged("it is one part of several"));
        }
        if end.offset.checked_add(end.len) != Some(ends_at) {
            return Err(self.damaged("its directory is not where it says"));
        }
        if end.count > limits.entries || end.len > limits.directory {
            return Err(self.damaged("it has more entries than any backup"));
        }
        Ok(Directory { count: end.count, offset: end.offset, len: end.len, comment })
    }

    /// What the zip64 end says, where there is one right before the end, and where that is.
    fn end64(&self, end_at: u64) -> Result<Option<(End, u64)>, ArchiveError> {
        let Some(locator_at) = end_at.checked_sub(LOCATOR64_LEN as u64) else { return Ok(None) };
        let locator = self.at(locator_at, LOCATOR64_LEN as u64)?;
        let mut locator = Take(&locator);
        if locator.u32() != Some(LOCATOR64) {
            return Ok(None);
        }
        let wrong = || self.damaged("its zip64 end is wrong");
        let disk = locator.u32();
        let at = locator.u64().filter(|at| at.checked_add(END64_LEN as u64) == Some(locator_at)).ok_or_else(wrong)?;
        if disk != Some(0) || locator.u32() != Some(1) {
            return Err(self.damaged("it is one part of several"));
        }
        let bytes = self.at(at, END64_LEN as u64)?;
        let end = End::parse64(&bytes).ok_or_else(|| self.damaged("its zip64 end is wrong"))?;
        Ok(Some((end, at)))
    }

    fn entries(&self, directory: &Directory, limits: &Limits) -> Result<Vec<Entry>, ArchiveError> {
        let bytes = self.at(directory.offset, directory.len)?;
        self.check_sum(&directory.comment, &bytes)?;
        let zone = local_zone();
        let mut rest = Take(&bytes);
        let mut entries = Vec::new();
        let mut total: u64 = 0;
        while !rest.0.is_empty() {
            let number = entries.len() + 1;
            let entry =
                self.entry(&mut rest, &zone)?.ok_or_else(|| self.damaged(&format!("its directory breaks off at entry {number}")))?;
            self.check_size(&entry, limits)?;
            total = total.saturating_add(entry.size);
            if total > limits.total || entries.len() as u64 >= directory.count {
                return Err(self.hostile(&entry.name, "is one too many, or makes the contents larger than any backup"));
            }
            entries.push(entry);
        }
        if entries.len() as u64 != directory.count {
            return Err(self.damaged("its directory has not as many entries as it says"));
        }
        if total > limits.ratio_from && total / limits.ratio > self.len {
            return Err(self.damaged("its contents are out of all proportion to its size"));
        }
        Ok(entries)
    }

    /// Whether a comment of ours fits the directory: nothing else tells that a bit of a name, a mode or a time has changed.
    fn check_sum(&self, comment: &[u8], directory: &[u8]) -> Result<(), ArchiveError> {
        let comment = String::from_utf8_lossy(comment);
        let Some((about, sum)) = comment.split_once(DIRECTORY_SUM) else { return Ok(()) };
        if ![SAVED, ABSENT].contains(&about) || sum != format!("{:08x}", checksum(directory)) {
            return Err(self.damaged("its directory does not have the checksum that it says"));
        }
        if about == ABSENT && !directory.is_empty() {
            return Err(self.damaged("it has entries, and says that the folder did not exist"));
        }
        Ok(())
    }

    fn entry(&self, rest: &mut Take<'_>, zone: &TimeZone) -> Result<Option<Entry>, ArchiveError> {
        let Some(raw) = RawEntry::take(rest) else { return Ok(None) };
        let lossy = |name| String::from_utf8_lossy(name).into_owned();
        let name = std::str::from_utf8(raw.name).map_err(|_| self.hostile(&lossy(raw.name), "has a name that is not UTF-8"))?;
        if raw.flags & FLAGS_ENCRYPTED != 0 {
            return Err(self.hostile(name, "is encrypted"));
        }
        if raw.disk != 0 {
            return Err(self.hostile(name, "is in another part of the archive"));
        }
        if raw.method != STORED && raw.method != DEFLATED {
            return Err(self.hostile(name, &format!("is compressed by method {}, which is not supported", raw.method)));
        }
        let extra = Extra::parse(raw.extra, [raw.size, raw.compressed, raw.offset]);
        let extra = extra.ok_or_else(|| self.hostile(name, "has extra fields that break off"))?;
        if let Some(other) = extra.name.filter(|other| *other != raw.name) {
            return Err(self.hostile(name, &format!("has another name as well (`{}`)", shown(&lossy(other)))));
        }
        let unix = raw.made_by >> 8 == 3;
        let kind = match (name.ends_with('/'), if unix { (raw.attributes >> 16) & MODE_KIND } else { 0 }) {
            (true, 0 | MODE_FOLDER) => FileKind::Folder,
            (false, MODE_LINK) => FileKind::Link,
            (false, 0 | MODE_FILE) if raw.attributes & DOS_FOLDER == 0 => FileKind::File,
            _ => return Err(self.hostile(name, "is neither a file nor a folder nor a link")),
        };
        let no_details = || self.hostile(name, "has attributes that cannot be understood");
        let details = extra.details.map(|bytes| Details::parse(bytes).ok_or_else(no_details)).transpose()?;
        let stored = name.strip_suffix('/').unwrap_or(name);
        let is_encoded = details.as_ref().is_some_and(|details| details.is_encoded);
        let decoded = || decode_name(stored).ok_or_else(|| self.hostile(name, "is said to be encoded, and is not"));
        // Whoever runs a program must not become somebody else because an archive says so, unless it says whose the program is, too; of
        // a folder, these bits only say whose its files are.
        let is_owned = details.as_ref().is_some_and(|details| details.owner.is_some());
        let allowed = if is_owned {
            0o7777
        } else if kind == FileKind::Folder {
            0o3777
        } else {
            0o777
        };
        let usual = if kind == FileKind::Folder { 0o755 } else { 0o644 };
        // Without a type there is no mode either; with one, a mode of nothing is one that lets nobody in.
        let has_mode = unix && (raw.attributes >> 16) & MODE_KIND != 0;
        Ok(Some(Entry {
            name: if is_encoded { decoded()? } else { stored.to_owned() },
            encoded: is_encoded.then(|| stored.to_owned()),
            details: details.map(|details| Details { is_encoded: false, ..details }),
            kind,
            modified_s: extra.modified_s.unwrap_or_else(|| from_dos_time(raw.time, raw.date, zone)),
            mode: if has_mode { (raw.attributes >> 16) & allowed } else { usual },
            size: extra.size,
            link: None,
            method: raw.method,
            crc: raw.crc,
            compressed: extra.compressed,
            descriptor: raw.flags & FLAG_DESCRIPTOR != 0,
            offset: extra.offset,
        }))
    }

    fn check_size(&self, entry: &Entry, limits: &Limits) -> Result<(), ArchiveError> {
        if entry.kind == FileKind::Folder && entry.size != 0 {
            return Err(self.hostile(&entry.name, "is a folder with content"));
        }
        if entry.method == STORED && entry.size != entry.compressed {
            return Err(self.hostile(&entry.name, "is stored, but not as long as it says"));
        }
        if entry.size > limits.ratio_from && entry.size / limits.ratio > entry.compressed {
            return Err(self.hostile(&entry.name, "is out of all proportion to its compressed form"));
        }
        Ok(())
    }

    fn check_names(&self, entries: &[Entry], windows: bool) -> Result<(), ArchiveError> {
        let mut kinds = HashMap::with_capacity(entries.len());
        let folded = |name| if windows { Cow::Owned(str::to_lowercase(name)) } else { Cow::Borrowed(name) };
        for entry in entries {
            let reason = if entry.encoded.is_some() { odd_complaint(&entry.name, windows) } else { complaint(&entry.name, windows) };
            if let Some(reason) = reason {
                return Err(self.hostile(&entry.name, reason));
            }
            if kinds.insert(folded(&entry.name), entry.kind).is_some() {
                return Err(self.hostile(&entry.name, "is there twice"));
            }
        }
        // Whatever is inside `a` comes right after `a` in this order.
        let mut order: Vec<(Cow<'_, str>, &Entry)> = entries.iter().map(|entry| (folded(&entry.name), entry)).collect();
        order.sort_by(|(a, _), (b, _)| slash_first(a).cmp(slash_first(b)));
        for [(outer, outer_entry), (inner, entry)] in order.array_windows() {
            if outer_entry.kind != FileKind::Folder && inner.strip_prefix(&**outer).is_some_and(|rest| rest.starts_with('/')) {
                return Err(self.hostile(&entry.name, &format!("is inside `{}`, which is no folder", shown(outer))));
            }
        }
        Ok(())
    }

    /// Looks at each local header, and that the entries lie one after the other, with nothing between them that belongs to none.
    fn locate(&self, entries: &mut [Entry], directory_at: u64) -> Result<(), ArchiveError> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|&index| entries[index].offset);
        let mut free_from = 0;
        for (number, &index) in order.iter().enumerate() {
            let entry = &entries[index];
            if entry.offset < free_from {
                return Err(self.hostile(&entry.name, "overlaps another"));
            }
            if entry.offset > free_from {
                return Err(self.hostile(&entry.name, "comes after something that belongs to no entry"));
            }
            let start = self.content_start(entry)?;
            let end = start.checked_add(entry.compressed).filter(|end| *end <= directory_at);
            let end = end.ok_or_else(|| self.hostile(&entry.name, "reaches into the directory"))?;
            let next = order.get(number + 1).map_or(directory_at, |&next| entries[next].offset);
            free_from = if entry.descriptor { self.after_descriptor(entry, end, next)? } else { end };
            entries[index].offset = start;
        }
        if free_from != directory_at {
            return Err(self.damaged("it has something before its directory that belongs to no entry"));
        }
        Ok(())
    }

    fn content_start(&self, entry: &Entry) -> Result<u64, ArchiveError> {
        /// Fields that follow the name are seldom longer.
        const EXTRA_LEN: usize = 64;
        let stored = entry.encoded.as_ref().unwrap_or(&entry.name);
        let usual = (LOCAL_LEN + stored.len() + EXTRA_LEN) as u64;
        let mut bytes = self.at(entry.offset, usual.min(self.len.saturating_sub(entry.offset)))?;
        let local = Local::parse(&bytes).ok_or_else(|| self.hostile(&entry.name, "has no header where it says"))?;
        let len = LOCAL_LEN + local.name_len + local.extra_len;
        if len > bytes.len() {
            bytes = self.at(entry.offset, len as u64)?;
        }
        let (name, extra) = bytes[LOCAL_LEN..len].split_at(local.name_len);
        let same_name = name.strip_suffix(if entry.kind == FileKind::Folder { b"/".as_slice() } else { b"" }) == Some(stored.as_bytes());
        if !same_name || !is_same(&local, extra, entry) {
            return Err(self.hostile(&entry.name, "is another thing in its own header than in the directory"));
        }
        Ok(entry.offset + len as u64)
    }

    /// Where the checksum and the lengths end that follow a content which ends at `end`; the next thing begins at `next`.
    fn after_descriptor(&self, entry: &Entry, end: u64, next: u64) -> Result<u64, ArchiveError> {
        let len = next.saturating_sub(end);
        let wide = matches!(len, 20 | 24);
        let bytes = if matches!(len, 12 | 16 | 20 | 24) { self.at(end, len)? } else { Vec::new() };
        let mut rest = Take(&bytes);
        let mut number = |wide| if wide { rest.u64() } else { rest.u32().map(u64::from) };
        let signed = !matches!(len, 16 | 24) || number(false) == Some(DESCRIPTOR.into());
        let says = [number(false), number(wide), number(wide)];
        if !signed || says != [Some(entry.crc.into()), Some(entry.compressed), Some(entry.size)] {
            return Err(self.hostile(&entry.name, "is another thing after its content than in the directory"));
        }
        Ok(next)
    }

    fn at(&self, offset: u64, len: u64) -> Result<Vec<u8>, ArchiveError> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.damaged("it was cut off, or points outside itself"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.damaged("its directory is too large for this machine"))?];
        platform::read_exact_at(&self.file, &mut bytes, offset).map_err(|source| ArchiveError::Io {
            doing: "read",
            path: self.path.clone(),
            source,
        })?;
        Ok(bytes)
    }

    fn damaged(&self, reason: &str) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn hostile(&self, entry: &str, reason: &str) -> ArchiveError {
        hostile(&self.path, entry, reason)
    }
}

fn hostile(path: &Path, entry: &str, reason: &str) -> ArchiveError {
    ArchiveError::Hostile { path: path.to_owned(), entry: shown(entry), reason: reason.to_owned() }
}

/// A name as what is compared so that whatever is inside a folder comes right after it: no name has a zero.
fn slash_first(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|byte| if byte == b'/' { 0 } else { byte })
}

/// A name that an enemy chose, as a person can read it: on one line, and not the whole of a very long one.
fn shown(name: &str) -> String {
    const LONGEST: usize = 300;
    // Among those that are not control characters: what turns the direction of the text around.
    let tricky =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let escape = |c: char| if tricky(c) { c.escape_unicode().to_string() } else { c.to_string() };
    let text: String = name.chars().take(LONGEST).map(escape).collect();
    if name.chars().count() > LONGEST { format!("{text}…") } else { text }
}

/// Whether an entry's own header says what the directory says.
fn is_same(local: &Local, extra: &[u8], entry: &Entry) -> bool {
    let Some(sizes) = Extra::parse(extra, [local.size, local.compressed, 0]) else { return false };
    let says = [(local.crc.into(), entry.crc.into()), (sizes.compressed, entry.compressed), (sizes.size, entry.size)];
    // Where they follow the content, they were not known here.
    let unknown = |said: u64| entry.descriptor && (said == 0 || said == MAX32);
    local.method == entry.method
        && local.flags & FLAGS_ENCRYPTED == 0
        && (local.flags & FLAG_DESCRIPTOR != 0) == entry.descriptor
        && says.iter().all(|(said, is)| said == is || unknown(*said))
}
