//! The JSON Schema of the plan format, for editors: draft-07, because that is what they read.
//!
//! The kinds' own schemas (draft 2020-12, from their types) are rewritten to it: `$defs` are gathered under `definitions`, what stands
//! beside a `$ref` is kept by `allOf`, and wherever a value is no text a template may stand in for it. It is more lenient than
//! [`load`](super::load): what a schema cannot say, such as what a template refers to, is left to `check`.

use serde_json::{Map, Value, json};

use super::LANGUAGES;
use crate::registry::{RegisteredKind, Registry};

/// A text with a template in it.
const TEMPLATE: &str = r"\{\{|\{%";
const DURATION: &str = r"^\s*(\d+\s*[a-zA-Zµ]+\s*)+$";
/// A duration among the inputs of a kind.
const DURATION_INPUT: &str = r"^\s*(\d+\s*[a-zA-Zµ]+\s*)+$|\{\{|\{%";
const SIZE: &str = r"^\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?)?[bB]?\s*$|\{\{|\{%";

/// The JSON Schema (draft-07) of plans that use the kinds of `registry`.
pub fn schema(registry: &Registry) -> Value {
    let mut definitions = Map::new();
    definitions.insert("template".to_owned(), json!({ "type": "string", "pattern": TEMPLATE }));
    definitions.insert("duration".to_owned(), json!({ "type": "string", "pattern": DURATION }));
    definitions.insert("var".to_owned(), var());
    definitions.insert("retry".to_owned(), retry());
    for kind in registry.iter() {
        for (name, definition) in kind.input.as_value()["$defs"].as_object().into_iter().flatten() {
            definitions.insert(local(kind.name, name), draft_07(definition, kind.name));
        }
        definitions.insert(format!("with-{}", kind.name), with(kind));
    }
    definitions.insert("step".to_owned(), action(registry, step_keys(), "A step."));
    definitions.insert("finally".to_owned(), action(registry, finally_keys(), "A step that runs each time the run is settled."));
    definitions.insert("compensation".to_owned(), action(registry, compensation_keys(), "What makes up for a step."));
    definitions.insert("probe".to_owned(), action(registry, Map::new(), "Decides what became of the step where that is unknown."));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "almaplan plan",
        "type": "object",
        "required": ["format", "plan", "steps"],
        "additionalProperties": false,
        "properties": {
            "format": { "const": 1, "description": "The version of the format." },
            "plan": plan(),
            "measure": {
                "type": "object",
                "description": "Probed through the whole run; gives the measured downtime.",
                "anyOf": [{ "required": ["url"] }, { "required": ["checks"] }],
                "additionalProperties": false,
                "properties": {
                    "url": { "type": "string", "description": "Answers with a status below 500 while the service is up." },
                    "checks": {
                        "type": "array",
                        "minItems": 1,
                        "description": "Addresses, all of which answer as they should while the service is up.",
                        "items": measure_check()
                    }
                }
            },
            "vars": named("Values that templates use as `vars.name`; `--var` overrides them.", "^[A-Za-z_][A-Za-z0-9_]*$", "var"),
            "secrets": {
                "type": "object",
                "description": "Values that are never journaled and never printed.",
                "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
                "additionalProperties": secret()
            },
            "steps": named("The steps, by name.", "^[A-Za-z0-9_-]+$", "step"),
            "finally": named("What runs at the end, whatever the outcome.", "^[A-Za-z0-9_-]+$", "finally")
        },
        "definitions": definitions
    })
}

fn named(description: &str, pattern: &str, of: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "propertyNames": { "pattern": pattern },
        "additionalProperties": { "$ref": format!("#/definitions/{of}") }
    })
}

fn measure_check() -> Value {
    let status = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
    json!({
        "type": "object",
        "required": ["url"],
        "additionalProperties": false,
        "properties": {
            "url": { "type": "string", "description": "The address." },
            "status": {
                "description": "The status, or several that are all right; default: every one below 500.",
                "anyOf": [status, { "type": "array", "items": status }]
            },
            "contains": { "type": "string", "description": "A text that the answer contains." }
        }
    })
}

fn plan() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "minLength": 1, "description": "Runs, locks and history go by it." },
            "description": { "type": "string", "description": "What the plan is for." },
            "lock": { "type": "string", "minLength": 1, "description": "One run at a time per this text; default: the plan's name." },
            "max_parallel": { "type": "integer", "minimum": 1, "description": "Steps that run at the same time." },
            "lang": { "enum": LANGUAGES, "description": "Language of what the run writes for people to keep." }
        }
    })
}

fn var() -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let value = json!({ "anyOf": [scalar, { "type": "array" }] });
    let per_system = json!({
        "type": "object",
        "description": "One value per system, where they differ.",
        "additionalProperties": false,
        "properties": { "windows": value, "unix": value }
    });
    let choice = json!({
        "type": "object",
        "description": "A value, and what it can be: `--var` and `--vars` can give nothing else.",
        "required": ["default"],
        "additionalProperties": false,
        "properties": {
            "default": { "description": "The value where none is given.", "anyOf": [value, per_system] },
            "one_of": { "type": "array", "minItems": 1, "items": scalar, "description": "What it can be; of a list, each item." }
        }
    });
    json!({ "anyOf": [value, per_system, choice] })
}

fn secret() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "env": { "type": "string", "minLength": 1, "description": "The environment variable that holds it." },
            "file": { "type": "string", "minLength": 1, "description": "The file that holds it." },
            "optional": { "type": "boolean", "description": "Missing is null, not an error." }
        },
        "oneOf": [{ "required": ["env"] }, { "required": ["file"] }]
    })
}

fn retry() -> Value {
    json!({
        "type": "object",
        "description": "How often, and how soon, it is tried again.",
        "additionalProperties": false,
        "properties": {
            "attempts": { "type": "integer", "minimum": 1, "description": "Attempts in all." },
            "backoff": { "$ref": "#/definitions/duration" }
        }
    })
}

fn finally_keys() -> Map<String, Value> {
    fields(json!({
        "needs": {
            "type": "array",
            "items": { "type": "string" },
            "uniqueItems": true,
            "description": "Steps that must be done before; what a template refers to is needed by itself."
        },
        "when": when(),
        "description": { "type": "string", "description": "What people see." },
        "timeout": { "$ref": "#/definitions/duration" },
        "retry": { "$ref": "#/definitions/retry" },
        "on_failure": { "enum": ["compensate", "continue"], "description": "What its failure means for the run; default: `compensate`." }
    }))
}

fn step_keys() -> Map<String, Value> {
    let mut keys = finally_keys();
    let further = json!({
        "on_interrupt": { "enum": ["rerun", "ask", "compensate"], "description": "What an interruption means; default: the kind's." },
        "probe": { "$ref": "#/definitions/probe" },
        "pivot": { "type": "boolean", "description": "Once it has succeeded, no failure unwinds any more." },
        "irreversible": { "type": "boolean", "description": "A point of no return; on the pivot or after it." },
        "compensate": {
            "description": "What makes up for it; \"none\" where there is nothing to make up for.",
            "anyOf": [
                { "const": "none" },
                { "$ref": "#/definitions/compensation" },
                { "type": "array", "items": { "$ref": "#/definitions/compensation" } }
            ]
        }
    });
    keys.extend(fields(further));
    keys
}

fn compensation_keys() -> Map<String, Value> {
    fields(json!({
        "when": when(),
        "timeout": { "$ref": "#/definitions/duration" },
        "retry": { "$ref": "#/definitions/retry" },
        "on_failure": { "enum": ["stop", "continue"], "description": "What its failure for good means; default: `stop`." }
    }))
}

fn when() -> Value {
    json!({ "type": "string", "minLength": 1, "description": "An expression; where it is false the step is skipped." })
}

fn fields(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

/// A table with `uses`, the `with` of that kind, and `keys`.
fn action(registry: &Registry, keys: Map<String, Value>, description: &str) -> Value {
    let kinds: Vec<Value> = registry.iter().map(|kind| json!({ "const": kind.name, "description": summary(kind) })).collect();
    let mut properties = fields(json!({
        "uses": { "description": "The kind.", "type": "string", "anyOf": kinds },
        "with": { "type": "object", "description": "Its inputs." }
    }));
    properties.extend(keys);
    let each = registry.iter().map(|kind| {
        let needed = kind.input.as_value()["required"].as_array().is_some_and(|required| !required.is_empty());
        let then = json!({ "properties": { "with": { "$ref": format!("#/definitions/with-{}", kind.name) } } });
        let then = if needed { json!({ "allOf": [then, { "required": ["with"] }] }) } else { then };
        json!({ "if": { "properties": { "uses": { "const": kind.name } }, "required": ["uses"] }, "then": then })
    });
    json!({
        "type": "object",
        "description": description,
        "required": ["uses"],
        "additionalProperties": false,
        "properties": properties,
        "allOf": each.collect::<Vec<_>>()
    })
}

fn summary(kind: &RegisteredKind) -> &str {
    kind.input.as_value()["description"].as_str().unwrap_or_default()
}

fn with(kind: &RegisteredKind) -> Value {
    let mut schema = rewritten(kind.input.as_value(), kind.name);
    schema.remove("$schema");
    schema.remove("title");
    Value::Object(schema)
}

fn local(kind: &str, name: &str) -> String {
    format!("{kind}.{name}")
}

/// Keywords that hold one schema.
const ONE: &[&str] = &["items", "additionalProperties", "additionalItems", "contains", "propertyNames", "not", "if", "then", "else"];
/// Keywords that hold a list of schemas.
const LIST: &[&str] = &["anyOf", "allOf"];

/// A schema of a kind in draft-07, with templates let in.
fn draft_07(schema: &Value, kind: &str) -> Value {
    if schema.is_object() { with_templates(rewritten(schema, kind)) } else { schema.clone() }
}

/// A schema of a kind in draft-07; templates are let in below it, not in its place.
fn rewritten(schema: &Value, kind: &str) -> Map<String, Value> {
    let mut written = Map::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let each = |list: &Value| Value::Array(list.as_array().into_iter().flatten().map(|part| draft_07(part, kind)).collect());
        match key.as_str() {
            "$defs" | "unevaluatedProperties" => {}
            "$ref" => {
                let name = value.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                written.insert(key.clone(), json!(format!("#/definitions/{}", local(kind, name))));
            }
            "prefixItems" => drop(written.insert("items".to_owned(), each(value))),
            "items" if schema.get("prefixItems").is_some() => drop(written.insert("additionalItems".to_owned(), draft_07(value, kind))),
            "properties" | "patternProperties" => {
                let properties = value.as_object().into_iter().flatten().map(|(name, part)| (name.clone(), draft_07(part, kind)));
                written.insert(key.clone(), Value::Object(properties.collect()));
            }
            // A template fits each of several choices, so that exactly one never would.
            "oneOf" => drop(written.insert("anyOf".to_owned(), each(value))),
            key if LIST.contains(&key) => drop(written.insert(key.to_owned(), each(value))),
            key if ONE.contains(&key) => drop(written.insert(key.to_owned(), draft_07(value, kind))),
            "format" => format_07(value, &mut written),
            _ => drop(written.insert(key.clone(), value.clone())),
        }
    }
    // Draft-07 ignores whatever stands beside a reference.
    if written.len() > 1
        && let Some(reference) = written.remove("$ref")
    {
        let all = written.entry("allOf").or_insert_with(|| json!([]));
        all.as_array_mut().into_iter().for_each(|all| all.push(json!({ "$ref": reference })));
    }
    written
}

/// `duration` of the drafts is ISO 8601, which ours is not; formats of numbers are bounded by `minimum` and `maximum` already.
fn format_07(format: &Value, written: &mut Map<String, Value>) {
    let pattern = match format.as_str() {
        Some("duration") => DURATION_INPUT,
        Some("bytes") => SIZE,
        _ => return,
    };
    written.insert("pattern".to_owned(), json!(pattern));
}

/// A template may stand for anything, but where the value can be any text it already may.
fn with_templates(mut schema: Map<String, Value>) -> Value {
    let takes_text = match &schema.get("type") {
        Some(Value::String(name)) => name == "string",
        Some(Value::Array(names)) => names.iter().any(|name| name == "string"),
        _ => false,
    };
    let chosen = schema.contains_key("enum") || schema.contains_key("const");
    if !chosen && (takes_text || !schema.contains_key("type")) {
        return Value::Object(schema);
    }
    let about: Vec<_> =
        ["title", "description", "default"].into_iter().filter_map(|key| Some((key.to_owned(), schema.remove(key)?))).collect();
    let mut either = fields(json!({ "anyOf": [schema, { "$ref": "#/definitions/template" }] }));
    either.extend(about);
    Value::Object(either)
}
