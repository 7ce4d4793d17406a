//! How a plan tells its own processes from anybody else's.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::describe::same;
use super::{Description, comparable};
use crate::input::{OneOrMany, Word, texts};

/// One text, or several of which one is enough.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Expect(pub OneOrMany<Word>);

/// An expectation that anything would meet.
#[derive(Debug, Serialize, thiserror::Error)]
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

    /// Whether a text tells `process`: one that is a path, by whole names, from `base`, over whatever links, in its program, its folder or
    /// the files that it was started with; any other as a part of these or of its command line.
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
    let part = comparable(text);
    if part.trim().is_empty() {
        return false;
    }
    // Two words with a path among them are a piece of a command line.
    if looks_like_path(text) && (Path::new(text).has_root() || !text.contains(' ')) {
        return leads_below(&base.join(text), process) || names(&part, process);
    }
    comparable(&process.command_line()).contains(&part) || places(process).iter().any(|place| place.to_string_lossy().contains(&part))
}

/// Where `process` is and what it runs.
fn places(process: &Description) -> Vec<PathBuf> {
    [Some(&process.program), Some(&process.executable), process.cwd.as_ref()].into_iter().flatten().map(|place| same(place)).collect()
}

/// Whether `process` runs something of `folder` or works in it: as it is written, or over whatever links. Whole names count: `/srv/app`
/// is not `/srv/app2`.
fn leads_below(folder: &Path, process: &Description) -> bool {
    let cwd = process.cwd.as_deref().unwrap_or(Path::new("/"));
    let started: Vec<PathBuf> = started_files(process).map(|name| cwd.join(name)).collect();
    let mut written = places(process).into_iter().chain(started.iter().map(|path| same(path)));
    let real = || std::fs::canonicalize(folder).ok();
    let below = |folder: &Path, path: &Path| path.starts_with(same(folder));
    written.any(|path| below(folder, &path))
        || real().is_some_and(|folder| {
            let real = started.iter().filter_map(|path| std::fs::canonicalize(path).ok());
            places(process).into_iter().chain(real.map(|path| same(&path))).any(|path| below(&folder, &path))
        })
}

/// The files that a process was started with: its program and what its arguments name, which is what an interpreter runs; an option may
/// do so, too (`--app=serve.py`). A folder in an argument says what it works upon, not what it is.
fn started_files(process: &Description) -> impl Iterator<Item = &Path> {
    let cwd = process.cwd.clone().unwrap_or_else(|| "/".into());
    let values = process.args.iter().flat_map(|arg| [Some(arg.as_str()), arg.split_once('=').map(|(_, value)| value)]);
    let names = values.flatten().filter(|name| !name.is_empty()).map(Path::new);
    names.filter(move |name| !cwd.join(name).is_dir()).chain([process.program.as_path()])
}

/// Whether the names in `part`, like `venv/bin`, stand one after the other in a path of `process`.
fn names(part: &str, process: &Description) -> bool {
    let wanted: Vec<Component> = Path::new(part).components().collect();
    let is_relative = !Path::new(part).has_root();
    let has = |path: &Path| path.components().collect::<Vec<_>>().windows(wanted.len()).any(|names| names == wanted);
    is_relative && (places(process).iter().any(|place| has(place)) || started_files(process).any(|file| has(&same(file))))
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
            title: None,
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

    // `/srv/app` meant `/srv/app2`, `/backup/srv/app` and whoever was given that folder, too: services of others were stopped.
    #[test]
    fn a_path_is_compared_by_whole_names() {
        let base = Path::new("/nowhere");
        let in_folder = |cwd: &str| Description { cwd: Some(cwd.into()), program: "/usr/bin/python3".into(), ..service() };
        assert!(expect(&["/srv/app"]).matches(&in_folder("/srv/app/code"), base));
        for cwd in ["/srv/app2", "/backup/srv/app", "/srv"] {
            assert!(!expect(&["/srv/app"]).matches(&in_folder(cwd), base), "{cwd}");
        }
        let folder = tempfile::tempdir().unwrap();
        let given = Description { args: vec!["--directory".to_owned(), folder.path().to_str().unwrap().to_owned()], ..in_folder("/srv") };
        assert!(!expect(&[folder.path().to_str().unwrap()]).matches(&given, base), "it only serves that folder");
        assert!(expect(&["bin/python3"]).matches(&in_folder("/srv"), base) && !expect(&["in/python3"]).matches(&in_folder("/srv"), base));
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
