//! Kinds that do what was drawn for them, and leave their traces in the scene.

use std::time::Duration;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Answer, Direction, Effect, Failure, OnInterrupt, Part, ProcessIdentity};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::registry::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::drawn::{ALWAYS, DrawnKind, Flaw, Heed, Work};
use crate::ground::Owner;
use crate::rules::{Went, work_of};
use crate::scene;

/// What work leaves.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Left {
    /// Another text each time.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    x: Value,
    /// What it only records.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    before: Value,
    /// The process that it only spawns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

macro_rules! kinds {
    ($($name:ident $kind:literal: $effect:ident, $interrupt:ident, adopts: $adopts:literal;)*) => {
        $(
            #[derive(Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            struct $name {
                /// What it takes in.
                #[serde(default)]
                sees: Vec<Value>,
                /// Which of the compensations of its step it is.
                #[serde(default)]
                part: usize,
                /// What is no number does not fit.
                #[serde(default)]
                #[expect(dead_code, reason = "only its type counts")]
                number: Option<u32>,
            }

            impl Kind for $name {
                const KIND: &'static str = $kind;
                const TRAITS: Traits =
                    Traits { adopts: $adopts, ..Traits::new(Effect::$effect, OnInterrupt::$interrupt) };
                type Output = Left;

                async fn run(&self, cx: &Context) -> Result<Left, Failure> {
                    let part = match cx.direction() {
                        _ if $kind == "probe" => Part::Probe,
                        Direction::Forward => Part::Action,
                        Direction::Undo => Part::Compensation(self.part),
                        Direction::Finally => Part::Finally,
                    };
                    perform(part, &self.sees, cx).await
                }
            }
        )*

        /// All of them.
        pub fn registry() -> Registry {
            Registry::default()$(.with::<$name>())*
        }
    };
}

kinds! {
    Plain "plain": Changes, Rerun, adopts: false;
    Asking "asking": Changes, Ask, adopts: false;
    Brittle "brittle": Changes, Compensate, adopts: false;
    Volatile "volatile": Volatile, Rerun, adopts: true;
    Looking "looking": Observes, Rerun, adopts: false;
    Probe "probe": Observes, Rerun, adopts: false;
}

async fn perform(part: Part, sees: &[Value], cx: &Context) -> Result<Left, Failure> {
    let mut present = Present::begins(part, sees, cx);
    let work = present.work.clone();
    if work.spawns {
        present.spawn(cx).await?;
    }
    let before = if work.records { present.record(cx).await? } else { Value::Null };
    let flaw = present.flaw();
    if flaw == Some(Flaw::TimesOut) {
        present.half_done();
        let _ = wait(Duration::from_secs(60), work.heed, cx).await;
        return present.stops(cx);
    }
    let half = Duration::from_millis(work.ms / 2);
    if !wait(half, work.heed, cx).await {
        return present.stops(cx);
    }
    if work.waits {
        match answer(present.step, cx).await {
            Some(Answer::Done { .. }) => {}
            Some(Answer::NotDone { .. } | Answer::Undone(_) | Answer::GivenUp(_)) => {
                return present.ends(Went::FailedClean, Err(Failure::clean("not allowed")));
            }
            None => return present.stops(cx),
        }
    }
    if flaw != Some(Flaw::Clean) {
        present.half_done();
    }
    if !wait(half, work.heed, cx).await {
        return present.stops(cx);
    }
    match flaw {
        Some(Flaw::Clean) => present.ends(Went::FailedClean, Err(Failure::clean("refused"))),
        Some(Flaw::Dirty | Flaw::TimesOut) => present.ends(Went::FailedDirty, Err(Failure::dirty("broke"))),
        Some(Flaw::Panics) => panic!("drawn"),
        None if part == Part::Probe && !scene::with(|scene| scene.ground.is_done(present.step, &scene.drawn)) => {
            present.ends(Went::FailedClean, Err(Failure::clean("it is not there")))
        }
        None => {
            let x = json!(format!("{} {part:?} {}", cx.step(), present.run));
            present.ends(Went::Done, Ok(Left { x, before, pid: None }))
        }
    }
}

/// Works for so long; whether it came to its end.
async fn wait(time: Duration, heed: Heed, cx: &Context) -> bool {
    if heed == Heed::Finishes {
        sleep(time).await;
        return true;
    }
    tokio::select! {
        biased;
        () = sleep(time) => return true,
        () = cx.cancelled() => {}
    }
    match heed {
        Heed::Late(ms) => sleep(Duration::from_millis(ms)).await,
        Heed::Never => std::future::pending().await,
        Heed::AtOnce | Heed::Finishes => {}
    }
    false
}

/// What a person says; `None` where it was stopped before.
async fn answer(step: usize, cx: &Context) -> Option<Answer> {
    scene::with(|scene| scene.waiting.push(step));
    let answer = tokio::select! {
        biased;
        answer = cx.answer() => Some(answer),
        () = cx.cancelled() => None,
    };
    scene::with(|scene| scene.waiting.retain(|&waiting| waiting != step));
    answer
}

/// An attempt that is in the world.
struct Present {
    step: usize,
    part: Part,
    work: Work,
    /// Counts from 0.
    run: u32,
    pid: Option<u32>,
    told: bool,
}

impl Present {
    fn begins(part: Part, sees: &[Value], cx: &Context) -> Self {
        scene::with(|scene| {
            let step = scene.drawn.number(cx.step().as_str());
            let runs = scene.runs.entry((step, part)).or_default();
            *runs += 1;
            let run = *runs - 1;
            scene.say(|| format!("     {} {part:?} begins, run {run}, sees {sees:?}", cx.step()));
            let checked = scene.may_begin(step, part).map_err(|why| format!("{}: {why}", cx.step()));
            scene.check(checked);
            let checked = scene.rules.begins(step, part, cx.attempt(), &scene.ground).map_err(|why| format!("{}: {why}", cx.step()));
            scene.check(checked);
            let expected = scene.rules.sees(step, part);
            if expected != sees {
                scene.check(Err(format!("{} {part:?} saw {sees:?} instead of {expected:?}", cx.step())));
            }
            if part == Part::Finally {
                let owed: Vec<usize> = cx.summary().owed.iter().map(|id| scene.drawn.number(id.as_str())).collect();
                let listed = scene.rules.told_of(step);
                if owed.iter().any(|owed| !listed.contains(owed)) || owed.len() != listed.len() {
                    scene.check(Err(format!("{} is told of debts {owed:?} instead of {listed:?}", cx.step())));
                }
            }
            Self { step, part, work: work_of(&scene.drawn, step, part).clone(), run, pid: None, told: false }
        })
    }

    /// What goes wrong this time.
    fn flaw(&self) -> Option<Flaw> {
        self.work.flaw.filter(|&(runs, _)| runs == ALWAYS || self.run < runs).map(|(_, flaw)| flaw)
    }

    async fn spawn(&mut self, cx: &Context) -> Result<(), Failure> {
        let compensation = if let Part::Compensation(at) = self.part { Some(at) } else { None };
        let (owner, identity) = scene::with(|scene| {
            let step = &scene.drawn.steps[self.step];
            let kind = compensation.map_or(step.kind, |at| step.compensations[at].kind);
            let adopted = kind == DrawnKind::Volatile && self.part != Part::Probe;
            let owner = Owner { step: self.step, compensation, adopted };
            let pid = scene.ground.next_pid();
            (owner, ProcessIdentity { pid, started: 1, program: "/bin/drawn".to_owned(), boot: scene.boot() })
        });
        let pid = identity.pid;
        cx.spawned(identity).await?;
        self.pid = (!owner.adopted).then_some(pid);
        scene::with(|scene| scene.ground.processes.insert(pid, owner));
        Ok(())
    }

    async fn record(&self, cx: &Context) -> Result<Value, Failure> {
        let stands = cx.record("before", json!(self.run)).await?;
        let forward = matches!(self.part, Part::Action | Part::Finally);
        scene::with(|scene| {
            if forward && scene.rules.recorded(self.step, "before") != Some(&stands) {
                scene.check(Err(format!("{}: {stands} is what stands, not what was recorded first", cx.step())));
            }
        });
        Ok(stands)
    }

    fn half_done(&self) {
        if matches!(self.part, Part::Action | Part::Finally) {
            scene::with(|scene| scene.ground.act_partly(self.step));
        }
    }

    /// It was asked to stop, or failed to come to an end.
    fn stops(self, cx: &Context) -> Result<Left, Failure> {
        let late = cx.time_left().is_some_and(|left| left.is_zero());
        self.ends(if late { Went::TimedOut } else { Went::Stopped }, Err(Failure::dirty("stopped")))
    }

    fn ends(mut self, went: Went, result: Result<Left, Failure>) -> Result<Left, Failure> {
        scene::with(|scene| match (self.part, went) {
            (Part::Action | Part::Finally, Went::Done) => scene.ground.act(self.step),
            (Part::Compensation(at), Went::Done) => scene.ground.make_up(self.step, at),
            _ => {}
        });
        self.tell(went);
        result
    }

    fn tell(&mut self, went: Went) {
        self.told = true;
        scene::with(|scene| {
            let name = scene.drawn.name(self.step);
            scene.say(|| format!("     {name} {:?} is {went:?}", self.part));
            if went != Went::Dropped
                && let Some(pid) = self.pid
            {
                scene.ground.processes.remove(&pid);
            }
            scene.rules.ended(self.step, self.part, went);
        });
    }

    /// The attempt is gone in the middle of its work: anything may have become of it.
    fn is_dropped(&mut self) {
        scene::with(|scene| {
            let whole = self.flaw().is_none() && scene.dice.falls(30);
            let half = scene.dice.falls(50);
            match self.part {
                Part::Action | Part::Finally if whole => scene.ground.act(self.step),
                Part::Action | Part::Finally if half && self.flaw() != Some(Flaw::Clean) => scene.ground.act_partly(self.step),
                Part::Compensation(at) if whole => scene.ground.make_up(self.step, at),
                _ => {}
            }
            scene.life.hung |= !scene.life.died;
            scene.waiting.retain(|&waiting| waiting != self.step);
        });
        self.tell(Went::Dropped);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        if std::thread::panicking() { self.tell(Went::FailedDirty) } else { self.is_dropped() }
    }
}
