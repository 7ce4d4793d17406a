//! Processes: real ones, on real ports.
#![allow(clippy::unwrap_used)]

mod command;
mod common;
#[path = "../../../tests/support/example.rs"]
mod example;
mod gate;
mod manager;
#[cfg(unix)]
#[path = "../../../tests/support/namespace.rs"]
mod namespace;
// Linux alone lets choose the next pid.
#[cfg(unix)]
mod reuse;
mod service;
mod service_control;
mod watch;
