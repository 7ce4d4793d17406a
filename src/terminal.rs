//! Where this process talks to whoever called it: language, colours, width, and how a run is shown. Made once.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use almaplan_engine::append_private;
use almaplan_engine::runs::NextCommand;
use almaplan_steps::local_host::local_zone;
use console::Term;
use jiff::Timestamp;

use crate::cli::{ColorWhen, GlobalArgs, Progress};
use crate::diagnose::Refusal;
use crate::exit::Intent;
use crate::lang::{Lang, Value};
use crate::view::format::Formatter;
use crate::view::json::Json;
use crate::view::live::Live;
use crate::view::plain::Plain;
use crate::view::quiet::Quiet;
use crate::view::recap::next_lines;
use crate::view::{Output, View};

/// The file in a run's folder that has what was shown once the terminal was gone.
const SCREEN: &str = "screen.log";

/// Standard output and standard error, as this process was told to use them.
#[derive(Debug, Clone)]
pub struct Terminal {
    lang: Arc<Lang>,
    /// Never [`Progress::Auto`], and live only on a terminal.
    progress: Progress,
    color: bool,
    color_err: bool,
    verbose: bool,
}

impl Terminal {
    /// From the command line and the environment.
    pub fn new(args: &GlobalArgs, lang: Lang) -> Self {
        let terminal = std::io::stdout().is_terminal() && !console::is_dumb();
        let progress = match args.progress {
            Progress::Auto | Progress::Live if terminal => Progress::Live,
            Progress::Auto | Progress::Live => Progress::Plain,
            chosen => chosen,
        };
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        // Asking the terminal also switches colours on where that is needed (Windows).
        let color = |term: Term| has_color(args.color, no_color, term.is_term() && term.features().colors_supported());
        Self { lang: Arc::new(lang), progress, color: color(Term::stdout()), color_err: color(Term::stderr()), verbose: args.verbose }
    }

    /// The language.
    pub fn lang(&self) -> &Arc<Lang> {
        &self.lang
    }

    /// How things are written on standard output.
    pub fn formatter(&self) -> Formatter {
        let width = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        Formatter { lang: Arc::clone(&self.lang), zone: local_zone(), color: self.color, width, verbose: self.verbose }
    }

    /// How things are written on standard error.
    pub fn formatter_err(&self) -> Formatter {
        let width = Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
        Formatter { color: self.color_err, width, ..self.formatter() }
    }

    /// The view that was chosen, for a run that was asked for with `intent`.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn output(&self, intent: Intent) -> std::io::Result<Arc<Output>> {
        let (out, err) = (std::io::stdout, std::io::stderr);
        let view: Box<dyn View> = match self.progress {
            Progress::Live => Box::new(Live::new(self.formatter())),
            Progress::Json => Box::new(Json::new(self.formatter_err(), Box::new(out()), Box::new(err()), intent)),
            Progress::Quiet => Box::new(Quiet::new(self.formatter(), Box::new(out()))),
            Progress::Plain | Progress::Auto => Box::new(Plain::new(self.formatter(), Box::new(out()))),
        };
        Output::new(view)
    }

    /// Whether somebody may be asked something while a run is shown: not where a program reads.
    pub fn asks(&self) -> bool {
        matches!(self.progress, Progress::Live | Progress::Plain)
    }

    /// The terminal is gone (rule 14): what a run shows goes into `folder` from here on.
    pub fn leave(&self, output: &Output, folder: &Path) {
        let formatter = Formatter { color: false, width: None, ..self.formatter() };
        let sink: Box<dyn Write + Send> = match append_private(&folder.join(SCREEN)) {
            Ok(file) => Box::new(file),
            Err(error) => {
                tracing::warn!(%error, "what is shown cannot be kept");
                Box::new(std::io::sink())
            }
        };
        output.show_on(Box::new(Plain::new(formatter, sink)));
    }

    /// How wide text may be.
    pub fn width(&self) -> usize {
        Term::stdout().size_checked().map_or(100, |(_, columns)| usize::from(columns))
    }

    /// Whether a command that can print its result as JSON does: it was told to (`asked`), or nothing else may be on standard output.
    pub fn json(&self, asked: bool) -> bool {
        asked || self.progress == Progress::Json
    }

    /// Shows a refusal where its reader looks.
    pub fn refuse(&self, refusal: &Refusal) {
        if self.progress == Progress::Json {
            print(&format!("{}\n", refusal.json(Timestamp::now(), &self.lang)));
        }
        self.warn(refusal);
    }

    /// Tells people what went wrong beside a run, which itself is as it was told.
    pub fn warn(&self, refusal: &Refusal) {
        self.complain(&refusal.text(&self.formatter_err(), self.width()));
    }

    /// Writes on standard error.
    pub fn complain(&self, text: &str) {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Tells people something, beside what a run shows.
    pub fn tell(&self, key: &'static str, args: &[(&str, Value<'_>)]) {
        let _ = writeln!(std::io::stderr(), "{}", self.lang.with(key, args));
    }
}

impl Terminal {
    /// Tells people what leads on, and what each would mean.
    pub fn tell_next(&self, next: &[NextCommand]) {
        let lines = next_lines(&self.formatter_err(), next);
        let _ = std::io::stderr().write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    }
}

/// Prints on standard output. Whoever reads may have gone (`| head`): that is no failure.
pub fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether there is colour. An explicit wish wins over `NO_COLOR`, which wins over what the terminal can do.
fn has_color(when: ColorWhen, no_color: bool, terminal: bool) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal && !no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_wish_for_colour_wins_over_no_color() {
        assert!(has_color(ColorWhen::Always, true, false));
        assert!(!has_color(ColorWhen::Never, false, true));
        assert!(!has_color(ColorWhen::Auto, true, true));
        assert!(!has_color(ColorWhen::Auto, false, false));
        assert!(has_color(ColorWhen::Auto, false, true));
    }
}
