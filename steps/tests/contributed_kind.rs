//! The kind `wait-for-file`, as CONTRIBUTING.md shows it: waits until a file exists.

use std::path::PathBuf;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use almaplan_steps::human::DurationOr;

/// Waits until a file exists.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitForFile {
    /// The file.
    pub file: PathBuf,
    /// How long to wait between two looks.
    #[serde(default)]
    pub interval: DurationOr<1_000>,
}

/// What `wait-for-file` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitForFileOutput {
    /// The file, absolute.
    pub file: PathBuf,
}

impl Kind for WaitForFile {
    const KIND: &'static str = "wait-for-file";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Time::from_secs(60));
    type Output = WaitForFileOutput;

    async fn run(&self, cx: &Context) -> Result<WaitForFileOutput, Failure> {
        let file = cx.path(&self.file);
        while !file.exists() {
            tokio::select! {
                () = tokio::time::sleep(self.interval.0) => {}
                () = cx.cancelled() => return Err(Failure::clean(Stopped)),
            }
        }
        Ok(WaitForFileOutput { file })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_file_that_appears_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let kind: WaitForFile = serde_json::from_value(serde_json::json!({ "file": "there", "interval": "1ms" })).unwrap();
        let made = async { std::fs::write(folder.path().join("there"), "").unwrap() };
        let (waited, ()) = tokio::join!(kind.run(&cx), made);
        assert_eq!(waited.unwrap().file, folder.path().join("there"));
    }
}
