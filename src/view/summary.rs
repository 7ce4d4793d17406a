//! What a step came to, in a few words: its outputs, as a person reads them.

use almaplan_engine::kind::Kind as _;
use almaplan_engine::update::Unit;
use almaplan_steps::kinds::{
    backup::Backup, http_check::HttpCheck, log_check::LogCheck, prune::Prune, python_env::PythonEnv, stage::Stage,
    stop_service::StopService, sync::Sync, watch::Watch,
};
use serde_json::Value;

use super::format::Formatter;

/// What a step of the kind `uses` came to; `None` where its outputs are nothing that a person would want to know at once.
pub fn summary(fmt: &Formatter, uses: &str, outputs: &Value) -> Option<String> {
    let number = |name: &str| outputs[name].as_u64();
    let counted = |key: &'static str, n: u64| fmt.lang.with(key, &[("n", n.into())]);
    match uses {
        Backup::KIND => {
            let files = fmt.amount(number("files")?, None, Unit::Files);
            Some(format!("{}, {files}", fmt.bytes(number("bytes")?)))
        }
        Stage::KIND | Sync::KIND => {
            let parts = [("summary-changed", "changed"), ("summary-added", "added"), ("summary-deleted", "deleted")];
            let parts = parts.map(|(key, name)| (key, number(name).unwrap_or(0)));
            let parts: Vec<_> = parts.into_iter().filter(|(_, n)| *n > 0).map(|(key, n)| counted(key, n)).collect();
            Some(if parts.is_empty() { fmt.lang.text("summary-same-files") } else { parts.join(", ") })
        }
        PythonEnv::KIND => {
            let key = if outputs["created"].as_bool()? { "summary-environment-new" } else { "summary-environment-same" };
            Some(fmt.lang.text(key))
        }
        StopService::KIND => outputs["forced"].as_bool()?.then(|| fmt.lang.text("summary-forced")),
        HttpCheck::KIND => {
            let ready = fmt.duration(number("ready_ms")? as f64 / 1000.0);
            Some(fmt.lang.with("summary-ready", &[("duration", ready.into())]))
        }
        LogCheck::KIND => Some(counted("summary-lines", number("lines")?)),
        Watch::KIND => {
            let (cpu, memory) = (outputs["cpu_peak"].as_f64()?.round() as u64, fmt.bytes(number("memory_peak")?));
            Some(fmt.lang.with("summary-peaks", &[("cpu", cpu.into()), ("memory", memory.into())]))
        }
        Prune::KIND => Some(counted("summary-removed", outputs["removed"].as_array()?.len() as u64)),
        _ => None,
    }
}
