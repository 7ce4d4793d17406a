//! The timeline as SVG: a bar for each attempt, in the order in which they began, and behind them when the service was down.
//!
//! The axis is true except where it would hide everything else: a gap without a process has a fixed width, and a stretch that is
//! much longer than all the rest, in which nothing began or ended, is drawn as long as the rest. Both are marked.

use almaplan_engine::update::{Phase, State};
use jiff::Timestamp;

use super::html::{Text, class_of, say};
use super::spans::{History, Span, Stretch};
use super::{ReportView, page};
use crate::view::words::{Words, state_key};

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

/// The timeline, and below it what its colours and bands mean.
pub(super) fn draw(view: &ReportView, words: &Words) -> String {
    let history = &view.history;
    let names: Vec<_> = history.spans.iter().map(|span| name(view, span)).collect();
    let letters = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
    let left = letters as f64 * 7.2 + 16.0;
    let scale = Scale::of(history, left, WIDTH - RIGHT);
    let bottom = TOP + history.spans.len() as f64 * ROW + 4.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"timeline\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">\
         <title>{}</title>\
         <defs><pattern id=\"stripes\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><path d=\"M0 0V6\"/></pattern></defs>\n",
        bottom + 4.0,
        say(words, "report-timeline"),
    );
    let mut band = |time: Stretch, class: &str| {
        let (x, to) = (scale.x(time.from), scale.x(time.to));
        svg.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            (to - x).max(1.0),
            bottom - TOP
        ));
    };
    history.outages.iter().for_each(|outage| band(outage.time, "down"));
    history.gaps.iter().for_each(|gap| band(*gap, "gap"));
    scale.short.into_iter().for_each(|short| band(short, "short"));
    svg.push_str(&scale.ticks(words, bottom));
    for (row, (span, name)) in history.spans.iter().zip(&names).enumerate() {
        svg.push_str(&bar(view, words, &scale, TOP + row as f64 * ROW, span, name));
    }
    if let Some(pivot) = history.pivot {
        let x = scale.x(pivot);
        svg.push_str(&format!("<path class=\"pivot\" d=\"M{x:.1} {TOP}V{bottom}\"/>\n"));
    }
    format!("<div class=\"wide\">{svg}</svg></div>\n{}", legend(history, words, scale.short))
}

/// `backup`, `↩ update`, and where several compensations make up for a step `↩ stop: start-service`; the second attempt `backup (2)`.
fn name(view: &ReportView, span: &Span) -> String {
    let again = if span.attempt > 1 { format!(" ({})", span.attempt) } else { String::new() };
    let several = view.known(&span.step).is_some_and(|step| step.compensate.len() > 1);
    let name = match span.phase {
        Phase::Forward | Phase::Finally => span.step.to_string(),
        Phase::Undo if several => format!("↩ {}: {}", span.step, view.kind(span)),
        Phase::Undo => format!("↩ {}", span.step),
    };
    format!("{}{again}", console::truncate_str(&name, LONGEST_NAME, "…"))
}

fn bar(view: &ReportView, words: &Words, scale: &Scale, y: f64, span: &Span, name: &str) -> String {
    let (x, to) = (scale.x(span.time.from), scale.x(span.time.to));
    let width = (to - x).max(NARROWEST);
    let about = format!(
        "{} · {} · {} · {}",
        span.step,
        page::what(view, words, span),
        words.lang.text(state_key(span.state)),
        page::from_to(words, span.time),
    );
    format!(
        "<g class=\"{}\"><title>{}</title><text x=\"0\" y=\"{:.1}\">{}</text>\
         <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\"/><text class=\"took\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
        class_of(span.state),
        Text(&about),
        y + 14.0,
        Text(name),
        y + 4.0,
        ROW - 6.0,
        x + width + 5.0,
        y + 14.0,
        Text(&page::took(words, span, span.time)),
    )
}

/// What is seen in it, and only that.
fn legend(history: &History, words: &Words, short: Option<Stretch>) -> String {
    let mut items = String::new();
    let mut item = |class: &str, text: &str| items.push_str(&format!("<li><i class=\"{class}\"></i>{}</li>", Text(text)));
    let states = [State::Succeeded, State::Failed, State::Undone, State::UndoFailed, State::Unknown, State::Started, State::UndoStarted];
    for state in states.into_iter().filter(|state| history.spans.iter().any(|span| span.state == *state)) {
        item(class_of(state), &words.lang.text(state_key(state)));
    }
    let bands = [
        ("down", "report-mark-down", history.outages.iter().map(|outage| outage.time).collect()),
        ("gap", "report-mark-gap", history.gaps.clone()),
    ];
    for (class, key, times) in bands.into_iter().chain([("short", "report-mark-short", Vec::from_iter(short))]) {
        times.into_iter().for_each(|time| item(class, &format!("{}: {}", words.lang.text(key), page::from_to(words, time))));
    }
    if let Some(pivot) = history.pivot {
        item("pivot", &format!("{}: {}", words.lang.text("graph-pivot"), page::clock(words, pivot)));
    }
    format!("<ul class=\"legend\">{items}</ul>\n")
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
    fn ticks(&self, words: &Words, bottom: f64) -> String {
        let mut svg = String::new();
        let mut free = f64::MIN;
        let begin = self.moments.first().map(|(at, _)| *at);
        for (at, x) in &self.moments {
            if *x >= free {
                let since = at.duration_since(begin.unwrap_or(*at)).as_secs_f64();
                svg.push_str(&format!(
                    "<path class=\"tick\" d=\"M{x:.1} {:.1}V{bottom}\"/><text class=\"at\" x=\"{:.1}\" y=\"14\">{}</text>\n",
                    TOP - 6.0,
                    x + 2.0,
                    Text(&words.duration(since)),
                ));
                free = x + BETWEEN_TICKS;
            }
        }
        svg
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
        let outages = vec![super::super::spans::Outage { time: outage, approximate: false, over: true }];
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
