//! The text of a plan, as `check` and `graph` read it.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use almaplan::cli::GraphFormat;
use almaplan::commands::graph::GraphView;
use almaplan::diagnose::mistakes;
use almaplan::lang::{Lang, Language};
use almaplan::view::format::Formatter;
use almaplan_engine::plan::{self, Severity};
use almaplan_engine::registry::Registry;
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(almaplan_steps::registry);

fuzz_target!(|text: &str| {
    let words = Formatter { lang: Arc::new(Lang::new(Language::En)), zone: jiff::tz::TimeZone::UTC, color: false };
    let loaded = plan::load(text, Path::new("/plans/plan.toml"), &REGISTRY);
    let wrong = loaded.mistakes.iter().any(|mistake| mistake.severity() == Severity::Error);
    assert_eq!(loaded.plan.is_none(), wrong);
    let views = mistakes::views(&loaded.mistakes);
    let told = mistakes::text(&words, 80, "plan.toml", text, &views);
    assert!(!told.chars().any(|c| c != '\n' && plan::is_invisible(c)), "{told:?}");
    mistakes::to_json("plan.toml", text, &views);
    if let Some(plan) = loaded.plan {
        let view = GraphView::of(&plan);
        for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid, GraphFormat::Svg] {
            view.draw(&words, format);
        }
        plan::env_references(&plan);
        let _ = plan::resolve_vars(&plan, &[], &|_| None);
    }
});
