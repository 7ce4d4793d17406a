//! Plans that are almost right: made of what plans are made of, wrongly; and real ones with a few bytes of them changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use almaplan::cli::GraphFormat;
use almaplan::diagnose::mistakes;
use almaplan::lang::{Lang, Language};
use almaplan::models::graph::GraphView;
use almaplan::view::format::Formatter;
use almaplan_engine::plan::{self, Given, Scope, Severity, Templates, ValueInputs, is_invisible};
use almaplan_engine::registry::Registry;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use crate::support::sample;

proptest! {
    #![proptest_config(ProptestConfig { cases: sample::share(10, 1_000) as u32, rng_seed: RngSeed::Fixed(sample::seed()), ..ProptestConfig::default() })]

    #[test]
    fn what_plans_are_made_of_wrongly_put_together_is_told_in_peace(text in wrongly_put_together()) {
        told_in_peace(&text);
    }

    #[test]
    fn a_real_plan_with_a_few_bytes_changed_is_told_in_peace(plan in any::<Index>(), edits in vec(edit(), 1..8)) {
        let mut text = plan.get(&REAL).clone();
        edits.iter().for_each(|edit| edit.apply(&mut text));
        told_in_peace(&text);
    }
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(almaplan_steps::registry);

/// The plans of this project.
static REAL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>();
    let plans = files("plans").into_iter().chain(files("examples/plans")).filter(|path| path.extension() == Some("toml".as_ref()));
    plans.map(|path| std::fs::read_to_string(path).unwrap()).collect()
});

/// Loads a text, tells what is wrong with it, and does with what loads whatever is done before a run.
fn told_in_peace(text: &str) {
    let words = Formatter { lang: Arc::new(Lang::new(Language::PtBr)), zone: TimeZone::UTC, color: false, width: None, verbose: false };
    let given = Given { overrides: &[], env: &|_| None, is_final: text.len().is_multiple_of(2) };
    let loaded = plan::load_given(text, Path::new("/plans/plan.toml"), &REGISTRY, given);
    let wrong = !loaded.variables.is_empty() || loaded.mistakes.iter().any(|mistake| mistake.severity() == Severity::Error);
    assert_eq!(loaded.plan.is_none(), wrong, "{text:?}");
    for mistake in &loaded.mistakes {
        assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?} is nowhere in {text:?}");
    }
    let views = mistakes::views(&words.lang, &loaded.mistakes, &[]);
    let told = mistakes::text(&words, 80, "plan.toml", text, &views);
    assert!(!told.contains(|c| c != '\n' && is_invisible(c)), "{told:?}");
    mistakes::to_json("plan.toml", text, &views);
    if let Some(plan) = loaded.plan {
        prepared(&plan, &words);
    }
}

fn prepared(plan: &plan::Plan, words: &Formatter) {
    let view = GraphView::of(plan);
    for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid, GraphFormat::Svg] {
        assert!(!view.draw(words, format).is_empty());
    }
    let env: BTreeMap<_, _> = plan::env_references(plan).into_iter().map(|name| (name, "value".to_owned())).collect();
    let Ok(vars) = plan::resolve_vars(plan, &[], &|name| env.get(name).cloned()) else { return };
    let templates = Templates::new(ValueInputs { vars, ..ValueInputs::default() });
    for step in plan.steps.iter().chain(&plan.finally) {
        let _ = templates.render(&step.action.with, &Scope::NO_OUTPUTS);
        let _ = step.when.as_ref().map(|when| templates.truth(when, &Scope::NO_OUTPUTS));
    }
}

// ---- wrongly put together -----------------------------------------------------------------------------------------------

const KEYS: &[&str] = &[
    "format",
    "plan",
    "name",
    "lock",
    "max_parallel",
    "lang",
    "measure",
    "url",
    "vars",
    "secrets",
    "env",
    "file",
    "optional",
    "steps",
    "finally",
    "uses",
    "with",
    "needs",
    "when",
    "timeout",
    "retry",
    "attempts",
    "backoff",
    "on_failure",
    "on_interrupt",
    "probe",
    "pivot",
    "irreversible",
    "compensate",
    "program",
    "args",
    "checks",
    "to",
    "from",
    "port",
    "unix",
    "a",
    "b",
    "\"\"",
    "\"\\u001b[2J\"",
    "\"a.b\"",
    "'\u{202e}'",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "b",
    "none",
    "continue",
    "15m",
    "99999999999999999999y",
    "http://127.0.0.1/",
    "{{ vars.a }}",
    "{{ vars.b | default('x') }}",
    "x{{ vars.a }}{{ vars.b }}",
    "{{ steps.a.stdout }}",
    "{{ steps.b.pid }}",
    "x{{ steps.a.code }}",
    "{{ steps['a'].code + 1 }}",
    "{{ secrets.a }}",
    "{{ env.HOME }}{{ env.DB_PASSWORD }}",
    "{{ run.outcome }}",
    "{{ vars }}",
    "{{ vars[vars.a] }}",
    "{{ nobody }}",
    "{{ 1 / 0 }}",
    "{{ 9223372036854775807 + 1 }}",
    "{{ -9223372036854775808 | abs }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 2 ** 5000 }}",
    "{{ vars.a | nofilter }}",
    "{{ (((((((((1))))))))) }}",
    "{% for x in range(100000) %}{{ x }}{% endfor %}",
    "{% if vars.a %}{% endif",
    "{{",
    "{# ",
    "vars.a == 1 and steps.a.code is none",
    "not",
    "\u{1b}[31m\u{9b}2J",
    "\u{202e}\u{feff}\u{0}",
    "日本\u{301}🏴\u{200d}☠\u{fe0f}",
    "a\r\nb\tc",
];

/// A text as TOML writes it.
fn text() -> impl Strategy<Value = String> {
    let known = select(TEXTS).prop_map(str::to_owned);
    prop_oneof![8 => known, 1 => any::<String>()].prop_map(|text| toml::Value::String(text).to_string())
}

fn plain() -> impl Strategy<Value = String> {
    let odd = ["nan", "-inf", "1e999", "0x7f", "1979-05-27T07:32:00Z", "99999999999999999999", "-0", "[]", "{}"].map(str::to_owned);
    prop_oneof![
        8 => text(),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        1 => (0..3i64).prop_map(|number| number.to_string()),
        1 => any::<bool>().prop_map(|truth| truth.to_string()),
        1 => select(odd.to_vec()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    plain().prop_recursive(5, 24, 5, |inner| {
        let list = vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(", ")));
        let table = vec((select(KEYS), inner), 0..5).prop_map(|fields| {
            let fields: BTreeMap<_, _> = fields.into_iter().collect();
            format!("{{ {} }}", fields.into_iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", "))
        });
        prop_oneof![list, table]
    })
}

/// Inputs that a kind has, with values that it may not want.
fn inputs(kind: &'static str) -> impl Strategy<Value = String> {
    let schema = REGISTRY.get(kind).unwrap().input.as_value()["properties"].as_object().cloned().unwrap_or_default();
    let names: Vec<String> = schema.keys().cloned().collect();
    vec((select(names), value()), 0..5).prop_map(|fields| {
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        format!("{{ {} }}", fields.into_iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", "))
    })
}

fn action() -> impl Strategy<Value = String> {
    let kinds: Vec<&'static str> = REGISTRY.iter().map(|kind| kind.name).collect();
    select(kinds).prop_flat_map(|kind| inputs(kind).prop_map(move |with| format!("uses = \"{kind}\"\nwith = {with}\n")))
}

/// A step that may well be right, or one of anything.
fn step() -> impl Strategy<Value = String> {
    let right = (any::<[bool; 4]>(), text()).prop_map(|([checks, undone, pivot, when], text)| {
        let action = if checks {
            format!("uses = \"watch\"\nwith = {{ url = {text} }}\n")
        } else {
            format!("uses = \"command\"\nwith = {{ program = {text} }}\n")
        };
        let undo = if undone {
            format!("compensate = {{ uses = \"command\", with = {{ program = {text} }} }}\n")
        } else {
            "compensate = \"none\"\n".to_owned()
        };
        let pivot = if pivot { "pivot = true\n" } else { "" };
        let when = if when { "when = \"vars.a is none\"\n" } else { "" };
        format!("{action}{undo}{pivot}{when}")
    });
    let keys = vec((select(&KEYS[15..29]), value()), 0..3).prop_map(|keys| {
        let keys: BTreeMap<_, _> = keys.into_iter().collect();
        keys.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()
    });
    let needs = vec(select(&["\"a\"", "\"b\"", "\"c\"", "\"nobody\"", "1"][..]), 0..3)
        .prop_map(|needs| format!("needs = [{}]\n", needs.join(", ")));
    prop_oneof![4 => (right, needs).prop_map(|(step, needs)| step + &needs), 2 => action(), 1 => keys]
}

fn wrongly_put_together() -> impl Strategy<Value = String> {
    let head = select(
        &[
            "format = 1\n[plan]\nname = \"p\"\n",
            "format = 1\n[plan]\nname = \"p\"\nlock = \"{{ vars.a }}\"\n",
            "",
            "format = 2\n",
            "[plan]\nname = 1\n",
        ][..],
    );
    let vars = vec(value(), 0..4).prop_map(|values| {
        let names = ["a", "b", "c", "\"d e\""];
        names.iter().zip(values).map(|(name, value)| format!("{name} = {value}\n")).collect::<String>()
    });
    let secrets = select(&["", "[secrets]\na = { env = \"A\" }\n", "[secrets]\na = { env = \"A\", file = 1 }\n"][..]);
    let more = prop::option::weighted(0.2, (select(KEYS), value()));
    (head, vars, secrets, vec(step(), 0..4), vec(step(), 0..2), more).prop_map(|(head, vars, secrets, steps, finally, more)| {
        let named = |section: &str, steps: Vec<String>| -> String {
            ["a", "b", "c", "d"].iter().zip(steps).map(|(id, step)| format!("[{section}.{id}]\n{step}")).collect()
        };
        let more = more.map(|(key, value)| format!("{key} = {value}\n")).unwrap_or_default();
        format!("{more}{head}[vars]\n{vars}{secrets}{}{}", named("steps", steps), named("finally", finally))
    })
}

// ---- changed ------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Edit {
    Remove(Index, usize),
    Insert(Index, String),
    Repeat(Index, usize, usize),
    Swap(Index, Index),
    End(Index),
    LineEnds,
}

fn edit() -> impl Strategy<Value = Edit> {
    const BITS: &[&str] = &[
        "[", "]", "{", "}", "\"", "'''", "=", ".", ",", "\n", "\r", "\\", "{{", "}}", "#", "\u{feff}", "\u{202e}", "é", "\u{1b}[", "[[",
        "|", "(",
    ];
    let inserted =
        prop_oneof![select(BITS).prop_map(str::to_owned), select(TEXTS).prop_map(str::to_owned), any::<char>().prop_map(String::from)];
    prop_oneof![
        (any::<Index>(), 1..40usize).prop_map(|(at, bytes)| Edit::Remove(at, bytes)),
        (any::<Index>(), inserted).prop_map(|(at, text)| Edit::Insert(at, text)),
        (any::<Index>(), 1..200usize, 1..20usize).prop_map(|(at, bytes, times)| Edit::Repeat(at, bytes, times)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Edit::Swap(one, other)),
        any::<Index>().prop_map(Edit::End),
        Just(Edit::LineEnds),
    ]
}

impl Edit {
    fn apply(&self, text: &mut String) {
        let workspace = |text: &str, at: &Index| text.floor_char_boundary(at.index(text.len() + 1));
        let part = |text: &str, at: &Index, bytes: usize| {
            let start = workspace(text, at);
            start..text.ceil_char_boundary(start + bytes)
        };
        match self {
            Self::Remove(at, bytes) => text.replace_range(part(text, at, *bytes), ""),
            Self::Insert(at, inserted) => text.insert_str(workspace(text, at), inserted),
            Self::Repeat(at, bytes, times) => {
                let part = part(text, at, *bytes);
                text.insert_str(part.start, &text[part.clone()].repeat(*times));
            }
            Self::Swap(one, other) => {
                let mut lines: Vec<&str> = text.split('\n').collect();
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
                *text = lines.join("\n");
            }
            Self::End(at) => text.truncate(workspace(text, at)),
            Self::LineEnds => *text = text.replace('\n', "\r\n"),
        }
    }
}
