//! `almaplan steps [KIND]`: the kinds, told by their own types.

use almaplan_engine::event::{Effect, OnInterrupt};
use almaplan_engine::registry::{RegisteredKind, Registry};
use console::measure_text_width;
use serde_json::{Map, Value};

use crate::cli::StepsArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::terminal::{Terminal, print};
use crate::view::format::{Formatter, Style, pad};

/// Prints the list of kinds, or one of them.
///
/// # Errors
/// There is no such kind.
pub fn run(args: &StepsArgs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let registry = almaplan_steps::registry();
    let fmt = terminal.formatter();
    match &args.kind {
        None => print(&list(&fmt, &registry, terminal.width())),
        Some(name) => match registry.get(name) {
            Some(kind) => print(&one(&fmt, kind)),
            None => return Err(Refusal::UnknownKind(name.clone())),
        },
    }
    Ok(Exit::Ok)
}

/// All kinds, one a line, with the first sentence of what each says of itself.
pub fn list(fmt: &Formatter, registry: &Registry, width: usize) -> String {
    let longest = registry.iter().map(|kind| kind.name.len()).max().unwrap_or(0);
    let line = |kind: &RegisteredKind| {
        let name = fmt.paint(Style::Strong, pad(kind.name, longest));
        let room = width.saturating_sub(longest + 3).max(20);
        let summary = first_sentence(description(kind.input.as_value()).unwrap_or_default());
        format!("{name}  {}\n", console::truncate_str(&summary, room, "…"))
    };
    registry.iter().map(line).collect()
}

/// One kind in full.
pub fn one(fmt: &Formatter, kind: &RegisteredKind) -> String {
    let lang = &fmt.lang;
    let mut text = format!("{}\n", fmt.paint(Style::Strong, kind.name));
    for line in description(kind.input.as_value()).unwrap_or_default().lines() {
        text.push_str(&format!("{}\n", format!("  {line}").trim_end()));
    }
    text.push_str(&format!("\n{}\n", fmt.paint(Style::Strong, lang.text("kind-inputs"))));
    text.push_str(&fields(fmt, kind.input.as_value(), true));
    text.push_str(&format!("\n{}\n", fmt.paint(Style::Strong, lang.text("kind-outputs"))));
    text.push_str(&fields(fmt, kind.output.as_value(), false));
    text.push_str(&format!("\n{}\n", fmt.paint(Style::Strong, lang.text("kind-defaults"))));
    let timeout =
        kind.traits.timeout.map_or_else(|| lang.text("kind-no-timeout"), |timeout| humantime::format_duration(timeout).to_string());
    let effect = match kind.traits.effect {
        Effect::Observes => "kind-observes",
        Effect::Changes => "kind-changes",
        Effect::Volatile => "kind-volatile",
    };
    let interrupted = match kind.traits.on_interrupt {
        OnInterrupt::Rerun => "kind-rerun",
        OnInterrupt::Ask => "kind-ask",
        OnInterrupt::Compensate => "kind-compensate",
    };
    let rows = [
        (lang.text("kind-effect"), lang.text(effect)),
        (lang.text("kind-timeout"), timeout),
        (lang.text("kind-on-interrupt"), lang.text(interrupted)),
    ];
    let longest = rows.iter().map(|(label, _)| measure_text_width(label)).max().unwrap_or(0);
    text.extend(rows.iter().map(|(label, value)| format!("  {}  {value}\n", pad(label, longest))));
    text
}

fn fields(fmt: &Formatter, schema: &Value, inputs: bool) -> String {
    let mut text = String::new();
    rows(fmt, &Types::of(schema), schema, inputs, 1, &mut text);
    if text.is_empty() { format!("  {}\n", fmt.lang.text("kind-nothing")) } else { text }
}

/// The fields of an object, those of objects within it below them. Schemas may refer to themselves, so it ends at some depth.
fn rows(fmt: &Formatter, types: &Types<'_>, schema: &Value, inputs: bool, depth: usize, text: &mut String) {
    let schema = types.resolve(schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<_> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let indent = "  ".repeat(depth);
    for (name, field) in properties {
        let about = if inputs { format!("  {}", presence(fmt, name, field, &required)) } else { String::new() };
        let type_name = types.name(fmt, field);
        text.push_str(&format!("{indent}{}  {}{about}\n", fmt.paint(Style::Strong, name), fmt.paint(Style::Faint, type_name)));
        for line in description(field).unwrap_or_default().lines() {
            text.push_str(&format!("{}\n", format!("{indent}    {line}").trim_end()));
        }
        if depth < 4 {
            for (at, inner) in types.objects_within(field, 4).into_iter().enumerate() {
                // Between two tables of which one is given, the sign that stands between their types.
                text.push_str(&if at > 0 { format!("{indent}    |\n") } else { String::new() });
                rows(fmt, types, inner, inputs, depth + 2, text);
            }
        }
    }
}

fn presence(fmt: &Formatter, name: &str, field: &Value, required: &[&str]) -> String {
    if required.contains(&name) {
        return fmt.paint(Style::Warning, fmt.lang.text("kind-required"));
    }
    match field.get("default") {
        None | Some(Value::Null) => fmt.lang.text("kind-optional"),
        Some(default) => fmt.lang.with("kind-default", &[("value", default.to_string().into())]),
    }
}

/// The types that a schema refers to.
struct Types<'a> {
    defs: Option<&'a Map<String, Value>>,
}

impl<'a> Types<'a> {
    fn of(schema: &'a Value) -> Self {
        Self { defs: schema.get("$defs").or_else(|| schema.get("definitions")).and_then(Value::as_object) }
    }

    /// What a schema is, references and `or null` looked through.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // A bound, for a reference to itself.
        for _ in 0..8 {
            let referred = schema.get("$ref").and_then(Value::as_str).and_then(|to| self.defs?.get(to.rsplit('/').next()?));
            match referred.or_else(|| only_choice(schema)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    /// The tables that a field may be or hold: itself, its items, and those of its choices, each once.
    fn objects_within(&self, field: &'a Value, depth: usize) -> Vec<&'a Value> {
        let schema = self.resolve(field);
        if schema.get("properties").is_some() {
            return vec![schema];
        }
        if depth == 0 {
            return Vec::new();
        }
        let parts = choices(schema).into_iter().flatten().chain(schema.get("items"));
        let mut found: Vec<&Value> = Vec::new();
        for object in parts.flat_map(|part| self.objects_within(part, depth - 1)) {
            if !found.contains(&object) {
                found.push(object);
            }
        }
        found
    }

    fn name(&self, fmt: &Formatter, schema: &'a Value) -> String {
        self.name_within(fmt, schema, 4)
    }

    fn name_within(&self, fmt: &Formatter, schema: &'a Value, depth: usize) -> String {
        let lang = &fmt.lang;
        let schema = self.resolve(schema);
        if depth == 0 {
            return lang.text("type-any");
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().filter(|value| !value.is_null()).map(Value::to_string).collect::<Vec<_>>().join(" | ");
        }
        if let Some(value) = schema.get("const") {
            return value.to_string();
        }
        match schema.get("format").and_then(Value::as_str) {
            Some("duration") => return lang.text("type-duration"),
            Some("bytes") => return lang.text("type-bytes"),
            _ => {}
        }
        if let Some(choices) = choices(schema) {
            let mut names: Vec<_> = choices.iter().map(|choice| self.name_within(fmt, choice, depth - 1)).collect();
            names.dedup();
            return names.join(" | ");
        }
        let names = type_names(schema).into_iter().map(|name| match name {
            "string" => lang.text("type-string"),
            "integer" => lang.text("type-integer"),
            "number" => lang.text("type-number"),
            "boolean" => lang.text("type-boolean"),
            "array" => {
                let of = schema.get("items").map_or_else(|| lang.text("type-any"), |items| self.name_within(fmt, items, depth - 1));
                lang.with("type-list", &[("of", of.into())])
            }
            "object" => lang.text("type-table"),
            _ => lang.text("type-any"),
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() { lang.text("type-any") } else { names.join(" | ") }
    }
}

fn type_names(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    }
}

fn choices(schema: &Value) -> Option<Vec<&Value>> {
    let all = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    Some(all.iter().filter(|choice| choice.get("type").and_then(Value::as_str) != Some("null")).collect())
}

/// `T` of what is `T` or null.
fn only_choice(schema: &Value) -> Option<&Value> {
    match choices(schema)?.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// The first sentence of a text, on one line, without its full stop.
fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(first, _)| first);
    sentence.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use almaplan_engine::context::Context;
    use almaplan_engine::event::Failure;
    use almaplan_engine::kind::{Kind, Traits};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    /// Waits until a service answers as it should. Asks again and
    /// again.
    ///
    /// Login first.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Probe {
        /// Where it is.
        base: String,
        /// What is asked, in order.
        checks: Vec<Ask>,
        /// Gives up after this.
        #[serde(default = "minute")]
        deadline: almaplan_steps::human::Duration,
        /// How large an answer may be.
        max: Option<almaplan_steps::human::Bytes>,
        /// How it is asked.
        #[serde(default)]
        way: Way,
        /// Another process.
        pid: Option<u32>,
        /// Whom it tells.
        tell: Whom,
    }

    /// Somebody.
    #[derive(Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Whom {
        One(Told),
        Many(Vec<Told>),
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Told {
        ByPost {
            /// Where they live.
            street: String,
        },
        ByPhone {
            /// Their number.
            number: u32,
        },
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Ask {
        /// The path.
        path: String,
        /// Any of these statuses.
        #[serde(default)]
        status: Vec<u16>,
        /// What follows it.
        then: Option<Box<Ask>>,
    }

    #[derive(Deserialize, Serialize, JsonSchema, Default)]
    #[serde(rename_all = "kebab-case")]
    enum Way {
        #[default]
        Gently,
        Firmly,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Answer {
        /// How long it took.
        latency_ms: u64,
    }

    fn minute() -> almaplan_steps::human::Duration {
        almaplan_steps::human::Duration::s(60)
    }

    impl Kind for Probe {
        const KIND: &'static str = "probe";
        const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Duration::from_secs(90));
        type Output = Answer;

        async fn run(&self, _: &Context) -> Result<Answer, Failure> {
            Err(Failure::clean("never run"))
        }
    }

    #[test]
    fn a_kind_is_told_by_its_types() {
        let registry = Registry::default().with::<Probe>();
        let shown = |language| one(&sample::fmt(language), registry.get("probe").unwrap());
        let list = list(&sample::fmt(Language::En), &registry, 80);
        insta::assert_snapshot!(format!("{list}\n=====\n{}\n=====\n{}", shown(Language::En), shown(Language::PtBr)));
    }

    #[test]
    fn every_built_in_kind_can_be_told() {
        let fmt = sample::fmt(Language::PtBr);
        for kind in almaplan_steps::registry().iter() {
            let text = one(&fmt, kind);
            assert!(text.contains(kind.name), "{text}");
            assert!(
                !first_sentence(description(kind.input.as_value()).unwrap_or_default()).is_empty(),
                "{} says nothing of itself",
                kind.name
            );
        }
    }
}
