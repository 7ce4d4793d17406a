//! How a plan tells its own processes from anybody else's.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::describe::same;
use super::{Description, comparable};
use crate::input::{OneOrMany, Word, texts};

/// One text, or several of which one is enough.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Expect(pub OneOrMany<Word>);

/// An expectation that anything would meet.
#[derive(Debug, thiserror::Error)]
#[error("`expect` is empty, which any program would match; give a part of its program, folder or command line")]
pub struct EmptyExpectation;

impl Expect {
    /// Refuses an empty list and empty texts.
    ///
    /// # Errors
    /// There is nothing to compare with.
    pub fn check(&self) -> Result<(), EmptyExpectation> {
        if self.0.is_empty() || self.0.iter().any(|text| text.trim().is_empty()) { Err(EmptyExpectation) } else { Ok(()) }
    }

    /// Whether a text is part of the program, the folder or the command line of `process`. A text that is a path below
    /// `base` which exists matches also by the folder it leads to, as the system shows folders without their links, and as either
    /// may have been written with links that the other was written without.
    pub fn matches(&self, process: &Description, base: &Path) -> bool {
        self.0.iter().any(|text| matches(text, process, base))
    }
}

/// `/srv/app, waitress`.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&texts(&self.0).join(", "))
    }
}

fn matches(text: &str, process: &Description, base: &Path) -> bool {
    let line = comparable(&process.command_line());
    let part = comparable(text);
    let places: Vec<PathBuf> =
        [Some(&process.program), Some(&process.executable), process.cwd.as_ref()].into_iter().flatten().map(|place| same(place)).collect();
    let in_path = places.iter().any(|place| place.to_string_lossy().contains(&part));
    let under = |folder: PathBuf| places.iter().any(|place| place.starts_with(same(&folder))) || leads_to(process, &folder);
    (!part.is_empty() && line.contains(&part))
        || in_path
        || (looks_like_path(text) && std::fs::canonicalize(base.join(text)).is_ok_and(under))
}

/// Whether the program or an argument of `process` is the name of something in `folder`, over whatever links.
fn leads_to(process: &Description, folder: &Path) -> bool {
    let cwd = process.cwd.as_deref().unwrap_or(Path::new("/"));
    let values = process.args.iter().flat_map(|arg| [Some(arg.as_str()), arg.split_once('=').map(|(_, value)| value)]);
    let names = values.flatten().filter(|name| !name.is_empty()).map(Path::new).chain([process.program.as_path()]);
    names.filter_map(|name| std::fs::canonicalize(cwd.join(name)).ok()).any(|real| real.starts_with(folder))
}

fn looks_like_path(text: &str) -> bool {
    text.contains(std::path::is_separator)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn expect(texts: &[&str]) -> Expect {
        Expect(OneOrMany(texts.iter().map(|text| Word((*text).to_owned())).collect()))
    }

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
            assert!(expect(&[text]).matches(&service(), base), "{text}");
        }
        assert!(!expect(&["gunicorn"]).matches(&service(), base));
        assert!(expect(&["gunicorn", "waitress"]).matches(&service(), base));
    }

    // A service that was started by the path of a link was "none of ours" by its real path, and could not be stopped, and the other way.
    #[cfg(unix)]
    #[test]
    fn a_service_is_ours_by_its_real_path_and_by_a_link_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("app-1"), folder.path().join("current"));
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("serve.py"), "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let started = |args: Vec<String>| Description { args, cwd: Some(folder.path().to_owned()), ..service() };
        for (written, given) in
            [(&real, text(&link.join("serve.py"))), (&link, text(&real.join("serve.py"))), (&real, "current/serve.py".into())]
        {
            for arg in [given.clone(), format!("--app={given}")] {
                let expect = expect(&[&text(written)]);
                assert!(expect.matches(&started(vec![arg.clone()]), Path::new("/nowhere")), "{written:?} {arg}");
            }
        }
        let other = started(vec![text(folder.path()), "serve.py".to_owned()]);
        assert!(!expect(&[&text(&real)]).matches(&other, Path::new("/nowhere")));
    }

    #[test]
    fn an_empty_expectation_is_refused() {
        assert!(expect(&[" "]).check().is_err());
        assert!(expect(&[]).check().is_err());
        assert!(expect(&["app"]).check().is_ok());
    }
}
