//! A plan: what its file says, checked.
//!
//! ```text
//!  text ──toml──> tree with spans ──read──> Draft ──check──> Plan
//!                                    │              └ inputs: each `with` against the schema of its kind
//!                                    │              └ refer: what each template refers to
//!                                    └───> every mistake, each at its place
//! ```
//!
//! A [`Plan`] that [`load`] gave is right as far as that can be known before anything runs: kinds, inputs and references exist, and
//! there is an order. Rendering its templates with the values of a run is [`Templates`]'.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::event::{OnInterrupt, StepId};
use crate::graph::Graph;
use crate::registry::Registry;

mod check;
mod choice;
mod derived;
mod fault;
mod foresee;
mod inputs;
mod judge;
mod mistake;
mod read;
mod refer;
mod schema;
mod suggest;
mod template;
mod values;
mod vars;

pub use fault::{TemplateError, TemplateFault, Tool, Unfit};
pub(crate) use foresee::{Knowledge, decide, unknown_in, unknown_outputs};
pub use mistake::{
    Bounds, Expected, Found, Missing, Mistake, Named, NotHere, NullWhen, Owner, Place, Problem, Related, Severity, Shown, Span,
    Unrepresentable, ValueType,
};
pub use read::is_invisible;
pub use refer::{env_references, secrets_in};
pub use schema::schema;
pub use template::{Scope, Templates, ValueInputs};
pub use values::Given;
pub use vars::{VarError, resolve_vars};

/// The languages that a run may write in for people to keep (`[plan] lang`), by their BCP 47 tags.
pub const LANGUAGES: [&str; 2] = ["pt-BR", "en"];

/// Durations in a plan are at most so long.
pub const MOST_DURATION: Duration = Duration::from_secs(MOST_YEARS * 365 * 24 * 3600);
/// See [`MOST_DURATION`].
const MOST_YEARS: u64 = 100;

/// Bytes of a plan file.
const MOST_BYTES: usize = 64 << 20;
/// Syntax errors that are told; those after the first few are mostly its echo.
const MOST_SYNTAX_ERRORS: usize = 5;

/// Bytes of a broken text of which more than the first error is told: each byte may be an error, and all of them are kept until then.
const MOST_RECOVERED: usize = 256 << 10;

/// What became of a plan's text.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan, exactly when no mistake is an error.
    pub plan: Option<Plan>,
    /// All mistakes, in the order of the file; of very many the first that were found, and then how many more there are.
    pub mistakes: Vec<Mistake>,
    /// What is wrong with what was given for variables, where that was something ([`load_given`]).
    pub variables: Vec<VarError>,
}

/// Reads and checks the text of a plan. `path` is its file, which relative paths in it start beside.
pub fn load(text: &str, path: &Path, registry: &Registry) -> Loaded {
    load_on_a_large_stack(text, path, registry, None)
}

/// As [`load`], for a run that is to begin with these values: each input that depends on nothing but values is rendered and judged by its
/// kind.
pub fn load_given(text: &str, path: &Path, registry: &Registry, given: Given<'_>) -> Loaded {
    load_on_a_large_stack(text, path, registry, Some(given))
}

fn load_on_a_large_stack(text: &str, path: &Path, registry: &Registry, given: Option<Given<'_>>) -> Loaded {
    // Nested tables are read by functions that call themselves: a text that nests them thousandfold must not take the process down.
    const STACK_BYTES: usize = 128 << 20;
    std::thread::scope(|scope| {
        let deep = std::thread::Builder::new().name("plan".to_owned()).stack_size(STACK_BYTES);
        match deep.spawn_scoped(scope, || load_here(text, path, registry, given)) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => load_here(text, path, registry, given),
        }
    })
}

fn load_here(text: &str, path: &Path, registry: &Registry, given: Option<Given<'_>>) -> Loaded {
    let mut reader = read::Reader::default();
    let checked = parsed(text, &mut reader).map(|tree| {
        let draft = reader.draft(&tree);
        check::check(text, path, registry, draft, given, &mut reader)
    });
    let (plan, variables) = checked.map_or((None, Vec::new()), |(plan, variables)| (Some(plan), variables));
    let mistakes = reader.mistakes(text.len());
    let wrong = !variables.is_empty() || mistakes.iter().any(|mistake| mistake.severity() == Severity::Error);
    Loaded { plan: plan.filter(|_| !wrong), mistakes, variables }
}

/// The tree of the text. What a broken text would still mean is not guessed at.
fn parsed<'i>(text: &'i str, reader: &mut read::Reader) -> Option<toml::Spanned<toml::de::DeTable<'i>>> {
    if text.len() > MOST_BYTES {
        reader.note(0..0, Problem::FileTooLarge { most_mib: MOST_BYTES >> 20 });
        return None;
    }
    let first = match toml::de::DeTable::parse(text) {
        Ok(tree) => return Some(tree),
        Err(error) => error,
    };
    let errors = if text.len() > MOST_RECOVERED { vec![first] } else { toml::de::DeTable::parse_recoverable(text).1 };
    for error in errors.iter().take(MOST_SYNTAX_ERRORS) {
        let detail = error.message().replace('\n', ", ");
        reader.note(error.span().unwrap_or(0..0), Problem::Syntax { detail });
    }
    None
}

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
    /// `[measure]`: what tells that the service is up. None where it is not measured.
    pub measure: Vec<MeasureCheck>,
    /// `[vars]`, with the value for this system where they differ.
    pub vars: Map<String, Value>,
    /// What variables can be, where the plan says so.
    pub one_of: IndexMap<String, Vec<Value>>,
    /// `[secrets]`.
    pub secrets: IndexMap<String, Secret>,
    /// `[steps.*]`, in the order of the file.
    pub steps: Vec<PlannedStep>,
    /// `[finally.*]`, in the order of the file.
    pub finally: Vec<PlannedStep>,
    /// What needs what among the steps, by `needs` and by references to outputs (rule 16).
    pub graph: Graph,
    /// What needs what among the `finally` steps.
    pub finally_graph: Graph,
}

impl Plan {
    /// The step at a place, where the `finally` steps follow on the others.
    pub fn step(&self, place: usize) -> &PlannedStep {
        self.steps.get(place).unwrap_or_else(|| &self.finally[place - self.steps.len()])
    }
}

/// An address of the measured service, and what it answers while the service is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureCheck {
    /// The address, a template.
    pub url: String,
    /// The statuses that are right; none: every one below 500.
    pub status: Vec<u16>,
    /// A text that the answer contains, a template.
    pub contains: Option<String>,
}

impl MeasureCheck {
    /// Its templates.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.url).chain(&self.contains)
    }
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

#[cfg(test)]
mod tests;
