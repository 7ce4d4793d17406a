//! Volumes that are mounted below a folder.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where volumes are mounted below the folder `path`, and not at it. Nothing where the system does not tell.
///
/// # Errors
/// `path` cannot be looked at.
pub(crate) fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = path.canonicalize()?;
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let places = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped);
    let mut below: Vec<PathBuf> = places.filter(|place| *place != path && place.starts_with(&path)).collect();
    below.sort();
    below.dedup();
    Ok(below)
}

/// A path of the table: blanks, line ends and backslashes are written there as a backslash and three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_backslashes_in_the_table_are_read() {
        assert_eq!(unescaped(br"/srv/a\040b\134c"), Path::new(r"/srv/a b\c"));
        assert_eq!(unescaped(br"/plain\9"), Path::new(r"/plain\9"));
    }
}
