//! A production server in a temporary folder: the sample application, the production plan, and the real binary.

#![allow(dead_code, clippy::unwrap_used)]

pub mod example;
pub mod hand;
pub mod place;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The password of the sample application, given to the plan as its secret.
pub const PASSWORD: &str = "mirapraia";

/// A server with a development folder, a production folder and whatever the plan needs, all below one temporary folder.
pub struct Server {
    root: TempDir,
    pub port: u16,
    vars: BTreeMap<String, String>,
    plan: PathBuf,
}

/// What a finished `almaplan` said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Server {
    /// Version 1 in the development folder; production is empty.
    pub fn new() -> Self {
        environments();
        Self::with_environments(environments().to_owned())
    }

    /// The same, with Python environments of its own in `folder`.
    pub fn with_environments(folder: PathBuf) -> Self {
        let root = tempfile::Builder::new().prefix("almareia ").tempdir().unwrap();
        copy(&repository().join("examples/almareia"), &root.path().join("dev"));
        let mut server = Self { root, port: free_port(), vars: BTreeMap::new(), plan: repository().join("plans/production.toml") };
        for (name, place) in [("production", "produção"), ("development", "dev"), ("backups", "backups"), ("logs", "logs")] {
            let place = server.path(place).to_str().unwrap().to_owned();
            server.set(name, &format!("'{place}'"));
        }
        server.set("environments", &format!("'{}'", folder.display()));
        let port = server.port;
        server.set("port", &port.to_string());
        server.set("python_min", "\"3.9\"");
        server.set("watch_for", "\"1s\"");
        server.set("health_deadline", "\"5s\"");
        server.set("stop_grace", "\"10s\"");
        server.release("1");
        server
    }

    /// Makes variable `name` of the plan this TOML value.
    pub fn set(&mut self, name: &str, toml: &str) {
        self.vars.insert(name.to_owned(), toml.to_owned());
        let text: String = self.vars.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        fs::write(self.path("vars.toml"), text).unwrap();
    }

    /// Uses another plan.
    pub fn use_plan(&mut self, plan: PathBuf) {
        self.plan = plan;
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    pub fn production(&self) -> PathBuf {
        self.path("produção")
    }

    /// The development folder holds this version from now on.
    pub fn release(&self, version: &str) {
        fs::write(self.path("dev/VERSION"), format!("{version}\n")).unwrap();
        fs::write(self.path("dev/templates/only_in.html"), format!("version {version}\n")).unwrap();
        fs::write(self.path(format!("dev/static/v{version}.css")), "/* only in this version */\n").unwrap();
    }

    /// The version in the development folder has these faults.
    pub fn faults(&self, json: &str) {
        fs::write(self.path("dev/faults.json"), json).unwrap();
    }

    /// `almaplan ARGS` on this server, from its own folder.
    pub fn almaplan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almaplan"));
        command
            .args(args)
            .current_dir(self.root.path())
            .env("ALMAPLAN_MACHINE_DIR", self.path("machine"))
            .env("ALMA_SMOKE_PASSWORD", PASSWORD)
            .env_remove("ALMAPLAN_STATE_DIR")
            .env_remove("ALMAPLAN_LANG")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// `almaplan apply` of the plan with this server's values, and `more` arguments.
    pub fn apply_command(&self, more: &[&str]) -> Command {
        let mut command = self.almaplan(&["apply", "--progress", "json", "--lang", "en"]);
        command.arg(&self.plan).arg("--vars").arg(self.path("vars.toml")).args(more);
        command
    }

    pub fn apply(&self) -> Said {
        run(&mut self.apply_command(&[]))
    }

    pub fn say(&self, args: &[&str]) -> Said {
        run(&mut self.almaplan(args))
    }

    /// Deploys version 1 on the empty production folder.
    pub fn deploy_first(&self) {
        self.apply().expect(0);
        assert_eq!(self.version().as_deref(), Some("1"));
    }

    /// The version that answers, where one does.
    pub fn version(&self) -> Option<String> {
        let (status, body) = http(self.port, "GET", "/api/status", "", "").ok()?;
        let body: Value = serde_json::from_str(&body).ok()?;
        (status == 200).then(|| body["version"].as_str().unwrap().to_owned())
    }

    /// The pid of the version that answers.
    pub fn pid(&self) -> u32 {
        let (_, body) = http(self.port, "GET", "/api/status", "", "").unwrap();
        serde_json::from_str::<Value>(&body).unwrap()["pid"].as_u64().unwrap() as u32
    }

    /// Creates an order, as a user would.
    pub fn order(&self, customer: &str) {
        let cookie = self.log_in();
        let (status, body) = http(self.port, "POST", "/orders", &cookie, &format!("customer={customer}&item=peixe&quantity=2")).unwrap();
        assert_eq!(status, 201, "{body}");
    }

    /// The customers of all orders.
    pub fn customers(&self) -> String {
        let cookie = self.log_in();
        http(self.port, "GET", "/orders", &cookie, "").unwrap().1
    }

    fn log_in(&self) -> String {
        let (_, answer) = http_raw(self.port, "POST", "/login", "", &format!("username=admin&password={PASSWORD}")).unwrap();
        let cookie = answer.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).expect("a login sets a cookie");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// `deploy_log.txt` of the production folder.
    pub fn deploy_log(&self) -> String {
        fs::read_to_string(self.production().join("deploy_log.txt")).unwrap_or_default()
    }

    /// The folders beside production that hold what failed.
    pub fn failed_folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("produção_failed_")).collect()
    }

    /// Every process with a command line below this server's folder: (pid, command line).
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes_of(self.root.path().to_str().unwrap())
    }

    /// The processes that serve: at most one version may.
    pub fn serving(&self) -> Vec<(u32, String)> {
        self.processes().into_iter().filter(|(_, line)| line.contains("serve.py")).collect()
    }

    /// The newest run's status as JSON.
    pub fn status(&self) -> Value {
        let said = self.say(&["status", "--json"]);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.path("vars.toml")).unwrap_or_default());
            eprintln!("deploy_log.txt: {}", self.deploy_log());
        }
    }
}

impl Said {
    /// Panics with all that was said unless it ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON lines.
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The states that `step` went through, in order.
    pub fn states(&self, step: &str) -> Vec<String> {
        let of_step = |event: &Value| event["event"] == "step" && event["step"] == step;
        self.events().iter().filter(|event| of_step(event)).map(|event| event["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The id of the run.
    pub fn run(&self) -> String {
        let run = self.events().iter().find(|event| event["event"] == "run").expect("a line with the run")["run"].clone();
        run.as_str().unwrap().to_owned()
    }

    pub fn outcome(&self) -> String {
        let events = self.events();
        let outcome = events.iter().find(|event| event["event"] == "outcome").expect("a line with the outcome");
        outcome["outcome"].as_str().unwrap().to_owned()
    }

    /// Everything it said, for looking for words.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The code of a process that did not end by itself: none that almaplan uses. A signal has no code.
pub const CRASHED: i32 = -1;

/// Windows gives a process that is aborted a code of the system's own.
fn is_crash(code: i32) -> bool {
    cfg!(windows) && code < 0
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> Said {
    said(command.output().unwrap())
}

pub fn said(output: Output) -> Said {
    let code = output.status.code().filter(|code| !is_crash(*code)).unwrap_or(CRASHED);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Starts `command` with its output in pipes.
pub fn start(command: &mut Command) -> Child {
    // A console of its own: there it can be interrupted alone.
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(command, 0x0800_0000);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `done`; a condition that does not come within `seconds` is a failure.
pub fn wait_until(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Presses Ctrl+C in the terminal of `child`, which [`start`] started.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    signal(child.id(), "-INT");
}

/// The same: somebody must be sent to its console, and waits there until it ends.
#[cfg(windows)]
pub fn interrupt(child: &Child) {
    use almaplan_steps::process::{Gentle, Tree, identify, send_errands_to, stop};
    send_errands_to(env!("CARGO_BIN_EXE_almaplan").into());
    let mut tree = Tree::of(&identify(child.id()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopped = runtime.block_on(stop(&mut tree, Gentle::Int, Duration::from_secs(60))).unwrap();
    assert!(!stopped.forced, "Ctrl+C was not heard");
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Whether a process is there and not a zombie.
pub fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Processes whose command line contains `text`, but for this one.
pub fn processes_of(text: &str) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    entries
        .filter(|&pid| pid != std::process::id())
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(text) && alive(pid)).then_some((pid, line))
        })
        .collect()
}

/// Every file below `folder` with its content's hash and its mode, but for what `except` says.
pub fn tree(folder: &Path, except: &dyn Fn(&Path) -> bool) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            let relative = path.strip_prefix(folder).unwrap().to_owned();
            if except(&relative) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                files.insert(relative, blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string());
            }
        }
    }
    files
}

/// What the application writes while it runs.
pub fn is_runtime(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let top = path.components().next().unwrap().as_os_str().to_str().unwrap();
    name.contains(".db")
        || name.contains(".log")
        || name == "deploy_log.txt"
        || top == "uploads"
        || path.to_str().unwrap().contains("__pycache__")
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One HTTP request; status and body.
pub fn http(port: u16, method: &str, path: &str, cookie: &str, form: &str) -> std::io::Result<(u16, String)> {
    let (status, answer) = http_raw(port, method, path, cookie, form)?;
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

fn http_raw(port: u16, method: &str, path: &str, cookie: &str, form: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = form.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, answer)).ok_or_else(|| std::io::Error::other("no HTTP"))
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "__pycache__" || name.to_str().unwrap().contains(".db") || name == "faults.json" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&path, &to.join(name))
        } else {
            let _ = fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A folder of Python environments that all servers share, with the one that the sample application needs already in it:
/// building it once is slow enough.
fn environments() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("environments");
        fs::create_dir_all(&folder).unwrap();
        // Test binaries may run side by side.
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let requirements = fs::read(repository().join("examples/almareia/requirements.txt")).unwrap();
        let ready = folder.join(format!("ready-{}", blake3::hash(&requirements).to_hex()));
        if !ready.exists() {
            Server::with_environments(folder.clone()).deploy_first();
            fs::write(ready, "").unwrap();
        }
        folder
    })
}
