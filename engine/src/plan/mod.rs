//! A plan: what its file says, checked.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::event::StepId;
use crate::step::OnInterrupt;

/// A plan whose text was checked. Templates are still text.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The whole text of the file.
    pub text: String,
    /// The file, absolute.
    pub path: PathBuf,
    /// `[plan] name`.
    pub name: String,
    /// `[plan] description`.
    pub description: Option<String>,
    /// `[plan] lock`, a template; default: the name.
    pub lock: String,
    /// `[plan] max_parallel`.
    pub max_parallel: usize,
    /// `[plan] lang`.
    pub lang: Option<String>,
    /// `[measure] url`, a template.
    pub measure: Option<String>,
    /// `[vars]`, with the value for this system where they differ.
    pub vars: Map<String, Value>,
    /// `[secrets]`.
    pub secrets: IndexMap<String, Secret>,
    /// `[steps.*]`, in the order of the file.
    pub steps: Vec<PlannedStep>,
    /// `[finally.*]`, in the order of the file.
    pub finally: Vec<PlannedStep>,
}

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The source.
    pub from: SecretSource,
    /// Missing is null, not an error.
    pub optional: bool,
}

/// See [`Secret`].
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; its whole text without the line end.
    File(PathBuf),
}

/// One step of a plan.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// Its name.
    pub id: StepId,
    /// `uses` and `with`.
    pub action: Action,
    /// `needs`, as written; edges from references are the graph's.
    pub needs: Vec<StepId>,
    /// `when`, an expression.
    pub when: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `timeout` of each attempt; `None`: the kind says.
    pub timeout: Option<Duration>,
    /// `retry`.
    pub retry: Retry,
    /// `on_failure = "continue"`.
    pub continue_on_failure: bool,
    /// `on_interrupt`; `None`: the kind says.
    pub on_interrupt: Option<OnInterrupt>,
    /// `probe`.
    pub probe: Option<Action>,
    /// `pivot`.
    pub pivot: bool,
    /// `irreversible`.
    pub irreversible: bool,
    /// `compensate`, in order; empty where nothing is owed.
    pub compensate: Vec<Compensation>,
}

/// A kind with inputs.
#[derive(Debug, Clone)]
pub struct Action {
    /// The kind.
    pub uses: String,
    /// Its inputs, templates and all: always an object.
    pub with: Value,
}

/// What makes up for a step.
#[derive(Debug, Clone)]
pub struct Compensation {
    /// `uses` and `with`.
    pub action: Action,
    /// `when`, an expression.
    pub when: Option<String>,
    /// `timeout` of each attempt; `None`: the kind says.
    pub timeout: Option<Duration>,
    /// `retry`.
    pub retry: Retry,
    /// `on_failure = "continue"`: write the debt off and go on.
    pub continue_on_failure: bool,
}

/// How often, and how soon, work that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; at least 1.
    pub attempts: u32,
    /// The pause after the first failure; doubled after each further one, jittered.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: Duration::from_secs(1) }
    }
}
