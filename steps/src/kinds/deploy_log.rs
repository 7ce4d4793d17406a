//! `deploy-log`: the history of a deployment, for people, in a text file beside what was deployed.
//!
//! One entry each time a run is settled. It is appended with one write and synced; when the step runs again after an
//! interruption it finds its own entry and leaves it. The folder is never created: a run that failed before the first deployment,
//! or a rollback that took the folder away, must not leave one that holds nothing but a log.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::context::{Context, RunInfo, Summary};
use almaplan_engine::event::{Effect, Failure, OnInterrupt, Outcome, Release, Standing, StepId};
use almaplan_engine::kind::{Kind, Traits};
use encoding_rs::UTF_8;
use jiff::{Timestamp, ZonedDateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::{Place, make_way};
use crate::input::{OrDefault, Word};
use crate::lang::{Formatter, in_words, visible};
use crate::local_host::local_zone;
use almaplan_engine::encoding;
use almaplan_engine::words::verbatim;

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
#[derive(Debug, Serialize, thiserror::Error)]
#[error("could not write {file}: {reason}", file = file.display())]
struct EntryError {
    file: PathBuf,
    #[serde(serialize_with = "verbatim")]
    reason: std::io::Error,
}

/// Where the entry is instead.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{error}; the entry goes to {}", beside.display())]
struct EntryNote {
    error: EntryError,
    beside: PathBuf,
}

impl Kind for DeployLog {
    const KIND: &'static str = "deploy-log";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Time::from_secs(60));
    type Output = DeployLogOutput;

    async fn run(&self, cx: &Context) -> Result<DeployLogOutput, Failure> {
        let zone = local_zone();
        let entry = self.entry(cx.run(), cx.summary(), &Timestamp::now().to_zoned_datetime(zone));
        let entry: Vec<String> = cx.masked(&visible(&entry.join("\n"))).lines().map(str::to_owned).collect();
        let file = cx.path(&self.file);
        let reason = match file.parent() {
            Some(folder) if folder.is_dir() => match append(&file, &entry) {
                Ok(written) => return Ok(DeployLogOutput { file: file.display().to_string(), written }),
                Err(reason) => reason,
            },
            _ => std::io::Error::other("its folder does not exist"),
        };
        let beside = cx.run().folder.join(FALLBACK);
        cx.warn(EntryNote { error: EntryError { file, reason }, beside: beside.clone() });
        let written = make_way(&cx.run().folder).and_then(|()| append(&beside, &entry));
        let written = written.map_err(|reason| Failure::clean(EntryError { file: beside.clone(), reason }))?;
        Ok(DeployLogOutput { file: beside.display().to_string(), written })
    }
}

impl DeployLog {
    /// The lines of the entry; the one at [`TIMES`] alone depends on when it is written.
    fn entry(&self, run: &RunInfo, summary: &Summary, ended: &ZonedDateTime) -> Vec<String> {
        let words = Formatter::of(&run.lang);
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
        lines.extend(self.serving(words, summary));
        lines.extend(why(summary).map(|key| words.say(key, &[])));
        for (step, failure) in &summary.failed {
            lines.push(words.say("entry-failed", &[("step", step.as_str())]));
            let error = failure.words.as_ref().and_then(|words| in_words(&run.lang, words)).unwrap_or_else(|| failure.message.clone());
            lines.push(words.say("entry-error", &[("error", &error.replace('\n', "\n  "))]));
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

    /// Which version serves, where that was asked.
    fn serving(&self, words: Formatter, summary: &Summary) -> Option<String> {
        let [version, previous] = [&self.version, &self.previous].map(|value| value.as_ref().and_then(shown));
        let version = match summary.release {
            Some(Release::New) => version,
            Some(Release::Old) => previous,
            None => None,
        };
        let version = version.filter(|version| version.chars().any(char::is_alphanumeric));
        match (summary.answers?, version, summary.release) {
            (false, ..) => Some(words.say("entry-down", &[])),
            (true, Some(version), _) => Some(words.say("entry-serves", &[("version", &version)])),
            (true, None, Some(Release::New)) => Some(words.say("entry-serves-new", &[])),
            (true, None, Some(Release::Old)) => Some(words.say("entry-serves-old", &[])),
            (true, None, None) => Some(words.say("entry-serves-unclear", &[])),
        }
    }

    fn versions(&self, words: Formatter) -> Option<String> {
        let [version, previous] = [&self.version, &self.previous].map(|value| value.as_ref().and_then(shown));
        Some(match (version.as_deref(), previous.as_deref()) {
            (Some(version), Some(previous)) => words.say("entry-version-change", &[("version", version), ("previous", previous)]),
            (Some(version), None) => words.say("entry-version", &[("version", version)]),
            (None, Some(previous)) => words.say("entry-previous", &[("previous", previous)]),
            (None, None) => return None,
        })
    }
}

/// The key of the status: a rollback is a failure that had something to undo; where nothing serves, nothing has succeeded.
fn status(summary: &Summary) -> &'static str {
    let down = summary.answers == Some(false);
    match summary.outcome {
        None => "status-unsettled",
        Some(Outcome::Succeeded | Outcome::Warned) if down => "status-down",
        Some(Outcome::Succeeded) if summary.standing == Standing::Unchanged => "status-unchanged",
        Some(Outcome::Succeeded) => "status-succeeded",
        Some(Outcome::Warned) => "status-warned",
        Some(Outcome::Compensated) if summary.unwound => "status-rolled-back",
        Some(Outcome::Compensated) => "status-failed",
        Some(Outcome::Stuck) => "status-stuck",
    }
}

/// The key of what is said of a run that was undone, or had nothing to undo: who asked for it, and what had been changed.
fn why(summary: &Summary) -> Option<&'static str> {
    match summary.standing {
        Standing::RolledBack => Some("entry-rolled-back"),
        Standing::Aborted => Some("entry-aborted"),
        Standing::NothingChanged => Some("entry-nothing-changed"),
        Standing::NothingOwed => Some("entry-nothing-owed"),
        Standing::Open if summary.aborted => Some("entry-aborted"),
        Standing::Open | Standing::Done | Standing::Unchanged | Standing::Undone => None,
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Appends `entry` to `file` unless it is there, as the file is written: PowerShell 5.1 made it in UTF-16. Whether it was written.
fn append(file: &Path, entry: &[String]) -> std::io::Result<bool> {
    let mut log = Place::of(file)?.append(0o666)?;
    let mut head = Vec::new();
    Read::by_ref(&mut log).take(encoding::HEAD as u64).read_to_end(&mut head)?;
    let written = encoding::sniff(&head).unwrap_or(UTF_8);
    let searched = log.metadata()?.len().saturating_sub(SEARCHED);
    // A character of UTF-16 begins at an even place.
    log.seek(SeekFrom::Start(searched & !1))?;
    let mut tail = Vec::new();
    log.read_to_end(&mut tail)?;
    let (tail, _) = written.decode_without_bom_handling(&tail);
    if has(&tail, entry) {
        return Ok(false);
    }
    let (mark, end) = conventions(std::env::consts::FAMILY, &tail);
    let begun = match (tail.is_empty(), tail.ends_with('\n')) {
        (true, _) => mark,
        (false, true) => "",
        (false, false) => end,
    };
    let text = format!("{begun}{}{end}{end}", entry.join(end));
    log.write_all(&encoding::encode(&text, written))?;
    log.sync_all()?;
    Ok(true)
}

/// How a text file begins and how its lines end. On Windows PowerShell 5.1 takes UTF-8 without the mark for ANSI, and Notepad before
/// 2018 shows one long line without the carriage returns. A file goes on as its lines end already.
fn conventions(family: &str, so_far: &str) -> (&'static str, &'static str) {
    match (family, so_far.contains("\r\n"), so_far.contains('\n')) {
        (_, true, _) => ("", "\r\n"),
        ("windows", false, false) => ("\u{feff}", "\r\n"),
        (_, false, _) => ("", "\n"),
    }
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

    // The script before us wrote its log with `>>` of PowerShell 5.1; UTF-8 appended to that is unreadable for every editor.
    #[test]
    fn a_log_in_utf16_is_continued_in_utf16() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deploy_log.txt");
        let before = "\u{feff}[05/02/2026] Deploy v1.1 concluído\r\n";
        std::fs::write(&file, encoding::encode(before, encoding_rs::UTF_16LE)).unwrap();
        let entry = ["[06/02/2026] Sucesso: almareia", "  Execução: r1", "  Início: agora"].map(str::to_owned);
        assert!(append(&file, &entry).unwrap());
        assert!(!append(&file, &entry).unwrap(), "twice");
        let text = encoding::decode(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(text, format!("{}{}\r\n\r\n", before.trim_start_matches('\u{feff}'), entry.join("\r\n")));
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
        let undone =
            Summary { unwound: true, aborted: true, answers: Some(false), standing: Standing::Aborted, ..summary(Outcome::Compensated) };
        let told = entry("pt-BR", undone.clone()).await;
        assert!(
            told.contains("Rollback")
                && told.contains("Desfeita a pedido do operador, antes do fim.")
                && told.contains("Nada atende: o serviço não responde."),
            "{told}"
        );
        let told = entry("en", undone).await;
        assert!(
            told.contains("Undone at a person's request, before its end.") && told.contains("Nothing serves: the service does not answer."),
            "{told}"
        );
    }

    #[tokio::test]
    async fn who_serves_is_said_with_its_version() {
        let step: DeployLog = serde_json::from_value(json!({ "file": "x", "version": "1.1.0", "previous": "1.0.0" })).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let told = |lang, outcome, standing, release, answers| {
            let cx = TestRun { lang, ..TestRun::default() }.context(folder.path());
            let ended = "2026-02-06T11:16:25-03:00[America/Sao_Paulo]".parse().unwrap();
            let summary = Summary { answers, standing, release, unwound: standing == Standing::RolledBack, ..summary(outcome) };
            step.entry(cx.run(), &summary, &ended).join("\n")
        };
        let (new, old) = (Some(Release::New), Some(Release::Old));
        let entry = told("pt-BR", Outcome::Succeeded, Standing::Done, new, Some(true));
        assert!(entry.contains("] Sucesso: ") && entry.contains("Quem atende: 1.1.0"), "{entry}");
        let entry = told("pt-BR", Outcome::Succeeded, Standing::Done, new, Some(false));
        assert!(!entry.contains("Sucesso") && entry.contains("Nada atende"), "{entry}");
        let entry = told("pt-BR", Outcome::Compensated, Standing::RolledBack, old, Some(true));
        assert!(entry.contains("Quem atende: 1.0.0") && entry.contains("depois de ter terminado com sucesso"), "{entry}");
        let entry = told("en", Outcome::Compensated, Standing::NothingChanged, old, Some(true));
        assert!(entry.contains("] Failure: ") && entry.contains("Nothing had been changed.") && entry.contains("Serves: 1.0.0"), "{entry}");
        let entry = told("en", Outcome::Succeeded, Standing::Unchanged, old, Some(true));
        assert!(entry.contains("] Nothing changed: "), "{entry}");
        let entry = told("en", Outcome::Succeeded, Standing::Done, new, None);
        assert!(!entry.contains("Serves"), "nobody asked: {entry}");
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
        let (mark, end) = conventions("windows", "");
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
