//! The page: what happened while the service was down comes first, then all that it can be held against.

use almaplan_engine::event::StepId;
use almaplan_engine::update::{Phase, State};
use jiff::Timestamp;

use super::html::{Text, class, class_of, say};
use super::spans::{Outage, Span, Stretch};
use super::{ReportStep, ReportView, timeline};
use crate::commands::status::{StatusStep, run_state_key};
use crate::lang::Value;
use crate::view::downtime_so_far;
use crate::view::step_log;
use crate::view::words::{Words, glyph, state_key};

/// The whole page.
pub(super) fn draw(view: &ReportView, words: &Words) -> String {
    let title = words.lang.with("report-title", &[("plan", view.status.plan.as_str().into()), ("run", view.status.run.as_str().into())]);
    let zone = view.made_at.to_zoned_datetime(words.zone.clone()).strftime("%:z").to_string();
    let about = words.lang.with("report-about", &[("at", words.date_time(view.made_at).into()), ("zone", zone.into())]);
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         {}{}{}{}{}{}<footer>{}</footer>\n</body>\n</html>\n",
        words.lang.tongue().tag(),
        Text(&title),
        include_str!("page.css"),
        head(view, words),
        section(words, "report-downtime", &downtime(view, words)),
        section(words, "report-timeline", &timeline::draw(view, words)),
        section(words, "report-steps", &steps(view, words)),
        section(words, "report-graph", &format!("<div class=\"wide graph\">{}</div>\n", view.graph)),
        section(words, "report-logs", &logs(view, words)),
        Text(&about),
    )
}

fn section(words: &Words, key: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", say(words, key))
}

fn head(view: &ReportView, words: &Words) -> String {
    let status = &view.status;
    let (key, tone) = run_state_key(status.state, status.outcome);
    let took = words.duration(view.history.whole.seconds());
    // Across processes only the clock of the wall measures (rule 15).
    let took = if view.history.gaps.is_empty() { took } else { approximately(words, took) };
    let ids = |ids: &[StepId]| (!ids.is_empty()).then(|| ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", "));
    let rows = [
        ("runs-run", Some(status.run.to_string())),
        ("status-started", Some(words.date_time(status.started_at))),
        ("runs-took", Some(took)),
        ("status-downtime", downtime_so_far(words, status.downtime, status.down)),
        ("runs-user", Some(view.user.clone())),
        ("status-pid", status.pid.map(|pid| pid.to_string())),
        ("status-owed", ids(&status.owed)),
        ("status-questions", ids(&status.questions)),
        ("status-plan", Some(status.plan_path.clone())),
        ("report-version", Some(view.version.clone())),
    ];
    let row = |(key, value): (&str, Option<String>)| value.map(|value| format!("<dt>{}</dt><dd>{}</dd>\n", say(words, key), Text(&value)));
    format!(
        "<header>\n<h1>{} <span class=\"outcome {}\">{}</span></h1>\n<dl>\n{}</dl>\n{}</header>\n",
        Text(&status.plan),
        class(tone),
        say(words, key),
        rows.into_iter().filter_map(row).collect::<String>(),
        next(words, &status.next),
    )
}

fn next(words: &Words, commands: &[String]) -> String {
    if commands.is_empty() {
        return String::new();
    }
    let head = words.lang.with("next-commands", &[("n", commands.len().into())]);
    format!("<p>{}</p>\n<pre>{}</pre>\n", Text(&head), Text(&commands.join("\n")))
}

// ---- while the service was down -----------------------------------------------------------------------------------------

fn downtime(view: &ReportView, words: &Words) -> String {
    if !view.measured {
        return format!("<p>{}</p>\n", say(words, "report-not-measured"));
    }
    if view.history.outages.is_empty() {
        return format!("<p>{}</p>\n", say(words, "report-never-down"));
    }
    let outages = view.history.outages.iter().map(|outage| one_outage(view, words, outage));
    format!("{}<p class=\"faint\">{}</p>\n", outages.collect::<String>(), say(words, "report-side-by-side"))
}

fn one_outage(view: &ReportView, words: &Words, outage: &Outage) -> String {
    let during = view.history.during(outage);
    let took = words.duration(outage.time.seconds());
    let took = if outage.approximate { approximately(words, took) } else { took };
    let args = [("from", clock(words, outage.time.from).into()), ("to", clock(words, outage.time.to).into()), ("took", took.into())];
    let head = if outage.over {
        words.lang.with("report-outage", &args)
    } else {
        words.lang.with("report-outage-open", &[args[0].clone(), args[2].clone()])
    };
    let heads = ["report-step", "report-what", "report-when", "report-began", "report-inside", "report-share"];
    let rows = during.parts.iter().map(|(span, inside)| part(view, words, outage.time, span, *inside));
    let rest = [("report-interrupted", during.interrupted), ("report-idle", during.idle)];
    let rest = rest.into_iter().filter(|(key, seconds)| *key == "report-idle" || *seconds > 0.0).map(|(key, seconds)| {
        let (took, share) = (words.duration(seconds), share(seconds, outage.time));
        format!(
            "<tr class=\"rest\"><td colspan=\"4\">{}</td><td class=\"n\">{}</td><td class=\"n\">{share}</td></tr>\n",
            say(words, key),
            Text(&took)
        )
    });
    format!(
        "<h3>{}</h3>\n<div class=\"wide\"><table class=\"during\">\n<thead><tr>{}</tr></thead>\n<tbody>\n{}{}</tbody>\n</table></div>\n",
        Text(&head),
        heads.map(|key| format!("<th>{}</th>", say(words, key))).concat(),
        rows.collect::<String>(),
        rest.collect::<String>(),
    )
}

/// What one attempt did of an outage.
fn part(view: &ReportView, words: &Words, outage: Stretch, span: &Span, inside: Stretch) -> String {
    let of = |seconds: f64| if outage.seconds() > 0.0 { seconds / outage.seconds() * 100.0 } else { 0.0 };
    let before = Stretch { from: outage.from, to: inside.from };
    let began = if span.time.from < outage.from {
        format!("−{}", words.duration(Stretch { from: span.time.from, to: outage.from }.seconds()))
    } else {
        format!("+{}", words.duration(before.seconds()))
    };
    format!(
        "<tr><td>{} {}</td><td>{}</td><td class=\"when\" title=\"{}\"><i class=\"{}\" style=\"margin-left:min({:.2}%,100% - 2px);width:{:.2}%\"></i></td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        sign(span.state),
        Text(span.step.as_str()),
        Text(&what(view, words, span)),
        Text(&from_to(words, span.time)),
        class_of(span.state),
        of(before.seconds()),
        of(inside.seconds()),
        Text(&began),
        Text(&took(words, span, inside)),
        share(inside.seconds(), outage),
    )
}

fn share(seconds: f64, of: Stretch) -> String {
    if of.seconds() > 0.0 { format!("{:.0}%", seconds / of.seconds() * 100.0) } else { String::new() }
}

// ---- what became of each step -------------------------------------------------------------------------------------------

fn steps(view: &ReportView, words: &Words) -> String {
    let heads = ["report-step", "report-state", "report-attempts", "runs-took"];
    let rows = view.status.steps.iter().zip(&view.steps).map(|(step, known)| row(view, words, step, known));
    format!(
        "<div class=\"wide\"><table class=\"steps\">\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
        heads.map(|key| format!("<th>{}</th>", say(words, key))).concat(),
        rows.collect::<String>(),
    )
}

fn row(view: &ReportView, words: &Words, step: &StatusStep, known: &ReportStep) -> String {
    let spans: Vec<_> = view.history.spans.iter().filter(|span| span.step == step.id).collect();
    let took = |undo: bool| {
        let times: Vec<_> = spans.iter().filter(|span| (span.phase == Phase::Undo) == undo).map(|span| span.time.seconds()).collect();
        (!times.is_empty()).then(|| format!("{}{}", if undo { "↩ " } else { "" }, words.duration(times.iter().sum())))
    };
    let took: Vec<_> = [false, true].into_iter().filter_map(took).map(|took| Text(&took).to_string()).collect();
    let state = say(words, step.state.map_or("state-pending", state_key));
    let owes = if step.owes { format!(" <b class=\"bad\">{}</b>", say(words, "status-owes")) } else { String::new() };
    let attempts = if step.attempts > 0 { step.attempts.to_string() } else { String::new() };
    let why: String = spans.iter().map(|span| why(view, words, span)).collect();
    let (about, why) =
        if why.is_empty() { ("", why) } else { (" class=\"about\"", format!("<tr><td class=\"why\" colspan=\"4\">{why}</td></tr>\n")) };
    format!(
        "<tr{about}><td>{} <b>{}</b> <small>{}</small>{}</td><td>{state}{owes}</td><td class=\"n\">{attempts}</td><td class=\"n\">{}</td></tr>\n{why}",
        step.state.map_or_else(|| "<span class=\"faint\">·</span>".to_owned(), sign),
        Text(step.id.as_str()),
        Text(&known.uses),
        known.description.as_ref().map(|text| format!("<br><small>{}</small>", Text(text))).unwrap_or_default(),
        took.join("<br>"),
    )
}

/// Why an attempt failed, in full.
fn why(view: &ReportView, words: &Words, span: &Span) -> String {
    let Some(failure) = &span.failure else { return String::new() };
    let mut about = Vec::new();
    if span.phase == Phase::Undo {
        about.push(what(view, words, span));
    }
    if span.attempt > 1 {
        about.push(words.lang.with("unit-attempt", &[("n", span.attempt.into())]));
    }
    let about = if about.is_empty() { String::new() } else { format!("<small>{}</small>", Text(&about.join(" · "))) };
    let tail = if failure.tail.is_empty() {
        String::new()
    } else {
        let head = words.lang.with("last-lines", &[("n", failure.tail.len().into())]);
        format!("<small>{}</small><pre>{}</pre>", Text(&head), Text(&failure.tail.join("\n")))
    };
    format!("{about}<pre class=\"bad\">{}</pre>{tail}", Text(&failure.message))
}

// ---- what they printed --------------------------------------------------------------------------------------------------

fn logs(view: &ReportView, words: &Words) -> String {
    let all: String = view.status.steps.iter().zip(&view.steps).map(|(step, known)| log(view, words, step, known)).collect();
    if all.is_empty() { format!("<p>{}</p>\n", say(words, "report-nothing-printed")) } else { all }
}

fn log(view: &ReportView, words: &Words, step: &StatusStep, known: &ReportStep) -> String {
    let Some(log) = &known.log else { return String::new() };
    let lines = log.text.lines().filter_map(step_log::read).map(|entry| {
        let time = entry.at.parse().map_or_else(|_| entry.at.to_owned(), |at| words.time(at));
        let class = if entry.stream == "stderr" { " class=\"warning\"" } else { "" };
        format!("<small>{}</small> <span{class}>{}</span>\n", Text(&time), Text(entry.text))
    });
    let left_out = if log.left_out == 0 {
        String::new()
    } else {
        let args: [(&str, Value<'_>); 3] =
            [("size", words.bytes(log.left_out).into()), ("run", view.status.run.as_str().into()), ("step", step.id.as_str().into())];
        format!("<p class=\"faint\">{}</p>\n", Text(&words.lang.with("report-left-out", &args)))
    };
    format!(
        "<details{}>\n<summary>{} {}</summary>\n{left_out}<pre>{}</pre>\n</details>\n",
        if known.failed { " open" } else { "" },
        step.state.map_or_else(String::new, sign),
        Text(step.id.as_str()),
        lines.collect::<String>(),
    )
}

// ---- words --------------------------------------------------------------------------------------------------------------

/// What an attempt did: its kind, and whether that was not the action of its step.
pub(super) fn what(view: &ReportView, words: &Words, span: &Span) -> String {
    let kind = view.kind(span).to_owned();
    match span.phase {
        Phase::Forward => kind,
        Phase::Undo => words.lang.with("report-undo-of", &[("kind", kind.into())]),
        Phase::Finally => words.lang.with("report-finally-of", &[("kind", kind.into())]),
    }
}

/// `14:15:02.430 – 14:15:04.330 (1.9 s)`.
pub(super) fn from_to(words: &Words, time: Stretch) -> String {
    let took = words.duration(time.seconds());
    let args = [("from", clock(words, time.from).into()), ("to", clock(words, time.to).into()), ("took", took.into())];
    words.lang.with("report-span", &args)
}

/// `14:15:02.430`: an outage may be shorter than a second.
pub(super) fn clock(words: &Words, at: Timestamp) -> String {
    at.to_zoned_datetime(words.zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

/// How long an attempt took, or the part of it that is `time`; marked where nobody saw its end.
pub(super) fn took(words: &Words, span: &Span, time: Stretch) -> String {
    let took = words.duration(time.seconds());
    match span.state {
        State::Unknown => format!("≥ {took}"),
        State::Started | State::UndoStarted => format!("{took} …"),
        _ => took,
    }
}

fn sign(state: State) -> String {
    let (sign, tone) = glyph(state);
    format!("<span class=\"{}\">{sign}</span>", class(tone))
}

fn approximately(words: &Words, duration: String) -> String {
    words.lang.with("approximately", &[("duration", duration.into())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::report::sample;
    use crate::lang::Tongue;
    use crate::view::sample::words;

    #[test]
    fn the_page_tells_what_happened_while_the_service_was_down() {
        let body = |tongue| {
            let page = draw(&sample::view(), &words(tongue));
            page.split_once("<body>").map(|(_, body)| body.to_owned()).unwrap_or_default()
        };
        insta::assert_snapshot!(format!("{}=====\n{}", body(Tongue::En), body(Tongue::PtBr)));
    }

    #[test]
    fn nothing_that_others_wrote_is_markup() {
        let page = draw(&sample::hostile("<script>\"x'&\u{1b}[2J"), &words(Tongue::En));
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
        // Plan, file, user, version; description, kind, error, line of the error and of the log.
        assert!(page.matches("&lt;script&gt;&quot;x&#39;&amp;").count() >= 9, "{page}");
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = draw(&sample::view(), &words(Tongue::En));
        for outside in ["<script", "<link", "<img", "src=", "@import", "url(http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
