//! Names as text, whatever bytes they are made of.
//!
//! On unix a name is any bytes. Those that are not UTF-8 stand in a text as characters at the very end of Unicode, which nobody has names
//! with, so that whatever is copied keeps its name byte for byte. No archive and no manifest holds such a name: other systems have none.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Stand for the bytes from 0x80 to 0xFF.
const STAND_INS: RangeInclusive<char> = '\u{10ff80}'..='\u{10ffff}';
const BASE: u32 = 0x10_ff00;
/// How each of them begins in UTF-8.
const LEAD: u8 = 0xf4;

/// Whether `text` could not be a name everywhere.
pub(crate) fn is_byte_name(text: &str) -> bool {
    text.as_bytes().contains(&LEAD) && text.contains(|c| STAND_INS.contains(&c))
}

/// The text of a name.
#[cfg_attr(windows, allow(dead_code))] // names there are text
pub(super) fn to_text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    let stand_in = |byte: &u8| char::from_u32(BASE + u32::from(*byte)).expect("it is in the last plane of Unicode");
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if STAND_INS.contains(&c) {
                text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(stand_in));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().map(stand_in));
    }
    text
}

/// The name of a text.
#[cfg_attr(windows, allow(dead_code))] // names there are text
pub(super) fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !is_byte_name(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(BASE)) {
            Ok(byte) if STAND_INS.contains(&c) => bytes.push(byte),
            _ => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_byte_for_byte() {
        let names: [&[u8]; 6] = [b"plain", "ção 漢字 😀".as_bytes(), b"\xff", b"a\xe7\xe3o.txt", b"\xed\xa0\x80", "\u{10ffe7}".as_bytes()];
        for name in names {
            assert_eq!(to_bytes(&to_text(name)), name, "{name:?}");
        }
        let distinct: std::collections::BTreeSet<String> = names.into_iter().map(to_text).collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn only_names_that_are_text_everywhere_are_plain() {
        assert!(!is_byte_name(&to_text("ção 漢字 😀 \u{10ff00}".as_bytes())));
        assert!(is_byte_name(&to_text(b"caf\xe9")) && is_byte_name("\u{10ffe9}"));
    }
}
