//! Nobody else's word (rule 23): root, and two ordinary users of one machine. Only root can play them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::support::workspace::Workspace;
use crate::support::{Running, Said, command, run, start, tool, wait_until, wrapped};

/// An attacker, and whom she attacks: users of nothing else.
const EVE: u32 = 4_200_001;
const VIC: u32 = 4_200_002;

/// A machine on which `/var/tmp` is the workspace: sticky, and open to all.
struct Machine(Workspace);

impl Machine {
    /// `None`, and said loudly, where the tests are not run by root.
    fn new() -> Option<Self> {
        if tool(command("id").arg("-u")).trim() != "0" {
            eprintln!("NOT TESTED: what several users of a machine can do to each other needs root");
            return None;
        }
        let machine = Self(Workspace::new());
        fs::set_permissions(machine.0.folder(), fs::Permissions::from_mode(0o1777)).unwrap();
        for (folder, user) in [("root", 0), ("eve", EVE), ("vic", VIC), ("target", 0)] {
            fs::create_dir(machine.0.path(folder)).unwrap();
            chown(machine.0.path(folder), Some(user), Some(user)).unwrap();
        }
        Some(machine)
    }

    /// A plan in the folder of a user, whose only step notes that it began and waits until there is `go`.
    fn plan(&self, folder: &str, lock: &str) {
        let plan = format!(
            r#"
            format = 1
            [plan]
            name = "plan"
            lock = '{lock}'
            [steps.wait]
            uses = "command"
            with = {{ program = "test_program", args = ["append", "begun", "", "until", "go", "begun"], idempotent = true }}
            compensate = "none"
            "#
        );
        self.0.write(&format!("{folder}/plan.toml"), &plan);
    }

    fn target(&self) -> String {
        self.0.path("target").to_str().unwrap().to_owned()
    }

    /// almaplan in the folder of a user, as another one perhaps.
    fn almaplan(&self, user: u32, folder: &str, args: &[&str]) -> Command {
        let mut almaplan = self.0.almaplan(args);
        almaplan.current_dir(self.0.path(folder)).env("HOME", self.0.path(folder));
        if user == 0 {
            return almaplan;
        }
        let mut somebody = command("setpriv");
        somebody.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        wrapped(somebody, &almaplan)
    }

    fn say(&self, user: u32, folder: &str, args: &[&str]) -> Said {
        run(&mut self.almaplan(user, folder, args))
    }

    /// A run of a user that waits for `go`.
    fn started(&self, user: u32, folder: &str) -> Running {
        let before = self.0.lines(&format!("{folder}/begun"));
        let running = start(&mut self.almaplan(user, folder, &["apply", "plan.toml", "--progress", "json"]));
        wait_until("the step runs", || self.0.lines(&format!("{folder}/begun")) > before);
        running
    }

    /// A run that a user left behind.
    fn left(&self, user: u32, folder: &str) {
        self.started(user, folder).kill();
    }
}

#[test]
fn what_another_user_left_is_neither_gone_on_with_nor_in_the_way_of_root() {
    // `almaplan resume` by root, anywhere, ran another user's plan; a refusal told root to type the id of it.
    let Some(machine) = Machine::new() else { return };
    machine.plan("eve", &machine.target());
    machine.plan("root", &machine.target());
    machine.left(EVE, "eve");
    for folder in ["root", "eve"] {
        let said = machine.say(0, folder, &["resume"]).expect(0);
        assert!(said.stderr.contains("no run to go on with"), "{}", said.stderr);
        assert_eq!(machine.0.lines("eve/begun"), 1, "somebody else's step ran again");
    }
    let state = machine.0.path("eve/.almaplan");
    let said = machine.say(0, "root", &["status", "--state-dir", state.to_str().unwrap()]).expect(2);
    assert!(said.stderr.contains("belongs to"), "{}", said.stderr);
    machine.0.write("root/go", "");
    machine.say(0, "root", &["apply", "plan.toml"]).expect(0);
}

#[test]
fn a_state_that_others_put_above_is_never_journaled_into() {
    let Some(machine) = Machine::new() else { return };
    machine.plan("eve", "plan");
    machine.plan("root", "another");
    machine.0.write("eve/go", "");
    machine.say(EVE, "eve", &["apply", "plan.toml"]).expect(0);
    fs::rename(machine.0.path("eve/.almaplan"), machine.0.path(".almaplan")).unwrap();
    machine.0.write("root/go", "");
    machine.say(0, "root", &["apply", "plan.toml"]).expect(0);
    assert!(machine.0.path("root/.almaplan/state.db").is_file(), "root has a state of its own");
    // Right there, where root's own would be.
    let refused = machine.say(0, ".", &["apply", "root/plan.toml", "--progress", "json"]).expect(2).events().remove(0);
    assert_eq!(refused["code"], "not-ours");
    assert_eq!(machine.0.lines("root/begun"), 1, "something was done");
}

#[test]
fn several_users_exclude_each_other_on_a_folder_and_on_a_name() {
    let Some(machine) = Machine::new() else { return };
    for lock in [machine.target().as_str(), "a name", machine.0.path("not yet").to_str().unwrap()] {
        for folder in ["eve", "vic", "root"] {
            machine.plan(folder, lock);
            let _ = fs::remove_file(machine.0.path(format!("{folder}/go")));
        }
        let mut first = machine.started(EVE, "eve");
        for (user, folder) in [(VIC, "vic"), (0, "root")] {
            let refused = machine.say(user, folder, &["apply", "plan.toml", "--progress", "json"]).expect(6).events().remove(0);
            assert_eq!(refused["code"], "occupied", "{lock}");
            let told = refused["message"].as_str().unwrap();
            assert!(told.contains(&format!("uid {EVE}")), "whose it is: {told}");
            assert!(!refused["hint"].as_str().unwrap().contains("resume"), "{refused}");
            assert_eq!(machine.0.lines(&format!("{folder}/begun")), 0);
        }
        machine.0.write("eve/go", "");
        assert_eq!(first.code(), 0);
    }
}

#[test]
fn who_makes_the_folder_of_locks_first_keeps_nobody_from_theirs() {
    let Some(machine) = Machine::new() else { return };
    let theirs = machine.0.path("machine");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o1777)).unwrap();
    chown(&theirs, Some(EVE), Some(EVE)).unwrap();
    for (user, folder) in [(VIC, "vic"), (0, "root")] {
        machine.plan(folder, "plan");
        machine.0.write(&format!("{folder}/go"), "");
        machine.say(user, folder, &["apply", "plan.toml"]).expect(0);
    }
    assert_eq!(fs::metadata(&theirs).map(|made| std::os::unix::fs::MetadataExt::uid(&made)).unwrap(), 0, "root has it now");
}

#[test]
fn who_gives_a_squatted_folder_free_again_hides_no_run_of_its_user() {
    let Some(machine) = Machine::new() else { return };
    machine.plan("vic", "plan");
    let squatted = machine.0.path(format!("machine-{VIC}"));
    fs::create_dir(&squatted).unwrap();
    chown(&squatted, Some(EVE), Some(EVE)).unwrap();
    machine.left(VIC, "vic");
    fs::remove_dir(&squatted).unwrap();
    let refused = machine.say(VIC, "vic", &["apply", "plan.toml", "--progress", "json"]).expect(6).events().remove(0);
    assert_eq!(refused["code"], "unsettled");
}

#[test]
fn pipes_in_the_folder_of_a_run_are_waited_for_by_nobody() {
    let Some(machine) = Machine::new() else { return };
    machine.plan("root", "plan");
    machine.0.write("root/go", "");
    machine.say(0, "root", &["apply", "plan.toml"]).expect(0);
    let kept = fs::read_dir(machine.0.path("root/.almaplan/runs")).unwrap().next().unwrap().unwrap().path();
    for file in ["head", "updates.jsonl", "wait.log"] {
        let _ = fs::remove_file(kept.join(file));
        tool(command("mkfifo").arg(kept.join(file)));
    }
    for args in [&["status"][..], &["runs"], &["logs", "last"], &["report", "last"]] {
        let mut limited = command("timeout");
        limited.arg("60");
        let said = run(&mut wrapped(limited, &machine.almaplan(0, "root", args)));
        assert_ne!(said.code, 124, "{args:?} hangs");
    }
}
