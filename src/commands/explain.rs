//! `almaplan explain [CODE]`: what a code means, with an example and the way out.
//!
//! The words are in `lang/explain.en.ftl` and its like; the examples, which are plans with exactly that mistake, in `explain/`.

use crate::cli::ExplainArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::terminal::{Terminal, print};
use crate::view::format::{Formatter, Style};

/// Columns of the paragraphs where no terminal says how wide it is.
const WIDTH: usize = 100;
/// Exit codes are below this.
const EXITS: u8 = 10;

macro_rules! with_examples {
    ($($code:literal)*) => { [$(($code, Some(include_str!(concat!("explain/", $code, ".toml"))))),*] };
}

/// The codes of mistakes in plans, each with an example.
const MISTAKES: [(&str, Option<&str>); 43] = with_examples! {
    "ALM0001" "ALM0002" "ALM0003" "ALM0004" "ALM0005" "ALM0006" "ALM0007" "ALM0008" "ALM0009" "ALM0010" "ALM0011" "ALM0012" "ALM0013"
    "ALM0014" "ALM0015" "ALM0016" "ALM0017" "ALM0018" "ALM0019" "ALM0020" "ALM0021" "ALM0022" "ALM0023" "ALM0024" "ALM0025" "ALM0026"
    "ALM0027" "ALM0028" "ALM0029" "ALM0030" "ALM0031" "ALM0032" "ALM0033" "ALM0034" "ALM0035" "ALM0036" "ALM0037" "ALM0038" "ALM0039"
    "ALM0040" "ALM0041" "ALM0042" "ALM0044"
};
/// One that only a very wrong plan has.
const UNTOLD: (&str, Option<&str>) = ("ALM0043", None);

/// What can be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// A mistake in a plan, and an example of it.
    Mistake(&'static str, Option<&'static str>),
    /// An exit code.
    Exit(u8),
}

impl Code {
    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        let mut mistakes: Vec<_> = MISTAKES.into_iter().chain([UNTOLD]).collect();
        mistakes.sort_unstable();
        mistakes.into_iter().map(|(code, example)| Self::Mistake(code, example)).chain((0..EXITS).map(Self::Exit))
    }

    /// The one that is meant: `ALM0007`, `alm7`, `3`.
    fn find(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        Self::all().find(|code| match (code, text.strip_prefix("ALM")) {
            (Self::Mistake(code, _), Some(digits)) => digits.parse::<u16>().is_ok_and(|number| format!("ALM{number:04}") == **code),
            (Self::Exit(code), None) => text == code.to_string(),
            (Self::Mistake(..), None) | (Self::Exit(_), Some(_)) => false,
        })
    }

    fn name(self, lang: &Lang) -> String {
        match self {
            Self::Mistake(code, _) => code.to_owned(),
            Self::Exit(code) => lang.with("explain-exit", &[("code", code.to_string().into())]),
        }
    }

    fn key(self) -> String {
        match self {
            Self::Mistake(code, _) => format!("explain-{}", code.to_ascii_lowercase()),
            Self::Exit(code) => format!("explain-exit-{code}"),
        }
    }
}

/// Explains a code, or lists all that there are.
///
/// # Errors
/// There is no such code.
pub fn run(args: &ExplainArgs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let fmt = terminal.formatter();
    let fmt = Formatter { width: Some(fmt.width.unwrap_or(WIDTH)), ..fmt };
    match &args.code {
        None => print(&list(&fmt)),
        Some(text) => print(&one(&fmt, Code::find(text).ok_or_else(|| Refusal::UnknownCode(text.clone()))?)),
    }
    Ok(Exit::Ok)
}

fn list(fmt: &Formatter) -> String {
    let heading = |key: &str| format!("{}\n", fmt.paint(Style::Strong, fmt.lang.text(key)));
    let mut text = heading("explain-heading-codes");
    for code in Code::all() {
        if code == Code::Exit(0) {
            text.push('\n');
            text.push_str(&heading("explain-heading-exits"));
        }
        let name = match code {
            Code::Mistake(code, _) => code.to_owned(),
            Code::Exit(code) => format!("{code:>7}"),
        };
        let meaning = fmt.lang.text(&code.key());
        let first = meaning.split_inclusive(". ").next().unwrap_or_default().trim_end();
        text.extend(fmt.wrap(&format!("  {name}  "), "           ", first).into_iter().map(|line| line + "\n"));
    }
    text
}

fn one(fmt: &Formatter, code: Code) -> String {
    let (lang, key) = (&fmt.lang, code.key());
    let heading = |text: String| format!("{}\n", fmt.paint(Style::Strong, text));
    let paragraph = |text: &str| fmt.wrap("  ", "  ", text).into_iter().map(|line| line + "\n").collect::<String>();
    let mut text = heading(code.name(lang)) + &paragraph(&lang.text(&key));
    if let Code::Mistake(_, Some(example)) = code {
        text.push('\n');
        text.push_str(&heading(lang.text("explain-heading-example")));
        text.extend(example.lines().map(|line| format!("{}\n", format!("  {line}").trim_end())));
    }
    text + "\n" + &heading(lang.text("explain-heading-way")) + &paragraph(&lang.form(&key, "way", &[]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::lang::Language;

    fn formatter(language: Language) -> Formatter {
        let zone = jiff::tz::TimeZone::UTC;
        Formatter { lang: Arc::new(Lang::new(language)), zone, color: false, width: Some(80), verbose: false }
    }

    #[test]
    fn every_code_of_the_plan_format_is_explained() {
        let table = include_str!("../../docs/plan-format.md").lines().filter_map(|line| line.strip_prefix("| ALM")?.get(..4));
        let told: BTreeSet<String> = table.map(|digits| format!("ALM{digits}")).collect();
        let explained = Code::all().filter(|code| matches!(code, Code::Mistake(..))).map(|code| code.name(&Lang::new(Language::En)));
        assert_eq!(explained.collect::<BTreeSet<_>>(), told);
    }

    #[test]
    fn every_explanation_is_there_in_every_language() {
        for language in Language::ALL {
            let lang = Lang::new(language);
            for code in Code::all() {
                assert!(lang.has_help(&code.key()), "{} in {}", code.key(), language.tag());
                assert!(!one(&formatter(language), code).is_empty());
            }
        }
        let [en, pt] = [Language::En, Language::PtBr].map(|language| list(&formatter(language)));
        assert!(en.lines().count() > 50 && en != pt);
    }

    #[cfg(unix)] // one of them is about a value for another system
    #[test]
    fn every_example_has_the_mistake_that_it_is_of_and_no_other() {
        use almaplan_engine::plan::{self, Given};

        for (code, example) in MISTAKES {
            let given = Given { overrides: &[], env: &|_| Some("x".to_owned()), is_final: true };
            let loaded = plan::load_given(example.unwrap(), std::path::Path::new("/plans/loja.toml"), &almaplan_steps::registry(), given);
            let found: BTreeSet<&str> = loaded.mistakes.iter().map(plan::Mistake::code).collect();
            assert_eq!(found, BTreeSet::from([code]), "{:?}", loaded.mistakes);
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for text in ["ALM0007", "alm0007", "alm7", " ALM007 "] {
            assert!(matches!(Code::find(text), Some(Code::Mistake("ALM0007", Some(_)))), "{text}");
        }
        assert_eq!(Code::find("3"), Some(Code::Exit(3)));
        for text in ["ALM0000", "ALM9999", "ALM", "10", "-1", "", "x"] {
            assert_eq!(Code::find(text), None, "{text}");
        }
    }

    #[test]
    fn the_page_of_a_code() {
        let page = |language, code| one(&formatter(language), Code::find(code).unwrap());
        insta::assert_snapshot!("explain_en", page(Language::En, "ALM0007") + "\n" + &page(Language::En, "3"));
        insta::assert_snapshot!("explain_pt", page(Language::PtBr, "ALM0007") + "\n" + &page(Language::PtBr, "3"));
    }
}
