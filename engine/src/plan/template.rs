//! Rendering: templates and the values of a run become the inputs of a kind.
//!
//! A template sees only what it refers to: the values are looked up from its references, so that rendering one step costs the same in a
//! plan of ten thousand. Nothing reaches files, other templates or the clock, and the work and the size of what comes out are bounded.
//! An undefined name is an error; an output that does not exist (its step was skipped, failed, or never ran) is null (rule 16), which
//! `default(…)` replaces and which cannot go into a longer text.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use minijinja::value::{Kwargs, Rest, Value as Rendered, ValueKind, ValueOrKwargs};
use minijinja::{Environment, ErrorKind, State, UndefinedBehavior};
use serde_json::{Map, Number, Value};

use super::fault::{TemplateError, TemplateFault, Tool, Unfit};
use super::refer::{Fault, Parsed, Reference, Root, is_template, parse_text, parse_when, syntax};
use crate::event::Outcome;
use crate::redact::Mask;

/// Work of one template, in minijinja's fuel: about one instruction each, or 64 bytes of text.
const FUEL: u64 = 100_000;
/// What all templates of one `with` give together, or those of all variables. A few texts that a template may make, put into a long
/// list, would be more than a machine holds.
const MOST_GIVEN: usize = 16 << 20;
/// What a value counts for beside its text.
const VALUE: usize = 64;
/// Spaces of one level of JSON.
const MOST_INDENT: usize = 16;
/// Levels of lists and tables in what one template gives.
const MOST_DEPTH: usize = 64;

/// What templates of one run refer to, besides the outputs of its steps.
#[derive(Debug, Clone, Default)]
pub struct ValueInputs {
    /// `vars`, resolved (see `resolve_vars`).
    pub vars: Map<String, Value>,
    /// `secrets`; an optional one that is missing is `None`.
    pub secrets: BTreeMap<String, Option<String>>,
    /// `env`, those that are set.
    pub env: Map<String, Value>,
    /// `run.id`.
    pub run_id: String,
    /// `run.timestamp`.
    pub run_timestamp: String,
    /// `run.started_at`.
    pub run_started_at: String,
    /// `plan.name`.
    pub plan_name: String,
    /// `plan.dir`: the plan file's folder, absolute.
    pub plan_dir: String,
}

/// What changes from one rendering to the next.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The outputs of a step: an object, or null where it has none. Asked only for steps that are referred to.
    pub outputs: &'a dyn Fn(&str) -> Value,
    /// `run.outcome`, in `finally`.
    pub outcome: Option<Outcome>,
}

impl Scope<'_> {
    /// Before any step ran.
    pub const NO_OUTPUTS: Scope<'static> = Scope { outputs: &|_| Value::Null, outcome: None };
}

/// Renders the templates of one run.
#[derive(Debug, Clone)]
pub struct Templates {
    inputs: ValueInputs,
    mask: Mask,
}

impl Templates {
    /// Templates that see `inputs`.
    pub fn new(inputs: ValueInputs) -> Self {
        let mask = Mask::new(inputs.secrets.values().flatten().map(String::as_str));
        Self { inputs, mask }
    }

    pub(super) fn inputs(&self) -> &ValueInputs {
        &self.inputs
    }

    /// A mask over their secrets, and over what was made of them so far.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// `with`, every string in it rendered. A string that is exactly one `{{ … }}` keeps the value's type.
    ///
    /// # Errors
    /// The first template that cannot be rendered.
    pub fn render(&self, with: &Value, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        self.render_within(with, scope, &mut Room::default())
    }

    /// As [`Templates::render`], as far as there is room.
    pub(crate) fn render_within(&self, with: &Value, scope: &Scope<'_>, room: &mut Room) -> Result<Value, TemplateError> {
        Ok(match with {
            Value::String(text) if is_template(text) => self.value(text, scope, room)?,
            Value::Array(items) => Value::Array(items.iter().map(|item| self.render_within(item, scope, room)).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let rendered = fields.iter().map(|(name, field)| Ok((name.clone(), self.render_within(field, scope, room)?)));
                Value::Object(rendered.collect::<Result<_, TemplateError>>()?)
            }
            plain => plain.clone(),
        })
    }

    /// Whether an expression (`when`) holds.
    ///
    /// # Errors
    /// It cannot be evaluated, or is undefined.
    pub fn truth(&self, expression: &str, scope: &Scope<'_>) -> Result<bool, TemplateError> {
        Ok(self.evaluate(expression, expression, &parse_when(expression), scope)?.is_true())
    }

    /// A template as text: `lock`, the url of `measure`.
    ///
    /// # Errors
    /// It cannot be rendered, or is null.
    pub fn text(&self, template: &str, scope: &Scope<'_>) -> Result<String, TemplateError> {
        if !is_template(template) {
            return Ok(template.to_owned());
        }
        match self.value(template, scope, &mut Room::default())? {
            Value::String(text) => Ok(text),
            Value::Null => {
                let name = parse_text(template).references.first().map_or_else(|| "its value".to_owned(), Reference::text);
                Err(TemplateError::Null { template: short(template), name })
            }
            other => Ok(other.to_string()),
        }
    }

    /// What one template gives.
    fn value(&self, text: &str, scope: &Scope<'_>, room: &mut Room) -> Result<Value, TemplateError> {
        let too_much = || TemplateError::TooMuch { template: short(text) };
        let parsed = parse_text(text);
        if let Some(whole) = &parsed.whole {
            let value = self.evaluate(text, &text[whole.clone()], &parsed, scope)?;
            let value = to_json(&value, room, 0).map_err(|refused| match refused {
                NoJson::TooMuch => too_much(),
                NoJson::Unfit(what) => TemplateError::Unfit { template: short(text), what },
            })?;
            self.mask_derived(text, &parsed, scope);
            return Ok(value);
        }
        readable(text, &parsed)?;
        let context = self.context(&parsed.references, scope);
        let rendered = caught(|| ENVIRONMENT.render_str(text, context.clone()));
        let rendered = rendered.map_err(|error| failed(text, &error, &parsed, &context))?;
        room.take(rendered.len()).ok_or_else(too_much)?;
        self.mask_derived(text, &parsed, scope);
        Ok(Value::String(rendered))
    }

    fn evaluate(&self, text: &str, expression: &str, parsed: &Parsed, scope: &Scope<'_>) -> Result<Rendered, TemplateError> {
        readable(text, parsed)?;
        let context = self.context(&parsed.references, scope);
        let value = caught(|| ENVIRONMENT.compile_expression_owned(expression.to_owned())?.eval(context.clone()));
        match value {
            Ok(value) if value.is_undefined() => Err(failed(text, &ErrorKind::UndefinedError.into(), parsed, &context)),
            Ok(value) => Ok(value),
            Err(error) => Err(failed(text, &error, parsed, &context)),
        }
    }

    /// Exactly the values that `references` name.
    pub(super) fn context(&self, references: &[Reference], scope: &Scope<'_>) -> Rendered {
        let mut roots: BTreeMap<&str, BTreeMap<&str, Rendered>> =
            Root::ALL.into_iter().map(|root| (root.as_str(), BTreeMap::new())).collect();
        let mut outputs: BTreeMap<&str, (Value, BTreeMap<&str, Rendered>)> = BTreeMap::new();
        for Reference { root, path, .. } in references {
            let name = path[0].as_str();
            if *root == Root::Steps {
                let (all, used) = outputs.entry(name).or_insert_with(|| ((scope.outputs)(name), BTreeMap::new()));
                let output = path[1].as_str();
                used.entry(output).or_insert_with(|| to_template(all.get(output).unwrap_or(&Value::Null)));
            } else if let Some(value) = self.lookup(*root, name, scope)
                && let Some(names) = roots.get_mut(root.as_str())
            {
                names.insert(name, value);
            }
        }
        if let Some(steps) = roots.get_mut(Root::Steps.as_str()) {
            steps.extend(outputs.into_iter().map(|(step, (_, used))| (step, Rendered::from_pairs(used))));
        }
        Rendered::from_pairs(roots.into_iter().map(|(root, names)| (root, Rendered::from_pairs(names))))
    }

    fn lookup(&self, root: Root, name: &str, scope: &Scope<'_>) -> Option<Rendered> {
        let inputs = &self.inputs;
        let text = |text: &str| Some(Rendered::from(text));
        match (root, name) {
            (Root::Vars, _) => inputs.vars.get(name).map(to_template),
            (Root::Env, _) => inputs.env.get(name).filter(|value| !value.is_null()).map(to_template),
            (Root::Secrets, _) => inputs.secrets.get(name).map(|secret| Rendered::from(secret.clone())),
            (Root::Run, "id") => text(&inputs.run_id),
            (Root::Run, "timestamp") => text(&inputs.run_timestamp),
            (Root::Run, "started_at") => text(&inputs.run_started_at),
            (Root::Run, "outcome") => Some(Rendered::from(scope.outcome.map(Outcome::as_str))),
            (Root::Plan, "name") => text(&inputs.plan_name),
            (Root::Plan, "dir") => text(&inputs.plan_dir),
            (Root::Run | Root::Plan | Root::Steps, _) => None,
        }
    }
}

/// Names of `run` and `plan`, as [`Templates`] knows them.
pub(crate) const RUN_NAMES: [&str; 4] = ["id", "timestamp", "started_at", "outcome"];
/// See [`RUN_NAMES`].
pub(crate) const PLAN_NAMES: [&str; 2] = ["name", "dir"];

pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax());
    environment.set_fuel(Some(FUEL));
    // It would show everything, secrets included.
    environment.remove_global("debug");
    // What it makes can be changed in a loop, and so grow without end.
    environment.remove_global("namespace");
    environment.add_filter("format", |state: &mut State, text: &Rendered, args: Rest<ValueOrKwargs>| {
        // Version 3.1 panics at a name in `%(…)` that is not ASCII, and needs no such name to write any other character.
        match text.as_str().is_some_and(|text| text.contains("%(") && !text.is_ascii()) {
            true => Err(minijinja::Error::new(ErrorKind::InvalidOperation, "a text with `%(…)` must be ASCII")),
            false => minijinja::filters::format(state, text, args),
        }
    });
    environment.add_filter("tojson", |value: &Rendered, indent: Option<Rendered>, args: Kwargs| {
        fits(value)?;
        let indent = indent.map_or_else(|| args.get::<Option<Rendered>>("indent"), |indent| Ok(Some(indent)))?;
        match indent.as_ref().and_then(Rendered::as_usize).is_some_and(|spaces| spaces > MOST_INDENT) {
            true => Err(minijinja::Error::new(ErrorKind::InvalidOperation, "it is indented too far")),
            false => minijinja::filters::tojson(value, indent, args),
        }
    });
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("basename", |path: &str| parts(path).1.to_owned());
    environment.add_filter("dirname", |path: &str| parts(path).0.to_owned());
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            return Err(minijinja::Error::new(ErrorKind::NonPrimitive, "null in a text"));
        }
        fits(value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment
});

/// What `work` gives. A panic in it is an error as well: a run that stops at it would stop there again whenever it is resumed.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, minijinja::Error>) -> Result<T, minijinja::Error> {
    let broke = || minijinja::Error::new(ErrorKind::InvalidOperation, "the template language itself broke");
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broke()))
}

/// The folder and the last name of a path with either separator: a plan means the same wherever it is checked.
fn parts(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches(['/', '\\']);
    path.rfind(['/', '\\']).map_or(("", path), |at| (&path[..at], &path[at + 1..]))
}

/// As minijinja's, but null counts as missing too: that is what an output of a skipped step is.
fn default(value: Rendered, mut args: Rest<Rendered>) -> Rendered {
    let lax = args.get(1).is_some_and(Rendered::is_true);
    let missing = value.is_undefined() || value.is_none() || (lax && !value.is_true());
    match missing {
        false => value,
        true if args.is_empty() => Rendered::from(""),
        true => args.swap_remove(0),
    }
}

/// Whether templates have this filter, test or function.
pub(crate) fn knows(what: Tool, name: &str) -> bool {
    let kind = |result: Result<(), minijinja::Error>| result.err().map(|error| error.kind());
    match what {
        Tool::Filter => kind(ENVIRONMENT.empty_state().apply_filter(name, &[]).map(drop)) != Some(ErrorKind::UnknownFilter),
        Tool::Test => kind(ENVIRONMENT.empty_state().perform_test(name, &[]).map(drop)) != Some(ErrorKind::UnknownTest),
        Tool::Function => ENVIRONMENT.globals().any(|(global, _)| global == name),
    }
}

fn readable(text: &str, parsed: &Parsed) -> Result<(), TemplateError> {
    let template = || short(text);
    parsed.faults.first().map_or(Ok(()), |(fault, _)| {
        Err(match fault.clone() {
            Fault::Syntax(fault) => TemplateError::Syntax { template: template(), fault },
            Fault::TooLong => TemplateError::TooMuch { template: template() },
            Fault::UnknownName(name) => TemplateError::Undefined { template: template(), name },
            Fault::Vague(name) => TemplateError::Syntax { template: template(), fault: TemplateFault::Vague(name) },
            Fault::UnknownTool(tool, name) => {
                TemplateError::Syntax { template: template(), fault: TemplateFault::UnknownTool { tool, name } }
            }
        })
    })
}

fn failed(text: &str, error: &minijinja::Error, parsed: &Parsed, context: &Rendered) -> TemplateError {
    let template = short(text);
    let first = |wanted: fn(&Rendered) -> bool| {
        let found = parsed.references.iter().find(|reference| value_of(reference, context).is_none_or(|value| wanted(&value)));
        found.map_or_else(|| "a name in it".to_owned(), Reference::text)
    };
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::TooMuch { template },
        ErrorKind::UndefinedError => TemplateError::Undefined { template, name: first(Rendered::is_undefined) },
        ErrorKind::NonPrimitive if error.detail() == Some("null in a text") => {
            TemplateError::Null { template, name: first(|value| value.is_none()) }
        }
        ErrorKind::SyntaxError => {
            TemplateError::Syntax { template, fault: TemplateFault::Parser(error.detail().unwrap_or_default().to_owned()) }
        }
        kind => TemplateError::Failed {
            template,
            detail: error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
        },
    }
}

fn value_of(reference: &Reference, context: &Rendered) -> Option<Rendered> {
    let root = context.get_attr(reference.root.as_str()).ok()?;
    reference.path.iter().try_fold(root, |value, name| value.get_attr(name).ok())
}

/// The template as a message shows it.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    let line = text.trim().replace(['\r', '\n'], " ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn to_template(value: &Value) -> Rendered {
    match value {
        Value::Null => Rendered::from(()),
        Value::Bool(truth) => Rendered::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Rendered::from(number),
            (None, Some(number)) => Rendered::from(number),
            (None, None) => Rendered::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Rendered::from(text.as_str()),
        Value::Array(items) => items.iter().map(to_template).collect(),
        Value::Object(fields) => Rendered::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), to_template(field)))),
    }
}

/// What templates may still give.
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MOST_GIVEN)
    }
}

impl Room {
    /// Room for a value with so much text, if there is any.
    fn take(&mut self, text: usize) -> Option<()> {
        self.0 = self.0.checked_sub(VALUE + text)?;
        Some(())
    }
}

/// Whether a list or a table is one that an input could hold: the fuel of minijinja does not count what it takes to write it out.
pub(super) fn fits(value: &Rendered) -> Result<(), minijinja::Error> {
    let compound = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    match compound && matches!(to_json(value, &mut Room::default(), 0), Err(NoJson::TooMuch)) {
        true => Err(ErrorKind::OutOfFuel.into()),
        false => Ok(()),
    }
}

pub(super) enum NoJson {
    TooMuch,
    Unfit(Unfit),
}

impl From<Unfit> for NoJson {
    fn from(what: Unfit) -> Self {
        Self::Unfit(what)
    }
}

pub(super) fn to_json(value: &Rendered, room: &mut Room, depth: usize) -> Result<Value, NoJson> {
    room.take(value.as_str().map_or(0, str::len)).filter(|()| depth < MOST_DEPTH).ok_or(NoJson::TooMuch)?;
    Ok(match value.kind() {
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => Value::Number(number(value).ok_or(Unfit::Number)?),
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|_| Unfit::List)?;
            Value::Array(items.map(|item| to_json(&item, room, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut fields = Map::new();
            for name in value.try_iter().map_err(|_| Unfit::Table)? {
                let field = value.get_item(&name).map_err(|_| Unfit::Table)?;
                let name = name.as_str().ok_or(Unfit::Name)?.to_owned();
                room.take(name.len()).ok_or(NoJson::TooMuch)?;
                fields.insert(name, to_json(&field, room, depth + 1)?);
            }
            Value::Object(fields)
        }
        ValueKind::Undefined => return Err(Unfit::Undefined.into()),
        _ => return Err(Unfit::Value.into()),
    })
}

fn number(value: &Rendered) -> Option<Number> {
    if !value.is_integer() {
        return Number::from_f64(f64::try_from(value.clone()).ok()?);
    }
    let signed = i64::try_from(value.clone()).ok().map(Number::from);
    signed.or_else(|| u64::try_from(value.clone()).ok().map(Number::from))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    fn templates() -> Templates {
        let Value::Object(vars) =
            json!({ "port": 5000, "half": 0.5, "big": u64::MAX, "root": r"C:\app", "on": true, "list": [1, "a"], "nothing": null })
        else {
            unreachable!()
        };
        let secrets = BTreeMap::from([("password".to_owned(), Some("hush".to_owned())), ("absent".to_owned(), None)]);
        Templates::new(ValueInputs { vars, secrets, run_id: "r1".into(), plan_dir: "/plans".into(), ..ValueInputs::default() })
    }

    fn outputs(step: &str) -> Value {
        match step {
            "backup" => json!({ "archive": "a.zip", "files": 3 }),
            "pre-check" => json!({ "ok": true }),
            _ => Value::Null,
        }
    }

    fn render(text: &str) -> Result<Value, TemplateError> {
        templates().render(&json!(text), &Scope { outputs: &outputs, outcome: Some(Outcome::Stuck) })
    }

    #[test]
    fn a_string_that_is_one_template_keeps_the_values_type() {
        for (text, value) in [
            ("{{ vars.port }}", json!(5000)),
            ("{{- vars.port -}}", json!(5000)),
            ("{{ vars.half }}", json!(0.5)),
            ("{{ vars.big }}", json!(u64::MAX)),
            ("{{ vars.on }}", json!(true)),
            ("{{ vars.list }}", json!([1, "a"])),
            ("{{ vars.nothing }}", json!(null)),
            ("{{ {\"a\": vars.port + 1} }}", json!({ "a": 5001 })),
            ("{{ vars.port }} ", json!("5000 ")),
            ("{{ vars.root }}/{{ vars.port }}\n", json!("C:\\app/5000\n")),
            ("{{ steps.backup.files }}", json!(3)),
            ("{{ steps[\"pre-check\"].ok }}", json!(true)),
            ("{{ secrets.password }}", json!("hush")),
            ("{{ run.outcome }}", json!("stuck")),
            ("{% for x in vars.list %}{{ loop.index }}{{ x }},{% endfor %}", json!("11,2a,")),
            ("plain { text }", json!("plain { text }")),
        ] {
            assert_eq!(render(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn outputs_that_do_not_exist_are_null_and_unknown_names_are_errors() {
        assert_eq!(render("{{ steps.skipped.archive }}"), Ok(Value::Null));
        assert_eq!(render("{{ steps.backup.later }}"), Ok(Value::Null));
        assert_eq!(render("{{ steps.skipped.archive | default('none.zip') }}"), Ok(json!("none.zip")));
        assert_eq!(render("{{ env.HOMER | default('x') }}"), Ok(json!("x")));
        assert_eq!(render("{{ secrets.absent }}"), Ok(Value::Null));
        let undefined = |name: &str, template: &str| TemplateError::Undefined { template: template.into(), name: name.into() };
        assert_eq!(render("{{ vars.prot }}"), Err(undefined("vars.prot", "{{ vars.prot }}")));
        assert_eq!(render("a{{ vars.prot }}"), Err(undefined("vars.prot", "a{{ vars.prot }}")));
        assert_eq!(render("a{{ nothing }}"), Err(undefined("nothing", "a{{ nothing }}")));
        assert!(matches!(render("{{ vars }}"), Err(TemplateError::Syntax { .. })));
    }

    #[test]
    fn null_does_not_become_the_word_none_in_a_path() {
        let error = render("{{ vars.root }}/{{ steps.skipped.dir }}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`{{ vars.root }}/{{ steps.skipped.dir }}` needs `steps.skipped.dir`, which is null; say what to use instead with `| default(\"…\")`"
        );
    }

    #[test]
    fn only_steps_that_are_referred_to_are_asked_each_once() {
        let asked = RefCell::new(Vec::new());
        let watched = |step: &str| {
            asked.borrow_mut().push(step.to_owned());
            outputs(step)
        };
        let with = json!({ "a": "{{ steps.backup.archive }}{{ steps.backup.files }}" });
        let rendered = templates().render(&with, &Scope { outputs: &watched, outcome: None });
        assert_eq!(rendered, Ok(json!({ "a": "a.zip3" })));
        assert_eq!(*asked.borrow(), ["backup"]);
    }

    #[test]
    fn work_without_end_is_refused_soon() {
        for text in [
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "{{ range(99999) | list + range(99999) | list + range(99999) | list }}",
            "{{ 'x' * 1000000000 }}",
            "{{ [1] * 1000000000 }}",
            "{{ 'aaaaaaaaaa' | replace('a', 'b' * 100000) | replace('b', 'c' * 100000) }}",
        ] {
            let error = render(text).unwrap_err();
            assert!(matches!(error, TemplateError::TooMuch { .. } | TemplateError::Failed { .. }), "{text}: {error}");
        }
        let deep = format!("{{{{ {}1 }}}}", "1 + ".repeat(50_000));
        assert!(matches!(render(&deep), Err(TemplateError::TooMuch { .. })));
        let most = format!("{{{{ {}1 }}}}", "1 + ".repeat(490));
        assert_eq!(render(&most), Ok(json!(491)));
    }

    // Lists that hold each other twice were written out for ever, and compared for ever.
    #[test]
    fn templates_name_nothing_but_what_they_loop_over() {
        for text in [
            "{% set a = [1] %}{{ a }}",
            "{% set a %}x{% endset %}{{ a }}",
            "{% with a = [1] %}{{ a }}{% endwith %}",
            "{% for a in [1] recursive %}{{ loop([a]) }}{% endfor %}",
            "{{ namespace(a=1) }}",
        ] {
            assert!(matches!(render(text), Err(TemplateError::Syntax { .. })), "{text}");
        }
    }

    // Each text was small enough for itself; together they were more than the machine had.
    #[test]
    fn what_all_templates_of_one_step_give_is_bounded() {
        let long = "{{ 'x' * 900000 }}";
        for with in [json!(vec![long; 100]), json!({ "a": vec![vec![long; 10]; 10] })] {
            assert!(matches!(templates().render(&with, &Scope::NO_OUTPUTS), Err(TemplateError::TooMuch { .. })));
        }
        let copies = format!("a{}", "{{ [vars.list] * 900 }}".repeat(100));
        assert!(matches!(render(&copies), Err(TemplateError::TooMuch { .. })));
        for text in [
            "a{{ [[[[[1] * 99] * 99] * 99] * 99] * 99 }}",
            "{{ [[[[[1] * 99] * 99] * 99] * 99] * 99 | tojson }}",
            "{{ [[1]] | tojson(indent=1000000000) }}",
        ] {
            assert!(matches!(render(text), Err(TemplateError::TooMuch { .. } | TemplateError::Failed { .. })), "{text}");
        }
        assert_eq!(render("a{{ [1, {'b': 2}] | tojson(indent=2) }}"), Ok(json!("a[\n  1,\n  {\n    \"b\": 2\n  }\n]")));
        assert!(matches!(render("{{ ['x' * 900000] * 100 }}"), Err(TemplateError::TooMuch { .. } | TemplateError::Failed { .. })));
        assert!(templates().render(&json!(vec![long; 10]), &Scope::NO_OUTPUTS).is_ok());
    }

    // minijinja took the first byte of the name for its first character, and panicked in the middle of the run.
    #[test]
    fn a_name_in_a_format_that_is_not_ascii_is_refused() {
        assert!(matches!(render("{{ '%(ção)s' | format(vars.half) }}"), Err(TemplateError::Failed { .. })));
        assert!(matches!(render("{{ '%(5 | format(vars.half \u{20ee}f' | format(vars.half) }}"), Err(TemplateError::Failed { .. })));
        assert_eq!(render("{{ 'ção %05.1f %s' | format(vars.half, 'é') }}"), Ok(json!("ção 000.5 é")));
        assert_eq!(render("{{ '%(name)s' | format(name='é') }}"), Ok(json!("é")));
    }

    #[test]
    fn a_panic_in_the_template_language_is_an_error() {
        assert!(caught(|| -> Result<(), _> { panic!("on purpose") }).is_err());
        assert!(caught(|| Ok(())).is_ok());
    }

    #[test]
    fn when_is_an_expression() {
        let truth = |text: &str| templates().truth(text, &Scope { outputs: &outputs, outcome: None });
        assert_eq!(truth("vars.port == 5000 and vars.on"), Ok(true));
        assert_eq!(truth("steps.skipped.x is none"), Ok(true));
        assert_eq!(truth("'a' in vars.root"), Ok(true));
        assert!(truth("vars.prot").is_err());
        assert!(truth("vars.port ==").is_err());
    }

    #[test]
    fn text_is_text() {
        let text = |template: &str| templates().text(template, &Scope::NO_OUTPUTS);
        assert_eq!(text("{{ vars.port }}").unwrap(), "5000");
        assert_eq!(text("http://x:{{ vars.port }}/").unwrap(), "http://x:5000/");
        assert!(matches!(text("{{ vars.nothing }}"), Err(TemplateError::Null { .. })));
    }
}
