//! Whatever loads is valid by the schema that editors are given.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use almaplan_engine::plan;
use almaplan_engine::registry::Registry;
use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(almaplan_steps::registry);
static SCHEMA: LazyLock<Validator> = LazyLock::new(|| jsonschema::validator_for(&plan::schema(&REGISTRY)).expect("it is a schema"));

fuzz_target!(|text: &str| {
    if plan::load(text, Path::new("/plans/plan.toml"), &REGISTRY).plan.is_some() {
        let table: toml::Table = toml::from_str(text).expect("it was loaded");
        let value = serde_json::to_value(table).expect("it is plain data");
        if let Err(error) = SCHEMA.validate(&value) {
            panic!("{error} at {}", error.instance_path());
        }
    }
});
