//! The events of a journal, one a line: decoded, and folded as a resume does. A journal whose chain verifies may still be another
//! program's, or another plan's.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use almaplan_engine::event::Event;
use almaplan_engine::plan;
use almaplan_engine::saga::{Saga, Shape};
use libfuzzer_sys::fuzz_target;

const PLAN: &str = r#"
format = 1
[plan]
name = "p"
[steps.a]
uses = "command"
with = { program = "p" }
retry = { attempts = 2 }
[[steps.a.compensate]]
uses = "command"
with = { program = "p" }
[[steps.a.compensate]]
uses = "command"
with = { program = "p" }
on_failure = "continue"
[steps.b]
uses = "start-service"
needs = ["a"]
with = { program = "p", port = 1, log = "l" }
compensate = { uses = "stop-service", with = { port = 1 } }
probe = { uses = "watch", with = { url = "http://127.0.0.1/" } }
[steps.c]
uses = "watch"
needs = ["b"]
pivot = true
with = { url = "http://127.0.0.1/" }
[steps.d]
uses = "command"
needs = ["c"]
irreversible = true
with = { program = "p" }
[finally.e]
uses = "notify"
with = { message = "x" }
"#;

static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    let registry = almaplan_steps::registry();
    let loaded = plan::load(PLAN, Path::new("/plans/plan.toml"), &registry);
    let plan = loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes));
    Shape::of(&plan, &registry)
});

fuzz_target!(|text: &str| {
    let mut saga = Saga::new(SHAPE.clone());
    for line in text.lines() {
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        if saga.apply(&event).is_err() {
            return;
        }
        saga.wanted().for_each(drop);
        saga.owed().for_each(drop);
        saga.questions().for_each(drop);
        let _ = (saga.verdict(), saga.finished(), saga.reversible(), saga.unwound(), saga.downtime());
        for step in 0..SHAPE.steps.len() {
            let _ = (saga.outputs(step), saga.known(step), saga.undo_part(step), saga.recorded(step, saga.action_part(step)));
        }
    }
});
