//! One test or more for each rule of the contract that the saga owns, by its number.

use super::*;

/// A saga, and what happened to it.
struct Run {
    saga: Saga,
    events: Vec<Event>,
}

impl Run {
    fn of(steps: impl IntoIterator<Item = StepShape>) -> Self {
        let mut run = Self { saga: Saga::new(shape(steps)), events: Vec::new() };
        run.append(opened("0"));
        run
    }

    fn append(&mut self, event: Event) {
        self.saga.apply(&event).unwrap();
        self.events.push(event);
    }

    fn step(&mut self, i: Index, fact: Fact) -> &mut Self {
        self.append(Event::Step(self.saga.shape().steps[i].id.clone(), fact));
        self
    }

    fn starts(&mut self, i: Index) -> &mut Self {
        self.starts_as(i, OnInterrupt::Rerun)
    }

    fn starts_as(&mut self, i: Index, on_interrupt: OnInterrupt) -> &mut Self {
        let attempt = self.saga.step(i).attempt + 1;
        self.step(i, Fact::Started { attempt, on_interrupt, host: HostId::local() })
    }

    fn succeeds(&mut self, i: Index) -> &mut Self {
        self.starts(i).step(i, Fact::Succeeded(Value::Null))
    }

    fn fails(&mut self, i: Index) -> &mut Self {
        self.starts(i).step(i, dirty())
    }

    fn is_undone(&mut self, i: Index) -> &mut Self {
        let part = self.saga.undo_part(i);
        self.step(i, Fact::UndoStarted { part, attempt: 1, host: HostId::local() }).step(i, Fact::Undone { part })
    }

    fn is_not_undone(&mut self, i: Index) -> &mut Self {
        let part = self.saga.undo_part(i);
        let failure = Failure::dirty("broke");
        self.step(i, Fact::UndoStarted { part, attempt: 1, host: HostId::local() }).step(i, Fact::UndoFailed { part, failure })
    }

    /// The process ends; another one folds the events and takes over.
    fn crashes(&mut self) -> &mut Self {
        self.saga = replay(self.saga.shape(), &self.events);
        self.append(resumed());
        self
    }

    fn reboots(&mut self) -> &mut Self {
        self.crashes();
        let boot = self.saga.boot(&HostId::local()).unwrap_or_default().to_owned() + "+";
        self.append(rebooted(&boot));
        self
    }

    fn aborts(&mut self) -> &mut Self {
        self.append(aborted());
        self
    }

    fn settles(&mut self) -> Outcome {
        let outcome = self.saga.verdict().expect("the run is ready to be settled");
        self.append(Event::Run(RunFact::Settled(outcome)));
        outcome
    }

    fn wanted(&self) -> Vec<Task> {
        self.saga.wanted().collect()
    }

    fn phase(&self, i: Index) -> StepPhase {
        self.saga.step(i).phase
    }

    fn refuses(&mut self, i: Index, fact: Fact) {
        let before = self.saga.clone();
        let event = Event::Step(self.saga.shape().steps[i].id.clone(), fact);
        assert!(self.saga.apply(&event).is_err(), "{event:?} was not refused");
        assert!(self.saga == before, "a refused event leaves no trace");
    }
}

fn dirty() -> Fact {
    Fact::Failed(Failure::dirty("broke"))
}

fn clean() -> Fact {
    Fact::Failed(Failure::clean("refused"))
}

fn done() -> Fact {
    Fact::Resolved(Answer::Done { outputs: Map::new(), by: "ana".to_owned(), because: None })
}

fn not_done() -> Fact {
    Fact::Resolved(Answer::NotDone { by: "ana".to_owned(), because: None })
}

fn debt(part: usize) -> DebtAnswer {
    DebtAnswer { part, by: "ana".to_owned(), because: Some("the key is lost".to_owned()) }
}

fn by_hand(part: usize) -> Fact {
    Fact::Resolved(Answer::Undone(debt(part)))
}

fn given_up(part: usize) -> Fact {
    Fact::Resolved(Answer::GivenUp(debt(part)))
}

fn record(part: Part, value: &str) -> Fact {
    Fact::Recorded { part, name: "process".to_owned(), value: value.into() }
}

fn pivot(needs: &[Index]) -> StepShape {
    StepShape { pivot: true, ..step(needs) }
}

fn finally(needs: &[Index]) -> StepShape {
    StepShape { finally: true, compensations: vec![], ..step(needs) }
}

fn volatile(needs: &[Index]) -> StepShape {
    let compensation = CompensationShape { effect: Effect::Volatile, ..compensation() };
    StepShape { effect: Effect::Volatile, compensations: vec![compensation], ..step(needs) }
}

fn check(needs: &[Index]) -> StepShape {
    StepShape { effect: Effect::Observes, compensations: vec![], ..step(needs) }
}

#[test]
fn rule_2_one_parent_failed_the_other_undone_then_a_crash() {
    // steno#462: after this crash the diamond could never be recovered again.
    let diamond = || [step(&[]), step(&[0]), step(&[0]), step(&[1, 2])];
    let mut calm = Run::of(diamond());
    calm.succeeds(0).starts(1).starts(2).step(2, Fact::Succeeded(Value::Null)).step(1, dirty());
    calm.step(3, Fact::NotRun).is_undone(2).is_undone(1).is_undone(0);
    assert_eq!(calm.settles(), Outcome::Compensated);
    for crash in 1..=calm.events.len() {
        let mut run = Run::of(diamond());
        calm.events[1..crash].iter().for_each(|event| run.append(event.clone()));
        for deep in 0..100 {
            run.crashes();
            let Some(&task) = run.wanted().first() else { break };
            match task {
                Task::Drop(i) => run.step(i, Fact::NotRun),
                Task::Run(1) => run.fails(1),
                Task::Run(i) => run.succeeds(i),
                // Every other time the crash comes before the verdict.
                Task::Undo(i) if deep % 2 == 0 => run.step(i, Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() }),
                Task::Undo(i) => run.is_undone(i),
                Task::Probe(i) => unreachable!("step {i} has no probe"),
            };
        }
        let outcome = run.saga.outcome().unwrap_or_else(|| run.settles());
        assert_eq!(outcome, Outcome::Compensated, "after a crash at {crash}: {:?}", run.events);
        assert_eq!([0, 1, 3].map(|i| run.phase(i)), [StepPhase::Undone, StepPhase::Undone, StepPhase::NotRun]);
        assert_eq!(run.phase(2), if run.saga.step(2).attempt > 0 { StepPhase::Undone } else { StepPhase::NotRun });
    }
}

#[test]
fn rule_2_wanted_follows_from_the_state_alone() {
    let mut run = Run::of([step(&[]), step(&[])]);
    run.starts(0);
    assert_eq!(run.wanted(), [Task::Run(1)]);
    assert_eq!(run.wanted(), [Task::Run(1)], "asking changes nothing");
    assert_eq!(replay(run.saga.shape(), &run.events), run.saga);
}

#[test]
fn rule_3_whoever_started_owes_and_only_clean_failures_owe_nothing() {
    type History = fn(&mut Run);
    let histories: [(History, bool); 8] = [
        (|_| {}, false),
        (|run| _ = run.step(0, Fact::Skipped), false),
        (|run| _ = run.succeeds(0), true),
        (|run| _ = run.fails(0).fails(0), true),
        (|run| _ = run.starts(0).step(0, Fact::Unknown), true),
        (|run| _ = run.starts(0).step(0, clean()).starts(0).step(0, clean()), false),
        (|run| _ = run.starts(0).step(0, clean()).starts(0).step(0, dirty()), true),
        // One attempt was interrupted: that the next one failed cleanly says nothing of the first.
        (|run| _ = run.starts(0).crashes().starts(0).step(0, clean()).starts(0).step(0, clean()), true),
    ];
    for (case, (history, owes)) in histories.into_iter().enumerate() {
        let mut run = Run::of([StepShape { attempts: 2, ..step(&[]) }, step(&[])]);
        history(&mut run);
        if !run.saga.unwinding() {
            run.aborts();
        }
        assert_eq!(run.saga.owed().any(|i| i == 0), owes, "case {case}");
        assert_eq!(run.wanted().contains(&Task::Undo(0)), owes, "case {case}");
    }
}

#[test]
fn rule_4_nothing_is_undone_beside_live_forward_work() {
    let mut run = Run::of([step(&[]), step(&[]), step(&[])]);
    run.succeeds(0).starts(1).starts(2).step(1, dirty());
    assert!(run.saga.unwinding());
    assert_eq!(run.wanted(), []);
    assert_eq!(run.saga.verdict(), None);
    run.step(2, Fact::Unknown);
    assert_eq!(run.wanted(), [Task::Undo(0), Task::Undo(1), Task::Undo(2)]);
}

#[test]
fn rule_5_a_step_is_undone_after_all_that_needs_it_and_branches_in_parallel() {
    // 0 <- 1 (owes nothing) <- 2, and 3 beside them.
    let mut run = Run::of([step(&[]), check(&[0]), step(&[1]), step(&[])]);
    run.succeeds(0).succeeds(1).succeeds(2).succeeds(3).aborts();
    assert_eq!(run.wanted(), [Task::Undo(2), Task::Undo(3)]);
    run.step(2, Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() });
    assert_eq!(run.wanted(), [Task::Undo(3)]);
    run.step(2, Fact::Undone { part: 0 });
    assert_eq!(run.wanted(), [Task::Undo(0), Task::Undo(3)]);
}

#[test]
fn rule_6_an_unknown_step_is_rerun_asked_about_probed_or_compensated() {
    let unknown = |on_interrupt, probe| {
        let mut run = Run::of([StepShape { probe, ..step(&[]) }, step(&[])]);
        run.starts_as(0, on_interrupt).crashes();
        run
    };
    let rerun = unknown(OnInterrupt::Rerun, false);
    assert_eq!((rerun.phase(0), rerun.wanted()), (StepPhase::Unknown, vec![Task::Run(0), Task::Run(1)]));
    let probed = unknown(OnInterrupt::Ask, true);
    assert_eq!((probed.phase(0), probed.wanted()), (StepPhase::Unknown, vec![Task::Probe(0), Task::Run(1)]));
    let compensated = unknown(OnInterrupt::Compensate, false);
    assert_eq!((compensated.phase(0), compensated.saga.unwinding()), (StepPhase::Failed, true));

    let mut asked = unknown(OnInterrupt::Ask, false);
    assert_eq!(asked.saga.questions().collect::<Vec<_>>(), [0]);
    assert_eq!((asked.wanted(), asked.saga.verdict()), (vec![], None), "nothing new starts while a person is asked");
    asked.crashes();
    assert_eq!(asked.saga.questions().collect::<Vec<_>>(), [0], "the question is still there in the next process");
    asked.step(0, not_done());
    assert_eq!(asked.wanted(), [Task::Run(0), Task::Run(1)]);
    let mut asked = unknown(OnInterrupt::Ask, false);
    asked.step(0, done());
    assert_eq!((asked.phase(0), asked.wanted()), (StepPhase::Succeeded, vec![Task::Run(1)]));
}

#[test]
fn rule_6_a_step_resolved_as_done_has_no_failure() {
    // The failure of an earlier attempt stayed, and would have been shown for a step that succeeded.
    let mut run = Run::of([StepShape { attempts: 2, ..step(&[]) }]);
    run.fails(0).starts_as(0, OnInterrupt::Ask).crashes().step(0, done());
    assert_eq!((run.phase(0), run.saga.step(0).failure.clone()), (StepPhase::Succeeded, None));
}

#[test]
fn rule_6_the_plan_overrules_the_kind() {
    let mut run = Run::of([StepShape { on_interrupt: Some(OnInterrupt::Rerun), ..step(&[]) }]);
    run.starts_as(0, OnInterrupt::Ask).crashes();
    assert_eq!(run.wanted(), [Task::Run(0)]);
}

#[test]
fn rule_6_while_unwinding_an_unknown_step_is_undone_and_never_run_asked_or_probed() {
    for (on_interrupt, probe) in [(OnInterrupt::Rerun, false), (OnInterrupt::Ask, false), (OnInterrupt::Ask, true)] {
        let mut run = Run::of([StepShape { probe, ..step(&[]) }]);
        run.starts_as(0, on_interrupt).crashes().aborts();
        assert_eq!(run.wanted(), [Task::Undo(0)]);
        assert_eq!(run.saga.questions().count(), 0);
        run.refuses(0, Fact::Started { attempt: 2, on_interrupt, host: HostId::local() });
        run.refuses(0, done());
    }
}

#[test]
fn rule_7_a_compensation_is_retried_then_the_run_is_stuck_and_the_independent_rest_is_undone() {
    // 0 <- 1 (whose compensation fails), and 2 beside them.
    let stubborn = StepShape { compensations: vec![CompensationShape { attempts: 2, ..compensation() }], ..step(&[0]) };
    let mut run = Run::of([step(&[]), stubborn, step(&[])]);
    run.succeeds(0).succeeds(1).succeeds(2).aborts().is_not_undone(1);
    assert!(run.wanted().contains(&Task::Undo(1)), "one attempt is left");
    run.is_not_undone(1);
    assert_eq!(run.wanted(), [Task::Undo(2)]);
    assert_eq!(run.saga.verdict(), None);
    run.is_undone(2);
    assert_eq!(run.settles(), Outcome::Stuck);
    assert_eq!((run.phase(0), run.saga.owed().collect::<Vec<_>>()), (StepPhase::Succeeded, vec![0, 1]), "what it needs is untouched");

    run.crashes();
    assert_eq!((run.saga.outcome(), run.wanted()), (None, vec![Task::Undo(1)]), "resume tries again");
    run.is_not_undone(1);
    assert_eq!(run.wanted(), [Task::Undo(1)], "with all its attempts");
    run.is_undone(1).is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
}

#[test]
fn rule_7_a_debt_that_may_be_written_off_is_listed_and_the_rest_goes_on() {
    let lenient = CompensationShape { continue_on_failure: true, ..compensation() };
    let mut run = Run::of([step(&[]), StepShape { compensations: vec![lenient, compensation()], ..step(&[0]) }]);
    run.succeeds(0).succeeds(1).aborts().is_not_undone(1);
    assert_eq!((run.phase(1), run.wanted()), (StepPhase::UndoDue(1), vec![Task::Undo(1)]));
    run.is_undone(1).is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
    assert_eq!(run.saga.step(1).written_off, [WrittenOff { part: 0, failure: Some(Failure::dirty("broke")), answer: None }]);
}

#[test]
fn rule_7_the_compensations_of_a_step_are_done_in_order_and_an_interrupted_one_again() {
    let mut run = Run::of([StepShape { compensations: vec![compensation(); 3], ..step(&[]) }]);
    run.succeeds(0).aborts();
    run.refuses(0, Fact::UndoStarted { part: 1, attempt: 1, host: HostId::local() });
    run.is_undone(0).step(0, Fact::UndoStarted { part: 1, attempt: 2, host: HostId::local() }).crashes();
    assert_eq!((run.phase(0), run.wanted()), (StepPhase::UndoDue(1), vec![Task::Undo(0)]));
    run.is_undone(0).is_undone(0);
    assert_eq!((run.phase(0), run.settles()), (StepPhase::Undone, Outcome::Compensated));
}

#[test]
fn rule_9_before_the_pivot_a_failure_unwinds_after_it_it_is_a_warning() {
    let plan = || [step(&[]), pivot(&[0]), step(&[1]), step(&[2]), step(&[1])];
    let mut before = Run::of(plan());
    before.succeeds(0).fails(1);
    assert!(before.saga.unwinding() && !before.saga.passed());

    let mut after = Run::of(plan());
    after.succeeds(0).succeeds(1).fails(2);
    assert!(after.saga.passed() && !after.saga.unwinding());
    assert_eq!(after.wanted(), [Task::Drop(3), Task::Run(4)], "what needs it is not run, the rest is");
    after.step(3, Fact::NotRun).succeeds(4);
    assert_eq!(after.settles(), Outcome::Warned);
    after.aborts();
    assert_eq!(after.wanted(), [Task::Undo(2), Task::Undo(4)], "the debts are kept for a rollback");
}

#[test]
fn rule_9_what_is_not_run_dooms_what_needs_it_in_turn() {
    let mut run = Run::of([pivot(&[]), step(&[0]), step(&[1]), step(&[2])]);
    run.succeeds(0).fails(1).step(2, Fact::NotRun);
    assert_eq!(run.wanted(), [Task::Drop(3)]);
    run.refuses(1, Fact::NotRun);
}

#[test]
fn rule_9_a_skipped_pivot_is_passed() {
    let mut run = Run::of([step(&[]), pivot(&[0]), step(&[1])]);
    run.succeeds(0).step(1, Fact::Skipped).fails(2);
    assert!(run.saga.passed() && !run.saga.unwinding());
}

#[test]
fn rule_9_an_irreversible_pivot_counts_as_passed_once_it_started_and_cannot_be_aborted() {
    let mut run = Run::of([step(&[]), StepShape { irreversible: true, ..pivot(&[0]) }]);
    run.succeeds(0).starts(1);
    assert!(run.saga.passed() && !run.saga.reversible());
    let before = run.saga.clone();
    assert!(run.saga.apply(&aborted()).is_err() && run.saga == before);
    run.crashes().fails(1);
    assert_eq!((run.saga.unwinding(), run.settles()), (false, Outcome::Warned));
}

#[test]
fn rule_9_a_pivot_that_failed_and_is_continued_is_passed() {
    // It satisfied what needs it without being passed: an irreversible step behind it started, failed, and the run unwound.
    let lenient = StepShape { continue_on_failure: true, ..pivot(&[0]) };
    let mut run = Run::of([step(&[]), lenient, StepShape { irreversible: true, ..step(&[1]) }]);
    run.succeeds(0).fails(1);
    assert!(run.saga.passed());
    run.fails(2);
    assert!(!run.saga.unwinding());
    assert_eq!(run.settles(), Outcome::Warned);
}

#[test]
fn rule_9_a_retry_that_will_not_come_leaves_its_step_failed() {
    // It stayed `Retrying` in a run that was settled.
    let mut run = Run::of([StepShape { attempts: 2, ..step(&[]) }, step(&[])]);
    run.starts(0).step(0, clean());
    assert_eq!(run.phase(0), StepPhase::Retrying);
    run.fails(1).is_undone(1);
    assert_eq!((run.phase(0), run.settles()), (StepPhase::Failed, Outcome::Compensated));
}

#[test]
fn rule_7_only_the_outcome_that_is_due_is_accepted() {
    let mut run = Run::of([step(&[])]);
    for outcome in [Outcome::Succeeded, Outcome::Warned, Outcome::Compensated, Outcome::Stuck] {
        assert!(run.saga.apply(&Event::Run(RunFact::Settled(outcome))).is_err(), "{outcome:?} before anything was done");
    }
    run.succeeds(0).aborts().is_not_undone(0);
    let before = run.saga.clone();
    assert!(run.saga.apply(&Event::Run(RunFact::Settled(Outcome::Compensated))).is_err(), "a debt is left");
    assert!(run.saga == before, "a refused event leaves no trace");
    assert_eq!(run.settles(), Outcome::Stuck);
    assert!(run.saga.apply(&Event::Run(RunFact::Settled(Outcome::Stuck))).is_err(), "once is enough");
}

#[test]
fn rule_10_skipped_and_continued_steps_satisfy_and_their_outputs_are_null() {
    let lenient = StepShape { continue_on_failure: true, ..step(&[]) };
    let mut run = Run::of([step(&[]), lenient, step(&[0, 1])]);
    run.step(0, Fact::Skipped).starts(1);
    assert_eq!(run.wanted(), []);
    run.step(1, record(Part::Action, "java")).step(1, dirty());
    assert_eq!(run.wanted(), [Task::Run(2)]);
    assert_eq!((run.saga.outputs(0), run.saga.outputs(1)), (Value::Null, Value::Null));
    assert!(!run.saga.owed().any(|i| i == 0));
    run.succeeds(2);
    assert_eq!(run.settles(), Outcome::Warned);
}

#[test]
fn rule_11_finally_runs_each_time_the_run_is_settled_and_never_changes_the_outcome() {
    let mut run = Run::of([step(&[]), finally(&[]), finally(&[1])]);
    assert_eq!(run.wanted(), [Task::Run(0)]);
    run.refuses(1, Fact::Started { attempt: 1, on_interrupt: OnInterrupt::Rerun, host: HostId::local() });
    run.succeeds(0);
    assert_eq!(run.settles(), Outcome::Succeeded);
    assert_eq!((run.wanted(), run.saga.finished()), (vec![Task::Run(1)], false));
    run.fails(1);
    assert_eq!(run.wanted(), [Task::Run(2)], "a finally step that failed satisfies the next");
    run.starts(2).crashes();
    assert_eq!((run.phase(2), run.wanted()), (StepPhase::Pending, vec![Task::Run(2)]), "an interrupted one is simply rerun");
    run.succeeds(2);
    assert_eq!((run.saga.outcome(), run.saga.finished(), run.wanted()), (Some(Outcome::Succeeded), true, vec![]));

    run.crashes().aborts().is_not_undone(0);
    assert_eq!(run.settles(), Outcome::Stuck);
    assert_eq!((run.wanted(), run.saga.finished()), (vec![Task::Run(1)], false), "also of a stuck run");
    run.succeeds(1).step(2, Fact::Skipped);
    assert!(run.saga.finished());
    run.crashes().is_undone(0);
    assert_eq!((run.settles(), run.wanted()), (Outcome::Compensated, vec![Task::Run(1)]));
    assert_eq!(run.saga.owed().count(), 0);
}

#[test]
fn rule_18_what_a_finally_step_left_running_is_known_when_the_run_is_settled_anew() {
    // The processes of its attempts were forgotten with the rest of its state, so that it ran again beside what it had left running.
    let mut run = Run::of([step(&[]), finally(&[])]);
    run.succeeds(0);
    run.settles();
    let process = ProcessIdentity { pid: 7, started: 1, program: "/bin/fake".to_owned(), boot: "0".to_owned() };
    run.starts(1)
        .step(1, Fact::Spawned { part: Part::Finally, host: HostId::local(), process: process.clone() })
        .crashes()
        .aborts()
        .is_undone(0);
    run.settles();
    assert_eq!(run.saga.processes(1, Part::Finally), [Leftover { host: HostId::local(), process }]);
}

#[test]
fn rule_14_a_cancelled_step_is_unknown_and_nothing_is_compensated_by_itself() {
    let mut run = Run::of([step(&[]), step(&[0])]);
    run.succeeds(0).starts(1).step(1, Fact::Unknown);
    assert_eq!((run.phase(1), run.saga.unwinding()), (StepPhase::Unknown, false));
    assert_eq!(run.saga.step(1).failure, None);
    run.crashes();
    assert_eq!(run.wanted(), [Task::Run(1)]);
    run.succeeds(1);
    assert_eq!(run.settles(), Outcome::Succeeded);
}

#[test]
fn rule_16_the_first_record_of_a_name_stands_through_crashes_and_attempts() {
    let mut run = Run::of([StepShape { attempts: 2, ..step(&[]) }]);
    run.starts(0).step(0, record(Part::Action, "java")).crashes();
    run.starts(0).step(0, record(Part::Action, "none, it is stopped")).step(0, dirty()).starts(0);
    assert_eq!(run.saga.recorded(0, Part::Action).get("process"), Some(&"java".into()));
    run.step(0, dirty());
    assert_eq!((run.saga.known(0)["process"].as_str(), run.saga.outputs(0)), (Some("java"), Value::Null));
}

#[test]
fn rule_16_each_part_has_records_of_its_own_and_only_while_it_lives() {
    let mut run = Run::of([StepShape { compensations: vec![compensation(); 2], ..step(&[]) }]);
    run.refuses(0, record(Part::Action, "early"));
    run.starts(0).step(0, record(Part::Action, "java")).step(0, Fact::Succeeded(serde_json::json!({ "port": 80 })));
    run.refuses(0, record(Part::Action, "late"));
    assert_eq!(run.saga.outputs(0), serde_json::json!({ "process": "java", "port": 80 }));
    run.aborts().step(0, Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() });
    run.refuses(0, record(Part::Compensation(1), "another's"));
    run.step(0, record(Part::Compensation(0), "undo"));
    assert_eq!(run.saga.recorded(0, Part::Compensation(0)).get("process"), Some(&"undo".into()));
    assert_eq!(run.saga.recorded(0, Part::Action).get("process"), Some(&"java".into()));
}

#[test]
fn rule_16_what_is_resolved_as_done_leaves_what_it_recorded() {
    let mut run = Run::of([step(&[])]);
    run.starts_as(0, OnInterrupt::Ask).step(0, record(Part::Action, "java")).crashes().step(0, done());
    assert_eq!(run.saga.outputs(0), serde_json::json!({ "process": "java" }));
}

#[test]
fn rule_19_a_reboot_repeats_what_it_took_away_and_the_checks_that_need_it() {
    // 0 starts the service, 1 changes files, 2 looks at the service, 3 looks at something else.
    let mut run = Run::of([volatile(&[]), step(&[0]), check(&[1]), check(&[]), step(&[2, 3])]);
    run.succeeds(0).succeeds(1).succeeds(2).succeeds(3).reboots();
    assert_eq!([0, 1, 2, 3].map(|i| run.phase(i)), [StepPhase::Pending, StepPhase::Succeeded, StepPhase::Pending, StepPhase::Succeeded]);
    assert_eq!(run.wanted(), [Task::Run(0)], "in their order, although what lies between them is done");
    run.succeeds(0);
    assert_eq!(run.wanted(), [Task::Run(2)]);
    run.succeeds(2).succeeds(4);
    assert_eq!(run.settles(), Outcome::Succeeded);
}

#[test]
fn rule_19_stop_and_start_are_done_again_in_their_order() {
    // The start saw the copy done and did not wait for the stop: the run ended with the service down.
    let mut run = Run::of([volatile(&[]), step(&[0]), volatile(&[1])]);
    run.succeeds(0).succeeds(1).succeeds(2).reboots();
    assert_eq!(run.wanted(), [Task::Run(0)]);
    run.starts(0);
    assert_eq!(run.wanted(), []);
    run.step(0, Fact::Succeeded(Value::Null));
    assert_eq!(run.wanted(), [Task::Run(2)]);
}

#[test]
fn rule_19_what_waits_for_something_that_failed_when_it_was_done_again_is_not_run() {
    // Past the pivot: the check and the interrupted step waited for ever, and the run was settled with them unfinished.
    let mut run = Run::of([pivot(&[]), volatile(&[0]), step(&[1]), check(&[2]), step(&[2])]);
    run.succeeds(0).succeeds(1).succeeds(2).succeeds(3).starts(4).reboots().fails(1);
    assert_eq!(run.wanted(), [Task::Drop(3), Task::Drop(4)]);
    run.step(3, Fact::NotRun).step(4, Fact::NotRun);
    assert_eq!(run.settles(), Outcome::Warned);
    run.aborts();
    assert_eq!(run.wanted(), [Task::Undo(4)], "it began once, and still owes");
}

#[test]
fn rule_19_what_is_to_be_done_again_still_owes() {
    let mut run = Run::of([volatile(&[]), step(&[])]);
    run.succeeds(0).reboots().fails(1);
    assert_eq!(run.wanted(), [Task::Undo(0), Task::Undo(1)]);
}

#[test]
fn rule_19_a_reboot_while_unwinding_repeats_volatile_compensations_and_the_checks_behind_them() {
    // Undone in the order 2 (starts the service again), 1 (files), 0 (looks at the service).
    let looks = CompensationShape { effect: Effect::Observes, ..compensation() };
    let mut run = Run::of([StepShape { compensations: vec![looks], ..step(&[]) }, step(&[0]), volatile(&[1])]);
    run.succeeds(0).succeeds(1).succeeds(2).aborts().is_undone(2).is_undone(1).is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
    run.reboots();
    assert_eq!((run.saga.outcome(), run.wanted()), (None, vec![Task::Undo(2)]));
    run.is_undone(2);
    assert_eq!((run.phase(1), run.wanted()), (StepPhase::Undone, vec![Task::Undo(0)]));
    run.is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
}

#[test]
fn rule_19_a_reboot_goes_back_to_the_first_volatile_compensation_of_a_list() {
    let starts = CompensationShape { effect: Effect::Volatile, ..compensation() };
    let mut run = Run::of([StepShape { compensations: vec![compensation(), starts, compensation()], ..step(&[]) }]);
    run.succeeds(0).aborts().is_undone(0).is_undone(0);
    assert_eq!(run.phase(0), StepPhase::UndoDue(2));
    run.reboots();
    assert_eq!(run.phase(0), StepPhase::UndoDue(1));
}

#[test]
fn rule_19_a_settled_run_is_taken_up_again_for_what_the_reboot_took_away() {
    let mut run = Run::of([volatile(&[]), finally(&[])]);
    run.succeeds(0).settles();
    run.reboots();
    assert_eq!((run.saga.outcome(), run.wanted()), (None, vec![Task::Run(0)]));
    run.succeeds(0);
    assert_eq!((run.settles(), run.wanted()), (Outcome::Succeeded, vec![Task::Run(1)]));
}

#[test]
fn rule_19_a_settled_run_without_volatile_steps_stays_settled() {
    let mut run = Run::of([step(&[])]);
    run.succeeds(0).settles();
    run.reboots();
    assert_eq!((run.saga.outcome(), run.saga.finished()), (Some(Outcome::Succeeded), true));
}

// A journal that verifies may still hold any number: the sum of two downtimes overflowed.
#[test]
fn rule_17_no_number_in_a_journal_is_too_large() {
    let mut run = Run::of([step(&[])]);
    for _ in 0..2 {
        run.append(Event::Run(RunFact::Reachable(Downtime { ms: u64::MAX, approximate: false })));
    }
    assert_eq!(run.saga.downtime().map(|downtime| downtime.ms), Some(u64::MAX));
    run.step(0, Fact::Started { attempt: u32::MAX, on_interrupt: OnInterrupt::Rerun, host: HostId::local() });
}

#[test]
fn rule_6_an_action_that_is_lost_while_the_run_goes_on_is_unknown() {
    // Only a resume of the whole run could say so: a run on several hosts would have had to stop whenever it lost sight of one.
    let mut run = Run::of([step(&[]), step(&[])]);
    run.starts(0).starts(1).step(0, Fact::Lost { part: Part::Action });
    assert_eq!((run.saga.step(0).phase, run.saga.step(1).phase), (StepPhase::Unknown, StepPhase::Started));
    assert!(run.saga.owed().any(|i| i == 0), "whoever started owes");
    run.refuses(0, Fact::Lost { part: Part::Action });
    run.refuses(1, Fact::Lost { part: Part::Finally });
    run.refuses(1, Fact::Lost { part: Part::Probe });
}

#[test]
fn rule_6_an_interruption_that_counts_as_failed_unwinds_also_when_it_is_a_loss() {
    let mut run = Run::of([StepShape { on_interrupt: Some(OnInterrupt::Compensate), ..step(&[]) }]);
    run.starts(0).step(0, Fact::Lost { part: Part::Action });
    assert_eq!(run.saga.step(0).phase, StepPhase::Failed);
    run.is_undone(0);
}

#[test]
fn rule_7_a_compensation_that_is_lost_is_due_again() {
    let mut run = Run::of([step(&[])]);
    run.succeeds(0).aborts().step(0, Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() });
    run.step(0, Fact::Lost { part: Part::Compensation(0) });
    assert_eq!(run.saga.step(0).phase, StepPhase::UndoDue(0));
    assert_eq!(run.saga.verdict(), None, "it is still owed");
    run.is_undone(0);
}

#[test]
fn rule_11_a_finally_step_that_is_lost_is_run_again() {
    let mut run = Run::of([step(&[]), finally(&[])]);
    run.succeeds(0);
    run.settles();
    run.starts(1).step(1, Fact::Lost { part: Part::Finally });
    assert!(!run.saga.finished());
    run.starts(1).step(1, Fact::Succeeded(Value::Null));
    assert!(run.saga.finished());
}

#[test]
fn rule_19_a_reboot_takes_away_what_is_volatile_on_that_host_alone() {
    let elsewhere = HostId::new("app2");
    let volatile = || StepShape { effect: Effect::Volatile, ..step(&[]) };
    let mut run = Run::of([volatile(), volatile()]);
    let started = |host: &HostId| Fact::Started { attempt: 1, on_interrupt: OnInterrupt::Rerun, host: host.clone() };
    run.step(0, started(&HostId::local())).step(0, Fact::Succeeded(Value::Null));
    run.step(1, started(&elsewhere)).step(1, Fact::Succeeded(Value::Null));
    let boot = |host: &HostId, boot: &str| Event::Run(RunFact::Rebooted { host: host.clone(), boot: boot.to_owned() });
    // The first boot that is known of a host took nothing away.
    run.saga.apply(&boot(&elsewhere, "a")).unwrap();
    let phases = |run: &Run| [0, 1].map(|i| run.saga.step(i).phase);
    assert_eq!(phases(&run), [StepPhase::Succeeded, StepPhase::Succeeded]);
    run.saga.apply(&boot(&elsewhere, "b")).unwrap();
    assert_eq!(phases(&run), [StepPhase::Succeeded, StepPhase::Pending]);
    assert_eq!((run.saga.boot(&HostId::local()), run.saga.boot(&elsewhere)), (Some("0"), Some("b")));
}

#[test]
fn rule_20_what_could_not_be_undone_is_done_by_hand_and_the_rest_is_undone() {
    let mut run = Run::of([step(&[]), StepShape { compensations: vec![compensation(); 2], ..step(&[0]) }]);
    run.succeeds(0).succeeds(1).aborts().is_not_undone(1);
    assert_eq!(run.settles(), Outcome::Stuck);
    run.step(1, by_hand(0));
    assert_eq!((run.saga.outcome(), run.wanted()), (None, vec![Task::Undo(1)]), "those after it in its list are still done");
    run.is_undone(1).is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
    let state = run.saga.step(1);
    assert_eq!((&state.by_hand[..], &state.written_off[..]), (&[debt(0)][..], &[][..]));
}

#[test]
fn rule_20_what_is_given_up_is_listed_with_who_and_why_and_the_rest_is_undone() {
    let mut run = Run::of([step(&[]), step(&[0])]);
    run.succeeds(0).succeeds(1).aborts().is_not_undone(1);
    assert_eq!(run.settles(), Outcome::Stuck);
    run.crashes().step(1, given_up(0));
    assert_eq!(run.wanted(), [Task::Undo(0)]);
    run.is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
    let off = WrittenOff { part: 0, failure: Some(Failure::dirty("broke")), answer: Some(debt(0)) };
    assert_eq!(run.saga.step(1).written_off, [off]);
}

#[test]
fn rule_20_only_what_is_owed_while_the_run_is_undone_is_answered_for_and_only_the_compensation_that_is_due() {
    let mut run = Run::of([step(&[]), StepShape { compensations: vec![compensation(); 2], ..step(&[0]) }, check(&[1])]);
    run.succeeds(0).succeeds(1);
    run.refuses(1, by_hand(0));
    run.starts(2).aborts();
    // Its work may still be going on.
    run.refuses(2, given_up(0));
    run.refuses(1, by_hand(1));
    run.step(2, Fact::Unknown);
    run.refuses(2, by_hand(0));
    // Nothing has failed yet: what is needed for it may be gone for good.
    run.step(1, given_up(0)).step(1, by_hand(1));
    assert_eq!(run.phase(1), StepPhase::Undone);
    run.refuses(1, by_hand(0));
    run.is_undone(0);
    assert_eq!(run.settles(), Outcome::Compensated);
    run.refuses(0, given_up(0));
}

#[test]
fn rule_20_an_unknown_step_is_undone_by_hand() {
    let mut run = Run::of([step(&[])]);
    run.starts(0).crashes().aborts();
    assert_eq!(run.phase(0), StepPhase::Unknown);
    run.step(0, by_hand(0));
    assert_eq!(run.settles(), Outcome::Compensated);
}

#[test]
fn rule_20_a_stuck_run_that_goes_on_tells_people_again_how_it_ends() {
    let mut run = Run::of([step(&[]), finally(&[])]);
    run.succeeds(0).aborts().is_not_undone(0);
    assert_eq!(run.settles(), Outcome::Stuck);
    // While the first telling is going on.
    run.starts(1).step(0, by_hand(0));
    assert_eq!(run.saga.verdict(), None, "it is live, and settling would begin it again");
    run.step(1, Fact::Succeeded(Value::Null));
    assert_eq!(run.settles(), Outcome::Compensated);
    assert_eq!(run.wanted(), [Task::Run(1)]);
}

#[test]
fn rule_21_what_a_run_came_to_is_told_apart() {
    let observes = || StepShape { effect: Effect::Observes, ..step(&[]) };
    let told = |run: &mut Run| {
        run.settles();
        (run.saga.standing(), run.saga.release())
    };
    // Preflight failed and nothing had been done: it was said that what had been done was undone.
    let mut run = Run::of([observes(), step(&[0])]);
    run.starts(0).step(0, clean()).step(1, Fact::NotRun);
    assert_eq!(told(&mut run), (Standing::NothingChanged, Some(Release::Old)));

    let mut run = Run::of([StepShape { compensations: Vec::new(), ..step(&[]) }, step(&[0])]);
    run.succeeds(0).starts(1).step(1, clean());
    assert_eq!(told(&mut run), (Standing::NothingOwed, Some(Release::Old)));

    let mut run = Run::of([step(&[])]);
    run.fails(0).is_undone(0);
    assert_eq!(told(&mut run), (Standing::Undone, Some(Release::Old)));

    let mut run = Run::of([step(&[])]);
    run.succeeds(0);
    assert_eq!(told(&mut run), (Standing::Done, Some(Release::New)));
    run.aborts().crashes().is_undone(0);
    assert_eq!(told(&mut run), (Standing::RolledBack, Some(Release::Old)), "a success that a person undid is no failed deploy");

    let mut run = Run::of([step(&[]), step(&[0])]);
    run.succeeds(0);
    assert_eq!((run.saga.standing(), run.saga.release()), (Standing::Open, None), "half done: nobody knows which version is there");
    run.aborts().step(1, Fact::NotRun).is_undone(0);
    assert_eq!(told(&mut run), (Standing::Aborted, Some(Release::Old)));

    let mut run = Run::of([step(&[]), StepShape { pivot: true, ..step(&[0]) }]);
    run.step(0, Fact::Skipped).step(1, Fact::Skipped);
    assert_eq!(told(&mut run), (Standing::Unchanged, Some(Release::Old)));
}

#[test]
fn rule_21_the_downtime_counts_the_outage_that_goes_on_once() {
    let mut run = Run::of([step(&[])]);
    let ms = |ms| Downtime { ms, approximate: false };
    let wrong = Some(WrongAnswer { url: "http://localhost/".to_owned(), found: AnswerFault::Status(500) });
    assert_eq!((run.saga.answers(), run.saga.down()), (None, false));
    run.append(Event::Run(RunFact::Asked(ServiceState::default())));
    assert_eq!(run.saga.answers(), Some(true));
    run.append(Event::Run(RunFact::Unreachable));
    run.append(Event::Run(RunFact::Reachable(ms(1_000))));
    run.append(Event::Run(RunFact::Unreachable));
    run.append(Event::Run(RunFact::Asked(ServiceState { wrong: wrong.clone(), outage: Some(ms(500)) })));
    assert_eq!((run.saga.downtime(), run.saga.down(), run.saga.wrong_answer()), (Some(ms(1_500)), true, wrong.as_ref()));
    run.append(Event::Run(RunFact::Reachable(ms(2_000))));
    assert_eq!((run.saga.downtime(), run.saga.answers(), run.saga.wrong_answer()), (Some(ms(3_000)), Some(true), None));
}
