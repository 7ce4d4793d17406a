//! A file of values (`--vars`), and the same text as one value (`--var`).
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use almaplan_engine::plan::{self, Plan};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const PLAN: &str = r#"
format = 1
[plan]
name = "p"
[vars]
port = 5000
half = 0.5
on = true
text = "a"
list = [1, 2]
texts = ["a"]
open = "{{ env.HOMER | default('x') }}"
more = "{{ vars.text }}{{ vars.text }}"
most = "{{ vars.more }}{{ vars.more }}{{ vars.list }}"
[steps.s]
uses = "watch"
with = { url = "http://127.0.0.1/" }
"#;

static LOADED: LazyLock<Plan> =
    LazyLock::new(|| plan::load(PLAN, Path::new("/plans/plan.toml"), &almaplan_steps::registry()).plan.expect("it is a plan"));

fuzz_target!(|text: &str| {
    let env = |name: &str| (name == "HOMER").then(|| "{{ vars.port }}".to_owned());
    if let Ok(Ok(Value::Object(values))) = toml::from_str::<toml::Table>(text).map(serde_json::to_value) {
        let overrides: Vec<_> = values.into_iter().collect();
        let _ = plan::resolve_vars(&LOADED, &overrides, &env);
    }
    for name in LOADED.vars.keys() {
        let _ = plan::resolve_vars(&LOADED, &[(name.clone(), Value::from(text))], &env);
    }
});
