//! A new run of a plan: its values, its lock, its record on the machine, its journal.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::context::timestamp;
use crate::event::{Event, Opened, Outcome, RunFact, RunId};
use crate::executor::{Retained, paths_left};
use crate::journal::{JournalError, Record};
use crate::lock::{LockDirectory, LockHolder};
use crate::plan::{self, Plan, Scope};
use crate::saga::{Saga, Shape};
use crate::sqlite::{RunRow, Store};
use crate::trust::Distrust;

use super::active::{ActiveRun, Claim, Parts};
use super::error::RunError;
use super::hidden::hide;
use super::lookup::{self, FoundRun, ON_RECORD_WITHIN};
use super::next::{NextCommand, next_commands};
use super::{Options, Runs, plan_dir};

/// The pause before it is looked again for a run that is about to begin.
const PAUSE: Duration = Duration::from_millis(20);

/// What a run is begun with.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The plan, checked.
    pub plan: Plan,
    /// Values that replace those of its variables; a later one wins.
    pub overrides: Vec<(String, Value)>,
    /// Language of what is written for people to keep, where the plan does not say.
    pub lang: String,
    /// When it is begun.
    pub started_at: Timestamp,
    /// How long to wait for another run that holds the lock.
    pub lock_timeout: Duration,
}

impl NewRun {
    /// A run of `plan` with the plan's own values.
    pub fn of(plan: Plan, started_at: Timestamp) -> Self {
        Self { plan, overrides: Vec::new(), lang: "en".to_owned(), started_at, lock_timeout: Duration::ZERO }
    }
}

/// What became of a run that may be begun only once.
#[allow(clippy::large_enum_variant)] // It is made once a process, and taken apart at once.
pub enum BegunOnce {
    /// It is begun.
    Begun(ActiveRun),
    /// There is one with this id already: nothing was begun.
    Exists(FoundRun),
}

impl Runs {
    /// Begins a run under an id of its own.
    ///
    /// # Errors
    /// Nothing was touched: a value is missing, or another run is in the way.
    pub fn begin(&self, new: NewRun, options: Options) -> Result<ActiveRun, RunError> {
        let timestamp = timestamp(new.started_at, &self.zone);
        let run = RunId::new(format!("{}-{}", timestamp.replace('_', "-"), random_tail()));
        let parts = self.parts(new.plan, &new.overrides, new.lang, new.started_at, run)?;
        let begun = self.begin_parts(&parts, new.lock_timeout, None)?;
        ActiveRun::new(self, parts, begun, options)
    }

    /// Begins a run under the id that the caller chose ([`chosen_id`]), unless there is one already: of any number of callers, at the
    /// same time or one after the other, exactly one begins it.
    ///
    /// # Errors
    /// Nothing was touched: a value is missing, another run is in the way, or the run with this id is one of another plan.
    pub fn begin_once(&self, run: &RunId, new: NewRun, options: Options) -> Result<BegunOnce, RunError> {
        let (began, patient) = (Instant::now(), new.lock_timeout.saturating_add(ON_RECORD_WITHIN));
        // Before its values are looked at: what a run needs, only who begins it must have.
        if let Some(found) = self.existing(run, &new.plan)? {
            return Ok(BegunOnce::Exists(found));
        }
        let parts = self.parts(new.plan, &new.overrides, new.lang, new.started_at, run.clone())?;
        loop {
            match self.begin_parts(&parts, new.lock_timeout, Some(run)) {
                Ok(begun) => return ActiveRun::new(self, parts, begun, options).map(BegunOnce::Begun),
                // Its record comes before it does: in a moment it is there, or the process that was about to begin it is not.
                Err(RunError::Held { holder: Some(holder), .. }) if holder.run == *run && began.elapsed() < patient => {
                    std::thread::sleep(PAUSE)
                }
                Err(RunError::Journal { source: JournalError::RunExists(_), .. }) if began.elapsed() < patient => {}
                Err(error) => return Err(error),
            }
            if let Some(found) = self.existing(run, &parts.plan)? {
                return Ok(BegunOnce::Exists(found));
            }
        }
    }

    /// The run called `run`, where it ever began. Ids that differ in nothing but their case would share a folder on some systems, so they
    /// mean the same run.
    fn existing(&self, run: &RunId, plan: &Plan) -> Result<Option<FoundRun>, RunError> {
        let same = |other: &RunId| other.as_str().eq_ignore_ascii_case(run.as_str());
        let here = self.history()?.unwrap_or_default().into_iter().find(|found| same(&found.row.run));
        let found = match here {
            None if !self.only_here => self.find_on_record(same)?,
            here => here,
        };
        match found {
            Some(found) if found.row.plan_name != plan.name => Err(RunError::OtherPlan { run: found.row.run, plan: found.row.plan_name }),
            found => Ok(found),
        }
    }

    pub(super) fn parts(
        &self,
        plan: Plan,
        overrides: &[(String, Value)],
        lang: String,
        started_at: Timestamp,
        run: RunId,
    ) -> Result<Parts, RunError> {
        let vars = plan::resolve_vars(&plan, overrides, &*self.env).map_err(RunError::Variables)?;
        let secrets = self.secrets(&plan, None)?;
        let present = |name: &String| secrets.get(name).is_some_and(Option::is_some);
        let value = |name: String| (self.env)(&name).map(|value| (name, value.into()));
        let opened = Opened {
            plan_text: plan.text.clone(),
            plan_path: plan.path.display().to_string(),
            vars: hide(vars, &secrets),
            env: hide(plan::env_references(&plan).into_iter().filter_map(value).collect(), &secrets),
            secrets: plan.secrets.keys().filter(|name| present(name)).cloned().collect(),
            timestamp: timestamp(started_at, &self.zone),
            started_at,
            lang: plan.lang.clone().unwrap_or(lang),
            host: self.host.id(),
            boot: self.host.boot(),
            user: self.user.clone(),
            pid: self.pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(Parts { plan, opened, secrets, run })
    }

    /// Takes the lock, puts the run on record, and opens its journal, in this order (rule 13). `chosen`: that id must not be there yet.
    fn begin_parts(&self, parts: &Parts, lock_timeout: Duration, chosen: Option<&RunId>) -> Result<Claim, RunError> {
        let lock = LockDirectory::canonical(&parts.templates().text(&parts.plan.lock, &Scope::NO_OUTPUTS)?, plan_dir(&parts.plan.path));
        let held = self.acquire(&lock, lock_timeout)?;
        if let Some(run) = chosen
            && let Some(found) = self.existing(run, &parts.plan)?
        {
            // It was begun, and perhaps ended, since it was looked for.
            return Err(lookup::journal(&found.store, JournalError::RunExists(run.clone())));
        }
        if let Some(holder) = held.record_of().map_err(|error| self.lock_error(error))?
            && let Some(next) = self.next_of_blocking(&holder)?
        {
            return Err(self.in_the_way(holder, next));
        }
        let create = |source| RunError::Journal { folder: self.state_dir.clone(), source };
        let store = Store::create(&self.state_dir).map_err(create)?;
        // Whatever may refuse comes before the record: a run that is refused must not be one that is left unsettled.
        let retained = retained_paths(&store, &lookup::rows(&store)?, &parts.run)?;
        let holder = self.holder(parts, &store, lock);
        held.record(&holder).map_err(|error| self.lock_error(error))?;
        let opened = Event::Run(RunFact::Opened(Box::new(parts.opened.clone())));
        let journal = store
            .begin(&parts.run, &parts.plan.name, &holder.lock, opened.clone())
            .inspect_err(|_| drop(held.clear()))
            .map_err(|error| lookup::journal(&store, error))?;
        let records = vec![Record { seq: 1, at: parts.opened.started_at, event: opened }];
        let mut saga = Saga::new(Shape::of(&parts.plan, &self.registry));
        saga.apply(&records[0].event)?;
        tracing::info!(run = %parts.run, plan = %parts.plan.name, state = %store.dir().display(), "begun");
        Ok(Claim { held, holder, store, journal, saga, records, retained })
    }

    /// What the machine is to know of a run that this process has.
    pub(super) fn holder(&self, parts: &Parts, store: &Store, lock: String) -> LockHolder {
        LockHolder {
            lock,
            run: parts.run.clone(),
            state_dir: store.dir().to_owned(),
            plan: PathBuf::from(&parts.opened.plan_path),
            plan_name: parts.plan.name.clone(),
            user: self.user.clone(),
            pid: self.pid,
            since: parts.opened.started_at,
            next: NextCommand::resume(&parts.run).to_string(),
        }
    }

    /// A run that is in the way: of ours, or of another user, whose state and next command are not ours to use.
    pub(super) fn in_the_way(&self, holder: LockHolder, next: Vec<NextCommand>) -> RunError {
        if holder.user == self.user {
            RunError::Unsettled { holder: Box::new(holder), next }
        } else {
            RunError::Occupied { lock: holder.lock, user: holder.user, pid: None }
        }
    }

    /// What leads on from the run of a record, where it is in the way: it began (its record is made first), and is not settled. Nothing
    /// where its state may not be looked into.
    pub(super) fn next_of_blocking(&self, holder: &LockHolder) -> Result<Option<Vec<NextCommand>>, RunError> {
        let unreadable = |source| RunError::Unreadable { holder: Box::new(holder.clone()), source: Box::new(source) };
        let store = match Store::open(&holder.state_dir) {
            Ok(store) => store,
            // The state may be on a drive that is not there now: it counts as unsettled until somebody says otherwise.
            Err(JournalError::NotFound(_)) => return Err(self.state_gone(holder)),
            // Another user's, who alone can look into it. Who settles a run takes its record away.
            Err(JournalError::Io { source, .. } | JournalError::Distrusted(Distrust::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                return Ok(Some(Vec::new()));
            }
            Err(source) => return Err(unreadable(RunError::Journal { folder: holder.state_dir.clone(), source })),
        };
        let Some(found) = lookup::in_store(&store, &holder.run).map_err(unreadable)?.filter(FoundRun::is_open) else { return Ok(None) };
        // Killed between its last event and the note that it finished: nothing more happens to it, and it is no obstacle.
        let replay = found.replay(&self.registry).map_err(unreadable)?;
        if replay.is_over() {
            store.finish(&holder.run).map_err(|error| lookup::journal(&store, error))?;
            return Ok(None);
        }
        Ok(Some(next_commands(&holder.run, replay.ending(), &replay.saga)))
    }
}

/// What `prune` must leave beside what the run itself needs: what a rollback of the newest success on each lock would need, and what
/// unsettled runs do. Not only those of the same lock: runs on several targets may keep their backups in one folder.
pub(super) fn retained_paths(store: &Store, rows: &[RunRow], run: &RunId) -> Result<Retained, RunError> {
    let mut succeeded = std::collections::BTreeSet::new();
    let mut retained = Retained::default();
    for row in rows.iter().filter(|row| row.run != *run) {
        let newest = matches!(row.outcome, Some(Outcome::Succeeded | Outcome::Warned)) && succeeded.insert(&row.lock);
        if newest || lookup::is_open(row) {
            let records = store.read(&row.run).map_err(|error| lookup::journal(store, error))?;
            let paths = paths_left(&records);
            if records.first().is_some_and(has_something_to_undo) {
                retained.to_undo.extend_from_slice(&paths);
            }
            retained.needed.extend(paths);
        }
    }
    Ok(retained)
}

/// Whether the plan of a run, whose first record this is, has any compensation. A plan that cannot be read may have one.
fn has_something_to_undo(first: &Record) -> bool {
    let Event::Run(RunFact::Opened(opened)) = &first.event else { return true };
    let Ok(plan) = opened.plan_text.parse::<toml::Table>() else { return true };
    let steps = plan.get("steps").and_then(toml::Value::as_table);
    let compensations = steps.into_iter().flat_map(toml::Table::values).filter_map(|step| step.get("compensate"));
    compensations.into_iter().any(|compensate| compensate.as_str() != Some("none"))
}

/// Why a text cannot be the id of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunIdError {
    /// It would be no name of a folder, or one that reads like something else.
    #[error("an id has letters, digits, `-` and `_`, and begins with a letter or a digit")]
    Characters,
    /// It is longer than any folder's name should be.
    #[error("an id has at most {} characters", LONGEST_ID)]
    TooLong,
    /// It means something else already.
    #[error("this name means something else already")]
    Reserved,
}

/// Characters of the longest id.
const LONGEST_ID: usize = 64;

/// The id that a caller chose for a run: it becomes the name of a folder, on each system.
///
/// # Errors
/// The text cannot be one.
pub fn chosen_id(text: &str) -> Result<RunId, RunIdError> {
    // Names of devices of Windows, which are no names of folders there.
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let lower = text.to_ascii_lowercase();
    let port = |name: &str| lower.strip_prefix(name).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit());
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Err(RunIdError::Characters);
    }
    if text.len() > LONGEST_ID {
        return Err(RunIdError::TooLong);
    }
    if lower == lookup::LAST || DEVICES.contains(&&*lower) || port("com") || port("lpt") {
        return Err(RunIdError::Reserved);
    }
    Ok(RunId::new(text))
}

/// Four characters that tell runs of one second apart.
fn random_tail() -> String {
    use std::hash::{BuildHasher, Hasher};
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random = std::hash::RandomState::new().build_hasher().finish();
    (0..4).map(|n| char::from(LETTERS[(random >> (n * 5) & 31) as usize])).collect()
}
