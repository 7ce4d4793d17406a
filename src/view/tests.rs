//! The views over one scripted run, as a person reads them.
#![allow(clippy::unwrap_used)]

use std::io;
use std::thread;

use almaplan_engine::event::{Direction, Outcome};
use almaplan_engine::update::{Ending, State, Stream};
use serde_json::Value;

use super::json::Json;
use super::plain::Plain;
use super::quiet::Quiet;
use super::recap::{Recap, RecapStep};
use super::sample::{at, failing, fmt, id, recap, step};
use super::*;
use crate::exit::Intent;
use crate::lang::Language;

/// What was written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A reader that has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn shown(view: impl FnOnce(Sink) -> Box<dyn View>) -> String {
    let paper = Paper::default();
    let mut view = view(Box::new(paper.clone()));
    for (at, update) in failing() {
        view.show(at, &update);
    }
    view.finish(at(10_000), &recap(Ending::Settled(Outcome::Compensated)));
    paper.text()
}

#[test]
fn plain_in_english() {
    insta::assert_snapshot!(shown(|out| Box::new(Plain::new(fmt(Language::En), out))));
}

#[test]
fn plain_in_portuguese() {
    insta::assert_snapshot!(shown(|out| Box::new(Plain::new(fmt(Language::PtBr), out))));
}

#[test]
fn quiet_says_only_what_went_wrong() {
    insta::assert_snapshot!(shown(|out| Box::new(Quiet::new(fmt(Language::PtBr), out))));
}

#[test]
fn json_is_the_same_in_every_language() {
    let json = |language| shown(|out| Box::new(Json::new(fmt(language), out, Box::new(io::sink()), Intent::Forward)));
    assert_eq!(json(Language::En), json(Language::PtBr));
    insta::assert_snapshot!(json(Language::En));
}

#[test]
fn every_json_line_is_an_object_with_event_and_at_and_words_go_elsewhere() {
    let (out, err) = (Paper::default(), Paper::default());
    let mut view = Json::new(fmt(Language::En), Box::new(out.clone()), Box::new(err.clone()), Intent::Undo);
    for (at, update) in failing() {
        view.show(at, &update);
    }
    view.finish(at(10_000), &recap(Ending::Settled(Outcome::Compensated)));
    let lines: Vec<Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), failing().len());
    for line in &lines {
        assert!(line["event"].is_string() && line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let outcome = lines.last().unwrap();
    assert_eq!((&outcome["outcome"], &outcome["exit"]), (&"compensated".into(), &0.into()), "an abort that compensates did as asked");
    assert!(err.text().contains("ALERT"), "{}", err.text());
}

#[test]
fn json_drops_progress_that_comes_too_fast_but_never_the_last() {
    let out = Paper::default();
    let mut view = Json::new(fmt(Language::En), Box::new(out.clone()), Box::new(io::sink()), Intent::Forward);
    for done in 1..=1000 {
        view.show(
            at(done),
            &Update::Progress { step: id("copy"), done: done as u64, total: Some(1000), unit: almaplan_engine::update::Unit::Files },
        );
    }
    let done: Vec<u64> = out.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["done"].as_u64().unwrap()).collect();
    assert_eq!((done.first(), done.last()), (Some(&1), Some(&1000)));
    assert!((3..10).contains(&done.len()), "{done:?}");
}

#[test]
fn every_ending_has_its_recap_in_both_languages() {
    let endings = [Outcome::Succeeded, Outcome::Warned, Outcome::Compensated, Outcome::Stuck].map(Ending::Settled);
    let mut text = String::new();
    for ending in endings.into_iter().chain([Ending::Paused, Ending::Interrupted]) {
        for language in Language::ALL {
            text.push_str(&recap(ending).lines(&fmt(language)).join("\n"));
            text.push_str("\n-----\n");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_was_being_undone_is_not_said_to_be_untouched() {
    let interrupted = |owed| {
        let recap = Recap { owed, ..recap(Ending::Interrupted) };
        recap.lines(&fmt(Language::En)).join("\n")
    };
    assert!(interrupted(vec![]).contains("nothing was undone"));
    let undoing = interrupted(vec![id("stop")]);
    assert!(!undoing.contains("nothing was undone") && undoing.contains("while it was being undone"), "{undoing}");
}

// A run of 100,000 steps ended with 800 KB of names.
#[test]
fn the_recap_of_a_large_plan_names_some_steps_and_counts_the_others() {
    let step = recap(Ending::Interrupted).steps[0].clone();
    let unknown = |n| RecapStep { id: id(&format!("s{n}")), title: format!("s{n}"), state: Some(State::Unknown), ..step.clone() };
    let steps = (0..100_000).map(unknown).collect();
    let large = Recap { steps, ..recap(Ending::Interrupted) };
    for (language, more) in [(Language::En, "… and 99950 more"), (Language::PtBr, "… e mais 99950")] {
        let text = large.lines(&fmt(language)).join("\n");
        assert!(text.contains("s49\n") && text.contains(more) && text.len() < 2000, "{text}");
    }
}

#[test]
fn a_silent_step_gives_a_sign_of_life_every_ten_seconds() {
    let paper = Paper::default();
    let mut view = Plain::new(fmt(Language::PtBr), Box::new(paper.clone()));
    view.show(at(0), &step("quiet", Direction::Forward, State::Started, None, None));
    view.show(at(0), &step("chatty", Direction::Forward, State::Started, None, None));
    for ms in (0..=21_000).step_by(125) {
        if ms % 1000 == 0 && ms <= 15_000 {
            view.show(at(ms), &Update::Log { step: id("chatty"), stream: Stream::Stdout, line: "x".to_owned() });
        }
        view.tick(at(ms));
    }
    let beats: Vec<_> = paper.text().lines().filter(|line| line.contains('…')).map(str::to_owned).collect();
    assert_eq!(beats, ["14:15:12 … quiet: ainda em execução após 10 s", "14:15:22 … quiet: ainda em execução após 20 s"]);
    view.show(at(22_000), &step("quiet", Direction::Forward, State::Succeeded, Some(22.0), None));
    view.tick(at(60_000));
    assert!(!paper.text().lines().last().unwrap().contains("quiet"), "{}", paper.text());
}

#[test]
fn a_reader_that_has_gone_does_not_end_the_run() {
    let view = Json::new(fmt(Language::En), Box::new(Gone), Box::new(Gone), Intent::Forward);
    let output = Output::new(Box::new(view)).unwrap();
    for (_, update) in failing() {
        output.updates()(update);
    }
    output.finish(&recap(Ending::Interrupted)).wait();
}

#[test]
fn updates_of_many_threads_stay_whole_lines_and_are_kept_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let paper = Paper::default();
    let output = Output::new(Box::new(Plain::new(fmt(Language::En), Box::new(paper.clone())))).unwrap();
    output.keep_logs(folder.path().join("runs").join("r1"));
    thread::scope(|scope| {
        for n in 0..4 {
            let updates = output.updates();
            scope.spawn(move || {
                for line in 0..50 {
                    updates(Update::Log { step: id(&format!("s{n}")), stream: Stream::Stdout, line: format!("line {line}") });
                }
            });
        }
    });
    output.shown().wait();
    assert_eq!(paper.text().lines().filter(|line| line.contains(" line ")).count(), 200);
    for n in 0..4 {
        let kept = std::fs::read_to_string(folder.path().join(format!("runs/r1/s{n}.log"))).unwrap();
        let lines: Vec<_> = kept.lines().map(|line| step_log::read(line).unwrap().text.to_owned()).collect();
        assert_eq!(lines, (0..50).map(|line| format!("line {line}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_that_cannot_be_kept_is_told_once_and_the_line_is_still_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let paper = Paper::default();
    let output = Output::new(Box::new(Plain::new(fmt(Language::En), Box::new(paper.clone())))).unwrap();
    output.keep_logs(file.path().join("below-a-file"));
    for line in ["one", "two"] {
        output.show(at(0), Update::Log { step: id("s"), stream: Stream::Stdout, line: line.to_owned() });
    }
    output.shown().wait();
    assert_eq!(paper.text().matches("no longer kept").count(), 1, "{}", paper.text());
    assert!(paper.text().contains("s one") && paper.text().contains("s two"));
}
