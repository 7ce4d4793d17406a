//! `http-check`: waits until the service answers as it should.
//!
//! ```text
//!  poll: process alive? ──> the listener is its own? ──> every check in order ──> `successes` times in a row
//!   ^                                                        │
//!   └──────── pause, 10 ms growing to `interval` ────────────┘ anything wrong that only read
//! ```
//!
//! Reading can be repeated, writing cannot: a writing check that was answered is never sent again, and one that may have been
//! received without an answer ends the step. Only a refused connection, or a service that says that it is not ready (429, 503), is no answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::update::{Stream, Unit};
use almaplan_engine::words::verbatim;
use reqwest::{Method, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::checked::{self, Texts};
use crate::http::capture::{self, Capture};
use crate::http::{Answered, HttpError, Session, address, ask, is_loopback};
use crate::human::DurationOr;
use crate::input::{OneOrMany, OrDefault, Word};
use crate::lang;
use crate::logs::{self, Offset};
use crate::process::{self, Description, Listening, PortError, Tree};

/// The first pause between two polls: a service that is nearly up is noticed at once.
const FIRST_PAUSE: Time = Time::from_millis(10);
/// How much of a wrong answer is shown, in characters.
const SHOWN_BODY: usize = 200;
/// How many of the last lines of each log are shown.
const LOGGED: usize = 6;
/// The largest JSON body that is kept as an output, in bytes.
const KEPT_BODY: usize = 64 << 10;

/// Waits until a service answers as it should: every check, in order, in one session with cookies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Where the service is, like `http://127.0.0.1:5000`.
    #[serde(deserialize_with = "crate::http::addresses")]
    pub base: String,
    /// Paths that must answer 200: the short way to say a check. They come before `checks`.
    #[serde(default, deserialize_with = "checked::rooted")]
    pub paths: OrDefault<Vec<PathCheck>>,
    /// What is asked and what must come back, in this order.
    #[serde(default)]
    pub checks: OrDefault<Vec<Check>>,
    /// How long the service has to become well.
    #[serde(default)]
    pub deadline: DurationOr<30_000>,
    /// The pause between two polls; the first ones are shorter.
    #[serde(default)]
    pub interval: DurationOr<250>,
    /// How many polls in a row must succeed.
    #[serde(default)]
    #[schemars(default = "successes", range(min = 1))]
    pub successes: Option<u32>,
    /// How long one answer may take.
    #[serde(default)]
    pub answer_within: DurationOr<10_000>,
    /// The process that must be the one that answers (it or a descendant): fails at once when it ends.
    #[serde(default)]
    pub pid: Option<u32>,
    /// A PEM file with certificates that are trusted as well as those of the web and of this machine.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Where each log of the service ended before its start, by path: `log_offsets` of `start-service`. What it wrote last since then is
    /// shown when it does not become well.
    #[serde(default)]
    pub logs: OrDefault<BTreeMap<String, Option<Offset>>>,
}

/// A path that must answer 200.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub struct PathCheck(Check);

impl From<String> for PathCheck {
    fn from(path: String) -> Self {
        Self(Check { path, ..Check::default() })
    }
}

impl Texts for PathCheck {
    fn texts(&self) -> Vec<&str> {
        vec![&self.0.path]
    }
}

/// One question to the service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The path, with its query.
    #[serde(deserialize_with = "checked::rooted")]
    pub path: String,
    /// The status, or several that are all right; default 200. Redirects are followed unless one of these is a redirect (3xx), and never
    /// to another origin: what that answers is no answer of this service.
    #[serde(default)]
    pub status: OneOrMany<u16>,
    /// A text that the body must contain.
    #[serde(default)]
    pub contains: Option<Word>,
    /// JSON pointers (`/database/ok`) into the body, with the value that must be there.
    #[serde(default, deserialize_with = "checked::pointers")]
    pub json: OrDefault<Map<String, Value>>,
    /// The method; anything but GET and HEAD writes, and is never sent twice once it was answered.
    #[serde(default, deserialize_with = "checked::methods")]
    pub method: Option<String>,
    /// Fields sent as a form; those that are null are left out.
    #[serde(default)]
    pub form: Option<Map<String, Value>>,
    /// A value sent as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// Further headers; those that are null are left out.
    #[serde(default, deserialize_with = "checked::header_names")]
    pub headers: OrDefault<BTreeMap<String, Option<Word>>>,
    /// Values to keep of the answer, by name. Where the path, form, body or headers of a later check say `${name}`, the value is sent:
    /// `capture = { csrf = { regex = 'name="csrf_token" value="([^"]+)"' } }`, or `json = "/pointer"`, `header`, `cookie`.
    #[serde(default)]
    pub capture: OrDefault<BTreeMap<String, Capture>>,
    /// Not every version of the service has it: 404 is fine.
    #[serde(default)]
    pub optional: OrDefault<bool>,
    /// `false` leaves this check out.
    #[serde(default)]
    pub when: Option<bool>,
}

/// What the service answered, by path; where a method other than GET was used, by `METHOD path`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HttpCheckOutput {
    /// How long the last answer of each check took, in milliseconds.
    pub latency: BTreeMap<String, f64>,
    /// The bodies that were JSON of at most 64 KiB.
    pub values: BTreeMap<String, Value>,
    /// How long it took until the service was well, in milliseconds.
    pub ready_ms: u64,
}

fn successes() -> u32 {
    1
}

/// What was not as it should be.
#[derive(Debug, Serialize, thiserror::Error)]
enum CheckError {
    #[error("`paths` and `checks` are empty: give at least one, like `paths = [\"/\"]`")]
    Nothing,
    #[error("a check of `{0}` has both `form` and `body`: a request carries one of them")]
    TwoBodies(String),
    #[error("the check of `{path}` refers to `${{{name}}}`, which no check before it captures")]
    NotCaptured { path: String, name: String },
    #[error("`capture.{name}` of the check of `{path}`: {reason}")]
    Capture { path: String, name: String, reason: String },
    #[error("{head}, but `capture.{name}` finds nothing in it: {body}")]
    NothingCaptured { head: Box<Head>, name: String, body: Body },
    #[error("{head}, a redirect to {to}: another origin is no answer of this service; if it is meant, give `status = {status}`")]
    Elsewhere { head: Box<Head>, to: String, status: u16 },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("`{path}`: {reason}")]
    NoAnswer { path: String, reason: HttpError },
    #[error("`{path}` was sent, but no whole answer came ({reason}); whether it took effect is not known, so it is not sent again")]
    Lost { path: String, reason: HttpError },
    #[error("{head}, expected {}: {body}", or(expected))]
    Status { head: Box<Head>, expected: Vec<u16>, body: Body },
    #[error("{head}, but without `{expected}`: {body}")]
    Contains { head: Box<Head>, expected: String, body: Body },
    #[error("{head}, but no JSON: {body}")]
    NoJson { head: Box<Head>, body: Body },
    #[error("{head}, but `{pointer}` is {found}, expected {expected}: {body}")]
    Json { head: Box<Head>, pointer: String, found: String, expected: String, body: Body },
    #[error("{head}, but `{pointer}` is missing, expected {expected}: {body}")]
    JsonMissing { head: Box<Head>, pointer: String, expected: String, body: Body },
    #[error("{error} (still so after {waited})")]
    StillSo { error: Box<CheckError>, waited: String },
    #[error("process {0} has ended; its log says why")]
    Dead(u32),
    #[error("nobody listens on port {0} yet")]
    Silent(u16),
    #[error("port {port} is held by {}, which is neither process {expected} nor started by it", someone(holder.as_deref()))]
    Foreign { port: u16, holder: Option<Box<Description>>, expected: u32 },
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("whether process {pid} runs cannot be told: {reason}")]
    Unseen {
        pid: u32,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
}

/// What was answered, and where the answer came from.
#[derive(Debug, Serialize, thiserror::Error)]
enum Head {
    #[error("`{path}` answered {status}")]
    Direct { path: String, status: u16 },
    #[error("`{path}` answered {status} after a redirect to {to}")]
    Redirected { path: String, status: u16, to: String },
}

/// The start of a body, on one line.
#[derive(Debug, Serialize, thiserror::Error)]
enum Body {
    #[error("{text}")]
    Shown { text: String },
    #[error("(no body)")]
    Empty,
}

fn or(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

fn someone(holder: Option<&Description>) -> String {
    holder.map_or_else(|| "someone".to_owned(), Description::to_string)
}

/// Whether asking again may help.
enum Verdict {
    Retry(CheckError),
    Final(CheckError),
}

impl Kind for HttpCheck {
    const KIND: &'static str = "http-check";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun);
    type Output = HttpCheckOutput;

    async fn run(&self, cx: &Context) -> Result<HttpCheckOutput, Failure> {
        let mut poll = self.prepare(cx).map_err(Failure::clean)?;
        tokio::select! {
            outcome = poll.until_well(cx) => outcome.map_err(|failure| failure.with_tail(self.logged(cx))),
            () = cx.cancelled() => Err(Failure::dirty(Stopped)),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.mistake().map_or(Ok(()), |mistake| Err(mistake.to_string()))
    }

    fn on_interrupt(&self) -> OnInterrupt {
        if self.checks().any(|check| check.is_wanted() && check.writes()) { OnInterrupt::Ask } else { OnInterrupt::Rerun }
    }

    fn default_timeout(&self) -> Option<Time> {
        Some(self.deadline.0 + self.answer_within.0 + Time::from_secs(5))
    }
}

impl HttpCheck {
    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.paths.iter().map(|path| &path.0).chain(self.checks.iter())
    }

    /// The last lines of each log since the start of the service, with its name. One that cannot be read says nothing.
    fn logged(&self, cx: &Context) -> Vec<String> {
        let of_file = |(file, offset): (&String, &Option<Offset>)| {
            let file = cx.path(file);
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lines = logs::last_lines(&file, &offset.clone().unwrap_or_default());
            let skipped = lines.len().saturating_sub(LOGGED);
            lines.into_iter().skip(skipped).map(move |line| format!("{name}: {line}"))
        };
        self.logs.iter().flat_map(of_file).collect()
    }

    fn wanted(&self) -> impl Iterator<Item = &Check> {
        self.checks().filter(|check| check.is_wanted())
    }

    /// What cannot be asked.
    fn mistake(&self) -> Option<CheckError> {
        if self.paths.is_empty() && self.checks.is_empty() {
            return Some(CheckError::Nothing);
        }
        let two_bodies = self.wanted().find(|check| check.form.is_some() && check.body.is_some());
        two_bodies.map(|check| CheckError::TwoBodies(check.path.clone())).or_else(|| all_are_captured(self.wanted()).err())
    }

    fn prepare(&self, cx: &Context) -> Result<Poll<'_>, CheckError> {
        let base = address(&self.base)?;
        let questions = self.wanted().map(Question::new).collect();
        let session = Session::new(&base, self.ca.as_ref().map(|file| cx.path(file)).as_deref())?;
        let tree = self.pid.map(|pid| {
            process::supported().map_err(|reason| CheckError::Unseen { pid, reason })?;
            process::meant(cx, pid).map(|process| Tree::of(&process)).ok_or(CheckError::Dead(pid))
        });
        Ok(Poll {
            step: self,
            tree: tree.transpose()?,
            base,
            session,
            questions,
            answered: HashSet::new(),
            sent: false,
            captured: BTreeMap::new(),
            latency: BTreeMap::new(),
            values: BTreeMap::new(),
        })
    }
}

/// That every `${name}` is captured by an earlier check.
fn all_are_captured<'a>(checks: impl Iterator<Item = &'a Check>) -> Result<(), CheckError> {
    let mut known = BTreeSet::new();
    for check in checks {
        let path = || check.path.clone();
        if let Some(name) = check.texts().iter().flat_map(|text| capture::names(text)).find(|name| !known.contains(*name)) {
            return Err(CheckError::NotCaptured { path: path(), name: name.to_owned() });
        }
        for (name, capture) in check.capture.iter() {
            if let Some(reason) = capture.mistake() {
                return Err(CheckError::Capture { path: path(), name: name.clone(), reason });
            }
            known.insert(name.as_str());
        }
    }
    Ok(())
}

impl Check {
    fn is_wanted(&self) -> bool {
        self.when != Some(false)
    }

    fn method(&self) -> String {
        self.method.as_deref().unwrap_or("GET").to_ascii_uppercase()
    }

    fn writes(&self) -> bool {
        !matches!(self.method().as_str(), "GET" | "HEAD")
    }

    fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { status == 200 } else { self.status.contains(&status) }
    }

    fn expected(&self) -> Vec<u16> {
        if self.status.is_empty() { vec![200] } else { self.status.to_vec() }
    }

    /// Whether `answer` is as it should be.
    fn judge(&self, answer: &Answered) -> Result<(), CheckError> {
        if *self.optional && answer.status == 404 {
            return Ok(());
        }
        let (head, body) = (self.head(answer), Body::of(&answer.body));
        if let Some(to) = answer.redirect.clone().filter(|_| !self.accepts(answer.status)) {
            return Err(CheckError::Elsewhere { head, to, status: answer.status });
        }
        if !self.accepts(answer.status) {
            return Err(CheckError::Status { head, expected: self.expected(), body });
        }
        if let Some(Word(expected)) = self.contains.clone().filter(|text| !answer.body.contains(&**text)) {
            return Err(CheckError::Contains { head, expected, body });
        }
        if self.json.is_empty() {
            return Ok(());
        }
        let Ok(value) = serde_json::from_str::<Value>(&answer.body) else { return Err(CheckError::NoJson { head, body }) };
        match self.json.iter().find(|(pointer, expected)| value.pointer(pointer) != Some(expected)) {
            None => Ok(()),
            Some((pointer, expected)) => {
                let (found, pointer, expected) = (value.pointer(pointer), pointer.clone(), expected.to_string());
                Err(match found {
                    Some(found) => CheckError::Json { head, pointer, found: found.to_string(), expected, body },
                    None => CheckError::JsonMissing { head, pointer, expected, body },
                })
            }
        }
    }

    /// The values that it keeps of `answer`.
    fn captured(&self, answer: &Answered, session: &Session) -> Result<BTreeMap<String, String>, CheckError> {
        let nothing =
            |name: &String| CheckError::NothingCaptured { head: self.head(answer), name: name.clone(), body: Body::of(&answer.body) };
        let found = |(name, capture): (&String, &Capture)| match capture.find(answer, session) {
            Some(value) => Ok((name.clone(), value)),
            None => Err(nothing(name)),
        };
        if *self.optional && answer.status == 404 { Ok(BTreeMap::new()) } else { self.capture.iter().map(found).collect() }
    }

    /// Every text of the request that may refer to a captured value.
    fn texts(&self) -> Vec<String> {
        let form = self.form.iter().flat_map(|form| form.values().filter_map(field));
        let headers = self.headers.values().flatten().map(|word| word.0.clone());
        let body = self.body.iter().map(Value::to_string);
        std::iter::once(self.path.clone()).chain(form).chain(headers).chain(body).collect()
    }

    fn head(&self, answer: &Answered) -> Box<Head> {
        let asked = self.path.split(['?', '#']).next().unwrap_or_default();
        let (path, status, to) = (self.path.clone(), answer.status, answer.url.path());
        Box::new(if to.ends_with(asked) || asked.contains("${") {
            Head::Direct { path, status }
        } else {
            Head::Redirected { path, status, to: to.to_owned() }
        })
    }
}

impl Body {
    fn of(body: &str) -> Self {
        let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN_BODY) {
            Some((end, _)) => Self::Shown { text: format!("{}…", &line[..end]) },
            None if line.is_empty() => Self::Empty,
            None => Self::Shown { text: line },
        }
    }
}

/// A check whose inputs were found to make sense.
struct Question<'a> {
    check: &'a Check,
    method: Method,
    /// Its name among the outputs.
    key: String,
}

impl<'a> Question<'a> {
    fn new(check: &'a Check) -> Self {
        let method = Method::from_bytes(check.method().as_bytes()).expect("it was judged when it was read");
        let key = if method == Method::GET { check.path.clone() } else { format!("{method} {}", check.path) };
        Self { check, method, key }
    }

    fn request(&self, session: &Session, base: &Url, captured: &BTreeMap<String, String>) -> RequestBuilder {
        let fill = |text: &str| capture::fill(text, captured);
        let follow = !self.check.status.iter().any(|status| (300..400).contains(status));
        let url = format!("{}{}", base.as_str().trim_end_matches('/'), fill(&self.check.path));
        let mut request = session.client(follow).request(self.method.clone(), url);
        for (name, value) in self.check.headers.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            request = request.header(name, fill(value));
        }
        if let Some(form) = &self.check.form {
            let fields: Vec<(&str, String)> = form.iter().filter_map(|(name, value)| Some((name.as_str(), fill(&field(value)?)))).collect();
            request = request.form(&fields);
        }
        match &self.check.body {
            Some(body) => request.json(&capture::fill_json(body, captured)),
            None => request,
        }
    }
}

fn field(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The polling of one service.
struct Poll<'a> {
    step: &'a HttpCheck,
    /// The process that should answer, with what it started.
    tree: Option<Tree>,
    base: Url,
    session: Session,
    questions: Vec<Question<'a>>,
    /// The writing questions that were answered well: they are not asked again.
    answered: HashSet<usize>,
    /// A writing question may have reached the service.
    sent: bool,
    /// The values that answers gave so far, by name.
    captured: BTreeMap<String, String>,
    latency: BTreeMap<String, f64>,
    values: BTreeMap<String, Value>,
}

impl Poll<'_> {
    async fn until_well(&mut self, cx: &Context) -> Result<HttpCheckOutput, Failure> {
        let begun = Instant::now();
        let deadline = begun + self.step.deadline.0;
        let (mut pause, mut streak, mut said) = (FIRST_PAUSE.min(self.step.interval.0), 0, None::<CheckError>);
        for attempt in 1.. {
            cx.progress(attempt, None, Unit::Attempts);
            match self.pass(deadline).await {
                Ok(()) => {
                    streak += 1;
                    if streak >= self.step.successes.unwrap_or_else(successes) {
                        break;
                    }
                }
                Err(Verdict::Final(error)) => return Err(self.failure(error)),
                Err(Verdict::Retry(error)) => {
                    streak = 0;
                    let cut_short = matches!(error, CheckError::NoAnswer { .. }) && Instant::now() >= deadline;
                    // That the deadline came while it was asked once more is not what is wrong.
                    let (error, is_new) = match said.take() {
                        Some(said) if cut_short => (said, false),
                        Some(said) => {
                            let is_new = said.to_string() != error.to_string();
                            (error, is_new)
                        }
                        None => (error, true),
                    };
                    if Instant::now() + pause >= deadline {
                        let waited = humantime::format_duration(self.step.deadline.0).to_string();
                        return Err(self.failure(CheckError::StillSo { error: Box::new(error), waited }));
                    }
                    if is_new {
                        cx.log(Stream::Stderr, lang::told(cx, &error));
                    }
                    said = Some(error);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(self.step.interval.0);
        }
        let ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(HttpCheckOutput { latency: std::mem::take(&mut self.latency), values: std::mem::take(&mut self.values), ready_ms })
    }

    /// A check that only read has changed nothing.
    fn failure(&self, error: CheckError) -> Failure {
        if self.sent { Failure::dirty(error) } else { Failure::clean(error) }
    }

    /// Every check once, except the writing ones that were answered.
    async fn pass(&mut self, deadline: Instant) -> Result<(), Verdict> {
        self.prove()?;
        for index in 0..self.questions.len() {
            if !self.answered.contains(&index) {
                self.ask(index, deadline).await?;
            }
        }
        self.prove()
    }

    /// That whoever answers is the process that should.
    fn prove(&mut self) -> Result<(), Verdict> {
        let Some(tree) = &mut self.tree else { return Ok(()) };
        if !process::is_alive(tree.root()) {
            return Err(Verdict::Final(CheckError::Dead(tree.root().pid)));
        }
        // Behind a proxy the listener is not the process: alive is all that can be told.
        let port = self.base.port_or_known_default().filter(|_| is_loopback(&self.base));
        port.map_or(Ok(()), |port| proves_listener(tree, port)).map_err(Verdict::Retry)
    }

    async fn ask(&mut self, index: usize, deadline: Instant) -> Result<(), Verdict> {
        let question = &self.questions[index];
        let (check, writes) = (question.check, question.check.writes());
        let request = question.request(&self.session, &self.base, &self.captured);
        let left = deadline.saturating_duration_since(Instant::now()).max(FIRST_PAUSE);
        // A write that is given up on can never be asked again: it gets its whole time.
        let within = if writes { self.step.answer_within.0 } else { self.step.answer_within.0.min(left) };
        let begun = Instant::now();
        let answer = match ask(request, within).await {
            Ok(answer) => answer,
            Err(reason) if writes && !reason.was_not_sent() => {
                self.sent = true;
                return Err(Verdict::Final(CheckError::Lost { path: check.path.clone(), reason }));
            }
            Err(reason) => return Err(Verdict::Retry(CheckError::NoAnswer { path: check.path.clone(), reason })),
        };
        let ms = (begun.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        self.sent |= writes;
        match check.judge(&answer).and_then(|()| check.captured(&answer, &self.session)) {
            Ok(captured) => self.captured.extend(captured),
            Err(error) if writes && !matches!(answer.status, 429 | 503) => return Err(Verdict::Final(error)),
            Err(error) => return Err(Verdict::Retry(error)),
        }
        self.latency.insert(question.key.clone(), ms);
        if let Some(value) = Some(&answer.body).filter(|body| body.len() <= KEPT_BODY).and_then(|body| serde_json::from_str(body).ok()) {
            self.values.insert(question.key.clone(), value);
        }
        if writes {
            self.answered.insert(index);
        }
        Ok(())
    }
}

/// That the one who listens on `port` is of `tree`, and nobody else. A listener alone proves nothing: on Windows two can share a port.
fn proves_listener(tree: &mut Tree, port: u16) -> Result<(), CheckError> {
    match process::listening(tree, port)? {
        Listening::Member(_) => Ok(()),
        Listening::Nobody => Err(CheckError::Silent(port)),
        Listening::Other => {
            let (ours, pid) = (tree.refresh(), tree.root().pid);
            let mut listeners = process::listeners(port)?.into_iter().map(|listener| listener.pid);
            let foreign = listeners.find(|other| *other != pid && !ours.contains(other));
            let holder = foreign.and_then(process::describe).map(Box::new);
            Err(CheckError::Foreign { port, holder, expected: pid })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::test_context::sleeper;
    use crate::test_server::{Reply, Request, serve};

    fn step(with: Value) -> HttpCheck {
        serde_json::from_value(with).unwrap()
    }

    async fn run(with: Value) -> Result<HttpCheckOutput, Failure> {
        let folder = tempfile::tempdir().unwrap();
        step(with).run(&Context::standalone(folder.path(), Arc::new(|_| {}))).await
    }

    /// An application with a login form, a session cookie that is `Secure`, and something to write.
    fn application(logins: Arc<AtomicUsize>, status: Arc<AtomicUsize>) -> impl Fn(&Request) -> Reply + Send + 'static {
        move |request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => Reply::new(302).header("Location", "/login"),
            ("GET", "/login") => Reply::new(200).body("<h1>Bem-vindo à Almareia</h1>"),
            ("POST", "/login") if request.body == "user=smoke&password=a+b" => {
                logins.fetch_add(1, Ordering::SeqCst);
                Reply::new(302).header("Location", "/panel").header("Set-Cookie", "session=42; Secure; Path=/")
            }
            ("POST", "/login") => {
                logins.fetch_add(1, Ordering::SeqCst);
                Reply::new(401).body("wrong password")
            }
            ("GET", "/panel") if request.header("cookie") == Some("session=42") => Reply::new(200).body("painel"),
            ("GET", "/panel") => Reply::new(302).header("Location", "/login"),
            ("GET", "/api/status") => {
                let ready = status.fetch_add(1, Ordering::SeqCst) >= 3;
                Reply::new(200).body(json!({ "version": "1.4.0", "database": { "ok": ready } }).to_string())
            }
            _ => Reply::new(404),
        }
    }

    #[tokio::test]
    async fn what_the_service_logged_since_its_start_is_shown_where_it_does_not_become_well() {
        let folder = tempfile::tempdir().unwrap();
        let (log, other) = (folder.path().join("app.log"), folder.path().join("none.log"));
        std::fs::write(&log, "an old error\n").unwrap();
        let offset = Offset::end_of(&log);
        let lines: String = (0..10).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&log, format!("an old error\n{lines}RuntimeError: no table\n")).unwrap();
        let base = serve(|_: &Request| Reply::new(500));
        let with =
            json!({ "base": base, "paths": ["/"], "deadline": "50ms", "logs": { "app.log": offset, (other.to_str().unwrap()): null } });
        let failure = step(with).run(&Context::standalone(folder.path(), Arc::new(|_| {}))).await.unwrap_err();
        let wanted = ["line 5", "line 6", "line 7", "line 8", "line 9", "RuntimeError: no table"].map(|line| format!("app.log: {line}"));
        assert_eq!(failure.tail, wanted);
    }

    #[tokio::test]
    async fn a_login_is_sent_once_although_a_later_check_needs_several_polls() {
        let (logins, polls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let base = serve(application(logins.clone(), polls.clone()));
        let output = run(json!({ "base": base, "successes": 2, "deadline": null, "pid": null, "checks": [
            { "path": "/", "method": null, "form": null, "json": null, "headers": { "X-None": null, "X-Port": 5000 }, "contains": null },
            { "path": "/", "contains": "Bem-vindo à" },
            { "path": "/login", "method": "POST", "form": { "user": "smoke", "password": "a b", "code": null }, "contains": "painel" },
            { "path": "/panel", "contains": "painel" },
            { "path": "/api/status", "json": { "/database/ok": true } },
            { "path": "/api/nothing", "optional": true },
            { "path": "/left/out", "when": false },
        ] }))
        .await
        .unwrap();
        assert_eq!(output.values["/api/status"]["version"], "1.4.0");
        assert!(output.latency["POST /login"] > 0.0 && !output.latency.contains_key("/left/out"));
        assert_eq!((logins.load(Ordering::SeqCst), polls.load(Ordering::SeqCst)), (1, 5));
    }

    #[tokio::test]
    async fn a_write_that_was_answered_wrongly_fails_at_once_and_is_not_sent_again() {
        let logins = Arc::new(AtomicUsize::new(0));
        let base = serve(application(logins.clone(), Arc::default()));
        let checks = json!([{ "path": "/login", "method": "post", "form": { "user": "smoke", "password": "guess" } }]);
        let failure = run(json!({ "base": base, "deadline": "1h", "checks": checks })).await.unwrap_err();
        assert!(failure.message.contains("`/login` answered 401, expected 200: wrong password"), "{failure}");
        assert!(!failure.clean);
        assert_eq!(logins.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_service_that_comes_up_later_is_waited_for() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        let folder = tempfile::tempdir().unwrap();
        let refused = Arc::new(tokio::sync::Notify::new());
        let told = refused.clone();
        let cx = Context::standalone(
            folder.path(),
            Arc::new(move |update| {
                if matches!(&update, almaplan_engine::update::Update::Log { line, .. } if line.contains("no connection")) {
                    told.notify_one();
                }
            }),
        );
        let check = step(json!({ "base": format!("http://127.0.0.1:{port}"), "checks": [{ "path": "/" }] }));
        let (output, ()) = tokio::join!(check.run(&cx), async {
            refused.notified().await;
            crate::test_server::serve_on(port, |_| Reply::new(200));
        });
        assert!(output.unwrap().latency.contains_key("/"));
    }

    #[tokio::test]
    async fn a_wrong_answer_to_a_question_fails_cleanly_at_the_deadline() {
        let base = serve(|_| Reply::new(500).body("é".repeat(300)));
        let failure =
            run(json!({ "base": base, "deadline": "2s", "checks": [{ "path": "/api", "status": [200, 204] }] })).await.unwrap_err();
        let told = format!("`/api` answered 500, expected 200 or 204: {}… (still so after 2s)", "é".repeat(200));
        assert_eq!((failure.message, failure.clean), (told, true));
    }

    #[tokio::test]
    async fn a_path_alone_must_answer_200() {
        let base = serve(|request| Reply::new(if request.path == "/" { 200 } else { 404 }));
        run(json!({ "base": base, "paths": ["/"] })).await.unwrap();
        let failure = run(json!({ "base": base, "deadline": "500ms", "paths": ["/", "/login"] })).await.unwrap_err();
        assert!(failure.message.contains("`/login` answered 404, expected 200"), "{failure}");
    }

    #[tokio::test]
    async fn an_answer_without_what_it_must_contain_is_wrong() {
        let base = serve(|_| Reply::new(200).body("<h1>Almareia 1.3</h1>"));
        let checks = json!([{ "path": "/", "contains": "Almareia 1.4" }]);
        let failure = run(json!({ "base": base, "deadline": "2s", "checks": checks })).await.unwrap_err();
        assert!(failure.message.contains("`/` answered 200, but without `Almareia 1.4`: <h1>Almareia 1.3</h1>"), "{failure}");
    }

    #[tokio::test]
    async fn a_redirect_that_is_expected_is_seen_and_not_followed() {
        let base = serve(application(Arc::default(), Arc::default()));
        run(json!({ "base": base, "checks": [{ "path": "/panel", "status": 302 }] })).await.unwrap();
        let failure = run(json!({ "base": base, "deadline": "2s", "checks": [{ "path": "/login", "status": 302 }] })).await.unwrap_err();
        assert!(failure.message.contains("`/login` answered 200, expected 302"), "{failure}");
    }

    // Health checks saw compressed bytes of a service that compresses for everybody, and undid a healthy release.
    #[tokio::test]
    async fn a_compressed_answer_is_read_and_one_that_cannot_be_is_told() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, "<a>Saída</a>".as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let base = serve(move |request| match (request.method.as_str(), request.path.as_str()) {
            ("HEAD", _) => Reply::new(200).header("Content-Encoding", "gzip"),
            (_, "/gzip") => Reply::new(200).header("Content-Encoding", "gzip").body(&gzip),
            _ => Reply::new(200).header("Content-Encoding", "compress").body("?"),
        });
        let checks = json!([{ "path": "/gzip", "contains": "Saída" }, { "path": "/gzip", "method": "HEAD" }]);
        run(json!({ "base": base, "deadline": "2s", "checks": checks })).await.unwrap();
        let failure = run(json!({ "base": base, "deadline": "1s", "checks": [{ "path": "/" }] })).await.unwrap_err();
        assert!(failure.message.contains("the encoding `compress`"), "{failure}");
    }

    #[tokio::test]
    async fn json_may_begin_with_a_mark_and_a_page_is_read_in_its_charset() {
        let base = serve(|request| match request.path.as_str() {
            "/json" => Reply::new(200).body("\u{feff}{\"status\": \"ok\"}"),
            _ => Reply::new(200).header("Content-Type", "text/html; charset=iso-8859-1").body(b"<p>Sa\xedda</p>"),
        });
        let checks = json!([{ "path": "/json", "json": { "/status": "ok" } }, { "path": "/latin1", "contains": "Saída" }]);
        let output = run(json!({ "base": base, "deadline": "2s", "checks": checks })).await.unwrap();
        assert_eq!(output.values["/json"]["status"], "ok");
    }

    /// A login as Flask-WTF and Django have it: the token of the form and of the cookie must come back.
    fn guarded(request: &Request) -> Reply {
        let token = "IjQ2.Zx-1_w";
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/login") => Reply::new(200)
                .header("Set-Cookie", "csrftoken=abc123; Path=/")
                .body(format!("<input type=hidden name=\"csrf_token\" value=\"{token}\">")),
            ("POST", "/login")
                if request.body == format!("csrf_token={token}&user=smoke") && request.header("x-csrf") == Some("abc123") =>
            {
                Reply::new(200).header("X-Order", "17").body("{\"order\": {\"id\": 42}}")
            }
            ("GET", "/orders/42/17") => Reply::new(200).body("pedido"),
            _ => Reply::new(400),
        }
    }

    #[tokio::test]
    async fn what_an_answer_holds_goes_into_later_requests() {
        let base = serve(guarded);
        let form = json!({ "path": "/login", "capture": {
            "csrf": { "regex": "name=\"csrf_token\" value=\"([^\"]+)\"" }, "cookie": { "cookie": "csrftoken" } } });
        let write = json!({ "path": "/login", "method": "POST", "form": { "csrf_token": "${csrf}", "user": "smoke" },
            "headers": { "X-CSRF": "${cookie}" }, "capture": { "order": { "json": "/order/id" }, "line": { "header": "X-Order" } } });
        let read = json!({ "path": "/orders/${order}/${line}", "contains": "pedido" });
        run(json!({ "base": base, "deadline": "2s", "checks": [form, write, read] })).await.unwrap();

        let missing = json!({ "path": "/login", "capture": { "csrf": { "regex": "name=\"other\"" } } });
        let failure = run(json!({ "base": base, "deadline": "500ms", "checks": [missing] })).await.unwrap_err();
        assert!(failure.message.contains("`capture.csrf` finds nothing"), "{failure}");
    }

    #[test]
    fn checks_that_cannot_be_asked_together_are_refused_before_the_step_begins() {
        for (checks, says) in [
            (json!([{ "path": "/", "form": { "token": "${csrf}" }, "method": "POST" }]), "`${csrf}`"),
            (json!([{ "path": "/${id}", "capture": { "id": { "json": "/id" } } }]), "`${id}`"),
            (json!([{ "path": "/", "form": {}, "body": {}, "method": "POST" }]), "both `form` and `body`"),
            (json!([]), "give at least one"),
        ] {
            let refused = step(json!({ "base": "http://a", "checks": checks })).check().unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
        assert_eq!(step(json!({ "base": "http://a", "paths": ["/"] })).check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_sent_or_found_is_refused_before_the_step_begins() {
        for (with, says) in [
            (json!({ "base": "127.0.0.1:80", "checks": [] }), "no address"),
            (json!({ "base": "ftp://127.0.0.1", "checks": [] }), "neither http nor https"),
            (json!({ "base": "http://a", "checks": [{ "path": "login" }] }), "must start with `/`"),
            (json!({ "base": "http://a", "paths": ["/", "login"] }), "must start with `/`"),
            (json!({ "base": "http://a", "checks": [{ "path": "/", "method": "G E T" }] }), "no method"),
            (json!({ "base": "http://a", "checks": [{ "path": "/", "json": { "ok": true } }] }), "no JSON pointer"),
            (json!({ "base": "http://a", "checks": [{ "path": "/", "headers": { "X Y": "z" } }] }), "no name of a header"),
            (json!({ "base": "http://a", "checks": [{ "path": "/", "capture": { "id": { "regex": "([" } } }] }), "`([`"),
            (json!({ "base": "http://a", "checks": [{ "path": "/", "capture": { "id": { "json": "id" } } }] }), "no JSON pointer"),
            (json!({ "base": "http://a", "checks": [], "deadline": "200y" }), "too long"),
        ] {
            let refused = serde_json::from_value::<HttpCheck>(with).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(says), "{refused:?} does not say {says}");
        }
    }

    // A release that was set up for another address sent every page there: the public site answered, and the check passed.
    #[tokio::test]
    async fn another_origin_is_no_answer_of_this_service_and_gets_no_secret() {
        let elsewhere = serve(|_| panic!("it was asked"));
        let to = elsewhere.clone();
        let base = serve(move |_| Reply::new(307).header("Location", &to));
        for check in [json!({ "path": "/" }), json!({ "path": "/", "method": "POST", "form": { "password": "s3cr3t" } })] {
            let failure = run(json!({ "base": base, "deadline": "500ms", "checks": [check] })).await.unwrap_err();
            assert!(failure.message.contains(&elsewhere) && failure.message.contains("another origin"), "{failure}");
        }
        run(json!({ "base": base, "checks": [{ "path": "/", "status": 307 }] })).await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_answers_every_other_time_is_not_well() {
        let asked = AtomicUsize::new(0);
        let base = serve(move |_| Reply::new(if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { 200 } else { 500 }));
        let with = json!({ "base": base, "successes": 2, "interval": "1ms", "deadline": "2s", "checks": [{ "path": "/" }] });
        let failure = run(with).await.unwrap_err();
        assert!(failure.message.contains("still so after"), "{failure}");
    }

    #[tokio::test]
    async fn a_write_whose_answer_was_lost_is_not_sent_again() {
        let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", service.local_addr().unwrap());
        let received = Arc::new(AtomicUsize::new(0));
        let count = received.clone();
        std::thread::spawn(move || {
            for mut stream in service.incoming().flatten() {
                // It takes the order, and dies before it answers.
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let checks = json!([{ "path": "/orders", "method": "POST", "body": { "of": "a test" } }]);
        let failure = run(json!({ "base": base, "checks": checks })).await.unwrap_err();
        assert!(!failure.clean && failure.message.contains("whether it took effect is not known"), "{failure}");
        assert_eq!(received.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_answer_of_another_process_is_no_proof_and_a_dead_process_ends_the_wait() {
        let asked = Arc::new(Mutex::new(0));
        let counter = asked.clone();
        let base = serve(move |_| {
            *counter.lock().unwrap() += 1;
            Reply::new(200)
        });
        let checks = json!([{ "path": "/" }]);
        assert!(run(json!({ "base": base, "checks": checks, "pid": std::process::id() })).await.is_ok());
        assert_eq!(*asked.lock().unwrap(), 1);

        let mut other = sleeper().spawn().unwrap();
        let failure = run(json!({ "base": base, "deadline": "100ms", "checks": checks, "pid": other.id() })).await.unwrap_err();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(failure.message.contains("neither process"), "{failure}");
        let failure = run(json!({ "base": base, "deadline": "1h", "checks": checks, "pid": other.id() })).await.unwrap_err();
        assert!(failure.message.contains("has ended"), "{failure}");
        assert_eq!(*asked.lock().unwrap(), 1, "the wrong process was asked");
    }

    #[tokio::test]
    async fn a_process_that_dies_while_it_is_waited_for_ends_the_wait() {
        let mut service = sleeper().spawn().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(tokio::sync::Notify::new());
        let looked = told.clone();
        let log = move |update: almaplan_engine::update::Update| {
            if matches!(update, almaplan_engine::update::Update::Log { .. }) {
                looked.notify_one();
            }
        };
        let with = json!({ "base": serve(|_| Reply::new(200)), "deadline": "30s", "checks": [{ "path": "/" }], "pid": service.id() });
        let (check, cx) = (step(with), Context::standalone(folder.path(), Arc::new(log)));
        let (failure, ()) = tokio::join!(check.run(&cx), async {
            told.notified().await;
            service.kill().unwrap();
            service.wait().unwrap();
        });
        let message = failure.unwrap_err().message;
        assert!(message.contains("has ended") && !message.contains("still so after"), "{message}");
    }

    #[test]
    fn only_a_check_that_writes_must_be_asked_about_after_an_interruption() {
        let meaning = |checks: Value| Kind::on_interrupt(&step(json!({ "base": "http://127.0.0.1", "checks": checks })));
        assert_eq!(meaning(json!([{ "path": "/" }, { "path": "/x", "method": "HEAD" }])), OnInterrupt::Rerun);
        assert_eq!(meaning(json!([{ "path": "/" }, { "path": "/x", "method": "PUT" }])), OnInterrupt::Ask);
        assert_eq!(meaning(json!([{ "path": "/x", "method": "PUT", "when": false }])), OnInterrupt::Rerun);
    }
}
