//! The page: what happened while the service was down comes first, then all that it can be held against.
//!
//! `page.html` says how it looks. What it is filled with is here, worded: every text is escaped where it is put in, but for the style
//! and the drawn graph, which are ours.

mod text;
mod timeline;

use std::borrow::Cow;
use std::sync::Arc;

use almaplan_engine::event::{Direction, StepId};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde::Serialize;

use crate::lang::Value;
use crate::models::report::{ReportStep, ReportView};
use crate::models::spans::{Outage, Span, Stretch};
use crate::models::status::{StatusStep, run_state_key};
use crate::view::format::{Formatter, state_key};
use crate::view::recap::way_on;
use crate::view::step_log;

use text::{Sign, approximately, class, class_of, clock, from_to, sign, took, what};

/// The whole page.
pub fn draw(view: &ReportView, fmt: &Formatter) -> String {
    let mut env = Environment::new();
    let blocks = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    env.set_syntax(blocks.expect("its delimiters are those of the language"));
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_formatter(text::write);
    let lang = Arc::clone(&fmt.lang);
    env.add_function("say", move |key: &str| lang.text(key));
    let page = Serde(Page::of(view, fmt));
    env.render_str(include_str!("page.html"), page).expect("the template is ours, and a test draws all of it")
}

/// What the page is filled with.
#[derive(Serialize)]
struct Page<'a> {
    lang: &'static str,
    title: String,
    css: &'static str,
    plan: &'a str,
    outcome: StateWord,
    facts: Vec<(String, String)>,
    next_head: String,
    next: String,
    measured: bool,
    outages: Vec<OutageTable>,
    timeline: timeline::Timeline,
    steps: Vec<StepRow<'a>>,
    graph: &'a str,
    logs: Vec<Log<'a>>,
    about: String,
}

/// A word of the catalogue, and its colour.
#[derive(Serialize)]
struct StateWord {
    key: &'static str,
    class: &'static str,
}

/// What the steps did while the service was down.
#[derive(Serialize)]
struct OutageTable {
    head: String,
    parts: Vec<Part>,
    rest: Vec<Rest>,
}

/// What one attempt did of an outage.
#[derive(Serialize)]
struct Part {
    sign: Sign,
    class: &'static str,
    step: String,
    what: String,
    when: String,
    left: String,
    width: String,
    began: String,
    took: String,
    share: String,
}

/// A part of an outage in which no step was live.
#[derive(Serialize)]
struct Rest {
    key: &'static str,
    took: String,
    share: String,
}

/// What became of a step.
#[derive(Serialize)]
struct StepRow<'a> {
    sign: Sign,
    id: &'a str,
    uses: &'a str,
    description: Option<&'a str>,
    state: &'static str,
    owes: bool,
    attempts: String,
    took: Vec<String>,
    failures: Vec<FailedAttempt<'a>>,
}

/// Why an attempt failed, in full.
#[derive(Serialize)]
struct FailedAttempt<'a> {
    about: String,
    message: Cow<'a, str>,
    tail_head: String,
    tail: String,
}

/// What a step printed.
#[derive(Serialize)]
struct Log<'a> {
    open: bool,
    sign: Option<Sign>,
    step: &'a str,
    left_out: Option<String>,
    lines: Vec<LogLine<'a>>,
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: String,
    is_error: bool,
    text: &'a str,
}

impl<'a> Page<'a> {
    fn of(view: &'a ReportView, fmt: &Formatter) -> Self {
        let status = &view.status;
        let zone = view.made_at.to_zoned_datetime(fmt.zone.clone()).strftime("%:z").to_string();
        let (key, style) = run_state_key(status.state, status.outcome, status.serving.standing);
        Self {
            lang: fmt.lang.language().tag(),
            title: fmt.lang.with("report-title", &[("plan", status.plan.as_str().into()), ("run", status.run.as_str().into())]),
            css: include_str!("page.css"),
            plan: &status.plan,
            outcome: StateWord { key, class: class(style) },
            facts: facts(view, fmt),
            next_head: fmt.lang.with("next-commands", &[("n", status.next.len().into())]),
            next: status.next.iter().flat_map(|command| way_on(fmt, command)).collect::<Vec<_>>().join("\n"),
            measured: view.measured,
            outages: view.history.outages.iter().map(|outage| OutageTable::of(view, fmt, outage)).collect(),
            timeline: timeline::draw(view, fmt),
            steps: status.steps.iter().zip(&view.steps).map(|(step, known)| StepRow::of(view, fmt, step, known)).collect(),
            graph: &view.graph,
            logs: status.steps.iter().zip(&view.steps).filter_map(|(step, known)| Log::of(view, fmt, step, known)).collect(),
            about: fmt.lang.with("report-about", &[("at", fmt.date_time(view.made_at).into()), ("zone", zone.into())]),
        }
    }
}

fn facts(view: &ReportView, fmt: &Formatter) -> Vec<(String, String)> {
    let status = &view.status;
    let took = fmt.duration(view.history.whole.seconds());
    // Across processes only the clock of the wall measures (rule 15).
    let took = if view.history.gaps.is_empty() { took } else { approximately(fmt, took) };
    let ids = |ids: &[StepId]| (!ids.is_empty()).then(|| ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", "));
    let facts = [
        ("runs-run", Some(status.run.to_string())),
        ("status-started", Some(fmt.date_time(status.started_at))),
        ("runs-took", Some(took)),
        ("status-serves", status.serves(fmt)),
        ("status-downtime", status.downtime_text(fmt)),
        ("runs-user", Some(view.user.clone())),
        ("status-pid", status.pid.map(|pid| pid.to_string())),
        ("status-owed", ids(&status.owed)),
        ("status-questions", ids(&status.questions)),
        ("status-plan", Some(status.plan_path.clone())),
        ("report-version", Some(view.version.clone())),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((fmt.lang.text(key), value?))).chain(status.closed_rows(fmt)).collect()
}

impl OutageTable {
    fn of(view: &ReportView, fmt: &Formatter, outage: &Outage) -> Self {
        let during = view.history.during(outage);
        let took = fmt.duration(outage.time.seconds());
        let took = if outage.approximate { approximately(fmt, took) } else { took };
        let args = [("from", clock(fmt, outage.time.from).into()), ("to", clock(fmt, outage.time.to).into()), ("took", took.into())];
        let head = if outage.over {
            fmt.lang.with("report-outage", &args)
        } else {
            fmt.lang.with("report-outage-open", &[args[0].clone(), args[2].clone()])
        };
        let rest = [("report-interrupted", during.interrupted), ("report-idle", during.idle)];
        let rest = rest.into_iter().filter(|(key, seconds)| *key == "report-idle" || *seconds > 0.0);
        Self {
            head,
            parts: during.parts.iter().map(|(span, inside)| Part::of(view, fmt, outage.time, span, *inside)).collect(),
            rest: rest.map(|(key, seconds)| Rest { key, took: fmt.duration(seconds), share: share(seconds, outage.time) }).collect(),
        }
    }
}

impl Part {
    fn of(view: &ReportView, fmt: &Formatter, outage: Stretch, span: &Span, inside: Stretch) -> Self {
        let percent = |seconds: f64| format!("{:.2}%", if outage.seconds() > 0.0 { seconds / outage.seconds() * 100.0 } else { 0.0 });
        let before = Stretch { from: outage.from, to: inside.from };
        let began = if span.time.from < outage.from {
            format!("−{}", fmt.duration(Stretch { from: span.time.from, to: outage.from }.seconds()))
        } else {
            format!("+{}", fmt.duration(before.seconds()))
        };
        Self {
            sign: sign(span.state),
            class: class_of(span.state),
            step: span.step.to_string(),
            what: what(view, fmt, span),
            when: from_to(fmt, span.time),
            left: percent(before.seconds()),
            width: percent(inside.seconds()),
            began,
            took: took(fmt, span, inside),
            share: share(inside.seconds(), outage),
        }
    }
}

fn share(seconds: f64, of: Stretch) -> String {
    if of.seconds() > 0.0 { format!("{:.0}%", seconds / of.seconds() * 100.0) } else { String::new() }
}

impl<'a> StepRow<'a> {
    fn of(view: &'a ReportView, fmt: &Formatter, step: &'a StatusStep, known: &'a ReportStep) -> Self {
        let spans: Vec<_> = view.history.spans.iter().filter(|span| span.step == step.id).collect();
        let took = |undo: bool| {
            let times: Vec<_> =
                spans.iter().filter(|span| (span.direction == Direction::Undo) == undo).map(|span| span.time.seconds()).collect();
            (!times.is_empty()).then(|| format!("{}{}", if undo { "↩ " } else { "" }, fmt.duration(times.iter().sum())))
        };
        Self {
            sign: step.state.map_or(Sign { class: "faint", glyph: "·" }, sign),
            id: step.id.as_str(),
            uses: &known.uses,
            description: known.description.as_deref(),
            state: step.state.map_or("state-pending", state_key),
            owes: step.owes,
            attempts: if step.attempts > 0 { step.attempts.to_string() } else { String::new() },
            took: [false, true].into_iter().filter_map(took).collect(),
            failures: spans.iter().filter_map(|span| FailedAttempt::of(view, fmt, span)).collect(),
        }
    }
}

impl<'a> FailedAttempt<'a> {
    fn of(view: &ReportView, fmt: &Formatter, span: &'a Span) -> Option<Self> {
        let failure = span.failure.as_ref()?;
        let mut about = Vec::new();
        if span.direction == Direction::Undo {
            about.push(what(view, fmt, span));
        }
        if span.attempt > 1 {
            about.push(fmt.lang.with("unit-attempt", &[("n", span.attempt.into())]));
        }
        Some(Self {
            about: about.join(" · "),
            message: fmt.failure(failure),
            tail_head: fmt.lang.with("last-lines", &[("n", failure.tail.len().into())]),
            tail: failure.tail.join("\n"),
        })
    }
}

impl<'a> Log<'a> {
    fn of(view: &ReportView, fmt: &Formatter, step: &'a StatusStep, known: &'a ReportStep) -> Option<Self> {
        let log = known.log.as_ref()?;
        let line = |entry: step_log::Entry<'a>| LogLine {
            time: entry.at.parse().map_or_else(|_| entry.at.to_owned(), |at| fmt.time(at)),
            is_error: entry.stream == "stderr",
            text: entry.text,
        };
        let left_out = || {
            let args: [(&str, Value<'_>); 3] =
                [("size", fmt.bytes(log.left_out).into()), ("run", view.status.run.as_str().into()), ("step", step.id.as_str().into())];
            fmt.lang.with("report-left-out", &args)
        };
        Some(Self {
            open: known.failed,
            sign: step.state.map(sign),
            step: step.id.as_str(),
            left_out: (log.left_out > 0).then(left_out),
            lines: log.text.lines().filter_map(step_log::read).map(line).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Language;
    use crate::models::sample;
    use crate::view::sample::fmt;

    #[test]
    fn the_page_tells_what_happened_while_the_service_was_down() {
        let body = |language| {
            let page = draw(&sample::view(), &fmt(language));
            page.split_once("<body>").map(|(_, body)| body.to_owned()).unwrap_or_default()
        };
        insta::assert_snapshot!(format!("{}=====\n{}", body(Language::En), body(Language::PtBr)));
    }

    #[test]
    fn nothing_that_others_wrote_is_markup() {
        let page = draw(&sample::hostile("<script>\"x'&\u{1b}[2J"), &fmt(Language::En));
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
        // Plan, file, user, version; description, kind, error, line of the error and of the log.
        assert!(page.matches("&lt;script&gt;&quot;x&#39;&amp;").count() >= 9, "{page}");
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = draw(&sample::view(), &fmt(Language::En));
        for outside in ["<script", "<link", "<img", "src=", "@import", "url(http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
