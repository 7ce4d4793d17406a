//! Processes: real ones, on real ports.

#[cfg(unix)]
mod comes_back;
mod command;
mod fixture;
mod gate;
mod manager;
// Linux alone lets choose the next pid.
#[cfg(unix)]
mod reuse;
mod service;
mod service_control;
mod watch;
