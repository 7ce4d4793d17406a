//! What is wrong with a plan or with the values of its variables, and what to do about it, in the language of whoever reads it.
//!
//! The engine tells keys and values; every word is a message of the catalogues. What stays as it is: what the author of the plan wrote, and
//! the details of the parsers (TOML, minijinja, serde), which know one language.

use almaplan_engine::plan::{
    Bounds, Expected, Found, Missing, Named, NotHere, NullWhen, Owner, Place, Problem, Related, Shown, TemplateError, TemplateFault, Tool,
    Unfit, Unrepresentable, ValueType, VarError,
};

use crate::lang::{Lang, Value};

/// Names that are listed one by one.
const MOST_LISTED: usize = 16;

/// The arguments of a message.
type Args = Vec<(&'static str, Value<'static>)>;

/// What is wrong.
pub fn message(lang: &Lang, problem: &Problem) -> String {
    let (key, args) = told(lang, problem);
    lang.with(key, &args)
}

/// What to do about it, where that can be said.
pub fn hint(lang: &Lang, problem: &Problem) -> Option<String> {
    let (key, args) = told(lang, problem);
    let own = || lang.hint(key, &args);
    let listed = |key, names: &[String], join| (!names.is_empty()).then(|| lang.with(key, &[text("names", list(lang, names, join))]));
    let meant = || problem.suggestion().map(|name| lang.with("hint-meant", &[text("name", name)]));
    match problem {
        Problem::UnknownNeed { elsewhere: true, .. } => own(),
        Problem::UnknownKey { known, .. } | Problem::UnknownOutput { known, .. } if known.len() <= MOST_LISTED => {
            meant().or_else(|| listed("hint-has", known, Join::And))
        }
        Problem::UnknownChoice { choices, .. } => meant().or_else(|| listed("hint-can-be", choices, Join::Or)),
        Problem::MissingKey { about: Some(about), place, .. } => Some(missing(lang, about, place)),
        Problem::WrongType { expected: Expected::Duration, .. } => Some(lang.text("hint-duration")),
        _ => meant().or_else(own),
    }
}

/// What another place has to do with a mistake.
pub fn related(lang: &Lang, related: &Related) -> String {
    match related {
        Related::Needs { step, needed } => lang.with("related-needs", &[text("step", step), text("needed", needed)]),
        Related::Variable(name) => lang.with("related-variable", &[text("name", name)]),
        Related::SameName => lang.text("related-same-name"),
        Related::FirstNeed => lang.text("related-first-need"),
        Related::FirstPivot => lang.text("related-first-pivot"),
        Related::Beside => lang.text("related-beside"),
        Related::Used => lang.text("related-used"),
    }
}

/// What is wrong with the value of a variable.
pub fn variable(lang: &Lang, error: &VarError) -> String {
    let (key, args) = match error {
        VarError::Unknown { name, suggestion: None } => ("var-unknown", vec![text("name", name)]),
        VarError::Unknown { name, suggestion: Some(suggestion) } => {
            ("var-unknown-like", vec![text("name", name), text("suggestion", suggestion)])
        }
        VarError::Type { name, expected, given } => {
            ("var-type", vec![text("name", name), text("expected", value_type(lang, *expected)), text("given", given)])
        }
        VarError::Template { name, source } => ("var-template", vec![text("name", name), text("why", template(lang, source))]),
        VarError::NotHere { name, reference } => ("var-not-here", vec![text("name", name), text("reference", reference)]),
        VarError::Secret { name, env } => ("var-secret", vec![text("name", name), text("env", env)]),
        VarError::NotOneOf { name, value, suggestion: Some(suggestion), .. } => {
            ("var-not-one-of-like", vec![text("name", name), text("value", value), text("suggestion", suggestion)])
        }
        VarError::NotOneOf { name, value, choices, suggestion: None } => {
            ("var-not-one-of", vec![text("name", name), text("value", value), text("choices", list(lang, choices, Join::Or))])
        }
        VarError::Cycle { cycle } => ("mistake-var-cycle", vec![text("cycle", cycle.join(" → "))]),
    };
    lang.with(key, &args)
}

/// Why a template gave nothing.
pub fn template(lang: &Lang, error: &TemplateError) -> String {
    let (key, args) = match error {
        TemplateError::Syntax { template, fault } => {
            ("template-unreadable", vec![text("template", template), text("why", template_fault(lang, fault))])
        }
        TemplateError::Undefined { template, name } => ("template-undefined", vec![text("template", template), text("name", name)]),
        TemplateError::Null { template, name } => ("template-null", vec![text("template", template), text("name", name)]),
        TemplateError::TooMuch { template } => ("template-too-much", vec![text("template", template)]),
        TemplateError::Failed { template, detail } => {
            ("template-failed", vec![text("template", template), text("why", lang.with("fault-parser", &[text("detail", detail)]))])
        }
        TemplateError::Unfit { template, what } => ("template-failed", vec![text("template", template), text("why", unfit(lang, *what))]),
    };
    lang.with(key, &args)
}

/// The key of what is wrong, and its arguments.
fn told(lang: &Lang, problem: &Problem) -> (&'static str, Args) {
    let at = |of: &Place| text("place", place(lang, Form::Plain, of));
    let within = |of: &Place| text("in", place(lang, Form::In, of));
    let whose = |of: &Owner| text("owner", owner(lang, Form::Plain, of));
    match problem {
        Problem::Syntax { detail } => ("mistake-syntax", vec![text("detail", detail)]),
        Problem::FileTooLarge { most_mib } => ("mistake-file-too-large", vec![text("mib", most_mib)]),
        Problem::TooDeep { place, most_levels } => ("mistake-too-deep", vec![at(place), text("levels", most_levels)]),
        Problem::TemplateTooLong { place, most_parts } => ("mistake-template-too-long", vec![within(place), text("parts", most_parts)]),
        Problem::Format { found: None } => ("mistake-format-missing", Vec::new()),
        Problem::Format { found: Some(found) } => ("mistake-format-unknown", vec![text("found", shown(lang, found))]),
        Problem::UnknownKey { place, key, .. } => ("mistake-unknown-key", vec![at(place), text("key", key)]),
        Problem::MissingKey { place, key, .. } => ("mistake-missing-key", vec![at(place), text("key", key)]),
        Problem::WrongType { place, expected: wanted, found: is } => {
            ("mistake-wrong-type", vec![at(place), text("expected", expected(lang, wanted)), text("found", found(lang, is))])
        }
        Problem::UnknownKind { kind, .. } => ("mistake-unknown-kind", vec![text("kind", kind)]),
        Problem::UnknownChoice { place, value, .. } => ("mistake-unknown-choice", vec![at(place), text("value", value)]),
        Problem::NotADuration { place, value } => ("mistake-no-duration", vec![at(place), text("value", value)]),
        Problem::NotASize { place, value } => ("mistake-no-size", vec![at(place), text("value", value)]),
        Problem::OutOfRange { place, value, bounds: of } => {
            ("mistake-out-of-range", vec![at(place), text("value", value), text("bounds", bounds(lang, of))])
        }
        Problem::Refused { place, detail } => ("mistake-refused", vec![at(place), text("detail", detail)]),
        Problem::BadName { what, name } => {
            let key = match what {
                Named::Plan => "mistake-bad-name-plan",
                Named::Variable => "mistake-bad-name-variable",
                Named::Secret => "mistake-bad-name-secret",
                Named::Step => "mistake-bad-name-step",
            };
            (key, vec![text("name", name)])
        }
        Problem::SameName { name } => ("mistake-same-name", vec![text("name", name)]),
        Problem::NoSteps => ("mistake-no-steps", Vec::new()),
        Problem::UnknownNeed { owner, needed, elsewhere, .. } => {
            let key = if *elsewhere { "mistake-need-elsewhere" } else { "mistake-unknown-need" };
            (key, vec![whose(owner), text("needed", needed)])
        }
        Problem::DoubleNeed { owner, needed } => ("mistake-double-need", vec![whose(owner), text("needed", needed)]),
        Problem::NeedsItself { owner } => ("mistake-needs-itself", vec![whose(owner)]),
        Problem::Cycle { cycle } => ("mistake-cycle", vec![text("cycle", cycle.join(" → "))]),
        Problem::Template { place, fault } => ("mistake-template", vec![within(place), text("why", template_fault(lang, fault))]),
        Problem::UnknownName { place, name, .. } => ("mistake-unknown-name", vec![within(place), text("name", name)]),
        Problem::UnknownVar { place, name, .. } => ("mistake-unknown-var", vec![at(place), text("name", name)]),
        Problem::UnknownSecret { place, name, .. } => ("mistake-unknown-secret", vec![at(place), text("name", name)]),
        Problem::UnknownStep { place, name, finally, .. } => {
            (if *finally { "mistake-finally-step" } else { "mistake-unknown-step" }, vec![at(place), text("name", name)])
        }
        Problem::UnknownOutput { place, step, kind, output, .. } => {
            ("mistake-unknown-output", vec![at(place), text("step", step), text("kind", kind), text("output", output)])
        }
        Problem::Vague { place, name } => {
            (if name.starts_with("steps.") { "mistake-vague-step" } else { "mistake-vague" }, vec![at(place), text("name", name)])
        }
        Problem::NotHere { place, name, why } => {
            let key = match why {
                NotHere::BeforeTheRun => "mistake-before-the-run",
                NotHere::OutcomeBeforeFinally => "mistake-outcome-before-finally",
                NotHere::OwnOutput => "mistake-own-output",
            };
            (key, vec![at(place), text("name", name)])
        }
        Problem::SecretInEnv { place, name } => {
            ("mistake-secret-in-env", vec![at(place), text("name", name), text("lower", name.to_lowercase())])
        }
        Problem::MayBeNull { place, reference, when } => {
            ("mistake-may-be-null", vec![at(place), text("reference", reference), text("when", null_when(lang, when))])
        }
        Problem::NotBefore { place, owner, step } => ("mistake-not-before", vec![at(place), text("owner", owner), text("step", step)]),
        Problem::VarCycle { cycle } => ("mistake-var-cycle", vec![text("cycle", cycle.join(" → "))]),
        Problem::UnknownTool { place, what, name } => {
            let key = match what {
                Tool::Filter => "mistake-unknown-filter",
                Tool::Test => "mistake-unknown-test",
                Tool::Function => "mistake-unknown-function",
            };
            (key, vec![within(place), text("name", name)])
        }
        Problem::SeveralPivots => ("mistake-several-pivots", Vec::new()),
        Problem::BesidePivot { pivot, beside } => {
            let steps = list(lang, beside, Join::And);
            ("mistake-beside-pivot", vec![("n", beside.len().into()), text("steps", steps), text("pivot", pivot)])
        }
        Problem::IrreversibleEarly { step, pivot: None } => ("mistake-irreversible-without-pivot", vec![text("step", step)]),
        Problem::IrreversibleEarly { step, pivot: Some(pivot) } => {
            ("mistake-irreversible-early", vec![text("step", step), text("pivot", pivot)])
        }
        Problem::IrreversibleCompensated { step } => ("mistake-irreversible-compensated", vec![text("step", step)]),
        Problem::Undeclared { step } => ("mistake-undeclared", vec![text("step", step)]),
        Problem::SecretSource { name } => ("mistake-secret-source", vec![text("name", name)]),
        Problem::NoValueHere { name, system } => ("mistake-no-value-here", vec![text("name", name), text("system", system)]),
        Problem::Unrepresentable { place, what } => {
            let (key, word) = match what {
                Unrepresentable::Date => ("mistake-date", "value-date"),
                Unrepresentable::LargeNumber => ("mistake-unrepresentable", "value-large-number"),
                Unrepresentable::EndlessNumber => ("mistake-unrepresentable", "value-endless-number"),
            };
            (key, vec![at(place), text("what", lang.text(word))])
        }
        Problem::NotInFinally { owner, key } => ("mistake-not-in-finally", vec![whose(owner), text("key", key)]),
        Problem::Blank { place } => ("mistake-blank", vec![at(place)]),
        Problem::Untold { .. } => ("mistake-untold", Vec::new()),
        Problem::Unrenderable { place, error } => ("mistake-unrenderable", vec![within(place), text("why", template(lang, error))]),
    }
}

fn missing(lang: &Lang, about: &Missing, place: &Place) -> String {
    match about {
        Missing::PlanName => lang.text("hint-plan-name"),
        Missing::Uses => lang.text("hint-uses"),
        Missing::Measured => lang.text("hint-measured"),
        // The documentation of the kinds knows one language.
        Missing::Input(text) if lang.is_source() => text.clone(),
        Missing::Input(_) => lang.with("hint-input", &[text("kind", place.kind.as_deref().unwrap_or_default())]),
    }
}

/// How the name of a place is needed: by itself, after "of", after "in". Portuguese contracts these words with its article.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Of,
    In,
}

impl Form {
    fn of(self, lang: &Lang, key: &str, args: &[(&str, Value<'_>)]) -> String {
        match self {
            Self::Plain => lang.with(key, args),
            Self::Of => lang.form(key, "of", args),
            Self::In => lang.form(key, "in", args),
        }
    }
}

fn place(lang: &Lang, form: Form, place: &Place) -> String {
    let whole = |form| {
        let owner = owner(lang, form, &place.owner);
        place.kind.as_ref().map(|kind| format!("{owner} (`{kind}`)")).unwrap_or(owner)
    };
    match &place.field {
        None => whole(form),
        Some(field) => form.of(lang, "place-field", &[text("field", field), text("of", whole(Form::Of))]),
    }
}

fn owner(lang: &Lang, form: Form, owner: &Owner) -> String {
    let (key, name) = match owner {
        Owner::Plan => return form.of(lang, "owner-plan", &[]),
        Owner::Section(name) => ("owner-section", *name),
        Owner::Secret(name) => ("owner-secret", name.as_str()),
        Owner::Var(name) => ("owner-var", name.as_str()),
        Owner::Step(id) => ("owner-step", id.as_str()),
        Owner::Finally(id) => ("owner-finally", id.as_str()),
        Owner::Compensation(id) => ("owner-compensation", id.as_str()),
        Owner::Probe(id) => ("owner-probe", id.as_str()),
    };
    form.of(lang, key, &[text("name", name)])
}

fn value_type(lang: &Lang, of: ValueType) -> String {
    lang.text(match of {
        ValueType::Text => "value-text",
        ValueType::Integer => "value-integer",
        ValueType::Number => "value-number",
        ValueType::Boolean => "value-boolean",
        ValueType::Date => "value-date",
        ValueType::List => "value-list",
        ValueType::Table => "value-table",
    })
}

fn value_types(lang: &Lang, types: &[ValueType]) -> String {
    let names: Vec<String> = types.iter().map(|of| value_type(lang, *of)).collect();
    if names.is_empty() { lang.text("value-nothing") } else { joined(lang, &names, Join::Or) }
}

fn expected(lang: &Lang, expected: &Expected) -> String {
    lang.text(match expected {
        Expected::Types(types) => return value_types(lang, types),
        Expected::Duration => "value-duration",
        Expected::Size => "value-size",
        Expected::VarValue => "value-var",
        Expected::SecretSource => "value-secret-source",
        Expected::Compensation => "value-compensation",
        Expected::StepNames => "value-step-names",
        Expected::Choices => "value-choices",
        Expected::Tables => "value-tables",
        Expected::Statuses => "value-statuses",
    })
}

fn found(lang: &Lang, found: &Found) -> String {
    match found {
        Found::Type(of) => value_type(lang, *of),
        Found::Reference { reference, types } => {
            lang.with("value-of-reference", &[text("reference", reference), text("types", value_types(lang, types))])
        }
    }
}

fn shown(lang: &Lang, shown: &Shown) -> String {
    match shown {
        Shown::Written(text) => text.clone(),
        Shown::Type(of) => value_type(lang, *of),
    }
}

fn bounds(lang: &Lang, bounds: &Bounds) -> String {
    match bounds {
        Bounds::AtLeast(least) => lang.with("bounds-at-least", &[text("least", least)]),
        Bounds::AtMost(most) => lang.with("bounds-at-most", &[text("most", most)]),
        Bounds::FromTo(least, most) => lang.with("bounds-from-to", &[text("least", least), text("most", most)]),
        Bounds::LongerThanNothing => lang.text("bounds-longer-than-nothing"),
        Bounds::AtMostYears(years) => lang.with("bounds-at-most-years", &[text("years", years)]),
    }
}

fn template_fault(lang: &Lang, fault: &TemplateFault) -> String {
    let (key, arg) = match fault {
        TemplateFault::NotPlain => return lang.text("fault-not-plain"),
        TemplateFault::Braces => return lang.text("fault-braces"),
        TemplateFault::NamesAValue => return lang.text("fault-names-a-value"),
        TemplateFault::Vague(name) => ("fault-vague", text("name", name)),
        TemplateFault::UnknownTool { tool: Tool::Filter, name } => ("fault-no-filter", text("name", name)),
        TemplateFault::UnknownTool { tool: Tool::Test, name } => ("fault-no-test", text("name", name)),
        TemplateFault::UnknownTool { tool: Tool::Function, name } => ("fault-no-function", text("name", name)),
        TemplateFault::Parser(detail) => ("fault-parser", text("detail", detail)),
    };
    lang.with(key, &[arg])
}

fn unfit(lang: &Lang, what: Unfit) -> String {
    lang.text(match what {
        Unfit::Number => "unfit-number",
        Unfit::List => "unfit-list",
        Unfit::Table => "unfit-table",
        Unfit::Name => "unfit-name",
        Unfit::Undefined => "unfit-undefined",
        Unfit::Value => "unfit-value",
    })
}

fn null_when(lang: &Lang, when: &NullWhen) -> String {
    let (key, step) = match when {
        NullWhen::SecretNotSet => return lang.text("null-secret-not-set"),
        NullWhen::NotThatFar(step) => ("null-not-that-far", step),
        NullWhen::NotSucceeded(step) => ("null-not-succeeded", step),
        NullWhen::Skipped(step) => ("null-skipped", step),
        NullWhen::Failed(step) => ("null-failed", step),
    };
    lang.with(key, &[text("step", step)])
}

#[derive(Clone, Copy)]
enum Join {
    And,
    Or,
}

/// `a`, `b` and 3 more.
fn list(lang: &Lang, names: &[String], join: Join) -> String {
    let quoted: Vec<String> = names.iter().take(MOST_LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len() - quoted.len();
    if more == 0 {
        return joined(lang, &quoted, join);
    }
    let key = match join {
        Join::And => "list-and-more",
        Join::Or => "list-or-more",
    };
    lang.with(key, &[text("first", quoted.join(", ")), text("n", more)])
}

fn joined(lang: &Lang, names: &[String], join: Join) -> String {
    let [first @ .., last] = names else { return String::new() };
    if first.is_empty() {
        return last.clone();
    }
    let key = match join {
        Join::And => "list-and",
        Join::Or => "list-or",
    };
    lang.with(key, &[text("first", first.join(", ")), text("last", last)])
}

fn text(name: &'static str, value: impl std::fmt::Display) -> (&'static str, Value<'static>) {
    (name, Value::from(value.to_string()))
}

#[cfg(test)]
mod tests;
