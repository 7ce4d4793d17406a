//! The built-in kinds: one file each, and the rooms they share.
//!
//! Kinds know no plan and no journal; what they may know of their run comes through `almaplan_engine::context::Context`.

pub mod archive;
mod checked;
pub mod env_file;
pub mod files;
pub mod http;
pub mod human;
pub mod input;
pub mod kinds;
pub mod lang;
pub mod local_host;
pub mod logs;
pub mod process;
mod python;
mod recovery;
mod release;
mod snapshot;
#[cfg(test)]
mod test_context;
#[cfg(test)]
mod test_server;

use almaplan_engine::registry::Registry;

use crate::kinds::{
    approval, backup, command, db_backup, db_restore, deploy_log, http_check, log_check, notify, pip, pip_download, pip_restore, preflight,
    prune, python_env, restore, service_control, stage, start_service, stop_service, sync, watch,
};

/// Every built-in kind. A program that embeds the engine adds its own with [`Registry::with`].
pub fn registry() -> Registry {
    Registry::default()
        .with::<approval::Approval>()
        .with::<backup::Backup>()
        .with::<command::Command>()
        .with::<db_backup::DbBackup>()
        .with::<db_restore::DbRestore>()
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
