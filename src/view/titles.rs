//! What steps are called on a screen: what the plan says that they do, or else their ids.

use std::collections::HashMap;

use almaplan_engine::event::StepId;
use almaplan_engine::update::Update;

use super::format::sanitize;

/// The titles of the steps that were seen.
#[derive(Debug, Default)]
pub struct Titles(HashMap<StepId, String>);

impl Titles {
    /// Learns from one update.
    pub fn fold(&mut self, update: &Update) {
        if let Update::Step(step) = update
            && let Some(description) = &step.description
            && !self.0.contains_key(&step.step)
        {
            self.0.insert(step.step.clone(), title(&step.step, Some(description)));
        }
    }

    /// What `step` is called.
    pub fn of<'a>(&'a self, step: &'a StepId) -> &'a str {
        self.0.get(step).map_or(step.as_str(), String::as_str)
    }
}

/// What a step with this `description` is called: one line.
pub fn title(step: &StepId, description: Option<&str>) -> String {
    let shown = description.map(sanitize).unwrap_or_default();
    shown.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or(step.as_str()).to_owned()
}
