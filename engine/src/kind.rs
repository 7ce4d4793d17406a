//! What a kind of step is to the engine: the [`Kind`] trait, and the [`Traits`] that hold for every step of a kind.
//!
//! A kind sees its own typed inputs and the [`Context`]; it never sees the plan or the journal, and it prints nothing.

use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::event::{Effect, Failure, OnInterrupt};
use crate::preview::{Before, Preview};

/// A kind of step: its fields are the inputs (`with`), typed and documented; their docs are what `almaplan steps` shows.
///
/// Implementors derive `Deserialize` with `#[serde(deny_unknown_fields)]` and `JsonSchema`.
pub trait Kind: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The name that plans `use`.
    const KIND: &'static str;
    /// What the engine must know before it runs one.
    const TRAITS: Traits;
    /// What a succeeded step leaves for others, as `steps.<id>.<field>`.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// Does the work. May be called again after an interruption, and as a compensation of work done partly or not at all.
    ///
    /// It ends soon after [`Context::cancelled`]; what it then returns counts only if it is `Ok`.
    fn run(&self, cx: &Context) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// What these inputs cannot mean together, whatever the machine is like. Asked when the plan is checked, and before it runs.
    ///
    /// # Errors
    /// Why not, in words for the author of the plan.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// What it would do here and now, after what the steps `before` it would have changed. It looks and changes nothing; what it starts to
    /// look with ends with it. Without an implementation it would run, and no more can be said.
    fn preview(&self, cx: &Context, before: &Before) -> impl Future<Output = Preview> + Send {
        let _ = (cx, before);
        std::future::ready(Preview::default())
    }

    /// What an interruption of these very inputs means (a check that writes is not one that reads).
    fn on_interrupt(&self) -> OnInterrupt {
        Self::TRAITS.on_interrupt
    }

    /// How long an attempt with these inputs may take where the plan does not say; `None` is without limit.
    fn default_timeout(&self) -> Option<Duration> {
        Self::TRAITS.timeout
    }
}

/// What holds for every step of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// What running it does to the world.
    pub effect: Effect,
    /// What an interruption means (rule 6).
    pub on_interrupt: OnInterrupt,
    /// How long one attempt may take where neither the plan nor the inputs say.
    pub timeout: Option<Duration>,
    /// Goes on with the live process that an earlier attempt of it spawned, which is therefore not ended before it runs again (rule 18).
    pub adopts: bool,
    /// Waits for a person's answer ([`Context::answer`]) while it runs: only the attempt itself can hear one. Once it has heard a yes it
    /// records [`HEARD_FROM`], before anything else.
    pub waits_for_answer: bool,
}

/// The output in which a step that waits for an answer records who gave it.
pub const HEARD_FROM: &str = "by";

impl Traits {
    /// Without a limit of time; it neither adopts a process nor waits for a person.
    pub const fn new(effect: Effect, on_interrupt: OnInterrupt) -> Self {
        Self { effect, on_interrupt, timeout: None, adopts: false, waits_for_answer: false }
    }

    /// See [`Traits::timeout`].
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// See [`Traits::adopts`].
    #[must_use]
    pub const fn adopting(self) -> Self {
        Self { adopts: true, ..self }
    }

    /// See [`Traits::waits_for_answer`].
    #[must_use]
    pub const fn waiting_for_answer(self) -> Self {
        Self { waits_for_answer: true, ..self }
    }
}
