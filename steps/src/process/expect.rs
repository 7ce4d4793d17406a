//! How a plan tells its own processes from anybody else's.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Description;

/// One text, or several of which one is enough.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expect {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

/// An expectation that anything would meet.
#[derive(Debug, thiserror::Error)]
#[error("`expect` is empty, which any program would match; give a part of its program, folder or command line")]
pub struct EmptyExpectation;

impl Expect {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Any(texts) => texts,
        }
    }

    /// Refuses an empty list and empty texts.
    ///
    /// # Errors
    /// There is nothing to compare with.
    pub fn check(&self) -> Result<(), EmptyExpectation> {
        let texts = self.texts();
        if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) { Err(EmptyExpectation) } else { Ok(()) }
    }

    /// Whether a text is part of the program, the folder or the command line of `process`. A text that is a path below
    /// `base` which exists matches also by the folder it leads to, as the system shows folders without their links.
    pub fn matches(&self, process: &Description, base: &Path) -> bool {
        self.texts().iter().any(|text| matches(text, process, base))
    }
}

fn matches(text: &str, process: &Description, base: &Path) -> bool {
    let line = process.command_line();
    let in_text = |part: &str| !part.is_empty() && line.contains(part);
    let places = [Some(&process.program), Some(&process.executable), process.cwd.as_ref()];
    let in_path = |part: &str| places.iter().flatten().any(|place| place.to_string_lossy().contains(part));
    let under = |folder: PathBuf| places.iter().flatten().any(|place| place.starts_with(&folder));
    in_text(text) || in_path(text) || (looks_like_path(text) && std::fs::canonicalize(base.join(text)).is_ok_and(under))
}

fn looks_like_path(text: &str) -> bool {
    text.contains(std::path::is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Description {
        Description {
            pid: 7,
            program: "/srv/app/venv/bin/python".into(),
            executable: "/usr/bin/python3.14".into(),
            args: vec!["-m".to_owned(), "waitress".to_owned()],
            cwd: Some("/srv/app".into()),
        }
    }

    #[test]
    fn program_folder_and_command_line_are_looked_at() {
        let base = Path::new("/nowhere");
        for text in ["venv/bin", "python3.14", "-m waitress", "/srv/app"] {
            assert!(Expect::One(text.to_owned()).matches(&service(), base), "{text}");
        }
        assert!(!Expect::One("gunicorn".to_owned()).matches(&service(), base));
        assert!(Expect::Any(vec!["gunicorn".to_owned(), "waitress".to_owned()]).matches(&service(), base));
    }

    #[test]
    fn an_empty_expectation_is_refused() {
        assert!(Expect::One(" ".to_owned()).check().is_err());
        assert!(Expect::Any(Vec::new()).check().is_err());
        assert!(Expect::One("app".to_owned()).check().is_ok());
    }
}
