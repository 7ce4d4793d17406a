//! The built-in kinds, one file each.

pub mod approval;
pub mod backup;
pub mod command;
mod db;
pub mod db_backup;
pub mod db_restore;
pub mod deploy_log;
pub mod http_check;
pub mod log_check;
pub mod notify;
pub mod pip;
pub mod pip_download;
pub mod pip_restore;
pub mod preflight;
pub mod prune;
pub mod python_env;
pub mod restore;
pub mod service_control;
pub mod stage;
pub mod start_service;
pub mod stop_service;
pub mod sync;
pub mod watch;
