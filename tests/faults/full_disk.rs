//! A disk that is really full, in the middle of the journal, the backup, the release and the restore: a small file system of its own
//! where the machine lets us mount one. Where it does not, only the limit of the size of files is left, which is always tried too.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::fixture::{DISK, Fixture, Reference, status_is_true};
use super::plans::{FAILING, Plan, WHOLE};
use crate::support::{Said, command, run, sample, wrapped};

/// A file system of its own, all of it taken but for a little.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    const BYTES: u64 = 4 << 20;

    /// `None` where the machine does not let us.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={},mode=700", Self::BYTES);
        let mounted = run(command("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at)).code == 0;
        if !mounted {
            eprintln!("no file system can be mounted here: only the limit of the size of files stands for a full disk");
        }
        mounted.then(|| Self { at: at.to_owned() })
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        filler.set_len(filler.metadata().unwrap().len() - free).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nobody is in it any more; if somebody were, it would go with them.
        run(command("umount").arg("-l").arg(&self.at));
    }
}

/// Of all amounts of space one in so many is tried. Each way to end is met by more of them side by side than this.
const ONE_IN: usize = 4;

/// Runs `plan` with each of these amounts of space left in `folder`; afterwards there is room again. Returns the exit codes that it saw.
fn with_little_space(plan: &Plan, folder: &str, free: impl IntoIterator<Item = u64>) -> Option<BTreeSet<i32>> {
    let reference = Reference::of(plan);
    let mut seen = BTreeSet::new();
    for free in free {
        let mut fixture = Fixture::new(plan);
        let disk = SmallDisk::mount(&fixture.path(folder))?;
        fixture.settle_in(folder);
        disk.fill(free);
        let said = fixture.say(&["apply", "plan.toml", "--progress", "json"]);
        seen.insert(said.code);
        if said.code != plan.code {
            says_what_is_full(&said, &fixture.path(folder));
        }
        ends_well(&fixture, plan, &reference, said, || disk.make_room());
    }
    eprintln!("{} with little space in `{folder}`: exit codes {seen:?}", plan.name);
    Some(seen)
}

/// Whatever came of it: nothing is half done, and with room it goes on.
fn ends_well(fixture: &Fixture, plan: &Plan, reference: &Reference, said: Said, make_room: impl FnOnce()) {
    let tree = |code| if code == 0 { &reference.after } else { &reference.before };
    match said.code {
        code @ (0 | 3) => {
            assert_eq!(&fixture.production(), tree(code), "{}", said.all());
            make_room();
        }
        4 | 5 => {
            status_is_true(&fixture.status().unwrap(), &said);
            make_room();
            let resumed = fixture.say(&["resume", "--progress", "json"]);
            assert!(resumed.code == plan.code || resumed.code == 3, "{}", resumed.all());
            assert_eq!(&fixture.production(), tree(resumed.code), "{}", resumed.all());
        }
        1 => {
            assert_eq!(fixture.production(), reference.before, "{}", said.all());
            make_room();
            fixture.say(&["apply", "plan.toml"]).expect(plan.code);
            assert_eq!(&fixture.production(), &reference.after);
        }
        code => panic!("exit {code}: {}", said.all()),
    }
    fixture.archives_verify();
}

/// A person reads which disk it is, and what to do.
fn says_what_is_full(said: &Said, folder: &Path) {
    let folder = folder.to_str().unwrap();
    let told = |line: &str| (line.contains("pace") || line.contains("room")) && line.contains(folder);
    assert!(said.stderr.lines().any(told), "{}", said.stderr);
    assert!(said.stderr.contains("make room"), "{}", said.stderr);
    assert!(!said.stderr.contains("database or disk is full"), "{}", said.stderr);
}

#[test]
fn a_state_that_runs_out_of_space_interrupts_the_run_and_says_so() {
    let free = sample::every(ONE_IN, (0..44).map(|pages| pages * 2 * 4096));
    let Some(seen) = with_little_space(&WHOLE, ".almaplan", free) else { return };
    assert_eq!(seen, BTreeSet::from([0, 1, 5]), "before the run, in the middle of it, and not at all");
}

#[test]
fn a_backup_that_runs_out_of_space_leaves_everything_as_it_was() {
    let free = [0, 1, 2, 3, 4, 5, 6, 8, 16].map(|pages| pages * 4096);
    let Some(seen) = with_little_space(&WHOLE, "backups", free) else { return };
    assert_eq!(seen, BTreeSet::from([0, 3]));
}

#[test]
fn a_release_or_a_restore_that_runs_out_of_space_ends_as_it_promises() {
    let free = || sample::every(ONE_IN, (0..40).map(|pages| pages * 2 * 4096));
    let Some(deploys) = with_little_space(&WHOLE, DISK, free()) else { return };
    assert!(deploys.contains(&0) && deploys.contains(&3), "{deploys:?}");
    let Some(rollbacks) = with_little_space(&FAILING, DISK, free()) else { return };
    assert!(rollbacks.contains(&3) && rollbacks.contains(&4), "the restore never ran out of space: {rollbacks:?}");
}

#[test]
fn files_that_may_not_grow_leave_nothing_half_done() {
    // More than 5 s: each amount of space is a whole run of its own, and a recovery.
    for plan in [&WHOLE, &FAILING] {
        let reference = Reference::of(plan);
        let mut seen = BTreeSet::new();
        // In blocks of 512 bytes.
        for blocks in sample::every(ONE_IN, (0..1200).step_by(16)) {
            let fixture = Fixture::new(plan);
            let mut limit = command("sh");
            limit.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
            let said = run(&mut wrapped(limit, &fixture.almaplan(&["apply", "plan.toml", "--progress", "json"])));
            seen.insert(said.code);
            ends_well(&fixture, plan, &reference, said, || {});
        }
        eprintln!("{} with files that may not grow: exit codes {seen:?}", plan.name);
        assert!(seen.contains(&plan.code) && seen.contains(&5), "{seen:?}");
    }
}
