//! A pid that belongs to another program by now: real ones, in a pid namespace, where the next pid can be chosen.
//!
//! ```text
//!  a program starts ──> someone keeps its identity ──> it ends ──> a bystander gets its pid ──> that someone script_command
//! ```
//!
//! A bystander is the same program with the same arguments in the same folder. It writes its file only if no signal ever
//! reached it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use almaplan_engine::event::ProcessIdentity;
use almaplan_engine::host::Host;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::start_service::StartService;
use almaplan_steps::kinds::stop_service::StopService;
use almaplan_steps::local_host::LocalHost;
use almaplan_steps::process::{self, Gentle, Launch, Tree};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use super::fixture::{context, context_after, context_knowing, kind, pid_in, until};
use crate::{namespace, sample};

/// The folder that the test inside the namespace works in.
const WITHIN: &str = "ALMAPLAN_TEST_PIDS";
/// All tries; a sample has a quarter of them.
const ALL_TRIES: usize = 1_000;
const BYSTANDER: &str = "trap 'exit 9' HUP INT QUIT TERM USR1 USR2 CONT; read line < go; : > unharmed";

#[test]
fn a_reused_pid_is_never_signalled() {
    let folder = tempfile::tempdir().unwrap();
    if namespace::run_test("processes::reuse::inside_a_namespace_of_pids", WITHIN, folder.path()) {
        print!("{}", fs::read_to_string(folder.path().join("tried")).unwrap());
    }
}

/// Not a test of its own: what the one above runs in a namespace.
#[tokio::test]
async fn inside_a_namespace_of_pids() {
    let Some(folder) = std::env::var_os(WITHIN).map(PathBuf::from) else { return };
    let place = Place::new(&folder);
    let tries = sample::share(4, ALL_TRIES);
    let (mut tried, mut same_second) = (0, 0);
    for _ in 0..2 * tries {
        if tried == tries {
            break;
        }
        // Another process of ours may have got the pid instead: that is no try.
        if let Some((kept, bystander)) = place.try_one(SITUATIONS[tried % SITUATIONS.len()]).await {
            tried += 1;
            same_second += usize::from(kept.started / 100 == bystander.started / 100);
        }
    }
    assert_eq!(tried, tries, "too many pids went to others");
    assert!(same_second > tries / 2, "only {same_second} pids were reused within the second");
    fs::write(folder.join("tried"), format!("{tried} pids reused, {same_second} of them within the same second\n")).unwrap();
}

/// Who kept an identity, and acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Situation {
    /// The engine, which ends what an earlier attempt left before it runs a step again.
    Leftover,
    /// The same after a reboot, where the bystander has even the same start time.
    Rebooted,
    /// A command that is torn down, whose tree saw a child which has ended.
    Child,
    /// A tree whose root led a session: another one has the number now, and its leader has ended.
    Session,
    /// `start-service`, which goes on with what an earlier attempt started.
    Adopted,
    /// `stop-service` by the pid that a step left, where the bystander looks as expected.
    Expected,
    /// The same with nothing expected, where almaplan started the bystander: a service of another plan.
    OtherPlan,
}

const SITUATIONS: [Situation; 7] = [
    Situation::Leftover,
    Situation::Rebooted,
    Situation::Child,
    Situation::Session,
    Situation::Adopted,
    Situation::Expected,
    Situation::OtherPlan,
];

/// Where the programs run.
struct Place {
    folder: PathBuf,
    /// Bystanders wait for a line. Open at both ends, so that nobody waits for the other.
    go: File,
    port: u16,
}

impl Place {
    fn new(folder: &Path) -> Self {
        assert!(std::process::Command::new("mkfifo").arg(folder.join("go")).status().unwrap().success());
        let go = File::options().read(true).write(true).open(folder.join("go")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder: folder.to_owned(), go, port }
    }

    /// Who was meant and who had the pid then; `None` where somebody else got it.
    async fn try_one(&self, situation: Situation) -> Option<(ProcessIdentity, ProcessIdentity)> {
        let (kept, mut tree) = match situation {
            Situation::Child => self.child_that_ended().await,
            _ => self.root_that_ended(situation).await,
        };
        let mut bystander = self.bystander(kept.pid, situation).await;
        let tried = bystander.had == kept.pid;
        let found = process::identify(bystander.pid).unwrap();
        if tried {
            self.act(situation, &kept, &mut tree, &found).await;
        }
        assert!(process::is_alive(&found), "{situation:?}: it was killed");
        (&self.go).write_all(b"\n").unwrap();
        let unharmed = self.folder.join("unharmed");
        until("its end", || !process::is_alive(&found)).await;
        assert!(unharmed.exists(), "{situation:?}: a signal reached it");
        fs::remove_file(unharmed).unwrap();
        bystander.child.wait().await.unwrap();
        process::kill_now(&mut tree);
        tried.then_some((kept, found))
    }

    /// A process that has ended, and a tree that it was the root of and saw it end, as every loop over a tree does.
    async fn root_that_ended(&self, situation: Situation) -> (ProcessIdentity, Tree) {
        let mut root = self.shell(BYSTANDER, situation == Situation::Session).spawn().unwrap();
        let kept = process::identify(root.id().unwrap()).unwrap();
        until("its session", || situation != Situation::Session || session(kept.pid) == kept.pid).await;
        let mut tree = Tree::of(&kept);
        until("another moment than that of its start", || ticks() > kept.started).await;
        root.kill().await.unwrap();
        assert!(tree.refresh().is_empty());
        (kept, tree)
    }

    /// A child that has ended, and the tree of its parent, which saw it alive and goes on.
    async fn child_that_ended(&self) -> (ProcessIdentity, Tree) {
        let line = format!("sh -c \"{BYSTANDER}\" & echo $! > child; wait; exec sleep 600");
        let parent = self.shell(&line, false).spawn().unwrap();
        let child = process::identify(pid_in(&self.folder.join("child")).await).unwrap();
        fs::remove_file(self.folder.join("child")).unwrap();
        let mut tree = Tree::of(&process::identify(parent.id().unwrap()).unwrap());
        assert!(tree.refresh().contains(&child.pid));
        until("another moment than that of its start", || ticks() > child.started).await;
        process::kill_now(&mut Tree::of(&child));
        until("its pid is free", || !Path::new(&format!("/proc/{}", child.pid)).exists()).await;
        (child, tree)
    }

    /// A program that ends unharmed only if no signal reaches it: it has `pid`, or is what the one with `pid` left in its session.
    async fn bystander(&self, pid: u32, situation: Situation) -> Bystander {
        namespace::next_pid(pid);
        if situation == Situation::OtherPlan {
            let launched = process::launch(&context(&self.folder).0, self.launch()).await.unwrap();
            let pid = launched.identity.pid;
            return Bystander { had: pid, pid, child: launched.child };
        }
        let leads = situation == Situation::Session;
        let line = if leads { "sh -c \"$0\" & echo $! > member" } else { BYSTANDER };
        let mut child = self.shell(line, leads).args(leads.then_some(BYSTANDER)).spawn().unwrap();
        let had = child.id().unwrap();
        if !leads {
            return Bystander { had, pid: had, child };
        }
        child.wait().await.unwrap();
        let member = pid_in(&self.folder.join("member")).await;
        fs::remove_file(self.folder.join("member")).unwrap();
        assert_eq!(session(member), had, "it is in the session of who had the pid");
        Bystander { had, pid: member, child }
    }

    async fn act(&self, situation: Situation, kept: &ProcessIdentity, tree: &mut Tree, bystander: &ProcessIdentity) {
        let folder = &self.folder;
        let stop = |with: Value| async move {
            let (cx, ..) = context_knowing(folder, Map::new(), Vec::new(), vec![kept.clone()]);
            let stopped = kind::<StopService>(with).run(&cx).await.unwrap();
            assert_eq!(stopped.pid, None, "{situation:?}");
        };
        match situation {
            Situation::Leftover => LocalHost::new(None).end(kept).await.unwrap(),
            Situation::Rebooted => {
                let before = ProcessIdentity { boot: "before".to_owned(), ..bystander.clone() };
                LocalHost::new(None).end(&before).await.unwrap();
                process::kill_now(&mut Tree::of(&before));
            }
            Situation::Child => {
                process::stop(tree, Gentle::Term, Duration::from_secs(5)).await.unwrap();
            }
            Situation::Session => process::kill_now(tree),
            Situation::Adopted => {
                let (cx, _, seen) = context_after(folder, Map::new(), vec![kept.clone()]);
                let with = json!({ "program": "true", "port": self.port, "log": "log", "deadline": "1s" });
                let failure = kind::<StartService>(with).run(&cx).await.unwrap_err();
                assert!(failure.message.contains("ended with exit code 0"), "{failure}");
                assert_eq!(seen.spawned().len(), 1, "it started one of its own");
            }
            Situation::Expected => stop(json!({ "port": self.port, "pid": kept.pid, "expect": ["sh", folder] })).await,
            Situation::OtherPlan => stop(json!({ "port": self.port, "pid": kept.pid })).await,
        }
    }

    fn shell(&self, line: &str, leads_session: bool) -> Command {
        let mut command = Command::new(if leads_session { "setsid" } else { "sh" });
        command.args(leads_session.then_some("sh")).args(["-c", line]).current_dir(&self.folder);
        command
    }

    fn launch(&self) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            verbatim: false,
            args: vec!["-c".to_owned(), BYSTANDER.to_owned()],
            cwd: self.folder.clone(),
            env: Vec::new(),
            stdout: Stdio::null(),
            stderr: Stdio::null(),
            outlives_us: false,
            origin: None,
        }
    }
}

/// Who must not be signalled.
struct Bystander {
    pid: u32,
    /// The pid that was given to it, or to the leader of its session.
    had: u32,
    child: Child,
}

/// The moment in the unit of start times.
fn ticks() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    uptime.split(' ').next().unwrap().replace('.', "").parse().unwrap()
}

fn session(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap()
}
