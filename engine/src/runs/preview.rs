//! What a run would do here and now, before there is one.
//!
//! ```text
//!  order of the steps ──> `when` decided ──> assignment ──> Kind::preview ──> outputs known so far ──> the next step
//!                                               └──> the saga, failed here ──> the way back
//! ```
//!
//! The saga and the assignments are those of a run. Nothing is changed: no state folder is made, no lock is taken, nothing is journaled,
//! and what a kind wants to record in a preview is refused.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::assignment::{Assigner, Assignment, BeginError, outputs};
use crate::context::{Attempt, Context, Handles, Keep, Request, RunInfo, timestamp};
use crate::event::{Downtime, Event, Fact, Failure, HostId, OnInterrupt, Part, RunId, Standing, StepId};
use crate::executor::Retained;
use crate::lock::{LockDirectory, LockHolder};
use crate::plan::{Knowledge, Plan, PlannedStep, Scope, Templates, decide, unknown_in, unknown_outputs};
use crate::preview::{Becomes, Before, Change, Preview, Told, Would};
use crate::registry::Registry;
use crate::saga::{Index, Saga, Shape, StepPhase, Task};

use super::active::Parts;
use super::begin::{NewRun, retained_paths};
use super::error::RunError;
use super::lookup;
use super::{FoundRun, RunInputs, Runs, plan_dir};

/// The id that templates see in a preview.
const ID: &str = "preview";

/// Earlier runs that are told of.
const MOST_EARLIER: usize = 10;

/// What a run would do.
pub struct RunPreview {
    /// What it would be a run of.
    pub plan: Arc<Plan>,
    /// The steps, in the order in which they would begin where one runs at a time.
    pub steps: Vec<StepPreview>,
    /// What a failure would undo, by where it happens, in the order of the steps.
    pub ways_back: Vec<WayBack>,
    /// Another run that holds the target: `apply` would be refused.
    pub in_the_way: Option<InTheWay>,
    /// Earlier runs on the same target that put a version in place, the newest first.
    pub earlier: Vec<EarlierRun>,
    templates: Templates,
    saga: Saga,
    known: Vec<Outputs>,
    registry: Arc<Registry>,
}

/// What a step would do.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPreview {
    /// Its place in the plan.
    pub place: Index,
    /// Whether it would run.
    pub verdict: StepVerdict,
    /// What its kind tells.
    pub told: Vec<Told>,
    /// The outputs of earlier steps that its inputs depend on and that are not known yet, as they are written.
    pub missing: Vec<String>,
    /// The step that must run before more can be told.
    pub after: Option<StepId>,
}

/// Whether a step would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepVerdict {
    /// It would run.
    Runs,
    /// It would run, and find all as it should be.
    UpToDate,
    /// Its `when`, this text, is false.
    Skipped(String),
    /// It depends on these outputs of earlier steps, as they are written.
    CannotTell(Vec<String>),
    /// It would fail.
    Fails(Failure),
}

/// What would be undone where a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// The first step of which this is true.
    pub from: Index,
    /// The last one, in the order of the preview.
    pub until: Index,
    /// What a failure means.
    pub means: Means,
}

/// What the failure of a step means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// These steps are undone, in this order; none: there is nothing to undo.
    Undo(Vec<Index>),
    /// Nothing is undone: it is a warning.
    Warning,
}

/// Another run that holds the target.
#[derive(Debug, Clone)]
pub struct InTheWay {
    /// Which, where that is on record.
    pub holder: Option<LockHolder>,
    /// Whether a process runs it now; else it is not settled.
    pub is_running: bool,
}

/// An earlier run that put a version in place.
pub struct EarlierRun {
    /// Which.
    pub run: RunId,
    /// How long the measured service was down; `None` where it never was.
    pub downtime: Option<Downtime>,
    /// Whether it measured a service.
    pub measured: bool,
    /// Where it stands.
    pub saga: Saga,
    /// What its inputs came to.
    pub inputs: RunInputs,
}

/// What is known of the outputs of a step.
enum Outputs {
    /// It was not come to.
    None,
    /// It is skipped: all are null.
    Null,
    /// It would run, and leave these among others.
    Some(Map<String, Value>),
    /// Nobody knows whether it runs.
    Unclear,
}

impl Runs {
    /// What a run that is begun so would do here and now. Changes nothing.
    ///
    /// # Errors
    /// A value is missing, or the state or the machine's records cannot be read.
    pub async fn preview(&self, new: NewRun) -> Result<RunPreview, RunError> {
        let parts = self.parts(new.plan, &new.overrides, new.lang, new.started_at, RunId::new(ID))?;
        let templates = parts.templates();
        let lock = LockDirectory::canonical(&templates.text(&parts.plan.lock, &Scope::NO_OUTPUTS)?, plan_dir(&parts.plan.path));
        let in_the_way = self.in_the_way_of(&lock)?;
        let earlier = self.earlier_on(&lock)?;
        let walk = Walk::new(self, parts, templates)?;
        let (steps, ways_back, walk) = walk.all().await?;
        let Walk { plan, templates, saga, known, .. } = walk;
        Ok(RunPreview { plan, steps, ways_back, in_the_way, earlier, templates, saga, known, registry: Arc::clone(&self.registry) })
    }

    fn in_the_way_of(&self, lock: &str) -> Result<Option<InTheWay>, RunError> {
        let Some(locks) = LockDirectory::if_there(&self.lock_folder).map_err(|error| self.lock_error(error))? else { return Ok(None) };
        let is_running = locks.is_held(lock).map_err(|error| self.lock_error(error))?;
        let holder = locks.holder(lock).map_err(|error| self.lock_error(error))?;
        // One that cannot be looked into is in the way, as `apply` would say.
        let is_open = |found: FoundRun| found.is_open() && !found.replay(&self.registry).is_ok_and(|replay| replay.is_over());
        let holder = holder.filter(|holder| self.on_record(holder).map_or(true, |found| found.is_some_and(is_open)));
        Ok((is_running || holder.is_some()).then_some(InTheWay { holder, is_running }))
    }

    fn earlier_on(&self, lock: &str) -> Result<Vec<EarlierRun>, RunError> {
        let history = self.history()?.unwrap_or_default();
        let successes = history.into_iter().filter(|found| found.row.lock == lock && lookup::is_success(&found.row));
        let told = |found: FoundRun| {
            // One whose plan this program does not read tells nothing.
            let replay = found.replay(&self.registry).ok().filter(|replay| replay.saga.standing() == Standing::Done)?;
            let inputs = replay.inputs(&found.row.run);
            let (downtime, measured) = (replay.saga.downtime(), !replay.plan.measure.is_empty());
            Some(EarlierRun { run: found.row.run, downtime, measured, saga: replay.saga, inputs })
        };
        Ok(successes.filter_map(told).take(MOST_EARLIER).collect())
    }

    /// What would be retained for other runs; nothing where there is no state.
    fn retained_by_others(&self, run: &RunId) -> Result<Retained, RunError> {
        let Some(store) = self.store()? else { return Ok(Retained::default()) };
        retained_paths(&store, &lookup::rows(&store)?, run)
    }
}

impl RunPreview {
    /// The step at a place of the plan.
    pub fn step(&self, place: Index) -> &PlannedStep {
        self.plan.step(place)
    }

    /// Whether nothing that is in service would change: the pivot, or else every step that is made up for, has nothing to do.
    pub fn changes_nothing(&self) -> bool {
        let counts = |step: &&StepPreview| {
            let planned = self.plan.step(step.place);
            planned.pivot || !planned.compensate.is_empty()
        };
        let has_nothing_to_do = |step: &StepPreview| matches!(step.verdict, StepVerdict::UpToDate | StepVerdict::Skipped(_));
        let mut counted = self.steps.iter().filter(counts).peekable();
        match counted.peek() {
            Some(_) => counted.all(has_nothing_to_do),
            None => self.steps.iter().all(has_nothing_to_do),
        }
    }

    /// What the input `name` of the first step or `finally` step of the kind `uses` would come to; `None` where there is no such input, or
    /// it is not known yet.
    pub fn input(&self, uses: &str, name: &str) -> Option<Value> {
        let mut steps = self.plan.steps.iter().chain(&self.plan.finally);
        let with = steps.find(|step| step.action.uses == uses)?.action.with.get(name)?;
        let known = |step: &str, output: &str| knowledge(&self.plan, &self.registry, &self.saga, &self.known, step, output);
        if !unknown_in(with, &known).is_empty() {
            return None;
        }
        let scope = Scope { outputs: &|id| outputs(&self.saga, id, Part::Finally), outcome: None };
        self.templates.render(with, &scope).ok().filter(|value| !value.is_null())
    }

    /// `text` without secrets.
    pub fn masked(&self, text: &str) -> String {
        self.templates.mask().text(text).into_owned()
    }
}

/// A walk over the steps of a plan, each after all that it needs.
struct Walk {
    plan: Arc<Plan>,
    templates: Templates,
    registry: Arc<Registry>,
    host: HostId,
    info: Arc<RunInfo>,
    retained: Retained,
    saga: Saga,
    known: Vec<Outputs>,
    before: Before,
}

impl Walk {
    fn new(runs: &Runs, parts: Parts, templates: Templates) -> Result<Self, RunError> {
        let retained = runs.retained_by_others(&parts.run)?;
        let saga = Saga::new(Shape::of(&parts.plan, &runs.registry));
        let known = std::iter::repeat_with(|| Outputs::None).take(parts.plan.steps.len()).collect();
        let info = RunInfo {
            id: parts.run.clone(),
            plan: parts.plan.name.clone(),
            plan_dir: plan_dir(Path::new(&parts.opened.plan_path)).to_owned(),
            folder: runs.state_dir.join("runs").join(ID),
            started_at: parts.opened.started_at,
            timestamp: timestamp(parts.opened.started_at, &runs.zone),
            lang: parts.opened.lang,
        };
        let (plan, registry, host) = (Arc::new(parts.plan), Arc::clone(&runs.registry), runs.host.id());
        Ok(Self { plan, templates, registry, host, info: Arc::new(info), retained, saga, known, before: Before::default() })
    }

    async fn all(mut self) -> Result<(Vec<StepPreview>, Vec<WayBack>, Self), RunError> {
        let plan = Arc::clone(&self.plan);
        let (mut steps, mut ways_back) = (Vec::with_capacity(plan.steps.len()), Vec::<WayBack>::new());
        for &i in plan.graph.order() {
            let step = self.step(i).await?;
            if !matches!(step.verdict, StepVerdict::Skipped(_)) {
                let means = self.means(i)?;
                match ways_back.last_mut().filter(|last| last.means == means) {
                    Some(last) => last.until = i,
                    None => ways_back.push(WayBack { from: i, until: i, means }),
                }
            }
            self.pass(i)?;
            steps.push(step);
        }
        Ok((steps, ways_back, self))
    }

    /// What the step `i` would do. Notes what it would leave.
    async fn step(&mut self, i: Index) -> Result<StepPreview, RunError> {
        let plan = Arc::clone(&self.plan);
        let step = plan.step(i);
        let told = |verdict| StepPreview { place: i, verdict, told: Vec::new(), missing: Vec::new(), after: None };
        let unclear = match self.decided(step) {
            Err(error) => return Ok(self.leave(i, Preview::default(), told(StepVerdict::Fails(error)))),
            Ok(Some(true)) => Vec::new(),
            Ok(Some(false)) => {
                self.known[i] = Outputs::Null;
                return Ok(told(StepVerdict::Skipped(step.when.clone().unwrap_or_default())));
            }
            Ok(None) => unknown_outputs(step.when.as_deref().unwrap_or_default(), &|step, output| self.knowledge(step, output)),
        };
        let missing = unknown_in(&step.action.with, &|step, output| self.knowledge(step, output));
        let preview = if missing.is_empty() { self.ask(i).await } else { Preview::default() };
        let (mut verdict, mut after) = (StepVerdict::Runs, None);
        match &preview.would {
            _ if !unclear.is_empty() => verdict = StepVerdict::CannotTell(unclear),
            Would::Run => {}
            Would::ChangeNothing => verdict = StepVerdict::UpToDate,
            Would::Fail(failure) => verdict = StepVerdict::Fails(self.templates.mask().failure(failure.clone())),
            Would::DependOn(step) => after = Some(step.clone()),
        }
        let told = preview.told.iter().map(|told| told.clone().masked(&|text| self.masked(text))).collect();
        Ok(self.leave(i, preview, StepPreview { place: i, verdict, told, missing, after }))
    }

    /// Whether the `when` of a step holds; `None` where nobody can tell.
    fn decided(&self, step: &PlannedStep) -> Result<Option<bool>, Failure> {
        let Some(when) = step.when.as_deref() else { return Ok(Some(true)) };
        let outputs = |id: &str| outputs(&self.saga, id, Part::Action);
        let scope = Scope { outputs: &outputs, outcome: None };
        let decided = decide(&self.templates, when, &scope, &|step, output| self.knowledge(step, output));
        decided.map_err(|error| self.templates.mask().failure(Failure::clean(BeginError::When { error })))
    }

    /// What the kind of a step says, whose inputs are all known.
    async fn ask(&self, i: Index) -> Preview {
        let assigner = Assigner { plan: &self.plan, templates: &self.templates, registry: &self.registry, host: &self.host };
        match assigner.assign_decided(&self.saga, i) {
            Assignment::Start(start) => start.work.preview(&self.context(i), &self.before).await,
            Assignment::CannotBegin(failure) => Preview::failure(failure),
            Assignment::Drop | Assignment::Skip => unreachable!("the condition of a step that is asked holds"),
        }
    }

    /// Notes what a step would leave for later ones.
    fn leave(&mut self, i: Index, preview: Preview, step: StepPreview) -> StepPreview {
        let is_unclear = matches!(step.verdict, StepVerdict::CannotTell(_));
        let id = self.plan.step(i).id.clone();
        let may_be = |change: Change| if is_unclear { Change { becomes: Becomes::Unknown, ..change } } else { change };
        self.before.add(&id, preview.changes.into_iter().map(may_be));
        self.known[i] = if is_unclear { Outputs::Unclear } else { Outputs::Some(preview.outputs) };
        step
    }

    /// What a failure of step `i` means, by letting a copy of the run fail there.
    fn means(&self, i: Index) -> Result<Means, RunError> {
        let mut saga = self.saga.clone();
        let id = |i: Index| self.plan.step(i).id.clone();
        while matches!(saga.step(i).phase, StepPhase::Pending | StepPhase::Retrying) {
            let attempt = saga.step(i).attempt + 1;
            saga.apply(&Event::Step(id(i), started(attempt, &self.host)))?;
            saga.apply(&Event::Step(id(i), Fact::Failed(Failure::dirty(""))))?;
        }
        if !saga.unwinding() {
            return Ok(Means::Warning);
        }
        let mut undone = Vec::new();
        let due = |saga: &Saga| saga.wanted().find_map(|task| if let Task::Undo(j) = task { Some(j) } else { None });
        while let Some(j) = due(&saga) {
            let part = saga.undo_part(j);
            let attempt = saga.step(j).undo_attempt + 1;
            saga.apply(&Event::Step(id(j), Fact::UndoStarted { part, attempt, host: self.host.clone() }))?;
            saga.apply(&Event::Step(id(j), Fact::Undone { part }))?;
            if undone.last() != Some(&j) {
                undone.push(j);
            }
        }
        Ok(Means::Undo(undone))
    }

    /// The run goes on behind step `i`, as if it had succeeded.
    fn pass(&mut self, i: Index) -> Result<(), RunError> {
        let id = self.plan.step(i).id.clone();
        let known = match &self.known[i] {
            Outputs::Null => return Ok(self.saga.apply(&Event::Step(id, Fact::Skipped))?),
            Outputs::Some(known) => known.clone(),
            Outputs::None | Outputs::Unclear => Map::new(),
        };
        self.saga.apply(&Event::Step(id.clone(), started(1, &self.host)))?;
        Ok(self.saga.apply(&Event::Step(id, Fact::Succeeded(Value::Object(known))))?)
    }

    fn knowledge(&self, step: &str, output: &str) -> Knowledge {
        knowledge(&self.plan, &self.registry, &self.saga, &self.known, step, output)
    }

    fn masked(&self, text: &str) -> String {
        self.templates.mask().text(text).into_owned()
    }

    /// A context in which nothing can be kept, but the identity of what is started to look: that ends with this process.
    fn context(&self, i: Index) -> Context {
        let (requests, mut inbox) = mpsc::unbounded_channel::<Request>();
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                match request.keep {
                    Keep::Process(_) => drop(request.done.send(())),
                    Keep::Outputs(_) => drop(request.done),
                }
            }
        });
        let attempt = Attempt {
            step: self.plan.step(i).id.clone(),
            part: Part::Action,
            number: 1,
            timeout: None,
            recorded: Map::new(),
            processes: Vec::new(),
            run: Arc::clone(&self.info),
            summary: Arc::default(),
            retained: self.retained.to_undo.clone().into(),
        };
        let needed = Arc::new(Mutex::new(self.retained.needed.clone()));
        let handles = Handles { needed, mask: self.templates.mask().clone(), ..Handles::new(requests, Arc::new(|_| {})) };
        Context::new(attempt, handles)
    }
}

fn started(attempt: u32, host: &HostId) -> Fact {
    Fact::Started { attempt, on_interrupt: OnInterrupt::Rerun, host: host.clone() }
}

/// What is known of an output before the run.
fn knowledge(plan: &Plan, registry: &Registry, saga: &Saga, known: &[Outputs], step: &str, output: &str) -> Knowledge {
    let Some(i) = saga.find(&StepId::new(step)).filter(|&i| i < known.len()) else { return Knowledge::Unknown };
    match &known[i] {
        Outputs::Null => Knowledge::Known,
        Outputs::Some(outputs) if outputs.contains_key(output) => Knowledge::Known,
        Outputs::Some(_) if registry.get(&plan.step(i).action.uses).is_some_and(|kind| kind.always_leaves(output)) => Knowledge::NotNull,
        Outputs::Some(_) | Outputs::None | Outputs::Unclear => Knowledge::Unknown,
    }
}

#[cfg(test)]
mod tests;
