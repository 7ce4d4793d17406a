//! One file a command. Each renders from plain data; what it is about comes from the engine.

pub mod abort;
pub mod apply;
pub mod check;
pub mod completions;
pub mod confirm;
pub mod graph;
pub mod logs;
pub mod report;
pub mod resolve;
pub mod resume;
pub mod rollback;
pub mod runs;
pub mod schema;
pub mod status;
pub mod steps;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use almaplan_engine::plan::Mistake;
use almaplan_engine::step::local_zone;
use console::Term;
use jiff::Timestamp;

use crate::cli::{self, Action, ColorWhen, GlobalArgs, Progress};
use crate::diagnose::{Asked, Exit, Reason, Refusal, mistakes};
use crate::lang::Lang;
use crate::view::json::Json;
use crate::view::live::Live;
use crate::view::plain::Plain;
use crate::view::quiet::Quiet;
use crate::view::words::Words;
use crate::view::{Output, View};

/// What every command knows of how it was called. Made once.
#[derive(Debug)]
pub struct Globals {
    /// The language.
    pub lang: Arc<Lang>,
    /// `--state-dir`, where it was given.
    pub state_dir: Option<PathBuf>,
    /// How a run is shown: never [`Progress::Auto`], and live only on a terminal.
    pub progress: Progress,
    /// Colour on standard output.
    pub color: bool,
    /// Colour on standard error.
    pub color_err: bool,
}

impl Globals {
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
        Self {
            lang: Arc::new(lang),
            state_dir: args.state_dir.clone(),
            progress,
            color: color(Term::stdout()),
            color_err: color(Term::stderr()),
        }
    }

    /// How things are written on standard output.
    pub fn words(&self) -> Words {
        Words { lang: Arc::clone(&self.lang), zone: local_zone(), color: self.color }
    }

    /// How things are written on standard error.
    pub fn words_err(&self) -> Words {
        Words { color: self.color_err, ..self.words() }
    }

    /// The view that was chosen, for a run that was asked for as `asked`.
    pub fn output(&self, asked: Asked) -> Arc<Output> {
        let (out, err) = (std::io::stdout, std::io::stderr);
        let view: Box<dyn View> = match self.progress {
            Progress::Live => Box::new(Live::new(self.words())),
            Progress::Json => Box::new(Json::new(self.words_err(), Box::new(out()), Box::new(err()), asked)),
            Progress::Quiet => Box::new(Quiet::new(self.words(), Box::new(out()))),
            Progress::Plain | Progress::Auto => Box::new(Plain::new(self.words(), Box::new(out()))),
        };
        Output::new(view)
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
            print(&format!("{}\n", refusal.json(Timestamp::now())));
        }
        self.warn(refusal);
    }

    /// Tells people what went wrong beside a run, which itself is as it was told.
    pub fn warn(&self, refusal: &Refusal) {
        let _ = std::io::stderr().write_all(refusal.text(&self.words_err()).as_bytes());
    }

    /// Tells people something, beside what a run shows.
    pub fn tell(&self, key: &'static str, args: &[(&str, crate::lang::Value<'_>)]) {
        let _ = writeln!(std::io::stderr(), "{}", self.lang.with(key, args));
    }

    /// Shows the mistakes of a plan, warnings too, where people look.
    pub fn show_mistakes(&self, file: &Path, text: &str, found: &[Mistake]) {
        if !found.is_empty() {
            let shown = mistakes::text(&self.words_err(), self.width(), &file.display().to_string(), text, &mistakes::views(found));
            let _ = std::io::stderr().write_all(shown.as_bytes());
        }
    }

    /// A refusal in the chosen language.
    pub fn refusal(&self, reason: Reason, args: &[(&str, crate::lang::Value<'_>)]) -> Refusal {
        Refusal::new(&self.lang, reason, args)
    }
}

/// Whether there is colour. An explicit wish wins over `NO_COLOR`, which wins over what the terminal can do.
fn has_color(when: ColorWhen, no_color: bool, terminal: bool) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal && !no_color,
    }
}

/// The language, known before the command line is understood: its mistakes are told in it too.
pub fn language(args: &[OsString]) -> Lang {
    let system = sys_locale::get_locale();
    let env = std::env::var("ALMAPLAN_LANG").ok();
    Lang::choose(cli::peek(args, "lang").as_deref(), env.as_deref(), system.as_deref())
}

/// Prints on standard output. Whoever reads may have gone (`| head`): that is no failure.
pub fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Does what was asked.
///
/// # Errors
/// It was refused.
pub fn dispatch(action: &Action, globals: &Globals) -> Result<Exit, Refusal> {
    match action {
        Action::Check(args) => check::run(args, globals),
        Action::Apply(args) => apply::run(args, globals),
        Action::Resume(args) => resume::run(args, globals),
        Action::Abort(args) => abort::run(args, globals),
        Action::Rollback(args) => rollback::run(args, globals),
        Action::Resolve(args) => resolve::run(args, globals),
        Action::Status(args) => status::run(args, globals),
        Action::Runs(args) => runs::run(args, globals),
        Action::Logs(args) => logs::run(args, globals),
        Action::Report(args) => report::run(args, globals),
        Action::Graph(args) => graph::run(args, globals),
        Action::Steps(args) => steps::run(args, globals),
        Action::Schema => Ok(schema::run()),
        Action::Completions(args) => Ok(completions::run(args, globals)),
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
