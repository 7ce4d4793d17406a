//! Processes: real ones, on real ports.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod command;
mod common;
mod gate;
#[path = "../../../tests/support/namespace.rs"]
mod namespace;
mod reuse;
mod service;
mod service_control;
mod watch;
