//! Writes an archive with the crate `zip`. Entries are added in the order of their names, so that the same folder gives the same archive.
//!
//! Two things are ours. The comment holds a checksum of the directory, as zip has none of its own. And an archive that is given up is
//! dropped in silence: a [`ZipWriter`] would finish it then, and print what goes wrong with that.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zip::ZipWriter;
use zip::result::ZipError;

use super::packer::Packed;
use super::reader::Reader;
use super::{DIRECTORY_SUM, checksum};

/// An archive that is being written. Nothing of it counts before [`Writer::finish`].
pub(crate) struct Writer {
    zip: Zip,
}

impl Writer {
    /// Writes to the start of an empty file, which can be read as well.
    pub fn new(file: File) -> Self {
        Self { zip: Zip::new(file) }
    }

    /// Adds an entry. Its name must come after those of all that were added before.
    pub fn add(&mut self, packed: Packed) -> io::Result<()> {
        let zip = self.zip.writer();
        match packed {
            Packed::Whole(file) => zip.add_prepared_file(file),
            Packed::Spooled(archive) => zip.merge_archive(archive),
        }
        .map_err(io_error)
    }

    /// Writes the directory and syncs. The comment says what `about` says, and what the directory's checksum is. `path` is for errors.
    pub fn finish(mut self, about: &str, path: &Path) -> io::Result<()> {
        self.zip.writer().set_comment(comment(about, 0)).map_err(io_error)?;
        let reader = Reader::new(self.zip.finish()?, path)?;
        let sum = checksum(&reader.directory_bytes().map_err(io::Error::other)?);
        let mut file = reader.into_file();
        file.seek(SeekFrom::End(-SUM_LEN))?;
        // In one write: formatted into the file, each leading zero would be one of its own.
        file.write_all(format!("{sum:08x}").as_bytes())?;
        file.sync_all()
    }
}

/// How long the checksum is, at the end of the comment.
const SUM_LEN: i64 = 8;

fn comment(about: &str, sum: u32) -> String {
    format!("{about}{DIRECTORY_SUM}{sum:08x}")
}

/// What the system said, where it was the system.
pub(super) fn io_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        error => error.into(),
    }
}

/// A [`ZipWriter`] that is silent when it is dropped before it was finished.
pub(super) struct Zip {
    writer: Option<ZipWriter<Output>>,
    given_up: Arc<AtomicBool>,
}

impl Zip {
    pub fn new(file: File) -> Self {
        let given_up = Arc::new(AtomicBool::new(false));
        let output = Output { file: BufWriter::with_capacity(256 << 10, file), at: 0, end: 0, given_up: Arc::clone(&given_up) };
        Self { writer: Some(ZipWriter::new(output)), given_up }
    }

    pub fn writer(&mut self) -> &mut ZipWriter<Output> {
        self.writer.as_mut().expect("it is there until it is finished")
    }

    /// Writes the directory, and gives back the file.
    pub fn finish(mut self) -> io::Result<File> {
        let writer = self.writer.take().expect("it is finished once");
        let output = writer.finish().map_err(io_error)?;
        output.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Drop for Zip {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

/// A file and how far it is written, so that asking for that writes nothing out. Once it is given up, or could not be written, whatever
/// comes is thrown away.
pub(super) struct Output {
    file: BufWriter<File>,
    at: u64,
    end: u64,
    given_up: Arc<AtomicBool>,
}

impl Output {
    fn unless_given_up<T>(&mut self, otherwise: T, work: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>) -> io::Result<T> {
        if self.given_up.load(Ordering::Relaxed) {
            return Ok(otherwise);
        }
        work(&mut self.file).inspect_err(|_| self.given_up.store(true, Ordering::Relaxed))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.unless_given_up(bytes.len(), |file| file.write(bytes))?;
        self.at += count as u64;
        self.end = self.end.max(self.at);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_given_up((), BufWriter::flush)
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to != self.at {
            self.unless_given_up(to, |file| file.seek(SeekFrom::Start(to)))?;
        }
        self.at = to;
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::NamedTempFile;

    use super::*;
    use crate::archive::{Archive, Details, Item, Limits, Packer, SAVED};
    use crate::files::{FileKind, Owner};

    fn details() -> Details {
        let owner = Some(Owner { user: 7, group: 8 });
        Details { owner, nanos: 9, extended: vec![(b"user.note".to_vec(), b"kept".to_vec())], ..Details::default() }
    }

    fn item(name: &str, modified_s: i64) -> Item {
        Item { name: name.to_owned(), kind: FileKind::File, modified_s, mode: 0o640, details: details() }
    }

    // Whether an entry needs zip64 is told by the length that its file has at the beginning.
    #[test]
    fn entries_come_back_however_they_were_packed() {
        let file = NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap());
        let (packer, content) = (Packer::new(6), b"the same line again\n".repeat(9));
        let times = [1, -3_000_000_000, 4_000_000_001, i64::from(i32::MAX)];
        writer.add(packer.pack(&item("a", times[0]), &content).unwrap()).unwrap();
        for (name, time, len, deflates) in [("b", times[1], u64::MAX, true), ("c", times[2], 9, false)] {
            let mut spool = packer.spool(&item(name, time), deflates, len, &std::env::temp_dir()).unwrap();
            content.chunks(7).for_each(|piece| spool.write_all(piece).unwrap());
            writer.add(spool.finish().unwrap()).unwrap();
        }
        writer.add(packer.store(&item("d", times[3]), &content).unwrap()).unwrap();
        writer.finish(SAVED, file.path()).unwrap();
        let archive = Archive::open(file.path(), &Limits::default()).unwrap();
        let found: Vec<_> = archive.entries.iter().map(|entry| (entry.name.as_str(), entry.modified_s, entry.mode)).collect();
        assert_eq!(found, [("a", times[0], 0o640), ("b", times[1], 0o640), ("c", times[2], 0o640), ("d", times[3], 0o640)]);
        assert!(archive.entries.iter().all(|entry| archive.content(entry).unwrap() == content));
        assert!(archive.entries.iter().all(|entry| entry.details == Some(details())));
    }

    // A `ZipWriter` that is dropped would write a directory, and say on the terminal why it cannot.
    #[test]
    fn what_is_given_up_is_not_finished() {
        let file = NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap());
        writer.add(Packer::new(0).store(&item("a", 0), &[7; 1 << 20]).unwrap()).unwrap();
        drop(writer);
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes.len() <= (1 << 20) + 100 && !bytes.windows(4).any(|four| four == b"PK\x05\x06"), "{} bytes", bytes.len());
    }
}
