//! `pip`: changes the packages of an interpreter in place, from wheels that were fetched before.
//!
//! pip is not atomic, and never removes what is no longer asked for: the way back is `pip-restore`.

use std::path::PathBuf;
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::python::{Python, Wanted};

/// Installs a requirements file in place, from the wheels of `pip-download`; never from the network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pip {
    /// The interpreter whose packages are changed: a path, or a program's name.
    #[serde(deserialize_with = "checked::filled")]
    pub python: String,
    /// The requirements file.
    pub requirements: PathBuf,
    /// The folder of wheels.
    pub wheels: PathBuf,
}

/// Nothing that others need.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PipOutput {}

impl Kind for Pip {
    const KIND: &'static str = "pip";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(30 * 60));
    type Output = PipOutput;

    async fn run(&self, cx: &Context) -> Result<PipOutput, Failure> {
        let python = Python::find(cx, &self.python).map_err(|error| error.failure(true))?;
        let file = cx.path(&self.requirements);
        Wanted::read(&file).map_err(|error| error.failure(true))?;
        let wheels = cx.path(&self.wheels);
        python.install(cx, &file, None, Some(&wheels), &[]).await.map_err(|error| error.failure(false))?;
        Ok(PipOutput {})
    }
}
