//! Zip archives byte by byte: the header of an entry, its record in the directory and the ends are set apart, so that they can lie.

use std::io::Write;

pub const FLAG_DESCRIPTOR: u16 = 1 << 3;
pub const FLAG_UTF8: u16 = 1 << 11;
pub const STORED: u16 = 0;
pub const DEFLATED: u16 = 8;
pub const UNIX: u16 = 3 << 8 | 45;

/// What a header says, and the record in the directory.
#[derive(Clone)]
pub struct Header {
    pub made_by: u16,
    pub flags: u16,
    pub method: u16,
    pub time: u16,
    pub date: u16,
    pub crc: u32,
    pub compressed: u32,
    pub size: u32,
    pub disk: u16,
    pub attributes: u32,
    pub name: Vec<u8>,
    pub extra: Vec<u8>,
    pub comment: Vec<u8>,
}

/// One entry.
#[derive(Clone)]
pub struct Entry {
    pub before: Vec<u8>,
    pub local: Header,
    pub content: Vec<u8>,
    pub after: Vec<u8>,
    pub central: Header,
    /// Where the directory says that it is; where it is, unless given.
    pub offset: Option<u32>,
    /// In the directory only.
    pub absent: bool,
}

/// The end, and the zip64 end before it.
pub struct End {
    pub disk: u16,
    pub directory_disk: u16,
    pub count_here: u16,
    pub count: u16,
    pub len: u32,
    pub offset: u32,
    pub comment: Vec<u8>,
    pub wide: Option<Wide>,
}

/// The zip64 end, its locator last.
pub struct Wide {
    pub record_len: u64,
    pub disk: u32,
    pub directory_disk: u32,
    pub count_here: u64,
    pub count: u64,
    pub len: u64,
    pub offset: u64,
    pub locator_disk: u32,
    pub at: u64,
    pub disks: u32,
}

/// A stored file.
pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    entry(name.as_ref(), content.as_ref(), STORED, 0o100_644)
}

/// A deflated file.
pub fn deflated(name: &str, content: impl AsRef<[u8]>) -> Entry {
    entry(name.as_bytes(), content.as_ref(), DEFLATED, 0o100_644)
}

/// A link.
pub fn link(name: &str, target: impl AsRef<[u8]>) -> Entry {
    entry(name.as_bytes(), target.as_ref(), STORED, 0o120_777)
}

/// A folder; `name` ends in `/`.
pub fn folder(name: &str) -> Entry {
    entry(name.as_bytes(), b"", STORED, 0o040_755)
}

/// A stored file with a unix mode of any type.
pub fn with_mode(name: &str, content: &str, mode: u32) -> Entry {
    entry(name.as_bytes(), content.as_bytes(), STORED, mode)
}

fn entry(name: &[u8], content: &[u8], method: u16, mode: u32) -> Entry {
    let packed = if method == DEFLATED { deflate(content) } else { content.to_vec() };
    let header = Header {
        made_by: UNIX,
        flags: FLAG_UTF8,
        method,
        time: 0,
        date: 33,
        crc: crc(content),
        compressed: packed.len() as u32,
        size: content.len() as u32,
        disk: 0,
        attributes: mode << 16,
        name: name.to_vec(),
        extra: Vec::new(),
        comment: Vec::new(),
    };
    Entry { before: Vec::new(), local: header.clone(), content: packed, after: Vec::new(), central: header, offset: None, absent: false }
}

pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An extra field.
pub fn field(id: u16, content: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), &(content.len() as u16).to_le_bytes(), content].concat()
}

/// The zip64 field with these numbers.
pub fn zip64(numbers: &[u64]) -> Vec<u8> {
    field(1, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

impl Entry {
    /// Changed where the directory speaks of it.
    pub fn central(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.central);
        self
    }

    /// Changed in its own header.
    pub fn local(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.local);
        self
    }

    /// Changed in both.
    pub fn both(self, change: impl Fn(&mut Header)) -> Self {
        self.local(&change).central(&change)
    }

    /// Said by the directory to be elsewhere.
    pub fn at(self, offset: u32) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// Only said by the directory to be there.
    pub fn only_said_at(self, offset: u32) -> Self {
        Self { absent: true, ..self.at(offset) }
    }

    /// With these bytes in front of it.
    pub fn after_bytes(self, before: &[u8]) -> Self {
        Self { before: before.to_vec(), ..self }
    }

    /// With these bytes behind its content.
    pub fn before_bytes(self, after: &[u8]) -> Self {
        Self { after: after.to_vec(), ..self }
    }

    /// Checksum and lengths not in its header but after its content, as a program writes that cannot go back.
    pub fn streamed(self, crc: u32, compressed: u32, size: u32) -> Self {
        let mut after = 0x0807_4b50_u32.to_le_bytes().to_vec();
        [crc, compressed, size].iter().for_each(|number| after.extend(number.to_le_bytes()));
        let unknown = |header: &mut Header| (header.crc, header.compressed, header.size) = (0, 0, 0);
        Self { after, ..self.both(|header| header.flags |= FLAG_DESCRIPTOR).local(unknown) }
    }
}

/// The archive of these entries.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    archive_with(entries, |_| {})
}

/// The archive of these entries, its end changed.
pub fn archive_with(entries: &[Entry], change: impl FnOnce(&mut End)) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        out.extend(&entry.before);
        let at = entry.offset.unwrap_or(out.len() as u32);
        if !entry.absent {
            out.extend(header_bytes(&entry.local));
            out.extend(&entry.content);
            out.extend(&entry.after);
        }
        central(&entry.central, at, &mut directory);
    }
    let mut end = End {
        disk: 0,
        directory_disk: 0,
        count_here: entries.len() as u16,
        count: entries.len() as u16,
        len: directory.len() as u32,
        offset: out.len() as u32,
        comment: Vec::new(),
        wide: None,
    };
    change(&mut end);
    out.extend(&directory);
    end.write(&mut out);
    out
}

impl End {
    /// A zip64 end that says the same, while the end itself says that it cannot; then changed.
    pub fn widen(&mut self, change: impl FnOnce(&mut Wide)) {
        let (count, len, offset) = (u64::from(self.count), u64::from(self.len), u64::from(self.offset));
        let mut wide = Wide {
            record_len: 44,
            disk: 0,
            directory_disk: 0,
            count_here: count,
            count,
            len,
            offset,
            locator_disk: 0,
            at: offset + len,
            disks: 1,
        };
        change(&mut wide);
        self.wide = Some(wide);
        (self.count_here, self.count, self.len, self.offset) = (u16::MAX, u16::MAX, u32::MAX, u32::MAX);
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(wide) = &self.wide {
            put32(out, &[0x0606_4b50]);
            put64(out, &[wide.record_len]);
            put16(out, &[UNIX, 45]);
            put32(out, &[wide.disk, wide.directory_disk]);
            put64(out, &[wide.count_here, wide.count, wide.len, wide.offset]);
            put32(out, &[0x0706_4b50, wide.locator_disk]);
            put64(out, &[wide.at]);
            put32(out, &[wide.disks]);
        }
        put32(out, &[0x0605_4b50]);
        put16(out, &[self.disk, self.directory_disk, self.count_here, self.count]);
        put32(out, &[self.len, self.offset]);
        put16(out, &[self.comment.len() as u16]);
        out.extend(&self.comment);
    }
}

/// What stands in front of a content.
pub fn header_bytes(header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    put32(&mut out, &[0x0403_4b50]);
    put16(&mut out, &[20, header.flags, header.method, header.time, header.date]);
    put32(&mut out, &[header.crc, header.compressed, header.size]);
    put16(&mut out, &[header.name.len() as u16, header.extra.len() as u16]);
    out.extend(&header.name);
    out.extend(&header.extra);
    out
}

fn central(header: &Header, at: u32, out: &mut Vec<u8>) {
    put32(out, &[0x0201_4b50]);
    put16(out, &[header.made_by, 20, header.flags, header.method, header.time, header.date]);
    put32(out, &[header.crc, header.compressed, header.size]);
    put16(out, &[header.name.len() as u16, header.extra.len() as u16, header.comment.len() as u16, header.disk, 0]);
    put32(out, &[header.attributes, at]);
    out.extend(&header.name);
    out.extend(&header.extra);
    out.extend(&header.comment);
}

fn put16(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

/// The CRC-32 of zip.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
