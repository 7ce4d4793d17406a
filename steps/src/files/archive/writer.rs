//! Writes an archive, entry by entry; what is compressed elsewhere is only put down here.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::thread::{self, Scope};

use almaplan_engine::step::local_zone;
use jiff::tz::TimeZone;

use super::DIRECTORY_SUM;
use super::deflate::Deflate;
use super::format::{
    CENTRAL, DEFLATED, DOS_FOLDER, END, END64, EXTRA_NTFS, EXTRA_TIME, EXTRA_ZIP64, FLAG_UTF8, HOST_UNIX, LOCAL, LOCATOR64, MAX32,
    MODE_FILE, MODE_FOLDER, MODE_LINK, Put, STORED, dos_time, ntfs_time,
};
use super::packed::Packed;
use crate::files::Kind;

/// What is known of an entry before its content.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// With `/`, without one at the end.
    pub name: String,
    /// Folder, file or link.
    pub kind: Kind,
    /// When it was modified, in seconds since 1970.
    pub modified_s: i64,
    /// Unix permission bits.
    pub mode: u32,
}

/// An archive that is being written. Nothing of it counts before [`Writer::finish`].
pub(crate) struct Writer {
    out: BufWriter<File>,
    at: u64,
    zone: TimeZone,
    records: Vec<Record>,
}

struct Record {
    item: Item,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    offset: u64,
    zip64: bool,
}

impl Writer {
    /// Writes to the start of an empty file.
    pub fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(1 << 20, file), at: 0, zone: local_zone(), records: Vec::new() }
    }

    /// Adds an entry whose content is known.
    pub fn add(&mut self, item: Item, content: &Packed) -> io::Result<()> {
        let compressed = content.bytes.len() as u64;
        let zip64 = compressed >= MAX32 || content.size >= MAX32;
        let record = Record { item, method: content.method, crc: content.crc, compressed, size: content.size, offset: self.at, zip64 };
        self.put(&record.local(&self.zone))?;
        self.put(&content.bytes)?;
        self.records.push(record);
        Ok(())
    }

    /// Adds an entry whose content `fill` writes, as much as that is. An error of `fill` leaves the archive as it was before.
    ///
    /// Level 0 stores.
    pub fn stream<E: From<io::Error>>(
        &mut self,
        item: Item,
        level: u32,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let method = if level == 0 { STORED } else { DEFLATED };
        let mut record = Record { item, method, crc: 0, compressed: 0, size: 0, offset: self.at, zip64: true };
        self.put(&record.local(&self.zone))?;
        let start = self.at;
        let (filled, ended) = deflate_into(&mut self.out, level, fill);
        if let Err(error) = filled {
            self.out.seek(SeekFrom::Start(record.offset))?;
            self.at = record.offset;
            return Err(error);
        }
        (record.compressed, record.size, record.crc) = ended?;
        self.at = start + record.compressed;
        self.out.seek(SeekFrom::Start(record.offset))?;
        self.out.write_all(&record.local(&self.zone))?;
        self.out.seek(SeekFrom::Start(self.at))?;
        self.records.push(record);
        Ok(())
    }

    /// Writes the directory and syncs. The comment says what `about` says, and what the directory's checksum is: zip has none of its own.
    pub fn finish(mut self, about: &str) -> io::Result<()> {
        self.records.sort_by(|a, b| a.item.name.cmp(&b.item.name));
        let start = self.at;
        let mut sum = crc32fast::Hasher::new();
        for record in std::mem::take(&mut self.records) {
            let bytes = record.central(&self.zone);
            sum.update(&bytes);
            self.put(&bytes)?;
            self.records.push(record);
        }
        let comment = format!("{about}{DIRECTORY_SUM}{:08x}", sum.finalize());
        let end = end(self.records.len() as u64, start, self.at - start, &comment);
        self.put(&end)?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Something longer may have been written and taken back.
        file.set_len(self.at)?;
        file.sync_all()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Record {
    fn local(&self, zone: &TimeZone) -> Vec<u8> {
        let (time, date) = dos_time(self.item.modified_s, zone);
        let name = self.name();
        let extra = self.extra(self.zip64.then_some([self.size, self.compressed]), None);
        let mut out = Vec::with_capacity(64 + name.len());
        out.u32(LOCAL);
        out.u16(self.version());
        out.u16(FLAG_UTF8);
        out.u16(self.method);
        out.u16(time);
        out.u16(date);
        out.u32(self.crc);
        out.u32(if self.zip64 { u32::MAX } else { low(self.compressed) });
        out.u32(if self.zip64 { u32::MAX } else { low(self.size) });
        out.u16(length(&name));
        out.u16(u16::try_from(extra.len()).expect("the extra fields are under 80 bytes"));
        out.extend(name.as_bytes());
        out.extend(extra);
        out
    }

    fn central(&self, zone: &TimeZone) -> Vec<u8> {
        let (time, date) = dos_time(self.item.modified_s, zone);
        let name = self.name();
        let wide = self.compressed >= MAX32 || self.size >= MAX32;
        let far = self.offset >= MAX32;
        let extra = self.extra(wide.then_some([self.size, self.compressed]), far.then_some(self.offset));
        let mut out = Vec::with_capacity(96 + name.len());
        out.u32(CENTRAL);
        out.u16(HOST_UNIX | 45);
        out.u16(self.version());
        out.u16(FLAG_UTF8);
        out.u16(self.method);
        out.u16(time);
        out.u16(date);
        out.u32(self.crc);
        out.u32(if wide { u32::MAX } else { low(self.compressed) });
        out.u32(if wide { u32::MAX } else { low(self.size) });
        out.u16(length(&name));
        out.u16(u16::try_from(extra.len()).expect("the extra fields are under 80 bytes"));
        out.u16(0);
        out.u16(0);
        out.u16(0);
        out.u32(self.attributes());
        out.u32(if far { u32::MAX } else { low(self.offset) });
        out.extend(name.as_bytes());
        out.extend(extra);
        out
    }

    fn extra(&self, sizes: Option<[u64; 2]>, offset: Option<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        let wide: Vec<u64> = sizes.into_iter().flatten().chain(offset).collect();
        if !wide.is_empty() {
            out.u16(EXTRA_ZIP64);
            out.u16(u16::try_from(wide.len() * 8).expect("at most three numbers"));
            wide.into_iter().for_each(|number| out.u64(number));
        }
        if let Ok(seconds) = i32::try_from(self.item.modified_s) {
            out.u16(EXTRA_TIME);
            out.u16(5);
            out.push(1);
            out.extend(seconds.to_le_bytes());
        } else if let Some(ticks) = ntfs_time(self.item.modified_s) {
            // Before 1901 or after 2038.
            out.u16(EXTRA_NTFS);
            out.u16(32);
            out.u32(0);
            out.u16(1);
            out.u16(24);
            [ticks; 3].into_iter().for_each(|time| out.u64(time));
        }
        out
    }

    fn name(&self) -> String {
        if self.item.kind == Kind::Folder { format!("{}/", self.item.name) } else { self.item.name.clone() }
    }

    fn version(&self) -> u16 {
        if self.zip64 || self.offset >= MAX32 { 45 } else { 20 }
    }

    fn attributes(&self) -> u32 {
        let (kind, dos) = match self.item.kind {
            Kind::Folder => (MODE_FOLDER, DOS_FOLDER),
            Kind::Link => (MODE_LINK, 0),
            Kind::File | Kind::Other => (MODE_FILE, u32::from(self.item.mode & 0o222 == 0)),
        };
        ((kind | (self.item.mode & 0o7777)) << 16) | dos
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn length(name: &str) -> u16 {
    u16::try_from(name.len()).expect("names are checked to be under 32,000 bytes")
}

fn end(count: u64, start: u64, len: u64, comment: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if count >= 0xFFFF || start >= MAX32 || len >= MAX32 {
        out.u32(END64);
        out.u64(44);
        out.u16(HOST_UNIX | 45);
        out.u16(45);
        out.u32(0);
        out.u32(0);
        out.u64(count);
        out.u64(count);
        out.u64(len);
        out.u64(start);
        out.u32(LOCATOR64);
        out.u32(0);
        out.u64(start + len);
        out.u32(1);
    }
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    out.u32(END);
    out.u16(0);
    out.u16(0);
    out.u16(count);
    out.u16(count);
    out.u32(low(len));
    out.u32(low(start));
    out.u16(u16::try_from(comment.len()).expect("comments are ours and short"));
    out.extend(comment.as_bytes());
    out
}

/// How long a content is compressed and as it is, and its checksum.
type Sizes = (u64, u64, u32);

/// What `fill` said, and what came of it.
fn deflate_into<E>(
    out: &mut BufWriter<File>,
    level: u32,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> (Result<(), E>, io::Result<Sizes>) {
    thread::scope(|scope| {
        let mut sink = Sink { crc: crc32fast::Hasher::new(), size: 0, to: Deflating::new(scope, Counted { out, count: 0 }, level) };
        let filled = fill(&mut sink);
        let (size, crc) = (sink.size, sink.crc.finalize());
        (filled, sink.to.finish().map(|compressed| (compressed, size, crc)))
    })
}

/// Takes content: counts and checks it on its way to the compressor.
struct Sink<'scope, 'env, 'a> {
    crc: crc32fast::Hasher,
    size: u64,
    to: Deflating<'scope, 'env, 'a>,
}

impl Write for Sink<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            Deflating::Plain(out) => out.write_all(bytes)?,
            Deflating::Deflate(out) => out.write_all(bytes)?,
        }
        self.crc.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Deflating<'scope, 'env, 'a> {
    Plain(Counted<'a>),
    Deflate(Deflate<'scope, 'env, Counted<'a>>),
}

impl<'scope, 'env, 'a> Deflating<'scope, 'env, 'a> {
    fn new(scope: &'scope Scope<'scope, 'env>, out: Counted<'a>, level: u32) -> Self {
        if level == 0 { Self::Plain(out) } else { Self::Deflate(Deflate::new(scope, out, level)) }
    }

    fn finish(self) -> io::Result<u64> {
        Ok(match self {
            Self::Plain(out) => out.count,
            Self::Deflate(out) => out.finish()?.count,
        })
    }
}

struct Counted<'a> {
    out: &'a mut BufWriter<File>,
    count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
