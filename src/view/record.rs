//! What the views of a run were shown, kept as `runs/<run>/updates.jsonl`: the lines of `--progress json`, so that a second process can
//! show a run that another one has. It decides nothing: what became of a run is in its journal.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use almaplan_engine::append_private;
use almaplan_engine::trust;
use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::json::{self, Lines};
use crate::exit::Intent;

/// The record of a run in its folder.
fn path(folder: &Path) -> PathBuf {
    folder.join("updates.jsonl")
}

/// Writes the record of a run that this process has, as private as the journal.
pub struct UpdateRecord {
    path: PathBuf,
    file: Option<File>,
    lines: Lines,
}

impl UpdateRecord {
    /// A record in `folder`, which is made when the first line comes.
    pub fn new(folder: &Path, intent: Intent) -> Self {
        Self { path: path(folder), file: None, lines: Lines::new(intent) }
    }

    /// Keeps one update.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn keep(&mut self, at: Timestamp, update: &Update) -> io::Result<()> {
        let Some(mut line) = self.lines.of(at, update) else { return Ok(()) };
        line.push('\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        file.write_all(line.as_bytes())?;
        self.file = Some(file);
        Ok(())
    }
}

/// Opens a record for appending. A process that died may have left half a line, which is ended.
fn open(path: &Path) -> io::Result<File> {
    let mut file = append_private(path)?;
    let mut last = [b'\n'];
    let mut read = trust::open(path)?;
    if read.seek(SeekFrom::End(0))? > 0 {
        read.seek(SeekFrom::End(-1))?;
        read.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Reads the record of a run that another process has.
#[derive(Debug)]
pub struct UpdateReader {
    path: PathBuf,
    /// Up to where it was read: always behind a whole line.
    read: u64,
}

impl UpdateReader {
    /// The record in `folder`, from its beginning.
    pub fn new(folder: &Path) -> Self {
        Self { path: path(folder), read: 0 }
    }

    /// What was kept and not read yet. A line that is being written is left for the next call, and one that is none of ours (cut off by a
    /// crash) is left out; a record that does not exist (yet) is no error.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn next_updates(&mut self) -> io::Result<Vec<(Timestamp, Update)>> {
        let mut file = match trust::open(&self.path).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        self.read += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(json::read).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::OpenOptions;

    use super::*;
    use crate::view::sample;

    #[test]
    fn what_is_kept_is_read_back_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs").join("r1");
        let mut reader = UpdateReader::new(&run);
        assert_eq!(reader.next_updates().unwrap(), []);
        let mut record = UpdateRecord::new(&run, Intent::Forward);
        let updates = sample::failing();
        let (first, second) = updates.split_at(updates.len() / 2);
        for half in [first, second] {
            for (at, update) in half {
                record.keep(*at, update).unwrap();
            }
            let read = reader.next_updates().unwrap();
            assert!(!read.is_empty());
            // What was read is shown as what was kept.
            let mut lines = Lines::new(Intent::Forward);
            let again: Vec<_> = read.iter().filter_map(|(at, update)| lines.of(*at, update)).collect();
            let mut lines = Lines::new(Intent::Forward);
            let kept: Vec<_> = half.iter().filter_map(|(at, update)| lines.of(*at, update)).collect();
            assert_eq!(again, kept);
        }
        // A process that died left half a line, and the next one went on.
        let mut file = OpenOptions::new().append(true).open(path(&run)).unwrap();
        file.write_all(b"{\"event\":\"lo").unwrap();
        assert_eq!(reader.next_updates().unwrap(), []);
        let (at, update) = updates.last().unwrap();
        UpdateRecord::new(&run, Intent::Forward).keep(*at, update).unwrap();
        assert_eq!(reader.next_updates().unwrap().len(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_record_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (at, update) = sample::failing().remove(0);
        UpdateRecord::new(folder.path(), Intent::Forward).keep(at, &update).unwrap();
        assert_eq!(path(folder.path()).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
