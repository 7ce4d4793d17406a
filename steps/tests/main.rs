//! The built-in kinds on real folders, real processes and real ports.
#![allow(clippy::unwrap_used)]

mod contributed_kind;
#[path = "../../tests/support/example.rs"]
mod example;
mod files;
#[cfg(unix)]
#[path = "../../tests/support/namespace.rs"]
mod namespace;
mod processes;
#[path = "../../tests/support/sample.rs"]
mod sample;
