//! What can be wrong with a plan, each with a code that never changes its meaning.
//!
//! | code | mistake |
//! |---|---|
//! | ALM0001 | the text is no TOML |
//! | ALM0002 | the file, a list or a table is larger or deeper than any honest plan |
//! | ALM0003 | `format` is missing or is one that this version does not know |
//! | ALM0004 | an unknown key |
//! | ALM0005 | a key or an input that must be there is missing |
//! | ALM0006 | a value has the wrong type |
//! | ALM0007 | an unknown kind |
//! | ALM0008 | a value is none of those that are possible |
//! | ALM0009 | a duration is none |
//! | ALM0010 | a size is none |
//! | ALM0011 | a number is out of range |
//! | ALM0012 | the kind refuses its inputs |
//! | ALM0013 | a name that steps, variables or secrets cannot have |
//! | ALM0014 | a step and a `finally` step have the same name |
//! | ALM0015 | the plan has no step |
//! | ALM0016 | `needs` names a step that does not exist |
//! | ALM0017 | `needs` names a step twice |
//! | ALM0018 | a step needs itself |
//! | ALM0019 | steps need each other in a circle |
//! | ALM0020 | a template or an expression cannot be read |
//! | ALM0021 | a template uses a name that nothing defines |
//! | ALM0022 | a template refers to a variable that does not exist |
//! | ALM0023 | a template refers to a secret that does not exist |
//! | ALM0024 | a template refers to a step that does not exist |
//! | ALM0025 | a template refers to an output that the kind does not leave |
//! | ALM0026 | a template does not say by name what it refers to |
//! | ALM0027 | a template refers to what is not known at that place |
//! | ALM0028 | an environment variable that looks like a secret is used outside `[secrets]` |
//! | ALM0029 | what may be null goes where null cannot |
//! | ALM0030 | a compensation or probe refers to a step that its own does not come after |
//! | ALM0031 | variables refer to each other in a circle |
//! | ALM0032 | an unknown filter, test or function in a template |
//! | ALM0033 | more than one pivot |
//! | ALM0034 | a pivot that steps run beside |
//! | ALM0035 | something irreversible before the pivot, or without one |
//! | ALM0036 | `irreversible` together with `compensate` |
//! | ALM0037 | (warning) a step changes things and does not say how that is made up for |
//! | ALM0038 | a secret does not come from exactly one place |
//! | ALM0039 | a variable has no value for this system |
//! | ALM0040 | a value that inputs cannot hold: a date, an endless number |
//! | ALM0041 | a key that `finally` steps cannot have |
//! | ALM0042 | an empty text where one is needed |
//! | ALM0043 | (a warning where all of them are) there are more mistakes than are told one by one |
//! | ALM0044 | a template gives nothing with the values that a run would be started with |

use std::fmt;
use std::ops::Range;

use serde_json::{Number, Value};

use super::fault::{TemplateError, TemplateFault, Tool};

/// Bytes in the text of the plan.
pub type Span = Range<usize>;

/// Whether a mistake keeps a plan from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but somebody should look at it.
    Warning,
}

/// One mistake, at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Where.
    pub span: Span,
    /// What.
    pub problem: Problem,
    /// Other places that have to do with it, each with what it is.
    pub related: Vec<(Span, Related)>,
    /// Which of the overrides that were given it is about (see [`Given`](super::Given)); the span is then where its value is used.
    pub given: Option<usize>,
}

impl Mistake {
    /// One that has to do with no other place.
    pub(crate) fn new(span: Span, problem: Problem) -> Self {
        Self { span, problem, related: Vec::new(), given: None }
    }

    /// `ALM0007`: stable.
    pub fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// Whether the plan can run nevertheless.
    pub fn severity(&self) -> Severity {
        match self.problem {
            Problem::Undeclared { .. } | Problem::Untold { error: false } => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

/// Whose part of the plan it is. Names are shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The top of the file.
    Plan,
    /// A table at the top, such as `plan` or `measure`.
    Section(&'static str),
    /// A secret.
    Secret(String),
    /// A variable.
    Var(String),
    /// A step.
    Step(String),
    /// A `finally` step.
    Finally(String),
    /// A compensation of the step.
    Compensation(String),
    /// The probe of the step.
    Probe(String),
}

impl Owner {
    /// All of it.
    pub(crate) fn whole(&self) -> Place {
        Place { owner: self.clone(), kind: None, field: None }
    }

    /// One key of it.
    pub(crate) fn key(&self, key: &str) -> Place {
        Place { field: Some(key.to_owned()), ..self.whole() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => f.write_str("the plan"),
            Self::Section(name) => write!(f, "`[{name}]`"),
            Self::Secret(name) => write!(f, "secret `{name}`"),
            Self::Var(name) => write!(f, "variable `{name}`"),
            Self::Step(id) => write!(f, "step `{id}`"),
            Self::Finally(id) => write!(f, "`finally` step `{id}`"),
            Self::Compensation(id) => write!(f, "the compensation of `{id}`"),
            Self::Probe(id) => write!(f, "the probe of `{id}`"),
        }
    }
}

/// What a mistake is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub owner: Owner,
    /// The kind, where it is about inputs.
    pub kind: Option<String>,
    /// The key or input, with the keys that lead to it: `timeout`, `checks[0].path`; `None`: all of it.
    pub field: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "`{field}` of ")?;
        }
        write!(f, "{}", self.owner)?;
        self.kind.as_ref().map_or(Ok(()), |kind| write!(f, " (`{kind}`)"))
    }
}

/// A type of values in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A date or a time, which nothing takes.
    Date,
    /// A list.
    List,
    /// A table.
    Table,
}

impl ValueType {
    /// The type of a variable's value, which is never null.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null | Value::String(_) => Self::Text,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Table,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Date => "a date",
            Self::List => "a list",
            Self::Table => "a table",
        })
    }
}

/// What a value should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// One of these types; of none of them where nothing fits.
    Types(Vec<ValueType>),
    /// A duration, which is a text.
    Duration,
    /// A size: a text, or a number of bytes.
    Size,
    /// What a variable may be: a text, a number, a boolean or a list of these.
    VarValue,
    /// A table with the source of a secret.
    SecretSource,
    /// `"none"`, a table with `uses`, or a list of such tables.
    Compensation,
    /// A list of names of steps.
    StepNames,
    /// A list of texts, numbers and booleans that is not empty.
    Choices,
    /// A list of tables.
    Tables,
    /// A status of HTTP, or a list of them.
    Statuses,
}

impl From<ValueType> for Expected {
    fn from(one: ValueType) -> Self {
        Self::Types(vec![one])
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Types(types) => alternatives(types).fmt(f),
            Self::Duration => f.write_str("a duration"),
            Self::Size => f.write_str("a size"),
            Self::VarValue => f.write_str("a text, a number, a boolean or a list of these"),
            Self::SecretSource => f.write_str("a table like `{ env = \"NAME\" }` or `{ file = \"…\" }`"),
            Self::Compensation => f.write_str("\"none\", a table with `uses`, or a list of such tables"),
            Self::StepNames => f.write_str("a list of names of steps"),
            Self::Tables => f.write_str("a list of tables"),
            Self::Statuses => f.write_str("a status, or a list of them"),
            Self::Choices => f.write_str("a list of texts, numbers or booleans, with one at least"),
        }
    }
}

/// What a value is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A value of this type.
    Type(ValueType),
    /// A template that is one reference, to something of these types.
    Reference {
        /// What it refers to.
        reference: String,
        /// Its types.
        types: Vec<ValueType>,
    },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(found) => found.fmt(f),
            Self::Reference { reference, types } => write!(f, "`{reference}`, which is {}", alternatives(types)),
        }
    }
}

fn alternatives(types: &[ValueType]) -> String {
    let names: Vec<String> = types.iter().map(ValueType::to_string).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(" or ") }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// In the words of the plan, shortened.
    Written(String),
    /// Too long to be shown.
    Type(ValueType),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(text) => f.write_str(text),
            Self::Type(of) => of.fmt(f),
        }
    }
}

/// Between what a number, or a duration, must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// At least this.
    AtLeast(Number),
    /// At most this.
    AtMost(Number),
    /// From the first to the second.
    FromTo(Number, Number),
    /// A duration longer than nothing.
    LongerThanNothing,
    /// A duration of at most so many years.
    AtMostYears(u64),
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::FromTo(least, most) => write!(f, "from {least} to {most}"),
            Self::LongerThanNothing => f.write_str("longer than nothing"),
            Self::AtMostYears(years) => write!(f, "at most {years} years"),
        }
    }
}

/// What is missing, as a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The name of the plan.
    PlanName,
    /// The kind of a step.
    Uses,
    /// What is measured.
    Measured,
    /// An input, of which its kind says this (in English, as all of its documentation).
    Input(String),
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The plan.
    Plan,
    /// A variable.
    Variable,
    /// A secret.
    Secret,
    /// A step.
    Step,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan => "plan",
            Self::Variable => "variable",
            Self::Secret => "secret",
            Self::Step => "step",
        })
    }
}

/// Why something cannot be referred to at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHere {
    /// The place is needed before the run.
    BeforeTheRun,
    /// The outcome is known in `finally` only.
    OutcomeBeforeFinally,
    /// Outputs of the step itself.
    OwnOutput,
}

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeTheRun => "it is needed before the run; `vars`, `env` and `plan` are known there",
            Self::OutcomeBeforeFinally => "the outcome is known in `finally` only",
            Self::OwnOutput => "its own outputs are there only once it is done",
        })
    }
}

/// When something is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NullWhen {
    /// The secret is not set.
    SecretNotSet,
    /// The step failed or was interrupted too early.
    NotThatFar(String),
    /// The step did not run, or failed.
    NotSucceeded(String),
    /// The step is skipped.
    Skipped(String),
    /// The step fails, which the run goes on after.
    Failed(String),
}

impl fmt::Display for NullWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretNotSet => f.write_str("the secret is not set"),
            Self::NotThatFar(step) => write!(f, "`{step}` did not get that far"),
            Self::NotSucceeded(step) => write!(f, "`{step}` did not run or did not succeed"),
            Self::Skipped(step) => write!(f, "`{step}` is skipped"),
            Self::Failed(step) => write!(f, "`{step}` fails"),
        }
    }
}

/// A value that inputs cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrepresentable {
    /// A date or a time.
    Date,
    /// An integer beyond 64 bits.
    LargeNumber,
    /// Infinity, or what is no number.
    EndlessNumber,
}

impl fmt::Display for Unrepresentable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Date => "a date",
            Self::LargeNumber => "so large a number",
            Self::EndlessNumber => "an endless number",
        })
    }
}

/// Another place that has to do with a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Related {
    /// Where a step needs another one, in a circle.
    Needs {
        /// The step.
        step: String,
        /// What it needs.
        needed: String,
    },
    /// A variable of a circle.
    Variable(String),
    /// The step that has the same name.
    SameName,
    /// Where it is needed for the first time.
    FirstNeed,
    /// The first pivot.
    FirstPivot,
    /// A step that comes neither before nor after the pivot.
    Beside,
    /// Where a value is used.
    Used,
}

impl fmt::Display for Related {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs { step, needed } => write!(f, "`{step}` needs `{needed}`"),
            Self::Variable(name) => f.write_str(name),
            Self::SameName => f.write_str("the step"),
            Self::FirstNeed => f.write_str("the first time"),
            Self::FirstPivot => f.write_str("the first one"),
            Self::Beside => f.write_str("neither before nor after it"),
            Self::Used => f.write_str("used here"),
        }
    }
}

/// What can be wrong; the codes are in the documentation of the module. It holds keys and values: what is said of them to an operator, and
/// what to do, is said in their language by whoever shows it. The texts here are for developers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum Problem {
    #[error("the file is no TOML: {detail}")]
    Syntax { detail: String },
    #[error("the file has more than {most_mib} MiB, which no plan needs")]
    FileTooLarge { most_mib: usize },
    #[error("{place} has more than {most_levels} levels, which no plan needs")]
    TooDeep { place: Place, most_levels: usize },
    #[error("the template in {place} has more than {most_parts} parts, which no plan needs")]
    TemplateTooLong { place: Place, most_parts: usize },
    #[error("{}", format_message(found))]
    Format { found: Option<Shown> },
    #[error("{place} has no key `{key}`")]
    UnknownKey { place: Place, key: String, suggestion: Option<String>, known: Vec<String> },
    #[error("{place} lacks `{key}`")]
    MissingKey { place: Place, key: String, about: Option<Missing> },
    #[error("{place} must be {expected}, and is {found}")]
    WrongType { place: Place, expected: Expected, found: Found },
    #[error("there is no kind `{kind}`")]
    UnknownKind { kind: String, suggestion: Option<String> },
    #[error("{place} cannot be `{value}`")]
    UnknownChoice { place: Place, value: String, choices: Vec<String>, suggestion: Option<String> },
    #[error("{place} is no duration: `{value}`")]
    NotADuration { place: Place, value: String },
    #[error("{place} is no size: `{value}`")]
    NotASize { place: Place, value: String },
    #[error("{place} is {value}, and must be {bounds}")]
    OutOfRange { place: Place, value: String, bounds: Bounds },
    #[error("{place} is refused: {detail}")]
    Refused { place: Place, detail: String },
    #[error("`{name}` cannot be the name of a {what}")]
    BadName { what: Named, name: String },
    #[error("`{name}` is the name of a step and of a `finally` step")]
    SameName { name: String },
    #[error("the plan has no steps")]
    NoSteps,
    #[error("{owner} needs `{needed}`, which {}", if *elsewhere { "is not among these steps" } else { "the plan does not have" })]
    UnknownNeed { owner: Owner, needed: String, suggestion: Option<String>, elsewhere: bool },
    #[error("{owner} needs `{needed}` twice")]
    DoubleNeed { owner: Owner, needed: String },
    #[error("{owner} needs itself")]
    NeedsItself { owner: Owner },
    #[error("these steps need each other: {}", cycle.join(" → "))]
    Cycle { cycle: Vec<String> },
    #[error("the template in {place} cannot be read: {fault}")]
    Template { place: Place, fault: TemplateFault },
    #[error("the template in {place} uses `{name}`, which nothing defines")]
    UnknownName { place: Place, name: String, suggestion: Option<String> },
    #[error("{place} refers to the variable `{name}`, which the plan does not have")]
    UnknownVar { place: Place, name: String, suggestion: Option<String> },
    #[error("{place} refers to the secret `{name}`, which the plan does not have")]
    UnknownSecret { place: Place, name: String, suggestion: Option<String> },
    #[error("{place} refers to the step `{name}`, which {}", if *finally { "is a `finally` step: nothing can use what it leaves" } else { "the plan does not have" })]
    UnknownStep { place: Place, name: String, suggestion: Option<String>, finally: bool },
    #[error("{place} refers to `{output}` of step `{step}`, which `{kind}` does not leave")]
    UnknownOutput { place: Place, step: String, kind: String, output: String, suggestion: Option<String>, known: Vec<String> },
    #[error("{place} refers to `{name}` without saying which part of it")]
    Vague { place: Place, name: String },
    #[error("{place} cannot refer to `{name}`: {why}")]
    NotHere { place: Place, name: String, why: NotHere },
    #[error("{place} refers to `env.{name}`, which looks like a secret")]
    SecretInEnv { place: Place, name: String },
    #[error("{place} cannot do without `{reference}`, which is null when {when}")]
    MayBeNull { place: Place, reference: String, when: NullWhen },
    #[error("{place} refers to the step `{step}`, which need not have run by then")]
    NotBefore { place: Place, owner: String, step: String },
    #[error("variables refer to each other in a circle: {}", cycle.join(" → "))]
    VarCycle { cycle: Vec<String> },
    #[error("the template in {place} uses the {what} `{name}`, which does not exist")]
    UnknownTool { place: Place, what: Tool, name: String },
    #[error("the plan has more than one pivot")]
    SeveralPivots,
    #[error("{} {} beside the pivot `{pivot}`", listed(beside), if beside.len() == 1 { "runs" } else { "run" })]
    BesidePivot { pivot: String, beside: Vec<String> },
    #[error("step `{step}` is irreversible {}", pivot.as_ref().map_or_else(|| "in a plan without a pivot".to_owned(), |pivot| format!("but does not come after the pivot `{pivot}`")))]
    IrreversibleEarly { step: String, pivot: Option<String> },
    #[error("step `{step}` is irreversible and says how it is compensated")]
    IrreversibleCompensated { step: String },
    #[error("step `{step}` changes things and does not say how that is made up for")]
    Undeclared { step: String },
    #[error("secret `{name}` must come from exactly one of `env` and `file`")]
    SecretSource { name: String },
    #[error("variable `{name}` has no value for {system}")]
    NoValueHere { name: String, system: &'static str },
    #[error("{place} cannot be {what}")]
    Unrepresentable { place: Place, what: Unrepresentable },
    #[error("{owner} cannot have `{key}`")]
    NotInFinally { owner: Owner, key: String },
    #[error("{place} is empty")]
    Blank { place: Place },
    #[error("there are more mistakes than these")]
    Untold { error: bool },
    #[error("{place} gives nothing with these values: {error}")]
    Unrenderable { place: Place, error: TemplateError },
}

impl Problem {
    /// `ALM0007`: stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "ALM0001",
            Self::FileTooLarge { .. } | Self::TooDeep { .. } | Self::TemplateTooLong { .. } => "ALM0002",
            Self::Format { .. } => "ALM0003",
            Self::UnknownKey { .. } => "ALM0004",
            Self::MissingKey { .. } => "ALM0005",
            Self::WrongType { .. } => "ALM0006",
            Self::UnknownKind { .. } => "ALM0007",
            Self::UnknownChoice { .. } => "ALM0008",
            Self::NotADuration { .. } => "ALM0009",
            Self::NotASize { .. } => "ALM0010",
            Self::OutOfRange { .. } => "ALM0011",
            Self::Refused { .. } => "ALM0012",
            Self::BadName { .. } => "ALM0013",
            Self::SameName { .. } => "ALM0014",
            Self::NoSteps => "ALM0015",
            Self::UnknownNeed { .. } => "ALM0016",
            Self::DoubleNeed { .. } => "ALM0017",
            Self::NeedsItself { .. } => "ALM0018",
            Self::Cycle { .. } => "ALM0019",
            Self::Template { .. } => "ALM0020",
            Self::UnknownName { .. } => "ALM0021",
            Self::UnknownVar { .. } => "ALM0022",
            Self::UnknownSecret { .. } => "ALM0023",
            Self::UnknownStep { .. } => "ALM0024",
            Self::UnknownOutput { .. } => "ALM0025",
            Self::Vague { .. } => "ALM0026",
            Self::NotHere { .. } => "ALM0027",
            Self::SecretInEnv { .. } => "ALM0028",
            Self::MayBeNull { .. } => "ALM0029",
            Self::NotBefore { .. } => "ALM0030",
            Self::VarCycle { .. } => "ALM0031",
            Self::UnknownTool { .. } => "ALM0032",
            Self::SeveralPivots => "ALM0033",
            Self::BesidePivot { .. } => "ALM0034",
            Self::IrreversibleEarly { .. } => "ALM0035",
            Self::IrreversibleCompensated { .. } => "ALM0036",
            Self::Undeclared { .. } => "ALM0037",
            Self::SecretSource { .. } => "ALM0038",
            Self::NoValueHere { .. } => "ALM0039",
            Self::Unrepresentable { .. } => "ALM0040",
            Self::NotInFinally { .. } => "ALM0041",
            Self::Blank { .. } => "ALM0042",
            Self::Untold { .. } => "ALM0043",
            Self::Unrenderable { .. } => "ALM0044",
        }
    }

    /// What was probably meant, where a name is much like a known one.
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { suggestion, .. }
            | Self::UnknownKind { suggestion, .. }
            | Self::UnknownChoice { suggestion, .. }
            | Self::UnknownNeed { suggestion, .. }
            | Self::UnknownName { suggestion, .. }
            | Self::UnknownVar { suggestion, .. }
            | Self::UnknownSecret { suggestion, .. }
            | Self::UnknownStep { suggestion, .. }
            | Self::UnknownOutput { suggestion, .. } => suggestion.as_deref(),
            _ => None,
        }
    }
}

fn format_message(found: &Option<Shown>) -> String {
    match found {
        None => "the plan does not say its `format`".to_owned(),
        Some(found) => format!("this version knows `format = 1`, and the plan has {found}"),
    }
}

/// `a`, `b` and `c`.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &shown[..] {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => shown.join(", "),
    }
}
