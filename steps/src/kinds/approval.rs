//! `approval`: the run waits until a person says yes.
//!
//! The answer is kept before the step ends: one that was given is never asked for again, whatever crashes in between.

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Answer, Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{HEARD_FROM, Kind, Traits};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::human::Duration;
use crate::input::Word;
use crate::lang::Formatter;

/// Pauses until a person says yes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What is asked.
    pub message: Word,
    /// How long to wait for an answer; without it, as long as it takes.
    #[serde(default)]
    pub timeout: Option<Duration>,
}

/// Who said yes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalOutput {
    /// Who said yes.
    pub by: String,
    /// When, as RFC 3339 in UTC.
    pub at: String,
}

/// Why it is no yes.
#[derive(Debug, Serialize, thiserror::Error)]
enum ApprovalError {
    #[error("refused by {0}")]
    Refused(String),
    #[error("nobody answered within {0}")]
    Unanswered(String),
}

impl Kind for Approval {
    const KIND: &'static str = "approval";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).waiting_for_answer();
    type Output = ApprovalOutput;

    async fn run(&self, cx: &Context) -> Result<ApprovalOutput, Failure> {
        let by = match cx.recorded(HEARD_FROM) {
            Some(by) => by,
            None => cx.record(HEARD_FROM, self.ask(cx).await?).await?,
        };
        let at = cx.record("at", Timestamp::now().to_string()).await?;
        Ok(ApprovalOutput { by: text(by), at: text(at) })
    }
}

impl Approval {
    /// Who says yes.
    async fn ask(&self, cx: &Context) -> Result<String, Failure> {
        let how = Formatter::of(&cx.run().lang).say("approval-how", &[("run", cx.run().id.as_str()), ("step", cx.step().as_str())]);
        let asked = format!("{}\n{how}", self.message);
        cx.alert(asked);
        tokio::select! {
            answer = cx.answer() => match answer {
                Answer::Done { by, .. } => Ok(by),
                Answer::NotDone { by, .. } => Err(Failure::clean(ApprovalError::Refused(by))),
                // What a compensation is told is no yes.
                Answer::Undone(said) | Answer::GivenUp(said) => Err(Failure::clean(ApprovalError::Refused(said.by))),
            },
            limit = self.too_long() => Err(Failure::clean(ApprovalError::Unanswered(limit))),
            () = cx.cancelled() => Err(Failure::dirty(Stopped)),
        }
    }

    async fn too_long(&self) -> String {
        match self.timeout {
            Some(Duration(limit)) => {
                tokio::time::sleep(limit).await;
                humantime::format_duration(limit).to_string()
            }
            None => std::future::pending().await,
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use almaplan_engine::update::Level;
    use serde_json::{Map, json};

    use super::*;
    use crate::test_context::TestRun;

    fn step(timeout: Option<&str>) -> Approval {
        serde_json::from_value(json!({ "message": "Publicar a versão 1.4?", "timeout": timeout })).unwrap()
    }

    #[tokio::test]
    async fn a_yes_is_kept_before_the_step_ends() {
        let folder = tempfile::tempdir().unwrap();
        let run = TestRun { lang: "pt-BR", ..TestRun::default() };
        let cx = run.context(folder.path());
        let approval = step(None);
        let (output, ()) = tokio::join!(approval.run(&cx), async {
            while run.notes.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            run.answer.send_replace(Some(Answer::Done { outputs: Map::new(), by: "maria".to_owned(), because: None }));
        });
        assert_eq!(output.unwrap().by, "maria");
        let notes = run.notes.lock().unwrap();
        let told = "Publicar a versão 1.4?\nResponda com `almaplan resolve 20260206-141502-k3f9 record done` ou";
        assert!(notes[0].0 == Level::Alert && notes[0].1.starts_with(told), "{notes:?}");
        assert_eq!(run.kept.lock().unwrap()[0], "by=\"maria\"");
    }

    #[tokio::test]
    async fn a_yes_that_was_given_is_not_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let recorded = json!({ "by": "maria", "at": "2026-02-06T14:20:00Z" }).as_object().unwrap().clone();
        let run = TestRun { recorded, ..TestRun::default() };
        let output = step(None).run(&run.context(folder.path())).await.unwrap();
        assert_eq!((output.by.as_str(), output.at.as_str()), ("maria", "2026-02-06T14:20:00Z"));
        assert!(run.notes.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_no_a_silence_and_a_stop_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let run = TestRun::default();
        run.answer.send_replace(Some(Answer::NotDone { by: "joão".to_owned(), because: None }));
        assert_eq!(
            step(None).run(&run.context(folder.path())).await.unwrap_err(),
            Failure::clean(ApprovalError::Refused("joão".to_owned()))
        );
        let failure = step(Some("10ms")).run(&TestRun::default().context(folder.path())).await.unwrap_err();
        assert_eq!(failure, Failure::clean(ApprovalError::Unanswered("10ms".to_owned())));
        let run = TestRun::default();
        run.stop.cancel();
        assert!(!step(None).run(&run.context(folder.path())).await.unwrap_err().clean);
    }
}
