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

use std::ops::Range;

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
    pub related: Vec<(Span, String)>,
}

impl Mistake {
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

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

/// What can be wrong; the codes are in the documentation of the module. `place` says whose it is, as in "step `backup`".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum Problem {
    #[error("the file is no TOML: {detail}")]
    Syntax { detail: String },
    #[error("{what} has more than {most}, which no plan needs")]
    TooLarge { what: String, most: String },
    #[error("{}", format_message(found))]
    Format { found: Option<String> },
    #[error("{place} has no key `{key}`")]
    UnknownKey { place: String, key: String, suggestion: Option<String>, known: Vec<String> },
    #[error("{place} lacks `{key}`")]
    MissingKey { place: String, key: String, about: Option<String> },
    #[error("`{field}` of {place} must be {expected}, and is {found}")]
    WrongType { place: String, field: String, expected: String, found: String },
    #[error("there is no kind `{kind}`")]
    UnknownKind { kind: String, suggestion: Option<String> },
    #[error("`{field}` of {place} cannot be `{value}`")]
    UnknownChoice { place: String, field: String, value: String, choices: Vec<String>, suggestion: Option<String> },
    #[error("`{field}` of {place} is no duration: `{value}`")]
    NotADuration { place: String, field: String, value: String },
    #[error("`{field}` of {place} is no size: `{value}`")]
    NotASize { place: String, field: String, value: String },
    #[error("`{field}` of {place} is {value}, and must be {bounds}")]
    OutOfRange { place: String, field: String, value: String, bounds: String },
    #[error("{place} gives `{kind}` inputs that it refuses: {detail}")]
    Refused { place: String, kind: String, detail: String },
    #[error("`{name}` cannot be the name of a {what}")]
    BadName { what: &'static str, name: String },
    #[error("`{name}` is the name of a step and of a `finally` step")]
    SameName { name: String },
    #[error("the plan has no steps")]
    NoSteps,
    #[error("{place} needs `{needed}`, which {}", if *elsewhere { "is not among these steps" } else { "the plan does not have" })]
    UnknownNeed { place: String, needed: String, suggestion: Option<String>, elsewhere: bool },
    #[error("{place} needs `{needed}` twice")]
    DoubleNeed { place: String, needed: String },
    #[error("{place} needs itself")]
    NeedsItself { place: String },
    #[error("these steps need each other: {}", cycle.join(" → "))]
    Cycle { cycle: Vec<String> },
    #[error("the template in {place} cannot be read: {detail}")]
    Template { place: String, detail: String },
    #[error("the template in {place} uses `{name}`, which nothing defines")]
    UnknownName { place: String, name: String, suggestion: Option<String> },
    #[error("{place} refers to the variable `{name}`, which the plan does not have")]
    UnknownVar { place: String, name: String, suggestion: Option<String> },
    #[error("{place} refers to the secret `{name}`, which the plan does not have")]
    UnknownSecret { place: String, name: String, suggestion: Option<String> },
    #[error("{place} refers to the step `{name}`, which {}", if *finally { "is a `finally` step: nothing can use what it leaves" } else { "the plan does not have" })]
    UnknownStep { place: String, name: String, suggestion: Option<String>, finally: bool },
    #[error("{place} refers to `{output}` of step `{step}`, which `{kind}` does not leave")]
    UnknownOutput { place: String, step: String, kind: String, output: String, suggestion: Option<String>, known: Vec<String> },
    #[error("{place} refers to `{name}` without saying which part of it")]
    Vague { place: String, name: String },
    #[error("{place} cannot refer to `{name}`: {why}")]
    NotHere { place: String, name: String, why: &'static str },
    #[error("{place} refers to `env.{name}`, which looks like a secret")]
    SecretInEnv { place: String, name: String },
    #[error("{place} cannot do without `{reference}`, which is null when {when}")]
    MayBeNull { place: String, reference: String, when: String },
    #[error("{place} refers to the step `{step}`, which need not have run by then")]
    NotBefore { place: String, owner: String, step: String },
    #[error("variables refer to each other in a circle: {}", cycle.join(" → "))]
    VarCycle { cycle: Vec<String> },
    #[error("the template in {place} uses the {what} `{name}`, which does not exist")]
    UnknownTool { place: String, what: &'static str, name: String },
    #[error("the plan has more than one pivot")]
    SeveralPivots,
    #[error("{} {} beside the pivot `{pivot}`", listed(beside, "and"), if beside.len() == 1 { "runs" } else { "run" })]
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
    #[error("`{field}` of {place} cannot be {what}")]
    Unrepresentable { place: String, field: String, what: &'static str },
    #[error("{place} cannot have `{key}`")]
    NotInFinally { place: String, key: String },
    #[error("`{field}` of {place} is empty")]
    Blank { place: String, field: String },
    #[error("there are more mistakes than these")]
    Untold { error: bool },
}

impl Problem {
    /// `ALM0007`: stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "ALM0001",
            Self::TooLarge { .. } => "ALM0002",
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
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let meant = |suggestion: &Option<String>| suggestion.as_ref().map(|name| format!("did you mean `{name}`?"));
        let or_known = |suggestion: &Option<String>, known: &[String]| {
            meant(suggestion).or_else(|| (!known.is_empty() && known.len() <= 16).then(|| format!("it has {}", listed(known, "and"))))
        };
        match self {
            Self::Format { .. } => Some("put `format = 1` at the top of the file".to_owned()),
            Self::UnknownKey { suggestion, known, .. } | Self::UnknownOutput { suggestion, known, .. } => or_known(suggestion, known),
            Self::MissingKey { about, .. } => about.clone(),
            Self::WrongType { expected, .. } if expected.contains("duration") => Some("write it like \"30s\" or \"15m\"".to_owned()),
            Self::UnknownKind { suggestion, .. } => meant(suggestion).or_else(|| Some("`almaplan steps` lists the kinds".to_owned())),
            Self::UnknownChoice { suggestion, choices, .. } => {
                meant(suggestion).or_else(|| Some(format!("it can be {}", listed(choices, "or"))))
            }
            Self::NotADuration { .. } => Some("write it like \"30s\" or \"15m\"".to_owned()),
            Self::NotASize { .. } => Some("write it like \"500MiB\" or \"2GB\"".to_owned()),
            Self::BadName { what: "step", .. } => Some("letters, digits, `_` and `-` make a name".to_owned()),
            Self::BadName { .. } => Some("letters, digits and `_` make a name, and it does not start with a digit".to_owned()),
            Self::NoSteps => Some("a step is a table like `[steps.backup]` with a `uses`".to_owned()),
            Self::UnknownNeed { elsewhere: true, .. } => Some("steps need steps, and `finally` steps need `finally` steps".to_owned()),
            Self::UnknownNeed { suggestion, .. }
            | Self::UnknownVar { suggestion, .. }
            | Self::UnknownSecret { suggestion, .. }
            | Self::UnknownStep { suggestion, .. } => meant(suggestion),
            Self::UnknownName { name, suggestion, .. } => meant(suggestion).or_else(|| {
                Some(format!("templates know `vars`, `steps`, `secrets`, `env`, `run` and `plan`; a text is written '{name}', in quotes"))
            }),
            Self::NeedsItself { .. } | Self::Cycle { .. } | Self::VarCycle { .. } => Some("take one of these out".to_owned()),
            Self::Vague { name, .. } if name.starts_with("steps.") => {
                Some(format!("name the output: `{name}.output`; a step whose name has a `-` is written `steps[\"a-b\"].output`"))
            }
            Self::Vague { name, .. } => Some(format!("name it: `{name}.name`")),
            Self::SecretInEnv { name, .. } => {
                Some(format!("take it through `[secrets]`, which masks it: `{} = {{ env = \"{name}\" }}`", name.to_lowercase()))
            }
            Self::MayBeNull { reference, .. } => Some(format!(
                "say what to use instead: `{{{{ {reference} | default(\"…\") }}}}`, or let the step be skipped too, with `when`"
            )),
            Self::NotBefore { owner, step, .. } => Some(format!("let `{owner}` need `{step}`")),
            Self::SeveralPivots => Some("keep the one that makes the new version count".to_owned()),
            Self::BesidePivot { .. } => Some("let the pivot need them, or let them need the pivot".to_owned()),
            Self::IrreversibleEarly { pivot: None, .. } => Some("say which step is the point of no return: `pivot = true`".to_owned()),
            Self::IrreversibleEarly { .. } => Some("what cannot be undone must come after everything that may fail".to_owned()),
            Self::IrreversibleCompensated { .. } => Some("keep one of the two".to_owned()),
            Self::Undeclared { .. } => {
                Some("add `compensate`, or say that there is nothing to make up for: `compensate = \"none\"`".to_owned())
            }
            Self::Unrepresentable { what: "a date", .. } => Some("put it in quotes".to_owned()),
            Self::Untold { .. } => Some("put those right that are told, and check again".to_owned()),
            Self::NotInFinally { .. } => Some("`finally` steps run after the outcome and are never undone".to_owned()),
            _ => None,
        }
    }
}

fn format_message(found: &Option<String>) -> String {
    match found {
        None => "the plan does not say its `format`".to_owned(),
        Some(found) => format!("this version knows `format = 1`, and the plan has {found}"),
    }
}

/// `a`, `b` and 3 more.
fn listed(names: &[String], word: &str) -> String {
    const MOST: usize = 16;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(MOST) {
        0 => match &shown[..] {
            [all @ .., last] if !all.is_empty() => format!("{} {word} {last}", all.join(", ")),
            _ => shown.join(", "),
        },
        more => format!("{} {word} {more} more", shown.join(", ")),
    }
}
