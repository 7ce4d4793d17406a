//! The real loop with scripted kinds, in paused time: what the executor owns of the contract of a run, one test for each promise.

#![allow(clippy::unwrap_used)]

mod ahead;
mod fake;
mod resuming;
mod size;
mod stage;
mod stopping;
mod time;
mod unwinding;
mod values;
