//! `[vars]` with the values of one run: what was said on the command line, then the templates inside them.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::Plan;
use super::choice::{can_be, plain, texts};
use super::fault::TemplateError;
use super::mistake::ValueType;
use super::refer::{Root, is_template, parse_text};
use super::suggest::{Suggest, closest};
use super::template::{Room, Scope, Templates, ValueInputs};
use crate::graph::Graph;

/// Errors that are told: more than anybody puts right at once.
const MOST_ERRORS: usize = 100;

/// What is wrong with the variables of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VarError {
    /// An override of what the plan does not have.
    #[error("the plan has no variable `{name}`{}", suggested(suggestion))]
    Unknown {
        /// The name that was given.
        name: String,
        /// One that is much like it.
        suggestion: Option<String>,
    },
    /// An override of another type than the plan's own value.
    #[error("variable `{name}` is {expected} in the plan, and `{given}` is none")]
    Type {
        /// The variable.
        name: String,
        /// What the plan's value is.
        expected: ValueType,
        /// What was given.
        given: String,
    },
    /// A value is a template that cannot be rendered.
    #[error("variable `{name}`: {source}")]
    Template {
        /// The variable.
        name: String,
        /// Why.
        source: TemplateError,
    },
    /// A value refers to what variables may not refer to.
    #[error("variable `{name}` refers to `{reference}`; variables may refer to `vars`, `env` and `plan` only")]
    NotHere {
        /// The variable.
        name: String,
        /// What it refers to.
        reference: String,
    },
    /// A value refers to an environment variable that looks like a secret.
    #[error("variable `{name}` refers to `env.{env}`, which looks like a secret; take it through `[secrets]`, which masks it")]
    Secret {
        /// The variable.
        name: String,
        /// The environment variable.
        env: String,
    },
    /// Values refer to each other in a circle.
    #[error("variables refer to each other in a circle: {}", cycle.join(" → "))]
    Cycle {
        /// The circle, its first at the end again.
        cycle: Vec<String>,
    },
    /// A value is none of those that the plan lets the variable have.
    #[error("variable `{name}` cannot be `{value}`")]
    NotOneOf {
        /// The variable.
        name: String,
        /// The value.
        value: String,
        /// What it can be.
        choices: Vec<String>,
        /// The one of these that is much like it.
        suggestion: Option<String>,
    },
}

impl VarError {
    /// The variable that it is about, where that is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. }
            | Self::Type { name, .. }
            | Self::Template { name, .. }
            | Self::NotHere { name, .. }
            | Self::Secret { name, .. }
            | Self::NotOneOf { name, .. } => Some(name),
            Self::Cycle { .. } => None,
        }
    }
}

/// The values of variables. Those of the plan are borrowed, as one may be a list of a megabyte.
pub(crate) type VarValues<'p> = IndexMap<&'p str, Cow<'p, Value>>;

/// The variables of a plan, as they are declared.
pub(crate) struct Declared<'p, 'd> {
    pub(crate) plan_name: &'d str,
    pub(crate) plan_dir: &'d str,
    pub(crate) vars: VarValues<'p>,
    /// What variables can be, where the plan says so.
    pub(crate) one_of: HashMap<&'d str, &'d [Value]>,
}

fn suggested(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The variables that a run is started with: the plan's, those in `overrides` replaced (a later one wins), templates rendered.
///
/// A text given for a number, a boolean or a list is read as one; a list is `a,b` or `["a", "b"]`.
///
/// # Errors
/// Everything that is wrong with them, at once; of very much the first.
pub fn resolve_vars(
    plan: &Plan,
    overrides: &[(String, Value)],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, Vec<VarError>> {
    let dir = plan.path.parent().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    let vars = plan.vars.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value))).collect();
    let one_of = plan.one_of.iter().map(|(name, choices)| (name.as_str(), choices.as_slice())).collect();
    let (vars, errors) = resolve(&Declared { plan_name: &plan.name, plan_dir: &dir, vars, one_of }, overrides, env);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(vars.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect())
}

/// The values of variables as far as they can be had, and what is wrong with the others.
pub(crate) fn resolve<'p>(
    declared: &Declared<'p, '_>,
    overrides: &[(String, Value)],
    env: &dyn Fn(&str) -> Option<String>,
) -> (VarValues<'p>, Vec<VarError>) {
    let mut errors = Vec::new();
    let mut vars = declared.vars.clone();
    for (name, given) in overrides {
        match overridden(&declared.vars, name, given) {
            Ok((name, value)) => drop(vars.insert(name, Cow::Owned(value))),
            Err(error) => errors.push(error),
        }
    }
    let mut vars = render(declared, vars, env, &mut errors);
    vars.retain(|name, value| {
        let one_of = declared.one_of.get(name).copied().unwrap_or_default();
        let fits = can_be(one_of, value);
        if !fits {
            let (choices, suggestion) = Suggest::default().among(one_of, value);
            errors.push(VarError::NotOneOf { name: (*name).to_owned(), value: plain(value), choices, suggestion });
        }
        fits
    });
    errors.truncate(MOST_ERRORS);
    (vars, errors)
}

/// The name as the plan has it, and the value that is given for it.
fn overridden<'p>(vars: &VarValues<'p>, name: &str, given: &Value) -> Result<(&'p str, Value), VarError> {
    let Some((known, declared)) = vars.get_key_value(name) else {
        let suggestion = closest(name, vars.keys().copied());
        return Err(VarError::Unknown { name: name.to_owned(), suggestion });
    };
    // A file of values may say it for each system, as the plan itself may.
    let given = given.get(std::env::consts::FAMILY).unwrap_or(given);
    let value = converted(declared, given).ok_or_else(|| VarError::Type {
        name: name.to_owned(),
        expected: ValueType::of(declared),
        given: plain(given),
    })?;
    Ok((known, value))
}

/// `given` as a value of the type of `declared`.
fn converted(declared: &Value, given: &Value) -> Option<Value> {
    // What a template gives is not known, so anything may stand in for it.
    let open = |text: &str| is_template(text) && parse_text(text).whole.is_some();
    match (declared, given) {
        (Value::String(text), Value::String(_)) if !open(text) => Some(given.clone()),
        (Value::String(text), scalar) if open(text) && !scalar.is_object() => Some(scalar.clone()),
        (_, Value::String(text)) if open(text) => Some(given.clone()),
        (Value::Number(number), Value::String(text)) => number_like(number, text.trim()),
        (Value::Number(number), Value::Number(other)) => (number.is_f64() || !other.is_f64()).then(|| given.clone()),
        (Value::Bool(_), Value::Bool(_)) => Some(given.clone()),
        (Value::Bool(_), Value::String(text)) => text.trim().parse().ok().map(Value::Bool),
        (Value::Array(items), Value::String(text)) => list_like(items, text.trim()),
        (Value::Array(items), Value::Array(given)) => each_like(items, given.clone()),
        _ => None,
    }
}

fn number_like(declared: &serde_json::Number, text: &str) -> Option<Value> {
    let whole = text.parse::<i64>().ok().map(Value::from);
    let fraction = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    whole.or_else(|| if declared.is_f64() { fraction() } else { None })
}

fn list_like(declared: &[Value], text: &str) -> Option<Value> {
    if text.starts_with('[') {
        let table: toml::Table = toml::from_str(&format!("list = {text}")).ok()?;
        let Value::Array(items) = serde_json::to_value(table.get("list")?).ok()? else { return None };
        // Anything more would be text after the list.
        return if table.len() == 1 { each_like(declared, items) } else { None };
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    each_like(declared, items.map(Value::from).collect())
}

/// A list holds what the plan's list holds; where that is empty, anything.
fn each_like(declared: &[Value], items: Vec<Value>) -> Option<Value> {
    let Some(first) = declared.first() else { return Some(Value::Array(items)) };
    items.iter().map(|item| converted(first, item)).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// Renders every variable after those that it refers to; what cannot be rendered is left out, with what refers to it.
fn render<'p>(
    declared: &Declared<'p, '_>,
    mut vars: VarValues<'p>,
    env: &dyn Fn(&str) -> Option<String>,
    errors: &mut Vec<VarError>,
) -> VarValues<'p> {
    let names: Vec<&'p str> = vars.keys().copied().collect();
    let mut needs = vec![Vec::new(); names.len()];
    let mut environment = Map::new();
    let mut wrong = vec![false; names.len()];
    for (place, (name, value)) in vars.iter().enumerate() {
        for reference in texts(value).flat_map(|text| parse_text(text).references) {
            let to = reference.path[0].as_str();
            let error = match reference.root {
                Root::Vars => {
                    needs[place].extend(vars.get_index_of(to));
                    None
                }
                Root::Env if super::check::looks_secret(to) => Some(VarError::Secret { name: (*name).to_owned(), env: to.to_owned() }),
                Root::Env => {
                    environment.extend(env(to).map(|value| (to.to_owned(), Value::String(value))));
                    None
                }
                Root::Plan => None,
                _ => Some(VarError::NotHere { name: (*name).to_owned(), reference: reference.text() }),
            };
            wrong[place] |= error.is_some();
            errors.extend(error);
        }
    }
    let graph = Graph::new(&needs);
    for cycle in circles(&needs, &graph) {
        cycle.iter().for_each(|&place| wrong[place] = true);
        errors.push(VarError::Cycle { cycle: cycle.into_iter().map(|place| names[place].to_owned()).collect() });
    }
    let (plan_name, plan_dir) = (declared.plan_name.to_owned(), declared.plan_dir.to_owned());
    let inputs = ValueInputs { env: environment, plan_name, plan_dir, ..ValueInputs::default() };
    let mut room = Room::default();
    // What is in a circle, or comes after one, has no place in the order.
    let mut known = vec![false; names.len()];
    for &place in graph.order() {
        if wrong[place] || !graph.needs(place).all(|need| known[need]) {
            continue;
        }
        known[place] = true;
        if texts(&vars[place]).next().is_none() {
            continue;
        }
        // Only what it refers to, so that many variables do not cost their square.
        let seen = graph.needs(place).map(|need| (names[need].to_owned(), vars[need].clone().into_owned())).collect();
        let templates = Templates::new(ValueInputs { vars: seen, ..inputs.clone() });
        match templates.render_within(&vars[place], &Scope::NO_OUTPUTS, &mut room) {
            Ok(value) => vars[place] = Cow::Owned(value),
            Err(source) => {
                known[place] = false;
                errors.push(VarError::Template { name: names[place].to_owned(), source });
            }
        }
    }
    let mut known = known.into_iter();
    vars.retain(|_, _| known.next() == Some(true));
    vars
}

/// Every circle, its first at the end again.
pub(crate) fn circles(needs: &[Vec<usize>], graph: &Graph) -> Vec<Vec<usize>> {
    let own = needs.iter().enumerate().filter(|(place, needed)| needed.contains(place)).map(|(place, _)| vec![place]);
    let mut circles: Vec<Vec<usize>> = own.chain(graph.cycles()).collect();
    circles.iter_mut().for_each(|circle| circle.push(circle[0]));
    circles
}
