//! Which version serves, and whether it answers: what every last line about a run is made of (rule 21).

use almaplan_engine::event::{AnswerFault, Outcome, Release, RunId, Standing, WrongAnswer};
use almaplan_engine::kind::Kind as _;
use almaplan_engine::runs::RunInputs;
use almaplan_engine::saga::Saga;
use almaplan_engine::update::Ending;
use almaplan_steps::kinds::deploy_log::DeployLog;
use serde_json::{Value, json};

use super::format::{Formatter, sanitize};

/// Which version serves, as far as a run tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Serving {
    /// What the run came to.
    pub standing: Standing,
    /// Which version is in place; `None` where that is not certain.
    pub release: Option<Release>,
    /// What that version is called, where the plan tells.
    pub version: Option<String>,
    /// Whether the measured service answers; `None` where none is measured, or where nobody asked.
    pub answers: Option<bool>,
    /// What was wrong with its answers.
    pub wrong: Option<WrongAnswer>,
    /// Nothing of the plan is measured.
    pub unmeasured: bool,
}

impl Serving {
    /// As the run last told.
    pub fn of(saga: &Saga, inputs: &RunInputs) -> Self {
        let (standing, release) = (saga.standing(), saga.release());
        // A release that is the same is told by either name.
        let names: &[&str] = match (release, standing) {
            (None, _) => &[],
            (Some(Release::New), _) => &["version"],
            (Some(Release::Old), Standing::Unchanged) => &["previous", "version"],
            (Some(Release::Old), _) => &["previous"],
        };
        let version = names.iter().find_map(|name| inputs.input(saga, DeployLog::KIND, name).and_then(named));
        let unmeasured = inputs.service_checks().is_empty();
        Self { standing, release, version, answers: saga.answers(), wrong: saga.wrong_answer().cloned(), unmeasured }
    }

    /// The same, with what the service answered just now.
    #[must_use]
    pub fn asked(self, wrong: Option<WrongAnswer>) -> Self {
        Self { answers: Some(wrong.is_none()), wrong, ..self }
    }

    /// What was done, and who serves now, in a few words.
    pub fn headline(&self, fmt: &Formatter, ending: Ending) -> String {
        let outcome = match ending {
            // Where nothing serves, nobody speaks of success.
            Ending::Settled(Outcome::Succeeded | Outcome::Warned) if self.answers == Some(false) => "outcome-done",
            _ => ending_key(ending, self.standing),
        };
        let outcome = fmt.lang.text(outcome);
        match self.who(fmt) {
            Some(who) => fmt.lang.with("headline", &[("outcome", outcome.into()), ("who", who.into())]),
            None => outcome,
        }
    }

    /// Who serves now; `None` where nothing tells.
    pub fn who(&self, fmt: &Formatter) -> Option<String> {
        Some(match (self.answers, self.release) {
            (None, _) => return None,
            (Some(false), _) => fmt.lang.text("serves-nothing"),
            (Some(true), None) => fmt.lang.text("serves-unclear"),
            (Some(true), Some(_)) => fmt.lang.with("serves", &[("version", self.version_name(fmt).into())]),
        })
    }

    /// What the version in place is called.
    pub fn version_name(&self, fmt: &Formatter) -> String {
        match (&self.version, self.release) {
            (Some(version), _) => version.clone(),
            (None, Some(Release::New)) => fmt.lang.text("version-new"),
            (None, Some(Release::Old)) if self.standing == Standing::Unchanged => fmt.lang.text("version-same"),
            (None, Some(Release::Old)) => fmt.lang.text("version-old"),
            (None, None) => fmt.lang.text("version-unclear"),
        }
    }

    /// What was wrong with the answers of the service, where anything was.
    pub fn why_not(&self, fmt: &Formatter) -> Option<String> {
        self.wrong.as_ref().map(|wrong| wrong_answer(fmt, wrong))
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let serves = match (self.answers, self.release) {
            (Some(false), _) => Some("nothing"),
            (_, Some(Release::New)) => Some("new"),
            (_, Some(Release::Old)) => Some("old"),
            (_, None) => None,
        };
        let wrong = self.wrong.as_ref().map(|wrong| {
            let (found, status) = match wrong.found {
                AnswerFault::NoAnswer => ("no-answer", None),
                AnswerFault::Status(status) => ("status", Some(status)),
                AnswerFault::Content => ("content", None),
            };
            json!({ "url": wrong.url, "found": found, "status": status })
        });
        json!({ "serves": serves, "version": self.version, "answers": self.answers, "wrong": wrong })
    }
}

/// An address, and what it did instead of answering as it should.
pub fn wrong_answer(fmt: &Formatter, wrong: &WrongAnswer) -> String {
    let url = ("url", wrong.url.as_str().into());
    match wrong.found {
        AnswerFault::NoAnswer => fmt.lang.with("wrong-no-answer", &[url]),
        AnswerFault::Status(status) => fmt.lang.with("wrong-status", &[url, ("status", status.to_string().into())]),
        AnswerFault::Content => fmt.lang.with("wrong-content", &[url]),
    }
}

/// The last part of a run's id, which people tell runs apart by.
pub fn short(run: &RunId) -> &str {
    run.as_str().rsplit('-').next().unwrap_or(run.as_str())
}

/// A version that says something.
pub fn named(value: Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let text = sanitize(text.trim()).into_owned();
    text.chars().any(char::is_alphanumeric).then_some(text)
}

/// The key of an ending's name in the catalogues: who decided it, and whether anything was changed, are told apart.
pub fn ending_key(ending: Ending, standing: Standing) -> &'static str {
    match (ending, standing) {
        (Ending::Settled(Outcome::Succeeded), Standing::Unchanged) => "outcome-unchanged",
        (Ending::Settled(Outcome::Succeeded), _) => "outcome-succeeded",
        (Ending::Settled(Outcome::Warned), _) => "outcome-warned",
        (Ending::Settled(Outcome::Compensated), Standing::NothingChanged) => "outcome-nothing-changed",
        (Ending::Settled(Outcome::Compensated), Standing::NothingOwed) => "outcome-failed",
        (Ending::Settled(Outcome::Compensated), Standing::Aborted) => "outcome-aborted",
        (Ending::Settled(Outcome::Compensated), Standing::RolledBack) => "outcome-rolled-back",
        (Ending::Settled(Outcome::Compensated), _) => "outcome-compensated",
        (Ending::Settled(Outcome::Stuck), _) => "outcome-stuck",
        (Ending::Paused, _) => "outcome-paused",
        (Ending::Interrupted, _) => "outcome-interrupted",
    }
}
