//! A run through all its processes: each is given the journal that the one before left, something goes wrong in it, and between them an
//! operator decides.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use almaplan_engine::context::RunInfo;
use almaplan_engine::event::{Answer, DebtAnswer, Event, HostId, Opened, Outcome, RunFact, RunId, StepId};
use almaplan_engine::executor::{Executor, Finished, Order, RunSpec};
use almaplan_engine::journal::Demand;
use almaplan_engine::plan::{self, Plan, Templates, ValueInputs};
use almaplan_engine::registry::Registry;
use almaplan_engine::runs::{self, NextAction, NextAnswer};
use almaplan_engine::saga::{Saga, Shape};
use almaplan_engine::update::Ending;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::dice::Dice;
use crate::drawn::{Drawn, GRACE_MS};
use crate::kinds;
use crate::rules::Checked;
use crate::scene::{self, Scene, Tape, Tear};

/// Longer than any process takes, in its own time.
const TOO_LONG: Duration = Duration::from_secs(7_200);
/// More processes than any run needs.
const TOO_MANY: u32 = 60;
/// So many processes, the first one included, have something happen to them: recovery is crashed again, three deep.
const FAULTS: u32 = 4;

/// A plan that was drawn, ready to be run.
pub struct Case {
    pub drawn: Rc<Drawn>,
    plan: Arc<Plan>,
    registry: Arc<Registry>,
}

/// What is allowed to happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Only what was drawn for its steps.
    Calm,
    /// The process is crashed, stopped and rebooted, first at this append; the operator resumes and answers.
    Crashed(u64),
    /// All of it, and the operator decides as they please.
    Free,
}

/// What became of a run.
pub struct Played {
    pub scene: Scene,
    pub outcome: Option<Outcome>,
    pub crashes: u32,
    /// Appends of its first process.
    pub appends: u64,
}

/// What the next process is started for.
#[derive(Debug, Clone, Copy)]
enum Begin {
    Apply,
    Resume,
    Abort,
    Rollback,
    Answer(usize),
    /// Of a compensation: it was done by hand, or is written off.
    AnswerDebt(usize, NextAnswer),
}

/// What goes wrong in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Tear(u64, Tear),
    /// It is killed at this moment.
    Dies(u64),
    /// Ctrl-C at this moment, and perhaps again so much later.
    Stop(u64, Option<u64>),
    /// Another process asks for an abort at this moment.
    Abort(u64),
}

/// How a process left the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Died,
    Left(Ending),
}

impl Case {
    pub fn new(seed: u64, registry: &Arc<Registry>) -> Self {
        let drawn = Drawn::new(seed);
        let loaded = plan::load(&drawn.text, Path::new("/plans/drawn.toml"), registry);
        let plan = loaded.plan.unwrap_or_else(|| panic!("the plan is refused: {:#?}\n{}", loaded.mistakes, drawn.text));
        Self { drawn: Rc::new(drawn), plan: Arc::new(plan), registry: Arc::clone(registry) }
    }

    /// Runs it, in a runtime and on a scene of its own.
    ///
    /// # Errors
    /// What went wrong; the scene tells the rest.
    pub fn play(&self, dice: Dice, manner: Manner, loud: bool) -> (Played, Checked) {
        scene::set(Some(Scene::new(Rc::clone(&self.drawn), dice.clone(), loud)));
        let mut run = Run { case: self, dice, manner, faults: FAULTS, crashes: 0, appends: 0, tries: 3 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run.play())));
        drop(runtime);
        let (crashes, appends) = (run.crashes, run.appends);
        let mut scene = scene::set(None).expect("it was set above");
        let wrong = scene.wrong.take();
        let (outcome, checked) = match (played, wrong) {
            (_, Some(wrong)) => (None, Err(wrong)),
            (Ok(Ok(outcome)), None) => (outcome, Ok(())),
            (Ok(Err(why)), None) => (None, Err(why)),
            (Err(_), None) => (None, Err(format!("a panic: {}", crate::last_panic()))),
        };
        (Played { scene, outcome, crashes, appends }, checked)
    }

    fn spec(&self) -> RunSpec {
        let id = RunId::new("drawn");
        RunSpec {
            plan: Arc::clone(&self.plan),
            registry: Arc::clone(&self.registry),
            host: Arc::new(scene::Machine),
            templates: Templates::new(ValueInputs { run_id: id.to_string(), ..ValueInputs::default() }),
            info: Arc::new(RunInfo {
                id,
                plan: "drawn".to_owned(),
                plan_dir: "/plans".into(),
                folder: "/run".into(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                timestamp: "20260206_141502".to_owned(),
                lang: "en".to_owned(),
            }),
            updates: Arc::new(|_| {}),
            keep: Default::default(),
            grace: Duration::from_millis(GRACE_MS),
            user: "operator".to_owned(),
        }
    }

    /// The saga that the events alone tell of.
    fn replayed(&self) -> Result<Saga, String> {
        let mut saga = Saga::new(Shape::of(&self.plan, &self.registry));
        scene::with(|scene| scene.records.iter().try_for_each(|record| saga.apply(&record.event))).map_err(|error| error.to_string())?;
        Ok(saga)
    }
}

struct Run<'a> {
    case: &'a Case,
    dice: Dice,
    manner: Manner,
    /// Processes to which something may still happen.
    faults: u32,
    crashes: u32,
    appends: u64,
    /// How often a stuck or paused run is tried again for nothing.
    tries: u32,
}

impl Run<'_> {
    async fn play(&mut self) -> Result<Option<Outcome>, String> {
        scene::with(|scene| scene.keep(&[Event::Run(RunFact::Opened(Box::new(opened())))]));
        let mut begin = Begin::Apply;
        for life in 0..TOO_MANY {
            let fault = self.draw_fault(life);
            scene::with(|scene| scene.say(|| format!("---- {begin:?}, {fault:?}")));
            let end = self.live(begin, fault).await?;
            if life == 0 {
                self.appends = scene::with(|scene| scene.life.appends);
            }
            scene::with(|scene| scene.wrong.clone().map_or(Ok(()), Err))?;
            self.goes_down(end);
            match self.decide(end) {
                Some(next) => begin = next,
                None => {
                    let outcome = scene::with(|scene| scene.rules.settled());
                    return self.is_led_on().await.map(|()| outcome);
                }
            }
        }
        Err(format!("it does not come to rest in {TOO_MANY} processes"))
    }

    /// Rule 20: from where the run rests, the commands that are offered lead on to where it is settled, and nothing is owed.
    async fn is_led_on(&mut self) -> Checked {
        for _ in 0..TOO_MANY {
            let saga = self.case.replayed()?;
            let ending = runs::ending(&saga);
            if matches!(ending, Ending::Settled(outcome) if outcome != Outcome::Stuck) {
                return Ok(());
            }
            let offered = runs::next_commands(&RunId::new("drawn"), ending, &saga);
            // What only tries again may fail again for ever.
            let ways: Vec<Begin> = offered.iter().filter_map(|next| self.begin_of(&next.action, ending)).collect();
            if ways.is_empty() {
                return Err(format!("a dead end: {ending:?}, and offered is {offered:?}"));
            }
            let begin = self.dice.pick(&ways);
            let fault = self.draw_fault(1);
            scene::with(|scene| scene.say(|| format!("---- {begin:?}, which is offered, {fault:?}")));
            let end = self.live(begin, fault).await?;
            scene::with(|scene| scene.wrong.clone().map_or(Ok(()), Err))?;
            self.goes_down(end);
        }
        Err(format!("no command that is offered leads to a settled run in {TOO_MANY} processes"))
    }

    /// What is typed, where it leads on.
    fn begin_of(&self, action: &NextAction, ending: Ending) -> Option<Begin> {
        match action {
            NextAction::Resume => (ending == Ending::Interrupted).then_some(Begin::Resume),
            NextAction::Abort => Some(Begin::Abort),
            // Of a run that cannot be read: here each can.
            NextAction::Unlock { .. } => None,
            NextAction::Resolve { step, answer } => {
                let step = self.case.drawn.number(step.as_str());
                Some(match answer {
                    NextAnswer::Done | NextAnswer::NotDone => Begin::Answer(step),
                    NextAnswer::Undone | NextAnswer::GiveUp => Begin::AnswerDebt(step, *answer),
                })
            }
        }
    }

    fn draw_fault(&mut self, life: u32) -> Fault {
        match self.manner {
            Manner::Calm => return Fault::Nothing,
            Manner::Crashed(append) if life == 0 => return self.tear(append),
            Manner::Crashed(_) | Manner::Free => {}
        }
        if life >= FAULTS || self.faults == 0 || self.dice.falls(25) {
            return Fault::Nothing;
        }
        self.faults -= 1;
        let most = if life == 0 { 3 * self.case.drawn.steps.len() as u64 } else { 10 };
        let moment = self.dice.roll(if life == 0 { 1_500 } else { 500 });
        match self.dice.roll(100) {
            0..60 => {
                let append = 1 + self.dice.roll(most);
                self.tear(append)
            }
            60..75 => Fault::Dies(moment),
            75..85 => Fault::Stop(moment, None),
            85..92 => Fault::Stop(moment, Some(self.dice.roll(1_200))),
            _ if self.manner == Manner::Free => Fault::Abort(moment),
            _ => Fault::Dies(moment),
        }
    }

    fn tear(&mut self, append: u64) -> Fault {
        Fault::Tear(append, Tear { kept: self.dice.falls(50), dies: self.dice.falls(70) })
    }

    /// One process, from its beginning to its end.
    async fn live(&mut self, begin: Begin, fault: Fault) -> Result<End, String> {
        scene::with(|scene| {
            scene.life = scene::Life::default();
            if let Fault::Tear(append, tear) = fault {
                scene.life.fault = Some((append, tear));
            }
        });
        let records = scene::with(|scene| scene.records.clone());
        let mut executor = Executor::new(self.case.spec(), Tape, &records).map_err(|error| format!("the journal is refused: {error}"))?;
        let begun = match begin {
            Begin::Apply => Ok(()),
            Begin::Resume => executor.take_over(2, "operator"),
            Begin::Abort => executor.take_over(2, "operator").and_then(|()| executor.abort("operator")),
            Begin::Rollback => executor.abort("operator").and_then(|()| executor.take_over(2, "operator")),
            Begin::Answer(step) => {
                let answer = self.answer(step);
                let id = StepId::new(self.case.drawn.name(step));
                executor.take_over(2, "operator").and_then(|()| executor.resolve(&id, answer)).map_err(|error| error.to_string())?;
                return self.saves(executor);
            }
            Begin::AnswerDebt(step, answer) => {
                executor.take_over(2, "operator").map_err(|error| error.to_string())?;
                let id = StepId::new(self.case.drawn.name(step));
                let saga = executor.saga();
                let part = saga.find(&id).and_then(|i| saga.debt(i)).ok_or("what is to be answered for is not owed")?;
                executor.resolve(&id, debt_answer(part, answer == NextAnswer::Undone)).map_err(|error| error.to_string())?;
                return self.saves(executor);
            }
        };
        begun.map_err(|error| format!("the process cannot begin: {error}"))?;
        let end = self.executes(executor, fault).await?;
        // What was live is dropped with the process.
        while scene::with(|scene| scene.life.died && scene.rules.is_live()) {
            tokio::task::yield_now().await;
        }
        self.crashes += u32::from(end == End::Died);
        Ok(end)
    }

    fn saves(&mut self, executor: Executor<Tape>) -> Result<End, String> {
        match executor.save() {
            Ok(saga) if saga != self.case.replayed()? => Err("what was saved is not what the journal tells".to_owned()),
            Ok(_) => Ok(End::Left(Ending::Interrupted)),
            Err(_) => {
                self.crashes += 1;
                Ok(End::Died)
            }
        }
    }

    async fn executes(&mut self, executor: Executor<Tape>, fault: Fault) -> Result<End, String> {
        let (orders, inbox) = mpsc::channel(8);
        let free = self.manner == Manner::Free;
        let dies = async {
            match fault {
                Fault::Dies(moment) => sleep(Duration::from_millis(moment)).await,
                _ => std::future::pending().await,
            }
        };
        let both = async {
            tokio::select! {
                biased;
                finished = executor.run(inbox) => Some(finished),
                // Whatever made it so, happened while the line above was looked at.
                () = std::future::poll_fn(|_| if scene::with(|scene| scene.life.died) { ().into() } else { std::task::Poll::Pending }) => None,
                () = dies => None,
                () = interferes(&orders, fault, free) => None,
            }
        };
        let finished = timeout(TOO_LONG, both).await.map_err(|_| "it goes on for ever".to_owned())?;
        let died = scene::with(|scene| {
            scene.life.died |= finished.is_none();
            scene.life.died
        });
        match finished {
            Some(finished) if !died => self.is_left_rightly(&finished).map(|()| End::Left(finished.ending)),
            _ => Ok(End::Died),
        }
    }

    /// What a process that ended by itself says of the run must be so.
    fn is_left_rightly(&self, finished: &Finished<Tape>) -> Checked {
        if finished.journal_error.is_none() && finished.saga != self.case.replayed()? {
            return Err("the saga of the process is not what the journal tells".to_owned());
        }
        scene::with(|scene| {
            let life = &scene.life;
            match finished.ending {
                Ending::Settled(outcome) if scene.rules.settled() == Some(outcome) && scene.rules.finished() => Ok(()),
                Ending::Settled(outcome) => Err(format!("left as {outcome:?}, but the run is not finished")),
                Ending::Interrupted if life.failed.is_some() || life.hung || life.stopped.is_some() => Ok(()),
                Ending::Interrupted => Err("interrupted by nothing".to_owned()),
                Ending::Paused => Ok(()),
            }?;
            scene.rules.rests(finished.ending == Ending::Paused)
        })
    }

    /// Between two processes the machine may be restarted.
    fn goes_down(&mut self, end: End) {
        let may = match self.manner {
            Manner::Calm => false,
            // A run that is finished promises nothing more.
            Manner::Crashed(_) => !scene::with(|scene| scene.rules.finished()),
            Manner::Free => true,
        };
        let percent = if end == End::Died { 25 } else { 8 };
        if may && self.faults > 0 && self.dice.falls(percent) {
            let drawn = &self.case.drawn;
            scene::with(|scene| {
                scene.ground.reboot(drawn);
                scene.say(|| "---- reboot".to_owned());
            });
        }
    }

    /// What the operator does next; `None` where the run rests.
    fn decide(&mut self, end: End) -> Option<Begin> {
        let free = self.manner == Manner::Free;
        let (reversible, over) = scene::with(|scene| {
            let over = scene.rules.finished() && scene.rules.settled() != Some(Outcome::Stuck);
            (scene.rules.reversible(), over)
        });
        if free && reversible && !over && self.dice.falls(8) {
            return Some(Begin::Abort);
        }
        match end {
            End::Died | End::Left(Ending::Interrupted) => Some(Begin::Resume),
            End::Left(Ending::Paused) if free && self.tries_again() => Some(Begin::Resume),
            End::Left(Ending::Paused) if free && self.dice.falls(10) => None,
            End::Left(Ending::Paused) => {
                let unknown = scene::with(|scene| scene.rules.unknown());
                Some(Begin::Answer(self.dice.pick(&unknown)))
            }
            End::Left(Ending::Settled(Outcome::Stuck)) => (free && self.tries_again()).then_some(Begin::Resume),
            End::Left(Ending::Settled(Outcome::Succeeded | Outcome::Warned)) => {
                (free && reversible && self.dice.falls(30)).then_some(Begin::Rollback)
            }
            End::Left(Ending::Settled(Outcome::Compensated)) => None,
        }
    }

    fn tries_again(&mut self) -> bool {
        let again = self.tries > 0 && self.dice.falls(50);
        self.tries -= u32::from(again);
        again
    }

    /// A person says what is so; or, where they are free, what they then see to.
    fn answer(&mut self, step: usize) -> Answer {
        let (lies, knows) = (self.manner == Manner::Free && self.dice.falls(20), self.dice.falls(50));
        let outputs = if knows { [("x".to_owned(), "by hand".into())].into_iter().collect() } else { Default::default() };
        let by = "operator".to_owned();
        scene::with(|scene| {
            if lies {
                scene.ground.is_seen_to(step);
            }
            let done = scene.ground.is_done(step, &scene.drawn);
            if done { Answer::Done { outputs, by, because: None } } else { Answer::NotDone { by, because: None } }
        })
    }
}

/// What comes from outside while a process has the run. It never ends.
async fn interferes(orders: &mpsc::Sender<Order>, fault: Fault, free: bool) {
    let began = Instant::now();
    let at = |ms: u64| tokio::time::sleep_until(began + Duration::from_millis(ms));
    match fault {
        Fault::Stop(first, second) => {
            at(first).await;
            scene::with(|scene| scene.life.stopped = Some(Instant::now()));
            let _ = orders.send(Order::Stop).await;
            if let Some(second) = second {
                at(first + second).await;
                let _ = orders.send(Order::Kill).await;
            }
        }
        Fault::Abort(moment) => {
            at(moment).await;
            scene::with(|scene| scene.demands.push_back(Demand::Abort { by: "operator".to_owned() }));
        }
        Fault::Nothing | Fault::Tear(..) | Fault::Dies(_) => {}
    }
    loop {
        sleep(Duration::from_millis(500)).await;
        scene::with(|scene| {
            if free && scene.dice.falls(10) {
                let debts = scene.rules.debts();
                if !debts.is_empty() {
                    let (step, part) = scene.dice.pick(&debts);
                    let answer = debt_answer(part, scene.dice.falls(50));
                    let step = StepId::new(scene.drawn.name(step));
                    scene.demands.push_back(Demand::Resolve { step, answer });
                }
            }
            if let Some(step) = scene.waiting.pop() {
                let answer = match scene.dice.falls(80) {
                    true => Answer::Done { outputs: Default::default(), by: "operator".to_owned(), because: None },
                    false => Answer::NotDone { by: "operator".to_owned(), because: None },
                };
                let step = StepId::new(scene.drawn.name(step));
                scene.demands.push_back(Demand::Resolve { step, answer });
            }
        });
    }
}

/// What a person says of a compensation that is owed.
fn debt_answer(part: usize, by_hand: bool) -> Answer {
    let answer = DebtAnswer { part, by: "operator".to_owned(), because: None };
    if by_hand { Answer::Undone(answer) } else { Answer::GivenUp(answer) }
}

/// The registry of everything that is drawn.
pub fn registry() -> Arc<Registry> {
    Arc::new(kinds::registry())
}

fn opened() -> Opened {
    Opened {
        plan_text: String::new(),
        plan_path: "/plans/drawn.toml".to_owned(),
        vars: Default::default(),
        env: Default::default(),
        secrets: Vec::new(),
        timestamp: "20260206_141502".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        lang: "en".to_owned(),
        host: HostId::local(),
        boot: "boot-1".to_owned(),
        user: "operator".to_owned(),
        pid: 1,
        version: "0".to_owned(),
    }
}
