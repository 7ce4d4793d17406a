//! What a run would do, without one.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::tests::Machine;
use super::*;
use crate::event::Effect;
use crate::kind::{Kind, Traits};
use crate::plan;

/// Makes something, and knows before what its name will be, where it is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Make {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// Whether it is there already.
    #[serde(default)]
    there: Option<bool>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Made {
    /// Its name.
    name: Option<String>,
    /// Its size.
    size: u64,
}

impl Kind for Make {
    const KIND: &'static str = "make";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = Made;

    async fn run(&self, _: &Context) -> Result<Made, Failure> {
        panic!("a preview runs nothing");
    }

    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        assert!(cx.record("name", "kept").await.is_err(), "a preview keeps something");
        let Some(name) = &self.name else { return Preview::default() };
        let preview = if self.there == Some(true) { Preview::nothing() } else { Preview::default() };
        preview.tell(Told::new("runs").field("command", name.clone())).output("name", name.as_str())
    }
}

/// A preview of a plan with these steps; `a` and `b` of a step are undone by `make`, where `undone` stands in it.
async fn preview(steps: &str) -> RunPreview {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs {
        registry: Arc::new(Registry::default().with::<Make>()),
        host: Arc::new(Machine),
        lock_folder: folder.path().join("locks"),
        state_dir: folder.path().join("state"),
        only_here: false,
        env: Arc::new(|name| (name == "TOKEN").then(|| "Kanarienvogel".to_owned())),
        zone: jiff::tz::TimeZone::UTC,
        user: "ana".to_owned(),
        pid: std::process::id(),
    };
    let steps = steps.replace("undone", "compensate = { uses = \"make\" }").replace("kept", "compensate = \"none\"");
    let text = format!("format = 1\n[plan]\nname = \"test\"\n[vars]\non = true\n[secrets]\ntoken = {{ env = \"TOKEN\" }}\n{steps}");
    let loaded = plan::load(&text, &folder.path().join("plan.toml"), &runs.registry);
    let plan = loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes));
    let preview = runs.preview(NewRun::of(plan, Timestamp::now())).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a preview made something");
    preview
}

fn verdicts(preview: &RunPreview) -> Vec<&StepVerdict> {
    preview.steps.iter().map(|step| &step.verdict).collect()
}

#[tokio::test]
async fn steps_are_told_in_order_with_what_is_known_of_those_before() {
    let preview = preview(
        "[steps.a]\nuses = \"make\"\nwith = { name = \"x\" }\nkept\n\
         [steps.b]\nuses = \"make\"\nwith = { name = \"{{ steps.a.name }}y\", there = true }\nkept\n\
         [steps.c]\nuses = \"make\"\nwhen = \"not vars.on\"\nkept\n\
         [steps.d]\nuses = \"make\"\nwhen = \"steps.c.size is none and steps.a.size is not none\"\nwith = { name = \"n{{ steps.a.size }}\" }\nkept\n\
         [steps.e]\nuses = \"make\"\nwhen = \"vars.on and steps.a.size > 3\"\nkept\n\
         [steps.f]\nuses = \"make\"\nwhen = \"steps.e.size is not none\"\nkept\n",
    )
    .await;
    let unclear = |output: &str| StepVerdict::CannotTell(vec![output.to_owned()]);
    let expected = [
        &StepVerdict::Runs,
        &StepVerdict::UpToDate,
        &StepVerdict::Skipped("not vars.on".to_owned()),
        &StepVerdict::Runs,
        &unclear("steps.a.size"),
        // Nobody knows whether that runs, so it may be null.
        &unclear("steps.e.size"),
    ];
    assert_eq!(verdicts(&preview), expected);
    assert_eq!(preview.steps[1].told[0].to_json()["command"], "xy");
    assert_eq!(preview.steps[3].missing, ["steps.a.size"]);
}

#[tokio::test]
async fn the_way_back_is_what_the_saga_would_undo() {
    let preview = preview(
        "[steps.a]\nuses = \"make\"\nkept\n\
         [steps.b]\nuses = \"make\"\nneeds = [\"a\"]\nundone\n\
         [steps.c]\nuses = \"make\"\nneeds = [\"b\"]\nwhen = \"not vars.on\"\nundone\n\
         [steps.d]\nuses = \"make\"\nneeds = [\"c\"]\nretry = { attempts = 3 }\nundone\n\
         [steps.e]\nuses = \"make\"\nneeds = [\"d\"]\npivot = true\nkept\n\
         [steps.f]\nuses = \"make\"\nneeds = [\"e\"]\nkept\n",
    )
    .await;
    let undo = |steps: &[Index]| Means::Undo(steps.to_vec());
    let ways: Vec<_> = preview.ways_back.iter().map(|way| (way.from, way.until, way.means.clone())).collect();
    // What is skipped owes nothing, and after the pivot nothing is undone.
    assert_eq!(ways, [(0, 0, undo(&[])), (1, 1, undo(&[1])), (3, 4, undo(&[3, 1])), (5, 5, Means::Warning)]);
}

#[tokio::test]
async fn no_secret_is_told() {
    let preview = preview("[steps.a]\nuses = \"make\"\nwith = { name = \"key={{ secrets.token }}\" }\nkept\n").await;
    let told = preview.steps[0].told[0].to_json().to_string();
    assert!(told.contains("key=") && !told.contains("Kanarienvogel"), "{told}");
}

#[tokio::test]
async fn nothing_would_change_where_every_step_that_is_made_up_for_has_nothing_to_do() {
    let step = |there: bool| {
        format!("[steps.a]\nuses = \"make\"\nkept\n[steps.b]\nuses = \"make\"\nwith = {{ name = \"x\", there = {there} }}\nundone\n")
    };
    assert!(preview(&step(true)).await.changes_nothing());
    assert!(!preview(&step(false)).await.changes_nothing());
}
