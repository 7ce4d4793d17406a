//! The built-in kinds: one file each, and the rooms they share.

pub mod command;
pub mod human;
pub mod machine;
pub mod process;
pub mod start_service;
pub mod stop_service;
pub mod watch;
