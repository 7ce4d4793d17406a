//! Why the state, the machine's folder, a lock or a secret cannot be used, in the language of whoever reads it.
//!
//! What the system says of a file stays as it is, but for the commonest; so does what is wrong in a damaged journal.

use std::error::Error;
use std::io;

use almaplan_engine::journal::JournalError;
use almaplan_engine::lock::LockError;
use almaplan_engine::plan::SecretSource;
use almaplan_engine::runs::SecretError;
use almaplan_engine::trust::Distrust;

use crate::lang::{Lang, Value};

/// What the system says of a file: the commonest in our words, as it speaks English only.
pub(super) fn file(lang: &Lang, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => lang.text("file-not-found"),
        io::ErrorKind::PermissionDenied => lang.text("file-denied"),
        io::ErrorKind::IsADirectory => lang.text("file-is-folder"),
        _ => lang.with("file-other", &[text("detail", error)]),
    }
}

/// Why a secret cannot be had, and where it was looked for.
pub(super) fn secret(lang: &Lang, error: &SecretError, from: &SecretSource) -> String {
    let reason = match error {
        SecretError::NotSet => lang.text("secret-not-set"),
        SecretError::TooShort { least } => lang.with("secret-too-short", &[("least", Value::from(*least as u64))]),
        SecretError::File { source, .. } => file(lang, source),
        error => error.to_string(),
    };
    match from {
        SecretSource::Env(name) => lang.with("secret-of-env", &[text("name", name), text("reason", reason)]),
        SecretSource::File(path) => lang.with("secret-of-file", &[text("file", path.display()), text("reason", reason)]),
    }
}

/// Why something is not believed (rule 23).
pub(super) fn distrust(lang: &Lang, distrust: &Distrust) -> String {
    let path = text("path", distrust.path().display());
    match distrust {
        Distrust::Foreign { owner, .. } => lang.with("distrust-foreign", &[path, text("owner", owner)]),
        Distrust::Writable { .. } => lang.with("distrust-writable", &[path]),
        Distrust::NotA { wanted, .. } => lang.with("distrust-not-a", &[path, text("wanted", wanted)]),
        Distrust::Io { source, .. } => lang.with("distrust-io", &[path, text("error", file(lang, source))]),
        distrust => distrust.to_string(),
    }
}

/// What is wrong with a journal, where that is known.
pub(super) fn damage(lang: &Lang, error: &JournalError) -> String {
    match error {
        JournalError::Damaged { run: Some(run), seq: Some(seq), what } => {
            lang.with("damage-of-event", &[text("run", run), text("seq", seq), text("what", what)])
        }
        JournalError::Damaged { run: Some(run), seq: None, what } => lang.with("damage-of-run", &[text("run", run), text("what", what)]),
        JournalError::Damaged { what, .. } => lang.with("damage", &[text("what", what)]),
        JournalError::NotOurs(_) => lang.text("damage-not-ours"),
        error => chain(error),
    }
}

/// Why the state cannot be used.
pub(super) fn journal(lang: &Lang, error: &JournalError) -> String {
    match error {
        JournalError::Io { path, source, .. } => lang.with("file-at", &[text("path", path.display()), text("error", file(lang, source))]),
        error => chain(error),
    }
}

/// Why the machine's folder cannot be used.
pub(super) fn lock(lang: &Lang, error: &LockError) -> String {
    match error {
        LockError::Io { path, source, .. } => lang.with("file-at", &[text("path", path.display()), text("error", file(lang, source))]),
        LockError::UnfitFolder { .. } => lang.text("lock-on-share"),
        LockError::DamagedRecord { file, what } => lang.with("lock-record-damaged", &[text("file", file.display()), text("what", what)]),
        error => chain(error),
    }
}

/// An error with its sources, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn text(name: &'static str, value: impl std::fmt::Display) -> (&'static str, Value<'static>) {
    (name, value.to_string().into())
}

#[cfg(test)]
mod tests {
    use almaplan_engine::event::RunId;

    use super::*;
    use crate::lang::Language;

    #[test]
    fn what_cannot_be_used_is_told_in_both_languages() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let file = || "/srv/app/x".into();
        let mut told = Vec::new();
        for language in Language::ALL {
            let lang = &Lang::new(language);
            let (env, of_file) = (SecretSource::Env("APP_TOKEN".to_owned()), SecretSource::File(file()));
            told.push(secret(lang, &SecretError::NotSet, &env));
            told.push(secret(lang, &SecretError::TooShort { least: 4 }, &of_file));
            told.push(secret(lang, &SecretError::File { file: file(), source: denied() }, &of_file));
            told.push(distrust(lang, &Distrust::Foreign { path: file(), owner: "ana".to_owned() }));
            told.push(distrust(lang, &Distrust::Writable { path: file() }));
            told.extend(["folder", "regular file"].map(|wanted| distrust(lang, &Distrust::NotA { path: file(), wanted })));
            told.push(distrust(lang, &Distrust::Io { path: file(), source: denied() }));
            let damaged = |run, seq| JournalError::Damaged { run, seq, what: "a hash".to_owned() };
            told.push(damage(lang, &damaged(Some(RunId::new("r1")), Some(7))));
            told.push(damage(lang, &damaged(Some(RunId::new("r1")), None)));
            told.push(damage(lang, &damaged(None, None)));
            told.push(damage(lang, &JournalError::NotOurs(file())));
            told.push(journal(lang, &JournalError::Io { doing: "open", path: file(), source: denied() }));
            told.push(lock(lang, &LockError::Io { doing: "open", path: file(), source: denied() }));
            told.push(lock(lang, &LockError::UnfitFolder { folder: file(), what: "it is on a network share" }));
            told.push(lock(lang, &LockError::DamagedRecord { file: file(), what: "no JSON".to_owned() }));
        }
        insta::assert_snapshot!(told.join("\n"));
    }
}
