//! How a thing is put on the page: text that stays text, and the names of colours.

use std::fmt::Write;

use almaplan_engine::event::Direction;
use almaplan_engine::update::State;
use jiff::Timestamp;
use minijinja::{Error, Output, Value};
use serde::Serialize;

use crate::models::report::ReportView;
use crate::models::spans::{Span, Stretch};
use crate::view::format::{Formatter, Style, glyph, sanitize};

/// Puts a value into the page. Nothing in a text is markup, or acts on whoever sees it.
pub(super) fn write(out: &mut Output<'_>, _: &mut minijinja::State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Ok(());
    }
    let text = value.to_string();
    if value.is_safe() {
        return out.write_str(&text).map_err(Error::from);
    }
    sanitize(&text).chars().try_for_each(|c| match c {
        '&' => out.write_str("&amp;"),
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        c => out.write_char(c),
    })?;
    Ok(())
}

/// The class of a state, which gives it its colour.
pub(super) fn class_of(state: State) -> &'static str {
    match state {
        State::Started | State::UndoStarted => "live",
        state => class(glyph(state).1),
    }
}

/// The class of a tone.
pub(super) fn class(style: Style) -> &'static str {
    match style {
        Style::Good => "good",
        Style::Warning => "warning",
        Style::Bad | Style::Alarm => "bad",
        Style::Undo => "undo",
        Style::Strong => "live",
        Style::Faint => "faint",
        Style::Normal => "normal",
    }
}

/// What an attempt did: its kind, and whether that was not the action of its step.
pub(super) fn what(view: &ReportView, fmt: &Formatter, span: &Span) -> String {
    let kind = view.kind(span).to_owned();
    match span.direction {
        Direction::Forward => kind,
        Direction::Undo => fmt.lang.with("report-undo-of", &[("kind", kind.into())]),
        Direction::Finally => fmt.lang.with("report-finally-of", &[("kind", kind.into())]),
    }
}

/// `14:15:02.430 – 14:15:04.330 (1.9 s)`.
pub(super) fn from_to(fmt: &Formatter, time: Stretch) -> String {
    let took = fmt.duration(time.seconds());
    let args = [("from", clock(fmt, time.from).into()), ("to", clock(fmt, time.to).into()), ("took", took.into())];
    fmt.lang.with("report-span", &args)
}

/// `14:15:02.430`: an outage may be shorter than a second.
pub(super) fn clock(fmt: &Formatter, at: Timestamp) -> String {
    at.to_zoned_datetime(fmt.zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

/// How long an attempt took, or the part of it that is `time`; marked where nobody saw its end.
pub(super) fn took(fmt: &Formatter, span: &Span, time: Stretch) -> String {
    let took = fmt.duration(time.seconds());
    match span.state {
        State::Unknown => format!("≥ {took}"),
        State::Started | State::UndoStarted => format!("{took} …"),
        _ => took,
    }
}

/// A sign, and its colour.
#[derive(Serialize)]
pub(super) struct Sign {
    pub class: &'static str,
    pub glyph: &'static str,
}

/// The sign of a state.
pub(super) fn sign(state: State) -> Sign {
    let (glyph, style) = glyph(state);
    Sign { class: class(style), glyph }
}

/// Marks a duration that is only about right.
pub(super) fn approximately(fmt: &Formatter, duration: String) -> String {
    fmt.lang.with("approximately", &[("duration", duration.into())])
}
