//! The built-in kinds: one file each, and the rooms they share.

pub mod command;
pub mod human;
pub mod machine;
pub mod process;
pub mod start_service;
pub mod stop_service;
pub mod watch;
pub mod approval;
pub mod deploy_log;
pub mod http;
pub mod http_check;
pub mod human;
mod lang;
pub mod log_check;
pub mod one_or_many;
mod ports;
pub mod preflight;
mod python;
pub mod python_env;
#[cfg(test)]
mod test_context;
#[cfg(test)]
mod test_server;
