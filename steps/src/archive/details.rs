//! What an archive keeps of a file beside what every zip archive does: an extra field of ours, in the directory.
//!
//! ```text
//!  version (1)   flags (1)   nanoseconds of the time (4)
//!  [user (4)  group (4)]     flag 1
//!  [bytes on disk (8)]       flag 4: it has holes
//!  [number (8)]              flag 8: all entries with this number are names of one file
//!  count (2)  { length (2)  name   length (2)  value }…   extended attributes
//! ```
//! Flag 2 says that the entry's name is [encoded](encode_name): a name that other systems cannot have. Other programs see the encoded one.

use std::borrow::Cow;

use super::format::Take;
use crate::files::{Extended, Owner, is_byte_name, name_bytes, name_text};

const VERSION: u8 = 1;
const OWNER: u8 = 1;
const ENCODED: u8 = 2;
const HOLES: u8 = 4;
const SHARED: u8 = 8;

/// What is kept of an entry beside name, content, kind, permission bits and the second of its time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Nanoseconds since the second in which it was modified.
    pub nanos: u32,
    /// How many bytes of the disk it took, where it had holes.
    pub allocated: Option<u64>,
    /// All entries with this number are names of one file.
    pub shared: Option<u64>,
    /// Whether the name is encoded.
    pub is_encoded: bool,
    /// Extended attributes.
    pub extended: Vec<Extended>,
}

impl Details {
    /// As bytes; `None` of more extended attributes than a field can hold.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        /// All fields of an entry together have 16 bits for their length; ours is not the only one.
        const LONGEST: usize = 65_000;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.owner.is_some(), OWNER)
            | flag(self.is_encoded, ENCODED)
            | flag(self.allocated.is_some(), HOLES)
            | flag(self.shared.is_some(), SHARED);
        let mut bytes = vec![VERSION, flags];
        bytes.extend(self.nanos.to_le_bytes());
        if let Some(owner) = self.owner {
            bytes.extend(owner.user.to_le_bytes());
            bytes.extend(owner.group.to_le_bytes());
        }
        [self.allocated, self.shared].into_iter().flatten().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(u16::try_from(self.extended.len()).ok()?.to_le_bytes());
        for part in self.extended.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(u16::try_from(part.len()).ok()?.to_le_bytes());
            bytes.extend(part);
        }
        (bytes.len() <= LONGEST).then_some(bytes)
    }

    /// From bytes; `None` where they are no field of ours.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = Take(bytes);
        let [version, flags] = *rest.bytes(2)? else { return None };
        if version != VERSION || flags & !(OWNER | ENCODED | HOLES | SHARED) != 0 {
            return None;
        }
        let nanos = rest.u32().filter(|nanos| *nanos < 1_000_000_000)?;
        let mut details = Self { nanos, is_encoded: flags & ENCODED != 0, ..Self::default() };
        if flags & OWNER != 0 {
            details.owner = Some(Owner { user: rest.u32()?, group: rest.u32()? });
        }
        if flags & HOLES != 0 {
            details.allocated = Some(rest.u64()?);
        }
        if flags & SHARED != 0 {
            details.shared = Some(rest.u64()?);
        }
        for _ in 0..rest.u16()? {
            let mut part = || rest.u16().and_then(|len| rest.bytes(len.into())).map(<[u8]>::to_vec);
            let (name, value) = (part()?, part()?);
            // The system would read the name up to its zero.
            if name.is_empty() || name.contains(&0) {
                return None;
            }
            details.extended.push((name, value));
        }
        rest.0.is_empty().then_some(details)
    }
}

/// A name as other programs see it, where it is none that every system can have: a byte that is not part of UTF-8, a backslash, and the
/// colon after a single letter at the beginning become `%` and two hexadecimal digits, and so does a `%` that would read as one of
/// these. `None` of a name that needs none of this.
pub(crate) fn encode_name(text: &str) -> Option<String> {
    // Most names need no closer look.
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b':' | 0xf4)) {
        return None;
    }
    let bytes = name_bytes(text);
    let encoded = encode(&bytes);
    (encoded.as_bytes() != &*bytes).then_some(encoded)
}

fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let is_drive = at == 1 && c == ':' && bytes[0].is_ascii_alphabetic() && matches!(bytes.get(2), None | Some(b'/' | b'\\'));
            let is_stand_in = is_byte_name(c.encode_utf8(&mut [0; 4]));
            if c == '\\' || is_drive || is_stand_in || (c == '%' && is_code(&bytes[at..])) {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| encoded.push_str(&format!("%{byte:02X}")));
            } else {
                encoded.push(c);
            }
            at += c.len_utf8();
        }
        chunk.invalid().iter().for_each(|byte| encoded.push_str(&format!("%{byte:02X}")));
        at += chunk.invalid().len();
    }
    encoded
}

/// Whether these bytes begin with what a byte could have become.
fn is_code(bytes: &[u8]) -> bool {
    code(bytes).is_some_and(|byte| matches!(byte, b'%' | b':' | b'\\' | 0x80..))
}

fn code(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The name that was encoded so; `None` where none was: two texts for one name would be understood differently.
pub(crate) fn decode_name(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        match code(rest) {
            Some(coded) => {
                bytes.push(coded);
                rest = &rest[3..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    name_text(&bytes).filter(|text| encode_name(text).as_deref() == Some(encoded))
}

/// The bytes of a link's text, as an archive has them as content.
pub(crate) fn link_bytes(text: &str) -> Cow<'_, [u8]> {
    name_bytes(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn details_come_back_and_nothing_else_is_taken_for_them() {
        let extended = vec![(b"security.capability".to_vec(), vec![1, 0, 0, 2]), (b"user.note".to_vec(), Vec::new())];
        let owner = Some(Owner { user: 1000, group: 33 });
        let all = Details { owner, nanos: 999_999_999, allocated: Some(4096), shared: Some(7), is_encoded: true, extended };
        for details in [Details::default(), all.clone()] {
            assert_eq!(Details::parse(&details.to_bytes().unwrap()), Some(details));
        }
        let bytes = all.to_bytes().unwrap();
        assert!((0..bytes.len()).all(|len| Details::parse(&bytes[..len]).is_none()), "a field that breaks off");
        assert_eq!(Details::parse(&[&bytes[..], b"x"].concat()), None, "a field with something after it");
        assert_eq!(Details::parse(&[&[2], &bytes[1..]].concat()), None, "a version that is not known");
        assert_eq!(Details { extended: vec![(b"user.x".to_vec(), vec![0; 65_000])], ..Details::default() }.to_bytes(), None);
    }

    #[test]
    #[cfg(unix)]
    fn every_name_of_unix_has_one_text_that_every_system_can_have() {
        let names: [&[u8]; 12] = [
            b"relat\xf3rio.pdf",
            b"a\\b.txt",
            b"a%5Cb.txt",
            b"a%255Cb.txt",
            b"C:",
            b"C:\\Users\\x",
            b"C%3A",
            b"\xed\xa0\x80",
            b"dir\xff/x",
            "\u{10ffe7}".as_bytes(),
            b"%C3%A7",
            b"c:/x",
        ];
        let mut texts = std::collections::BTreeSet::new();
        for name in names {
            let text = name_text(name).unwrap();
            let encoded = encode_name(&text).unwrap_or_else(|| panic!("{text}"));
            assert!(!encoded.contains('\\') && encoded.is_ascii(), "{encoded}");
            assert_eq!(decode_name(&encoded).unwrap(), text);
            texts.insert(encoded);
        }
        assert_eq!(texts.len(), names.len());
        for plain in ["100%", "a%20b", "a%zz", "x:y", "ção", "%5c"] {
            assert_eq!(encode_name(plain), None, "{plain}");
        }
        for wrong in ["a%2Fb", "%2E%2E/x", "a%41", "plain", "a%5c", "%00"] {
            assert_eq!(decode_name(wrong), None, "{wrong}");
        }
    }
}
