//! What commands show, as plain data made of what the engine tells, and how it is put for people and for programs.

pub mod graph;
pub mod preview;
pub mod report;
pub mod runs;
pub mod spans;
pub mod status;

#[cfg(test)]
pub(crate) mod sample;
