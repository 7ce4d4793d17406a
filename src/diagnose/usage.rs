//! Why a command line cannot be understood, in a language that clap does not speak.

use std::error::Error as _;

use almaplan_engine::runs::RunIdError;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::cli::BadValue;
use crate::lang::{Lang, Value};

/// What was wrong, what was perhaps meant, how it is used, and where more is to be had.
pub fn text(error: &Error, lang: &Lang) -> String {
    let wrong = wrong(error, lang).unwrap_or_else(|| said(error));
    let mut text = format!("{} {wrong}\n", lang.text("error"));
    let meant = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    if let Some(names) = meant.into_iter().find_map(|kind| context(error, kind)) {
        let hint = lang.with("usage-meant", &[("names", names.into())]);
        text.push_str(&format!("{} {hint}\n", lang.text("hint")));
    }
    if let Some(usage) = context(error, ContextKind::Usage) {
        let line = usage.trim_start_matches("Usage:").trim().replace("[OPTIONS]", &lang.text("usage-options"));
        text.push_str(&format!("\n{} {line}\n", lang.help("help-heading-usage")));
    }
    text.push_str(&format!("\n{}\n", lang.text("usage-more")));
    text
}

/// What was wrong; `None` where the error says so itself.
fn wrong(error: &Error, lang: &Lang) -> Option<String> {
    let arg = || context(error, ContextKind::InvalidArg).map(|arg| ("arg", Value::from(arg)));
    let value = || Some(("value", Value::from(context(error, ContextKind::InvalidValue)?)));
    let said = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(error, ContextKind::InvalidSubcommand)?;
            lang.with("usage-unknown-command", &[("name", name.into())])
        }
        ErrorKind::UnknownArgument => lang.with("usage-unknown-argument", &[arg()?]),
        ErrorKind::MissingRequiredArgument => lang.with("usage-missing", &[arg()?]),
        ErrorKind::ArgumentConflict => {
            let prior = context(error, ContextKind::PriorArg)?;
            lang.with("usage-conflict", &[arg()?, ("prior", prior.into())])
        }
        ErrorKind::InvalidValue => match value().filter(|(_, value)| *value != Value::from("")) {
            None => lang.with("usage-no-value", &[arg()?]),
            Some(value) => {
                let taken = context(error, ContextKind::ValidValue)?;
                lang.with("usage-not-one-of", &[arg()?, value, ("taken", taken.into())])
            }
        },
        ErrorKind::ValueValidation => {
            let bad = error.source().and_then(|source| source.downcast_ref::<BadValue>());
            let reason = lang.text(bad.map_or("usage-no-number", key));
            lang.with("usage-bad-value", &[arg()?, value()?, ("reason", reason.into())])
        }
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => lang.with("usage-too-many", &[arg()?]),
        _ => return None,
    };
    Some(said)
}

/// The words for a value that does not fit.
fn key(bad: &BadValue) -> &'static str {
    match bad {
        BadValue::NoAssignment => "usage-no-assignment",
        BadValue::NoDuration => "usage-no-duration",
        BadValue::NoName => "usage-no-name",
        BadValue::NoNewId(RunIdError::Characters) => "usage-id-characters",
        BadValue::NoNewId(RunIdError::TooLong) => "usage-id-long",
        BadValue::NoNewId(RunIdError::Reserved) => "usage-id-reserved",
        BadValue::NoUrlPath => "usage-no-url-path",
    }
}

/// What an error says by itself: its first paragraph, as what is missing may be listed below the first line.
pub fn said(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// What clap tells of one thing, its names separated by commas.
fn context(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ffi::OsString;

    use crate::cli::parse;
    use crate::lang::Language;

    use super::*;

    #[test]
    fn a_command_line_that_cannot_be_understood_is_told_in_portuguese() {
        let lang = Lang::new(Language::PtBr);
        let long = "x".repeat(65);
        let lines = [
            "aply",
            "apply",
            "apply p.toml --progres json",
            "apply p.toml --progress",
            "apply p.toml --progress sjon",
            "apply p.toml --var x",
            "apply p.toml --lock-timeout soon",
            "apply p.toml --run last",
            "apply p.toml --run -",
            &format!("apply p.toml --run {long}"),
            "apply p.toml q.toml",
            "resolve r s",
            "resolve r s not-done --output a=1",
            "logs ..",
            "prune --keep x",
            "init --health login",
            "init --port 70000",
            "completions zz",
        ];
        let told = lines.map(|line| {
            let args = std::iter::once("almaplan").chain(line.split(' ')).map(OsString::from);
            format!("$ almaplan {line}\n{}\n", text(&parse(args, &lang).unwrap_err(), &lang))
        });
        let told = told.concat();
        for english in ["Usage", "error:", "tip:", "For more", "[OPTIONS]", "required", "invalid", "unexpected"] {
            assert!(!told.contains(english), "{english} in:\n{told}");
        }
        insta::assert_snapshot!(told);
    }
}
