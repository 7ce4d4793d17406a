//! A target is freed whose run nobody can go on with: its state is gone, or cannot be read (rule 20).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::lock::{Held, LockDirectory, LockError, LockHolder};
use crate::plan::{self, Plan, Scope, Templates, ValueInputs};

use super::error::RunError;
use super::{Runs, plan_dir};

/// A target that nobody can deploy to, and that may be freed. While this is there, nobody else takes its lock.
#[derive(Debug)]
pub struct Blocked {
    /// The file of the record that is in the way.
    pub record: PathBuf,
    /// What the record says, where it reads.
    pub holder: Option<LockHolder>,
    /// Why nobody can go on with its run.
    pub why: Lost,
    held: Held,
    folder: PathBuf,
}

/// Why nobody can go on with the run of a record.
#[derive(Debug)]
pub enum Lost {
    /// The record itself does not read.
    Record(LockError),
    /// There is no state where it was.
    StateGone,
    /// The state may not be looked into.
    NoAccess,
    /// The run cannot be read.
    Run(Box<RunError>),
    /// Nothing is left to do: it is over, or never began.
    Over,
}

impl Runs {
    /// The lock on record that `meant` names: its text, or the plan file of the run that has it. `here`: where relative paths start.
    ///
    /// # Errors
    /// Several runs of that plan are on record, or the machine's records cannot be used.
    pub fn lock_on_record(&self, meant: &str, here: &Path) -> Result<Option<String>, RunError> {
        let locks = self.locks()?;
        let names = [meant.to_owned(), LockDirectory::canonical(meant, here)];
        if let Some(lock) = names.into_iter().find(|lock| locks.record_file(lock).symlink_metadata().is_ok()) {
            return Ok(Some(lock));
        }
        // A record of somebody else that does not read is no reason not to find this one.
        let holders = locks.unsettled().unwrap_or_default();
        let plan = here.join(meant);
        let of_plan: Vec<LockHolder> = holders.into_iter().filter(|holder| holder.plan == plan).collect();
        match of_plan.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.lock.clone())),
            _ => Err(RunError::ManyLocks(of_plan.into_iter().map(|holder| holder.lock).collect())),
        }
    }

    /// What a run of `plan` would lock.
    ///
    /// # Errors
    /// A variable cannot be given its value, or what the plan locks cannot be rendered.
    pub fn lock_of(&self, plan: &Plan, overrides: &[(String, Value)]) -> Result<String, RunError> {
        let vars = plan::resolve_vars(plan, overrides, &*self.env).map_err(RunError::Variables)?;
        let value = |name: String| (self.env)(&name).map(|value| (name, value.into()));
        let templates = Templates::new(ValueInputs {
            vars,
            env: plan::env_references(plan).into_iter().filter_map(value).collect(),
            plan_name: plan.name.clone(),
            plan_dir: plan_dir(&plan.path).display().to_string(),
            ..ValueInputs::default()
        });
        Ok(LockDirectory::canonical(&templates.text(&plan.lock, &Scope::NO_OUTPUTS)?, plan_dir(&plan.path)))
    }

    /// What keeps everybody from `lock`, where nobody can go on with it; `None` where nothing does.
    ///
    /// # Errors
    /// A live process holds the lock, somebody can go on with its run, or the record is another user's; nothing was touched.
    pub fn blocked(&self, lock: &str) -> Result<Option<Blocked>, RunError> {
        let held = self.acquire(lock, Duration::ZERO)?;
        let record = self.locks()?.record_file(lock);
        let (holder, why) = match held.record_of() {
            Ok(None) => return Ok(None),
            Ok(Some(root)) if root.user != self.user => return Err(RunError::Occupied { lock: root.lock, user: root.user, pid: None }),
            // It is on record by another name of the same folder.
            Ok(Some(holder)) if holder.lock != lock => {
                drop(held);
                return self.blocked(&holder.lock);
            }
            Ok(Some(holder)) => {
                let why = self.lost(&holder)?;
                (Some(holder), why)
            }
            Err(error) => (None, Lost::Record(error)),
        };
        Ok(Some(Blocked { record, holder, why, held, folder: self.lock_folder.clone() }))
    }

    /// Why nobody can go on with the run of a record that is ours.
    fn lost(&self, holder: &LockHolder) -> Result<Lost, RunError> {
        match self.next_of_blocking(holder) {
            Ok(None) => Ok(Lost::Over),
            Ok(Some(next)) if next.is_empty() => Ok(Lost::NoAccess),
            Ok(Some(next)) => Err(RunError::Unsettled { holder: Box::new(holder.clone()), next }),
            Err(RunError::StateGone { .. }) => Ok(Lost::StateGone),
            Err(RunError::Unreadable { source, .. }) => Ok(Lost::Run(source)),
            Err(error) => Err(error),
        }
    }
}

impl Blocked {
    /// Takes the record away: whoever comes next may run. Nothing of the lost run is undone by that.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn free(self) -> Result<(), RunError> {
        let Self { held, folder, .. } = self;
        held.clear().map_err(|source| RunError::Lock { folder, source })
    }
}
