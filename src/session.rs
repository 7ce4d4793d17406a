//! One run in this process: its plan and values, its lock, its journal, its view; begun by `apply`, taken over by the others.
//!
//! ```text
//!  plan + values ──> lock ──> record ──> journal ──> executor ──> record cleared or renewed ──> recap
//! ```
//!
//! The machine's record is durable before the run is: a crash in between leaves a record of a run that never began, which
//! [`Session::begin`] recognises.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use almaplan_engine::event::{Answer, Event, Opened, Outcome, RunFact, RunId, StepId};
use almaplan_engine::executor::{Executor, Finished, Job, Mask, paths_left};
use almaplan_engine::graph::Graph;
use almaplan_engine::journal::{JournalError, Record};
use almaplan_engine::lock::{Claims, Held, Holder};
use almaplan_engine::plan::{self, Plan, PlannedStep, Scope, Secret, SecretSource, Templates, ValueInputs};
use almaplan_engine::saga::{Phase, Saga};
use almaplan_engine::sqlite::{RunJournal, RunRow, Store};
use almaplan_engine::step::{Host as _, Registry, RunInfo, Step as _, timestamp};
use almaplan_engine::update::{Ending, State};
use almaplan_steps::approval::Approval;
use almaplan_steps::machine::Machine;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::ApplyArgs;
use crate::commands::Globals;
use crate::diagnose::{Asked, Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::signals;
use crate::view::Output;
use crate::view::recap::{Recap, RecapStep};

/// How long work that was asked to stop may take.
const GRACE: Duration = Duration::from_secs(30);

/// A secret that is shorter could not be masked without masking innocent text.
const SHORTEST_SECRET: usize = 4;

/// What a run that an earlier process left is taken over for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To go on with it.
    GoOn,
    /// To undo it.
    Undo,
    /// To note what a person says, without doing anything.
    Answer,
}

type Secrets = BTreeMap<String, Option<String>>;

/// A run that this process has.
pub struct Session {
    executor: Executor<RunJournal>,
    output: Arc<Output>,
    held: Held,
    holder: Holder,
    store: Store,
    asked: Asked,
}

/// What a run is made from.
struct Parts {
    plan: Plan,
    opened: Opened,
    secrets: Secrets,
    run: RunId,
}

impl Session {
    /// A new run of a plan.
    ///
    /// # Errors
    /// Nothing was touched: the plan is invalid, a value is missing, or another run is in the way.
    pub fn begin(globals: &Globals, args: &ApplyArgs) -> Result<Self, Refusal> {
        let registry = Arc::new(almaplan_steps::registry());
        let path = machine::absolute(&args.plan);
        let plan = plan_at(globals, &path, &registry)?;
        let parts = new_run(globals, plan, &path, args)?;
        let lock = {
            let templates = templates(&parts);
            let text = templates.text(&parts.plan.lock, &Scope::NO_OUTPUTS);
            Claims::canonical(&text.map_err(|error| bad_variable(globals, &error))?, plan_dir(&path))
        };
        let held = machine::acquire(globals, &lock, args.lock_timeout)?;
        if let Some(holder) = held.record_of().map_err(|error| machine::lock_refused(globals, &error))?
            && in_the_way(globals, &holder)?
        {
            return Err(machine::unsettled(globals, &holder));
        }
        let dir = machine::state_dir_for_apply(globals);
        let store = Store::create(&dir).map_err(|error| machine::journal_refused(globals, &dir, &error))?;
        // Whatever may refuse comes before the record: a run that is refused must not be one that is left unsettled.
        let keep = still_needed(globals, &store, &parts)?;
        let holder = holder(&parts, &store, lock);
        held.record(&holder).map_err(|error| machine::lock_refused(globals, &error))?;
        let opened = Event::Run(RunFact::Opened(Box::new(parts.opened.clone())));
        let mut journal = store
            .begin(&parts.run, &parts.plan.name, &holder.lock, opened.clone())
            .inspect_err(|_| drop(held.clear()))
            .map_err(|error| machine::journal_refused(globals, store.dir(), &error))?;
        crash_where_a_test_wants_it(&mut journal);
        let records = [Record { seq: 1, at: parts.opened.started_at, event: opened }];
        Self::assemble(globals, Asked::Forward, registry, parts, keep, held, holder, store, journal, &records)
    }

    /// A run that an earlier process left, if `may` agrees once nobody else can change it any more: what was looked at before may
    /// have gone on meanwhile.
    ///
    /// # Errors
    /// Nothing was touched: a live process has it, `may` refuses, its journal is damaged, or a secret is missing.
    pub fn take_over(
        globals: &Globals,
        found: Found,
        purpose: Purpose,
        may: impl FnOnce(&Globals, &Found) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        let held = machine::acquire(globals, &found.row.lock, Duration::ZERO)?;
        let found = machine::again(globals, found)?;
        may(globals, &found)?;
        let Found { store, row } = found;
        if let Some(other) = held.record_of().map_err(|error| machine::lock_refused(globals, &error))?
            && other.run != row.run
            && in_the_way(globals, &other)?
        {
            return Err(machine::unsettled(globals, &other));
        }
        let refused = |error: &JournalError| machine::journal_refused(globals, store.dir(), error);
        let (mut journal, records) = store.resume(&row.run).map_err(|error| refused(&error))?;
        let registry = Arc::new(almaplan_steps::registry());
        let parts = old_run(globals, purpose, &records, &row, &registry)?;
        let keep = still_needed(globals, &store, &parts)?;
        let holder = holder(&parts, &store, row.lock.clone());
        held.record(&holder).map_err(|error| machine::lock_refused(globals, &error))?;
        crash_where_a_test_wants_it(&mut journal);
        let asked = if purpose == Purpose::Undo { Asked::Undo } else { Asked::Forward };
        Self::assemble(globals, asked, registry, parts, keep, held, holder, store, journal, &records)
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where everything that a run needs comes together")]
    fn assemble(
        globals: &Globals,
        asked: Asked,
        registry: Arc<Registry>,
        parts: Parts,
        keep: Vec<PathBuf>,
        held: Held,
        holder: Holder,
        store: Store,
        journal: RunJournal,
        records: &[Record],
    ) -> Result<Self, Refusal> {
        let output = globals.output(asked);
        let folder = store.run_folder(&parts.run);
        output.keep_logs(folder.clone());
        let templates = templates(&parts);
        let graph = Graph::of(&parts.plan);
        let info = RunInfo {
            id: parts.run.clone(),
            plan: parts.plan.name.clone(),
            plan_dir: plan_dir(Path::new(&parts.opened.plan_path)).to_owned(),
            folder,
            started_at: parts.opened.started_at,
            timestamp: parts.opened.timestamp.clone(),
            lang: parts.opened.lang.clone(),
        };
        let job = Job {
            keep,
            mask: Mask::new(parts.secrets.values().flatten().map(String::as_str)),
            plan: Arc::new(parts.plan),
            graph,
            registry,
            host: Arc::new(host()),
            templates,
            info: Arc::new(info),
            updates: output.updates(),
            grace: GRACE,
        };
        let executor = Executor::new(job, journal, records).map_err(|error| internal(globals, &error))?;
        Ok(Self { executor, output, held, holder, store, asked })
    }

    /// This process takes over what an earlier one left.
    ///
    /// # Errors
    /// A bug.
    pub fn resumed(&mut self, globals: &Globals) -> Result<(), Refusal> {
        self.executor.take_over(std::process::id(), &machine::user()).map_err(|error| internal(globals, &error))
    }

    /// The operator wants everything undone. A run that is being undone already, or was, is only gone on with: it would be settled twice.
    ///
    /// # Errors
    /// Something irreversible started.
    pub fn undo(&mut self, globals: &Globals) -> Result<(), Refusal> {
        if self.executor.saga().unwinding() {
            return Ok(());
        }
        self.executor.abort(&machine::user()).map_err(|error| internal(globals, &error))
    }

    /// A person says what became of an unknown step.
    ///
    /// # Errors
    /// It is not unknown.
    pub fn answer(&mut self, globals: &Globals, step: &StepId, answer: Answer) -> Result<(), Refusal> {
        let args = [("run", self.holder.run.as_str().into()), ("step", step.as_str().into())];
        self.executor.resolve(step, answer).map_err(|_| globals.refusal(Reason::NotAsked, &args))
    }

    /// Makes durable what the executor was told, without going on.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn save(self, globals: &Globals) -> Result<Saga, Refusal> {
        let dir = self.store.dir().to_owned();
        self.executor.save().map_err(|error| machine::journal_refused(globals, &dir, &error))
    }

    /// Goes on with the run until it is settled, or rests, or must be left.
    ///
    /// # Errors
    /// The machine gives no threads or no signals: nothing was done.
    pub fn go_on(self, globals: &Globals) -> Result<Exit, Refusal> {
        let Self { executor, output, held, mut holder, store, asked } = self;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| internal(globals, &error))?;
        let finished = runtime.block_on(async {
            let orders = signals::orders()?;
            let beat = tokio::spawn(Arc::clone(&output).beat());
            // On a thread of the runtime, so that what it begins goes on where it waits, and no other thread has to wake up for it.
            let finished = tokio::spawn(executor.run(orders)).await;
            beat.abort();
            // Nothing beats any more once it has ended.
            let _ = beat.await;
            Ok::<_, std::io::Error>(finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
        });
        // Work that would not stop is left to the end of the process.
        runtime.shutdown_background();
        let mut finished = finished.map_err(|error| internal(globals, &error))?;
        let next = next_commands(&holder.run, finished.ending, &finished.saga);
        if let Some(error) = &finished.journal_error {
            globals.warn(&machine::journal_refused(globals, store.dir(), error));
        }
        let over = match finished.ending {
            Ending::Settled(_) => finished.journal.finish().map_err(|error| machine::journal_refused(globals, store.dir(), &error)),
            Ending::Paused | Ending::Interrupted => Ok(()),
        };
        let noted = over.and_then(|()| {
            let kept = match finished.ending {
                Ending::Settled(outcome) if outcome != Outcome::Stuck => held.clear(),
                _ => {
                    holder.next = next.first().cloned().unwrap_or_default();
                    held.record(&holder)
                }
            };
            kept.map_err(|error| machine::lock_refused(globals, &error))
        });
        if let Err(refusal) = noted {
            // The run itself is as it is; only the note about it is out of date, and `resume` brings it up to date.
            globals.warn(&refusal);
        }
        output.finish(&recap(&holder, &finished, next));
        Ok(Exit::of(finished.ending, asked))
    }
}

/// The machine, as the engine asks for it.
pub fn host() -> Machine {
    #[cfg(debug_assertions)]
    if let Ok(boot) = std::env::var("ALMAPLAN_BOOT_ID") {
        return Machine::new(Some(boot));
    }
    Machine::new(None)
}

/// The plan in a file, checked.
///
/// # Errors
/// It cannot be read, or has mistakes, which are shown.
pub fn plan_at(globals: &Globals, path: &Path, registry: &Registry) -> Result<Plan, Refusal> {
    let text = fs::read_to_string(path).map_err(|error| {
        let args = [("file", path.display().to_string().into()), ("error", error.to_string().into())];
        globals.refusal(Reason::PlanUnreadable, &args)
    })?;
    let loaded = plan::load(&text, path, registry);
    globals.show_mistakes(path, &text, &loaded.mistakes);
    loaded.plan.ok_or_else(|| globals.refusal(Reason::PlanInvalid, &[("file", path.display().to_string().into())]))
}

/// The saga that a run's records tell of, and what it was opened with.
///
/// # Errors
/// This program cannot read the plan that the run travels with, or the records do not fit it.
pub fn replay(globals: &Globals, records: &[Record], registry: &Registry) -> Result<(Plan, Opened, Saga), Refusal> {
    let opened = opened(globals, records)?;
    let plan = travelling_plan(globals, &opened, registry)?;
    let mut saga = Saga::new(almaplan_engine::saga::Shape::of(&plan, &Graph::of(&plan), registry));
    for record in records {
        saga.apply(&record.event).map_err(|error| internal(globals, &error))?;
    }
    Ok((plan, opened, saga))
}

/// The plan that a run travels with, and its state, as its journal tells them.
///
/// # Errors
/// See [`replay`]; or the journal is damaged.
pub fn plan_and_saga(globals: &Globals, found: &Found) -> Result<(Plan, Saga), Refusal> {
    let records = found.store.read(&found.row.run).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
    replay(globals, &records, &almaplan_steps::registry()).map(|(plan, _, saga)| (plan, saga))
}

/// The state of a run, as its journal tells it.
///
/// # Errors
/// See [`plan_and_saga`].
pub fn saga_of(globals: &Globals, found: &Found) -> Result<Saga, Refusal> {
    plan_and_saga(globals, found).map(|(_, saga)| saga)
}

/// Whether a step is an approval: what answers it, it must hear itself.
pub fn is_approval(plan: &Plan, i: usize) -> bool {
    plan.steps.get(i).is_some_and(|step| step.action.uses == Approval::KIND)
}

/// The exact commands that answer what is asked about `steps`.
pub fn answers(run: &RunId, saga: &Saga, steps: impl IntoIterator<Item = usize>) -> Vec<String> {
    let id = |i: usize| &saga.shape().steps[i].id;
    let each = |i: usize| ["done", "not-done"].map(|answer| format!("almaplan resolve {run} {} {answer}", id(i)));
    steps.into_iter().flat_map(each).collect()
}

/// The exact commands that go on with a run, the best one first.
pub fn next_commands(run: &RunId, ending: Ending, saga: &Saga) -> Vec<String> {
    let resume = format!("almaplan resume {run}");
    match ending {
        Ending::Settled(Outcome::Stuck) => vec![resume],
        Ending::Settled(_) => Vec::new(),
        Ending::Interrupted if saga.unwinding() => vec![resume],
        Ending::Interrupted => vec![resume, format!("almaplan abort {run}")],
        Ending::Paused => {
            let unknown = saga.forward().filter(|&i| saga.step(i).phase == Phase::Unknown);
            answers(run, saga, unknown).into_iter().chain([resume, format!("almaplan abort {run}")]).collect()
        }
    }
}

/// Where a step is, as views show it.
pub fn shown_state(phase: Phase) -> Option<State> {
    match phase {
        Phase::Pending => None,
        Phase::Started => Some(State::Started),
        Phase::Retrying => Some(State::Retrying),
        Phase::Succeeded => Some(State::Succeeded),
        Phase::Failed => Some(State::Failed),
        Phase::Unknown => Some(State::Unknown),
        Phase::Skipped => Some(State::Skipped),
        Phase::NotRun => Some(State::NotRun),
        Phase::UndoDue(_) | Phase::Undoing(_) => Some(State::UndoStarted),
        Phase::Undone => Some(State::Undone),
        Phase::UndoFailed(_) => Some(State::UndoFailed),
    }
}

/// The steps that are owed, as far as that matters to a person: only while or after unwinding.
pub fn owed(saga: &Saga) -> Vec<StepId> {
    if saga.unwinding() { saga.owed().map(|i| saga.shape().steps[i].id.clone()).collect() } else { Vec::new() }
}

fn recap(holder: &Holder, finished: &Finished<RunJournal>, next: Vec<String>) -> Recap {
    let saga = &finished.saga;
    let id = |i: usize| saga.shape().steps[i].id.clone();
    let steps = (0..saga.shape().steps.len()).map(|i| {
        let (shape, state) = (&saga.shape().steps[i], saga.step(i));
        RecapStep {
            id: id(i),
            state: shown_state(state.phase),
            failure: state.failure.clone(),
            undo_failure: state.undo_failure.clone().filter(|_| state.phase != Phase::Undone),
            // Also once it is undone: what a person asked to undo later was no failure before.
            tolerated: shape.finally || shape.continue_on_failure || saga.passed(),
            written_off: state.written_off.last().cloned(),
        }
    });
    Recap {
        ending: finished.ending,
        run: holder.run.clone(),
        plan: holder.plan_name.clone(),
        steps: steps.collect(),
        downtime: saga.downtime(),
        down: saga.down(),
        owed: owed(saga),
        questions: saga.questions().map(id).collect(),
        seconds: finished.seconds,
        next,
    }
}

// ---- what a run is made from --------------------------------------------------------------------------------------------

fn new_run(globals: &Globals, plan: Plan, path: &Path, args: &ApplyArgs) -> Result<Parts, Refusal> {
    let env = |name: &str| std::env::var(name).ok();
    let vars = plan::resolve_vars(&plan, &overrides(globals, args)?, &env).map_err(|errors| {
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        globals.refusal(Reason::BadVariable, &[("error", text.join("\n").into())])
    })?;
    let secrets = read_secrets(globals, &plan, None)?;
    let started_at = Timestamp::now();
    let timestamp = timestamp(started_at);
    let run = RunId::new(format!("{}-{}", timestamp.replace('_', "-"), random_tail()));
    let present = |name: &String| secrets.get(name).is_some_and(Option::is_some);
    let opened = Opened {
        plan_text: plan.text.clone(),
        plan_path: path.display().to_string(),
        vars,
        env: plan::env_references(&plan).into_iter().filter_map(|name| env(&name).map(|value| (name, value.into()))).collect(),
        secrets: plan.secrets.keys().filter(|name| present(name)).cloned().collect(),
        timestamp,
        started_at,
        lang: plan.lang.clone().unwrap_or_else(|| globals.lang.tongue().tag().to_owned()),
        boot: host().boot(),
        user: machine::user(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Parts { plan, opened, secrets, run })
}

fn old_run(globals: &Globals, purpose: Purpose, records: &[Record], row: &RunRow, registry: &Registry) -> Result<Parts, Refusal> {
    let (plan, opened, saga) = replay(globals, records, registry)?;
    if fs::read_to_string(&opened.plan_path).is_ok_and(|text| text != opened.plan_text) {
        globals.tell("plan-edited", &[("file", opened.plan_path.as_str().into())]);
    }
    let mut needed = match purpose {
        Purpose::Answer => BTreeSet::new(),
        Purpose::GoOn | Purpose::Undo => remaining_secrets(&plan, &taken_over(globals, saga, purpose)?),
    };
    // What the run was started without it goes on without.
    needed.retain(|name| opened.secrets.contains(name));
    let secrets = read_secrets(globals, &plan, Some(&needed))?;
    Ok(Parts { plan, opened, secrets, run: row.run.clone() })
}

/// The state of the run once this process has it: a reboot makes work remain that was done, and who undoes a run does not go on with it.
fn taken_over(globals: &Globals, mut saga: Saga, purpose: Purpose) -> Result<Saga, Refusal> {
    let mut facts = vec![RunFact::Resumed { pid: std::process::id(), user: machine::user() }];
    let boot = host().boot();
    if boot != saga.boot() && !saga.finished() {
        facts.push(RunFact::Rebooted { boot });
    }
    if purpose == Purpose::Undo {
        facts.push(RunFact::Aborted { by: machine::user() });
    }
    facts.into_iter().try_for_each(|fact| saga.apply(&Event::Run(fact))).map_err(|error| internal(globals, &error))?;
    Ok(saga)
}

/// The secrets that the work still to be done, or perhaps to be undone, refers to.
fn remaining_secrets(plan: &Plan, saga: &Saga) -> BTreeSet<String> {
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
        let runs = !saga.unwinding() && matches!(saga.step(i).phase, Phase::Pending | Phase::Started | Phase::Retrying | Phase::Unknown);
        if runs {
            names.extend(forward(step));
        }
        if saga.reversible() && (runs || owed.contains(&i)) {
            names.extend(undo(step));
        }
    }
    names
}

/// Every secret that can be had. One that is `needed` and cannot is a refusal; for a new run (`None`) that is every one that is not
/// optional, and an optional one that is there and does not fit.
fn read_secrets(globals: &Globals, plan: &Plan, needed: Option<&BTreeSet<String>>) -> Result<Secrets, Refusal> {
    let mut secrets = Secrets::new();
    for (name, secret) in &plan.secrets {
        let (must_be, must_fit) = match needed {
            Some(needed) => (needed.contains(name), needed.contains(name)),
            None => (!secret.optional, true),
        };
        let value = match read_secret(plan, secret) {
            Ok(Some(value)) if value.chars().count() < SHORTEST_SECRET => Err(format!("shorter than {SHORTEST_SECRET} characters")),
            Ok(None) if must_be => Err("not set".to_owned()),
            other => other,
        };
        match value {
            Ok(value) => drop(secrets.insert(name.clone(), value)),
            Err(error) if must_fit => {
                return Err(globals.refusal(Reason::SecretMissing, &[("secret", name.as_str().into()), ("error", error.into())]));
            }
            Err(_) => drop(secrets.insert(name.clone(), None)),
        }
    }
    Ok(secrets)
}

fn read_secret(plan: &Plan, secret: &Secret) -> Result<Option<String>, String> {
    match &secret.from {
        SecretSource::Env(name) => Ok(std::env::var(name).ok().filter(|value| !value.is_empty())),
        SecretSource::File(file) => match fs::read_to_string(plan_dir(&plan.path).join(file)) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", file.display())),
        },
    }
}

fn overrides(globals: &Globals, args: &ApplyArgs) -> Result<Vec<(String, Value)>, Refusal> {
    let mut overrides = Vec::new();
    for file in &args.vars.vars {
        let bad = |error: String| globals.refusal(Reason::BadVariable, &[("error", format!("{}: {error}", file.display()).into())]);
        let text = fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let values = serde_json::to_value(table).map_err(|error| bad(error.to_string()))?;
        overrides.extend(values.as_object().cloned().unwrap_or_default());
    }
    overrides.extend(args.vars.var.iter().map(|var| (var.name.clone(), Value::from(var.value.clone()))));
    Ok(overrides)
}

fn templates(parts: &Parts) -> Templates {
    let opened = &parts.opened;
    Templates::new(ValueInputs {
        vars: opened.vars.clone(),
        secrets: parts.secrets.clone(),
        env: opened.env.clone(),
        run_id: parts.run.to_string(),
        run_timestamp: opened.timestamp.clone(),
        run_started_at: opened.started_at.to_string(),
        plan_name: parts.plan.name.clone(),
        plan_dir: plan_dir(Path::new(&opened.plan_path)).display().to_string(),
    })
}

fn opened(globals: &Globals, records: &[Record]) -> Result<Opened, Refusal> {
    match records.first().map(|record| &record.event) {
        Some(Event::Run(RunFact::Opened(opened))) => Ok((**opened).clone()),
        _ => Err(globals.refusal(Reason::Internal, &[("error", "the run has no first event".into())])),
    }
}

fn travelling_plan(globals: &Globals, opened: &Opened, registry: &Registry) -> Result<Plan, Refusal> {
    let path = Path::new(&opened.plan_path);
    let loaded = plan::load(&opened.plan_text, path, registry);
    loaded.plan.ok_or_else(|| {
        globals.show_mistakes(path, &opened.plan_text, &loaded.mistakes);
        globals.refusal(Reason::PlanInvalid, &[("file", opened.plan_path.as_str().into())])
    })
}

fn holder(parts: &Parts, store: &Store, lock: String) -> Holder {
    Holder {
        lock,
        run: parts.run.clone(),
        state_dir: store.dir().to_owned(),
        plan: PathBuf::from(&parts.opened.plan_path),
        plan_name: parts.plan.name.clone(),
        user: machine::user(),
        pid: std::process::id(),
        since: parts.opened.started_at,
        next: format!("almaplan resume {}", parts.run),
    }
}

/// Whether the run of a record is in the way: it began (its record is made first), and is not settled.
fn in_the_way(globals: &Globals, holder: &Holder) -> Result<bool, Refusal> {
    let store = match Store::open(&holder.state_dir) {
        Ok(store) => store,
        // The state may be on a drive that is not there now: it counts as unsettled until somebody says otherwise.
        Err(JournalError::NotFound(_)) => return Err(machine::state_gone(globals, holder)),
        // Another user's, who alone can look into it. Who settles a run takes its record away.
        Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => return Ok(true),
        Err(error) => return Err(machine::journal_refused(globals, &holder.state_dir, &error)),
    };
    let Some(row) = machine::rows(globals, &store)?.into_iter().find(|row| row.run == holder.run && machine::is_open(row)) else {
        return Ok(false);
    };
    // Killed between its last event and the note that it finished: nothing more happens to it, and it is no obstacle.
    let found = Found { store, row };
    let saga = saga_of(globals, &found)?;
    let over = saga.finished() && saga.outcome() != Some(Outcome::Stuck);
    if over {
        found.store.finish(&found.row.run).map_err(|error| machine::journal_refused(globals, &holder.state_dir, &error))?;
    }
    Ok(!over)
}

/// What `prune` must leave beside what the run itself needs: what a rollback of the newest success on each lock would need, and what
/// unsettled runs do. Not only those of the same lock: runs on several targets may keep their backups in one folder.
fn still_needed(globals: &Globals, store: &Store, parts: &Parts) -> Result<Vec<PathBuf>, Refusal> {
    let mut succeeded = BTreeSet::new();
    let mut needed = Vec::new();
    for row in machine::rows(globals, store)?.into_iter().filter(|row| row.run != parts.run) {
        let newest = matches!(row.outcome, Some(Outcome::Succeeded | Outcome::Warned)) && succeeded.insert(row.lock.clone());
        if newest || machine::is_open(&row) {
            let records = store.read(&row.run).map_err(|error| machine::journal_refused(globals, store.dir(), &error))?;
            needed.extend(paths_left(&records));
        }
    }
    Ok(needed)
}

fn plan_dir(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn bad_variable(globals: &Globals, error: &dyn std::error::Error) -> Refusal {
    globals.refusal(Reason::BadVariable, &[("error", machine::chain(error).into())])
}

fn internal(globals: &Globals, error: &dyn std::error::Error) -> Refusal {
    globals.refusal(Reason::Internal, &[("error", machine::chain(error).into())])
}

/// Four characters that tell runs of one second apart.
fn random_tail() -> String {
    use std::hash::{BuildHasher, Hasher};
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random = std::hash::RandomState::new().build_hasher().finish();
    (0..4).map(|n| char::from(LETTERS[(random >> (n * 5) & 31) as usize])).collect()
}

#[cfg(debug_assertions)]
fn crash_where_a_test_wants_it(journal: &mut RunJournal) {
    if let Some(appends) = std::env::var("ALMAPLAN_CRASH_AFTER_APPEND").ok().and_then(|text| text.parse().ok()) {
        journal.crash_after(appends);
    }
}

#[cfg(not(debug_assertions))]
fn crash_where_a_test_wants_it(_: &mut RunJournal) {}
