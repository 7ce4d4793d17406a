//! Makes entries of contents: each by itself, on any thread, deflated where that makes it smaller.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use zip::write::FullFileOptions;
use zip::{CompressionMethod, DateTime, PreparedZipFile, System, ZipArchive};

use super::details::{Details, encode_name};
use super::format::{DOS_FOLDER, DOS_READ_ONLY, EXTRA_DETAILS, MODE_FILE, MODE_FOLDER, MODE_LINK, ntfs_time};
use super::writer::{Zip, io_error};
use crate::files::FileKind;
use crate::local_host::local_zone;

/// A content that a few samples speak for is looked at in pieces of this length, the first of them at its start.
const SAMPLE: usize = 16 << 10;
/// How far apart the samples of a long content are at most.
const APART: usize = 1 << 20;
/// Shorter contents are compressed without a look at samples.
const SAMPLED_FROM: usize = 16 * SAMPLE;
/// Contents that may be as long as this in either form need zip64. Deflate adds less than the difference to 4 GiB.
const ZIP64_FROM: u64 = 0xFF00_0000;

/// What is known of an entry before its content.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// With `/`, without one at the end.
    pub name: String,
    /// Folder, file or link.
    pub kind: FileKind,
    /// When it was modified, in seconds since 1970.
    pub modified_s: i64,
    /// Unix permission bits.
    pub mode: u32,
    /// What else is kept of it.
    pub details: Details,
}

/// An entry, ready to be added to an archive.
pub(crate) enum Packed {
    /// In memory.
    Whole(PreparedZipFile),
    /// In a file without a name: an archive of this one entry.
    Spooled(ZipArchive<File>),
}

impl Packed {
    /// How long the content is, where it was held in memory.
    pub fn held(&self) -> u64 {
        if let Self::Whole(file) = self { file.uncompressed_size() } else { 0 }
    }
}

/// Packs entries.
pub(crate) struct Packer {
    level: u32,
    zone: TimeZone,
}

impl Packer {
    /// Compresses at `level` (1 to 9; 0 stores).
    pub fn new(level: u32) -> Self {
        Self { level, zone: local_zone() }
    }

    /// Packs a content, deflated if it gets smaller.
    pub fn pack(&self, item: &Item, content: &[u8]) -> io::Result<Packed> {
        let is_promising = self.level > 0 && !content.is_empty();
        if is_promising && (content.len() < SAMPLED_FROM || self.shrinks(&samples(content))?) {
            let deflated = PreparedZipFile::from_data(item.full_name(), self.options(item, true)?, content).map_err(io_error)?;
            if deflated.compressed_size() < deflated.uncompressed_size() {
                return Ok(Packed::Whole(deflated));
            }
        }
        self.store(item, content)
    }

    /// Packs a content as it is.
    pub fn store(&self, item: &Item, content: &[u8]) -> io::Result<Packed> {
        PreparedZipFile::from_data(item.full_name(), self.options(item, false)?, content).map(Packed::Whole).map_err(io_error)
    }

    /// Whether what `samples` were taken of is worth compressing: it gets at least a 200th smaller. Wheels do, as their directories do.
    pub fn shrinks(&self, samples: &[u8]) -> io::Result<bool> {
        if self.level == 0 {
            return Ok(false);
        }
        let mut deflated = flate2::bufread::DeflateEncoder::new(samples, Compression::new(self.level));
        Ok(io::copy(&mut deflated, &mut io::sink())? <= (samples.len() / 200 * 199) as u64)
    }

    /// Begins to pack a content of at most `len` bytes in a file without a name, which is on the volume of `folder`.
    pub fn spool(&self, item: &Item, deflates: bool, len: u64, folder: &Path) -> io::Result<Spool> {
        let mut zip = Zip::new(tempfile::tempfile_in(folder)?);
        let options = self.options(item, deflates)?.large_file(len >= ZIP64_FROM);
        zip.writer().start_file(item.full_name(), options).map_err(io_error)?;
        Ok(Spool(zip))
    }

    fn options(&self, item: &Item, deflates: bool) -> io::Result<FullFileOptions<'static, 'static>> {
        let (method, level) = match deflates {
            true => (CompressionMethod::Deflated, Some(self.level.into())),
            false => (CompressionMethod::Stored, None),
        };
        let options = FullFileOptions::default()
            .compression_method(method)
            .compression_level(level)
            .system(System::Unix)
            .external_attributes(item.attributes())
            .last_modified_time(self.local_time(item.modified_s).unwrap_or_default());
        let details =
            item.encoded_details().to_bytes().ok_or_else(|| io::Error::other("its attributes are longer than an archive can hold"))?;
        // The time of DOS is local and in steps of two seconds.
        let mut options = match (i32::try_from(item.modified_s), ntfs_time(item.modified_s)) {
            (Ok(seconds), _) => options.with_extended_timestamp(Some(seconds.cast_unsigned()), None, None),
            // Before 1901 or after 2038.
            (Err(_), Some(ticks)) => options.with_ntfs_times(ticks, ticks, ticks),
            (Err(_), None) => Ok(options),
        }
        .map_err(io_error)?;
        options.add_extra_field(EXTRA_DETAILS, details, true).map_err(io_error)?;
        Ok(options)
    }

    /// `None` of a time that DOS does not know.
    fn local_time(&self, seconds: i64) -> Option<DateTime> {
        let at = self.zone.to_datetime(Timestamp::from_second(seconds).ok()?);
        let parts = [at.month(), at.day(), at.hour(), at.minute(), at.second()];
        let [month, day, hour, minute, second] = parts.map(i8::cast_unsigned);
        DateTime::from_date_and_time(u16::try_from(at.year()).ok()?, month, day, hour, minute, second).ok()
    }
}

/// An entry whose content is written piece by piece.
pub(crate) struct Spool(Zip);

impl Spool {
    /// What was written so far is all.
    pub fn finish(self) -> io::Result<Packed> {
        ZipArchive::new(self.0.finish()?).map(Packed::Spooled).map_err(io_error)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.writer().flush()
    }
}

impl Item {
    fn full_name(&self) -> String {
        let name = encode_name(&self.name).unwrap_or_else(|| self.name.clone());
        if self.kind == FileKind::Folder { name + "/" } else { name }
    }

    fn encoded_details(&self) -> Details {
        Details { is_encoded: encode_name(&self.name).is_some(), ..self.details.clone() }
    }

    fn attributes(&self) -> u32 {
        let (kind, dos) = match self.kind {
            FileKind::Folder => (MODE_FOLDER, DOS_FOLDER),
            FileKind::Link => (MODE_LINK, 0),
            FileKind::File | FileKind::Other | FileKind::Mount => (MODE_FILE, if self.mode & 0o222 == 0 { DOS_READ_ONLY } else { 0 }),
        };
        ((kind | (self.mode & 0o7777)) << 16) | dos
    }
}

/// Where to look at a content of this length, and how far from there: enough to tell whether all of it gets smaller.
pub(crate) fn sampled(len: u64) -> impl Iterator<Item = (u64, u64)> {
    let (sample, apart) = (SAMPLE as u64, APART as u64);
    // A few of a short one, and of one of many gigabytes not so many that they take long.
    let count = (len / apart).clamp(4, 256);
    (0..count).map(move |number| (len.saturating_sub(sample) / count * number, sample))
}

fn samples(content: &[u8]) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).expect("it is in memory");
    sampled(content.len() as u64).flat_map(|(at, len)| &content[place(at)..place(at + len)]).copied().collect()
}
