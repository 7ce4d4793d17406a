//! The values of arguments that are more than a word.

use std::time::Duration;

use almaplan_engine::event::{RunId, StepId};
use almaplan_engine::plan::MOST_DURATION;
use almaplan_engine::runs::RunIdError;

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What is before the first `=`.
    pub name: String,
    /// What is behind it, as written.
    pub value: String,
}

pub(super) fn assignment(text: &str) -> Result<Assignment, BadValue> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok(Assignment { name: name.trim().to_owned(), value: value.to_owned() }),
        _ => Err(BadValue::NoAssignment),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, BadValue> {
    // Clocks end somewhere; whoever asks for longer waits until then.
    humantime::parse_duration(text).map(|duration| duration.min(MOST_DURATION)).map_err(|_| BadValue::NoDuration)
}

// Ids become names of files below the state folder, so nothing that could lead out of it gets further than this.
pub(super) fn run_id(text: &str) -> Result<RunId, BadValue> {
    plain_name(text).map(RunId::new)
}

pub(super) fn new_run_id(text: &str) -> Result<RunId, BadValue> {
    Ok(almaplan_engine::runs::chosen_id(text)?)
}

pub(super) fn step_id(text: &str) -> Result<StepId, BadValue> {
    plain_name(text).map(StepId::new)
}

pub(super) fn plain_name(text: &str) -> Result<&str, BadValue> {
    let plain = !text.is_empty() && !text.starts_with('.') && !text.chars().any(|c| c.is_control() || "/\\:".contains(c));
    if plain { Ok(text) } else { Err(BadValue::NoName) }
}

pub(super) fn url_path(text: &str) -> Result<String, BadValue> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err(BadValue::NoUrlPath) }
}

/// A value that an option does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Not written as `NAME=VALUE`.
    #[error("write it as NAME=VALUE")]
    NoAssignment,
    /// Not written as a duration.
    #[error("write it like 30s or 5m")]
    NoDuration,
    /// Not a name that a run or a step can have.
    #[error("no such name can exist: it holds a path separator, a colon or a leading dot")]
    NoName,
    /// Not an id that a new run can be given.
    #[error(transparent)]
    NoNewId(#[from] RunIdError),
    /// Not the path of an address.
    #[error("it begins with `/`")]
    NoUrlPath,
}
