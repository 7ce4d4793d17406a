//! Patterns of `exclude`, `preserve` and `store`, read as `.gitignore` reads them.
//!
//! `*.db` matches such a name in any folder; a pattern with a `/` inside starts at the root; one that ends in `/` matches
//! folders only; whatever is below a folder that matches, matches.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::{FileError, platform};

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    /// Those that match whatever has such a name, as one: names and endings of names then need no regular expression, of which each
    /// takes a while to be made, in a downtime.
    any: GlobSet,
    /// Those that match folders only.
    folders: GlobSet,
    texts: Vec<String>,
}

impl Patterns {
    /// Reads patterns as people write them.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, FileError> {
        let (mut any, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let (glob, folders_only) = read(pattern.as_ref())?;
            if folders_only { &mut folders } else { &mut any }.add(glob);
        }
        let texts: Vec<String> = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        let set = |builder: GlobSetBuilder| builder.build().map_err(|error| wrong(&texts.join(", "), error.kind().to_string()));
        Ok(Self { any: set(any)?, folders: set(folders)?, texts })
    }

    /// These and `more`.
    ///
    /// # Errors
    /// One of `more` is no pattern.
    pub fn with(&self, more: &[String]) -> Result<Self, FileError> {
        if more.iter().all(|text| self.texts.contains(text)) {
            return Ok(self.clone());
        }
        let texts: Vec<&String> = self.texts.iter().chain(more).collect();
        Self::new(&texts)
    }

    /// As they were written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether `name` itself matches; whoever walks does not go into a folder that does.
    pub fn matches(&self, name: &str, is_folder: bool) -> bool {
        self.any.is_match(name) || (is_folder && self.folders.is_match(name))
    }

    /// Whether `name` or a folder above it matches.
    pub fn covers(&self, name: &str, is_folder: bool) -> bool {
        !self.texts.is_empty()
            && (self.matches(name, is_folder) || name.match_indices('/').any(|(slash, _)| self.matches(&name[..slash], true)))
    }
}

/// A pattern, and whether it matches folders only.
fn read(pattern: &str) -> Result<(Glob, bool), FileError> {
    let text = if platform::WINDOWS_NAMES { pattern.replace('\\', "/") } else { pattern.to_owned() };
    let folders_only = text.ends_with('/');
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Err(wrong(pattern, "it is empty".to_owned()));
    }
    let anchored = if text.contains('/') { text.trim_start_matches('/').to_owned() } else { format!("**/{text}") };
    let glob = GlobBuilder::new(&anchored).literal_separator(true).case_insensitive(platform::IGNORES_CASE).build();
    Ok((glob.map_err(|error| wrong(pattern, error.kind().to_string()))?, folders_only))
}

fn wrong(pattern: &str, reason: String) -> FileError {
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
}
