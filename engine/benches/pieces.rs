//! Each piece of the engine by itself, at 10 steps and at many more: what grows faster than its plan is seen by its time for each step.
//! cargo bench -p almaplan-engine --bench pieces
//!
//! Allocations are counted on the thread of the bench alone: they tell of `graph`, `saga_…` and `replay`, and nothing of `load` and
//! `run_…`, which work on threads of their own. What those take of memory is measured from outside, by `tests/large_plans.rs`.

#![allow(missing_docs)] // of what the macros make

mod ground;

use std::sync::Arc;

use almaplan_engine::event::{Event, Fact, Failure, HostId, OnInterrupt, RunFact, RunId};
use almaplan_engine::graph::Graph;
use almaplan_engine::journal::{Journal, MemoryJournal};
use almaplan_engine::plan::Plan;
use almaplan_engine::saga::{Saga, Shape, Task};
use almaplan_engine::sqlite::Store;
use almaplan_engine::update::Ending;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use ground::Form;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const STEPS: [usize; 4] = [10, 1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

#[divan::bench(args = STEPS)]
fn load(bencher: Bencher<'_, '_>, steps: usize) {
    let text = Form::Chain.text(steps);
    bencher.counter(BytesCount::of_str(&text)).bench(|| ground::load(&text));
}

#[divan::bench(args = STEPS)]
fn graph(bencher: Bencher<'_, '_>, steps: usize) {
    let plan = Form::Diamond.plan(steps);
    let needs: Vec<Vec<usize>> = (0..steps).map(|step| plan.graph.needs(step).collect()).collect();
    bencher.counter(ItemsCount::new(steps)).bench(|| Graph::new(&needs));
}

#[divan::bench(args = STEPS)]
fn saga_of_a_chain(bencher: Bencher<'_, '_>, steps: usize) {
    saga(bencher, Form::Chain, steps);
}

#[divan::bench(args = STEPS)]
fn saga_of_a_diamond_that_unwinds(bencher: Bencher<'_, '_>, steps: usize) {
    saga(bencher, Form::Diamond, steps);
}

fn saga(bencher: Bencher<'_, '_>, form: Form, steps: usize) {
    let plan = form.plan(steps);
    let shape = Shape::of(&plan, &ground::registry());
    bencher.counter(ItemsCount::new(steps)).bench(|| fold(&plan, shape.clone()));
}

/// A whole run, as the events of an executor without limits tell it.
fn fold(plan: &Plan, shape: Shape) -> Saga {
    let mut saga = Saga::new(shape);
    let happen = |saga: &mut Saga, event| saga.apply(&event).expect("it is what the saga wants");
    happen(&mut saga, ground::opened(plan));
    loop {
        let tasks: Vec<Task> = saga.wanted().collect();
        if tasks.is_empty() {
            let Some(outcome) = saga.verdict() else { return saga };
            happen(&mut saga, Event::Run(RunFact::Settled(outcome)));
            continue;
        }
        for task in tasks {
            let (i, facts) = match task {
                Task::Run(i) if saga.shape().steps[i].id.as_str() == "last" => (i, [started(), Fact::Failed(Failure::dirty("it falls"))]),
                Task::Run(i) => (i, [started(), Fact::Succeeded(serde_json::json!({}))]),
                Task::Undo(i) => (i, [Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() }, Fact::Undone { part: 0 }]),
                Task::Probe(_) | Task::Drop(_) => unreachable!("nothing is unknown, and nothing comes after what fails"),
            };
            let id = saga.shape().steps[i].id.clone();
            facts.into_iter().for_each(|fact| happen(&mut saga, Event::Step(id.clone(), fact)));
        }
    }
}

fn started() -> Fact {
    Fact::Started { attempt: 1, on_interrupt: OnInterrupt::Rerun, host: HostId::local() }
}

#[divan::bench(args = STEPS)]
fn run_of_a_chain_in_memory(bencher: Bencher<'_, '_>, steps: usize) {
    in_memory(bencher, Form::Chain, steps);
}

#[divan::bench(args = STEPS)]
fn run_of_a_fan_out_in_memory(bencher: Bencher<'_, '_>, steps: usize) {
    in_memory(bencher, Form::FanOut, steps);
}

#[divan::bench(args = STEPS)]
fn run_of_a_diamond_that_unwinds_in_memory(bencher: Bencher<'_, '_>, steps: usize) {
    in_memory(bencher, Form::Diamond, steps);
}

fn in_memory(bencher: Bencher<'_, '_>, form: Form, steps: usize) {
    let plan = form.plan(steps);
    let journal = || {
        let mut journal = MemoryJournal::new();
        journal.append(&[ground::opened(&plan)]).expect("there is room");
        journal
    };
    let runtime = ground::runtime();
    bencher.counter(ItemsCount::new(steps)).with_inputs(journal).bench_values(|journal| settled(&runtime, &plan, journal));
}

#[divan::bench(args = [10, 1_000])]
fn run_of_a_chain_in_sqlite(bencher: Bencher<'_, '_>, steps: usize) {
    in_sqlite(bencher, Form::Chain, steps);
}

#[divan::bench(args = STEPS)]
fn run_of_a_fan_out_in_sqlite(bencher: Bencher<'_, '_>, steps: usize) {
    in_sqlite(bencher, Form::FanOut, steps);
}

#[divan::bench(args = STEPS)]
fn run_of_a_diamond_that_unwinds_in_sqlite(bencher: Bencher<'_, '_>, steps: usize) {
    in_sqlite(bencher, Form::Diamond, steps);
}

fn in_sqlite(bencher: Bencher<'_, '_>, form: Form, steps: usize) {
    let plan = form.plan(steps);
    let journal = || {
        let folder = tempfile::tempdir().expect("there is a folder for what is temporary");
        let store = Store::create(folder.path()).expect("the folder is ours");
        let journal = store.begin(&RunId::new("bench"), "bench", "bench", ground::opened(&plan)).expect("the run is new");
        (folder, journal)
    };
    let runtime = ground::runtime();
    bencher.counter(ItemsCount::new(steps)).with_inputs(journal).bench_values(|(folder, journal)| {
        settled(&runtime, &plan, journal);
        folder
    });
}

#[divan::bench(args = STEPS)]
fn replay(bencher: Bencher<'_, '_>, steps: usize) {
    let plan = Form::Diamond.plan(steps);
    let mut journal = MemoryJournal::new();
    journal.append(&[ground::opened(&plan)]).expect("there is room");
    settled(&ground::runtime(), &plan, journal.clone());
    let (events, registry) = (journal.events(), ground::registry());
    bencher.counter(ItemsCount::new(steps)).bench(|| {
        let mut saga = Saga::new(Shape::of(&plan, &registry));
        events.iter().for_each(|event| saga.apply(event).expect("it happened once"));
        saga
    });
}

fn settled(runtime: &Runtime, plan: &Arc<Plan>, journal: impl Journal + 'static) {
    let finished = ground::run(runtime, plan, journal);
    assert!(matches!(finished.ending, Ending::Settled(_)), "{:?}", finished.ending);
}
