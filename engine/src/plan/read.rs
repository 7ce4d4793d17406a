//! Reading: a tree of TOML with spans becomes a [`Draft`], whose keys and types are right and whose names are not looked up yet.
//!
//! Nothing here stops at the first mistake: what cannot be read is left out, noted, and the rest is read.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Problem, Severity, Span};
use super::refer::is_template;
use super::suggest::Suggest;
use super::{Retry, Secret, SecretSource};
use crate::step::OnInterrupt;

/// A value of the file, with its place.
pub(crate) type Node<'i> = Spanned<DeValue<'i>>;

/// Mistakes that are told one by one: more than anybody puts right at once.
const MOST_MISTAKES: usize = 200;
/// Levels of tables and lists in one value.
const MOST_DEPTH: usize = 48;

const STEP_KEYS: &[&str] = &[
    "uses",
    "with",
    "needs",
    "when",
    "description",
    "timeout",
    "retry",
    "on_failure",
    "on_interrupt",
    "probe",
    "pivot",
    "irreversible",
    "compensate",
];
const NOT_IN_FINALLY: &[&str] = &["on_interrupt", "probe", "pivot", "irreversible", "compensate"];
const COMPENSATION_KEYS: &[&str] = &["uses", "with", "when", "timeout", "retry", "on_failure"];

/// Something and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The plan as it was written.
#[derive(Default)]
pub(crate) struct Draft<'t, 'i> {
    pub(crate) name: Option<Written<String>>,
    pub(crate) description: Option<String>,
    pub(crate) lock: Option<Written<String>>,
    pub(crate) max_parallel: Option<usize>,
    pub(crate) lang: Option<String>,
    pub(crate) measure: Option<Written<String>>,
    pub(crate) vars: Vec<DraftVar<'t, 'i>>,
    /// Variables that could not be read, which was told.
    pub(crate) unread: HashSet<&'t str>,
    pub(crate) secrets: IndexMap<String, Secret>,
    pub(crate) steps: Vec<DraftStep<'t, 'i>>,
    pub(crate) finally: Vec<DraftStep<'t, 'i>>,
}

/// A variable, with its value for this system.
pub(crate) struct DraftVar<'t, 'i> {
    pub(crate) name: String,
    pub(crate) node: &'t Node<'i>,
    pub(crate) value: Value,
}

/// A step as it was written.
pub(crate) struct DraftStep<'t, 'i> {
    pub(crate) id: Written<String>,
    pub(crate) action: DraftAction<'t, 'i>,
    pub(crate) needs: Vec<Written<String>>,
    pub(crate) when: Option<Written<String>>,
    pub(crate) description: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) continue_on_failure: bool,
    pub(crate) on_interrupt: Option<OnInterrupt>,
    pub(crate) probe: Option<DraftAction<'t, 'i>>,
    pub(crate) pivot: Option<Span>,
    pub(crate) irreversible: Option<Span>,
    pub(crate) compensate: Option<Written<Vec<DraftCompensation<'t, 'i>>>>,
}

/// A kind with inputs, as they were written.
pub(crate) struct DraftAction<'t, 'i> {
    /// `None` where it is missing, which was noted.
    pub(crate) uses: Option<Written<String>>,
    pub(crate) with: Option<&'t Node<'i>>,
    /// The header of the table.
    pub(crate) header: Span,
}

/// A compensation, as it was written.
pub(crate) struct DraftCompensation<'t, 'i> {
    pub(crate) action: DraftAction<'t, 'i>,
    pub(crate) when: Option<Written<String>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) continue_on_failure: bool,
}

/// Collects mistakes while it reads.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) mistakes: Vec<Mistake>,
    /// How many there were, with those beyond [`MOST_MISTAKES`].
    pub(crate) found: usize,
    /// Whether one of those is an error.
    untold_error: bool,
    pub(crate) suggest: Suggest,
}

/// Whose keys are read, for messages.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Top,
    Section(&'static str),
    Secret(&'a str),
    Var(&'a str),
    Step(&'a str),
    Finally(&'a str),
    Compensation(&'a str),
    Probe(&'a str),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Top => f.write_str("the plan"),
            Self::Section(name) => write!(f, "`[{name}]`"),
            Self::Secret(name) => write!(f, "secret `{}`", clipped(name)),
            Self::Var(name) => write!(f, "variable `{}`", clipped(name)),
            Self::Step(id) => write!(f, "step `{}`", clipped(id)),
            Self::Finally(id) => write!(f, "`finally` step `{}`", clipped(id)),
            Self::Compensation(id) => write!(f, "the compensation of `{}`", clipped(id)),
            Self::Probe(id) => write!(f, "the probe of `{}`", clipped(id)),
        }
    }
}

impl Reader {
    pub(crate) fn note(&mut self, span: Span, problem: Problem) {
        self.tell(Mistake { span, problem, related: Vec::new() });
    }

    pub(crate) fn tell(&mut self, mistake: Mistake) {
        self.found += 1;
        match self.mistakes.len() < MOST_MISTAKES {
            true => self.mistakes.push(mistake),
            false => self.untold_error |= mistake.severity() == Severity::Error,
        }
    }

    /// The mistakes in the order of the file, and behind them that there are more. `end` is the end of the file.
    pub(crate) fn mistakes(mut self, end: usize) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        if self.found > self.mistakes.len() {
            let problem = Problem::Untold { error: self.untold_error };
            self.mistakes.push(Mistake { span: end..end, problem, related: Vec::new() });
        }
        self.mistakes
    }

    /// Reads the whole file.
    pub(crate) fn draft<'t, 'i>(&mut self, root: &'t Spanned<DeTable<'i>>) -> Draft<'t, 'i> {
        let top = root.get_ref();
        self.format(top);
        self.keys(Place::Top, top, &["format", "plan", "measure", "vars", "secrets", "steps", "finally"]);
        let mut draft = Draft::default();
        self.plan(top, &mut draft);
        if let Some(measure) = self.section(top, "measure") {
            self.keys(Place::Section("measure"), measure, &["url"]);
            draft.measure = self.text(Place::Section("measure"), measure, "url");
            if draft.measure.is_none() && !measure.contains_key("url") {
                self.missing(Place::Section("measure"), key_span(top, "measure"), "url", None);
            }
        }
        self.vars(top, &mut draft);
        draft.secrets = self.secrets(top);
        draft.steps = self.steps(top, "steps", Place::Step);
        draft.finally = self.steps(top, "finally", Place::Finally);
        draft
    }

    fn format(&mut self, top: &DeTable<'_>) {
        let Some(format) = top.get("format") else { return self.note(0..0, Problem::Format { found: None }) };
        if self_integer(format.get_ref()) != Some(1) {
            let found = Some(shown(format.get_ref()));
            self.note(format.span(), Problem::Format { found });
        }
    }

    fn plan<'t, 'i>(&mut self, top: &'t DeTable<'i>, draft: &mut Draft<'t, 'i>) {
        const ABOUT: &str = "runs, locks and history go by it: `[plan]`, `name = \"…\"`";
        let place = Place::Section("plan");
        let Some(plan) = self.section(top, "plan") else {
            if !top.contains_key("plan") {
                self.missing(Place::Top, 0..0, "plan.name", Some(ABOUT.to_owned()));
            }
            return;
        };
        self.keys(place, plan, &["name", "description", "lock", "max_parallel", "lang"]);
        draft.name = self.filled(place, plan, "name");
        if !plan.contains_key("name") {
            self.missing(place, key_span(top, "plan"), "name", Some(ABOUT.to_owned()));
        }
        if let Some(name) = draft.name.as_ref().filter(|name| is_template(&name.value) || name.value.chars().any(is_unseen)) {
            self.note(name.span.clone(), Problem::BadName { what: "plan", name: clipped(&name.value) });
        }
        draft.description = self.text(place, plan, "description").map(|text| text.value);
        draft.lock = self.filled(place, plan, "lock");
        draft.max_parallel = self.count(place, plan, "max_parallel").map(|most| most as usize);
        draft.lang = self.choice(place, plan, "lang", &["pt-BR", "en"]).map(str::to_owned);
    }

    fn vars<'t, 'i>(&mut self, top: &'t DeTable<'i>, draft: &mut Draft<'t, 'i>) {
        let Some(vars) = self.section(top, "vars") else { return };
        for (key, node) in in_order(vars) {
            let name = key.get_ref().as_ref();
            self.name("variable", name, key.span());
            match self.var(name, node) {
                Some((node, value)) => draft.vars.push(DraftVar { name: name.to_owned(), node, value }),
                None => drop(draft.unread.insert(name)),
            }
        }
    }

    /// The value of a variable on this system, and where it is.
    fn var<'t, 'i>(&mut self, name: &str, node: &'t Node<'i>) -> Option<(&'t Node<'i>, Value)> {
        let place = Place::Var(name);
        let node = match node.get_ref() {
            DeValue::Table(systems) => {
                self.keys(place, systems, &["windows", "unix"]);
                let system = std::env::consts::FAMILY;
                let here = systems.get(system);
                if here.is_none() {
                    self.note(node.span(), Problem::NoValueHere { name: clipped(name), system });
                }
                here?
            }
            _ => node,
        };
        if has_table(node.get_ref()) {
            self.wrong(place, node, "value", "a text, a number, a boolean or a list of these");
            return None;
        }
        Some((node, self.json(place, "value", node)?))
    }

    fn secrets(&mut self, top: &DeTable<'_>) -> IndexMap<String, Secret> {
        let Some(secrets) = self.section(top, "secrets") else { return IndexMap::new() };
        let mut read = IndexMap::new();
        for (key, node) in in_order(secrets) {
            let name = key.get_ref().as_ref();
            self.name("secret", name, key.span());
            let place = Place::Secret(name);
            let DeValue::Table(table) = node.get_ref() else {
                self.wrong(place, node, "source", "a table like `{ env = \"NAME\" }` or `{ file = \"…\" }`");
                continue;
            };
            self.keys(place, table, &["env", "file", "optional"]);
            let env = self.filled(place, table, "env");
            let file = self.filled(place, table, "file");
            let optional = self.truth(place, table, "optional").is_some();
            for text in [&env, &file].into_iter().flatten().filter(|text| is_template(&text.value)) {
                self.note(
                    text.span.clone(),
                    Problem::Template { place: place.to_string(), detail: "it must be plain text here".to_owned() },
                );
            }
            let from = match (env, file, table.contains_key("env"), table.contains_key("file")) {
                (Some(env), None, _, false) => SecretSource::Env(env.value),
                (None, Some(file), false, _) => SecretSource::File(PathBuf::from(file.value)),
                (_, _, env, file) => {
                    if env == file {
                        self.note(node.span(), Problem::SecretSource { name: clipped(name) });
                    }
                    // The rest of the plan may still refer to it.
                    SecretSource::Env(String::new())
                }
            };
            read.insert(name.to_owned(), Secret { from, optional });
        }
        read
    }

    fn steps<'t, 'i>(&mut self, top: &'t DeTable<'i>, section: &'static str, place: fn(&'t str) -> Place<'t>) -> Vec<DraftStep<'t, 'i>> {
        let Some(steps) = self.section(top, section) else { return Vec::new() };
        let mut read = Vec::with_capacity(steps.len());
        for (key, node) in in_order(steps) {
            let id: &str = key.get_ref().as_ref();
            if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                self.note(key.span(), Problem::BadName { what: "step", name: clipped(id) });
            }
            match node.get_ref() {
                DeValue::Table(table) => read.push(self.step(place(id), id, key.span(), table)),
                _ => self.wrong(place(id), node, "step", "a table"),
            }
        }
        read
    }

    fn step<'t, 'i>(&mut self, place: Place<'_>, id: &'t str, header: Span, table: &'t DeTable<'i>) -> DraftStep<'t, 'i> {
        let finally = matches!(place, Place::Finally(_));
        let barred = |key: &str| finally && NOT_IN_FINALLY.contains(&key);
        for (key, _) in table.iter().filter(|(key, _)| barred(key.get_ref())) {
            self.note(key.span(), Problem::NotInFinally { place: place.to_string(), key: clipped(key.get_ref()) });
        }
        self.keys(place, table, STEP_KEYS);
        let mut step = DraftStep {
            action: self.action(place, header.clone(), table),
            needs: self.needs(place, table),
            when: self.filled(place, table, "when"),
            description: self.text(place, table, "description").map(|text| text.value),
            timeout: self.timeout(place, table),
            retry: self.retry(place, table),
            continue_on_failure: self.choice(place, table, "on_failure", &["compensate", "continue"]) == Some("continue"),
            id: Written { value: id.to_owned(), span: header },
            on_interrupt: None,
            probe: None,
            pivot: None,
            irreversible: None,
            compensate: None,
        };
        if !finally {
            step.on_interrupt = self.choice(place, table, "on_interrupt", &["rerun", "ask", "compensate"]).map(|choice| match choice {
                "rerun" => OnInterrupt::Rerun,
                "ask" => OnInterrupt::Ask,
                _ => OnInterrupt::Compensate,
            });
            step.probe = self.probe(id, table);
            step.pivot = self.truth(place, table, "pivot");
            step.irreversible = self.truth(place, table, "irreversible");
            step.compensate = self.compensate(place, id, table);
        }
        step
    }

    fn action<'t, 'i>(&mut self, place: Place<'_>, header: Span, table: &'t DeTable<'i>) -> DraftAction<'t, 'i> {
        let uses = self.filled(place, table, "uses");
        if !table.contains_key("uses") {
            self.missing(
                place,
                header.clone(),
                "uses",
                Some("name the kind of step: `uses = \"…\"`; `almaplan steps` lists them".to_owned()),
            );
        }
        let with = table.get("with").filter(|with| {
            let is_table = matches!(with.get_ref(), DeValue::Table(_));
            if !is_table {
                self.wrong(place, with, "with", "a table");
            }
            is_table
        });
        DraftAction { uses, with, header }
    }

    fn probe<'t, 'i>(&mut self, id: &'t str, table: &'t DeTable<'i>) -> Option<DraftAction<'t, 'i>> {
        let place = Place::Probe(id);
        let probe = self.table(place, table, "probe")?;
        self.keys(place, probe, &["uses", "with"]);
        Some(self.action(place, key_span(table, "probe"), probe))
    }

    fn compensate<'t, 'i>(
        &mut self,
        place: Place<'_>,
        id: &'t str,
        table: &'t DeTable<'i>,
    ) -> Option<Written<Vec<DraftCompensation<'t, 'i>>>> {
        const EXPECTED: &str = "\"none\", a table with `uses`, or a list of such tables";
        let node = table.get("compensate")?;
        let header = key_span(table, "compensate");
        let written = |value| Some(Written { value, span: header.clone() });
        match node.get_ref() {
            DeValue::String(text) if text == "none" => written(Vec::new()),
            DeValue::Table(one) => written(vec![self.compensation(id, header.clone(), one)]),
            DeValue::Array(items) => {
                let mut all = Vec::with_capacity(items.len());
                for item in items.iter() {
                    match item.get_ref() {
                        // In `[[steps.x.compensate]]` the span of an item is its header.
                        DeValue::Table(one) => all.push(self.compensation(id, first_line(item.span(), header.clone()), one)),
                        _ => self.wrong(place, item, "compensate", EXPECTED),
                    }
                }
                written(all)
            }
            _ => {
                self.wrong(place, node, "compensate", EXPECTED);
                written(Vec::new())
            }
        }
    }

    fn compensation<'t, 'i>(&mut self, id: &'t str, header: Span, table: &'t DeTable<'i>) -> DraftCompensation<'t, 'i> {
        let place = Place::Compensation(id);
        self.keys(place, table, COMPENSATION_KEYS);
        DraftCompensation {
            action: self.action(place, header, table),
            when: self.filled(place, table, "when"),
            timeout: self.timeout(place, table),
            retry: self.retry(place, table),
            continue_on_failure: self.choice(place, table, "on_failure", &["stop", "continue"]) == Some("continue"),
        }
    }

    fn needs(&mut self, place: Place<'_>, table: &DeTable<'_>) -> Vec<Written<String>> {
        const EXPECTED: &str = "a list of names of steps";
        let Some(node) = table.get("needs") else { return Vec::new() };
        let DeValue::Array(items) = node.get_ref() else {
            self.wrong(place, node, "needs", EXPECTED);
            return Vec::new();
        };
        let mut needs = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(id) => needs.push(Written { value: id.to_string(), span: item.span() }),
                _ => self.wrong(place, item, "needs", EXPECTED),
            }
        }
        needs
    }

    fn timeout(&mut self, place: Place<'_>, table: &DeTable<'_>) -> Option<Duration> {
        let timeout = self.duration(place, table, "timeout")?;
        if timeout.value.is_zero() {
            let bounds = "longer than nothing".to_owned();
            self.note(
                timeout.span,
                Problem::OutOfRange { place: place.to_string(), field: "timeout".to_owned(), value: "0s".to_owned(), bounds },
            );
            return None;
        }
        Some(timeout.value)
    }

    fn retry(&mut self, place: Place<'_>, table: &DeTable<'_>) -> Retry {
        let mut retry = Retry::default();
        let Some(written) = self.table(place, table, "retry") else { return retry };
        self.keys(place, written, &["attempts", "backoff"]);
        retry.attempts = self.count(place, written, "attempts").unwrap_or(retry.attempts);
        retry.backoff = self.duration(place, written, "backoff").map_or(retry.backoff, |backoff| backoff.value);
        retry
    }

    fn duration(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str) -> Option<Written<Duration>> {
        let node = table.get(key)?;
        let DeValue::String(text) = node.get_ref() else {
            self.wrong(place, node, key, "a duration");
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(value) => Some(Written { value, span: node.span() }),
            Err(_) => {
                self.note(node.span(), Problem::NotADuration { place: place.to_string(), field: key.to_owned(), value: clipped(text) });
                None
            }
        }
    }

    /// A whole number that is at least 1.
    fn count(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str) -> Option<u32> {
        let node = table.get(key)?;
        let DeValue::Integer(_) = node.get_ref() else {
            self.wrong(place, node, key, "an integer");
            return None;
        };
        let count = self_integer(node.get_ref()).and_then(|count| u32::try_from(count).ok()).filter(|&count| count >= 1);
        if count.is_none() {
            let bounds = format!("from 1 to {}", u32::MAX);
            let value = shown(node.get_ref());
            self.note(node.span(), Problem::OutOfRange { place: place.to_string(), field: key.to_owned(), value, bounds });
        }
        count
    }

    /// The place of a key that is true.
    fn truth(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str) -> Option<Span> {
        let (written, node) = table.get_key_value(key)?;
        match node.get_ref() {
            DeValue::Boolean(truth) => truth.then(|| written.span()),
            _ => {
                self.wrong(place, node, key, "true or false");
                None
            }
        }
    }

    fn choice(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text(place, table, key)?;
        let found = choices.iter().copied().find(|choice| *choice == text.value);
        if found.is_none() {
            let suggestion = self.suggest.closest(&text.value, choices.iter().copied());
            let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
            let value = clipped(&text.value);
            self.note(text.span, Problem::UnknownChoice { place: place.to_string(), field: key.to_owned(), value, choices, suggestion });
        }
        found
    }

    fn filled(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str) -> Option<Written<String>> {
        let text = self.text(place, table, key)?;
        if text.value.trim().is_empty() {
            self.note(text.span, Problem::Blank { place: place.to_string(), field: key.to_owned() });
            return None;
        }
        Some(text)
    }

    fn text(&mut self, place: Place<'_>, table: &DeTable<'_>, key: &str) -> Option<Written<String>> {
        let node = table.get(key)?;
        match node.get_ref() {
            DeValue::String(text) => Some(Written { value: text.to_string(), span: node.span() }),
            _ => {
                self.wrong(place, node, key, "a text");
                None
            }
        }
    }

    fn section<'t, 'i>(&mut self, top: &'t DeTable<'i>, name: &'static str) -> Option<&'t DeTable<'i>> {
        self.table(Place::Top, top, name)
    }

    fn table<'t, 'i>(&mut self, place: Place<'_>, table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
        let node = table.get(key)?;
        match node.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong(place, node, key, "a table");
                None
            }
        }
    }

    /// A value as inputs hold it.
    pub(crate) fn json(&mut self, place: Place<'_>, field: &str, node: &Node<'_>) -> Option<Value> {
        match json(node, MOST_DEPTH) {
            Ok(value) => Some(value),
            Err((span, None)) => {
                let what = format!("`{field}` of {place}");
                self.note(span, Problem::TooLarge { what, most: format!("{MOST_DEPTH} levels") });
                None
            }
            Err((span, Some(what))) => {
                self.note(span, Problem::Unrepresentable { place: place.to_string(), field: field.to_owned(), what });
                None
            }
        }
    }

    /// Notes the keys that are not known.
    fn keys(&mut self, place: Place<'_>, table: &DeTable<'_>, known: &[&str]) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let suggestion = self.suggest.closest(key.get_ref(), known.iter().copied());
            let known = known.iter().map(|key| (*key).to_owned()).collect();
            self.note(key.span(), Problem::UnknownKey { place: place.to_string(), key: clipped(key.get_ref()), suggestion, known });
        }
    }

    fn name(&mut self, what: &'static str, name: &str, span: Span) {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.note(span, Problem::BadName { what, name: clipped(name) });
        }
    }

    fn missing(&mut self, place: Place<'_>, span: Span, key: &str, about: Option<String>) {
        self.note(span, Problem::MissingKey { place: place.to_string(), key: key.to_owned(), about });
    }

    fn wrong(&mut self, place: Place<'_>, node: &Node<'_>, field: &str, expected: &str) {
        let found = kind_of(node.get_ref()).to_owned();
        self.note(
            node.span(),
            Problem::WrongType { place: place.to_string(), field: field.to_owned(), expected: expected.to_owned(), found },
        );
    }
}

/// The entries of a table in the order of the file.
pub(crate) fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Node<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Where `key` is written.
fn key_span(table: &DeTable<'_>, key: &str) -> Span {
    table.get_key_value(key).map_or(0..0, |(key, _)| key.span())
}

fn first_line(span: Span, otherwise: Span) -> Span {
    if span.is_empty() { otherwise } else { span }
}

/// What a value is, for messages.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value as it was written, shortened.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", clipped(text)),
        DeValue::Integer(number) => clipped(&number.to_string()),
        DeValue::Float(number) => clipped(&number.to_string()),
        DeValue::Boolean(truth) => truth.to_string(),
        other => kind_of(other).to_owned(),
    }
}

/// At most so much of a text that a message stays readable.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a character acts on the text around it, or hides in it, instead of being seen: controls, marks that turn the direction of
/// what follows, spaces without width. Names have none, and where a text is shown as it is, it must not have any either.
pub fn is_unseen(c: char) -> bool {
    let turns_or_hides = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    turns_or_hides || c.is_control()
}

fn self_integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn has_table(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| has_table(item.get_ref())),
        _ => false,
    }
}

/// A value as inputs hold it; else where and what cannot be one, `None` for one that is too deep.
fn json(node: &Node<'_>, depth_left: usize) -> Result<Value, (Span, Option<&'static str>)> {
    let deeper = || depth_left.checked_sub(1).ok_or((node.span(), None));
    Ok(match node.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Integer(number) => {
            let signed = self_integer(node.get_ref()).map(Value::from);
            let unsigned = || u64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from);
            signed.or_else(unsigned).ok_or((node.span(), Some("so large a number")))?
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            Value::Number(parsed.ok_or((node.span(), Some("an endless number")))?)
        }
        DeValue::Datetime(_) => return Err((node.span(), Some("a date"))),
        DeValue::Array(items) => {
            let depth = deeper()?;
            // Room for all of it at once: a list that grows is there twice meanwhile.
            let mut list = Vec::with_capacity(items.len());
            for item in items.iter() {
                list.push(json(item, depth)?);
            }
            Value::Array(list)
        }
        DeValue::Table(table) => {
            let depth = deeper()?;
            let fields = in_order(table).into_iter().map(|(key, node)| Ok((key.get_ref().to_string(), json(node, depth)?)));
            Value::Object(fields.collect::<Result<Map<_, _>, _>>()?)
        }
    })
}
