//! Checking: a [`Draft`] becomes a [`Plan`], every name in it looked up.
//!
//! What one step can be checked for by itself comes first (its kind, its inputs, its references); then the order of the steps, which
//! needs all edges; then what needs the order: compensations that refer to what came before, and the pivot.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};
use toml::de::DeValue;

use super::fault::TemplateFault;
use super::inputs::{self, Inputs, Known, Types};
use super::judge::{self, Judge};
use super::mistake::{Found, Mistake, NotHere, NullWhen, Owner, Place, Problem, Related, Span};
use super::read::{Draft, DraftAction, DraftCheck, DraftCompensation, DraftStep, Node, Reader, Written, clipped};
use super::refer::{Fault, MOST_TOKENS, Parsed, Reference, Root, is_template, parse_text, parse_when};
use super::template::{PLAN_NAMES, RUN_NAMES, Room};
use super::values::{Given, Values};
use super::vars::{self, VarError};
use super::{Action, Compensation, MeasureCheck, Plan, PlannedStep, Secret, SecretSource};
use crate::event::{Effect, StepId};
use crate::graph::Graph;
use crate::registry::{RegisteredKind, Registry};

/// Steps that one message names.
const MOST_NAMED: usize = 100;

/// Checks `draft`, and makes the plan of it as well as it can; the mistakes go to `reader`.
/// `given` is what a run of it would be started with, where that is known; what is wrong there is returned.
pub(crate) fn check(
    text: &str,
    path: &Path,
    registry: &Registry,
    draft: Draft<'_, '_>,
    given: Option<Given<'_>>,
    reader: &mut Reader,
) -> (Plan, Vec<VarError>) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let name = draft.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
    let names = Names::of(&draft, registry, reader);
    let values = given.map(|given| Values::of(&draft, name, &folder, given, reader));
    let (values, variables) = values.map_or((None, Vec::new()), |(values, wrong)| (Some(values), wrong));
    let mut check = Check { text, registry, draft: &draft, names, values, reader, asked: Vec::new() };
    let plan = check.plan(path.clone());
    if draft.steps.is_empty() && !check.reader.mistakes.iter().any(|mistake| matches!(mistake.problem, Problem::WrongType { .. })) {
        check.reader.note(0..0, Problem::NoSteps);
    }
    check.vars();
    let (steps, graph) = check.steps();
    let (finally, finally_graph) = check.finally();
    check.order(&graph);
    drop(check);
    let chosen = draft.vars.iter().filter(|var| !var.one_of.is_empty());
    let one_of = chosen.map(|var| (var.name.clone(), var.one_of.clone())).collect();
    // Moved, not copied: a list of a megabyte is forty times as long here.
    let vars = draft.vars.into_iter().map(|var| (var.name, var.value)).collect();
    (Plan { vars, one_of, steps, finally, graph, finally_graph, ..plan }, variables)
}

/// Whether an environment variable of this name is probably a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let inside = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "APIKEY", "SENHA"];
    let words = ["KEY", "PASS", "PASSPHRASE", "PIN"];
    inside.iter().any(|part| name.contains(part)) || name.split('_').any(|word| words.contains(&word))
}

/// The conditions of some work, and of the step that it belongs to.
type Whens<'a> = [Option<&'a Written<String>>; 2];

/// What the plan's names stand for.
struct Names<'d> {
    steps: HashMap<&'d str, usize>,
    finally: HashMap<&'d str, usize>,
    vars: HashMap<&'d str, usize>,
    /// The kind of each step, where there is one.
    kinds: Vec<Option<&'d RegisteredKind>>,
}

impl<'d> Names<'d> {
    fn of(draft: &'d Draft<'_, '_>, registry: &'d Registry, reader: &mut Reader) -> Self {
        let places =
            |steps: &'d [DraftStep<'_, '_>]| steps.iter().enumerate().map(|(place, step)| (step.id.value.as_str(), place)).collect();
        let steps: HashMap<&str, usize> = places(&draft.steps);
        for step in &draft.finally {
            if let Some(&other) = steps.get(step.id.value.as_str()) {
                let related = vec![(draft.steps[other].id.span.clone(), Related::SameName)];
                let problem = Problem::SameName { name: clipped(&step.id.value) };
                reader.tell(Mistake { span: step.id.span.clone(), problem, related, given: None });
            }
        }
        Self {
            steps,
            finally: places(&draft.finally),
            vars: draft.vars.iter().enumerate().map(|(place, var)| (var.name.as_str(), place)).collect(),
            kinds: draft.steps.iter().map(|step| registry.get(&step.action.uses.as_ref()?.value)).collect(),
        }
    }
}

/// Where a template stands, which decides what it may refer to.
#[derive(Clone, Copy, PartialEq)]
enum Site {
    /// The action or `when` of a step.
    Action(usize),
    /// A compensation or the probe of a step.
    Around(usize),
    Finally(usize),
    /// Before the run: the lock, the measure, a variable.
    Before,
}

struct Check<'c, 'd, 't, 'i> {
    text: &'c str,
    registry: &'d Registry,
    draft: &'d Draft<'t, 'i>,
    names: Names<'d>,
    /// What a run would be started with, where that is known.
    values: Option<Values<'d>>,
    reader: &'c mut Reader,
    /// References that are right if their step comes before another one: asked once the order is known.
    asked: Vec<Asked>,
}

struct Asked {
    before: usize,
    step: usize,
    span: Span,
    place: Place,
}

impl<'d, 't, 'i> Check<'_, 'd, 't, 'i> {
    /// Everything of the plan but its variables and steps.
    fn plan(&mut self, path: PathBuf) -> Plan {
        let draft = self.draft;
        let name = draft.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        let lock = draft.lock.iter().map(|text| (Owner::Section("plan").key("lock"), text));
        let measure = Owner::Section("measure");
        let urls = draft.measure.iter().map(|check| (measure.key("url"), &check.url));
        let contents = draft.measure.iter().filter_map(|check| Some((measure.key("contains"), check.contains.as_ref()?)));
        for (place, text) in lock.chain(urls).chain(contents).filter(|(_, text)| is_template(&text.value)) {
            let parsed = self.template(&text.value, text.span.clone(), &place, Site::Before);
            let rendered = self.values.as_ref().and_then(|values| values.render(&text.value, &parsed, &mut Room::default()));
            if let (Some(Err(error)), Some(values)) = (rendered, &self.values) {
                self.reader.tell(values.mistake(text.span.clone(), &parsed, Problem::Unrenderable { place, error }));
            }
        }
        let measured = |check: &DraftCheck| MeasureCheck {
            url: check.url.value.clone(),
            status: check.status.clone(),
            contains: check.contains.as_ref().map(|text| text.value.clone()),
        };
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        let placed = |secret: &Secret| match &secret.from {
            SecretSource::File(file) => Secret { from: SecretSource::File(folder.join(file)), ..secret.clone() },
            SecretSource::Env(_) => secret.clone(),
        };
        Plan {
            text: self.text.to_owned(),
            lock: draft.lock.as_ref().map_or_else(|| name.clone(), |lock| lock.value.clone()),
            name,
            description: draft.description.clone(),
            max_parallel: draft.max_parallel.unwrap_or(4),
            lang: draft.lang.clone(),
            measure: draft.measure.iter().map(measured).collect(),
            vars: Map::new(),
            one_of: IndexMap::new(),
            secrets: draft.secrets.iter().map(|(name, secret)| (name.clone(), placed(secret))).collect(),
            steps: Vec::new(),
            finally: Vec::new(),
            graph: Graph::default(),
            finally_graph: Graph::default(),
            path,
        }
    }

    fn vars(&mut self) {
        let mut needs = vec![Vec::new(); self.draft.vars.len()];
        for (place, var) in self.draft.vars.iter().enumerate() {
            let owner = Owner::Var(clipped(&var.name));
            for (text, span) in texts(var.node) {
                for reference in self.template(text, span, &owner.whole(), Site::Before).references {
                    if reference.root == Root::Vars {
                        needs[place].extend(self.names.vars.get(reference.path[0].as_str()).copied());
                    }
                }
            }
        }
        for cycle in vars::circles(&needs, &Graph::new(&needs)) {
            let named = |place: &usize| clipped(&self.draft.vars[*place].name);
            let others = cycle[1..cycle.len() - 1].iter().take(MOST_NAMED);
            let related = others.map(|&var| (self.draft.vars[var].node.span(), Related::Variable(named(&var)))).collect();
            let problem = Problem::VarCycle { cycle: cycle.iter().take(MOST_NAMED).map(named).collect() };
            self.reader.tell(Mistake { span: self.draft.vars[cycle[0]].node.span(), problem, related, given: None });
        }
    }

    /// The steps, and what needs what among them (rule 16).
    fn steps(&mut self) -> (Vec<PlannedStep>, Graph) {
        let mut steps = Vec::with_capacity(self.draft.steps.len());
        let mut needs = Vec::with_capacity(self.draft.steps.len());
        for (place, step) in self.draft.steps.iter().enumerate() {
            let id = step.id.value.as_str();
            let owner = Owner::Step(clipped(id));
            let mut needed = self.needs(step, &owner, false);
            let (mut action, mut referred) = self.action(&step.action, &owner, Site::Action(place), [step.when.as_ref(), None]);
            self.when(step.when.as_ref(), &owner, Site::Action(place), &mut referred);
            needed.extend(referred.into_iter().filter(|&other| other != place));
            let around = Site::Around(place);
            let probe_owner = Owner::Probe(clipped(id));
            let probe = step.probe.as_ref().map(|probe| self.action(probe, &probe_owner, around, [step.when.as_ref(), None]).0);
            let compensations = step.compensate.iter().flat_map(|all| &all.value);
            let compensate = compensations.map(|compensation| self.compensation(compensation, step, around)).collect();
            if let (Some(_), Some(span)) = (&step.compensate, &step.irreversible) {
                self.reader.note(span.clone(), Problem::IrreversibleCompensated { step: clipped(id) });
            }
            action.uses = step.action.uses.as_ref().map(|uses| uses.value.clone()).unwrap_or_default();
            steps.push(PlannedStep { probe, compensate, ..planned(step, action) });
            needs.push(needed);
        }
        (steps, Graph::new(&needs))
    }

    fn compensation(&mut self, compensation: &DraftCompensation<'t, 'i>, step: &DraftStep<'t, 'i>, site: Site) -> Compensation {
        let owner = Owner::Compensation(clipped(&step.id.value));
        let action = self.action(&compensation.action, &owner, site, [compensation.when.as_ref(), step.when.as_ref()]).0;
        self.when(compensation.when.as_ref(), &owner, site, &mut Vec::new());
        Compensation {
            action,
            when: compensation.when.as_ref().map(|when| when.value.clone()),
            timeout: compensation.timeout,
            retry: compensation.retry,
            continue_on_failure: compensation.continue_on_failure,
        }
    }

    fn finally(&mut self) -> (Vec<PlannedStep>, Graph) {
        let mut steps = Vec::with_capacity(self.draft.finally.len());
        let mut needs = Vec::with_capacity(self.draft.finally.len());
        for (index, step) in self.draft.finally.iter().enumerate() {
            let owner = Owner::Finally(clipped(&step.id.value));
            needs.push(self.needs(step, &owner, true));
            let action = self.action(&step.action, &owner, Site::Finally(index), [step.when.as_ref(), None]).0;
            self.when(step.when.as_ref(), &owner, Site::Finally(index), &mut Vec::new());
            steps.push(planned(step, action));
        }
        let graph = Graph::new(&needs);
        self.cycles(&self.draft.finally, &graph);
        (steps, graph)
    }

    fn needs(&mut self, step: &'d DraftStep<'t, 'i>, owner: &Owner, finally: bool) -> Vec<usize> {
        let mut needed = Vec::with_capacity(step.needs.len());
        let mut seen: HashMap<&str, &Span> = HashMap::new();
        for need in &step.needs {
            let name = need.value.as_str();
            let (own, others) = if finally { (&self.names.finally, &self.names.steps) } else { (&self.names.steps, &self.names.finally) };
            let found = own.get(name).copied();
            let owner = || owner.clone();
            if name == step.id.value {
                self.reader.note(need.span.clone(), Problem::NeedsItself { owner: owner() });
            } else if let Some(first) = seen.insert(name, &need.span) {
                let related = vec![(first.clone(), Related::FirstNeed)];
                let problem = Problem::DoubleNeed { owner: owner(), needed: clipped(name) };
                self.reader.tell(Mistake { span: need.span.clone(), problem, related, given: None });
            } else if let Some(found) = found {
                needed.push(found);
            } else {
                let elsewhere = others.contains_key(name);
                let suggestion = self.reader.suggest.closest(name, own.keys().copied());
                let problem = Problem::UnknownNeed { owner: owner(), needed: clipped(name), suggestion, elsewhere };
                self.reader.note(need.span.clone(), problem);
            }
        }
        needed
    }

    /// An action, and the steps that it refers to.
    fn action(&mut self, action: &DraftAction<'t, 'i>, owner: &Owner, site: Site, whens: Whens<'_>) -> (Action, Vec<usize>) {
        let mut referred = Vec::new();
        let mut filled = Filled::default();
        let mut room = Room::default();
        // What never runs may have values that do not fit: they are why it does not.
        let values = self.values.as_ref().filter(|values| !whens.iter().flatten().any(|when| values.is_false(&when.value)));
        let is_judged = values.is_some();
        let mut failed = Vec::new();
        for (text, span) in action.with.into_iter().flat_map(texts) {
            let parsed = self.template_within(text, span.clone(), &owner.whole(), site, whens);
            self.referred(&parsed, &mut referred);
            let values = self.values.as_ref().filter(|_| is_judged);
            match values.and_then(|values| values.render(text, &parsed, &mut room)) {
                Some(Ok(value)) => drop(filled.rendered.insert(span.start, value)),
                Some(Err(error)) => failed.push((span.clone(), error)),
                None => {}
            }
            filled.templates.insert(span.start, parsed);
        }
        let before = self.reader.found;
        let with = match action.with {
            Some(node) => self.reader.json(owner, "with", node).unwrap_or_else(|| Value::Object(Map::new())),
            None => Value::Object(Map::new()),
        };
        let uses = action.uses.as_ref().map(|uses| uses.value.clone()).unwrap_or_default();
        if self.reader.found == before
            && let Some(kind) = self.kind(action)
        {
            for (span, problem) in self.inputs(action, kind, owner, site, whens, &filled, &with) {
                self.wrong_input(span, problem, &filled);
            }
        }
        for (span, error) in failed {
            self.wrong_input(span, Problem::Unrenderable { place: owner.whole(), error }, &filled);
        }
        (Action { uses, with }, referred)
    }

    /// A mistake in a `with`, at the value that it comes from.
    fn wrong_input(&mut self, span: Span, problem: Problem, filled: &Filled) {
        let mistake = match (&self.values, filled.templates.get(&span.start)) {
            (Some(values), Some(parsed)) if is_about_value(&problem) => values.mistake(span, parsed, problem),
            _ => Mistake::new(span, problem),
        };
        self.reader.tell(mistake);
    }

    fn kind(&mut self, action: &DraftAction<'t, 'i>) -> Option<&'d RegisteredKind> {
        let uses = action.uses.as_ref()?;
        let kind = self.registry.get(&uses.value);
        if kind.is_none() {
            let suggestion = self.reader.suggest.closest(&uses.value, self.registry.iter().map(|kind| kind.name));
            self.reader.note(uses.span.clone(), Problem::UnknownKind { kind: clipped(&uses.value), suggestion });
        }
        kind
    }

    #[allow(clippy::too_many_arguments)] // One thing each: what is checked, against what, and where it stands.
    fn inputs(
        &self,
        action: &DraftAction<'t, 'i>,
        kind: &RegisteredKind,
        owner: &Owner,
        site: Site,
        whens: Whens<'_>,
        filled: &Filled,
        with: &Value,
    ) -> Vec<(Span, Problem)> {
        let span = action.with.map_or_else(|| action.header.clone(), |with| with.span());
        let guard = Guard::of(whens);
        let known = |reference: &Reference| self.known(reference, site, &guard);
        let (schema, suggest) = (kind.input.as_value(), &self.reader.suggest);
        let Filled { templates, rendered } = filled;
        let check = Inputs { schema, owner, kind: kind.name, templates, rendered, known: &known, suggest };
        let mut found = inputs::mistakes(&check, action.with, span.clone());
        match action.with {
            None if found.is_empty() => {
                let refused = kind.prepare(with).err();
                found.extend(refused.map(|error| (span, judge::problem(kind, owner, &[], &error))));
            }
            // Where the values are not known, a kind is asked about all inputs or none.
            Some(node) if self.values.is_some() || (found.is_empty() && templates.is_empty()) => {
                let wrong = found.iter().map(|(span, _)| span.start).collect();
                found.extend(Judge { kind, owner, with: node, value: with, rendered, wrong }.refused());
            }
            _ => {}
        }
        found
    }

    fn when(&mut self, when: Option<&Written<String>>, owner: &Owner, site: Site, referred: &mut Vec<usize>) {
        let Some(when) = when else { return };
        let mut parsed = parse_when(&when.value);
        if when.value.trim_start().starts_with("{{") {
            parsed.faults = vec![(Fault::Syntax(TemplateFault::Braces), 0..when.value.len())];
        }
        self.faults(&parsed, &when.value, &when.span, &owner.key("when"));
        if let Some(values) = &self.values
            && let Some(Err(error)) = values.truth(&when.value)
        {
            let problem = Problem::Unrenderable { place: owner.key("when"), error };
            self.reader.tell(values.mistake(when.span.clone(), &parsed, problem));
        }
        for reference in &parsed.references {
            self.reference(reference, self.within(&when.value, &when.span, &reference.span), &owner.whole(), site, &Guard::default());
        }
        self.referred(&parsed, referred);
    }

    fn referred(&self, parsed: &Parsed, referred: &mut Vec<usize>) {
        let steps = parsed.references.iter().filter(|reference| reference.root == Root::Steps);
        referred.extend(steps.filter_map(|reference| self.names.steps.get(reference.path[0].as_str()).copied()));
    }

    fn template(&mut self, text: &str, span: Span, place: &Place, site: Site) -> Parsed {
        self.template_within(text, span, place, site, [None; 2])
    }

    fn template_within(&mut self, text: &str, span: Span, place: &Place, site: Site, whens: Whens<'_>) -> Parsed {
        let parsed = parse_text(text);
        self.faults(&parsed, text, &span, place);
        let guard = if parsed.references.iter().any(|reference| reference.as_text) { Guard::of(whens) } else { Guard::default() };
        for reference in &parsed.references {
            self.reference(reference, self.within(text, &span, &reference.span), place, site, &guard);
        }
        parsed
    }

    /// Where a part of a text is in the file; the whole value, where escapes hide that.
    fn within(&self, text: &str, span: &Span, part: &Span) -> Span {
        let raw = &self.text[span.clone()];
        let found = raw.find(text).map(|at| span.start + at + part.start..span.start + at + part.end);
        found.filter(|found| !found.is_empty() && self.text.get(found.clone()).is_some()).unwrap_or_else(|| span.clone())
    }

    fn faults(&mut self, parsed: &Parsed, text: &str, span: &Span, place: &Place) {
        for (fault, part) in &parsed.faults {
            let place = place.clone();
            let problem = match fault.clone() {
                Fault::Syntax(TemplateFault::Parser(detail)) => Problem::Template { place, fault: TemplateFault::Parser(clipped(&detail)) },
                Fault::Syntax(fault) => Problem::Template { place, fault },
                Fault::TooLong => Problem::TemplateTooLong { place, most_parts: MOST_TOKENS },
                Fault::UnknownName(name) => {
                    let suggestion = self.reader.suggest.closest(&name, Root::ALL.map(Root::as_str));
                    Problem::UnknownName { place, name: clipped(&name), suggestion }
                }
                Fault::Vague(name) => Problem::Vague { place, name: clipped(&name) },
                Fault::UnknownTool(what, name) => Problem::UnknownTool { place, what, name: clipped(&name) },
            };
            self.reader.note(self.within(text, span, part), problem);
        }
    }

    fn reference(&mut self, reference: &Reference, span: Span, place: &Place, site: Site, guard: &Guard) {
        let name = reference.path[0].as_str();
        let early = site == Site::Before && !matches!(reference.root, Root::Vars | Root::Env | Root::Plan);
        let problem = if early {
            Some(Problem::NotHere { place: place.clone(), name: clipped(&reference.text()), why: NotHere::BeforeTheRun })
        } else {
            match reference.root {
                Root::Vars => (!self.names.vars.contains_key(name)).then(|| self.unknown_var(place, name)).flatten(),
                Root::Secrets => (!self.draft.secrets.contains_key(name)).then(|| self.unknown_secret(place, name)),
                Root::Env => looks_secret(name).then(|| Problem::SecretInEnv { place: place.clone(), name: clipped(name) }),
                Root::Run if name == "outcome" && !matches!(site, Site::Finally(_)) => {
                    Some(Problem::NotHere { place: place.clone(), name: clipped(&reference.text()), why: NotHere::OutcomeBeforeFinally })
                }
                Root::Run => self.unknown_name(place, reference, &RUN_NAMES),
                Root::Plan => self.unknown_name(place, reference, &PLAN_NAMES),
                Root::Steps => self.step_reference(reference, &span, place, site),
            }
        };
        let null = || {
            let when = self.known(reference, site, guard).null_when?;
            Some(Problem::MayBeNull { place: place.clone(), reference: clipped(&reference.text()), when })
        };
        let problem = problem.or_else(|| if reference.as_text { null() } else { None });
        if let Some(problem) = problem {
            self.reader.note(span, problem);
        }
    }

    fn unknown_var(&self, place: &Place, name: &str) -> Option<Problem> {
        let suggestion = self.reader.suggest.closest(name, self.names.vars.keys().copied());
        let unknown = || Problem::UnknownVar { place: place.clone(), name: clipped(name), suggestion };
        // A variable that could not be read was told already.
        (!self.draft.unread.contains(name)).then(unknown)
    }

    fn unknown_secret(&self, place: &Place, name: &str) -> Problem {
        let suggestion = self.reader.suggest.closest(name, self.draft.secrets.keys().map(String::as_str));
        Problem::UnknownSecret { place: place.clone(), name: clipped(name), suggestion }
    }

    fn unknown_name(&self, place: &Place, reference: &Reference, known: &[&str]) -> Option<Problem> {
        let name = reference.path[0].as_str();
        let unknown = || {
            let suggestion = self.reader.suggest.closest(name, known.iter().copied());
            let suggestion = suggestion.map(|name| format!("{}.{name}", reference.root.as_str()));
            Problem::UnknownName { place: place.clone(), name: clipped(&reference.text()), suggestion }
        };
        (!known.contains(&name)).then(unknown)
    }

    /// An output must exist, and in a compensation its step must come before (rule 16).
    fn step_reference(&mut self, reference: &Reference, span: &Span, place: &Place, site: Site) -> Option<Problem> {
        let (id, output) = (reference.path[0].as_str(), reference.path[1].as_str());
        let Some(&step) = self.names.steps.get(id) else {
            let finally = self.names.finally.contains_key(id);
            let suggestion = self.reader.suggest.closest(id, self.names.steps.keys().copied());
            return Some(Problem::UnknownStep { place: place.clone(), name: clipped(id), suggestion, finally });
        };
        match site {
            Site::Action(own) if own == step => {
                return Some(Problem::NotHere { place: place.clone(), name: clipped(&reference.text()), why: NotHere::OwnOutput });
            }
            Site::Around(own) if own != step => {
                self.asked.push(Asked { before: step, step: own, span: span.clone(), place: place.clone() });
            }
            _ => {}
        }
        let kind = self.names.kinds[step]?;
        let known = inputs::properties(kind.output.as_value(), kind.output.as_value())?;
        if known.contains(&output) {
            return None;
        }
        let suggestion = self.reader.suggest.closest(output, known.iter().copied());
        Some(Problem::UnknownOutput {
            place: place.clone(),
            step: clipped(id),
            kind: kind.name.to_owned(),
            output: clipped(output),
            suggestion,
            known: known.into_iter().map(str::to_owned).collect(),
        })
    }

    /// What a reference gives, as far as that is known.
    fn known(&self, reference: &Reference, site: Site, guard: &Guard) -> Known {
        let name = reference.path[0].as_str();
        let is = |types| Known { types, null_when: None };
        match reference.root {
            Root::Vars => is(self.var_types(reference)),
            Root::Run | Root::Plan | Root::Env => is(Types::TEXT),
            Root::Secrets => {
                let optional = self.draft.secrets.get(name).is_some_and(|secret| secret.optional) && !guard.mentions(reference);
                Known { types: Types::TEXT, null_when: optional.then_some(NullWhen::SecretNotSet) }
            }
            Root::Steps => {
                let Some(&step) = self.names.steps.get(name) else { return is(Types::ANY) };
                Known { types: self.output_types(reference, step), null_when: self.null_when(reference, step, site, guard) }
            }
        }
    }

    fn var_types(&self, reference: &Reference) -> Types {
        let Some(&var) = self.names.vars.get(reference.path[0].as_str()) else { return Types::ANY };
        match &self.draft.vars[var].value {
            _ if reference.path.len() > 1 => Types::ANY,
            Value::String(text) if is_template(text) && parse_text(text).whole.is_some() => Types::ANY,
            value => Types::of(value),
        }
    }

    fn output_types(&self, reference: &Reference, step: usize) -> Types {
        let Some(kind) = self.names.kinds[step].filter(|_| reference.path.len() == 2) else { return Types::ANY };
        let root = kind.output.as_value();
        inputs::property(root, root, &reference.path[1]).map_or(Types::ANY, |schema| inputs::accepted(schema, root))
    }

    /// When an output of a step is null, seen from `site`.
    fn null_when(&self, reference: &Reference, step: usize, site: Site, guard: &Guard) -> Option<NullWhen> {
        let of = &self.draft.steps[step];
        let id = clipped(&of.id.value);
        if site == Site::Around(step) {
            // Rule 3: a compensation is owed however early its step failed or was interrupted, before it recorded anything even.
            return (!guard.asks(reference)).then_some(NullWhen::NotThatFar(id));
        }
        let when = match site {
            Site::Finally(_) if !guard.after_success() => Some(NullWhen::NotSucceeded(id)),
            _ if of.when.is_some() => Some(NullWhen::Skipped(id)),
            _ if of.continue_on_failure => Some(NullWhen::Failed(id)),
            _ => None,
        };
        when.filter(|_| !guard.covers(reference, of.when.as_ref()))
    }

    fn cycles(&mut self, steps: &[DraftStep<'_, '_>], graph: &Graph) -> bool {
        let cycles = graph.cycles();
        for cycle in &cycles {
            let id = |step: usize| clipped(&steps[step].id.value);
            let next = |place: usize| cycle[(place + 1) % cycle.len()];
            let where_needed = |place: usize| {
                let needed = &steps[next(place)].id.value;
                let step = &steps[cycle[place]];
                step.needs.iter().find(|need| need.value == *needed).map_or_else(|| step.id.span.clone(), |need| need.span.clone())
            };
            let named = cycle.iter().chain(&cycle[..1]).take(MOST_NAMED).map(|&step| id(step)).collect();
            let related = (1..cycle.len().min(MOST_NAMED))
                .map(|place| (where_needed(place), Related::Needs { step: id(cycle[place]), needed: id(next(place)) }));
            let related = related.collect();
            self.reader.tell(Mistake { span: where_needed(0), problem: Problem::Cycle { cycle: named }, related, given: None });
        }
        !cycles.is_empty()
    }

    /// What needs the order of the steps.
    fn order(&mut self, graph: &Graph) {
        let cyclic = self.cycles(&self.draft.steps, graph);
        if !cyclic {
            self.asked(graph);
        }
        let pivots: Vec<usize> = (0..self.draft.steps.len()).filter(|&step| self.draft.steps[step].pivot.is_some()).collect();
        if let [first, further @ ..] = &pivots[..] {
            for &pivot in further {
                let related = self.draft.steps[*first].pivot.iter().map(|span| (span.clone(), Related::FirstPivot)).collect();
                let span = self.draft.steps[pivot].pivot.clone().unwrap_or_default();
                self.reader.tell(Mistake { span, problem: Problem::SeveralPivots, related, given: None });
            }
        }
        let pivot = pivots.first().copied();
        let after = pivot.map_or_else(Vec::new, |pivot| graph.descendants(pivot));
        let is_after = |step: usize| after.get(step).copied().unwrap_or(false);
        if let ([pivot], false) = (&pivots[..], cyclic) {
            self.beside(*pivot, graph, &after);
        }
        if !cyclic {
            for (place, step) in self.draft.steps.iter().enumerate() {
                if let Some(span) = step.irreversible.clone().filter(|_| pivot != Some(place) && !is_after(place)) {
                    let pivot = pivot.map(|pivot| clipped(&self.draft.steps[pivot].id.value));
                    self.reader.note(span, Problem::IrreversibleEarly { step: clipped(&step.id.value), pivot });
                }
            }
        }
        // Rule 8: each step that changes things says how that is made up for.
        for (place, step) in self.draft.steps.iter().enumerate() {
            let changes = self.names.kinds[place].is_some_and(|kind| kind.traits.effect != Effect::Observes);
            if changes && step.compensate.is_none() && step.irreversible.is_none() && !is_after(place) {
                self.reader.note(step.id.span.clone(), Problem::Undeclared { step: clipped(&step.id.value) });
            }
        }
    }

    fn asked(&mut self, graph: &Graph) {
        let asked = std::mem::take(&mut self.asked);
        let pairs: Vec<_> = asked.iter().map(|asked| (asked.before, asked.step)).collect();
        for (asked, _) in asked.into_iter().zip(graph.are_ancestors(&pairs)).filter(|(_, right)| !right) {
            let id = |step: usize| clipped(&self.draft.steps[step].id.value);
            let problem = Problem::NotBefore { place: asked.place, owner: id(asked.step), step: id(asked.before) };
            self.reader.note(asked.span, problem);
        }
    }

    /// Rule 9: every other step comes before or after the pivot.
    fn beside(&mut self, pivot: usize, graph: &Graph, after: &[bool]) {
        let before = graph.ancestors(pivot);
        let beside: Vec<usize> = (0..after.len()).filter(|&step| step != pivot && !before[step] && !after[step]).collect();
        if beside.is_empty() {
            return;
        }
        let steps = &self.draft.steps;
        let related = beside.iter().take(MOST_NAMED).map(|&step| (steps[step].id.span.clone(), Related::Beside));
        let problem = Problem::BesidePivot {
            pivot: clipped(&steps[pivot].id.value),
            beside: beside.iter().map(|&step| clipped(&steps[step].id.value)).collect(),
        };
        let span = steps[pivot].pivot.clone().unwrap_or_default();
        let related = related.collect();
        self.reader.tell(Mistake { span, problem, related, given: None });
    }
}

/// The templates of a `with`, by where they start.
#[derive(Default)]
struct Filled {
    templates: BTreeMap<usize, Parsed>,
    /// What they give, where that is known before the run.
    rendered: BTreeMap<usize, Value>,
}

/// Whether a mistake is in what a template gives, and not in the template.
fn is_about_value(problem: &Problem) -> bool {
    !matches!(problem, Problem::MayBeNull { .. } | Problem::WrongType { found: Found::Reference { .. }, .. })
}

/// What the `when`s of whoever refers to something say about it: those of the work itself, and of the step that it belongs to.
#[derive(Default)]
struct Guard {
    whens: Vec<String>,
    /// What they refer to.
    asked: Vec<Reference>,
}

impl Guard {
    fn of(whens: Whens<'_>) -> Self {
        let mut guard = Self::default();
        for when in whens.into_iter().flatten() {
            guard.asked.extend(parse_when(&when.value).references);
            guard.whens.push(when.value.trim().to_owned());
        }
        guard
    }

    /// It asks about the very output.
    fn asks(&self, reference: &Reference) -> bool {
        self.asked.iter().any(|asked| asked.root == reference.root && reference.path.starts_with(&asked.path))
    }

    /// It asks about the variable, the secret or the step.
    fn mentions(&self, reference: &Reference) -> bool {
        self.asked.iter().any(|asked| asked.root == reference.root && asked.path[0] == reference.path[0])
    }

    /// It asks about the step, or what it asks is what the step itself asked.
    fn covers(&self, reference: &Reference, when: Option<&Written<String>>) -> bool {
        let same = || when.is_some_and(|when| self.whens.iter().any(|own| own == when.value.trim()));
        self.mentions(reference) || same()
    }

    /// It holds only after everything went well.
    fn after_success(&self) -> bool {
        self.whens.iter().any(|when| when.replace('\'', "\"").replace(' ', "") == "run.outcome==\"succeeded\"")
    }
}

fn planned(step: &DraftStep<'_, '_>, action: Action) -> PlannedStep {
    PlannedStep {
        id: StepId::new(&step.id.value),
        action,
        needs: step.needs.iter().map(|need| StepId::new(&need.value)).collect(),
        when: step.when.as_ref().map(|when| when.value.clone()),
        description: step.description.clone(),
        timeout: step.timeout,
        retry: step.retry,
        continue_on_failure: step.continue_on_failure,
        on_interrupt: step.on_interrupt,
        probe: None,
        pivot: step.pivot.is_some(),
        irreversible: step.irreversible.is_some(),
        compensate: Vec::new(),
    }
}

/// Every template in a value, with the place of its string.
fn texts<'t>(node: &'t Node<'_>) -> Vec<(&'t str, Span)> {
    let mut texts = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node.get_ref() {
            DeValue::String(text) if is_template(text) => texts.push((text.as_ref(), node.span())),
            DeValue::Array(items) => open.extend(items.iter()),
            DeValue::Table(table) => open.extend(table.values()),
            _ => {}
        }
    }
    texts
}
