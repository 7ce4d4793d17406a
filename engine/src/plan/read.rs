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

use super::choice::{can_be, plain, texts};
use super::fault::TemplateFault;
use super::mistake::{
    Bounds, Expected, Found, Missing, Mistake, Named, Owner, Place, Problem, Severity, Shown, Span, Unrepresentable, ValueType,
};
use super::refer::is_template;
use super::suggest::Suggest;
use super::{LANGUAGES, MOST_DURATION, MOST_YEARS, Retry, Secret, SecretSource};
use crate::event::OnInterrupt;

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
    pub(crate) measure: Vec<DraftCheck>,
    pub(crate) vars: Vec<DraftVar<'t, 'i>>,
    /// Variables that could not be read, which was told.
    pub(crate) unread: HashSet<&'t str>,
    pub(crate) secrets: IndexMap<String, Secret>,
    pub(crate) steps: Vec<DraftStep<'t, 'i>>,
    pub(crate) finally: Vec<DraftStep<'t, 'i>>,
}

/// An address of the measured service, as it was written.
pub(crate) struct DraftCheck {
    pub(crate) url: Written<String>,
    pub(crate) status: Vec<u16>,
    pub(crate) contains: Option<Written<String>>,
}

/// A variable, with its value for this system.
pub(crate) struct DraftVar<'t, 'i> {
    pub(crate) name: String,
    pub(crate) node: &'t Node<'i>,
    pub(crate) value: Value,
    /// What it can be; nothing where that is not said.
    pub(crate) one_of: Vec<Value>,
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

impl Reader {
    pub(crate) fn note(&mut self, span: Span, problem: Problem) {
        self.tell(Mistake::new(span, problem));
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
            self.mistakes.push(Mistake::new(end..end, problem));
        }
        self.mistakes
    }

    /// Reads the whole file.
    pub(crate) fn draft<'t, 'i>(&mut self, root: &'t Spanned<DeTable<'i>>) -> Draft<'t, 'i> {
        let top = root.get_ref();
        self.format(top);
        self.keys(&Owner::Plan, top, &["format", "plan", "measure", "vars", "secrets", "steps", "finally"]);
        let mut draft = Draft::default();
        self.plan(top, &mut draft);
        draft.measure = self.measure(top);
        self.vars(top, &mut draft);
        draft.secrets = self.secrets(top);
        draft.steps = self.steps(top, "steps", Owner::Step);
        draft.finally = self.steps(top, "finally", Owner::Finally);
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
        let owner = &Owner::Section("plan");
        let Some(plan) = self.section(top, "plan") else {
            if !top.contains_key("plan") {
                self.missing(&Owner::Plan, 0..0, "plan.name", Some(Missing::PlanName));
            }
            return;
        };
        self.keys(owner, plan, &["name", "description", "lock", "max_parallel", "lang"]);
        draft.name = self.filled(owner, plan, "name");
        if !plan.contains_key("name") {
            self.missing(owner, key_span(top, "plan"), "name", Some(Missing::PlanName));
        }
        if let Some(name) = draft.name.as_ref().filter(|name| is_template(&name.value) || name.value.chars().any(is_invisible)) {
            self.note(name.span.clone(), Problem::BadName { what: Named::Plan, name: clipped(&name.value) });
        }
        draft.description = self.text(owner, plan, "description").map(|text| text.value);
        draft.lock = self.filled(owner, plan, "lock");
        draft.max_parallel = self.count(owner, plan, "max_parallel").map(|most| most as usize);
        draft.lang = self.choice(owner, plan, "lang", &LANGUAGES).map(str::to_owned);
    }

    /// One `url`, or `checks`, or both: all of them are asked.
    fn measure(&mut self, top: &DeTable<'_>) -> Vec<DraftCheck> {
        let owner = &Owner::Section("measure");
        let Some(measure) = self.section(top, "measure") else { return Vec::new() };
        self.keys(owner, measure, &["url", "checks"]);
        if !measure.contains_key("url") && !measure.contains_key("checks") {
            self.missing(owner, key_span(top, "measure"), "url", Some(Missing::Measured));
        }
        let url = self.text(owner, measure, "url");
        let mut checks: Vec<_> = url.map(|url| DraftCheck { url, status: Vec::new(), contains: None }).into_iter().collect();
        match measure.get("checks").map(|node| (node, node.get_ref())) {
            None => {}
            Some((node, DeValue::Array(list))) if list.is_empty() => {
                self.note(node.span(), Problem::Blank { place: owner.key("checks") });
            }
            Some((_, DeValue::Array(list))) => checks.extend(list.iter().filter_map(|node| self.measure_check(node))),
            Some((node, _)) => self.wrong(owner, node, "checks", Expected::Tables),
        }
        checks
    }

    fn measure_check(&mut self, node: &Node<'_>) -> Option<DraftCheck> {
        let owner = &Owner::Section("measure");
        let DeValue::Table(check) = node.get_ref() else {
            self.wrong(owner, node, "checks", Expected::Tables);
            return None;
        };
        self.keys(owner, check, &["url", "status", "contains"]);
        if !check.contains_key("url") {
            self.missing(owner, node.span(), "url", None);
        }
        let status = check.get("status").map(|node| self.statuses(node)).unwrap_or_default();
        let contains = self.filled(owner, check, "contains");
        Some(DraftCheck { url: self.text(owner, check, "url")?, status, contains })
    }

    /// One status, or a list of those that are all right.
    fn statuses(&mut self, node: &Node<'_>) -> Vec<u16> {
        match node.get_ref() {
            DeValue::Array(list) => list.iter().filter_map(|node| self.status(node)).collect(),
            _ => self.status(node).into_iter().collect(),
        }
    }

    fn status(&mut self, node: &Node<'_>) -> Option<u16> {
        let owner = &Owner::Section("measure");
        if !matches!(node.get_ref(), DeValue::Integer(_)) {
            self.wrong(owner, node, "status", Expected::Statuses);
            return None;
        }
        let status =
            self_integer(node.get_ref()).and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status));
        if status.is_none() {
            let (value, bounds) = (shown(node.get_ref()).to_string(), Bounds::FromTo(100.into(), 599.into()));
            self.note(node.span(), Problem::OutOfRange { place: owner.key("status"), value, bounds });
        }
        status
    }

    fn vars<'t, 'i>(&mut self, top: &'t DeTable<'i>, draft: &mut Draft<'t, 'i>) {
        let Some(vars) = self.section(top, "vars") else { return };
        for (key, node) in in_order(vars) {
            let name = key.get_ref().as_ref();
            self.name(Named::Variable, name, key.span());
            match self.var(name, node) {
                Some(var) => draft.vars.push(var),
                None => drop(draft.unread.insert(name)),
            }
        }
    }

    /// A variable: its value, or a table with that and what it can be.
    fn var<'t, 'i>(&mut self, name: &str, node: &'t Node<'i>) -> Option<DraftVar<'t, 'i>> {
        let owner = &Owner::Var(clipped(name));
        let table = match node.get_ref() {
            DeValue::Table(table) if table.contains_key("default") || table.contains_key("one_of") => table,
            _ => {
                let (node, value) = self.var_value(owner, name, node)?;
                return Some(DraftVar { name: name.to_owned(), node, value, one_of: Vec::new() });
            }
        };
        self.keys(owner, table, &["default", "one_of"]);
        let one_of = table.get("one_of").map_or_else(Vec::new, |node| self.choices(owner, node));
        let Some(default) = table.get("default") else {
            self.missing(owner, node.span(), "default", None);
            return None;
        };
        let (node, value) = self.var_value(owner, name, default)?;
        // What templates give is not known yet.
        if texts(&value).next().is_none() && !can_be(&one_of, &value) {
            let (choices, suggestion) = self.suggest.among(&one_of, &value);
            self.note(node.span(), Problem::UnknownChoice { place: owner.whole(), value: clipped(&plain(&value)), choices, suggestion });
        }
        Some(DraftVar { name: name.to_owned(), node, value, one_of })
    }

    /// The value of a variable on this system, and where it is.
    fn var_value<'t, 'i>(&mut self, owner: &Owner, name: &str, node: &'t Node<'i>) -> Option<(&'t Node<'i>, Value)> {
        let node = match node.get_ref() {
            DeValue::Table(systems) => {
                self.keys(owner, systems, &["windows", "unix"]);
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
            self.wrong(owner, node, "value", Expected::VarValue);
            return None;
        }
        Some((node, self.json(owner, "value", node)?))
    }

    /// What a variable can be.
    fn choices(&mut self, owner: &Owner, node: &Node<'_>) -> Vec<Value> {
        let plain = |item: &Node<'_>| !matches!(item.get_ref(), DeValue::Array(_) | DeValue::Table(_) | DeValue::Datetime(_));
        match node.get_ref() {
            DeValue::Array(items) if !items.is_empty() && items.iter().all(plain) => {
                items.iter().filter_map(|item| self.json(owner, "one_of", item)).collect()
            }
            _ => {
                self.wrong(owner, node, "one_of", Expected::Choices);
                Vec::new()
            }
        }
    }

    fn secrets(&mut self, top: &DeTable<'_>) -> IndexMap<String, Secret> {
        let Some(secrets) = self.section(top, "secrets") else { return IndexMap::new() };
        let mut read = IndexMap::new();
        for (key, node) in in_order(secrets) {
            let name = key.get_ref().as_ref();
            self.name(Named::Secret, name, key.span());
            let owner = &Owner::Secret(clipped(name));
            let DeValue::Table(table) = node.get_ref() else {
                self.wrong(owner, node, "source", Expected::SecretSource);
                continue;
            };
            self.keys(owner, table, &["env", "file", "optional"]);
            let env = self.filled(owner, table, "env");
            let file = self.filled(owner, table, "file");
            let optional = self.truth(owner, table, "optional").is_some();
            for text in [&env, &file].into_iter().flatten().filter(|text| is_template(&text.value)) {
                self.note(text.span.clone(), Problem::Template { place: owner.whole(), fault: TemplateFault::NotPlain });
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

    fn steps<'t, 'i>(&mut self, top: &'t DeTable<'i>, section: &'static str, owner: fn(String) -> Owner) -> Vec<DraftStep<'t, 'i>> {
        let Some(steps) = self.section(top, section) else { return Vec::new() };
        let mut read = Vec::with_capacity(steps.len());
        for (key, node) in in_order(steps) {
            let id: &str = key.get_ref().as_ref();
            if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                self.note(key.span(), Problem::BadName { what: Named::Step, name: clipped(id) });
            }
            let owner = owner(clipped(id));
            match node.get_ref() {
                DeValue::Table(table) => read.push(self.step(&owner, id, key.span(), table)),
                _ => self.wrong(&owner, node, "step", ValueType::Table.into()),
            }
        }
        read
    }

    fn step<'t, 'i>(&mut self, owner: &Owner, id: &'t str, header: Span, table: &'t DeTable<'i>) -> DraftStep<'t, 'i> {
        let finally = matches!(owner, Owner::Finally(_));
        let barred = |key: &str| finally && NOT_IN_FINALLY.contains(&key);
        for (key, _) in table.iter().filter(|(key, _)| barred(key.get_ref())) {
            self.note(key.span(), Problem::NotInFinally { owner: owner.clone(), key: clipped(key.get_ref()) });
        }
        self.keys(owner, table, STEP_KEYS);
        let mut step = DraftStep {
            action: self.action(owner, header.clone(), table),
            needs: self.needs(owner, table),
            when: self.filled(owner, table, "when"),
            description: self.text(owner, table, "description").map(|text| text.value),
            timeout: self.timeout(owner, table),
            retry: self.retry(owner, table),
            continue_on_failure: self.choice(owner, table, "on_failure", &["compensate", "continue"]) == Some("continue"),
            id: Written { value: id.to_owned(), span: header },
            on_interrupt: None,
            probe: None,
            pivot: None,
            irreversible: None,
            compensate: None,
        };
        if !finally {
            step.on_interrupt = self.choice(owner, table, "on_interrupt", &["rerun", "ask", "compensate"]).map(|choice| match choice {
                "rerun" => OnInterrupt::Rerun,
                "ask" => OnInterrupt::Ask,
                _ => OnInterrupt::Compensate,
            });
            step.probe = self.probe(id, table);
            step.pivot = self.truth(owner, table, "pivot");
            step.irreversible = self.truth(owner, table, "irreversible");
            step.compensate = self.compensate(owner, id, table);
        }
        step
    }

    fn action<'t, 'i>(&mut self, owner: &Owner, header: Span, table: &'t DeTable<'i>) -> DraftAction<'t, 'i> {
        let uses = self.filled(owner, table, "uses");
        if !table.contains_key("uses") {
            self.missing(owner, header.clone(), "uses", Some(Missing::Uses));
        }
        let with = table.get("with").filter(|with| {
            let is_table = matches!(with.get_ref(), DeValue::Table(_));
            if !is_table {
                self.wrong(owner, with, "with", ValueType::Table.into());
            }
            is_table
        });
        DraftAction { uses, with, header }
    }

    fn probe<'t, 'i>(&mut self, id: &'t str, table: &'t DeTable<'i>) -> Option<DraftAction<'t, 'i>> {
        let owner = &Owner::Probe(clipped(id));
        let probe = self.table(owner, table, "probe")?;
        self.keys(owner, probe, &["uses", "with"]);
        Some(self.action(owner, key_span(table, "probe"), probe))
    }

    fn compensate<'t, 'i>(
        &mut self,
        owner: &Owner,
        id: &'t str,
        table: &'t DeTable<'i>,
    ) -> Option<Written<Vec<DraftCompensation<'t, 'i>>>> {
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
                        _ => self.wrong(owner, item, "compensate", Expected::Compensation),
                    }
                }
                written(all)
            }
            _ => {
                self.wrong(owner, node, "compensate", Expected::Compensation);
                written(Vec::new())
            }
        }
    }

    fn compensation<'t, 'i>(&mut self, id: &'t str, header: Span, table: &'t DeTable<'i>) -> DraftCompensation<'t, 'i> {
        let owner = &Owner::Compensation(clipped(id));
        self.keys(owner, table, COMPENSATION_KEYS);
        DraftCompensation {
            action: self.action(owner, header, table),
            when: self.filled(owner, table, "when"),
            timeout: self.timeout(owner, table),
            retry: self.retry(owner, table),
            continue_on_failure: self.choice(owner, table, "on_failure", &["stop", "continue"]) == Some("continue"),
        }
    }

    fn needs(&mut self, owner: &Owner, table: &DeTable<'_>) -> Vec<Written<String>> {
        let Some(node) = table.get("needs") else { return Vec::new() };
        let DeValue::Array(items) = node.get_ref() else {
            self.wrong(owner, node, "needs", Expected::StepNames);
            return Vec::new();
        };
        let mut needs = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(id) => needs.push(Written { value: id.to_string(), span: item.span() }),
                _ => self.wrong(owner, item, "needs", Expected::StepNames),
            }
        }
        needs
    }

    fn timeout(&mut self, owner: &Owner, table: &DeTable<'_>) -> Option<Duration> {
        let timeout = self.duration(owner, table, "timeout")?;
        if timeout.value.is_zero() {
            let (place, value) = (owner.key("timeout"), "0s".to_owned());
            self.note(timeout.span, Problem::OutOfRange { place, value, bounds: Bounds::LongerThanNothing });
            return None;
        }
        Some(timeout.value)
    }

    fn retry(&mut self, owner: &Owner, table: &DeTable<'_>) -> Retry {
        let mut retry = Retry::default();
        let Some(written) = self.table(owner, table, "retry") else { return retry };
        self.keys(owner, written, &["attempts", "backoff"]);
        retry.attempts = self.count(owner, written, "attempts").unwrap_or(retry.attempts);
        retry.backoff = self.duration(owner, written, "backoff").map_or(retry.backoff, |backoff| backoff.value);
        retry
    }

    fn duration(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str) -> Option<Written<Duration>> {
        let node = table.get(key)?;
        let DeValue::String(text) = node.get_ref() else {
            self.wrong(owner, node, key, Expected::Duration);
            return None;
        };
        match duration_fault(text, owner.key(key)) {
            Ok(value) => Some(Written { value, span: node.span() }),
            Err(problem) => {
                self.note(node.span(), *problem);
                None
            }
        }
    }

    /// A whole number that is at least 1.
    fn count(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str) -> Option<u32> {
        let node = table.get(key)?;
        let DeValue::Integer(_) = node.get_ref() else {
            self.wrong(owner, node, key, ValueType::Integer.into());
            return None;
        };
        let count = self_integer(node.get_ref()).and_then(|count| u32::try_from(count).ok()).filter(|&count| count >= 1);
        if count.is_none() {
            let bounds = Bounds::FromTo(1.into(), u32::MAX.into());
            let value = shown(node.get_ref()).to_string();
            self.note(node.span(), Problem::OutOfRange { place: owner.key(key), value, bounds });
        }
        count
    }

    /// The place of a key that is true.
    fn truth(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str) -> Option<Span> {
        let (written, node) = table.get_key_value(key)?;
        match node.get_ref() {
            DeValue::Boolean(truth) => truth.then(|| written.span()),
            _ => {
                self.wrong(owner, node, key, ValueType::Boolean.into());
                None
            }
        }
    }

    fn choice(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text(owner, table, key)?;
        let found = choices.iter().copied().find(|choice| *choice == text.value);
        if found.is_none() {
            let suggestion = self.suggest.closest(&text.value, choices.iter().copied());
            let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
            let value = clipped(&text.value);
            self.note(text.span, Problem::UnknownChoice { place: owner.key(key), value, choices, suggestion });
        }
        found
    }

    fn filled(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str) -> Option<Written<String>> {
        let text = self.text(owner, table, key)?;
        if text.value.trim().is_empty() {
            self.note(text.span, Problem::Blank { place: owner.key(key) });
            return None;
        }
        Some(text)
    }

    fn text(&mut self, owner: &Owner, table: &DeTable<'_>, key: &str) -> Option<Written<String>> {
        let node = table.get(key)?;
        match node.get_ref() {
            DeValue::String(text) => Some(Written { value: text.to_string(), span: node.span() }),
            _ => {
                self.wrong(owner, node, key, ValueType::Text.into());
                None
            }
        }
    }

    fn section<'t, 'i>(&mut self, top: &'t DeTable<'i>, name: &'static str) -> Option<&'t DeTable<'i>> {
        self.table(&Owner::Plan, top, name)
    }

    fn table<'t, 'i>(&mut self, owner: &Owner, table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
        let node = table.get(key)?;
        match node.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong(owner, node, key, ValueType::Table.into());
                None
            }
        }
    }

    /// A value as inputs hold it.
    pub(crate) fn json(&mut self, owner: &Owner, field: &str, node: &Node<'_>) -> Option<Value> {
        match json(node, MOST_DEPTH) {
            Ok(value) => Some(value),
            Err((span, None)) => {
                self.note(span, Problem::TooDeep { place: owner.key(field), most_levels: MOST_DEPTH });
                None
            }
            Err((span, Some(what))) => {
                self.note(span, Problem::Unrepresentable { place: owner.key(field), what });
                None
            }
        }
    }

    /// Notes the keys that are not known.
    fn keys(&mut self, owner: &Owner, table: &DeTable<'_>, known: &[&str]) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let suggestion = self.suggest.closest(key.get_ref(), known.iter().copied());
            let known = known.iter().map(|key| (*key).to_owned()).collect();
            self.note(key.span(), Problem::UnknownKey { place: owner.whole(), key: clipped(key.get_ref()), suggestion, known });
        }
    }

    fn name(&mut self, what: Named, name: &str, span: Span) {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.note(span, Problem::BadName { what, name: clipped(name) });
        }
    }

    fn missing(&mut self, owner: &Owner, span: Span, key: &str, about: Option<Missing>) {
        self.note(span, Problem::MissingKey { place: owner.whole(), key: key.to_owned(), about });
    }

    fn wrong(&mut self, owner: &Owner, node: &Node<'_>, field: &str, expected: Expected) {
        let found = Found::Type(type_of(node.get_ref()));
        self.note(node.span(), Problem::WrongType { place: owner.key(field), expected, found });
    }
}

/// A duration, or what is wrong with it.
pub(crate) fn duration_fault(text: &str, place: Place) -> Result<Duration, Box<Problem>> {
    let value = || clipped(text);
    let duration = humantime::parse_duration(text).map_err(|_| Box::new(Problem::NotADuration { place: place.clone(), value: value() }))?;
    // Clocks end somewhere: a deadline beyond that would take the process down.
    if duration > MOST_DURATION {
        return Err(Box::new(Problem::OutOfRange { place, value: value(), bounds: Bounds::AtMostYears(MOST_YEARS) }));
    }
    Ok(duration)
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
pub(crate) fn type_of(value: &DeValue<'_>) -> ValueType {
    match value {
        DeValue::String(_) => ValueType::Text,
        DeValue::Integer(_) => ValueType::Integer,
        DeValue::Float(_) => ValueType::Number,
        DeValue::Boolean(_) => ValueType::Boolean,
        DeValue::Datetime(_) => ValueType::Date,
        DeValue::Array(_) => ValueType::List,
        DeValue::Table(_) => ValueType::Table,
    }
}

/// A value as it was written, shortened.
fn shown(value: &DeValue<'_>) -> Shown {
    match value {
        DeValue::String(text) => Shown::Written(format!("\"{}\"", clipped(text))),
        DeValue::Integer(number) => Shown::Written(clipped(&number.to_string())),
        DeValue::Float(number) => Shown::Written(clipped(&number.to_string())),
        DeValue::Boolean(truth) => Shown::Written(truth.to_string()),
        other => Shown::Type(type_of(other)),
    }
}

/// At most so much of a text that a message stays readable.
pub(crate) fn clipped(text: &str) -> String {
    clipped_to(text, 60)
}

/// At most so many characters of a text.
pub(crate) fn clipped_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a character acts on the text around it, or hides in it, instead of being seen: controls, marks that turn the direction of
/// what follows, spaces without width. Names have none, and where a text is shown as it is, it must not have any either.
pub fn is_invisible(c: char) -> bool {
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
fn json(node: &Node<'_>, depth_left: usize) -> Result<Value, (Span, Option<Unrepresentable>)> {
    let deeper = || depth_left.checked_sub(1).ok_or((node.span(), None));
    Ok(match node.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Integer(number) => {
            let signed = self_integer(node.get_ref()).map(Value::from);
            let unsigned = || u64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from);
            signed.or_else(unsigned).ok_or((node.span(), Some(Unrepresentable::LargeNumber)))?
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            Value::Number(parsed.ok_or((node.span(), Some(Unrepresentable::EndlessNumber)))?)
        }
        DeValue::Datetime(_) => return Err((node.span(), Some(Unrepresentable::Date))),
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
