//! Patterns of `exclude`, `preserve` and `store`, read as `.gitignore` reads them.
//!
//! `*.db` matches such a name in any folder; a pattern with a `/` inside starts at the root; one that ends in `/` matches
//! folders only; whatever is below a folder that matches, matches.

use globset::{GlobBuilder, GlobMatcher};

use super::{FileError, platform};

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    all: Vec<(GlobMatcher, bool)>,
    texts: Vec<String>,
}

impl Patterns {
    /// Reads patterns as people write them.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, FileError> {
        let all = patterns.iter().map(|pattern| compile(pattern.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { all, texts: patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect() })
    }

    /// These and `more`.
    ///
    /// # Errors
    /// One of `more` is no pattern.
    pub fn with(&self, more: &[String]) -> Result<Self, FileError> {
        let texts: Vec<&String> = self.texts.iter().chain(more).collect();
        Self::new(&texts)
    }

    /// As they were written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether `name` itself matches; whoever walks does not go into a folder that does.
    pub fn matches(&self, name: &str, is_folder: bool) -> bool {
        self.all.iter().any(|(glob, folders_only)| (is_folder || !folders_only) && glob.is_match(name))
    }

    /// Whether `name` or a folder above it matches.
    pub fn covers(&self, name: &str, is_folder: bool) -> bool {
        !self.all.is_empty()
            && (self.matches(name, is_folder) || name.match_indices('/').any(|(slash, _)| self.matches(&name[..slash], true)))
    }
}

fn compile(pattern: &str) -> Result<(GlobMatcher, bool), FileError> {
    let wrong = |reason: String| FileError::Pattern { pattern: pattern.to_owned(), reason };
    let text = if platform::WINDOWS_NAMES { pattern.replace('\\', "/") } else { pattern.to_owned() };
    let folders_only = text.ends_with('/');
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    let anchored = if text.contains('/') { text.trim_start_matches('/').to_owned() } else { format!("**/{text}") };
    let glob = GlobBuilder::new(&anchored)
        .literal_separator(true)
        .case_insensitive(platform::IGNORES_CASE)
        .build()
        .map_err(|error| wrong(error.kind().to_string()))?;
    Ok((glob.compile_matcher(), folders_only))
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
