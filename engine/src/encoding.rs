//! Texts that others wrote: with a byte order mark, in UTF-16 as PowerShell 5.1 writes it (`>`, `>>`, `Out-File`), or in UTF-8.

use std::io;
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How much of the beginning of a text tells its encoding, in bytes.
pub const HEAD: usize = 1024;

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither UTF-8 nor UTF-16; save it as UTF-8")]
pub struct NotText;

/// The encoding of the text that begins with `head`: what its byte order mark says, or UTF-16 where every other byte is zero.
/// `None`: neither, which today means UTF-8.
pub fn sniff(head: &[u8]) -> Option<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Some(encoding);
    }
    let (mut first, mut second) = (0, 0);
    let pairs = head.chunks_exact(2);
    let count = pairs.len();
    for pair in pairs {
        first += usize::from(pair[0] == 0);
        second += usize::from(pair[1] == 0);
    }
    // Most of a text in a European language is ASCII: one byte of two is zero, and always the same one.
    match (first * 2 > count, second * 2 > count) {
        (false, true) => Some(UTF_16LE),
        (true, false) => Some(UTF_16BE),
        (false, false) | (true, true) => None,
    }
}

/// The whole text, without its byte order mark.
///
/// # Errors
/// The bytes are no text in the encoding that [`sniff`] tells, or in UTF-8.
pub fn decode(bytes: &[u8]) -> Result<String, NotText> {
    let encoding = sniff(&bytes[..bytes.len().min(HEAD)]).unwrap_or(UTF_8);
    let (text, _, damaged) = encoding.decode(bytes);
    if damaged { Err(NotText) } else { Ok(text.into_owned()) }
}

/// The text of a file that a person wrote: a plan, its values, a secret.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read(file: impl AsRef<Path>) -> io::Result<String> {
    decode(&std::fs::read(file)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// `text` in `encoding`, which is UTF-8 or UTF-16: what is appended to a file that is written so.
pub fn encode(text: &str, encoding: &'static Encoding) -> Vec<u8> {
    if encoding == UTF_16LE {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else if encoding == UTF_16BE {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    } else {
        text.as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "[05/02/2026] Deploy concluído\r\n";

    #[test]
    fn a_text_is_read_as_it_is_written() {
        for encoding in [UTF_8, UTF_16LE, UTF_16BE] {
            for mark in ["", "\u{feff}"] {
                let bytes = encode(&format!("{mark}{TEXT}"), encoding);
                assert_eq!(decode(&bytes).unwrap(), TEXT, "{encoding:?} {mark:?}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused_and_an_empty_one_is_empty() {
        assert_eq!(decode(b"a\xff\x80b"), Err(NotText));
        assert_eq!(decode(b"\xff\xfea"), Err(NotText), "half a character");
        assert_eq!(decode(b"").unwrap(), "");
        assert_eq!(decode(b"\xef\xbb\xbf").unwrap(), "");
    }
}
