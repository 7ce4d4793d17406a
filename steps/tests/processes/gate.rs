//! Rule 18: nothing of ours runs unseen.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use almaplan_steps::process::{self, Gate, Launch};

use super::fixture::{fake_service, pid_in, runs, script_command, until};

const SPAWNER: &str = "ALMAPLAN_TEST_SPAWNER";

fn script_inputs(words: &[&str], folder: &Path) -> Launch {
    Launch {
        program: fake_service().into(),
        verbatim: false,
        args: words.iter().copied().map(str::to_owned).collect(),
        cwd: folder.to_owned(),
        env: Vec::new(),
        stdout: Stdio::null(),
        stderr: Stdio::null(),
        outlives_us: false,
        origin: None,
    }
}

/// Not a test of its own: what the next one runs in a process that it can kill.
#[tokio::test]
async fn a_spawner_that_never_opens_its_gate() {
    let Some(folder) = std::env::var_os(SPAWNER).map(PathBuf::from) else { return };
    let gate = Gate::close(script_inputs(&["pid", "effect", "sleep"], &folder)).unwrap();
    std::fs::write(folder.join("pid"), format!("{}\n", gate.identity().pid)).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_closed_gate_ends_with_whoever_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spawner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::gate::a_spawner_that_never_opens_its_gate"])
        .env(SPAWNER, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = pid_in(&folder.path().join("pid")).await;
    assert!(runs(pid), "it waits in its gate");
    spawner.kill().unwrap();
    spawner.wait().unwrap();
    until("the gate's end", || !runs(pid)).await;
    assert!(!folder.path().join("effect").exists(), "its program never ran");
}

#[tokio::test]
async fn an_opened_gate_keeps_its_identity_and_is_not_alive_in_another_boot() {
    let folder = tempfile::tempdir().unwrap();
    let effect = folder.path().join("effect");
    let gate = Gate::close(script_inputs(&["pid", "effect", "sleep"], folder.path())).unwrap();
    let identity = gate.identity().clone();
    let mut launched = gate.open().await.unwrap();
    assert_eq!(pid_in(&effect).await, identity.pid, "the program has the pid that was made durable");
    assert!(process::is_alive(&identity));

    let other_boot = almaplan_engine::event::ProcessIdentity { boot: "another".to_owned(), ..identity.clone() };
    assert!(!process::is_alive(&other_boot));
    assert!(process::Tree::of(&other_boot).refresh().is_empty(), "nobody to signal");
    launched.child.start_kill().unwrap();
    // Not waited for: a zombie counts as ended.
    until("its end", || !process::is_alive(&identity)).await;
    process::kill_now(&mut process::Tree::of(&identity));
}

/// What has no parent that we know and nothing of ours in its environment.
const ORPHAN: [&str; 7] = ["start", "5", "start-forgetful", "3", "pid", "orphan", "sleep"];

#[tokio::test]
async fn an_orphan_without_an_environment_is_found_by_its_session_or_job() {
    for goes_on in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let words = [&ORPHAN[..], if goes_on { &["sleep"] } else { &["until", "orphan"] }].concat();
        let gate = Gate::close(script_inputs(&words, folder.path())).unwrap();
        let identity = gate.identity().clone();
        let _child = gate.open().await.unwrap();
        let orphan = pid_in(&folder.path().join("orphan")).await;
        // A command that is over at once was a zombie before its tree was first looked at: what it left in its session lived on.
        until("the end of what ends at once", || goes_on || !process::is_alive(&identity)).await;
        let mut tree = process::Tree::of(&identity);
        assert!(tree.refresh().contains(&orphan), "{words:?}");
        process::kill_now(&mut tree);
        until("its end", || !runs(orphan)).await;
    }
}

#[tokio::test]
async fn a_reused_pid_is_never_signalled() {
    let mut bystander = tokio::process::Command::from(script_command(&["sleep"])).kill_on_drop(true).spawn().unwrap();
    let mut stale = process::identify(bystander.id().unwrap()).unwrap();
    stale.started -= 1;
    assert!(!process::is_alive(&stale), "nor taken for the one that had the pid before");
    let mut tree = process::Tree::of(&stale);
    process::stop(&mut tree, process::Gentle::Term, std::time::Duration::ZERO).await.unwrap();
    process::kill_now(&mut tree);
    assert!(bystander.try_wait().unwrap().is_none(), "another process under the same pid is left alone");
}

// Under Wine a program of another system may have started us.
#[cfg(unix)]
#[tokio::test]
async fn we_and_what_started_us_are_never_part_of_a_tree() {
    let parent = std::os::unix::process::parent_id();
    let mut tree = process::Tree::of(&process::identify(parent).unwrap());
    let members = tree.refresh();
    assert!(!members.contains(&parent) && !members.contains(&std::process::id()), "{members:?}");
    assert!(process::root_of(&process::identify(std::process::id()).unwrap()).is_err());
}

/// Anybody may read the arguments of any process; a shell drops such names.
#[tokio::test]
#[cfg(unix)]
async fn a_variable_that_no_shell_could_name_is_in_the_environment_and_in_no_list_of_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let printed = folder.path().join("printed");
    let launch = Launch {
        program: "/usr/bin/env".into(),
        env: vec![("app.password".to_owned(), Some("kept".to_owned())), ("PLAIN".to_owned(), Some("too".to_owned()))],
        stdout: std::fs::File::create(&printed).unwrap().into(),
        args: Vec::new(),
        ..script_inputs(&[], folder.path())
    };
    let gate = Gate::close(launch).unwrap();
    let arguments = std::fs::read(format!("/proc/{}/cmdline", gate.identity().pid)).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("kept"), "{}", String::from_utf8_lossy(&arguments));
    let _launched = gate.open().await.unwrap();
    until("what it prints", || std::fs::read_to_string(&printed).unwrap().contains("app.password=kept\n")).await;
    let printed = std::fs::read_to_string(&printed).unwrap();
    assert!(printed.contains("PLAIN=too\n") && !printed.contains("ALMAPLAN_VARIABLE_"), "{printed}");
}
