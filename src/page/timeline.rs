//! The timeline as SVG: a bar for each attempt, in the order in which they began, and behind them when the service was down.
//!
//! The axis is true except where it would hide everything else: a gap without a process has a fixed width, and a stretch that is
//! much longer than all the rest, in which nothing began or ended, is drawn as long as the rest. Both are marked.

use almaplan_engine::event::Direction;
use almaplan_engine::update::State;
use jiff::Timestamp;
use serde::Serialize;

use super::text::{self, class_of};
use crate::models::report::ReportView;
use crate::models::spans::{History, Span, Stretch};
use crate::view::format::{Formatter, state_key};

const WIDTH: f64 = 1040.0;
const TOP: f64 = 26.0;
const ROW: f64 = 20.0;
/// For the duration behind a bar that ends last.
const RIGHT: f64 = 100.0;
const GAP: f64 = 24.0;
/// What took less than a moment is still seen.
const NARROWEST: f64 = 3.0;
const BETWEEN_TICKS: f64 = 76.0;
/// How many times longer than all the rest a stretch is that is drawn shorter.
const TOO_LONG: f64 = 3.0;
const LONGEST_NAME: usize = 36;

/// The timeline: where each thing is drawn, in pixels, and below it what its colours and bands mean.
#[derive(Serialize)]
pub(super) struct Timeline {
    width: f64,
    height: String,
    top: f64,
    bottom: f64,
    bands: Vec<Band>,
    ticks: Vec<Tick>,
    bars: Vec<Bar>,
    pivot: Option<String>,
    legend: Vec<Item>,
}

/// A stretch of time behind the bars.
#[derive(Serialize)]
struct Band {
    class: &'static str,
    x: String,
    width: String,
    height: String,
}

/// A moment at which something began or ended.
#[derive(Serialize)]
struct Tick {
    x: String,
    y: String,
    text_x: String,
    text: String,
}

/// An attempt.
#[derive(Serialize)]
struct Bar {
    class: &'static str,
    about: String,
    name: String,
    x: String,
    y: String,
    width: String,
    height: String,
    text_y: String,
    took_x: String,
    took: String,
}

/// A line of the legend.
#[derive(Serialize)]
struct Item {
    class: &'static str,
    text: String,
}

/// A length in pixels.
fn px(length: f64) -> String {
    format!("{length:.1}")
}

/// The timeline of a run.
pub(super) fn draw(view: &ReportView, fmt: &Formatter) -> Timeline {
    let history = &view.history;
    let names: Vec<_> = history.spans.iter().map(|span| name(view, span)).collect();
    let letters = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
    let left = letters as f64 * 7.2 + 16.0;
    let scale = Scale::of(history, left, WIDTH - RIGHT);
    let bottom = TOP + history.spans.len() as f64 * ROW + 4.0;
    let band = |time: Stretch, class| {
        let (x, to) = (scale.x(time.from), scale.x(time.to));
        Band { class, x: px(x), width: px((to - x).max(1.0)), height: px(bottom - TOP) }
    };
    let outages = history.outages.iter().map(|outage| band(outage.time, "down"));
    let gaps = history.gaps.iter().map(|gap| band(*gap, "gap"));
    let short = scale.short.into_iter().map(|short| band(short, "short"));
    let bars = history.spans.iter().zip(names).enumerate();
    Timeline {
        width: WIDTH,
        height: format!("{:.0}", bottom + 4.0),
        top: TOP,
        bottom,
        bands: outages.chain(gaps).chain(short).collect(),
        ticks: scale.ticks(fmt),
        bars: bars.map(|(row, (span, name))| bar(view, fmt, &scale, TOP + row as f64 * ROW, span, name)).collect(),
        pivot: history.pivot.map(|pivot| px(scale.x(pivot))),
        legend: legend(history, fmt, scale.short),
    }
}

/// `backup`, `↩ update`, and where several compensations make up for a step `↩ stop: start-service`; the second attempt `backup (2)`.
fn name(view: &ReportView, span: &Span) -> String {
    let again = if span.attempt > 1 { format!(" ({})", span.attempt) } else { String::new() };
    let several = view.known(&span.step).is_some_and(|step| step.compensate.len() > 1);
    let name = match span.direction {
        Direction::Forward | Direction::Finally => span.step.to_string(),
        Direction::Undo if several => format!("↩ {}: {}", span.step, view.kind(span)),
        Direction::Undo => format!("↩ {}", span.step),
    };
    format!("{}{again}", console::truncate_str(&name, LONGEST_NAME, "…"))
}

fn bar(view: &ReportView, fmt: &Formatter, scale: &Scale, y: f64, span: &Span, name: String) -> Bar {
    let (x, to) = (scale.x(span.time.from), scale.x(span.time.to));
    let width = (to - x).max(NARROWEST);
    let about = format!(
        "{} · {} · {} · {}",
        span.step,
        text::what(view, fmt, span),
        fmt.lang.text(state_key(span.state)),
        text::from_to(fmt, span.time),
    );
    Bar {
        class: class_of(span.state),
        about,
        name,
        x: px(x),
        y: px(y + 4.0),
        width: px(width),
        height: px(ROW - 6.0),
        text_y: px(y + 14.0),
        took_x: px(x + width + 5.0),
        took: text::took(fmt, span, span.time),
    }
}

/// What is seen in it, and only that.
fn legend(history: &History, fmt: &Formatter, short: Option<Stretch>) -> Vec<Item> {
    let states = [State::Succeeded, State::Failed, State::Undone, State::UndoFailed, State::Unknown, State::Started, State::UndoStarted];
    let seen = states.into_iter().filter(|state| history.spans.iter().any(|span| span.state == *state));
    let mut items: Vec<_> = seen.map(|state| Item { class: class_of(state), text: fmt.lang.text(state_key(state)) }).collect();
    let bands = [
        ("down", "report-mark-down", history.outages.iter().map(|outage| outage.time).collect()),
        ("gap", "report-mark-gap", history.gaps.clone()),
        ("short", "report-mark-short", Vec::from_iter(short)),
    ];
    for (class, key, times) in bands {
        let told = |time| format!("{}: {}", fmt.lang.text(key), text::from_to(fmt, time));
        items.extend(times.into_iter().map(|time| Item { class, text: told(time) }));
    }
    let pivot = history.pivot.map(|pivot| format!("{}: {}", fmt.lang.text("graph-pivot"), text::clock(fmt, pivot)));
    items.extend(pivot.map(|text| Item { class: "pivot", text }));
    items
}

/// Where each moment is drawn.
struct Scale {
    // In order, and between two of them time is true to scale.
    moments: Vec<(Timestamp, f64)>,
    short: Option<Stretch>,
}

impl Scale {
    fn of(history: &History, left: f64, right: f64) -> Self {
        let times = history.spans.iter().map(|span| span.time).chain(history.outages.iter().map(|outage| outage.time));
        let times = times.chain(history.gaps.iter().copied()).chain([history.whole]);
        let mut moments: Vec<_> = times.flat_map(|time| [time.from, time.to]).chain(history.pivot).collect();
        moments.sort();
        moments.dedup();
        let stretches: Vec<_> = moments.windows(2).map(|pair| Stretch { from: pair[0], to: pair[1] }).collect();
        let is_gap = |stretch: &Stretch| history.gaps.iter().any(|gap| stretch.inside(*gap).is_some());
        let told = || stretches.iter().filter(|stretch| !is_gap(stretch));
        let longest = told().max_by_key(|stretch| stretch.to.duration_since(stretch.from)).copied();
        let all: f64 = told().map(|stretch| stretch.seconds()).sum();
        let rest = all - longest.map_or(0.0, Stretch::seconds);
        let short = longest.filter(|longest| rest > 0.0 && longest.seconds() > TOO_LONG * rest);
        let gaps = stretches.iter().filter(|stretch| is_gap(stretch)).count() as f64;
        let gap = GAP.min((right - left) / 3.0 / gaps.max(1.0));
        let drawn = if short.is_some() { 2.0 * rest } else { all };
        let per_second = if drawn > 0.0 { (right - left - gaps * gap) / drawn } else { 0.0 };
        let mut x = left;
        let mut placed = vec![(history.whole.from, left)];
        for stretch in &stretches {
            x += match stretch {
                gone if is_gap(gone) => gap,
                long if short == Some(*long) => rest * per_second,
                stretch => stretch.seconds() * per_second,
            };
            placed.push((stretch.to, x));
        }
        Self { moments: placed, short }
    }

    fn x(&self, at: Timestamp) -> f64 {
        let next = self.moments.partition_point(|(moment, _)| *moment < at);
        match (next.checked_sub(1).and_then(|before| self.moments.get(before)), self.moments.get(next)) {
            (Some((from, left)), Some((to, right))) => {
                let (part, whole) = (at.duration_since(*from).as_secs_f64(), to.duration_since(*from).as_secs_f64());
                left + (right - left) * part / whole
            }
            (Some((_, x)), None) | (None, Some((_, x))) => *x,
            (None, None) => 0.0,
        }
    }

    /// Moments at which something began or ended, as far apart as their labels need.
    fn ticks(&self, fmt: &Formatter) -> Vec<Tick> {
        let mut ticks = Vec::new();
        let mut free = f64::MIN;
        let begin = self.moments.first().map(|(at, _)| *at);
        for (at, x) in &self.moments {
            if *x >= free {
                let since = at.duration_since(begin.unwrap_or(*at)).as_secs_f64();
                ticks.push(Tick { x: px(*x), y: px(TOP - 6.0), text_x: px(x + 2.0), text: fmt.duration(since) });
                free = x + BETWEEN_TICKS;
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::at;

    fn stretch(from: i64, to: i64) -> Stretch {
        Stretch { from: at(from), to: at(to) }
    }

    fn history(gaps: &[Stretch], outage: Stretch, whole: Stretch) -> History {
        let outages = vec![crate::models::spans::Outage { time: outage, approximate: false, over: true, told: true }];
        History { whole, spans: vec![], outages, gaps: gaps.to_vec(), pivot: None }
    }

    #[test]
    fn a_night_without_a_process_leaves_room_for_the_rest() {
        let night = stretch(2000, 2000 + 8 * 3_600_000);
        let scale = Scale::of(
            &history(&[night], stretch(500, 1000), stretch(0, night.to.as_millisecond() - at(0).as_millisecond() + 2000)),
            0.0,
            424.0,
        );
        assert_eq!([at(0), at(500), at(1000), night.from, night.to].map(|at| scale.x(at)), [0.0, 50.0, 100.0, 200.0, 224.0]);
        assert_eq!(scale.short, None);
    }

    #[test]
    fn a_long_quiet_stretch_is_drawn_as_long_as_all_the_rest() {
        let scale = Scale::of(&history(&[], stretch(500, 1000), stretch(0, 900_000)), 0.0, 400.0);
        assert_eq!(scale.short, Some(stretch(1000, 900_000)));
        assert_eq!([at(0), at(500), at(750), at(1000), at(900_000)].map(|at| scale.x(at)), [0.0, 100.0, 150.0, 200.0, 400.0]);
    }

    #[test]
    fn a_run_of_one_moment_is_drawn_too() {
        let scale = Scale::of(&history(&[], stretch(0, 0), stretch(0, 0)), 10.0, 400.0);
        assert_eq!(scale.x(at(0)), 10.0);
    }
}
