//! What `apply` would do here and now.

use almaplan_engine::event::{RunId, StepId};
use almaplan_engine::kind::Kind as _;
use almaplan_engine::preview::{Amount, Told};
use almaplan_engine::runs::{EarlierRun, InTheWay, Means, RunPreview, StepPreview, StepVerdict, WayBack};
use almaplan_steps::kinds::deploy_log::DeployLog;
use serde_json::{Value, json};

use crate::lang::Value as Word;
use crate::view::format::{Formatter, Style, sanitize};
use crate::view::serving::{Serving, named, short};
use crate::view::titles::title;

/// The longest text of a value that is shown to people, in characters: a command may be a whole program.
const LONGEST: usize = 160;

/// What a run would do.
#[derive(Debug, Clone)]
pub struct PreviewView {
    /// `[plan] name`.
    pub plan: String,
    /// The version in place and the new one, where the plan tells.
    pub versions: (Option<String>, Option<String>),
    /// The steps, in order.
    pub steps: Vec<PreviewStep>,
    /// The `finally` steps, which run with any outcome.
    pub finally: Vec<StepTitle>,
    /// What a failure would undo, by where it happens.
    pub ways_back: Vec<PreviewWayBack>,
    /// How long the service was down in earlier runs, in seconds, the newest first; `None` where no run measured it.
    pub downtimes: Option<Vec<f64>>,
    /// Another run that holds the target.
    pub in_the_way: Option<Blocking>,
    /// Nothing that is in service would change.
    pub changes_nothing: bool,
}

/// What a step would do.
#[derive(Debug, Clone)]
pub struct PreviewStep {
    /// Its name.
    pub id: StepId,
    /// What it is called on a screen.
    pub title: String,
    /// Its kind.
    pub uses: String,
    /// Whether it is the pivot.
    pub pivot: bool,
    /// Whether it would run.
    pub verdict: StepVerdict,
    /// What its kind tells.
    pub told: Vec<Told>,
    /// The outputs of earlier steps that it depends on and that are not known yet.
    pub missing: Vec<String>,
    /// The step that must run before more can be told.
    pub after: Option<StepTitle>,
}

/// A step by both of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTitle {
    /// Its name.
    pub id: StepId,
    /// What it is called on a screen.
    pub title: String,
}

/// What would be undone where a step failed.
#[derive(Debug, Clone)]
pub struct PreviewWayBack {
    /// The first step of which this is true.
    pub from: StepTitle,
    /// The last one.
    pub until: StepTitle,
    /// What is undone, in this order, each with the kinds that do it; `None`: the failure is a warning.
    pub undo: Option<Vec<(StepTitle, Vec<String>)>>,
}

/// Another run that holds the target.
#[derive(Debug, Clone)]
pub struct Blocking {
    /// Which, and whose, where that is on record.
    pub run: Option<(RunId, String)>,
    /// Whether it is going on now.
    pub is_running: bool,
    /// The command that goes on with it.
    pub next: Option<String>,
}

impl PreviewView {
    /// What `preview` tells.
    pub fn of(preview: &RunPreview) -> Self {
        let name = |place: usize| {
            let step = preview.step(place);
            StepTitle { id: step.id.clone(), title: preview.masked(&title(&step.id, step.description.as_deref())) }
        };
        let by_id = |id: &StepId| {
            let place = preview.plan.steps.iter().position(|step| step.id == *id);
            place.map_or_else(|| StepTitle { id: id.clone(), title: id.to_string() }, name)
        };
        let step = |step: &StepPreview| {
            let (planned, StepTitle { id, title }) = (preview.step(step.place), name(step.place));
            PreviewStep {
                id,
                title,
                uses: planned.action.uses.clone(),
                pivot: planned.pivot,
                verdict: step.verdict.clone(),
                told: step.told.clone(),
                missing: step.missing.clone(),
                after: step.after.as_ref().map(by_id),
            }
        };
        let way_back = |way: &WayBack| {
            let kinds = |place: usize| preview.step(place).compensate.iter().map(|by| by.action.uses.clone()).collect();
            let undo = match &way.means {
                Means::Warning => None,
                Means::Undo(steps) => Some(steps.iter().map(|&place| (name(place), kinds(place))).collect()),
            };
            PreviewWayBack { from: name(way.from), until: name(way.until), undo }
        };
        Self {
            plan: preview.plan.name.clone(),
            versions: versions(preview),
            steps: preview.steps.iter().map(step).collect(),
            finally: (0..preview.plan.finally.len()).map(|at| name(preview.plan.steps.len() + at)).collect(),
            ways_back: preview.ways_back.iter().map(way_back).collect(),
            downtimes: downtimes(&preview.earlier),
            in_the_way: preview.in_the_way.as_ref().map(Blocking::of),
            changes_nothing: preview.changes_nothing(),
        }
    }

    /// For people.
    pub fn text(&self, fmt: &Formatter) -> String {
        let mut lines = vec![self.headline(fmt)];
        lines.extend(self.in_the_way.iter().flat_map(|blocking| blocking.lines(fmt)));
        lines.push(String::new());
        lines.extend(self.steps.iter().flat_map(|step| step.lines(fmt)));
        lines.push(String::new());
        if !self.finally.is_empty() {
            let steps = self.finally.iter().map(|step| step.title.as_str()).collect::<Vec<_>>().join(", ");
            lines.extend(fmt.wrap("", "  ", &fmt.lang.with("preview-finally", &[("steps", steps.into())])));
            lines.push(String::new());
        }
        lines.push(fmt.paint(Style::Strong, fmt.lang.text("preview-if-it-fails")));
        lines.extend(self.ways_back.iter().flat_map(|way| way.lines(fmt)));
        lines.push(String::new());
        lines.extend(self.downtime(fmt).into_iter().flat_map(|text| fmt.wrap("", "  ", &text)));
        if self.changes_nothing {
            lines.extend(fmt.wrap("", "  ", &fmt.lang.text("preview-changes-nothing")));
        }
        lines.extend(fmt.wrap("", "  ", &fmt.lang.text("preview-nothing-was-changed")));
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn headline(&self, fmt: &Formatter) -> String {
        let plan = fmt.paint(Style::Strong, &self.plan);
        match &self.versions {
            (Some(old), Some(new)) => format!("{plan}   {old} → {new}"),
            (Some(old), None) => format!("{plan}   {}", fmt.lang.with("preview-version-now", &[("version", old.as_str().into())])),
            (None, Some(new)) => format!("{plan}   → {new}"),
            (None, None) => plan,
        }
    }

    /// How long the service may be down, by earlier runs.
    fn downtime(&self, fmt: &Formatter) -> Option<String> {
        let downtimes = self.downtimes.as_ref()?;
        let last = *downtimes.first()?;
        if downtimes.iter().all(|seconds| *seconds == 0.0) {
            return Some(fmt.lang.text("preview-never-down"));
        }
        let last = fmt.duration(last);
        if downtimes.len() == 1 {
            return Some(fmt.lang.with("preview-downtime-last", &[("last", last.into())]));
        }
        let least = fmt.duration(downtimes.iter().copied().fold(f64::INFINITY, f64::min));
        let most = fmt.duration(downtimes.iter().copied().fold(0.0, f64::max));
        let runs = downtimes.len() as u64;
        let args = [("last", last.into()), ("runs", runs.into()), ("least", least.into()), ("most", most.into())];
        Some(fmt.lang.with("preview-downtime", &args))
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "plan": self.plan,
            "version": { "now": self.versions.0, "new": self.versions.1 },
            "steps": self.steps.iter().map(PreviewStep::to_json).collect::<Vec<_>>(),
            "finally": self.finally.iter().map(|step| &step.id).collect::<Vec<_>>(),
            "ways_back": self.ways_back.iter().map(PreviewWayBack::to_json).collect::<Vec<_>>(),
            "downtimes": self.downtimes,
            "in_the_way": self.in_the_way.as_ref().map(Blocking::to_json),
            "changes_nothing": self.changes_nothing,
        })
    }
}

/// The version in place and the new one: as the log of deployments would name them, else as the newest run that put one in place did.
fn versions(preview: &RunPreview) -> (Option<String>, Option<String>) {
    let named = |name: &str| preview.input(DeployLog::KIND, name).and_then(named).map(|version| preview.masked(&version));
    let served = || preview.earlier.first().and_then(|earlier| Serving::of(&earlier.saga, &earlier.inputs).version);
    (named("previous").or_else(served), named("version"))
}

fn downtimes(earlier: &[EarlierRun]) -> Option<Vec<f64>> {
    let measured = earlier.iter().filter(|earlier| earlier.measured);
    let downtimes: Vec<f64> = measured.map(|earlier| earlier.downtime.map_or(0.0, |down| down.ms as f64 / 1000.0)).collect();
    (!downtimes.is_empty()).then_some(downtimes)
}

impl PreviewStep {
    /// Its name for programs, its message, its sign and colour.
    fn verdict(&self) -> (&'static str, &'static str, &'static str, Style) {
        match &self.verdict {
            StepVerdict::Runs => ("would-run", "preview-would-run", "▸", Style::Good),
            StepVerdict::UpToDate => ("up-to-date", "preview-up-to-date", "=", Style::Faint),
            StepVerdict::Skipped(_) => ("skipped", "preview-skipped", "○", Style::Faint),
            StepVerdict::CannotTell(_) => ("cannot-tell", "preview-cannot-tell", "?", Style::Warning),
            StepVerdict::Fails(_) => ("would-fail", "preview-would-fail", "✖", Style::Bad),
        }
    }

    fn why(&self) -> Option<String> {
        match &self.verdict {
            StepVerdict::Runs | StepVerdict::UpToDate => None,
            StepVerdict::Skipped(when) => Some(one_line(when)),
            StepVerdict::CannotTell(outputs) => Some(outputs.join(", ")),
            StepVerdict::Fails(failure) => Some(failure.message.clone()),
        }
    }

    fn lines(&self, fmt: &Formatter) -> Vec<String> {
        let (_, message, sign, style) = self.verdict();
        let (lang, indent) = (&fmt.lang, "      ");
        let said = match (&self.verdict, self.why()) {
            (StepVerdict::Fails(_), _) | (_, None) => lang.text(message),
            (_, Some(why)) => lang.with(message, &[("why", clipped(&why).into())]),
        };
        let line = lang.with("preview-step", &[("step", self.title.as_str().into()), ("verdict", said.into())]);
        let mut lines = fmt.wrap(&format!("  {} ", fmt.paint(style, sign)), "    ", &line);
        let mut more = |text: String| lines.extend(fmt.wrap(indent, indent, &text).into_iter().map(|line| fmt.paint(Style::Faint, line)));
        if let StepVerdict::Fails(failure) = &self.verdict {
            fmt.failure(failure).lines().for_each(|line| more(sanitize(line).into_owned()));
        }
        self.told.iter().for_each(|told| more(told_text(fmt, told)));
        if !self.missing.is_empty() {
            more(lang.with("preview-missing", &[("outputs", self.missing.join(", ").into())]));
        }
        if let Some(after) = &self.after {
            more(lang.with("preview-after", &[("step", after.title.as_str().into())]));
        }
        lines
    }

    fn to_json(&self) -> Value {
        json!({
            "step": self.id,
            "uses": self.uses,
            "title": self.title,
            "pivot": self.pivot,
            "verdict": self.verdict().0,
            "why": self.why(),
            "told": self.told.iter().map(Told::to_json).collect::<Vec<_>>(),
            "missing": self.missing,
            "after": self.after.as_ref().map(|after| &after.id),
        })
    }
}

impl PreviewWayBack {
    fn lines(&self, fmt: &Formatter) -> Vec<String> {
        let lang = &fmt.lang;
        let (from, until) = (("from", self.from.title.as_str().into()), ("until", self.until.title.as_str().into()));
        let place =
            if self.from == self.until { lang.with("preview-fails-in", &[from]) } else { lang.with("preview-fails-from", &[from, until]) };
        let what = match &self.undo {
            None => lang.text("preview-undoes-warning"),
            Some(undo) if undo.is_empty() => lang.text("preview-undoes-nothing"),
            Some(undo) => {
                let step = |(step, kinds): &(StepTitle, Vec<String>)| format!("{} ({})", step.title, kinds.join(", "));
                lang.with("preview-undoes", &[("steps", undo.iter().map(step).collect::<Vec<_>>().join(" → ").into())])
            }
        };
        [fmt.wrap("  ", "    ", &place), fmt.wrap("      ", "      ", &what)].concat()
    }

    fn to_json(&self) -> Value {
        let undo = |(step, kinds): &(StepTitle, Vec<String>)| json!({ "step": step.id, "uses": kinds });
        json!({
            "from": self.from.id,
            "until": self.until.id,
            "warning": self.undo.is_none(),
            "undo": self.undo.iter().flatten().map(undo).collect::<Vec<_>>(),
        })
    }
}

impl Blocking {
    fn of(found: &InTheWay) -> Self {
        let holder = found.holder.as_ref();
        Self {
            run: holder.map(|holder| (holder.run.clone(), holder.user.clone())),
            is_running: found.is_running,
            next: holder.map(|holder| holder.next.clone()),
        }
    }

    fn lines(&self, fmt: &Formatter) -> Vec<String> {
        let args = self.run.as_ref().map(|(run, user)| [("run", short(run).into()), ("user", user.as_str().into())]);
        let text = match (&args, self.is_running) {
            (Some(args), true) => fmt.lang.with("preview-run-going-on", args),
            (Some(args), false) => fmt.lang.with("preview-run-unsettled", args),
            (None, _) => fmt.lang.text("preview-target-held"),
        };
        let next = self.next.as_ref().filter(|_| !self.is_running).map(|next| format!("    {}", sanitize(next)));
        let sign = fmt.paint(Style::Warning, "!");
        fmt.wrap(&format!("{sign} "), "  ", &text).into_iter().chain(next).collect()
    }

    fn to_json(&self) -> Value {
        let (run, user) = self.run.as_ref().map(|(run, user)| (run, user)).unzip();
        json!({ "run": run, "user": user, "running": self.is_running, "next": self.next })
    }
}

/// What a kind tells, in the words of a language.
fn told_text(fmt: &Formatter, told: &Told) -> String {
    let value = |amount: &Amount| -> Word<'static> {
        match amount {
            Amount::Count(n) => (*n).into(),
            Amount::Bytes(bytes) => fmt.bytes(*bytes).into(),
            Amount::Seconds(seconds) => fmt.elapsed(*seconds).into(),
            Amount::Text(text) => clipped(&one_line(text)).into(),
            Amount::Names(names) => clipped(&names.join(", ")).into(),
        }
    };
    let values: Vec<(&str, Word<'static>)> = told.values.iter().map(|(name, amount)| (*name, value(amount))).collect();
    match message_of(told.what) {
        Some(key) => fmt.lang.with(key, &values),
        None => sanitize(&told.to_json().to_string()).into_owned(),
    }
}

/// The message about what a kind tells; `None` where the kind is no built-in one.
fn message_of(what: &str) -> Option<&'static str> {
    Some(match what {
        "files" => "preview-files",
        "files-added" => "preview-files-added",
        "files-changed" => "preview-files-changed",
        "files-deleted" => "preview-files-deleted",
        "files-not-counted" => "preview-files-not-counted",
        "files-moved" => "preview-files-moved",
        "files-same" => "preview-files-same",
        "runs" => "preview-runs",
        "printed" => "preview-printed",
        "starts" => "preview-starts",
        "stops" => "preview-stops",
        "comes-back" => "preview-comes-back",
        "nobody" => "preview-nobody",
        "saves" => "preview-saves",
        "free" => "preview-free",
        "all-there" => "preview-all-there",
        "writing-untried" => "preview-writing-untried",
        "environment-there" => "preview-environment-there",
        "environment-made" => "preview-environment-made",
        "packages-new" => "preview-packages-new",
        "packages-changed" => "preview-packages-changed",
        _ => return None,
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use almaplan_engine::event::Failure;

    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    fn titled(id: &str, title: &str) -> StepTitle {
        StepTitle { id: StepId::new(id), title: title.to_owned() }
    }

    fn step(id: &str, title: &str, uses: &str, verdict: StepVerdict, told: Vec<Told>) -> PreviewStep {
        let StepTitle { id, title } = titled(id, title);
        PreviewStep { id, title, uses: uses.to_owned(), pivot: false, verdict, told, missing: Vec::new(), after: None }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn view() -> PreviewView {
        let bytes = Amount::Bytes;
        let files = Told::new("files").field("added", 1).field("changed", 2).field("deleted", 0).field("bytes", bytes(7_000));
        let stops = Told::new("stops").field("pid", "4711".to_owned()).field("command", "python serve.py".to_owned());
        let start = step("start", "Início da versão nova", "start-service", StepVerdict::Runs, vec![]);
        let copied = step(
            "stage",
            "Arquivos novos",
            "stage",
            StepVerdict::Runs,
            vec![
                files,
                Told::new("files-added").field("names", names(&["a.py"])).field("more", 0),
                Told::new("files-changed").field("names", names(&["VERSION", "app.py"])).field("more", 4),
                Told::new("files-not-counted").field("steps", names(&["freeze"])),
            ],
        );
        let steps = vec![
            step(
                "preflight",
                "Pastas e permissões",
                "preflight",
                StepVerdict::Fails(Failure::clean("/srv does not exist\nport 5000 is held")),
                vec![],
            ),
            step(
                "backup",
                "Backup completo",
                "backup",
                StepVerdict::Runs,
                vec![
                    Told::new("saves").field("files", 318).field("bytes", bytes(12_400_000)),
                    Told::new("free").field("folder", "/backups".to_owned()).field("bytes", bytes(64_200_000_000)),
                ],
            ),
            PreviewStep { after: Some(titled("freeze", "Lista de pacotes")), ..copied },
            step(
                "environment",
                "Ambiente Python",
                "python-env",
                StepVerdict::UpToDate,
                vec![Told::new("environment-there").field("folder", "/envs/17".to_owned())],
            ),
            step("trial", "Ensaio", "start-service", StepVerdict::Skipped("vars.trial_port > 0".to_owned()), vec![]),
            step(
                "stop",
                "Parada",
                "stop-service",
                StepVerdict::CannotTell(names(&["steps.stage.changed"])),
                vec![stops.field("age", Amount::Seconds(7_320.4)), Told::new("comes-back")],
            ),
            PreviewStep { missing: names(&["steps.environment.python"]), pivot: true, ..start },
        ];
        let (stop, start) = (titled("stop", "Parada"), titled("start", "Início da versão nova"));
        let undo_stop = (stop.clone(), names(&["stop-service", "start-service"]));
        PreviewView {
            plan: "almareia-producao".to_owned(),
            versions: (Some("1.0.0".to_owned()), Some("1.1.0".to_owned())),
            steps,
            finally: vec![titled("record", "record")],
            ways_back: vec![
                PreviewWayBack {
                    from: titled("preflight", "Pastas e permissões"),
                    until: titled("environment", "Ambiente Python"),
                    undo: Some(vec![]),
                },
                PreviewWayBack { from: stop.clone(), until: stop, undo: Some(vec![undo_stop.clone()]) },
                PreviewWayBack {
                    from: start.clone(),
                    until: start.clone(),
                    undo: Some(vec![(start, names(&["stop-service"])), undo_stop]),
                },
                PreviewWayBack { from: titled("watch", "Observação"), until: titled("watch", "Observação"), undo: None },
            ],
            downtimes: Some(vec![2.3, 1.9, 4.2]),
            in_the_way: Some(Blocking {
                run: Some((RunId::new("20260206-141502-k3f9"), "ana".to_owned())),
                is_running: false,
                next: Some("almaplan resume 20260206-141502-k3f9".to_owned()),
            }),
            changes_nothing: false,
        }
    }

    #[test]
    fn a_preview_is_told_in_each_language_and_to_programs() {
        let shown = |language| view().text(&Formatter { width: Some(80), ..sample::fmt(language) });
        let json = serde_json::to_string_pretty(&view().to_json()).unwrap_or_default();
        insta::assert_snapshot!(format!("{}=====\n{}=====\n{json}", shown(Language::PtBr), shown(Language::En)));
    }

    #[test]
    fn nothing_to_do_is_said() {
        let view = PreviewView { steps: vec![], ways_back: vec![], in_the_way: None, changes_nothing: true, downtimes: None, ..view() };
        for (language, words) in
            [(Language::PtBr, "Nada do que está no ar mudaria."), (Language::En, "Nothing that is in service would change.")]
        {
            assert!(view.text(&sample::fmt(language)).contains(words));
        }
    }

    // A step's title, what it is about and a failure are the words of others.
    #[test]
    fn what_others_wrote_cannot_touch_the_terminal() {
        let evil = "\u{1b}[2Jgone";
        let told = vec![Told::new("runs").field("command", evil.to_owned())];
        let steps = vec![
            step("a", evil, "command", StepVerdict::Fails(Failure::clean(evil)), told),
            step("b", evil, "command", StepVerdict::Skipped(evil.to_owned()), vec![]),
        ];
        let view = PreviewView { steps, ..view() };
        assert!(!view.text(&sample::fmt(Language::En)).contains('\u{1b}'));
    }
}
