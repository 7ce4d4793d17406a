//! Patterns of `exclude`, `preserve` and `store`: those of a `.gitignore`, which the crate `ignore` reads.
//!
//! `*.db` matches such a name in any folder; a pattern with a `/` inside starts at the root; one that ends in `/` matches
//! folders only; `!` takes back what an earlier pattern of the list matched; whatever is below a folder that matches, matches.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{FileError, platform};

/// A list of patterns, or several of which each matches by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    lists: Vec<Gitignore>,
    texts: Vec<String>,
}

impl Patterns {
    /// Reads patterns as people write them.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, FileError> {
        Self::read(patterns, platform::IGNORES_CASE)
    }

    /// Reads patterns for which `A` and `a` are the same on every system.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn ignoring_case<S: AsRef<str>>(patterns: &[S]) -> Result<Self, FileError> {
        Self::read(patterns, true)
    }

    fn read<S: AsRef<str>>(patterns: &[S], ignore_case: bool) -> Result<Self, FileError> {
        let texts: Vec<String> = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        let whole = |error: ignore::Error| wrong(&texts.join(", "), &error);
        let mut builder = GitignoreBuilder::new("");
        // As it is meant for people's files, `ignore` would take `[a` for a name.
        builder.allow_unclosed_class(false).case_insensitive(ignore_case).map_err(whole)?;
        for text in &texts {
            check_not_empty(text)?;
            let text = if platform::WINDOWS_NAMES { text.replace('\\', "/") } else { text.clone() };
            builder.add_line(None, &text).map_err(|error| wrong(&text, &error))?;
        }
        let list = builder.build().map_err(whole)?;
        Ok(Self { lists: if texts.is_empty() { Vec::new() } else { vec![list] }, texts })
    }

    /// What these match, and what the list `more` matches: a `!` in one of them takes back nothing of the other.
    ///
    /// # Errors
    /// One of `more` is no pattern.
    pub fn with(&self, more: &[String]) -> Result<Self, FileError> {
        let mut both = self.clone();
        if self.texts != more {
            let more = Self::new(more)?;
            both.lists.extend(more.lists);
            both.texts.extend(more.texts);
        }
        Ok(both)
    }

    /// As they were written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether `name` itself matches; whoever walks does not go into a folder that does.
    pub fn matches(&self, name: &str, is_folder: bool) -> bool {
        self.lists.iter().any(|list| list.matched(name, is_folder).is_ignore())
    }

    /// Whether `name` or a folder above it matches: as in git, nothing below a folder that matches can be taken back.
    pub fn covers(&self, name: &str, is_folder: bool) -> bool {
        !self.texts.is_empty()
            && (self.matches(name, is_folder) || name.match_indices('/').any(|(slash, _)| self.matches(&name[..slash], true)))
    }
}

/// In a `.gitignore` an empty line and a comment match nothing; in a list of patterns they are mistakes.
fn check_not_empty(pattern: &str) -> Result<(), FileError> {
    let refused = |reason: &str| Err(FileError::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() });
    if pattern.starts_with('#') {
        return refused("it is a comment; `\\#` begins a name with `#`");
    }
    if pattern.strip_prefix('!').unwrap_or(pattern).trim_matches(['/', ' ']).is_empty() {
        return refused("it is empty");
    }
    Ok(())
}

fn wrong(pattern: &str, error: &ignore::Error) -> FileError {
    let reason = if let ignore::Error::Glob { err, .. } = error { err.clone() } else { error.to_string() };
    FileError::Pattern { pattern: pattern.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore() {
        let patterns = Patterns::new(&["*.db", "uploads/", "/build/*.o", ".venv", "a/**/z"]).unwrap();
        let yes = |name: &str| assert!(patterns.covers(name, false), "{name}");
        let no = |name: &str| assert!(!patterns.covers(name, false), "{name}");
        yes("x.db");
        yes("deep/er/x.db");
        no("x.db.txt");
        yes("uploads/a/b.png");
        no("uploads");
        yes("build/x.o");
        no("other/build/x.o");
        no("build/sub/x.o");
        yes("x/.venv/bin/python");
        yes("a/b/c/z");
        assert!(Patterns::new(&["[z-a"]).is_err());
        assert!(Patterns::new(&["/"]).is_err());
    }

    // `!keep.log` was accepted and meant nothing: the file was missing from the backup, and nothing said so.
    #[test]
    fn what_is_taken_back_is_not_matched() {
        let patterns = Patterns::new(&["*.log", "!keep.log", "logs/", "!logs/keep.txt"]).unwrap();
        assert!(patterns.covers("other.log", false) && !patterns.covers("deep/keep.log", false));
        assert!(patterns.covers("logs/keep.txt", false), "nobody looks into a folder that is left out");
        let both = Patterns::new(&["*.db"]).unwrap().with(&["!x.db".to_owned(), "*.log".to_owned()]).unwrap();
        assert!(both.covers("x.db", false) && both.covers("x.log", false), "one list takes back nothing of another");
    }

    #[test]
    fn a_line_that_would_match_nothing_is_refused() {
        for text in ["", " ", "/", "!", "!/", "# comment", "[a", "{a"] {
            assert!(matches!(Patterns::new(&[text]), Err(FileError::Pattern { .. })), "{text:?}");
        }
    }
}
