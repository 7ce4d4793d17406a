//! `[vars]` with the values of one run: what was said on the command line, then the templates inside them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Plan;
use super::refer::{Root, is_template, parse_text};
use super::suggest::closest;
use super::template::{Room, Scope, TemplateError, Templates, ValueInputs};
use crate::graph;

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
        /// What the plan's value is: `an integer`, `a list`.
        expected: &'static str,
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
    let mut errors = Vec::new();
    let mut vars = plan.vars.clone();
    for (name, given) in overrides {
        match overridden(plan, name, given) {
            Ok(value) => {
                vars.insert(name.clone(), value);
            }
            Err(error) => errors.push(error),
        }
    }
    let rendered = render(plan, vars, env, &mut errors);
    errors.truncate(MOST_ERRORS);
    if errors.is_empty() { Ok(rendered) } else { Err(errors) }
}

fn overridden(plan: &Plan, name: &str, given: &Value) -> Result<Value, VarError> {
    let Some(declared) = plan.vars.get(name) else {
        let suggestion = closest(name, plan.vars.keys().map(String::as_str));
        return Err(VarError::Unknown { name: name.to_owned(), suggestion });
    };
    // A file of values may say it for each system, as the plan itself may.
    let given = given.get(std::env::consts::FAMILY).unwrap_or(given);
    converted(declared, given).ok_or_else(|| VarError::Type {
        name: name.to_owned(),
        expected: what(declared),
        given: given.as_str().map_or_else(|| given.to_string(), str::to_owned),
    })
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

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// Renders every variable after those that it refers to.
fn render(plan: &Plan, vars: Map<String, Value>, env: &dyn Fn(&str) -> Option<String>, errors: &mut Vec<VarError>) -> Map<String, Value> {
    let names: Vec<&String> = vars.keys().collect();
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut needs = vec![Vec::new(); names.len()];
    let mut environment = Map::new();
    for (place, (name, value)) in vars.iter().enumerate() {
        for reference in texts(value).flat_map(|text| parse_text(text).references) {
            let to = reference.path[0].as_str();
            match reference.root {
                Root::Vars => needs[place].extend(places.get(to).copied()),
                Root::Env if super::check::looks_secret(to) => errors.push(VarError::Secret { name: name.clone(), env: to.to_owned() }),
                Root::Env => environment.extend(env(to).map(|value| (to.to_owned(), Value::String(value)))),
                Root::Plan => {}
                _ => errors.push(VarError::NotHere { name: name.clone(), reference: reference.text() }),
            }
        }
    }
    needs.iter_mut().for_each(|needed| {
        needed.sort_unstable();
        needed.dedup();
    });
    errors
        .extend(circles(&needs).into_iter().map(|cycle| VarError::Cycle { cycle: cycle.into_iter().map(|i| names[i].clone()).collect() }));
    if !errors.is_empty() {
        return Map::new();
    }
    let dir = plan.path.parent().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    let inputs = ValueInputs { env: environment, plan_name: plan.name.clone(), plan_dir: dir, ..ValueInputs::default() };
    let mut rendered = vars.clone();
    let mut room = Room::default();
    let mut reached = vec![false; needs.len()];
    for place in (0..needs.len()).flat_map(|first| graph::walk(&needs, first, &mut reached)) {
        let name = names[place];
        if texts(&vars[name]).next().is_none() {
            continue;
        }
        // Only what it refers to, so that many variables do not cost their square.
        let seen = needs[place].iter().map(|&need| (names[need].clone(), rendered[names[need]].clone())).collect();
        let templates = Templates::new(ValueInputs { vars: seen, ..inputs.clone() });
        match templates.render_within(&vars[name], &Scope::NO_OUTPUTS, &mut room) {
            Ok(value) => {
                rendered.insert(name.clone(), value);
            }
            Err(source) => errors.push(VarError::Template { name: name.clone(), source }),
        }
    }
    rendered
}

/// The templates in a value of a variable.
pub(crate) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let mut open = vec![value];
    std::iter::from_fn(move || {
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) if is_template(text) => return Some(text.as_str()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        None
    })
}

/// Every circle, its first at the end again.
pub(crate) fn circles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let own = needs.iter().enumerate().filter(|(place, needed)| needed.contains(place)).map(|(place, _)| vec![place]);
    let mut circles: Vec<Vec<usize>> = own.chain(graph::cycles(needs)).collect();
    circles.iter_mut().for_each(|circle| circle.push(circle[0]));
    circles
}
