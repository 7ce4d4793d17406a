//! The built-in kinds: one file each, and the rooms they share.
//!
//! Kinds know no plan and no journal; what they may know of their run comes through `almaplan_engine::step::Context`.

pub mod approval;
pub mod backup;
pub mod command;
pub mod deploy_log;
pub mod files;
pub mod http;
pub mod http_check;
pub mod human;
pub mod input;
mod lang;
pub mod log_check;
pub mod machine;
pub mod notify;
pub mod pip;
pub mod pip_download;
pub mod pip_restore;
pub mod preflight;
pub mod process;
pub mod prune;
mod python;
pub mod python_env;
pub mod restore;
pub mod service_control;
pub mod stage;
pub mod start_service;
pub mod stop_service;
pub mod sync;
#[cfg(test)]
mod test_context;
#[cfg(test)]
mod test_server;
pub mod watch;

use almaplan_engine::step::Registry;

/// Every built-in kind. A program that embeds the engine adds its own with [`Registry::with`].
pub fn registry() -> Registry {
    Registry::default()
        .with::<approval::Approval>()
        .with::<backup::Backup>()
        .with::<command::Command>()
        .with::<deploy_log::DeployLog>()
        .with::<http_check::HttpCheck>()
        .with::<log_check::LogCheck>()
        .with::<notify::Notify>()
        .with::<pip::Pip>()
        .with::<pip_download::PipDownload>()
        .with::<pip_restore::PipRestore>()
        .with::<preflight::Preflight>()
        .with::<prune::Prune>()
        .with::<python_env::PythonEnv>()
        .with::<restore::Restore>()
        .with::<stage::Stage>()
        .with::<service_control::ServiceControl>()
        .with::<start_service::StartService>()
        .with::<stop_service::StopService>()
        .with::<sync::Sync>()
        .with::<watch::Watch>()
}
