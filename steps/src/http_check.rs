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

use std::collections::{BTreeMap, HashSet};
use std::time::Duration as Time;

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use almaplan_engine::update::{Stream, Unit};
use reqwest::{Method, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::http::{Answered, HttpError, Session, address, ask, is_loopback};
use crate::human::DurationOr;
use crate::input::{OneOrMany, OrDefault, Word};
use crate::process::{self, Listening, PortError, Tree};

/// The first pause between two polls: a service that is nearly up is noticed at once.
const FIRST_PAUSE: Time = Time::from_millis(10);
/// How much of a wrong answer is shown, in characters.
const SHOWN_BODY: usize = 200;
/// The largest JSON body that is kept as an output, in bytes.
const KEPT_BODY: usize = 64 << 10;

/// Waits until a service answers as it should: every check, in order, in one session with cookies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Where the service is, like `http://127.0.0.1:5000`.
    pub base: String,
    /// What is asked and what must come back, in this order.
    pub checks: Vec<Check>,
    /// How long the service has to become well.
    #[serde(default)]
    pub deadline: DurationOr<30_000>,
    /// The pause between two polls; the first ones are shorter.
    #[serde(default)]
    pub interval: DurationOr<250>,
    /// How many polls in a row must succeed.
    #[serde(default)]
    #[schemars(default = "successes")]
    pub successes: Option<u32>,
    /// How long one answer may take.
    #[serde(default)]
    pub answer_within: DurationOr<10_000>,
    /// The process that must be the one that answers (it or a descendant): fails at once when it ends.
    #[serde(default)]
    pub pid: Option<u32>,
}

/// One question to the service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The path, with its query.
    pub path: String,
    /// The status, or several that are all right; default 200. Redirects are followed unless one of these is a redirect (3xx).
    #[serde(default)]
    pub status: OneOrMany<u16>,
    /// A text that the body must contain.
    #[serde(default)]
    pub contains: Option<Word>,
    /// JSON pointers (`/database/ok`) into the body, with the value that must be there.
    #[serde(default)]
    pub json: OrDefault<Map<String, Value>>,
    /// The method; anything but GET and HEAD writes, and is never sent twice once it was answered.
    #[serde(default)]
    pub method: Option<String>,
    /// Fields sent as a form; those that are null are left out.
    #[serde(default)]
    pub form: Option<Map<String, Value>>,
    /// A value sent as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// Further headers; those that are null are left out.
    #[serde(default)]
    pub headers: OrDefault<BTreeMap<String, Option<Word>>>,
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
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("`checks` is empty: give at least one, like {{ path = \"/\" }}")]
    Nothing,
    #[error("`{0}` is no http method")]
    Method(String),
    #[error("`{path}` does not start with `/`: it is {what} of a check")]
    Slash { path: String, what: &'static str },
    #[error("a check of `{0}` has both `form` and `body`: a request carries one of them")]
    TwoBodies(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("`{path}`: {reason}")]
    NoAnswer { path: String, reason: HttpError },
    #[error("`{path}` was sent, but no whole answer came ({reason}); whether it took effect is not known, so it is not sent again")]
    Lost { path: String, reason: HttpError },
    #[error("{head}, expected {expected}: {body}")]
    Status { head: String, expected: String, body: String },
    #[error("{head}, but without `{expected}`: {body}")]
    Contains { head: String, expected: String, body: String },
    #[error("{head}, but no JSON: {body}")]
    NoJson { head: String, body: String },
    #[error("{head}, but `{pointer}` is {found}: {body}")]
    Json { head: String, pointer: String, found: String, body: String },
    #[error("process {0} has ended; its log says why")]
    Dead(u32),
    #[error("nobody listens on port {0} yet")]
    Silent(u16),
    #[error("port {port} is held by {holder}, which is neither process {expected} nor started by it")]
    Foreign { port: u16, holder: String, expected: u32 },
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("whether process {pid} runs cannot be told: {reason}")]
    Unseen { pid: u32, reason: std::io::Error },
}

/// Whether asking again may help.
enum Verdict {
    Retry(CheckError),
    Final(CheckError),
}

impl Step for HttpCheck {
    const KIND: &'static str = "http-check";
    const TRAITS: Traits = Traits { effect: Effect::Observes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = HttpCheckOutput;

    async fn run(&self, cx: &Context) -> Result<HttpCheckOutput, Failure> {
        let mut poll = self.prepare(cx).map_err(Failure::clean)?;
        tokio::select! {
            outcome = poll.until_well(cx) => outcome,
            () = cx.cancelled() => Err(Failure::dirty("stopped as asked")),
        }
    }

    fn on_interrupt(&self) -> OnInterrupt {
        if self.checks.iter().any(|check| check.is_wanted() && check.writes()) { OnInterrupt::Ask } else { OnInterrupt::Rerun }
    }

    fn default_timeout(&self) -> Option<Time> {
        Some(self.deadline.0 + self.answer_within.0 + Time::from_secs(5))
    }
}

impl HttpCheck {
    fn prepare(&self, cx: &Context) -> Result<Poll<'_>, CheckError> {
        let base = address(&self.base)?;
        let questions = self.checks.iter().filter(|check| check.is_wanted()).map(Question::new).collect::<Result<Vec<_>, _>>()?;
        if self.checks.is_empty() {
            return Err(CheckError::Nothing);
        }
        let session = Session::new(&base);
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
            latency: BTreeMap::new(),
            values: BTreeMap::new(),
        })
    }
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

    fn expected(&self) -> String {
        if self.status.is_empty() { "200".to_owned() } else { self.status.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ") }
    }

    /// Whether `answer` is as it should be.
    fn judge(&self, answer: &Answered) -> Result<(), CheckError> {
        if *self.optional && answer.status == 404 {
            return Ok(());
        }
        let (head, body) = (self.head(answer), shown(&answer.body));
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
                let found = value.pointer(pointer).map_or_else(|| "missing".to_owned(), Value::to_string);
                Err(CheckError::Json { head, pointer: pointer.clone(), found: format!("{found}, expected {expected}"), body })
            }
        }
    }

    /// "`/login` answered 500", and where the answer came from.
    fn head(&self, answer: &Answered) -> String {
        let asked = self.path.split(['?', '#']).next().unwrap_or_default();
        let redirected = if answer.path.ends_with(asked) { String::new() } else { format!(" after a redirect to {}", answer.path) };
        format!("`{}` answered {}{redirected}", self.path, answer.status)
    }
}

/// The start of a body, on one line.
fn shown(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_BODY) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "(no body)".to_owned(),
        None => line,
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
    fn new(check: &'a Check) -> Result<Self, CheckError> {
        let name = check.method();
        let method = Method::from_bytes(name.as_bytes()).map_err(|_| CheckError::Method(name.clone()))?;
        if !check.path.starts_with('/') {
            return Err(CheckError::Slash { path: check.path.clone(), what: "the path" });
        }
        if let Some(pointer) = check.json.keys().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            return Err(CheckError::Slash { path: pointer.clone(), what: "a JSON pointer" });
        }
        if check.form.is_some() && check.body.is_some() {
            return Err(CheckError::TwoBodies(check.path.clone()));
        }
        let key = if method == Method::GET { check.path.clone() } else { format!("{method} {}", check.path) };
        Ok(Self { check, method, key })
    }

    fn request(&self, session: &Session, base: &Url) -> RequestBuilder {
        let follow = !self.check.status.iter().any(|status| (300..400).contains(status));
        let url = format!("{}{}", base.as_str().trim_end_matches('/'), self.check.path);
        let mut request = session.client(follow).request(self.method.clone(), url);
        for (name, value) in self.check.headers.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            request = request.header(name, &value.0);
        }
        if let Some(form) = &self.check.form {
            let fields: Vec<(&str, String)> = form.iter().filter_map(|(name, value)| Some((name.as_str(), field(value)?))).collect();
            request = request.form(&fields);
        }
        match &self.check.body {
            Some(body) => request.json(body),
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
    latency: BTreeMap<String, f64>,
    values: BTreeMap<String, Value>,
}

impl Poll<'_> {
    async fn until_well(&mut self, cx: &Context) -> Result<HttpCheckOutput, Failure> {
        let begun = Instant::now();
        let deadline = begun + self.step.deadline.0;
        let (mut pause, mut streak, mut said) = (FIRST_PAUSE.min(self.step.interval.0), 0, String::new());
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
                    let line = if cut_short && !said.is_empty() { said.clone() } else { error.to_string() };
                    if Instant::now() + pause >= deadline {
                        let waited = humantime::format_duration(self.step.deadline.0);
                        return Err(self.failure(format!("{line} (still so after {waited})")));
                    }
                    if line != said {
                        cx.log(Stream::Stderr, line.clone());
                        said = line;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(self.step.interval.0);
        }
        let ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(HttpCheckOutput { latency: std::mem::take(&mut self.latency), values: std::mem::take(&mut self.values), ready_ms })
    }

    /// A check that only read has changed nothing.
    fn failure(&self, error: impl std::fmt::Display) -> Failure {
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
        let request = question.request(&self.session, &self.base);
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
        match check.judge(&answer) {
            Ok(()) => {}
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
            let holder = foreign.and_then(process::describe).map_or_else(|| "someone".to_owned(), |process| process.to_string());
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
                Reply::new(200).body(&json!({ "version": "1.4.0", "database": { "ok": ready } }).to_string())
            }
            _ => Reply::new(404),
        }
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
        let base = serve(|_| Reply::new(500).body(&"é".repeat(300)));
        let failure =
            run(json!({ "base": base, "deadline": "2s", "checks": [{ "path": "/api", "status": [200, 204] }] })).await.unwrap_err();
        let told = format!("`/api` answered 500, expected 200 or 204: {}… (still so after 2s)", "é".repeat(200));
        assert_eq!((failure.message, failure.clean), (told, true));
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
        let meaning = |checks: Value| Step::on_interrupt(&step(json!({ "base": "http://127.0.0.1", "checks": checks })));
        assert_eq!(meaning(json!([{ "path": "/" }, { "path": "/x", "method": "HEAD" }])), OnInterrupt::Rerun);
        assert_eq!(meaning(json!([{ "path": "/" }, { "path": "/x", "method": "PUT" }])), OnInterrupt::Ask);
        assert_eq!(meaning(json!([{ "path": "/x", "method": "PUT", "when": false }])), OnInterrupt::Rerun);
    }
}
