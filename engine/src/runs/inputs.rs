//! What the inputs of a run's steps come to by now, for whoever tells of the run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::assignment::outputs;
use crate::event::{Opened, Part, RunId};
use crate::executor::service_checks;
use crate::host::ServiceCheck;
use crate::plan::{Plan, Scope, Templates, ValueInputs};
use crate::saga::Saga;

use super::hidden::{hidden_in, reveal};
use super::plan_dir;
use super::secrets::Secrets;

/// A run's plan with the values that it travels with, but for its secrets: what is told of a run has none.
#[derive(Debug, Clone)]
pub struct RunInputs {
    plan: Arc<Plan>,
    templates: Templates,
}

impl RunInputs {
    pub(super) fn new(plan: Arc<Plan>, opened: &Opened, run: &RunId) -> Self {
        let templates = templates(&plan, opened, Default::default(), run);
        Self { plan, templates }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the run measures.
    pub fn service_checks(&self) -> Vec<ServiceCheck> {
        service_checks(&self.plan, &self.templates)
    }

    /// What the input `name` of the first step or `finally` step of the kind `uses` comes to, as a `finally` step sees it. `None` where
    /// there is no such input, where it is null, and where it cannot be rendered.
    pub fn input(&self, saga: &Saga, uses: &str, name: &str) -> Option<Value> {
        let mut steps = self.plan.steps.iter().chain(&self.plan.finally);
        let with = &steps.find(|step| step.action.uses == uses)?.action.with;
        let scope = Scope { outputs: &|id| outputs(saga, id, Part::Finally), outcome: saga.outcome() };
        self.templates.render(with.get(name)?, &scope).ok().filter(|value| !value.is_null())
    }
}

/// The secrets that values of a run were kept without.
pub(super) fn hidden_secrets(opened: &Opened) -> BTreeSet<String> {
    [&opened.vars, &opened.env].into_iter().flat_map(|values| hidden_in(values, &opened.secrets)).collect()
}

/// What the templates of a run see.
pub(super) fn templates(plan: &Plan, opened: &Opened, secrets: Secrets, run: &RunId) -> Templates {
    let hidden = hidden_secrets(opened);
    Templates::new(ValueInputs {
        vars: reveal(opened.vars.clone(), &secrets, &hidden),
        env: reveal(opened.env.clone(), &secrets, &hidden),
        secrets,
        run_id: run.to_string(),
        run_timestamp: opened.timestamp.clone(),
        run_started_at: opened.started_at.to_string(),
        plan_name: plan.name.clone(),
        plan_dir: plan_dir(Path::new(&opened.plan_path)).display().to_string(),
    })
}
