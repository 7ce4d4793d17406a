//! Whether a `with` fits the schema of its kind, as far as that can be known before anything is rendered.
//!
//! The schemas come from the kinds' own types (schemars, draft 2020-12), and of that draft only what schemars writes is understood; a
//! schema that asks for more is not an error here, because the kind itself has the last word when it is prepared. A template is judged
//! by what it surely gives: one bare `{{ path }}` has the type of what it names, anything longer is a text, any other expression can
//! be anything.

use std::collections::BTreeMap;
use std::ops::BitOr;

use serde_json::Value;
use toml::de::DeValue;

use super::mistake::{Bounds, Expected, Found, Missing, NullWhen, Owner, Place, Problem, Span, ValueType};
use super::read::{Node, clipped, duration_fault, in_order, type_of};
use super::refer::{Parsed, Reference, is_template};
use super::suggest::Suggest;

/// Schemas that refer to schemas.
const MOST_REFS: usize = 32;
/// Mistakes of one `with`: more are not told in any case.
const MOST_FOUND: usize = 1_000;
/// Values looked at, so that alternatives within alternatives end.
const MOST_LOOKS: usize = 200_000;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    pub(crate) const FRACTION: Self = Self(8);
    pub(crate) const TEXT: Self = Self(16);
    pub(crate) const LIST: Self = Self(32);
    pub(crate) const TABLE: Self = Self(64);
    pub(crate) const ANY: Self = Self(127);

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::INTEGER | Self::FRACTION,
            "string" => Self::TEXT,
            "array" => Self::LIST,
            "object" => Self::TABLE,
            _ => Self::ANY,
        }
    }

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::FRACTION,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::TEXT,
            Value::Array(_) => Self::LIST,
            Value::Object(_) => Self::TABLE,
        }
    }

    fn of_node(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(_) | DeValue::Datetime(_) => Self::TEXT,
            DeValue::Integer(_) => Self::INTEGER,
            DeValue::Float(_) => Self::FRACTION,
            DeValue::Boolean(_) => Self::BOOLEAN,
            DeValue::Array(_) => Self::LIST,
            DeValue::Table(_) => Self::TABLE,
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    pub(crate) fn without_null(self) -> Self {
        Self(self.0 & !Self::NULL.0)
    }

    /// For messages; null is not worth a word in TOML.
    fn named_types(self) -> Vec<ValueType> {
        let number = if self.meets(Self::FRACTION) { ValueType::Number } else { ValueType::Integer };
        let names = [
            (Self::TEXT, ValueType::Text),
            (Self::INTEGER, number),
            (Self::BOOLEAN, ValueType::Boolean),
            (Self::LIST, ValueType::List),
            (Self::TABLE, ValueType::Table),
        ];
        names.into_iter().filter(|(types, _)| self.meets(*types)).map(|(_, name)| name).collect()
    }
}

impl BitOr for Types {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is known of what a reference gives.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) types: Types,
    /// When it is null, where that is so often enough to be asked about.
    pub(crate) null_when: Option<NullWhen>,
}

/// A value among the inputs: as it is written, or what a template gives.
#[derive(Clone, Copy)]
enum Input<'a> {
    Written(&'a Node<'a>),
    /// With the place of the template.
    Rendered(&'a Value, &'a Span),
}

impl<'a> Input<'a> {
    fn span(self) -> Span {
        match self {
            Self::Written(node) => node.span(),
            Self::Rendered(_, span) => span.clone(),
        }
    }

    /// `None` for null.
    fn type_of(self) -> Option<ValueType> {
        match self {
            Self::Written(node) => Some(type_of(node.get_ref())),
            Self::Rendered(Value::Null, _) => None,
            Self::Rendered(value, _) => Some(ValueType::of(value)),
        }
    }

    fn types(self) -> Types {
        match self {
            Self::Written(node) => Types::of_node(node.get_ref()),
            Self::Rendered(value, _) => Types::of(value),
        }
    }

    fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Written(node) => node.get_ref().as_str(),
            Self::Rendered(value, _) => value.as_str(),
        }
    }

    /// A template, of which only the types are known.
    fn is_template(self) -> bool {
        matches!(self, Self::Written(node) if node.get_ref().as_str().is_some_and(is_template))
    }

    /// A number, and how it is written.
    fn as_number(self) -> Option<(f64, String)> {
        match self {
            Self::Written(node) => match node.get_ref() {
                DeValue::Integer(number) => {
                    let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
                    Some((parsed as f64, number.to_string()))
                }
                DeValue::Float(number) => Some((number.as_str().parse().ok()?, number.to_string())),
                _ => None,
            },
            Self::Rendered(value, _) => Some((value.as_f64()?, value.to_string())),
        }
    }

    fn items(self) -> Option<Vec<Self>> {
        match self {
            Self::Written(node) => Some(node.get_ref().as_array()?.iter().map(Self::Written).collect()),
            Self::Rendered(value, span) => Some(value.as_array()?.iter().map(|item| Self::Rendered(item, span)).collect()),
        }
    }

    /// The fields of a table in the order of the file, each with the place of its name.
    fn fields(self) -> Option<Vec<(&'a str, Span, Self)>> {
        match self {
            Self::Written(node) => {
                let fields = in_order(node.get_ref().as_table()?).into_iter();
                Some(fields.map(|(key, node)| (key.get_ref().as_ref(), key.span(), Self::Written(node))).collect())
            }
            Self::Rendered(value, span) => {
                let fields = value.as_object()?.iter();
                Some(fields.map(|(name, field)| (name.as_str(), span.clone(), Self::Rendered(field, span))).collect())
            }
        }
    }

    fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Written(node) => node.get_ref().as_table()?.get(name).map(Self::Written),
            Self::Rendered(value, span) => value.as_object()?.get(name).map(|field| Self::Rendered(field, span)),
        }
    }
}

/// What the check of one `with` needs to know.
pub(crate) struct Inputs<'c> {
    /// The schema of the kind.
    pub(crate) schema: &'c Value,
    /// Whose inputs they are, for messages.
    pub(crate) owner: &'c Owner,
    /// The kind, for messages.
    pub(crate) kind: &'c str,
    /// The templates among the values, by where they start.
    pub(crate) templates: &'c BTreeMap<usize, Parsed>,
    /// What those of them give that depend on known values only.
    pub(crate) rendered: &'c BTreeMap<usize, Value>,
    pub(crate) known: &'c dyn Fn(&Reference) -> Known,
    pub(crate) suggest: &'c Suggest,
}

/// Every mistake of a `with`; `span` is where a missing input is told.
pub(crate) fn mistakes(inputs: &Inputs<'_>, with: Option<&Node<'_>>, span: Span) -> Vec<(Span, Problem)> {
    let mut check = Check { inputs, found: Vec::new(), looks_left: MOST_LOOKS };
    check.table(with.map_or_else(Vec::new, |with| Input::Written(with).fields().unwrap_or_default()), span, inputs.schema, "");
    check.found
}

/// The types that a schema lets through. `root` is where its references are looked up.
pub(crate) fn accepted(schema: &Value, root: &Value) -> Types {
    accepted_within(schema, root, MOST_REFS)
}

fn accepted_within(schema: &Value, root: &Value, left: usize) -> Types {
    let Some(left) = left.checked_sub(1) else { return Types::ANY };
    if schema == &Value::Bool(false) {
        return Types::NONE;
    }
    let mut types = match &schema["type"] {
        Value::String(name) => Types::named(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).fold(Types::NONE, |types, name| types | Types::named(name)),
        _ => Types::ANY,
    };
    if let Some(value) = schema.get("const") {
        types = types.and(Types::of(value));
    }
    if let Some(values) = schema["enum"].as_array() {
        types = types.and(values.iter().fold(Types::NONE, |types, value| types | Types::of(value)));
    }
    if let Some(referred) = referred(schema, root) {
        types = types.and(accepted_within(referred, root, left));
    }
    if let Some(branches) = branches(schema) {
        types = types.and(branches.iter().fold(Types::NONE, |types, branch| types | accepted_within(branch, root, left)));
    }
    schema["allOf"].as_array().into_iter().flatten().fold(types, |types, part| types.and(accepted_within(part, root, left)))
}

/// The schema of one property, through references.
pub(crate) fn property<'s>(schema: &'s Value, root: &'s Value, name: &str) -> Option<&'s Value> {
    shape(schema, root).properties.get(name).copied()
}

/// The names of the properties of a schema; `None` if it takes any.
pub(crate) fn properties<'s>(schema: &'s Value, root: &'s Value) -> Option<Vec<&'s str>> {
    let shape = shape(schema, root);
    let open = shape.rest.is_some() || (shape.properties.is_empty() && !shape.closed && schema["type"] != "null");
    (!open && branches(schema).is_none()).then(|| shape.properties.into_keys().collect())
}

fn referred<'s>(schema: &Value, root: &'s Value) -> Option<&'s Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// The schema itself, where it is a reference and nothing more (schemars puts a field's description beside one).
fn resolved<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let bare = |schema: &Value| schema.get("properties").is_none() && schema.get("allOf").is_none();
    let mut resolved = schema;
    for _ in 0..MOST_REFS {
        match referred(resolved, root) {
            Some(next) if bare(resolved) => resolved = next,
            _ => break,
        }
    }
    resolved
}

fn branches(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()
}

/// What a schema says of a table, with what it refers to.
#[derive(Default)]
struct Shape<'s> {
    properties: BTreeMap<&'s str, &'s Value>,
    required: Vec<&'s str>,
    closed: bool,
    /// What further values must be.
    rest: Option<&'s Value>,
}

fn shape<'s>(schema: &'s Value, root: &'s Value) -> Shape<'s> {
    let mut shape = Shape::default();
    let mut open = vec![schema];
    for _ in 0..MOST_REFS {
        let Some(schema) = open.pop() else { break };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            shape.properties.entry(name).or_insert(property);
        }
        shape.required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        for key in ["additionalProperties", "unevaluatedProperties"] {
            match schema.get(key) {
                Some(Value::Bool(false)) => shape.closed = true,
                Some(rest) => shape.rest = Some(rest),
                None => {}
            }
        }
        open.extend(referred(schema, root));
        open.extend(schema["allOf"].as_array().into_iter().flatten());
    }
    shape
}

struct Check<'c> {
    inputs: &'c Inputs<'c>,
    found: Vec<(Span, Problem)>,
    looks_left: usize,
}

impl Check<'_> {
    /// `needed`: nothing stands in for the value where it is null.
    fn value(&mut self, input: Input<'_>, schema: &Value, field: &str, needed: bool) {
        let Some(left) = self.looks_left.checked_sub(1) else { return };
        self.looks_left = left;
        let schema = resolved(schema, self.inputs.schema);
        let accepted = accepted(schema, self.inputs.schema);
        if input.is_template() {
            return self.template(input, schema, accepted, field, needed);
        }
        // What null means is the kind's to say.
        let Some(found) = input.type_of() else { return };
        if !input.types().meets(accepted) {
            let expected = self.expected(schema, accepted);
            return self.wrong(input.span(), field, expected, Found::Type(found));
        }
        self.alternatives(input, schema, field, needed);
        self.choice(input, schema, field);
        if let Some(text) = input.as_text() {
            self.text(text, input.span(), schema, field);
        } else if let Some((number, text)) = input.as_number() {
            self.number(number, &text, input.span(), schema, field);
        } else if let Some(items) = input.items() {
            for (place, item) in items.into_iter().enumerate() {
                if let Some(schema) = schema["prefixItems"].get(place).or(schema.get("items")) {
                    self.value(item, schema, &format!("{field}[{place}]"), true);
                }
            }
        } else if let Some(fields) = input.fields().filter(|_| branches(schema).is_none()) {
            self.table(fields, input.span(), schema, field);
        }
    }

    fn table(&mut self, fields: Vec<(&str, Span, Input<'_>)>, span: Span, schema: &Value, field: &str) {
        let shape = shape(schema, self.inputs.schema);
        // Where alternatives add keys, which ones are known is not known; the kind says so itself when it is prepared.
        let closed = shape.closed && branches(schema).is_none();
        let missing: Vec<_> = shape.required.iter().filter(|name| !fields.iter().any(|(written, ..)| written == *name)).collect();
        for (name, key, input) in fields {
            let path = joined(field, name);
            match (shape.properties.get(name), shape.rest) {
                (Some(property), _) => self.value(input, property, &path, shape.required.contains(&name)),
                (None, Some(rest)) => self.value(input, rest, &path, true),
                (None, None) if closed => self.unknown(key, name, field, &shape),
                (None, None) => {}
            }
        }
        for name in missing {
            let about = shape.properties.get(name).and_then(|property| property["description"].as_str());
            let about = about.map(|text| Missing::Input(text.lines().next().unwrap_or_default().to_owned()));
            let problem = Problem::MissingKey { place: self.place(""), key: joined(field, name), about };
            self.note(span.clone(), problem);
        }
    }

    fn unknown(&mut self, span: Span, name: &str, field: &str, shape: &Shape<'_>) {
        let suggestion = self.inputs.suggest.closest(name, shape.properties.keys().copied());
        let known = shape.properties.keys().map(|key| (*key).to_owned()).collect();
        self.note(span, Problem::UnknownKey { place: self.place(field), key: clipped(name), suggestion, known });
    }

    fn template(&mut self, input: Input<'_>, schema: &Value, accepted: Types, field: &str, needed: bool) {
        let span = input.span();
        let Some(parsed) = self.inputs.templates.get(&span.start) else { return };
        if !parsed.faults.is_empty() {
            return;
        }
        if let Some(value) = self.inputs.rendered.get(&span.start).filter(|value| !value.is_null()) {
            return self.value(Input::Rendered(value, &span), schema, field, needed);
        }
        let (types, found) = match (parsed.bare(), &parsed.whole) {
            (Some(reference), _) => {
                let known = (self.inputs.known)(reference);
                if let Some(when) = known.null_when.filter(|_| needed && !accepted.meets(Types::NULL)) {
                    let problem = Problem::MayBeNull { place: self.place(field), reference: clipped(&reference.text()), when };
                    self.note(span.clone(), problem);
                }
                let types = known.types.without_null();
                (types, Found::Reference { reference: clipped(&reference.text()), types: types.named_types() })
            }
            (None, Some(_)) => return,
            (None, None) => (Types::TEXT, Found::Type(ValueType::Text)),
        };
        if types != Types::NONE && !types.meets(accepted) {
            let expected = self.expected(schema, accepted);
            self.wrong(span, field, expected, found);
        }
    }

    /// One of several schemas must fit; if none does, what is told is what the likeliest one lacks.
    fn alternatives(&mut self, input: Input<'_>, schema: &Value, field: &str, needed: bool) {
        let Some(branches) = branches(schema) else { return };
        if choices(schema, self.inputs.schema).is_some() {
            return;
        }
        let types = input.types();
        let mut best: Option<(usize, Vec<(Span, Problem)>)> = None;
        for branch in branches.iter().filter(|branch| accepted(branch, self.inputs.schema).meets(types)) {
            let before = self.found.len();
            self.value(input, branch, field, needed);
            let found = self.found.split_off(before);
            if found.is_empty() {
                return;
            }
            let weight = found.len() + if self.is_tagged_otherwise(input, branch) { 1_000 } else { 0 };
            if best.as_ref().is_none_or(|(least, _)| weight < *least) {
                best = Some((weight, found));
            }
        }
        match best {
            Some((weight, _)) if weight >= 1_000 => self.unknown_tag(input, branches, field),
            Some((_, found)) => self.found.extend(found),
            None => {}
        }
    }

    /// Whether `input` says by a constant (`type = "…"`) that it is another alternative than `branch`.
    fn is_tagged_otherwise(&self, input: Input<'_>, branch: &Value) -> bool {
        tags(branch, self.inputs.schema).into_iter().any(|(key, tag)| input.field(key).is_some_and(|field| !is_text(field, tag)))
    }

    fn unknown_tag(&mut self, input: Input<'_>, branches: &[Value], field: &str) {
        let tags: Vec<(&str, &str)> = branches.iter().flat_map(|branch| tags(branch, self.inputs.schema)).collect();
        let Some((key, written)) = tags.iter().find_map(|(key, _)| Some((*key, input.field(key)?))) else { return };
        let choices: Vec<&str> = tags.iter().filter(|(of, _)| *of == key).map(|(_, tag)| *tag).collect();
        self.no_choice(written, &choices, &joined(field, key));
    }

    fn choice(&mut self, input: Input<'_>, schema: &Value, field: &str) {
        if let Some(choices) = choices(schema, self.inputs.schema)
            && !choices.iter().any(|choice| is_text(input, choice))
        {
            self.no_choice(input, &choices, field);
        }
    }

    fn no_choice(&mut self, input: Input<'_>, choices: &[&str], field: &str) {
        if input.is_template() {
            return;
        }
        match (input.as_text(), input.type_of()) {
            (Some(text), _) => {
                let suggestion = self.inputs.suggest.closest(text, choices.iter().copied());
                let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
                let problem = Problem::UnknownChoice { place: self.place(field), value: clipped(text), choices, suggestion };
                self.note(input.span(), problem);
            }
            (None, Some(other)) => self.wrong(input.span(), field, ValueType::Text.into(), Found::Type(other)),
            (None, None) => {}
        }
    }

    fn text(&mut self, text: &str, span: Span, schema: &Value, field: &str) {
        let place = self.place(field);
        match schema["format"].as_str() {
            Some("duration") => {
                if let Err(problem) = duration_fault(text, place) {
                    self.note(span, *problem);
                }
            }
            Some("bytes") if !is_size(text) => self.note(span, Problem::NotASize { place, value: clipped(text) }),
            _ => {}
        }
    }

    fn number(&mut self, number: f64, text: &str, span: Span, schema: &Value, field: &str) {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
            return;
        }
        let bounds = match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(least), Value::Number(most)) => Bounds::FromTo(least.clone(), most.clone()),
            (Value::Number(least), _) => Bounds::AtLeast(least.clone()),
            (_, Value::Number(most)) => Bounds::AtMost(most.clone()),
            _ => return,
        };
        self.note(span, Problem::OutOfRange { place: self.place(field), value: clipped(text), bounds });
    }

    fn expected(&self, schema: &Value, accepted: Types) -> Expected {
        let format = schema["format"].as_str().or_else(|| {
            let branches = branches(schema)?;
            branches.iter().find_map(|branch| branch["format"].as_str())
        });
        match format {
            Some("duration") => Expected::Duration,
            Some("bytes") => Expected::Size,
            _ => Expected::Types(accepted.named_types()),
        }
    }

    fn wrong(&mut self, span: Span, field: &str, expected: Expected, found: Found) {
        self.note(span, Problem::WrongType { place: self.place(field), expected, found });
    }

    fn note(&mut self, span: Span, problem: Problem) {
        if self.found.len() < MOST_FOUND {
            self.found.push((span, problem));
        }
    }

    /// One input, or all of them where `field` is empty.
    fn place(&self, field: &str) -> Place {
        let field = (!field.is_empty()).then(|| field.to_owned());
        Place { owner: self.inputs.owner.clone(), kind: Some(self.inputs.kind.to_owned()), field }
    }
}

fn joined(field: &str, name: &str) -> String {
    if field.is_empty() { clipped(name) } else { format!("{field}.{}", clipped(name)) }
}

fn is_text(input: Input<'_>, wanted: &str) -> bool {
    input.as_text().is_some_and(|text| text == wanted) || input.is_template()
}

/// The texts that a schema is a choice of, if it is one (null beside them does not count).
fn choices<'s>(schema: &'s Value, root: &'s Value) -> Option<Vec<&'s str>> {
    let mut choices = Vec::new();
    let mut open = vec![schema];
    for _ in 0..1_000 {
        let Some(schema) = open.pop() else { break };
        if let Some(choice) = schema.get("const") {
            choices.push(choice.as_str()?);
        } else if let Some(values) = schema["enum"].as_array() {
            choices.extend(values.iter().filter_map(Value::as_str));
        } else if let Some(branches) = branches(schema) {
            open.extend(branches.iter().rev());
        } else if let Some(referred) = referred(schema, root) {
            open.push(referred);
        } else if schema["type"] != "null" {
            return None;
        }
    }
    (!choices.is_empty()).then_some(choices)
}

/// The constants by which a table says which alternative it is.
fn tags<'s>(branch: &'s Value, root: &'s Value) -> Vec<(&'s str, &'s str)> {
    shape(branch, root).properties.into_iter().filter_map(|(key, property)| Some((key, property.get("const")?.as_str()?))).collect()
}

/// `500MiB`, `2 GB`, `1.5GB`, `1024`.
fn is_size(text: &str) -> bool {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let units = ["", "b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"];
    number.parse::<f64>().is_ok() && units.contains(&unit.trim().to_ascii_lowercase().as_str())
}
