//! Requirements files, read as pip reads them.
//!
//! ```text
//!  bytes ─ decode ─> text ─ join lines, drop comments, expand ${NAME} ─> line ─ arguments, options ─> what it asks for
//! ```
//!
//! Whatever pip accepts is understood here: every encoding, quotes, tabs, continued lines, each spelling of an option. Paths of packages
//! are relative to the folder that the installer runs in, paths of included files to the file that includes them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use regex::Regex;
use reqwest::Url;
use serde::Serialize;

use super::PythonError;

/// What the name of an archive ends with that pip installs.
const ARCHIVES: [&str; 12] =
    [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar", ".tlz", ".tar.lz", ".tar.lzma"];
/// The systems of version control that pip knows.
const CHECKOUTS: [&str; 4] = ["git", "hg", "svn", "bzr"];
/// The options of a requirements file, and whether each takes a value.
const OPTIONS: [(&str, bool); 22] = [
    ("all-releases", true),
    ("config-setting", true),
    ("config-settings", true),
    ("constraint", true),
    ("editable", true),
    ("extra-index-url", true),
    ("find-links", true),
    ("global-option", true),
    ("hash", true),
    ("index-url", true),
    ("no-binary", true),
    ("no-index", false),
    ("no-require-hashes", false),
    ("only-binary", true),
    ("only-final", true),
    ("pre", false),
    ("prefer-binary", false),
    ("pypi-url", true),
    ("require-hashes", false),
    ("requirement", true),
    ("trusted-host", true),
    ("use-feature", true),
];

/// One line of a requirements file that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The file it is in.
    pub(crate) file: PathBuf,
    /// Its line, counted from 1.
    pub(crate) number: usize,
    /// What is written there, without comment, in single spaces. Variables are not expanded: they hold passwords.
    pub(crate) text: String,
    /// It is in a constraints file: it limits versions, and asks for nothing.
    pub(crate) constraint: bool,
    /// What it asks for.
    pub(crate) asks: Asks,
}

/// What a line asks for, with variables expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A package of an index, by its name.
    Package {
        /// The requirement.
        requirement: String,
        /// `--hash` and the like.
        options: String,
    },
    /// A file or a folder.
    Path {
        /// Where it is.
        path: PathBuf,
        /// The rest of the line: extras, conditions, options.
        rest: String,
    },
    /// An archive somewhere in the network.
    Address {
        /// Its address, without user and password.
        url: String,
        /// The rest of the line.
        rest: String,
    },
    /// A version in a repository.
    Checkout {
        /// Its address, without user and password.
        url: String,
        /// Which version, where the line says.
        revision: Option<String>,
        /// The rest of the line.
        rest: String,
    },
    /// A link to a folder of source.
    Editable,
    /// The lines of another file, which follow.
    Include,
    /// The lines of a file somewhere in the network.
    IncludeAddress,
    /// How to install.
    Setting,
}

/// What `file` says, and the files that it includes: comments and empty lines left out. Packages in folders are looked for from `cwd` on.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn requirements(file: &Path, cwd: &Path) -> Result<Vec<Requirement>, PythonError> {
    let mut reader = Reader { cwd, seen: HashSet::new(), found: Vec::new() };
    reader.read(file, false)?;
    Ok(reader.found)
}

/// What the lines of a list say that is no file, like the one that `pip freeze` prints.
pub(crate) fn listed(list: &str, cwd: &Path) -> Vec<Requirement> {
    let lines = logical_lines(list).into_iter();
    lines.filter_map(|(number, line)| Requirement::of(Path::new(""), number, &line, cwd, false).map(|(line, _)| line)).collect()
}

struct Reader<'a> {
    cwd: &'a Path,
    seen: HashSet<(PathBuf, bool)>,
    found: Vec<Requirement>,
}

impl Reader<'_> {
    fn read(&mut self, file: &Path, constraint: bool) -> Result<(), PythonError> {
        if !self.seen.insert((file.to_owned(), constraint)) {
            return Ok(());
        }
        let text = std::fs::read(file).and_then(|bytes| decode(&bytes));
        let text = text.map_err(|reason| PythonError::Requirements { file: file.to_owned(), reason })?;
        for (number, line) in logical_lines(&text) {
            let Some((requirement, included)) = Requirement::of(file, number, &line, self.cwd, constraint) else { continue };
            self.found.push(requirement);
            if let Some((included, constraint)) = included {
                self.read(&included, constraint)?;
            }
        }
        Ok(())
    }
}

/// Why what a line asks for may be something else tomorrow although the line is the same, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub(crate) enum Moves {
    #[error(
        "is editable: the environment would lead into a folder that is replaced or changes later; write the folder without `-e`, which \
         installs a copy, or name a version of a package"
    )]
    Editable,
    #[error("includes a file of the network, which may change; save that file beside this one and include it")]
    Included,
    #[error("follows `{revision}`, which moves; write the whole id of a commit after `@`")]
    Checkout { revision: String },
    #[error(
        "follows `{revision}`, which moves; write the whole id of a commit after `@` (`git ls-remote {repository} {revision}` tells it)"
    )]
    Revision { revision: String, repository: String },
    #[error("is an address whose content may change; write `#sha256=` and the hash of the file after it")]
    Address,
}

impl Requirement {
    /// What a line says, and the file that it includes, with whether that is one of constraints; `None` where it says nothing.
    fn of(file: &Path, number: usize, line: &str, cwd: &Path, constraint: bool) -> Option<(Self, Option<(PathBuf, bool)>)> {
        let text = without_comment(line).trim();
        if text.is_empty() {
            return None;
        }
        let line = Self { file: file.to_owned(), number, text: single_spaces(text), constraint, asks: Asks::Setting };
        let (arguments, options) = arguments_and_options(&expanded(text));
        if !arguments.trim().is_empty() {
            return Some((Self { asks: Asks::of(&arguments, &options, cwd), ..line }, None));
        }
        let options = parse_options(&options);
        let first = |wanted: &str| options.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| value.as_deref());
        if first("editable").is_some() {
            return Some((Self { asks: Asks::Editable, ..line }, None));
        }
        let (name, constraint) = match (first("requirement"), first("constraint")) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => return Some((line, None)),
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        Some(match scheme(name).as_deref() {
            Some("http" | "https") => (Self { asks: Asks::IncludeAddress, ..line }, None),
            Some("file") => (Self { asks: Asks::Include, ..line }, Some((file_of(name, folder), constraint))),
            _ => (Self { asks: Asks::Include, ..line }, Some((folder.join(name), constraint))),
        })
    }

    /// Why what it asks for may be something else tomorrow although the line is the same, and what to write instead.
    pub(crate) fn moves(&self) -> Option<Moves> {
        match &self.asks {
            Asks::Editable => Some(Moves::Editable),
            Asks::IncludeAddress => Some(Moves::Included),
            Asks::Checkout { url, revision, .. } if !is_fixed(url, revision.as_deref()) => {
                let revision = revision.as_deref().unwrap_or("HEAD").to_owned();
                let repository = url.strip_prefix("git+").map(|url| url.split('#').next().unwrap_or_default());
                Some(match repository.map(|url| before_revision(url).to_owned()) {
                    Some(repository) => Moves::Revision { revision, repository },
                    None => Moves::Checkout { revision },
                })
            }
            Asks::Address { url, rest } if !url.contains("#sha") && !url.contains("&sha") && !rest.contains("--hash") => {
                Some(Moves::Address)
            }
            _ => None,
        }
    }
}

impl Asks {
    /// What the part of a line asks for that is no option.
    fn of(arguments: &str, options: &str, cwd: &Path) -> Self {
        static REFERENCE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*(\S+)").expect("it is a pattern"));
        static EXTRAS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(.+?)\s*\[[^\]]+\]$").expect("it is a pattern"));
        let whole = single_spaces(&format!("{arguments} {options}"));
        let named = REFERENCE.captures(arguments).and_then(|captures| captures.get(1)).map(|url| url.as_str());
        let first = named.or_else(|| arguments.split_whitespace().next()).unwrap_or_default();
        // A condition follows an address after a semicolon and a space.
        let url = first.strip_suffix(';').unwrap_or(first);
        let rest = |part: &str| single_spaces(&whole.replacen(part, " ", 1));
        match scheme(url).as_deref() {
            Some("file") => {
                let fragment = url.split_once('#').map_or("", |(_, fragment)| fragment);
                return Self::Path { path: file_of(url, cwd), rest: single_spaces(&format!("{} {fragment}", rest(url))) };
            }
            Some("http" | "https" | "ftp") => return Self::Address { url: without_user(url), rest: rest(url) },
            Some(scheme) if CHECKOUTS.contains(&scheme.split('+').next().unwrap_or_default()) => {
                let revision = revision(url).map(str::to_owned);
                return Self::Checkout { url: without_user(url), revision, rest: rest(url) };
            }
            _ => {}
        }
        let name = arguments.split(';').next().unwrap_or_default().trim();
        let name = EXTRAS.captures(name).and_then(|captures| captures.get(1)).map_or(name, |name| name.as_str());
        // No name of a package looks like that.
        let looks_like_path = name.starts_with('.') || name.contains(['/', '\\']);
        let lower = name.to_ascii_lowercase();
        let is_archive = ARCHIVES.iter().any(|end| lower.ends_with(end));
        if named.is_none() && (looks_like_path || is_archive) {
            return Self::Path { path: cwd.join(name), rest: rest(name) };
        }
        Self::Package { requirement: single_spaces(arguments), options: single_spaces(options) }
    }
}

/// The text of a requirements file: by its mark, else by the encoding that a comment of its first two lines names (PEP 263), else
/// UTF-8. What is none of these is read as Windows of western Europe writes, where every byte means something.
///
/// # Errors
/// The bytes are no such text.
fn decode(bytes: &[u8]) -> io::Result<String> {
    static NAMED: LazyLock<regex::bytes::Regex> =
        LazyLock::new(|| regex::bytes::Regex::new(r"(?-u)coding[:=]\s*([-\w.]+)").expect("it is a pattern"));
    let marked = |mark: &[u8], encoding: &'static Encoding| bytes.strip_prefix(mark).map(|rest| (rest, encoding));
    // UTF-32 first: its mark begins with the one of UTF-16.
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe\0\0") {
        return utf_32(rest, u32::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(b"\0\0\xfe\xff") {
        return utf_32(rest, u32::from_be_bytes);
    }
    let by_mark = marked(b"\xef\xbb\xbf", UTF_8).or_else(|| marked(b"\xff\xfe", UTF_16LE)).or_else(|| marked(b"\xfe\xff", UTF_16BE));
    let named = || {
        let comment =
            bytes.split(|byte| *byte == b'\n').take(2).filter(|line| line.starts_with(b"#")).find_map(|line| NAMED.captures(line))?;
        let label = String::from_utf8_lossy(&comment[1]).replace('_', "-");
        Some((bytes, Encoding::for_label(label.as_bytes())?))
    };
    let (text, encoding) = by_mark.or_else(named).unwrap_or((bytes, UTF_8));
    let (decoded, damaged) = encoding.decode_without_bom_handling(text);
    match damaged {
        false => Ok(decoded.into_owned()),
        true if encoding == UTF_8 && text.len() == bytes.len() => Ok(WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()),
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is not the {} that it says", encoding.name()))),
    }
}

fn utf_32(bytes: &[u8], number: fn([u8; 4]) -> u32) -> io::Result<String> {
    let (words, rest) = bytes.as_chunks::<4>();
    let text: Option<String> = words.iter().map(|word| char::from_u32(number(*word))).collect();
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is not the UTF-32 that it says");
    text.filter(|_| rest.is_empty()).ok_or_else(invalid)
}

/// The lines of a text, those joined that a backslash continues, each with its number; as Python splits lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let text = text.replace("\r\n", "\n");
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.split(ends).enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        if line.ends_with('\\') && !is_comment {
            let begun = begun.get_or_insert_with(|| (index + 1, String::new()));
            begun.1.push_str(line.trim_matches('\\'));
            continue;
        }
        let (number, mut whole) = begun.take().unwrap_or((index + 1, String::new()));
        if is_comment {
            whole.push(' ');
        }
        whole.push_str(line);
        lines.push((number, whole));
    }
    lines.extend(begun);
    lines
}

/// A comment begins with `#` at the beginning of a line or after white space.
fn without_comment(line: &str) -> &str {
    let begins = |index: &usize| line[..*index].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').map(|(index, _)| index).find(begins).map_or(line, |index| &line[..index])
}

/// `text` with each `${NAME}` replaced that the environment has a value for.
fn expanded(text: &str) -> String {
    static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{([A-Z0-9_]+)\}").expect("it is a pattern"));
    let value = |captures: &regex::Captures<'_>| {
        let value = std::env::var(&captures[1]).ok().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| captures[0].to_owned())
    };
    VARIABLE.replace_all(text, value).into_owned()
}

/// Options begin with the first word that begins with a hyphen; only they are quoted as a shell quotes.
fn arguments_and_options(line: &str) -> (String, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let options = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
    (words[..options].join(" "), words[options..].join(" "))
}

/// The options of a line by their long names, each with its value. What is none is left to pip, which says so.
fn parse_options(text: &str) -> Vec<(&'static str, Option<String>)> {
    let mut words = shlex::split(text).unwrap_or_default().into_iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let (option, given) = if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
            (long_option(name), value)
        } else if let Some((short, value)) = word.strip_prefix('-').and_then(|short| short.split_at_checked(1)) {
            (short_option(short), Some(value.to_owned()).filter(|value| !value.is_empty()))
        } else {
            continue;
        };
        let Some((name, takes_value)) = option else { continue };
        let value = if takes_value { given.or_else(|| words.next()) } else { None };
        found.push((name, value));
    }
    found
}

/// A long option may be cut short as long as it is clear which one is meant.
fn long_option(name: &str) -> Option<(&'static str, bool)> {
    let mut meant = OPTIONS.into_iter().filter(|(option, _)| option.starts_with(name));
    let exact = OPTIONS.into_iter().find(|(option, _)| *option == name);
    exact.or_else(|| meant.next().filter(|_| meant.next().is_none()))
}

fn short_option(letter: &str) -> Option<(&'static str, bool)> {
    let letters =
        [("r", "requirement"), ("c", "constraint"), ("e", "editable"), ("i", "index-url"), ("f", "find-links"), ("C", "config-settings")];
    letters.into_iter().find(|(short, _)| *short == letter).map(|(_, long)| (long, true))
}

/// The scheme of an address; a drive of Windows is none.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// The file of a `file:` address, which may be relative.
fn file_of(url: &str, folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let base = Url::from_directory_path(&absolute).ok();
    let path = base.and_then(|base| base.join(url).ok()).and_then(|url| url.to_file_path().ok());
    path.unwrap_or_else(|| folder.join(url.get(5..).unwrap_or_default()))
}

/// An address without user and password: they do not say what is there.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_ends = rest.find('/').unwrap_or(rest.len());
    let host_begins = rest[..host_ends].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host_begins..])
}

/// What stands after `@` in the path of a repository's address.
fn revision(url: &str) -> Option<&str> {
    let address = url.split('#').next().unwrap_or_default();
    let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path)?;
    path.rsplit_once('@').map(|(_, revision)| revision)
}

fn before_revision(url: &str) -> &str {
    revision(url).map_or(url, |revision| url.strip_suffix(revision).unwrap_or(url).trim_end_matches('@'))
}

/// Whether a revision always means the same content: a commit does, a branch and a tag do not.
fn is_fixed(url: &str, revision: Option<&str>) -> bool {
    let Some(revision) = revision else { return false };
    let numbered = url.starts_with("svn") || url.starts_with("bzr");
    let is_commit = matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit || (numbered && !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_digit()))
}

fn single_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// What `requirements.txt` says, beside the files `others`: the packages and settings, with `constraint` before those that only limit.
    fn read(content: impl AsRef<[u8]>, others: &[(&str, &str)]) -> Vec<String> {
        let folder = tempdir().unwrap();
        write(folder.path().join("requirements.txt"), content).unwrap();
        for (name, content) in others {
            let path = folder.path().join(name);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        let lines = requirements(&folder.path().join("requirements.txt"), folder.path()).unwrap();
        let said = |line: Requirement| {
            let constraint = if line.constraint { "constraint " } else { "" };
            match line.asks {
                Asks::Package { requirement, options } => Some(format!("{constraint}{requirement} {options}").trim_end().to_owned()),
                Asks::Include => None,
                _ => Some(format!("{constraint}{}", line.text)),
            }
        };
        lines.into_iter().filter_map(said).collect()
    }

    fn utf_16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    /// A list that PowerShell wrote was taken for one of nothing, and every deploy after it for the first one.
    #[test]
    fn a_file_is_read_in_the_encoding_that_it_is_written_in() {
        let text = "\u{feff}# -*- do escritório -*-\r\n-r base.txt\r\npadaria==1.0\r\n";
        let base = [("base.txt", "flask\n")];
        let utf_32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let big_32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for bytes in [text.as_bytes().to_vec(), utf_16(text, false), utf_16(text, true), utf_32, big_32] {
            assert_eq!(read(bytes, &base), ["flask", "padaria==1.0"]);
        }
        let named = b"# vim: set fileencoding=latin-1 :\npadaria==1.0 # p\xe3o\n-r p\xe3o.txt\n";
        assert_eq!(read(named, &[("pão.txt", "flask\n")]), ["padaria==1.0", "flask"]);
        assert_eq!(read(b"\n# coding: utf_8\npadaria # p\xc3\xa3o\n", &[]), ["padaria"]);
        // No encoding is named and it is not UTF-8.
        assert_eq!(read(b"padaria # p\xe3o\n-r p\xe3o.txt\n", &[("pão.txt", "flask")]), ["padaria", "flask"]);
    }

    #[test]
    fn lines_are_continued_and_commented_as_pip_does_it() {
        assert_eq!(read("x==1 \\\n  --hash=sha256:00 \\\n\t--hash=sha256:01\n", &[]), ["x==1 --hash=sha256:00 --hash=sha256:01"]);
        assert_eq!(read("  # whole\nx==1\t# after a tab\ny#z==1\n#\\\nz\n", &[]), ["x==1", "y#z==1", "z"]);
        assert_eq!(read("x \\\n# between\ny\n\\\n", &[]), ["x", "y"]);
        assert_eq!(read("a\rb\u{c}c\u{85}d\r\n", &[]), ["a", "b", "c", "d"]);
        assert_eq!(read("x==1 \\", &[]), ["x==1"]);
    }

    /// Every spelling is valid for pip; a file that is not followed is one whose changes nobody notices.
    #[test]
    fn included_files_are_found_however_they_are_written() {
        let others = [("base.txt", "a\n"), ("base reqs.txt", "b\n"), ("sub/one.txt", "-r two.txt\n"), ("sub/two.txt", "c\n")];
        for (line, found) in [
            ("-r base.txt", "a"),
            ("-rbase.txt", "a"),
            ("-r\tbase.txt", "a"),
            ("-r  base.txt\t# common", "a"),
            ("--requirement base.txt", "a"),
            ("--requirement=base.txt", "a"),
            ("--requirem=base.txt", "a"),
            ("-r 'base.txt'", "a"),
            ("-r \"base reqs.txt\"", "b"),
            ("-r base\\ reqs.txt", "b"),
            ("--requirement='base reqs.txt'", "b"),
            ("--pre -r base.txt", "a"),
            ("-i https://x/simple -r base.txt", "a"),
            ("-r sub/one.txt", "c"),
            ("-r ./sub/../base.txt", "a"),
            ("-r base.txt \\\n", "a"),
            ("-c base.txt", "constraint a"),
            ("-cbase.txt", "constraint a"),
            ("--constraint=base.txt", "constraint a"),
            ("--constr base.txt", "constraint a"),
            ("-c base.txt -r sub/two.txt", "c"),
        ] {
            assert_eq!(read(line, &others), [found], "{line}");
        }
        // Only options are quoted, and an option after a package includes nothing.
        assert_eq!(read("x; python_version > '3'", &others), ["x; python_version > '3'"]);
        assert_eq!(read("x -r base.txt", &others), ["x -r base.txt"]);
        assert_eq!(read("-r requirements.txt\na", &[]), ["a"], "it includes itself");
        let folder = tempdir().unwrap();
        write(folder.path().join("a.txt"), "-r nothing.txt\n").unwrap();
        let error = requirements(&folder.path().join("a.txt"), folder.path()).unwrap_err().to_string();
        assert!(error.contains("nothing.txt"), "{error}");
    }

    #[test]
    fn a_file_address_is_included_and_variables_are_expanded() {
        let folder = tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(path("pão 1.txt"), "a\n").unwrap();
        let address = Url::from_file_path(path("pão 1.txt")).unwrap();
        write(path("requirements.txt"), format!("-r {address}\n-r ${{CARGO_PKG_NAME}}.txt\nx ${{NO_SUCH_VARIABLE}} $HOME ${{lower}}\n"))
            .unwrap();
        write(path("almaplan-steps.txt"), "b\n").unwrap();
        let lines = requirements(&path("requirements.txt"), folder.path()).unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let written = format!("-r {address}");
        assert_eq!(texts, [&written, "a", "-r ${CARGO_PKG_NAME}.txt", "b", "x ${NO_SUCH_VARIABLE} $HOME ${lower}"]);
        assert_eq!(lines[4].asks, Asks::Package { requirement: "x ${NO_SUCH_VARIABLE} $HOME ${lower}".to_owned(), options: String::new() });
    }

    fn folder_with_packages() -> TempDir {
        let folder = tempdir().unwrap();
        create_dir_all(folder.path().join("lib")).unwrap();
        write(folder.path().join("x-1.0-py3-none-any.whl"), "").unwrap();
        folder
    }

    fn asks(line: &str, folder: &Path) -> Asks {
        listed(line, folder).pop().unwrap().asks
    }

    #[test]
    fn what_a_line_asks_for_is_known_by_how_it_is_written() {
        let folder = folder_with_packages();
        let (lib, wheel) = (folder.path().join("lib"), folder.path().join("x-1.0-py3-none-any.whl"));
        for (line, path, rest) in [
            ("./lib", &lib, ""),
            ("lib/", &lib, ""),
            ("./lib[web, dev] ; python_version > '3'", &lib, "[web, dev] ; python_version > '3'"),
            ("file:lib", &lib, ""),
            ("file:./lib#egg=x", &lib, "egg=x"),
            ("x @ file:./lib ; python_version > '3'", &lib, "x @ ; python_version > '3'"),
            ("x-1.0-py3-none-any.whl", &wheel, ""),
            ("./x-1.0-py3-none-any.whl --hash=sha256:00", &wheel, "--hash=sha256:00"),
        ] {
            match asks(line, folder.path()) {
                Asks::Path { path: found, rest: left } => {
                    assert_eq!(found.components().collect::<PathBuf>(), path.components().collect::<PathBuf>(), "{line}");
                    assert_eq!(left, rest, "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in ["lib", "Flask==3.0", "x[a,b]>=1; sys_platform == 'win32'", "x.y-z"] {
            assert!(matches!(asks(line, folder.path()), Asks::Package { .. }), "{line}");
        }
        for line in ["-e ./lib", "-e./lib", "--editable=./lib", "--edit ./lib", "-e git+https://h/x@main#egg=x"] {
            assert_eq!(asks(line, folder.path()), Asks::Editable, "{line}");
        }
        for line in ["--index-url https://h/simple", "--pre", "-f ./wheels", "--no-such-option x", "-r 'unbalanced"] {
            assert_eq!(asks(line, folder.path()), Asks::Setting, "{line}");
        }
    }

    #[test]
    fn what_may_be_something_else_tomorrow_is_told_with_what_to_write() {
        let folder = folder_with_packages();
        let moves = |line: &str| listed(line, folder.path()).pop().unwrap().moves();
        let commit = "0123456789012345678901234567890123456789";
        for line in [
            "Flask",
            "./lib",
            &format!("git+https://h/x@{commit}"),
            &format!("x @ git+ssh://git@h/x.git@{commit}#subdirectory=y"),
            "svn+https://h/x@12",
            "https://h/x-1.0.whl#sha256=00",
            "https://h/x-1.0.whl --hash=sha256:00",
            "--index-url https://h/simple",
        ] {
            assert_eq!(moves(line), None, "{line}");
        }
        for (line, says) in [
            ("-e ./lib", "is editable"),
            ("git+https://user:word@h/x.git@main#egg=x", "`git ls-remote https://h/x.git main`"),
            ("x@git+https://h/x", "`git ls-remote https://h/x HEAD`"),
            ("git+ssh://git@h/x@v1.0", "follows `v1.0`"),
            ("git+https://h/x@0123456", "follows `0123456`"),
            ("svn+https://h/x@trunk", "whole id"),
            ("https://h/x-1.0.whl", "#sha256="),
            ("-c https://h/c.txt", "save that file"),
            ("-r https://h/c.txt", "save that file"),
        ] {
            let told = moves(line).unwrap().to_string();
            assert!(told.contains(says) && !told.contains("word"), "{line}: {told}");
        }
    }
}
