//! The secrets of a run: which of them the work that remains needs, and their values. These are never kept (rule 12).

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use crate::encoding;
use crate::event::{Event, RunFact};
use crate::plan::{self, Plan, PlannedStep, Secret, SecretSource};
use crate::saga::{Saga, StepPhase};

use super::error::{RunError, SecretError};
use super::{Purpose, Runs, plan_dir};

/// A secret that is shorter could not be masked without masking innocent text.
const SHORTEST: usize = 4;

/// The secrets of a plan by name; `None` where one that is optional is not set.
pub(super) type Secrets = BTreeMap<String, Option<String>>;

impl Runs {
    /// Every secret that can be had. One that is `needed` and cannot is an error; for a new run (`None`) that is every one that is not
    /// optional, and an optional one that is there and does not fit.
    pub(super) fn secrets(&self, plan: &Plan, needed: Option<&BTreeSet<String>>) -> Result<Secrets, RunError> {
        let mut secrets = Secrets::new();
        for (name, secret) in &plan.secrets {
            let (must_be, must_fit) = match needed {
                Some(needed) => (needed.contains(name), needed.contains(name)),
                None => (!secret.optional, true),
            };
            let value = match self.secret(plan, secret) {
                Ok(Some(value)) if value.chars().count() < SHORTEST => Err(SecretError::TooShort { least: SHORTEST }),
                Ok(None) if must_be => Err(SecretError::NotSet),
                other => other,
            };
            match value {
                Ok(value) => secrets.insert(name.clone(), value),
                Err(source) if must_fit => {
                    return Err(RunError::SecretMissing { secret: name.clone(), from: secret.from.clone(), source });
                }
                Err(_) => secrets.insert(name.clone(), None),
            };
        }
        Ok(secrets)
    }

    fn secret(&self, plan: &Plan, secret: &Secret) -> Result<Option<String>, SecretError> {
        match &secret.from {
            SecretSource::Env(name) => Ok((self.env)(name).filter(|value| !value.is_empty())),
            SecretSource::File(file) => match encoding::read(plan_dir(&plan.path).join(file)) {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(source) => Err(SecretError::File { file: file.clone(), source }),
            },
        }
    }

    /// The state of a run once this process has it: a reboot makes work remain that was done, and who undoes a run does not go on with it.
    pub(super) fn once_taken_over(&self, mut saga: Saga, purpose: Purpose) -> Result<Saga, RunError> {
        let mut facts = vec![RunFact::Resumed { pid: self.pid, user: self.user.clone() }];
        let (host, boot) = (self.host.id(), self.host.boot());
        if saga.boot(&host) != Some(&*boot) && !saga.finished() {
            facts.push(RunFact::Rebooted { host, boot });
        }
        if purpose.undoes() {
            facts.push(RunFact::Aborted { by: self.user.clone() });
        }
        facts.into_iter().try_for_each(|fact| saga.apply(&Event::Run(fact)))?;
        Ok(saga)
    }
}

/// The secrets that the work still to be done, or perhaps to be undone, refers to.
pub(super) fn remaining(plan: &Plan, saga: &Saga) -> BTreeSet<String> {
    let forward = |step: &PlannedStep| {
        let actions = std::iter::once((&step.action, step.when.as_deref())).chain(step.probe.iter().map(|probe| (probe, None)));
        actions.flat_map(|(action, when)| plan::secrets_in(action, when)).collect::<Vec<_>>()
    };
    let undo = |step: &PlannedStep| {
        let each = step.compensate.iter().flat_map(|compensation| plan::secrets_in(&compensation.action, compensation.when.as_deref()));
        each.collect::<Vec<_>>()
    };
    let owed: BTreeSet<usize> = saga.owed().collect();
    let mut names: BTreeSet<String> = plan.finally.iter().flat_map(forward).collect();
    for (i, step) in plan.steps.iter().enumerate() {
        let runs = !saga.unwinding()
            && matches!(saga.step(i).phase, StepPhase::Pending | StepPhase::Started | StepPhase::Retrying | StepPhase::Unknown);
        if runs {
            names.extend(forward(step));
        }
        if saga.reversible() && (runs || owed.contains(&i)) {
            names.extend(undo(step));
        }
    }
    names
}
