//! The values that a run would be started with, as far as they are known before it: what a template gives that depends on nothing else,
//! and whose value that is.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::choice::texts;
use super::fault::TemplateError;
use super::mistake::{Mistake, Owner, Problem, Related, Span};
use super::read::{Draft, Reader, clipped};
use super::refer::{Parsed, Root, conjuncts, is_template, parse_text, parse_when};
use super::template::{Room, Scope, Templates, ValueInputs};
use super::vars::{self, Declared, VarError, VarValues};

/// Bytes of values that are given to templates before the run: a hostile plan has thousands of templates and one large list.
const MOST_GIVEN: usize = 256 << 20;
/// Variables that are nothing but another variable, one after the other.
const MOST_FOLLOWED: usize = 32;

/// What a run would be started with.
#[derive(Clone, Copy)]
pub struct Given<'g> {
    /// Values that replace those of `[vars]`; see [`resolve_vars`](super::resolve_vars).
    pub overrides: &'g [(String, Value)],
    /// The environment.
    pub env: &'g (dyn Fn(&str) -> Option<String> + Sync),
    /// Whether that is the environment of the run: what is not set there will not be set. Else it says nothing.
    pub is_final: bool,
}

/// The values, and where each comes from.
pub(crate) struct Values<'d> {
    given: Given<'d>,
    plan: ValueInputs,
    vars: VarValues<'d>,
    sources: HashMap<&'d str, Source>,
    /// Steps that are skipped whatever else becomes known: their outputs are null.
    skipped: HashSet<&'d str>,
    bytes_left: Cell<usize>,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone)]
struct Source {
    /// Its value in the plan.
    span: Span,
    /// What was given instead.
    given: Option<usize>,
    /// The variable that it is nothing but a name for.
    is: Option<String>,
    /// What the plan says is final, and was checked already.
    is_literal: bool,
}

impl<'d> Values<'d> {
    /// Those of `draft`, whose name and folder are `plan_name` and `plan_dir`; what is wrong with them is told, or returned where it is
    /// not in the plan.
    pub(crate) fn of(
        draft: &'d Draft<'_, '_>,
        plan_name: &'d str,
        plan_dir: &str,
        given: Given<'d>,
        reader: &mut Reader,
    ) -> (Self, Vec<VarError>) {
        let vars: VarValues<'d> = draft.vars.iter().map(|var| (var.name.as_str(), Cow::Borrowed(&var.value))).collect();
        let chosen = draft.vars.iter().filter(|var| !var.one_of.is_empty());
        let one_of = chosen.map(|var| (var.name.as_str(), var.one_of.as_slice())).collect();
        let declared = Declared { plan_name, plan_dir, vars, one_of };
        let (vars, errors) = vars::resolve(&declared, given.overrides, given.env);
        let last = |name: &str| given.overrides.iter().rposition(|(given, _)| given == name);
        let sources = draft.vars.iter().map(|var| {
            let given_by = last(&var.name);
            let value = given_by.map_or(&var.value, |index| &given.overrides[index].1);
            let is_literal = given_by.is_none() && texts(value).next().is_none();
            (var.name.as_str(), Source { span: var.node.span(), given: given_by, is: other_name(value), is_literal })
        });
        let plan = ValueInputs { plan_name: plan_name.to_owned(), plan_dir: plan_dir.to_owned(), ..ValueInputs::default() };
        let (sources, skipped) = (sources.collect(), HashSet::new());
        let mut values = Self { given, plan, vars, sources, skipped, bytes_left: Cell::new(MOST_GIVEN) };
        values.find_skipped(draft);
        let elsewhere = values.tell(errors, reader);
        (values, elsewhere)
    }

    /// Tells what is wrong with the plan's own values; the rest is about what was given.
    fn tell(&self, errors: Vec<VarError>, reader: &mut Reader) -> Vec<VarError> {
        let mut elsewhere = Vec::new();
        for error in errors {
            let own = |name: &str| self.sources.get(name).filter(|source| source.given.is_none()).map(|source| source.span.clone());
            match error {
                VarError::Template { name, source } => match own(&name) {
                    // Where the plan will be run, it may be set.
                    Some(_) if !self.given.is_final && is_of_env(&source) => {}
                    Some(span) => reader.note(span, Problem::Unrenderable { place: Owner::Var(clipped(&name)).whole(), error: source }),
                    None => elsewhere.push(VarError::Template { name, source }),
                },
                VarError::NotOneOf { name, .. } if self.sources.get(name.as_str()).is_some_and(|source| source.is_literal) => {}
                VarError::NotOneOf { name, value, choices, suggestion } => match own(&name) {
                    Some(span) => {
                        let place = Owner::Var(clipped(&name)).whole();
                        reader.note(span, Problem::UnknownChoice { place, value: clipped(&value), choices, suggestion });
                    }
                    None => elsewhere.push(VarError::NotOneOf { name, value, choices, suggestion }),
                },
                // Of the plan's own variables these were told already.
                VarError::NotHere { ref name, .. } | VarError::Secret { ref name, .. } if own(name).is_some() => {}
                VarError::Cycle { ref cycle } if cycle.iter().all(|name| own(name).is_some()) => {}
                error => elsewhere.push(error),
            }
        }
        elsewhere
    }

    fn find_skipped(&mut self, draft: &'d Draft<'_, '_>) {
        // One that is skipped may be what another one's condition asks about.
        for _ in 0..MOST_FOLLOWED {
            let before = self.skipped.len();
            for step in &draft.steps {
                let id = step.id.value.as_str();
                if !self.skipped.contains(id) && step.when.as_ref().is_some_and(|when| self.is_false(&when.value)) {
                    self.skipped.insert(id);
                }
            }
            if self.skipped.len() == before {
                break;
            }
        }
    }

    /// What a template gives, where it depends on values that are known, and on nothing else.
    pub(crate) fn render(&self, text: &str, parsed: &Parsed, room: &mut Room) -> Option<Result<Value, TemplateError>> {
        let templates = Templates::new(self.inputs(parsed)?);
        Some(templates.render_within(&Value::from(text), &Scope::NO_OUTPUTS, room))
    }

    /// Whether a condition holds, where it depends on values that are known, and on nothing else.
    pub(crate) fn truth(&self, when: &str) -> Option<Result<bool, TemplateError>> {
        let templates = Templates::new(self.inputs(&parse_when(when))?);
        Some(templates.truth(when, &Scope::NO_OUTPUTS))
    }

    /// Whether a condition is false whatever else becomes known: where one of the parts that `and` joins is.
    pub(crate) fn is_false(&self, when: &str) -> bool {
        conjuncts(when).into_iter().any(|part| self.truth(part) == Some(Ok(false)))
    }

    /// The values that a template refers to, if all are known.
    fn inputs(&self, parsed: &Parsed) -> Option<ValueInputs> {
        if !parsed.faults.is_empty() {
            return None;
        }
        let mut inputs = self.plan.clone();
        for reference in &parsed.references {
            let name = reference.path[0].as_str();
            match reference.root {
                Root::Vars => {
                    let value = self.vars.get(name)?;
                    self.bytes_left.set(self.bytes_left.get().checked_sub(weight(value))?);
                    inputs.vars.insert(name.to_owned(), value.clone().into_owned());
                }
                Root::Env => match (self.given.env)(name) {
                    Some(value) => drop(inputs.env.insert(name.to_owned(), Value::String(value))),
                    None if self.given.is_final => {}
                    None => return None,
                },
                Root::Plan => {}
                Root::Steps if self.skipped.contains(name) => {}
                Root::Steps | Root::Secrets | Root::Run => return None,
            }
        }
        Some(inputs)
    }

    /// A mistake in what a template at `span` gives, at the value that it comes from.
    pub(crate) fn mistake(&self, span: Span, parsed: &Parsed, problem: Problem) -> Mistake {
        let vars = parsed.references.iter().filter(|reference| reference.root == Root::Vars);
        let names: BTreeSet<&str> = vars.map(|reference| reference.path[0].as_str()).collect();
        let sources: Vec<(&str, &Source)> = names.into_iter().filter_map(|name| self.source(name)).collect();
        let given = sources.iter().find_map(|(_, source)| source.given);
        match &sources[..] {
            [(_, Source { span: value, given: None, .. })] => {
                Mistake { span: value.clone(), problem, related: vec![(span, Related::Used)], given: None }
            }
            _ => {
                let own = sources.iter().filter(|(_, source)| source.given.is_none());
                let related = own.map(|(name, source)| (source.span.clone(), Related::Variable(clipped(name)))).collect();
                Mistake { span, problem, related, given }
            }
        }
    }

    /// Where the value of a variable comes from, through those that are nothing but names for others.
    fn source<'v>(&'v self, name: &'v str) -> Option<(&'v str, &'v Source)> {
        let mut name = name;
        let mut source = self.sources.get(name)?;
        for _ in 0..MOST_FOLLOWED {
            let Some((next, of)) = source.is.as_deref().and_then(|next| Some((next, self.sources.get(next)?))) else { break };
            (name, source) = (next, of);
        }
        Some((name, source))
    }
}

/// The variable that a value is nothing but a name for: `"{{ vars.other }}"`.
fn other_name(value: &Value) -> Option<String> {
    let parsed = value.as_str().filter(|text| is_template(text)).map(parse_text)?;
    parsed.bare().filter(|reference| reference.root == Root::Vars).map(|reference| reference.path[0].clone())
}

fn is_of_env(error: &TemplateError) -> bool {
    matches!(error, TemplateError::Undefined { name, .. } if name.starts_with("env"))
}

/// About how many bytes a copy of a value takes.
fn weight(value: &Value) -> usize {
    let own = size_of::<Value>();
    match value {
        Value::String(text) => own + text.len(),
        Value::Array(items) => own + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => own + fields.values().map(weight).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => own,
    }
}
