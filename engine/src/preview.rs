//! What a step would do here and now, as data: keys and values, whose words are the reader's.
//!
//! ```text
//!  kind + inputs ──> Preview ──> its outputs, as far as they are known    what later steps refer to
//!                        └─────> what it would change ──> Before          what later steps look at
//! ```
//!
//! A preview changes nothing. What it cannot know it leaves out: nothing here is a guess.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::event::{Failure, StepId};

/// What a step would do. By default it would run, and no more can be said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// Whether there is anything to do.
    pub would: Would,
    /// What is worth telling, in the order of its weight.
    pub told: Vec<Told>,
    /// The outputs that are known already. What is missing is known once the step ran.
    pub outputs: Map<String, Value>,
    /// What it would change that later steps may look at.
    pub changes: Vec<Change>,
}

/// Whether there is anything to do for a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Would {
    /// It would do its work.
    #[default]
    Run,
    /// All is as it should be: it would change nothing.
    ChangeNothing,
    /// It would fail, as this says.
    Fail(Failure),
    /// What it would find is only known once this step ran.
    DependOn(StepId),
}

/// One thing that is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What it is about: a key of the catalogues.
    pub what: &'static str,
    /// Its values by name, in the order in which they were given.
    pub values: Vec<(&'static str, Amount)>,
}

/// A value that a reader's language writes in its own way.
#[derive(Debug, Clone, PartialEq)]
pub enum Amount {
    /// How many.
    Count(u64),
    /// A size in bytes.
    Bytes(u64),
    /// A time in seconds.
    Seconds(f64),
    /// A name, a path, a version: as it is.
    Text(String),
    /// Several of these.
    Names(Vec<String>),
}

/// What a step would change that later steps may look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The file or folder.
    pub path: PathBuf,
    /// What it becomes.
    pub becomes: Becomes,
}

/// What a file or folder becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Becomes {
    /// A folder with what another one holds, beside what is in it; but what these patterns of the kind leave out.
    CopyOf {
        /// The other one.
        from: PathBuf,
        /// What is left out.
        exclude: Vec<String>,
    },
    /// A folder that is made anew. These outputs of the step tell of it.
    Made(Map<String, Value>),
    /// Nobody can tell before.
    Unknown,
}

/// What the steps before one would have changed by then.
#[derive(Debug, Clone, Default)]
pub struct Before {
    changes: Vec<(StepId, Change)>,
}

/// What a step would find under a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// What is here now.
    Here,
    /// What another folder holds, where it is not left out; else what is here now.
    Copied {
        /// The other folder.
        from: &'a Path,
        /// Where in it; empty for all of it.
        rest: PathBuf,
        /// What is left out, as patterns of the kind that copies.
        exclude: &'a [String],
    },
    /// A folder that a step makes anew; these outputs of it tell of it.
    Made(&'a Map<String, Value>),
    /// What this step leaves, and nobody can tell before.
    After(&'a StepId),
}

impl Preview {
    /// A step that would find all as it should be.
    pub fn nothing() -> Self {
        Self { would: Would::ChangeNothing, ..Self::default() }
    }

    /// A step that would fail.
    pub fn failure(failure: Failure) -> Self {
        Self { would: Would::Fail(failure), ..Self::default() }
    }

    /// A step of which nothing can be told before `step` ran.
    pub fn after(step: &StepId) -> Self {
        Self { would: Would::DependOn(step.clone()), ..Self::default() }
    }

    /// The same, with one more thing that is worth telling.
    #[must_use]
    pub fn tell(mut self, told: Told) -> Self {
        self.told.push(told);
        self
    }

    /// The same, with an output that is known already.
    #[must_use]
    pub fn output(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.outputs.insert(name.to_owned(), value.into());
        self
    }

    /// The same, with something that it would change.
    #[must_use]
    pub fn change(mut self, path: impl Into<PathBuf>, becomes: Becomes) -> Self {
        self.changes.push(Change { path: path.into(), becomes });
        self
    }
}

impl Told {
    /// Something about `what`.
    pub fn new(what: &'static str) -> Self {
        Self { what, values: Vec::new() }
    }

    /// The same, with the value `name`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Amount>) -> Self {
        self.values.push((name, value.into()));
        self
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let value = |amount: &Amount| match amount {
            Amount::Count(n) | Amount::Bytes(n) => Value::from(*n),
            Amount::Seconds(seconds) => Value::from(*seconds),
            Amount::Text(text) => Value::from(text.as_str()),
            Amount::Names(names) => Value::from(names.clone()),
        };
        let what = ("what".to_owned(), Value::from(self.what));
        let values = self.values.iter().map(|(name, amount)| ((*name).to_owned(), value(amount)));
        Value::Object(std::iter::once(what).chain(values).collect())
    }

    /// The same, every text in it as `masked` gives it.
    #[must_use]
    pub(crate) fn masked(self, masked: &dyn Fn(&str) -> String) -> Self {
        let value = |amount: Amount| match amount {
            Amount::Text(text) => Amount::Text(masked(&text)),
            Amount::Names(names) => Amount::Names(names.iter().map(|name| masked(name)).collect()),
            number => number,
        };
        Self { values: self.values.into_iter().map(|(name, amount)| (name, value(amount))).collect(), ..self }
    }
}

impl From<u64> for Amount {
    fn from(n: u64) -> Self {
        Self::Count(n)
    }
}

impl From<String> for Amount {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Path> for Amount {
    fn from(path: &Path) -> Self {
        Self::Text(path.display().to_string())
    }
}

impl From<Vec<String>> for Amount {
    fn from(names: Vec<String>) -> Self {
        Self::Names(names)
    }
}

impl Before {
    /// `step` would change this, too.
    pub fn add(&mut self, step: &StepId, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes.into_iter().map(|change| (step.clone(), change)));
    }

    /// What would be found under `path`, which is absolute: what the last step leaves that changes it, or a folder that it is in.
    pub fn find(&self, path: &Path) -> Found<'_> {
        let touches = |(_, change): &&(StepId, Change)| path.starts_with(&change.path);
        let Some((step, change)) = self.changes.iter().rev().find(touches) else { return Found::Here };
        let rest = path.strip_prefix(&change.path).unwrap_or(path).to_owned();
        match &change.becomes {
            Becomes::CopyOf { from, exclude } => Found::Copied { from, rest, exclude },
            Becomes::Made(outputs) if rest.as_os_str().is_empty() => Found::Made(outputs),
            Becomes::Made(_) | Becomes::Unknown => Found::After(step),
        }
    }

    /// The steps that change something in the folder `path`, and not all of it.
    pub fn within<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a StepId> {
        self.changes.iter().filter(move |(_, change)| change.path != path && change.path.starts_with(path)).map(|(step, _)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_told_with_where_it_is_now() {
        let copy = Becomes::CopyOf { from: "/from".into(), exclude: vec!["*.db".to_owned()] };
        let mut before = Before::default();
        assert_eq!(before.find(Path::new("/to/list")), Found::Here);
        before.add(&StepId::new("copy"), [Change { path: "/to".into(), becomes: copy }]);
        let found = |rest: &str| Found::Copied { from: Path::new("/from"), rest: rest.into(), exclude: &[] };
        for (path, rest) in [("/to", ""), ("/to/list", "list"), ("/to/a/b", "a/b")] {
            let Found::Copied { from, rest: at, exclude } = before.find(Path::new(path)) else { panic!("{path} is not copied") };
            assert_eq!((Found::Copied { from, rest: at, exclude: &[] }, exclude), (found(rest), &["*.db".to_owned()][..]));
        }
        assert_eq!(before.find(Path::new("/toads")), Found::Here);
    }

    #[test]
    fn what_a_step_writes_cannot_be_told_before() {
        let freeze = StepId::new("freeze");
        let mut before = Before::default();
        before.add(&freeze, [Change { path: "/from/list".into(), becomes: Becomes::Unknown }]);
        assert_eq!(before.find(Path::new("/from/list")), Found::After(&freeze));
        assert_eq!(before.find(Path::new("/from")), Found::Here);
        assert_eq!(before.within(Path::new("/from")).collect::<Vec<_>>(), [&freeze]);
    }

    #[test]
    fn a_folder_that_is_made_is_told_of_by_the_outputs_of_who_makes_it() {
        let outputs = Map::from_iter([("changed".to_owned(), Value::from(3))]);
        let mut before = Before::default();
        before.add(&StepId::new("stage"), [Change { path: "/staged".into(), becomes: Becomes::Made(outputs.clone()) }]);
        assert_eq!(before.find(Path::new("/staged")), Found::Made(&outputs));
        assert_eq!(before.find(Path::new("/staged/a")), Found::After(&StepId::new("stage")));
    }

    #[test]
    fn what_is_told_is_masked_and_keeps_its_numbers() {
        let told = Told::new("files").field("added", 3).field("path", Path::new("/a/secret")).field("names", vec!["secret".to_owned()]);
        let told = told.masked(&|text| text.replace("secret", "***"));
        assert_eq!(told.to_json(), serde_json::json!({ "what": "files", "added": 3, "path": "/a/***", "names": ["***"] }));
    }
}
