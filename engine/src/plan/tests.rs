//! Whole plans: what they are read as, and how their mistakes are told.
#![allow(clippy::unwrap_used)]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::context::Context;
use crate::event::{Effect, Failure};
use crate::kind::{Kind, Traits};

/// Copies a folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Copy {
    /// The folder to copy.
    from: String,
    /// Where to.
    to: String,
    /// How much may be copied.
    limit: Option<Size>,
    /// How it is packed.
    #[serde(default)]
    pack: Pack,
    /// Patterns to leave out.
    #[serde(default)]
    exclude: Vec<String>,
    /// The level.
    #[serde(default)]
    level: u8,
    /// How long to wait for each file.
    wait: Option<Wait>,
    /// Who is told.
    #[serde(default)]
    tell: Vec<Tell>,
}

struct Wait;
struct Size;

macro_rules! text_like {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

text_like!(Wait, { "type": "string", "format": "duration" });
text_like!(Size, { "type": ["string", "integer"], "format": "bytes" });

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Pack {
    /// Not at all.
    #[default]
    None,
    /// As a zip.
    ZipFile,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code)]
enum Tell {
    Mail { address: String },
    Console { color: Option<bool> },
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Copied {
    /// Where it is.
    archive: String,
    files: u64,
    note: Option<String>,
}

impl Kind for Copy {
    const KIND: &'static str = "copy";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = Copied;

    async fn run(&self, _: &Context) -> Result<Copied, Failure> {
        Err(Failure::clean("not in these tests"))
    }
}

/// Looks at a port.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Look {
    /// The port.
    port: Option<u16>,
    /// What is said: no word of it may be rude, which no schema can say.
    #[serde(default, deserialize_with = "polite")]
    words: Vec<String>,
}

fn polite<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if words.iter().any(|word| word == "rude") { Err(serde::de::Error::custom("that is rude")) } else { Ok(words) }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Seen {
    pid: Option<u32>,
}

impl Kind for Look {
    const KIND: &'static str = "look";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun);
    type Output = Seen;

    async fn run(&self, _: &Context) -> Result<Seen, Failure> {
        Err(Failure::clean("not in these tests"))
    }
}

fn registry() -> Registry {
    Registry::default().with::<Copy>().with::<Look>()
}

fn load_text(text: &str) -> Loaded {
    load(text, Path::new("plans/test.toml"), &registry())
}

/// Loads a text with values for its variables, in an environment of `WHO` alone.
fn load_with(text: &str, overrides: &[(&str, Value)], is_final: bool) -> Loaded {
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let env = |name: &str| (name == "WHO").then(|| "me".to_owned());
    load_given(text, Path::new("plans/test.toml"), &registry(), Given { overrides: &overrides, env: &env, is_final })
}

fn plan(text: &str) -> Plan {
    let loaded = load_text(text);
    assert!(loaded.plan.is_some(), "{}", told(text, &loaded));
    loaded.plan.unwrap()
}

/// Each mistake as `line:column code `excerpt` message`, with what was probably meant.
fn told(text: &str, loaded: &Loaded) -> String {
    let line = |mistake: &Mistake| {
        let before = &text[..mistake.span.start];
        let (line, column) = (before.matches('\n').count() + 1, before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1);
        let excerpt = text[mistake.span.clone()].lines().next().unwrap_or_default();
        let meant = mistake.problem.suggestion().map(|name| format!("\n      meant: {name}")).unwrap_or_default();
        let related: String = mistake.related.iter().map(|(span, what)| format!("\n      at `{}`: {what}", &text[span.clone()])).collect();
        format!("{line}:{column} {} [{excerpt}] {mistake}{meant}{related}\n", mistake.code())
    };
    loaded.mistakes.iter().map(line).collect()
}

fn mistakes(text: &str) -> String {
    told(text, &load_text(text))
}

/// A plan of these steps, otherwise right.
fn with_steps(steps: &str) -> String {
    format!("format = 1\n[plan]\nname = \"p\"\n[vars]\nport = 5000\nroot = \"/app\"\n{steps}")
}

const WHOLE: &str = r#"
format = 1

[plan]
name = "whole"
lock = "{{ vars.root }}"
max_parallel = 2
lang = "pt-BR"

[measure]
url = "http://127.0.0.1:{{ vars.port }}/"

[vars]
port = 5000
root = 'C:\app'
other = { windows = "w", unix = "u" }
beside = "{{ vars.root }}/beside"

[secrets]
password = { env = "APP_PASSWORD", optional = true }
key = { file = "key.txt" }

[steps.pre-check]
uses = "look"
with = { port = "{{ vars.port }}" }

[steps.backup]
uses = "copy"
needs = ["pre-check"]
description = "Backup completo"
timeout = "15m"
retry = { attempts = 3, backoff = "2s" }
on_interrupt = "ask"
compensate = "none"
[steps.backup.with]
from = "{{ vars.root }}"
to = "{{ plan.dir }}/{{ run.timestamp }}.zip"
limit = "2 GB"
pack = "zip-file"
wait = "2s"
tell = [{ by = "mail", address = "a@b.c" }, { by = "console" }]

[steps.update]
uses = "copy"
pivot = true
with = { from = "{{ steps.backup.archive }}", to = "{{ vars.root }}", level = "{{ steps['pre-check'].pid | int }}" }
[steps.update.probe]
uses = "look"
[[steps.update.compensate]]
uses = "copy"
with = { from = "{{ steps.backup.archive }}", to = "x", exclude = ["{{ steps.update.archive | default('x') }}"] }
[[steps.update.compensate]]
uses = "look"
timeout = "1m"
on_failure = "continue"
when = "steps.update.archive is not none"

[steps.last]
uses = "look"
needs = ["update"]
irreversible = true
on_failure = "continue"

[finally.record]
uses = "copy"
with = { from = "{{ run.outcome }}", to = "{{ steps.backup.archive | default('none') }}" }
"#;

#[test]
fn a_whole_plan_is_read_as_it_is_written() {
    let plan = plan(WHOLE);
    assert_eq!(load_text(WHOLE).mistakes, []);
    assert_eq!((plan.name.as_str(), plan.lock.as_str(), plan.max_parallel), ("whole", "{{ vars.root }}", 2));
    assert_eq!(plan.lang.as_deref(), Some("pt-BR"));
    assert_eq!(plan.vars["port"], json!(5000));
    assert_eq!(plan.vars["other"], json!(if std::env::consts::FAMILY == "windows" { "w" } else { "u" }));
    assert!(plan.path.is_absolute());
    let SecretSource::File(key) = &plan.secrets["key"].from else { panic!("the key is a file") };
    assert_eq!(*key, plan.path.with_file_name("key.txt"));
    assert!(plan.secrets["password"].optional && !plan.secrets["key"].optional);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["pre-check", "backup", "update", "last"]);
    let backup = &plan.steps[1];
    assert_eq!(backup.timeout, Some(Duration::from_secs(900)));
    assert_eq!(backup.retry, Retry { attempts: 3, backoff: Duration::from_secs(2) });
    assert_eq!(backup.on_interrupt, Some(OnInterrupt::Ask));
    assert_eq!(backup.action.with["limit"], json!("2 GB"));
    let update = &plan.steps[2];
    assert!(update.pivot && update.probe.is_some());
    let [copy, look] = &update.compensate[..] else { panic!("two compensations") };
    assert_eq!((copy.action.uses.as_str(), look.action.uses.as_str()), ("copy", "look"));
    assert!(look.continue_on_failure && !copy.continue_on_failure && look.when.is_some());
    assert!(plan.steps[3].continue_on_failure && plan.steps[3].irreversible);
    assert_eq!(plan.finally[0].id.as_str(), "record");
    assert_eq!([1, 2, 3].map(|step| plan.graph.needs(step).collect::<Vec<_>>()), [vec![0], vec![0, 1], vec![2]]);
    assert_eq!(plan.graph.order(), [0, 1, 2, 3]);
}

#[test]
fn every_mistake_is_told_at_its_own_place() {
    let text = r#"format = 1
[plan]
name = "many"
colour = "red"
max_parallel = 0
lang = "pt"
[vars]
port = "5000"
root = "/app"
when = 2026-02-06
[secrets]
word = { env = "WORD", file = "word" }
[steps.first]
uses = "kopy"
nedes = ["x"]
[steps.second]
uses = "copy"
timeout = "soon"
retry = { attempts = 0 }
on_failure = "ignore"
compensate = "none"
[steps.second.with]
from = 5
too = "x"
limit = "much"
pack = "zipfile"
wait = "2 sec onds"
level = 300
exclude = "x"
tell = [{ by = "phone" }, { by = "mail" }, { by = "console", colour = true }]
[steps.third]
uses = "look"
needs = ["secnd", "first", "first", "third", "note"]
with = { port = "{{ vars.port }}" }
[steps.fourth]
uses = "copy"
compensate = "none"
when = "vars.prot == 1 and steps.second.achive"
with = { from = "{{ steps.fifth.archive }}", to = "a{{ env.DB_PASSWORD }}{{ secrets.wrod }}{{ run.outcome }}{{ vars.root | uper }}{{ vars }}" }
[steps.fifth-one]
uses = "look"
when = "{{ vars.on }}"
with = { port = "{{ steps.fourth-x.files }}" }
[finally.note]
uses = "look"
pivot = true
needs = ["first"]
"#;
    insta::assert_snapshot!(mistakes(text), @r#"
    4:1 ALM0004 [colour] `[plan]` has no key `colour`
    5:16 ALM0011 [0] `max_parallel` of `[plan]` is 0, and must be from 1 to 4294967295
    6:8 ALM0008 ["pt"] `lang` of `[plan]` cannot be `pt`
    10:8 ALM0040 [2026-02-06] `value` of variable `when` cannot be a date
    12:8 ALM0038 [{ env = "WORD", file = "word" }] secret `word` must come from exactly one of `env` and `file`
    14:8 ALM0007 ["kopy"] there is no kind `kopy`
          meant: copy
    15:1 ALM0004 [nedes] step `first` has no key `nedes`
          meant: needs
    18:11 ALM0009 ["soon"] `timeout` of step `second` is no duration: `soon`
    19:22 ALM0011 [0] `attempts` of step `second` is 0, and must be from 1 to 4294967295
    20:14 ALM0008 ["ignore"] `on_failure` of step `second` cannot be `ignore`
    22:1 ALM0005 [[steps.second.with]] step `second` (`copy`) lacks `to`
    23:8 ALM0006 [5] `from` of step `second` (`copy`) must be a text, and is an integer
    24:1 ALM0004 [too] step `second` (`copy`) has no key `too`
          meant: to
    25:9 ALM0010 ["much"] `limit` of step `second` (`copy`) is no size: `much`
    26:8 ALM0008 ["zipfile"] `pack` of step `second` (`copy`) cannot be `zipfile`
          meant: zip-file
    27:8 ALM0009 ["2 sec onds"] `wait` of step `second` (`copy`) is no duration: `2 sec onds`
    28:9 ALM0011 [300] `level` of step `second` (`copy`) is 300, and must be from 0 to 255
    29:11 ALM0006 ["x"] `exclude` of step `second` (`copy`) must be a list, and is a text
    30:16 ALM0008 ["phone"] `tell[0].by` of step `second` (`copy`) cannot be `phone`
    30:27 ALM0005 [{ by = "mail" }] step `second` (`copy`) lacks `tell[1].address`
    30:62 ALM0004 [colour] `tell[2]` of step `second` (`copy`) has no key `colour`
          meant: color
    33:10 ALM0016 ["secnd"] step `third` needs `secnd`, which the plan does not have
          meant: second
    33:28 ALM0017 ["first"] step `third` needs `first` twice
          at `"first"`: the first time
    33:37 ALM0018 ["third"] step `third` needs itself
    33:46 ALM0016 ["note"] step `third` needs `note`, which is not among these steps
    34:17 ALM0006 ["{{ vars.port }}"] `port` of step `third` (`look`) must be an integer, and is `vars.port`, which is a text
    38:9 ALM0022 [vars.prot] step `fourth` refers to the variable `prot`, which the plan does not have
          meant: port
    38:28 ALM0025 [steps.second.achive] step `fourth` refers to `achive` of step `second`, which `copy` does not leave
          meant: archive
    39:21 ALM0024 [steps.fifth.archive] step `fourth` refers to the step `fifth`, which the plan does not have
    39:56 ALM0028 [env.DB_PASSWORD] step `fourth` refers to `env.DB_PASSWORD`, which looks like a secret
    39:77 ALM0023 [secrets.wrod] step `fourth` refers to the secret `wrod`, which the plan does not have
          meant: word
    39:95 ALM0027 [run.outcome] step `fourth` cannot refer to `run.outcome`: the outcome is known in `finally` only
    39:124 ALM0032 [uper] the template in step `fourth` uses the filter `uper`, which does not exist
    39:134 ALM0026 [vars] step `fourth` refers to `vars` without saying which part of it
    42:9 ALM0020 [{{ vars.on }}] the template in `when` of step `fifth-one` cannot be read: it is an expression, written without `{{` and `}}`
    43:21 ALM0026 [steps.fourth] step `fifth-one` refers to `steps.fourth` without saying which part of it
    43:34 ALM0021 [x.files] the template in step `fifth-one` uses `x`, which nothing defines
    46:1 ALM0041 [pivot] `finally` step `note` cannot have `pivot`
    47:10 ALM0016 ["first"] `finally` step `note` needs `first`, which is not among these steps
    "#);
}

#[test]
fn a_circle_is_printed_as_a_path() {
    let text = with_steps(
        r#"
[steps.a]
uses = "look"
needs = ["b"]
[steps.b]
uses = "copy"
compensate = "none"
with = { from = "{{ steps.c.pid }}", to = "x" }
[steps.c]
uses = "look"
needs = ["a"]
"#,
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    10:10 ALM0019 ["b"] these steps need each other: a → b → c → a
          at `b`: `b` needs `c`
          at `"a"`: `c` needs `a`
    14:17 ALM0006 ["{{ steps.c.pid }}"] `from` of step `b` (`copy`) must be a text, and is `steps.c.pid`, which is an integer
    "#);
}

#[test]
fn the_pivot_and_what_is_irreversible_are_checked_against_the_order() {
    let text = with_steps(
        r#"
[steps.a]
uses = "copy"
with = { from = "x", to = "y" }
irreversible = true
[steps.b]
uses = "look"
needs = ["a"]
pivot = true
[steps.c]
uses = "look"
[steps.d]
uses = "copy"
needs = ["b"]
with = { from = "x", to = "y" }
irreversible = true
compensate = "none"
"#,
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    11:1 ALM0035 [irreversible] step `a` is irreversible but does not come after the pivot `b`
    15:1 ALM0034 [pivot] `c` runs beside the pivot `b`
          at `c`: neither before nor after it
    22:1 ALM0036 [irreversible] step `d` is irreversible and says how it is compensated
    "#);
}

#[test]
fn what_changes_things_before_the_pivot_and_declares_nothing_is_warned_of() {
    let text = with_steps(
        r#"
[steps.a]
uses = "copy"
with = { from = "x", to = "y" }
[steps.b]
uses = "look"
needs = ["a"]
pivot = true
[steps.c]
uses = "copy"
needs = ["b"]
with = { from = "x", to = "y" }
"#,
    );
    let loaded = load_text(&text);
    assert!(loaded.plan.is_some(), "it is only a warning");
    let warned: Vec<_> = loaded.mistakes.iter().map(|mistake| (mistake.code(), &text[mistake.span.clone()])).collect();
    assert_eq!(warned, [("ALM0037", "a")]);
}

#[test]
fn a_plan_has_one_pivot_at_most() {
    let text = with_steps("[steps.a]\nuses = \"look\"\npivot = true\n[steps.b]\nuses = \"look\"\nneeds = [\"a\"]\npivot = true\n");
    let loaded = load_text(&text);
    assert!(loaded.plan.is_none());
    assert!(matches!(&loaded.mistakes[..], [Mistake { problem: Problem::SeveralPivots, .. }]), "{:?}", loaded.mistakes);
}

#[test]
fn compensations_may_refer_to_what_came_before_only() {
    let text = with_steps(
        r#"
[steps.a]
uses = "copy"
with = { from = "x", to = "y" }
compensate = "none"
[steps.b]
uses = "look"
needs = ["a"]
[steps.c]
uses = "copy"
needs = ["b"]
with = { from = "x", to = "y" }
[steps.c.compensate]
uses = "copy"
with = { from = "{{ steps.a.archive }}", to = "{{ steps.c.archive | default('x') }}", exclude = ["{{ steps.d.archive }}"] }
[steps.d]
uses = "copy"
with = { from = "x", to = "y" }
compensate = { uses = "look" }
"#,
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    21:102 ALM0030 [steps.d.archive] the compensation of `c` refers to the step `d`, which need not have run by then
    "#);
}

#[test]
fn what_may_be_null_needs_a_default_where_null_cannot_go() {
    let text = with_steps(
        r#"
[steps.a]
uses = "copy"
when = "vars.port > 80"
with = { from = "x", to = "y" }
compensate = "none"
[steps.b]
uses = "copy"
with = { from = "{{ steps.a.archive }}", to = "{{ steps.a.archive | default('z') }}", exclude = ["not {{ steps.a.archive }}"] }
compensate = "none"
[steps.same]
uses = "copy"
when = "vars.port > 80"
with = { from = "{{ steps.a.archive }}", to = "x" }
compensate = "none"
[steps.asks]
uses = "copy"
when = "steps.a.archive is not none"
with = { from = "{{ steps.a.archive }}", to = "x" }
compensate = "none"
[finally.f]
uses = "look"
with = { port = "{{ steps.a.files }}" }
[finally.g]
uses = "copy"
with = { from = "{{ steps.b.archive }}", to = "x" }
[finally.h]
uses = "copy"
when = "run.outcome == 'succeeded'"
with = { from = "{{ steps.b.archive }}", to = "{{ steps.a.archive }}" }
[steps.undone]
uses = "look"
needs = ["a"]
when = "vars.port > 80"
compensate = { uses = "copy", with = { from = "{{ steps.a.archive }}", to = "x" } }
[steps.undone-else]
uses = "look"
needs = ["a"]
compensate = { uses = "copy", with = { from = "{{ steps.a.archive }}", to = "x" } }
"#,
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    15:17 ALM0029 ["{{ steps.a.archive }}"] `from` of step `b` (`copy`) cannot do without `steps.a.archive`, which is null when `a` is skipped
    15:106 ALM0029 [steps.a.archive] step `b` cannot do without `steps.a.archive`, which is null when `a` is skipped
    32:17 ALM0029 ["{{ steps.b.archive }}"] `from` of `finally` step `g` (`copy`) cannot do without `steps.b.archive`, which is null when `b` did not run or did not succeed
    36:47 ALM0029 ["{{ steps.a.archive }}"] `to` of `finally` step `h` (`copy`) cannot do without `steps.a.archive`, which is null when `a` is skipped
    45:47 ALM0029 ["{{ steps.a.archive }}"] `from` of the compensation of `undone-else` (`copy`) cannot do without `steps.a.archive`, which is null when `a` is skipped
    "#);
}

// A compensation that fed an output of its own step to an input that cannot be null could not begin when the step had left nothing:
// the run was stuck, and `check` had found nothing.
#[test]
fn a_compensation_does_not_count_on_what_its_own_step_may_not_have_left() {
    let text = with_steps(
        r#"
[steps.a]
uses = "copy"
when = "vars.port > 80"
with = { from = "x", to = "y" }
probe = { uses = "copy", with = { from = "{{ steps.a.archive }}", to = "x" } }
[[steps.a.compensate]]
uses = "copy"
with = { from = "{{ steps.a.archive }}", to = "x{{ steps.a.files }}" }
[[steps.a.compensate]]
uses = "copy"
when = "steps.a.archive is not none"
with = { from = "{{ steps.a.archive }}", to = "{{ steps.a.note }}" }
[[steps.a.compensate]]
uses = "copy"
with = { from = "{{ steps.a.archive | default('z') }}", to = "x" }
[[steps.a.compensate]]
uses = "look"
with = { port = "{{ steps.a.files }}" }
"#,
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    12:42 ALM0029 ["{{ steps.a.archive }}"] `from` of the probe of `a` (`copy`) cannot do without `steps.a.archive`, which is null when `a` did not get that far
    15:17 ALM0029 ["{{ steps.a.archive }}"] `from` of the compensation of `a` (`copy`) cannot do without `steps.a.archive`, which is null when `a` did not get that far
    15:52 ALM0029 [steps.a.files] the compensation of `a` cannot do without `steps.a.files`, which is null when `a` did not get that far
    19:47 ALM0029 ["{{ steps.a.note }}"] `to` of the compensation of `a` (`copy`) cannot do without `steps.a.note`, which is null when `a` did not get that far
    "#);
}

#[test]
fn variables_may_use_each_other_but_not_in_a_circle() {
    let text = "format = 1\n[plan]\nname = \"p\"\nlock = \"{{ secrets.a }}{{ steps.s.pid }}\"\n[vars]\na = \"{{ vars.b }}\"\nb = \"x{{ vars.c }}\"\nc = [\"{{ vars.a }}\"]\n\
                d = \"{{ vars.d }}\"\ne = \"{{ run.id }}\"\n[steps.s]\nuses = \"look\"\n";
    insta::assert_snapshot!(mistakes(text), @r#"
    4:12 ALM0027 [secrets.a] `lock` of `[plan]` cannot refer to `secrets.a`: it is needed before the run; `vars`, `env` and `plan` are known there
    4:27 ALM0027 [steps.s.pid] `lock` of `[plan]` cannot refer to `steps.s.pid`: it is needed before the run; `vars`, `env` and `plan` are known there
    6:5 ALM0031 ["{{ vars.b }}"] variables refer to each other in a circle: a → b → c → a
          at `"x{{ vars.c }}"`: b
          at `["{{ vars.a }}"]`: c
    9:5 ALM0031 ["{{ vars.d }}"] variables refer to each other in a circle: d → d
    10:9 ALM0027 [run.id] variable `e` cannot refer to `run.id`: it is needed before the run; `vars`, `env` and `plan` are known there
    "#);
}

#[test]
fn a_plan_without_the_essentials_says_which() {
    insta::assert_snapshot!(mistakes(""), @r#"
    1:1 ALM0003 [] the plan does not say its `format`
    1:1 ALM0005 [] the plan lacks `plan.name`
    1:1 ALM0015 [] the plan has no steps
    "#);
    insta::assert_snapshot!(mistakes("format = 2\n[plan]\nname = \" \"\n[steps]\n"), @r#"
    1:1 ALM0015 [] the plan has no steps
    1:10 ALM0003 [2] this version knows `format = 1`, and the plan has 2
    3:8 ALM0042 [" "] `name` of `[plan]` is empty
    "#);
    insta::assert_snapshot!(mistakes("steps = 1\nformat = \"1\"\nplan = []"), @r#"
    1:9 ALM0006 [1] `steps` of the plan must be a table, and is an integer
    2:10 ALM0003 ["1"] this version knows `format = 1`, and the plan has "1"
    3:8 ALM0006 [[]] `plan` of the plan must be a table, and is a list
    "#);
}

#[test]
fn broken_toml_is_told_where_it_breaks() {
    insta::assert_snapshot!(mistakes("format = 1\n[plan]\nname = \"x\nlock = 5 5\n[steps.a\nuses = \"look\"\n"), @r#"
    3:10 ALM0001 [] the file is no TOML: invalid basic string, expected `"`
    4:8 ALM0001 [5 5] the file is no TOML: string values must be quoted, expected literal string
    5:9 ALM0001 [] the file is no TOML: unclosed table, expected `]`
    "#);
    insta::assert_snapshot!(mistakes("a = 1\na = 2\n"), @r#"
    2:1 ALM0001 [a] the file is no TOML: duplicate key
    "#);
}

#[test]
fn inputs_without_templates_get_the_kinds_own_verdict() {
    // The schema of a tagged enum inside a list cannot say everything; the kind has the last word.
    let text = with_steps(
        "[steps.a]\nuses = \"copy\"\ncompensate = \"none\"\nwith = { from = \"a\", to = \"b\", tell = [{ by = \"console\", color = \"{{ vars.port }}\" }] }\n",
    );
    insta::assert_snapshot!(mistakes(&text), @r#"
    10:66 ALM0006 ["{{ vars.port }}"] `tell[0].color` of step `a` (`copy`) must be true or false, and is `vars.port`, which is an integer
    "#);
}

#[test]
fn variables_take_what_is_said_on_the_command_line_as_their_own_type() {
    let plan = plan(
        "format = 1\n[plan]\nname = \"p\"\n[vars]\nport = 5000\nrate = 0.5\non = true\nroot = \"/app\"\nlist = [\"a\"]\nnumbers = [1]\n\
         beside = \"{{ vars.root }}/{{ env.WHO }}/{{ vars.port }}\"\nsame = \"{{ vars.port }}\"\nhere = \"{{ plan.dir }}\"\n[steps.s]\nuses = \"look\"\n",
    );
    let env = |name: &str| (name == "WHO").then(|| "me".to_owned());
    let given = |pairs: &[(&str, serde_json::Value)]| {
        let overrides: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        resolve_vars(&plan, &overrides, &env)
    };
    let vars = given(&[
        ("port", json!("6000")),
        ("rate", json!("2")),
        ("on", json!("false")),
        ("list", json!("x, y")),
        ("numbers", json!("[1, 2]")),
        ("root", json!("{{ plan.dir }}/up")),
    ])
    .unwrap();
    let dir = plan.path.parent().unwrap().to_str().unwrap();
    assert_eq!((&vars["port"], &vars["same"], &vars["rate"], &vars["on"]), (&json!(6000), &json!(6000), &json!(2), &json!(false)));
    assert_eq!((&vars["list"], &vars["numbers"]), (&json!(["x", "y"]), &json!([1, 2])));
    assert_eq!(vars["beside"], json!(format!("{dir}/up/me/6000")));
    assert_eq!(vars["here"], json!(dir));

    let errors = given(&[
        ("prot", json!("1")),
        ("port", json!("many")),
        ("port", json!(1.5)),
        ("numbers", json!("1,x")),
        ("numbers", json!("[1]\nmore = 2")),
        ("root", json!("{{ env.APP_TOKEN }}{{ secrets.x }}")),
    ])
    .unwrap_err();
    let told: String = errors.iter().map(|error| format!("{error}\n")).collect();
    insta::assert_snapshot!(told, @r#"
    the plan has no variable `prot`; did you mean `port`?
    variable `port` is an integer in the plan, and `many` is none
    variable `port` is an integer in the plan, and `1.5` is none
    variable `numbers` is a list in the plan, and `1,x` is none
    variable `numbers` is a list in the plan, and `[1]
    more = 2` is none
    variable `root` refers to `env.APP_TOKEN`, which looks like a secret; take it through `[secrets]`, which masks it
    variable `root` refers to `secrets.x`; variables may refer to `vars`, `env` and `plan` only
    "#);
    let errors = given(&[("root", json!("{{ vars.beside }}"))]).unwrap_err();
    assert_eq!(errors, [VarError::Cycle { cycle: ["root", "beside", "root"].map(str::to_owned).to_vec() }]);
}

// `check` called values valid that the step then failed with, when the service had been stopped already.
#[test]
fn a_value_is_judged_as_what_it_is_used_for_and_pointed_at() {
    let text = r#"format = 1
[plan]
name = "p"
[vars]
port = 99999
soon = "30 segundos"
long = "200y"
level = 300
pack = "zip"
words = ["kind", "rude"]
other = "{{ vars.soon }}"
root = "/app"
[steps.a]
uses = "look"
with = { port = "{{ vars.port }}", words = "{{ vars.words }}" }
[steps.b]
uses = "copy"
compensate = "none"
with = { from = "{{ steps.a.pid }}", to = "x", wait = "{{ vars.other }}", level = "{{ vars.level }}", pack = "{{ vars.pack }}" }
[steps.c]
uses = "copy"
compensate = { uses = "look", with = { words = ["{{ run.id }}", "rude"] } }
with = { from = "x", to = "{{ vars.root }}", wait = "{{ vars.long }}", level = "{{ vars.port + vars.level }}" }
"#;
    let loaded = load_with(text, &[], true);
    assert!(loaded.plan.is_none());
    insta::assert_snapshot!(told(text, &loaded));
    assert!(load_text(text).mistakes.iter().all(|mistake| mistake.code() == "ALM0006"), "without values only types are known");
}

#[test]
fn a_value_that_was_given_is_judged_like_one_of_the_plan() {
    let text = with_steps("[steps.a]\nuses = \"look\"\nwith = { port = \"{{ vars.port }}\" }\n");
    assert!(load_with(&text, &[], true).plan.is_some());
    assert!(load_with(&text, &[("port", json!("443"))], true).plan.is_some());
    let loaded = load_with(&text, &[("root", json!("/x")), ("port", json!("1")), ("port", json!("99999"))], true);
    assert!(loaded.plan.is_none());
    let [mistake] = &loaded.mistakes[..] else { panic!("{}", told(&text, &loaded)) };
    assert_eq!((mistake.code(), mistake.given, &text[mistake.span.clone()]), ("ALM0011", Some(2), "\"{{ vars.port }}\""));

    let loaded = load_with(&text, &[("prot", json!("1")), ("port", json!("many"))], true);
    assert!(loaded.plan.is_none() && loaded.mistakes.is_empty());
    assert!(matches!(&loaded.variables[..], [VarError::Unknown { .. }, VarError::Type { .. }]), "{:?}", loaded.variables);
}

#[test]
fn what_never_runs_may_have_values_that_do_not_fit() {
    let off = |when: &str| {
        format!(
            "[steps.a]\nuses = \"look\"\nwhen = \"{when}\"\nwith = {{ port = \"{{{{ vars.port }}}}\" }}\n\
             compensate = {{ uses = \"look\", with = {{ port = \"{{{{ vars.port }}}}\" }} }}\n\
             [steps.b]\nuses = \"look\"\nwhen = \"steps.a.pid is not none\"\nwith = {{ port = \"{{{{ vars.port }}}}\" }}\n"
        )
    };
    let codes = |when: &str| {
        let loaded = load_with(&with_steps(&off(when)), &[("port", json!(70_000))], true);
        loaded.mistakes.iter().map(Mistake::code).collect::<Vec<_>>()
    };
    for never in ["vars.port < 65536", "vars.root == '/app' and vars.port < 65536", "(vars.port < 65536) and env.OTHER == 'x'", "false"] {
        assert!(codes(never).is_empty(), "{never}: {:?}", codes(never));
    }
    for perhaps in ["vars.port > 1", "vars.port < 65536 or vars.root == '/app'", "not (vars.port < 65536)"] {
        assert_eq!(codes(perhaps), ["ALM0011"; 3], "{perhaps}");
    }
}

#[test]
fn a_variable_takes_what_the_plan_lets_it_take() {
    let plan = |mode: &str| {
        format!("format = 1\n[plan]\nname = \"p\"\n[vars]\n{mode}\n[steps.a]\nuses = \"look\"\nwhen = \"vars.mode == 'in-place'\"\n")
    };
    let text = plan("mode = { default = \"new\", one_of = [\"new\", \"in-place\"] }");
    let loaded = load_with(&text, &[], true);
    assert_eq!(loaded.mistakes, []);
    assert_eq!(loaded.plan.unwrap().vars["mode"], json!("new"));
    assert!(load_with(&text, &[("mode", json!("in-place"))], true).plan.is_some());
    let loaded = load_with(&text, &[("mode", json!("inplace"))], true);
    let [VarError::NotOneOf { value, suggestion, .. }] = &loaded.variables[..] else { panic!("{:?}", loaded.variables) };
    assert_eq!((value.as_str(), suggestion.as_deref()), ("inplace", Some("in-place")));
    // A run that is begun without this check is refused as well.
    let loaded = load_text(&text);
    assert!(resolve_vars(&loaded.plan.unwrap(), &[("mode".to_owned(), json!("inplace"))], &|_| None).is_err());

    let lists = plan("mode = { default = [\"a\"], one_of = [\"a\", \"b\"] }");
    assert!(load_with(&lists, &[("mode", json!("b,a"))], true).plan.is_some());
    assert_eq!(load_with(&lists, &[("mode", json!("a,c"))], true).variables.len(), 1);
    for (wrong, code) in [
        ("mode = { default = \"x\", one_of = [\"a\"] }", "ALM0008"),
        ("mode = { default = \"{{ vars.x }}\", one_of = [\"a\"] }\nx = \"y\"", "ALM0008"),
        ("mode = { one_of = [\"a\"] }", "ALM0005"),
        ("mode = { default = \"a\", one_of = [] }", "ALM0006"),
        ("mode = { default = \"a\", one_of = [\"a\"], windows = \"a\" }", "ALM0004"),
    ] {
        let text = plan(wrong);
        let loaded = load_with(&text, &[], true);
        assert_eq!(loaded.mistakes.iter().map(Mistake::code).collect::<Vec<_>>(), [code], "{wrong}");
    }
}

#[test]
fn an_environment_that_is_not_the_runs_says_nothing_of_what_is_missing() {
    let text =
        with_steps("[steps.a]\nuses = \"copy\"\ncompensate = \"none\"\nwith = { from = \"{{ env.WHO }}\", to = \"{{ env.NOBODY }}\" }\n");
    assert_eq!(load_with(&text, &[], false).mistakes, []);
    let told = told(&text, &load_with(&text, &[], true));
    assert!(told.contains("ALM0044") && told.contains("env.NOBODY"), "{told}");
}

#[test]
fn what_a_run_must_be_started_with_is_found_everywhere() {
    let text = with_steps(
        r#"
[secrets]
one = { env = "ONE_TOKEN" }
two = { env = "TWO_TOKEN" }
[steps.a]
uses = "copy"
when = "env.A == 'x' or secrets.two"
with = { from = "{{ env.B }}", to = "{% if env.C %}{{ secrets.one }}{% endif %}" }
probe = { uses = "look", with = { port = "{{ env['D'] | int }}" } }
compensate = { uses = "look", when = "env.E" }
[finally.f]
uses = "look"
when = "env.F"
"#,
    )
    .replace("root = \"/app\"", "root = [\"{{ env.G }}\"]");
    let plan = plan(&text);
    assert_eq!(env_references(&plan), ["A", "B", "C", "D", "E", "F", "G"]);
    assert_eq!(secrets_in(&plan.steps[0].action, plan.steps[0].when.as_deref()), ["one", "two"]);
    assert_eq!(secrets_in(&plan.steps[0].action, None), ["one"]);
    assert!(secrets_in(plan.steps[0].probe.as_ref().unwrap(), None).is_empty());
}

#[test]
fn secrets_in_the_environment_are_recognised_by_their_names() {
    for name in ["DB_PASSWORD", "API_KEY", "GITHUB_TOKEN", "SMTP_PASS", "client_secret", "AWS_CREDENTIALS", "KEY"] {
        assert!(check::looks_secret(name), "{name}");
    }
    for name in ["PATH", "KEYBOARD", "COMPASS", "PWD", "HOME", "PASSAGE"] {
        assert!(!check::looks_secret(name), "{name}");
    }
}

/// `count` steps in rows of ten: each needs the one above it, and refers to its left neighbour.
fn long_plan(count: usize) -> String {
    use std::fmt::Write;
    let mut text = with_steps("");
    for step in 0..count {
        let above = if step >= 10 { format!("needs = [\"s{}\"]\n", step - 10) } else { String::new() };
        let left = if step % 10 > 0 { format!("{{{{ steps.s{}.archive }}}}", step - 1) } else { "x".to_owned() };
        let first = step % 10;
        write!(
            text,
            "[steps.s{step}]\nuses = \"copy\"\n{above}with = {{ from = \"{left}\", to = \"{{{{ vars.root }}}}/{step}\" }}\n\
             compensate = {{ uses = \"copy\", with = {{ from = \"{{{{ steps.s{first}.archive | default('x') }}}}\", to = \"x\" }} }}\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn ten_thousand_steps_are_loaded_in_order() {
    let plan = plan(&long_plan(10_000));
    let graph = &plan.graph;
    assert_eq!(graph.order(), (0..10_000).collect::<Vec<_>>());
    assert!(graph.needs(25).eq([15, 24]));
    assert!(graph.dependents(25).eq([26, 35]));
    assert!(graph.is_ancestor(3, 9_999) && !graph.is_ancestor(9_999, 3) && !graph.is_ancestor(4, 9_993));
}

// Of a megabyte of mistakes each was told, with an excerpt, for minutes.
#[test]
fn of_very_many_mistakes_the_first_are_told_and_that_there_are_more() {
    let unknown: String = (0..300).map(|key| format!("key{key} = 1\n")).collect();
    let loaded = load_text(&(unknown + &with_steps("[steps.a]\nuses = \"look\"\n")));
    assert!(loaded.plan.is_none());
    let codes: Vec<&str> = loaded.mistakes.iter().map(Mistake::code).collect();
    assert_eq!((codes.len(), codes[199], codes[200]), (201, "ALM0004", "ALM0043"));
    assert_eq!(loaded.mistakes[200].severity(), Severity::Error);

    let undeclared: String = (0..300).map(|n| format!("[steps.s{n}]\nuses = \"copy\"\nwith = {{ from = \"a\", to = \"b\" }}\n")).collect();
    let loaded = load_text(&with_steps(&undeclared));
    assert!(loaded.plan.is_some() && loaded.mistakes.len() == 201);
    let last_error =
        undeclared.replace("uses = \"copy\"", "uses = \"copy\"\nneeds = []") + "[finally.f]\nuses = \"look\"\nwith = { pin = 1 }\n";
    assert!(load_text(&with_steps(&last_error)).plan.is_none());
}

#[test]
fn hostile_texts_end_in_mistakes() {
    let keys = "k.".repeat(78);
    let nested = (0..60).fold("1".to_owned(), |inner, _| format!("{{ {keys}k = {inner} }}"));
    let long_chain: String =
        (0..20_000).map(|step| format!("[steps.s{step}]\nuses = \"look\"\nneeds = [\"s{}\"]\n", (step + 1) % 20_000)).collect();
    let strangers: String = (0..5_000).map(|step| format!("[steps.s{step}]\nuses = \"kind{step}\"\nneeds = [\"t{step}\"]\n")).collect();
    for text in [
        format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)),
        format!("a = {}1", "[".repeat(200_000)),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwith = {nested}\n")),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwith = {{ port = {}{} }}\n", "[".repeat(70), "]".repeat(70))),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwhen = \"{}1\"\n", "not ".repeat(100_000))),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwhen = \"{}1{}\"\n", "(".repeat(400), ")".repeat(400))),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwith = {{ port = \"{}\" }}\n", "{% if 1 %}".repeat(900))),
        with_steps(&format!("[steps.a]\nuses = \"look\"\nwhen = \"1{}\"\n", "|int".repeat(499))),
        with_steps(&long_chain),
        with_steps(&strangers),
        "\0\u{feff}= = =".to_owned(),
    ] {
        let loaded = load_text(&text);
        let shown: String = text.chars().take(120).collect();
        let right = text.contains("|int");
        assert_eq!(loaded.plan.is_some(), right, "{shown}: {:?}", loaded.mistakes.first());
        assert_eq!(loaded.mistakes.is_empty(), right, "{shown}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    let plan = plan(&format!("\u{feff}{}", WHOLE.trim_start().replace('\n', "\r\n")));
    assert_eq!(plan.steps.len(), 4);
}

#[test]
fn the_schema_knows_each_kind_and_lets_templates_in() {
    let schema = schema(&registry());
    assert_eq!(schema["$schema"], json!("http://json-schema.org/draft-07/schema#"));
    let text = schema.to_string();
    assert!(!text.contains("$defs") && !text.contains("2020-12"), "{text}");
    let mut references = 0;
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(schema.pointer(pointer).is_some(), "{pointer} leads somewhere");
        // A reference is a URI: an editor that minds refused the whole schema for a space in one.
        assert!(pointer.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c)), "{pointer}");
        references += 1;
    }
    assert!(references > 10);
    let copy = &schema["definitions"]["with-copy"];
    assert_eq!(copy["additionalProperties"], json!(false));
    assert_eq!(copy["required"], json!(["from", "to"]));
    assert_eq!(copy["properties"]["from"], json!({ "type": "string", "description": "The folder to copy." }));
    let level = &copy["properties"]["level"];
    assert_eq!(level["anyOf"][0]["maximum"], json!(255));
    assert_eq!(level["anyOf"][1], json!({ "$ref": "#/definitions/template" }));
    assert_eq!(level["description"], json!("The level."));
    let step = &schema["definitions"]["step"];
    assert_eq!(step["additionalProperties"], json!(false));
    let rule = step["allOf"].as_array().unwrap().iter().find(|rule| rule["if"]["properties"]["uses"]["const"] == "copy").unwrap();
    assert!(rule["then"].to_string().contains("with-copy"));
    assert!(schema["definitions"]["finally"]["properties"].get("pivot").is_none());
}

mod random {
    use proptest::prelude::*;

    use super::*;

    /// The text of a right plan, cut into pieces that are dropped, doubled and swapped.
    fn mutated() -> impl Strategy<Value = String> {
        let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5u8, "[\\[\\]{}=\"'.|% a-z0-9\\n#-]{0,8}");
        prop::collection::vec(edit, 1..6).prop_map(|edits| {
            let mut text: Vec<char> = WHOLE.chars().collect();
            for (from, length, what, new) in edits {
                let at = from.index(text.len());
                let end = (at + length.index(40)).min(text.len());
                let piece: Vec<char> = text[at..end].to_vec();
                match what {
                    0 => drop(text.drain(at..end)),
                    1 => drop(text.splice(at..at, piece)),
                    2 => drop(text.splice(at..end, new.chars())),
                    3 => drop(text.splice(at..at, new.chars())),
                    _ => text[at..end].reverse(),
                }
                if text.is_empty() {
                    text.push('\n');
                }
            }
            text.into_iter().collect()
        })
    }

    fn holds(text: &str) {
        let loaded = load_text(text);
        let wrong = loaded.mistakes.iter().any(|mistake| mistake.severity() == Severity::Error);
        assert_eq!(loaded.plan.is_none(), wrong);
        for mistake in &loaded.mistakes {
            assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?} is within the text");
            assert!(mistake.related.iter().all(|(span, _)| text.get(span.clone()).is_some()), "{mistake:?}");
            let _ = (mistake.to_string(), mistake.problem.suggestion(), mistake.code());
        }
        if let Some(plan) = loaded.plan {
            assert_eq!(plan.graph.order().len(), plan.steps.len(), "a plan without mistakes has an order");
            let _ = resolve_vars(&plan, &[], &|_| None);
            env_references(&plan);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            holds(&text);
        }

        #[test]
        fn no_change_to_a_plan_makes_it_panic(text in mutated()) {
            holds(&text);
        }
    }
}

#[test]
fn several_addresses_are_measured_with_what_each_must_answer() {
    let text = |measure: &str| format!("{}[measure]\n{measure}\n", with_steps("[steps.a]\nuses = \"look\"\n"));
    let check = |url: &str, status: &[u16], contains: Option<&str>| MeasureCheck {
        url: url.to_owned(),
        status: status.to_vec(),
        contains: contains.map(str::to_owned),
    };
    assert_eq!(plan(&text("url = \"http://x/\"")).measure, [check("http://x/", &[], None)]);
    let inline = "checks = [{ url = \"http://x:{{ vars.port }}/\", status = 200 }, { url = \"http://x/login\", status = [200, 302], contains = \"{{ vars.root }}\" }]";
    let both = [check("http://x:{{ vars.port }}/", &[200], None), check("http://x/login", &[200, 302], Some("{{ vars.root }}"))];
    assert_eq!(plan(&text(inline)).measure, both);
    let tables = "[[measure.checks]]\nurl = \"http://x:{{ vars.port }}/\"\nstatus = 200\n[[measure.checks]]\nurl = \"http://x/login\"\nstatus = [200, 302]\ncontains = \"{{ vars.root }}\"";
    assert_eq!(plan(&text("").replace("[measure]\n\n", tables)).measure, both);
    for (wrong, code) in [
        ("", "ALM0005"),
        ("checks = []", "ALM0042"),
        ("checks = [{ status = 200 }]", "ALM0005"),
        ("checks = [{ url = \"http://x/\", status = 99 }]", "ALM0011"),
        ("checks = [{ url = \"http://x/\", status = \"200\" }]", "ALM0006"),
        ("checks = [{ url = \"http://x/\", stats = 200 }]", "ALM0004"),
        ("checks = \"http://x/\"", "ALM0006"),
        ("checks = [{ url = \"http://x/\", contains = \"{{ vars.none }}\" }]", "ALM0022"),
    ] {
        let told = mistakes(&text(wrong));
        assert!(told.contains(code), "{wrong}: {told}");
    }
}
