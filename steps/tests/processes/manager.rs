//! A service manager that really supervises a process, and answers `systemctl`, `sc.exe` or `powershell.exe` as the real ones would.
//!
//! `examples/service_tool.rs` is what asks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::fixture::{fake_service, runs, script_command};

/// How a service behaves, and how its manager tells of it.
#[derive(Clone, Copy, Default)]
pub struct Habits {
    /// How long it is on its way.
    pub takes: Duration,
    pub portuguese: bool,
    /// It ends at once.
    pub broken: bool,
    /// It never comes to its end.
    pub stuck: bool,
}

/// Ends with what it supervises when it is dropped.
pub struct Manager(Arc<Mutex<Service>>);

struct Service {
    habits: Habits,
    unit: PathBuf,
    process: Option<Child>,
    /// Which way it is on, and until when.
    way: Option<(Transition, Instant)>,
    /// What it was asked to do.
    changes: usize,
}

#[derive(Clone, Copy)]
enum Transition {
    Start,
    Stop,
}

/// What the service is, whoever manages it: a unit of systemd.
pub fn unit() -> String {
    format!("[Unit]\nDescription=Almareia\n\n[Service]\nExecStart=\"{}\" sleep\nKillSignal=SIGTERM\n", fake_service().display())
}

/// What a tool prints, complains of and ends with.
type Answer = Result<Vec<u8>, (u8, String)>;

impl Manager {
    /// One that the tool finds from `folder`, and that is called as this `kind` of manager is.
    pub fn new(kind: &str, habits: Habits, folder: &Path) -> Self {
        let answer = match kind {
            "systemd" => Service::systemctl,
            "windows-service" => Service::sc,
            _ => Service::powershell,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::write(folder.join("manager"), listener.local_addr().unwrap().port().to_string()).unwrap();
        let unit = folder.join("almareia.service");
        std::fs::write(&unit, self::unit()).unwrap();
        let service = Arc::new(Mutex::new(Service { habits, unit, process: None, way: None, changes: 0 }));
        let kept = Arc::downgrade(&service);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(service) = kept.upgrade() else { return };
                // A tool that is ended while it asks hears nothing.
                let _ = serve(stream.unwrap(), |args| answer(&mut service.lock().unwrap(), args));
            }
        });
        Self(service)
    }

    pub fn pid(&self) -> Option<u32> {
        self.service().pid()
    }

    /// Whether anybody asked for a change.
    pub fn was_asked(&self) -> bool {
        self.service().changes > 0
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.0.lock().unwrap()
    }
}

fn serve(mut tool: TcpStream, answer: impl FnOnce(&[&str]) -> Answer) -> std::io::Result<()> {
    let mut args = String::new();
    tool.read_to_string(&mut args)?;
    let (code, complaint, printed) = match answer(&args.split('\n').collect::<Vec<_>>()) {
        Ok(printed) => (0, String::new(), printed),
        Err((code, complaint)) => (code, complaint, Vec::new()),
    };
    tool.write_all(&[format!("{code}\n{complaint}\n").as_bytes(), &printed].concat())?;
    // On Windows the service may have inherited the connection, which would go on with it.
    tool.shutdown(Shutdown::Write)
}

impl Service {
    fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id).filter(|pid| runs(*pid))
    }

    fn start(&mut self) {
        self.changes += 1;
        let words = if self.habits.broken { "exit 1".to_owned() } else { self.words() };
        let mut process = script_command(&words.split(' ').collect::<Vec<_>>()).spawn().unwrap();
        if self.habits.broken {
            process.wait().unwrap();
        }
        self.process = Some(process);
        self.way = Some((Transition::Start, Instant::now() + self.habits.takes));
    }

    /// What the unit has the program do.
    fn words(&self) -> String {
        let unit = std::fs::read_to_string(&self.unit).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        line.strip_prefix(&format!("\"{}\" ", fake_service().display())).unwrap().to_owned()
    }

    fn stop(&mut self) {
        self.changes += 1;
        let never = Duration::from_secs(3600);
        if !self.habits.stuck {
            self.end();
        }
        self.way = Some((Transition::Stop, Instant::now() + if self.habits.stuck { never } else { self.habits.takes }));
    }

    fn end(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    fn on_its_way(&self) -> Option<Transition> {
        self.way.filter(|(_, until)| Instant::now() < *until).map(|(way, _)| way)
    }

    fn systemctl(&mut self, args: &[&str]) -> Answer {
        let verb = args.iter().find(|arg| !arg.starts_with('-')).unwrap();
        if *verb == "show" {
            return Ok(self.show(args.last().unwrap()).into_bytes());
        }
        if ["stop", "restart"].contains(verb) && self.pid().is_some() {
            self.stop();
        }
        if ["start", "restart"].contains(verb) && self.pid().is_none() {
            self.start();
        }
        if self.habits.broken && *verb != "stop" {
            return Err((1, "Job for almareia.service failed because the control process exited with error code.".to_owned()));
        }
        Ok(Vec::new())
    }

    fn show(&self, unit: &str) -> String {
        if !self.unit.with_file_name(unit).exists() {
            return "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\nResult=success\n".to_owned();
        }
        let failed = self.habits.broken && self.process.is_some();
        let (state, sub) = match self.on_its_way() {
            Some(Transition::Start) => ("activating", "start"),
            Some(Transition::Stop) => ("deactivating", "stop-sigterm"),
            None if self.pid().is_some() => ("active", "running"),
            None if failed => ("failed", "failed"),
            None => ("inactive", "dead"),
        };
        let (pid, result) = (self.pid().unwrap_or(0), if failed { "exit-code" } else { "success" });
        format!("LoadState=loaded\nActiveState={state}\nSubState={sub}\nMainPID={pid}\nResult={result}\n")
    }

    fn sc(&mut self, args: &[&str]) -> Answer {
        let [verb, "AlmareiaWeb"] = args else {
            let complaint = "[SC] OpenService FAILED 1060: The specified service does not exist as an installed service.";
            return Err((36, complaint.to_owned()));
        };
        match *verb {
            "queryex" => return Ok(self.queryex().into_bytes()),
            "start" => self.start(),
            "stop" => self.stop(),
            _ => panic!("sc.exe {verb}"),
        }
        Ok(Vec::new())
    }

    fn queryex(&self) -> String {
        let state = match self.on_its_way() {
            Some(Transition::Start) => "2  START_PENDING",
            Some(Transition::Stop) => "3  STOP_PENDING",
            None if self.pid().is_some() => "4  RUNNING",
            None => "1  STOPPED",
        };
        let label = if self.habits.portuguese { "ESTADO" } else { "STATE " };
        let pid = self.pid().unwrap_or(0);
        [
            "",
            "SERVICE_NAME: AlmareiaWeb",
            "        TYPE               : 10  WIN32_OWN_PROCESS",
            &format!("        {label}             : {state}"),
            "                                (STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN)",
            "        WIN32_EXIT_CODE    : 0  (0x0)",
            "        CHECKPOINT         : 0x0",
            "        WAIT_HINT          : 0x0",
            &format!("        PID                : {pid}"),
            "        FLAGS              :",
            "",
        ]
        .join("\r\n")
    }

    fn powershell(&mut self, args: &[&str]) -> Answer {
        let task = r"-TaskPath '\Almareia\' -TaskName 'Servidor'";
        let script = args.last().and_then(|script| script.strip_prefix("$ErrorActionPreference = 'Stop'; ")).unwrap();
        if !script.contains(task) {
            return Err((1, "Get-ScheduledTask : No MSFT_ScheduledTask objects found with property 'TaskName'.".to_owned()));
        }
        match script.replace(task, "…").as_str() {
            "[int](Get-ScheduledTask …).State" => return Ok(if self.pid().is_some() { b"4\r\n" } else { b"3\r\n" }.to_vec()),
            "Start-ScheduledTask …" => self.start(),
            "Stop-ScheduledTask …" => self.stop(),
            _ => panic!("powershell.exe {args:?}"),
        }
        Ok(Vec::new())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.service().end();
    }
}
