//! The whole procedure of `plans/production.toml`, with a fake of Python and of the application: on every system.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use almaplan_steps::process;
use serde_json::Value;

use crate::support::programs::fake_python;
use crate::support::workspace::Workspace;
use crate::support::{Said, free_port, inherited, run, sample, wait_until};
#[cfg(windows)]
use crate::support::{command, tool};

/// A server below one temporary folder, with accents and blanks in its paths.
struct Server {
    workspace: Workspace,
    production: PathBuf,
    port: u16,
}

impl Server {
    fn new(port: u16) -> Self {
        let workspace = Workspace::called("almareia ");
        let production = workspace.path("produção");
        Self::at(workspace, production, port)
    }

    /// One whose application is to be deployed to `production`, as that is written.
    fn at(workspace: Workspace, production: PathBuf, port: u16) -> Self {
        let server = Self { workspace, production, port };
        fs::create_dir(server.path("dev")).unwrap();
        fs::write(server.path("dev/requirements.txt"), "flask==3.1.0\n").unwrap();
        fs::write(server.path("dev/serve.py"), "").unwrap();
        let path = |name: &str| format!("'{}'", server.path(name).display());
        let values = [
            ("production", format!("'{}'", server.production.display())),
            ("development", path("dev")),
            ("backups", path("backups")),
            ("environments", path("environments")),
            ("logs", path("logs")),
            ("python", format!("'{}'", fake_python().display())),
            ("port", port.to_string()),
            ("tests", "[]".to_owned()),
            ("dev_python", "\"\"".to_owned()),
            ("packages", "[\"Flask\"]".to_owned()),
            ("watch_for", "\"200ms\"".to_owned()),
            ("health_deadline", "\"5s\"".to_owned()),
            ("stop_grace", "\"5s\"".to_owned()),
        ];
        let values: String = values.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        fs::write(server.path("vars.toml"), values).unwrap();
        server
    }

    fn path(&self, below: &str) -> PathBuf {
        self.workspace.path(below)
    }

    /// The development folder holds this version, with these faults.
    fn release(&self, version: &str, faults: &str) {
        fs::write(self.path("dev/VERSION"), format!("{version}\n")).unwrap();
        fs::write(self.path("dev/faults.txt"), faults).unwrap();
        fs::create_dir_all(self.path("dev/páginas")).unwrap();
        fs::write(self.path("dev/páginas/início.html"), format!("version {version}\n")).unwrap();
    }

    fn say(&self, args: &[&str], crash_after: Option<u32>) -> Said {
        let mut command = self.workspace.almaplan(args);
        command.args(["--progress", "json", "--lang", "en"]).env_remove("ALMAPLAN_LANG").env_remove("ALMA_SMOKE_PASSWORD");
        command.envs(crash_after.map(|appends| ("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string())));
        run(&mut command)
    }

    fn apply(&self, crash_after: Option<u32>) -> Said {
        let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/production.toml");
        self.say(&["apply", plan.to_str().unwrap(), "--vars", "vars.toml"], crash_after)
    }

    /// The version that answers, where one does.
    fn version(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET /api/status HTTP/1.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(body["version"].as_str()?.to_owned())
    }

    /// What was released, and what the file that only it has says.
    fn deployed(&self) -> (String, String) {
        let read = |name: &str| fs::read_to_string(self.production.join(name)).unwrap_or_default().trim().to_owned();
        (read("VERSION"), read("páginas/início.html"))
    }

    fn expect_version(&self, version: &str, said: &Said) {
        assert_eq!(self.version().as_deref(), Some(version), "{}{}", said.stdout, said.stderr);
        assert_eq!(self.deployed(), (version.to_owned(), format!("version {version}")));
        let roots = process::users_of(&self.path("environments"));
        assert!(!roots.is_empty() && roots.len() <= 2, "one service, with its launcher: {roots:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in process::listeners(self.port).unwrap_or_default() {
            if let Ok(Some(root)) = process::root_of(&pid) {
                process::kill_now(&mut process::Tree::of(&root));
            }
        }
    }
}

#[test]
fn a_deploy_an_update_and_a_rollback_on_port_5000() {
    // More than 5 s: each version is deployed, watched, and brought back.
    let server = Server::new(5000);
    server.release("1", "");
    let said = server.apply(None).expect(0);
    server.expect_version("1", &said);
    server.release("2", "");
    let said = server.apply(None).expect(0);
    assert!(said.stdout.contains("downtime_ms"), "{}", said.stdout);
    server.expect_version("2", &said);
    let said = server.say(&["rollback", "--yes"], None).expect(0);
    server.expect_version("1", &said);
}

#[cfg(windows)]
#[test]
fn folders_on_drives_and_shares_are_deployed_to_however_they_are_written() {
    // A mapped drive with the very folder of the first server; the tests under Wine come with that drive.
    let drive = tempfile::tempdir().unwrap();
    if !Path::new(r"G:\").is_dir() {
        tool(command("subst").arg("G:").arg(drive.path()));
    }
    for on in ["drive", "drive, with slashes", "share"] {
        let workspace = Workspace::called("almareia ");
        let folder = format!("Almareia Mirapraia Sistema Producao {}", workspace.folder().file_name().unwrap().display());
        let production = match on {
            "drive" => format!(r"G:\{folder}\produção"),
            "share" => workspace.path("produção").to_str().unwrap().replacen("C:", r"\\localhost\C$", 1),
            _ => format!("G:/{folder}/produção"),
        };
        let server = Server::at(workspace, production.into(), free_port());
        fs::create_dir_all(server.production.parent().unwrap()).unwrap();
        for version in ["1", "2"] {
            server.release(version, "");
            let said = server.apply(None).expect(0);
            server.expect_version(version, &said);
        }
        server.release("3", "login-500");
        let said = server.apply(None).expect(3);
        server.expect_version("2", &said);
        let folder = server.production.parent().unwrap().to_owned();
        drop(server);
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

#[test]
fn a_faulty_version_is_rolled_back_although_the_old_one_does_not_obey() {
    // More than 5 s: each version is deployed, watched, and brought back.
    for (old, new) in [("slow-stop", "no-start"), ("ignore-stop child", "login-500 child ignore-stop"), ("", "traceback")] {
        let server = Server::new(free_port());
        server.release("1", old);
        server.apply(None).expect(0);
        fs::write(server.production.join("upload.png"), "of a user").unwrap();
        server.release("2", new);
        let said = server.apply(None).expect(3);
        server.expect_version("1", &said);
        assert_eq!(fs::read_to_string(server.production.join("upload.png")).unwrap(), "of a user", "{old}, {new}");
    }
}

/// In a process that goes on, because Wine 8 lets no Ctrl+C through to a program whose starter has ended: in the procedure the
/// services are killed there once their grace is over.
#[tokio::test]
async fn a_service_ends_in_order_when_asked_and_by_force_when_it_does_not_obey() {
    inherited::heed_signals();
    process::set_helper_program(env!("CARGO_BIN_EXE_almaplan").into());
    for (faults, forced) in [("", false), ("slow-stop child", false), ("ignore-stop child", true)] {
        let server = Server::new(free_port());
        server.release("1", faults);
        let log = fs::File::create(server.path("log")).unwrap();
        let gate = process::Gate::close(process::Launch {
            program: fake_python(),
            args: vec![server.path("dev/serve.py").display().to_string(), format!("--port={}", server.port)],
            verbatim: false,
            cwd: server.path(""),
            env: Vec::new(),
            stdout: log.try_clone().unwrap().into(),
            stderr: log.into(),
            outlives_us: true,
            origin: None,
        });
        let gate = gate.unwrap();
        assert_eq!(server.version(), None, "it waits in its gate");
        let mut launched = gate.open().await.unwrap();
        wait_until("the service answers", || {
            assert!(launched.child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(server.path("log")).unwrap());
            server.version().is_some()
        });
        let mut tree = process::Tree::of(&launched.identity);
        // Not what keeps its console on Windows: that is of nobody, and ends by itself.
        assert_eq!(tree.refresh().len(), 1 + usize::from(faults.contains("child")), "{faults}");
        let grace = Duration::from_secs(if forced { 1 } else { 60 });
        let stopped = process::stop(&mut tree, process::Gentle::Int, grace).await.unwrap();
        assert_eq!(stopped.forced, forced, "{faults}");
        assert!(tree.refresh().is_empty() && server.version().is_none(), "{faults}");
        assert_eq!(fs::read_to_string(server.path("log")).unwrap().contains("ended in order"), !forced, "{faults}");
    }
}

/// Of all appends one in so many is tried: under Wine each takes many seconds.
const ONE_IN: usize = 8;

/// Deploys version after version, each killed one append later than the one before and gone on with, until one is not killed any more.
/// It `ends` with this exit code, and then this version answers.
fn kill_at_every_append(faults: &str, ends: i32, answers: impl Fn(u32) -> String) {
    let server = Server::new(free_port());
    server.release("0", "");
    server.apply(None).expect(0);
    for (crashes, appends) in sample::every(ONE_IN, 1..200).enumerate() {
        server.release(&appends.to_string(), faults);
        let crashed = server.apply(Some(appends));
        if crashed.code == ends {
            assert!(crashes >= sample::share(ONE_IN, 20), "only {crashes} crashes");
            return;
        }
        let said = server.say(&["resume"], None);
        if said.code != ends {
            // Killed behind its last event: there is nothing to go on with.
            assert!(said.stdout.contains("already-settled"), "after append {appends}: {}{}\n{}", said.stdout, said.stderr, crashed.stdout);
        }
        server.expect_version(&answers(appends), &said);
    }
    panic!("a deploy of more than 200 appends");
}

#[test]
#[cfg_attr(unix, ignore = "`crash.rs` does it with the real application")]
fn a_deploy_killed_at_every_append_is_finished_by_resume() {
    kill_at_every_append("", 0, |appends| appends.to_string());
}

#[test]
#[cfg_attr(unix, ignore = "`crash.rs` does it with the real application")]
fn a_rollback_killed_at_every_append_is_finished_by_resume() {
    kill_at_every_append("login-500", 3, |_| "0".to_owned());
}
