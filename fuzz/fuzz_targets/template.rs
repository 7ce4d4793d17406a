//! A template and an expression, with values of every type.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use almaplan_engine::event::Outcome;
use almaplan_engine::plan::{Scope, Templates, ValueInputs};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let vars = json!({
        "port": 5000, "half": 0.5, "big": u64::MAX, "least": i64::MIN, "on": true, "nothing": null, "text": "ação\r\n", "empty": "",
        "list": [1, "a", null, [2.5]], "long": "ha".repeat(1_000),
    });
    Templates::new(ValueInputs {
        vars: vars.as_object().cloned().unwrap_or_default(),
        secrets: BTreeMap::from([("password".to_owned(), Some("hush".to_owned())), ("absent".to_owned(), None)]),
        run_id: "r1".to_owned(),
        plan_dir: "/plans".to_owned(),
        ..ValueInputs::default()
    })
});

fuzz_target!(|text: &str| {
    let outputs = |step: &str| match step {
        "a" => json!({ "n": 3, "dir": "/srv/app", "deep": { "list": [{ "x": 1 }] } }),
        _ => Value::Null,
    };
    let scope = Scope { outputs: &outputs, outcome: Some(Outcome::Stuck) };
    let _ = TEMPLATES.render(&json!({ "a": [text] }), &scope);
    let _ = TEMPLATES.text(text, &scope);
    let _ = TEMPLATES.truth(text, &scope);
});
