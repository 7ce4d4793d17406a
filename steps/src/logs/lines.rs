//! The lines of a log as a person sees them: unpacked, decoded, without colours.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::LazyLock;

use encoding_rs::{Encoding, UTF_8};
use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use regex::Regex;

use super::Stretch;
use almaplan_engine::encoding;

/// How much of a line is looked at as one, in bytes.
const LONGEST: u64 = 64 << 10;

/// The lines of a stretch of a log, one after the other.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    raw: Vec<u8>,
}

impl Lines {
    /// The lines of `stretch`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(stretch: &Stretch) -> io::Result<Self> {
        let raw = open(&stretch.file, stretch.offset)?;
        let reader: Box<dyn Read> = match written_in(&stretch.file)? {
            Some(utf16) => Box::new(DecodeReaderBytesBuilder::new().encoding(Some(utf16)).bom_sniffing(false).build(raw)),
            None => raw,
        };
        Ok(Self { reader: BufReader::new(reader), raw: Vec::new() })
    }

    /// The next line, without its end; `None` behind the last one. What has no line ends comes in pieces.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub(crate) fn next(&mut self) -> io::Result<Option<String>> {
        self.raw.clear();
        if self.reader.by_ref().take(LONGEST).read_until(b'\n', &mut self.raw)? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.raw);
        Ok(Some(without_colours(text.trim_start_matches('\u{feff}')).trim_end().to_owned()))
    }
}

/// `text` without the escape sequences that colour it: beside them no word begins where it seems to.
fn without_colours(text: &str) -> Cow<'_, str> {
    // Most logs have none, and some are long.
    if !text.contains(['\x1b', '\u{9b}']) {
        return Cow::Borrowed(text);
    }
    static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
        // CSI, OSC, and the short ones (ECMA-48).
        let pattern = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|\u{9b}[0-?]*[ -/]*[@-~]";
        Regex::new(pattern).expect("the pattern is constant")
    });
    ESCAPES.replace_all(text, "")
}

/// What `file` holds from `offset` on; of one that ends in `.gz`, what is packed in it.
///
/// # Errors
/// It cannot be read, or is no regular file: to open a pipe would wait for whoever writes into it, perhaps for ever.
pub(super) fn open(file: &Path, offset: u64) -> io::Result<Box<dyn Read>> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut raw = File::open(file)?;
    if file.extension().is_some_and(|end| end == "gz") {
        let mut unpacked = MultiGzDecoder::new(BufReader::new(raw));
        io::copy(&mut unpacked.by_ref().take(offset), &mut io::sink())?;
        return Ok(Box::new(unpacked));
    }
    raw.seek(SeekFrom::Start(offset))?;
    Ok(Box::new(raw))
}

/// The encoding that the beginning of `file` tells.
fn written_in(file: &Path) -> io::Result<Option<&'static Encoding>> {
    let mut head = Vec::new();
    open(file, 0)?.take(encoding::HEAD as u64).read_to_end(&mut head)?;
    Ok(encoding::sniff(&head).filter(|encoding| *encoding != UTF_8))
}

/// Whether a line of `file` begins at `offset`.
pub(super) fn begins_line(file: &Path, offset: u64) -> bool {
    let Some(end) = written_in(file).ok().map(|encoding| encoding::encode("\n", encoding.unwrap_or(UTF_8))) else { return false };
    let Some(begin) = offset.checked_sub(end.len() as u64) else { return offset == 0 };
    let mut before = vec![0; end.len()];
    open(file, begin).and_then(|mut file| file.read_exact(&mut before)).is_ok() && before == end
}

/// The number of the line at `offset`, counted from 1.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn line_number(file: &Path, offset: u64) -> io::Result<u64> {
    let mut reader = BufReader::new(open(file, 0)?.take(offset));
    let mut number = 1;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(number);
        }
        number += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
}
