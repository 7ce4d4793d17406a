//! `deploy-log`: the history of a deployment, for people, in a text file beside what was deployed.
//!
//! One entry each time a run is settled. It is appended with one write and synced; when the step runs again after an
//! interruption it finds its own entry and leaves it. The folder is never created: a run that failed before the first deployment,
//! or a rollback that took the folder away, must not leave one that holds nothing but a log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::event::{Outcome, StepId};
use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, RunInfo, Step, Summary, Traits, local_zone};
use jiff::{Timestamp, ZonedDateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::input::{OrDefault, Word};
use crate::lang::Words;

/// How much of the end of the file is searched for an entry of this run, in bytes.
const SEARCHED: u64 = 256 << 10;
/// The line of an entry that changes when it is written again.
const TIMES: usize = 2;
/// The file's name where its own folder is missing.
const FALLBACK: &str = "deploy_log.txt";

/// Appends how the run ended to a log for people: status, times, versions, downtime, and what failed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployLog {
    /// The log. Where its folder does not exist, the entry goes into the run's own folder.
    pub file: PathBuf,
    /// The headline; default: the plan's name.
    #[serde(default)]
    pub title: Option<Word>,
    /// The version that was deployed.
    #[serde(default)]
    pub version: Option<Value>,
    /// The version before.
    #[serde(default)]
    pub previous: Option<Value>,
    /// Further lines, `name: value`; those that are null are left out.
    #[serde(default)]
    pub details: OrDefault<Map<String, Value>>,
}

/// Where the entry is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeployLogOutput {
    /// The file it was written to.
    pub file: String,
    /// It was written now; `false`: it was there.
    pub written: bool,
}

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
#[error("could not write {file}: {reason}", file = file.display())]
struct LogError {
    file: PathBuf,
    reason: std::io::Error,
}

impl Step for DeployLog {
    const KIND: &'static str = "deploy-log";
    const TRAITS: Traits =
        Traits { effect: Effect::Observes, on_interrupt: OnInterrupt::Rerun, timeout: Some(Time::from_secs(60)), adopts: false };
    type Output = DeployLogOutput;

    async fn run(&self, cx: &Context) -> Result<DeployLogOutput, Failure> {
        let zone = local_zone();
        let entry = self.entry(cx.run(), cx.summary(), &Timestamp::now().to_zoned_datetime(zone));
        let entry: Vec<String> = cx.masked(&entry.join("\n")).lines().map(str::to_owned).collect();
        let file = cx.path(&self.file);
        let reason = match file.parent() {
            Some(folder) if folder.is_dir() => match append(&file, &entry) {
                Ok(written) => return Ok(DeployLogOutput { file: file.display().to_string(), written }),
                Err(reason) => reason,
            },
            _ => std::io::Error::other("its folder does not exist"),
        };
        let beside = cx.run().folder.join(FALLBACK);
        cx.warn(format!("{}; the entry goes to {}", LogError { file, reason }, beside.display()));
        let written = std::fs::create_dir_all(&cx.run().folder).and_then(|()| append(&beside, &entry));
        let written = written.map_err(|reason| Failure::clean(LogError { file: beside.clone(), reason }))?;
        Ok(DeployLogOutput { file: beside.display().to_string(), written })
    }
}

impl DeployLog {
    /// The lines of the entry; the one at [`TIMES`] alone depends on when it is written.
    fn entry(&self, run: &RunInfo, summary: &Summary, ended: &ZonedDateTime) -> Vec<String> {
        let words = Words::of(&run.lang);
        let started = run.started_at.to_zoned_datetime(ended.time_zone().clone());
        let duration = u64::try_from(ended.timestamp().as_millisecond() - started.timestamp().as_millisecond()).unwrap_or(0);
        let title = self.title.as_deref().unwrap_or(&run.plan);
        let (began, ended) = (words.moment(&started), words.moment(ended));
        let mut lines = vec![
            format!("[{began}] {}: {title}", words.say(status(summary), &[])),
            words.say("entry-run", &[("run", run.id.as_str())]),
            words.say("entry-times", &[("started", &began), ("ended", &ended), ("duration", &words.span(duration))]),
        ];
        lines.extend(self.versions(words));
        if let Some(downtime) = summary.downtime {
            let key = if downtime.approximate { "entry-downtime-approximate" } else { "entry-downtime" };
            lines.push(words.say(key, &[("downtime", &words.span(downtime.ms))]));
        }
        if summary.down {
            lines.push(words.say("entry-down", &[]));
        }
        if summary.aborted {
            lines.push(words.say("entry-aborted", &[]));
        }
        for (step, failure) in &summary.failed {
            lines.push(words.say("entry-failed", &[("step", step.as_str())]));
            lines.push(words.say("entry-error", &[("error", &failure.message.replace('\n', "\n  "))]));
        }
        if !summary.owed.is_empty() {
            let key = if summary.outcome == Some(Outcome::Stuck) { "entry-owed" } else { "entry-written-off" };
            let steps: Vec<&str> = summary.owed.iter().map(StepId::as_str).collect();
            lines.push(words.say(key, &[("steps", &steps.join(", "))]));
        }
        lines.extend(self.details.iter().filter_map(|(name, value)| Some(format!("{name}: {}", shown(value)?))));
        // An error may have several lines: all but the headline are indented, so that an entry is one block.
        let mut lines: Vec<String> = lines.join("\n").lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
        lines[0] = lines[0].trim_start().to_owned();
        lines
    }

    fn versions(&self, words: Words) -> Option<String> {
        let [version, previous] = [&self.version, &self.previous].map(|value| value.as_ref().and_then(shown));
        Some(match (version.as_deref(), previous.as_deref()) {
            (Some(version), Some(previous)) => words.say("entry-version-change", &[("version", version), ("previous", previous)]),
            (Some(version), None) => words.say("entry-version", &[("version", version)]),
            (None, Some(previous)) => words.say("entry-previous", &[("previous", previous)]),
            (None, None) => return None,
        })
    }
}

/// The key of the status: a rollback is a failure that had something to undo.
fn status(summary: &Summary) -> &'static str {
    match summary.outcome {
        None => "status-unsettled",
        Some(Outcome::Succeeded) => "status-succeeded",
        Some(Outcome::Warned) => "status-warned",
        Some(Outcome::Compensated) if summary.unwound => "status-rolled-back",
        Some(Outcome::Compensated) => "status-failed",
        Some(Outcome::Stuck) => "status-stuck",
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Appends `entry` to `file` unless it is there; whether it was written.
fn append(file: &Path, entry: &[String]) -> std::io::Result<bool> {
    let mut log = File::options().read(true).append(true).create(true).open(file)?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(SEARCHED)))?;
    let mut tail = Vec::new();
    log.read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    if has(&tail, entry) {
        return Ok(false);
    }
    let (mark, end) = conventions(std::env::consts::FAMILY);
    let begun = match (tail.is_empty(), tail.ends_with('\n')) {
        (true, _) => mark,
        (false, true) => "",
        (false, false) => end,
    };
    let text = format!("{begun}{}{end}{end}", entry.join(end));
    log.write_all(text.as_bytes())?;
    log.sync_all()?;
    Ok(true)
}

/// How a text file begins and how its lines end. On Windows PowerShell 5.1 takes UTF-8 without the mark for ANSI, and Notepad before
/// 2018 shows one long line without the carriage returns.
fn conventions(family: &str) -> (&'static str, &'static str) {
    if family == "windows" { ("\u{feff}", "\r\n") } else { ("", "\n") }
}

/// Whether `log` has `entry`, whatever times it was written with.
fn has(log: &str, entry: &[String]) -> bool {
    let lines: Vec<&str> = log.trim_start_matches('\u{feff}').lines().collect();
    lines.windows(entry.len()).any(|window| {
        let mut pairs = window.iter().zip(entry).enumerate();
        pairs.all(|(index, (found, line))| index == TIMES || found == line)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use almaplan_engine::event::Downtime;
    use almaplan_engine::update::Level;
    use serde_json::json;

    use super::*;
    use crate::test_context::TestRun;

    fn step() -> DeployLog {
        serde_json::from_value(json!({
            "file": "app/deploy_log.txt", "version": "1.4.0", "previous": null,
            "details": { "Backup": "App_Backup_20260206_141502.zip", "Nada": null, "Arquivos": 12 },
        }))
        .unwrap()
    }

    fn summary(outcome: Outcome) -> Summary {
        Summary { outcome: Some(outcome), ..Summary::default() }
    }

    fn failed(outcome: Outcome) -> Summary {
        let failure = Failure::clean("`/` answered 500, expected 200:\nboom");
        Summary { failed: vec![(StepId::new("health"), failure)], ..summary(outcome) }
    }

    async fn entry(lang: &'static str, summary: Summary) -> String {
        let folder = tempfile::tempdir().unwrap();
        let cx = TestRun { lang, ..TestRun::default() }.context(folder.path());
        let ended = "2026-02-06T11:16:25-03:00[America/Sao_Paulo]".parse().unwrap();
        step().entry(cx.run(), &summary, &ended).join("\n")
    }

    #[tokio::test]
    async fn a_success_is_told_in_both_languages() {
        let downtime = Some(Downtime { ms: 4_249, approximate: false });
        insta::assert_snapshot!(entry("pt-BR", Summary { downtime, ..summary(Outcome::Succeeded) }).await, @r"
        [06/02/2026 11:15:02] Sucesso: almareia-producao
          Execução: 20260206-141502-k3f9
          Início: 06/02/2026 11:15:02; fim: 06/02/2026 11:16:25; duração: 1 min 23 s
          Versão: 1.4.0
          Indisponibilidade: 4,2 s
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
        insta::assert_snapshot!(entry("en", Summary { downtime, ..summary(Outcome::Warned) }).await, @r"
        [2026-02-06 11:15:02] Success (with warnings): almareia-producao
          Run: 20260206-141502-k3f9
          Started: 2026-02-06 11:15:02; ended: 2026-02-06 11:16:25; duration: 1 min 23 s
          Version: 1.4.0
          Downtime: 4.2 s
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
    }

    #[tokio::test]
    async fn what_a_person_undid_is_said_to_be_so_and_a_service_that_is_down_too() {
        let undone = Summary { unwound: true, aborted: true, down: true, ..summary(Outcome::Compensated) };
        let told = entry("pt-BR", undone.clone()).await;
        assert!(
            told.contains("Rollback") && told.contains("Desfeita a pedido do operador.") && told.contains("O serviço não responde."),
            "{told}"
        );
        let told = entry("en", undone).await;
        assert!(told.contains("Undone at a person's request.") && told.contains("The service does not answer."), "{told}");
    }

    #[tokio::test]
    async fn a_failure_a_rollback_and_a_half_rollback_are_told_apart() {
        let downtime = Some(Downtime { ms: 83_000, approximate: true });
        let rollback = Summary { unwound: true, downtime, owed: vec![StepId::new("pip")], ..failed(Outcome::Compensated) };
        let stuck = Summary { unwound: true, owed: vec![StepId::new("update"), StepId::new("stop")], ..failed(Outcome::Stuck) };
        insta::assert_snapshot!(entry("pt-BR", failed(Outcome::Compensated)).await, @r"
        [06/02/2026 11:15:02] Falha: almareia-producao
          Execução: 20260206-141502-k3f9
          Início: 06/02/2026 11:15:02; fim: 06/02/2026 11:16:25; duração: 1 min 23 s
          Versão: 1.4.0
          Etapa com falha: health
          Erro: `/` answered 500, expected 200:
            boom
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
        insta::assert_snapshot!(entry("pt-BR", rollback).await, @r"
        [06/02/2026 11:15:02] Rollback: almareia-producao
          Execução: 20260206-141502-k3f9
          Início: 06/02/2026 11:15:02; fim: 06/02/2026 11:16:25; duração: 1 min 23 s
          Versão: 1.4.0
          Indisponibilidade: 1 min 23 s (aprox.)
          Etapa com falha: health
          Erro: `/` answered 500, expected 200:
            boom
          Não desfeito: pip
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
        insta::assert_snapshot!(entry("pt-BR", stuck.clone()).await, @r"
        [06/02/2026 11:15:02] Falha (rollback incompleto): almareia-producao
          Execução: 20260206-141502-k3f9
          Início: 06/02/2026 11:15:02; fim: 06/02/2026 11:16:25; duração: 1 min 23 s
          Versão: 1.4.0
          Etapa com falha: health
          Erro: `/` answered 500, expected 200:
            boom
          Ainda por desfazer: update, stop
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
        insta::assert_snapshot!(entry("en", stuck).await, @r"
        [2026-02-06 11:15:02] Failure (rollback incomplete): almareia-producao
          Run: 20260206-141502-k3f9
          Started: 2026-02-06 11:15:02; ended: 2026-02-06 11:16:25; duration: 1 min 23 s
          Version: 1.4.0
          Failed step: health
          Error: `/` answered 500, expected 200:
            boom
          Still to be undone: update, stop
          Backup: App_Backup_20260206_141502.zip
          Arquivos: 12
        ");
    }

    #[tokio::test]
    async fn each_settling_has_one_entry_however_often_the_step_runs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        let log = folder.path().join("app/deploy_log.txt");
        std::fs::write(&log, "an older entry, torn in the mid").unwrap();
        for summary in [failed(Outcome::Stuck), failed(Outcome::Stuck), summary(Outcome::Compensated), summary(Outcome::Compensated)] {
            let cx = TestRun { summary, ..TestRun::default() }.context(folder.path());
            step().run(&cx).await.unwrap();
        }
        let text = std::fs::read_to_string(&log).unwrap().replace("\r\n", "\n");
        let headlines: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert!(headlines.len() == 2 && headlines[0].ends_with("Failure (rollback incomplete): almareia-producao"), "{text}");
        assert!(headlines[1].ends_with("Failure: almareia-producao") && text.starts_with("an older entry, torn in the mid\n["), "{text}");
    }

    /// The mark stands before the first entry, which must still be found behind it.
    #[test]
    fn an_entry_behind_a_byte_order_mark_is_found() {
        let entry = ["[06/02/2026] Sucesso".to_owned(), "  Execução: x".to_owned()];
        let (mark, end) = conventions("windows");
        assert!(has(&format!("{mark}{}{end}", entry.join(end)), &entry));
    }

    #[tokio::test]
    async fn a_missing_folder_is_not_created_for_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let run = TestRun { summary: summary(Outcome::Compensated), ..TestRun::default() };
        let output = step().run(&run.context(folder.path())).await.unwrap();
        assert!(!folder.path().join("app").exists() && output.written);
        assert_eq!(output.file, folder.path().join("state").join("deploy_log.txt").display().to_string());
        let notes = run.notes.lock().unwrap();
        assert!(notes[0].0 == Level::Warning && notes[0].1.contains("its folder does not exist"), "{notes:?}");
    }
}
