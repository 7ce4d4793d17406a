//! Reads an archive as if an enemy had written it: everything is checked before anything is used.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;
use jiff::tz::TimeZone;

use super::ArchiveError;
use super::format::{
    DEFLATED, END, END_LEN, END64, END64_LEN, FLAG_ENCRYPTED, FLAG_MASKED, FLAG_STRONG, LOCAL, LOCAL_LEN, LOCATOR64, LOCATOR64_LEN,
    MODE_FILE, MODE_FOLDER, MODE_KIND, MODE_LINK, STORED, Take, from_dos_time,
};
use super::names::{complaint, link_complaint};
use super::record::{Extra, RawEntry};
use crate::files::{Kind, platform};

/// The longest text of a link that is followed anywhere.
const LINK_LEN: u64 = 4096;

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
}

impl Default for Limits {
    fn default() -> Self {
        // Deflate reaches 1032 at most, on nothing but zeros, which an honest folder may have. Whoever reads asks for room first.
        let (ratio, ratio_from) = (1040, 100 << 20);
        Self { entries: 5_000_000, directory: 2 << 30, total: 16 << 40, ratio, ratio_from, windows: platform::WINDOWS_NAMES }
    }
}

/// One entry of a checked archive.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// With `/`, without one at the end.
    pub name: String,
    /// Folder, file or link.
    pub kind: Kind,
    /// When it was modified, in seconds since 1970.
    pub modified_s: i64,
    /// Unix permission bits.
    pub mode: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// Where a link leads.
    pub link: Option<String>,
    method: u16,
    crc: u32,
    compressed: u64,
    /// Of the local header; once it was looked at, of the content.
    offset: u64,
}

/// An archive whose whole directory was checked.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Its entries, in the order of its directory.
    pub entries: Vec<Entry>,
    /// What it says about itself.
    pub comment: Vec<u8>,
    path: PathBuf,
}

/// Where the directory is.
struct Directory {
    count: u64,
    offset: u64,
    len: u64,
    comment: Vec<u8>,
}

impl Archive {
    /// Opens and checks an archive; contents are checked as they are read.
    ///
    /// # Errors
    /// It is missing, damaged, or holds anything that must not be made on disk.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut reader = Reader::open(path)?;
        let directory = reader.directory(limits)?;
        let mut entries = reader.entries(&directory, limits)?;
        reader.check_names(&entries, limits.windows)?;
        reader.locate(&mut entries, directory.offset)?;
        let mut archive = Self { entries, comment: directory.comment, path: path.to_owned() };
        archive.read_links(limits.windows)?;
        Ok(archive)
    }

    /// A handle for [`Archive::read`]; each thread needs one of its own.
    ///
    /// # Errors
    /// It cannot be opened any more.
    pub fn handle(&self) -> Result<File, ArchiveError> {
        File::open(&self.path).map_err(|source| ArchiveError::Io { doing: "open", path: self.path.clone(), source })
    }

    /// Hands the content of `entry` to `sink`, piece by piece; it is what was archived only if this returns `Ok`.
    ///
    /// # Errors
    /// The content is damaged or not as long as declared, or `sink` fails.
    pub fn read<E: From<ArchiveError>>(
        &self,
        file: &mut File,
        entry: &Entry,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| ArchiveError::Io { doing: "read", path: self.path.clone(), source };
        file.seek(SeekFrom::Start(entry.offset)).map_err(failed)?;
        let capacity = usize::try_from(entry.compressed.clamp(64, 128 << 10)).expect("it is clamped");
        let mut raw = BufReader::with_capacity(capacity, (&*file).take(entry.compressed));
        let mut crc = crc32fast::Hasher::new();
        let mut left = entry.size;
        let mut pass = |piece: &[u8]| -> Result<(), E> {
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| self.damaged(entry, "is longer than it says"))?;
            crc.update(piece);
            sink(piece)
        };
        if entry.method == STORED {
            drain(&mut raw, |error| self.unreadable(entry, &error), &mut pass)?;
        } else {
            let mut decoder = BufReader::with_capacity(128 << 10, DeflateDecoder::new(&mut raw));
            drain(&mut decoder, |error| self.unreadable(entry, &error), &mut pass)?;
            if !raw.fill_buf().map_err(failed)?.is_empty() {
                return Err(self.damaged(entry, "has something after its end").into());
            }
        }
        if left != 0 {
            return Err(self.damaged(entry, "is shorter than it says").into());
        }
        if crc.finalize() != entry.crc {
            return Err(self.damaged(entry, "does not have the checksum that it says").into());
        }
        Ok(())
    }

    /// The whole content of a small entry.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub fn content(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        let mut content = Vec::new();
        self.read(&mut self.handle()?, entry, |piece| {
            content.extend_from_slice(piece);
            Ok::<_, ArchiveError>(())
        })?;
        Ok(content)
    }

    fn read_links(&mut self, windows: bool) -> Result<(), ArchiveError> {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            if entry.kind != Kind::Link {
                continue;
            }
            let hostile =
                |reason: &str| ArchiveError::Hostile { path: self.path.clone(), entry: entry.name.clone(), reason: reason.to_owned() };
            if entry.size > LINK_LEN {
                return Err(hostile("is a link with a target that is too long"));
            }
            let text = String::from_utf8(self.content(entry)?).map_err(|_| hostile("is a link to a name that is not UTF-8"))?;
            self.entries[index].link = Some(text);
        }
        let links: HashSet<&str> = self.entries.iter().filter(|entry| entry.kind == Kind::Link).map(|entry| entry.name.as_str()).collect();
        for entry in &self.entries {
            let Some(target) = &entry.link else { continue };
            if let Some(reason) = link_complaint(&entry.name, target, &links, windows) {
                return Err(ArchiveError::Hostile {
                    path: self.path.clone(),
                    entry: entry.name.clone(),
                    reason: format!("{reason} (to `{target}`)"),
                });
            }
        }
        Ok(())
    }

    fn damaged(&self, entry: &Entry, reason: &str) -> ArchiveError {
        ArchiveError::Hostile { path: self.path.clone(), entry: entry.name.clone(), reason: format!("{reason}: the archive is damaged") }
    }

    fn unreadable(&self, entry: &Entry, error: &io::Error) -> ArchiveError {
        self.damaged(entry, &format!("cannot be decompressed ({error})"))
    }
}

fn drain<E: From<ArchiveError>>(
    from: &mut impl BufRead,
    failed: impl Fn(io::Error) -> ArchiveError,
    pass: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let piece = from.fill_buf().map_err(&failed)?;
        if piece.is_empty() {
            return Ok(());
        }
        pass(piece)?;
        let count = piece.len();
        from.consume(count);
    }
}

struct Reader {
    file: BufReader<File>,
    len: u64,
    path: PathBuf,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, ArchiveError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ArchiveError::Missing(path.to_owned()),
            _ => ArchiveError::Io { doing: "open", path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(Self { file: BufReader::with_capacity(64 << 10, file), len, path: path.to_owned() })
    }

    fn directory(&mut self, limits: &Limits) -> Result<Directory, ArchiveError> {
        let tail_len = self.len.min((END_LEN + 0xFFFF) as u64);
        let tail = self.at(self.len - tail_len, tail_len)?;
        let found = (0..=tail.len().saturating_sub(END_LEN)).rev().find(|&at| is_end(&tail[at..]));
        let at = found.ok_or_else(|| self.damaged("it has no end: it is not a zip archive, or was cut off"))?;
        let end_at = self.len - tail_len + at as u64;
        let mut end = Take(&tail[at + 4..]);
        let (mut disk, mut count, mut len, mut offset) = (0, 0, 0, 0);
        let mut parse = || -> Option<()> {
            disk = u32::from(end.u16()?) + u32::from(end.u16()?);
            end.u16()?;
            (count, len, offset) = (u64::from(end.u16()?), u64::from(end.u32()?), u64::from(end.u32()?));
            end.u16()?;
            Some(())
        };
        parse().ok_or_else(|| self.damaged("its end was cut off"))?;
        let comment = end.0.to_vec();
        let mut ends_at = end_at;
        if let Some(wide) = self.end64(end_at)? {
            (count, len, offset, ends_at) = wide;
        }
        if disk != 0 {
            return Err(self.damaged("it is one part of several"));
        }
        if offset.checked_add(len) != Some(ends_at) {
            return Err(self.damaged("its directory is not where it says"));
        }
        if count > limits.entries || len > limits.directory {
            return Err(self.damaged("it has more entries than any backup"));
        }
        Ok(Directory { count, offset, len, comment })
    }

    /// What the zip64 end says, where there is one right before the end: count, length and offset of the directory, and where that end is.
    fn end64(&mut self, end_at: u64) -> Result<Option<(u64, u64, u64, u64)>, ArchiveError> {
        let Some(locator_at) = end_at.checked_sub(LOCATOR64_LEN as u64) else { return Ok(None) };
        let locator = self.at(locator_at, LOCATOR64_LEN as u64)?;
        let mut locator = Take(&locator);
        if locator.u32() != Some(LOCATOR64) {
            return Ok(None);
        }
        let wrong = || self.damaged("its zip64 end is wrong");
        let _disk = locator.u32();
        let at = locator.u64().filter(|at| at.checked_add(END64_LEN as u64) == Some(locator_at)).ok_or_else(wrong)?;
        let bytes = self.at(at, END64_LEN as u64)?;
        let mut end = Take(&bytes);
        let mut parse = || -> Option<(u64, u64, u64)> {
            (end.u32()? == END64).then_some(())?;
            end.bytes(28)?;
            let count = end.u64()?;
            Some((count, end.u64()?, end.u64()?))
        };
        let (count, len, offset) = parse().ok_or_else(|| self.damaged("its zip64 end is wrong"))?;
        Ok(Some((count, len, offset, at)))
    }

    fn entries(&mut self, directory: &Directory, limits: &Limits) -> Result<Vec<Entry>, ArchiveError> {
        let bytes = self.at(directory.offset, directory.len)?;
        let zone = TimeZone::system();
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

    fn entry(&self, rest: &mut Take<'_>, zone: &TimeZone) -> Result<Option<Entry>, ArchiveError> {
        let Some(raw) = RawEntry::take(rest) else { return Ok(None) };
        let shown = String::from_utf8_lossy(raw.name).into_owned();
        let name = std::str::from_utf8(raw.name).map_err(|_| self.hostile(&shown, "has a name that is not UTF-8"))?;
        if raw.flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED) != 0 {
            return Err(self.hostile(name, "is encrypted"));
        }
        if raw.method != STORED && raw.method != DEFLATED {
            return Err(self.hostile(name, &format!("is compressed by method {}, which is not supported", raw.method)));
        }
        let extra = Extra::parse(&raw).ok_or_else(|| self.hostile(name, "has extra fields that break off"))?;
        let unix = raw.made_by >> 8 == 3;
        let kind = match (name.ends_with('/'), if unix { (raw.attributes >> 16) & MODE_KIND } else { 0 }) {
            (true, 0 | MODE_FOLDER) => Kind::Folder,
            (false, MODE_LINK) => Kind::Link,
            (false, 0 | MODE_FILE) => Kind::File,
            _ => return Err(self.hostile(name, "is neither a file nor a folder nor a link")),
        };
        let given = if unix { (raw.attributes >> 16) & 0o777 } else { 0 };
        let usual = if kind == Kind::Folder { 0o755 } else { 0o644 };
        Ok(Some(Entry {
            name: name.strip_suffix('/').unwrap_or(name).to_owned(),
            kind,
            modified_s: extra.modified_s.unwrap_or_else(|| from_dos_time(raw.time, raw.date, zone)),
            mode: if given == 0 { usual } else { given },
            size: extra.size,
            link: None,
            method: raw.method,
            crc: raw.crc,
            compressed: extra.compressed,
            offset: extra.offset,
        }))
    }

    fn check_size(&self, entry: &Entry, limits: &Limits) -> Result<(), ArchiveError> {
        if entry.kind == Kind::Folder && entry.size != 0 {
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
        let folded = |name: &str| if windows { name.to_lowercase() } else { name.to_owned() };
        for entry in entries {
            if let Some(reason) = complaint(&entry.name, windows) {
                return Err(self.hostile(&entry.name, reason));
            }
            if kinds.insert(folded(&entry.name), entry.kind).is_some() {
                return Err(self.hostile(&entry.name, "is there twice"));
            }
        }
        for entry in entries {
            let name = folded(&entry.name);
            let above = name.match_indices('/').map(|(slash, _)| &name[..slash]);
            if let Some(parent) = above.into_iter().find(|parent| kinds.get(*parent).is_some_and(|kind| *kind != Kind::Folder)) {
                return Err(self.hostile(&entry.name, &format!("is inside `{parent}`, which is no folder")));
            }
        }
        Ok(())
    }

    /// Looks at each local header, and that no two entries share a byte.
    fn locate(&mut self, entries: &mut [Entry], directory_at: u64) -> Result<(), ArchiveError> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|&index| entries[index].offset);
        let mut free_from = 0;
        for index in order {
            let entry = &mut entries[index];
            if entry.offset < free_from {
                return Err(self.hostile(&entry.name, "overlaps another"));
            }
            let start = self.content_start(entry)?;
            let end = start.checked_add(entry.compressed).filter(|end| *end <= directory_at);
            free_from = end.ok_or_else(|| self.hostile(&entry.name, "reaches into the directory"))?;
            entry.offset = start;
        }
        Ok(())
    }

    fn content_start(&mut self, entry: &Entry) -> Result<u64, ArchiveError> {
        let header = self.at(entry.offset, LOCAL_LEN as u64)?;
        let mut header = Take(&header);
        let mut parse = || -> Option<(u16, u16, usize, u64)> {
            (header.u32()? == LOCAL).then_some(())?;
            header.u16()?;
            let (flags, method) = (header.u16()?, header.u16()?);
            header.bytes(16)?;
            Some((flags, method, usize::from(header.u16()?), u64::from(header.u16()?)))
        };
        let (flags, method, name_len, extra_len) = parse().ok_or_else(|| self.hostile(&entry.name, "has no header where it says"))?;
        let name = self.at(entry.offset + LOCAL_LEN as u64, name_len as u64)?;
        let same = name.strip_suffix(if entry.kind == Kind::Folder { b"/".as_slice() } else { b"" }) == Some(entry.name.as_bytes());
        if !same || method != entry.method || flags & FLAG_ENCRYPTED != 0 {
            return Err(self.hostile(&entry.name, "is another thing in its own header than in the directory"));
        }
        Ok(entry.offset + (LOCAL_LEN + name_len) as u64 + extra_len)
    }

    fn at(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, ArchiveError> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.damaged("it was cut off, or points outside itself"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.damaged("its directory is too large for this machine"))?];
        let relative = i64::try_from(offset).unwrap_or(i64::MAX) - i64::try_from(self.file.stream_position().unwrap_or(0)).unwrap_or(0);
        let read = self.file.seek_relative(relative).and_then(|()| self.file.read_exact(&mut bytes));
        read.map_err(|source| ArchiveError::Io { doing: "read", path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn damaged(&self, reason: &str) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn hostile(&self, entry: &str, reason: &str) -> ArchiveError {
        ArchiveError::Hostile { path: self.path.clone(), entry: entry.to_owned(), reason: reason.to_owned() }
    }
}

/// Whether the end of an archive begins here: its comment reaches exactly to the end of the file.
fn is_end(bytes: &[u8]) -> bool {
    let mut end = Take(bytes);
    end.u32() == Some(END) && end.bytes(16).is_some() && end.u16().is_some_and(|len| usize::from(len) == end.0.len())
}
