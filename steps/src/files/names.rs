//! Which names and links may be made on disk.

use std::collections::HashSet;

use super::{is_byte_name, platform};

/// Whether `name` (with `/` between components) stays inside the folder it is joined to and means one file.
///
/// # Errors
/// It does not; the error says why.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    complaint(name, platform::WINDOWS_NAMES).map_or(Ok(()), Err)
}

/// The folder that the thing called `name` is in; nothing where that is the outermost one.
pub(crate) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What is wrong with `name`, by the rules of Windows where asked, and by those that hold everywhere.
///
/// Refused everywhere is whatever some system takes for a way out: a root, a drive, `..`, and a backslash, which separates on Windows and
/// is a character elsewhere. What a folder on the system at hand may hold is refused only where it means another file than it says: on
/// Windows devices, streams, names that end in a dot or a space, and names that differ in case only. A backup made on Linux that has such
/// names comes back on Linux, and is refused on Windows.
pub(crate) fn complaint(name: &str, windows: bool) -> Option<&'static str> {
    if !windows && is_plain(name.as_bytes()) {
        return None;
    }
    if name.contains('\0') {
        return Some("has a NUL in it");
    }
    if is_byte_name(name) {
        return Some("is not UTF-8");
    }
    if name.starts_with(['/', '\\']) {
        return Some("is absolute");
    }
    if is_drive(name) {
        return Some("begins with a drive");
    }
    for part in name.as_bytes().split(|byte| matches!(byte, b'/' | b'\\')) {
        match part {
            b".." => return Some("climbs out of the folder"),
            b"" | b"." => return Some("has a component that is empty or a dot"),
            _ if part.len() > LONGEST_PART && is_too_long(part, windows) => return Some("is too long"),
            _ => {}
        }
    }
    if name.contains('\\') {
        return Some("has a backslash in it");
    }
    if name.len() > if windows { 32_000 } else { 4095 } {
        return Some("is too long");
    }
    if windows { name.split('/').find_map(windows_complaint) } else { None }
}

/// As [`complaint`], of a name that stands encoded in an archive, and may have what only names of unix have.
pub(crate) fn odd_complaint(name: &str, windows: bool) -> Option<&'static str> {
    if windows {
        return complaint(name, true);
    }
    let plain =
        |(at, c): (usize, char)| if c == '\\' || (at == 1 && c == ':') || is_byte_name(c.encode_utf8(&mut [0; 4])) { '_' } else { c };
    complaint(&name.chars().enumerate().map(plain).collect::<String>(), false)
}

/// Whether nothing in a name needs a closer look, as in nearly all of them: that is seen without taking it apart.
fn is_plain(name: &[u8]) -> bool {
    let is_odd = |byte: u8| (byte == 0) | (byte == b'\\') | (byte == b':') | !byte.is_ascii();
    let begins_oddly = |part: u8| (part == b'/') | (part == b'.');
    let [first, rest @ ..] = name else { return false };
    let pairs = name.iter().zip(rest);
    !begins_oddly(*first)
        && name.last() != Some(&b'/')
        && name.len() <= LONGEST_PART
        && !name.iter().fold(false, |odd, byte| odd | is_odd(*byte))
        && !pairs.fold(false, |odd, (byte, next)| odd | ((*byte == b'/') & begins_oddly(*next)))
}

/// What any system takes as one component: bytes on unix, units of UTF-16 on Windows, which are never more.
const LONGEST_PART: usize = 255;

fn is_too_long(part: &[u8], windows: bool) -> bool {
    !windows || String::from_utf8_lossy(part).encode_utf16().count() > LONGEST_PART
}

fn is_drive(name: &str) -> bool {
    let mut bytes = name.bytes();
    let letter = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    letter && bytes.next() == Some(b':') && matches!(bytes.next(), None | Some(b'/' | b'\\'))
}

fn windows_complaint(part: &str) -> Option<&'static str> {
    if part.contains(':') {
        return Some("names an alternate stream");
    }
    if part.contains(|c: char| c < ' ' || "<>\"|?*".contains(c)) {
        return Some("has characters that Windows does not allow");
    }
    if part.ends_with(['.', ' ']) {
        return Some("ends with a dot or a space, which Windows drops");
    }
    let stem = part.split('.').next().unwrap_or(part).trim_end_matches(' ').to_uppercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| {
            let mut digits = rest.chars();
            digits.next().is_some_and(|digit| matches!(digit, '0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        })
    };
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT");
    device.then_some("is the name of a device")
}

/// How often a link may climb.
const CLIMBS: usize = 100;

/// What is wrong with a link at `name` that leads to `target`, where `links` are all links beside it.
///
/// A target may climb, but not above the folder, and not out of another link: what that means depends on where the other leads.
pub(crate) fn link_complaint(name: &str, target: &str, links: &HashSet<&str>, windows: bool) -> Option<&'static str> {
    if target.is_empty() || target.contains('\0') {
        return Some("is a link to nothing");
    }
    if target.starts_with(['/', '\\']) || is_drive(target) || (windows && target.contains([':', '\\'])) {
        return Some("is a link out of the folder");
    }
    let mut at: Vec<&str> = name.split('/').collect();
    at.pop();
    // Each climb is looked up, so that many of them in many links would take for ever.
    if target.split('/').filter(|part| *part == "..").count() > CLIMBS {
        return Some("is a link that climbs too often");
    }
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part != ".." {
            at.push(part);
            continue;
        }
        if links.contains(at.join("/").as_str()) {
            return Some("is a link that climbs out of another link");
        }
        if at.pop().is_none() {
            return Some("is a link out of the folder");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused_everywhere() {
        for name in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a\\..\\..\\x",
            "\\\\server\\share",
            "C:/x",
            "c:\\x",
            "C:",
            "a//b",
            "a/",
            "a/.",
            "a/..",
            "a/./b",
            "./a",
            "",
            "a\0b",
            "a\\b",
        ] {
            assert!(complaint(name, false).is_some(), "{name:?}");
        }
        for name in ["a", "a/b c/ção.txt", "..a", "a..", "...", "a/..b", "a/.b", "a:b", "nul", ".hidden"] {
            assert_eq!(complaint(name, false), None, "{name:?}");
        }
    }

    #[test]
    fn windows_refuses_devices_streams_and_what_it_would_drop() {
        for name in ["nul", "x/CON.txt", "com1.log", "LPT9", "COM¹", "a:b", "a.", "a ", "x./b", "a\\b", "a?", "conin$", "aux .txt"] {
            assert!(complaint(name, true).is_some(), "{name:?}");
        }
        for name in ["console", "com10", "lpt", "a.b", "nulls.txt", "comá"] {
            assert_eq!(complaint(name, true), None, "{name:?}");
        }
    }

    #[test]
    fn a_link_may_climb_but_not_out() {
        let links = HashSet::from(["a/b/up"]);
        let refused = |name: &str, target: &str| link_complaint(name, target, &links, false).is_some();
        assert!(!refused("a/l", "../b"));
        assert!(!refused("a/l", "b/../c"));
        assert!(refused("a/l", "../../b"));
        assert!(refused("l", "/etc"));
        // `a/b/up` may lead anywhere in the folder, so climbing from there may end outside.
        assert!(refused("l", "a/b/up/.."));
    }
}
