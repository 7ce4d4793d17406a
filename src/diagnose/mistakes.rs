//! Mistakes in a plan: each with its place, an excerpt, its code and a hint, and how many there are.
//!
//! Columns are counted in characters, as editors do (miette counts bytes, so [`Source`] counts for it). A plan may be one line of a
//! megabyte, and may have been written to deceive: an excerpt is a few lines and a few hundred bytes, and nothing of it acts on the
//! terminal.

use std::fmt;
use std::ops::Range;

use almaplan_engine::plan::{self, Mistake, is_invisible};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};

use super::GivenBy;
use super::places::Places;
use super::problem;
use crate::lang::Lang;
use crate::view::format::{Formatter, Style, sanitize};

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The plan cannot be run.
    Error,
    /// It can, but should it?
    Warning,
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct MistakeView {
    /// As programs see it.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is: bytes of the source. What lies outside is shown at the end.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Other places that explain it, with why.
    pub related: Vec<(Range<usize>, String)>,
    /// Who gave the value that it is about, where that was not the plan.
    pub given: Option<String>,
}

/// Bytes of a place that are marked.
const MOST_MARKED: usize = 400;
/// Bytes that are shown beside what is marked.
const MOST_BESIDE: usize = 400;
/// Bytes of several places that are shown as one excerpt.
const MOST_TOGETHER: usize = 4_000;

/// What the engine found, ready to be shown in a language. `given` is who gave values for variables, in the order of what was given.
pub fn views(lang: &Lang, found: &[Mistake], given: &[GivenBy]) -> Vec<MistakeView> {
    let view = |mistake: &Mistake| MistakeView {
        code: mistake.code().to_owned(),
        severity: match mistake.severity() {
            plan::Severity::Error => Severity::Error,
            plan::Severity::Warning => Severity::Warning,
        },
        span: mistake.span.clone(),
        message: problem::message(lang, &mistake.problem),
        hint: problem::hint(lang, &mistake.problem),
        related: mistake.related.iter().map(|(span, what)| (span.clone(), problem::related(lang, what))).collect(),
        given: mistake.given.and_then(|index| given.get(index)).map(|given| given.source.clone()),
    };
    found.iter().map(view).collect()
}

/// All mistakes of one file, as people read them: in the order of the file, then how many.
pub fn text(fmt: &Formatter, width: usize, file: &str, source: &str, mistakes: &[MistakeView]) -> String {
    let theme = if fmt.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width.max(40)).with_context_lines(1);
    let file = sanitize(file);
    let source = Source { file: &file, text: shown(source), places: Places::of(source) };
    let mut text = String::new();
    for mistake in in_order(mistakes) {
        let report = Report { mistake, source: &source };
        if handler.render_report(&mut text, &report).is_err() {
            // An excerpt is a courtesy: without it the mistake must still be told.
            let place = source.places.place(mistake.span.start);
            text.push_str(&format!("{file}:{}:{}: {report} ({})\n", place.line, place.column, mistake.code));
        }
        if let Some(given) = &mistake.given {
            let label = fmt.paint(Style::Strong, fmt.lang.text("given-by"));
            text.push_str(&format!("  {label} {}\n", sanitize(given)));
        }
        // Not miette's own help, whose label knows one language.
        if let Some(hint) = &mistake.hint {
            let label = fmt.paint(Style::Strong, fmt.lang.text("hint"));
            text.push_str(&format!("  {label} {}\n", sanitize(hint).trim_end().replace('\n', "\n    ")));
        }
        text.push('\n');
    }
    text.push_str(&summary(&fmt.lang, &file, mistakes));
    text.push('\n');
    text
}

/// The same for programs (`check --json`).
pub fn to_json(file: &str, source: &str, mistakes: &[MistakeView]) -> Value {
    let places = Places::of(source);
    let each: Vec<_> = in_order(mistakes)
        .into_iter()
        .map(|mistake| {
            let (start, end) = (places.place(mistake.span.start), places.place(mistake.span.end.max(mistake.span.start)));
            json!({
                "code": mistake.code,
                "severity": match mistake.severity { Severity::Error => "error", Severity::Warning => "warning" },
                "file": file,
                "line": start.line,
                "column": start.column,
                "end_line": end.line,
                "end_column": end.column,
                "message": mistake.message,
                "hint": mistake.hint,
                "given_by": mistake.given,
            })
        })
        .collect();
    json!({ "valid": is_valid(mistakes), "mistakes": each })
}

/// Whether a plan with these mistakes can be run.
pub fn is_valid(mistakes: &[MistakeView]) -> bool {
    mistakes.iter().all(|mistake| mistake.severity == Severity::Warning)
}

fn summary(lang: &Lang, file: &str, mistakes: &[MistakeView]) -> String {
    let warnings = mistakes.iter().filter(|mistake| mistake.severity == Severity::Warning).count();
    let errors = mistakes.len() - warnings;
    let count = |key: &str, n: usize| (n > 0).then(|| lang.with(key, &[("n", n.into())]));
    let counts: Vec<_> = [count("count-errors", errors), count("count-warnings", warnings)].into_iter().flatten().collect();
    let counts = counts.join(", ");
    match (errors, warnings) {
        (0, 0) => lang.with("check-valid", &[("file", file.into())]),
        (0, _) => format!("{}; {counts}", lang.with("check-valid", &[("file", file.into())])),
        _ => counts,
    }
}

fn in_order(mistakes: &[MistakeView]) -> Vec<&MistakeView> {
    let mut ordered: Vec<_> = mistakes.iter().collect();
    ordered.sort_by_key(|mistake| mistake.span.start);
    ordered
}

/// The source with what would act on a terminal replaced, byte for byte, so that spans still fit. That of a line's end too: an excerpt
/// may be cut before its `\n`.
fn shown(source: &str) -> String {
    let mut shown = String::with_capacity(source.len());
    for c in source.chars() {
        match c {
            '\t' | '\n' => shown.push(c),
            c if !is_invisible(c) => shown.push(c),
            // Three bytes, as most of what deceives.
            c if c.len_utf8() == 3 => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.extend(std::iter::repeat_n(' ', c.len_utf8())),
        }
    }
    shown
}

/// A file as miette reads it.
struct Source<'a> {
    file: &'a str,
    text: String,
    places: Places<'a>,
}

impl Source<'_> {
    /// A span that lies within the text, between characters.
    fn within(&self, span: &Range<usize>) -> SourceSpan {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.clamp(start, start + MOST_MARKED));
        (start, end - start).into()
    }

    /// What is shown of the lines around `span`.
    fn excerpt(&self, span: &SourceSpan, before: usize, after: usize) -> Range<usize> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let (first, last) = (self.places.line(start), self.places.line(end.saturating_sub(1).max(start)));
        // Without context the start itself is asked for: its line and column head the excerpt.
        let from = if before == 0 { start } else { self.places.line_start(first.saturating_sub(before)) };
        let to = self.places.line_start(last + after + 1);
        let most = self.text.ceil_char_boundary(end + MOST_BESIDE);
        from.max(self.text.floor_char_boundary(start.saturating_sub(MOST_BESIDE)))..to.min(most).max(end)
    }
}

impl SourceCode for Source<'_> {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // This keeps miette from showing two places as one with all that is between them.
        if span.len() > MOST_TOGETHER {
            return Err(MietteError::OutOfBounds);
        }
        let shown = self.excerpt(span, before, after);
        let place = self.places.place(shown.start);
        let data = &self.text.as_bytes()[shown.clone()];
        let lines = data.iter().filter(|&&byte| byte == b'\n').count();
        let (line, column) = (place.line - 1, place.column - 1);
        let span = (shown.start, shown.len()).into();
        Ok(Box::new(MietteSpanContents::new_named(self.file.to_owned(), data, span, line, column, lines)))
    }
}

/// A mistake as miette renders it.
#[derive(Debug)]
struct Report<'a> {
    mistake: &'a MistakeView,
    source: &'a Source<'a>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sanitize(&self.mistake.message))
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.mistake.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.mistake.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let own = LabeledSpan::new_primary_with_span(None, self.source.within(&self.mistake.span));
        let related = self
            .mistake
            .related
            .iter()
            .map(|(span, why)| LabeledSpan::new_with_span(Some(sanitize(why).into_owned()), self.source.within(span)));
        Some(Box::new(std::iter::once(own).chain(related)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    const PLAN: &str = "format = 1\n\n[plan]\nname = \"produção\"\n\n[steps.cópia]\nuses = \"bakup\"\nneeds = [\"preflight\"]\n\n[steps.b]\nuses = \"command\"\n";

    fn mistake(code: &str, severity: Severity, span: Range<usize>, message: &str) -> MistakeView {
        MistakeView { code: code.into(), severity, span, message: message.into(), hint: None, related: vec![], given: None }
    }

    fn of(what: &str) -> Range<usize> {
        let start = PLAN.find(what).unwrap();
        start..start + what.len()
    }

    fn several() -> Vec<MistakeView> {
        let mut unknown = mistake("unknown-kind", Severity::Error, of("\"bakup\""), "no kind is called `bakup`");
        unknown.hint = Some("did you mean `backup`?".into());
        let mut warning =
            mistake("no-reversibility", Severity::Warning, of("[steps.b]"), "step `b` changes things and says nothing of how it is undone");
        warning.related = vec![(of("\"command\""), "this kind changes things".into())];
        let need =
            mistake("unknown-need", Severity::Error, of("\"preflight\""), "step `cópia` needs `preflight`, which the plan does not have");
        vec![warning, need, unknown]
    }

    #[test]
    fn every_mistake_is_shown_in_the_order_of_the_file_with_its_place() {
        let shown = |language| text(&sample::fmt(language), 100, "plans/production.toml", PLAN, &several());
        insta::assert_snapshot!(format!("{}=====\n{}", shown(Language::En), shown(Language::PtBr)));
    }

    #[test]
    fn programs_get_the_same_places() {
        let value = to_json("p.toml", PLAN, &several());
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn no_source_and_no_span_is_too_odd_to_be_shown() {
        let sources = [
            "",
            "\n",
            "\r\n",
            "a",
            "é",
            "a\r\nb\r\n",
            "\t\ta = \"ção\"",
            "x = 1\n\n\n",
            "\u{1b}[2J = 1",
            "\u{feff}a = 1",
            "a\rb",
            "日本 = [\n1,\n2,\n",
        ];
        let fmt = sample::fmt(Language::En);
        for source in sources {
            for start in 0..source.len() + 2 {
                for end in [start, start + 1, start + 2, source.len(), usize::MAX, 0] {
                    let mistakes = [mistake("odd", Severity::Error, start..end, "something odd")];
                    let shown = text(&fmt, 80, "p.toml", source, &mistakes);
                    let here = Places::of(source).place(start);
                    assert!(
                        shown.contains("something odd") && shown.contains("1 error") && !shown.contains('\u{1b}'),
                        "{source:?} {start}..{end}:\n{shown}"
                    );
                    assert!(shown.contains(&format!("p.toml:{}:{}", here.line, here.column)), "{source:?} {start}..{end}:\n{shown}");
                    assert!(!shown.contains("Failed to read"), "{source:?} {start}..{end}:\n{shown}");
                    to_json("p.toml", source, &mistakes);
                }
            }
        }
    }

    // A long line was cut between the two bytes of its end, and the first of them was printed.
    #[test]
    fn a_long_line_of_windows_that_is_cut_at_its_end_leaves_nothing_that_acts() {
        let fmt = sample::fmt(Language::En);
        for beside in MOST_BESIDE - 4..MOST_BESIDE + 4 {
            let source = format!("a = 1 # {}\r\nb = 2\r\n", "x".repeat(beside));
            for start in 0..12 {
                let shown = text(&fmt, 80, "p.toml", &source, &[mistake("odd", Severity::Error, start..start + 1, "something odd")]);
                assert!(!shown.contains('\r'), "{beside} {start}: {shown:?}");
            }
        }
    }

    // The excerpt was blanked, but a key with an escape sequence in it was printed in the message as it was.
    #[test]
    fn nothing_of_a_plan_acts_on_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}1A\r\u{202e}\u{200b}x";
        let source = format!("\"{evil}\" = 1\n# {evil}\n");
        let mut found = mistake("odd", Severity::Error, 0..source.len(), &format!("the plan has no key `{evil}`"));
        found.hint = Some(evil.into());
        found.related = vec![(3..4, evil.into())];
        let shown = text(&sample::fmt(Language::En), 80, &format!("{evil}.toml"), &source, &[found]);
        assert!(!shown.contains(|c| c != '\n' && is_invisible(c)), "{shown:?}");
    }

    // Two places of one mistake were shown with all that is between them, and a long line was shown whole for each mistake in it.
    #[test]
    fn an_excerpt_of_a_long_line_is_short() {
        for between in ["1,", "1,\n"] {
            let source = format!("é = [{}1]", between.repeat(100_000));
            let mut found = mistake("odd", Severity::Error, 100_000..source.len(), "something odd");
            found.related = vec![(0..2, "here too".into())];
            let shown = text(&sample::fmt(Language::En), 80, "p.toml", &source, &[found]);
            let here = Places::of(&source).place(100_000);
            assert!(shown.len() < 20_000 && shown.contains("here too"), "{} bytes: {shown}", shown.len());
            assert!(shown.contains(&format!("p.toml:{}:{}", here.line, here.column)), "{shown}");
        }
    }

    #[test]
    fn warnings_alone_leave_a_plan_valid() {
        let warning = [mistake("w", Severity::Warning, 0..6, "hm")];
        assert_eq!(to_json("p", PLAN, &warning)["valid"], true);
        let fmt = sample::fmt(Language::En);
        assert!(text(&fmt, 80, "p.toml", PLAN, &warning).ends_with("p.toml is valid; 1 warning\n"));
        assert_eq!(text(&fmt, 80, "p.toml", PLAN, &[]), "p.toml is valid\n");
        assert_eq!(to_json("p", PLAN, &several())["valid"], false);
    }
}
