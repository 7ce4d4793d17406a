//! A production server in a temporary folder: the sample application, the production plan, and the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::http::{free_port, http, http_raw};
use super::process::{Said, command, processes_of, run};
use super::repository;
use super::workspace::Workspace;

/// The password of the sample application, given to the plan as its secret.
pub const PASSWORD: &str = "mirapraia";

/// How long a health check that is going to fail is given.
pub const SOON: &str = "\"5s\"";

/// A server with a development folder, a production folder and whatever the plan needs, all below one temporary folder.
pub struct Server {
    workspace: Workspace,
    pub port: u16,
    vars: BTreeMap<String, String>,
}

impl Server {
    /// Version 1 in the development folder; production is empty.
    pub fn new() -> Self {
        Self::with_environments(environments().to_owned())
    }

    /// The same, with Python environments of its own in `folder`.
    pub fn with_environments(folder: PathBuf) -> Self {
        let workspace = Workspace::called("almareia ");
        copy(&repository().join("examples/almareia"), &workspace.path("dev"));
        let mut server = Self { workspace, port: free_port(), vars: BTreeMap::new() };
        for (name, place) in [("production", "produção"), ("development", "dev"), ("backups", "backups"), ("logs", "logs")] {
            let place = server.path(place).to_str().unwrap().to_owned();
            server.set(name, &format!("'{place}'"));
        }
        server.set("environments", &format!("'{}'", folder.display()));
        let port = server.port;
        server.set("port", &port.to_string());
        server.set("python_min", "\"3.9\"");
        server.set("dev_python", "\"\"");
        server.set("watch_for", "\"1s\"");
        server.set("health_deadline", "\"30s\"");
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

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.workspace.path(below)
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
        let mut command = self.workspace.almaplan(args);
        // The plan says in which language.
        command.env("ALMA_SMOKE_PASSWORD", PASSWORD).env_remove("ALMAPLAN_LANG");
        command
    }

    /// `almaplan apply` of the plan with this server's values, and `more` arguments.
    pub fn apply_command(&self, more: &[&str]) -> Command {
        let mut command = self.almaplan(&["apply", "--progress", "json", "--lang", "en"]);
        command.arg(repository().join("plans/production.toml")).arg("--vars").arg(self.path("vars.toml")).args(more);
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
        let entries = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("produção_failed_")).collect()
    }

    /// Every process with a command line below this server's folder: (pid, command line).
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes_of(self.workspace.folder().to_str().unwrap())
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
            let _ = run(command("kill").args(["-9", &pid.to_string()]));
        }
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.path("vars.toml")).unwrap_or_default());
            eprintln!("deploy_log.txt: {}", self.deploy_log());
        }
    }
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
        // The tests may be run twice at the same time.
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
