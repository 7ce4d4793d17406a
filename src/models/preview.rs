//! What `apply` would do here and now.

use almaplan_engine::event::{RunId, StepId};
use almaplan_engine::kind::Kind as _;
use almaplan_engine::preview::{Amount, Told};
use almaplan_engine::runs::{EarlierRun, InTheWay, Means, RunPreview, StepPreview, StepVerdict, WayBack};
use almaplan_steps::kinds::deploy_log::DeployLog;
use serde_json::{Value, json};

use crate::lang::Value as Word;
use crate::view::format::{Formatter, Style};
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
        let last = fmt.duration(*downtimes.first()?);
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
    fn verdict(&self) -> (&'static str, &'static str, Style) {
        match &self.verdict {
            StepVerdict::Runs => ("would-run", "▸", Style::Good),
            StepVerdict::UpToDate => ("up-to-date", "=", Style::Faint),
            StepVerdict::Skipped(_) => ("skipped", "○", Style::Faint),
            StepVerdict::CannotTell(_) => ("cannot-tell", "?", Style::Warning),
            StepVerdict::Fails(_) => ("would-fail", "✖", Style::Bad),
        }
    }

    fn why(&self) -> Option<String> {
        match &self.verdict {
            StepVerdict::Runs | StepVerdict::UpToDate => None,
            StepVerdict::Skipped(when) => Some(one_line(when)),
            StepVerdict::CannotTell(outputs) => Some(outputs.join(", ")),
            StepVerdict::Fails(message) => Some(message.clone()),
        }
    }

    fn lines(&self, fmt: &Formatter) -> Vec<String> {
        let (verdict, sign, style) = self.verdict();
        let (lang, indent) = (&fmt.lang, "      ");
        let said = match (&self.verdict, self.why()) {
            (StepVerdict::Fails(_), _) | (_, None) => lang.text(&format!("preview-{verdict}")),
            (_, Some(why)) => lang.with(&format!("preview-{verdict}"), &[("why", clipped(&why).into())]),
        };
        let line = lang.with("preview-step", &[("step", self.title.as_str().into()), ("verdict", said.into())]);
        let mut lines = fmt.wrap(&format!("  {} ", fmt.paint(style, sign)), "    ", &line);
        let mut more = |text: String| lines.extend(fmt.wrap(indent, indent, &text).into_iter().map(|line| fmt.paint(Style::Faint, line)));
        if let StepVerdict::Fails(message) = &self.verdict {
            message.lines().for_each(|line| more(crate::view::format::sanitize(line).into_owned()));
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
        let next = self.next.as_ref().filter(|_| !self.is_running).map(|next| format!("    {}", crate::view::format::sanitize(next)));
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
    fmt.lang.with(&format!("preview-{}", told.what), &values)
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
