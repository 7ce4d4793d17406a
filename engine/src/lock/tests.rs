#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// What another process of these tests does, and in which folder: see [`other_process`].
const ROLE: &str = "ALMAPLAN_LOCK_TEST_ROLE";
const FOLDER: &str = "ALMAPLAN_LOCK_TEST_FOLDER";

const LOCK: &str = "/srv/loja";

fn holder() -> LockHolder {
    LockHolder {
        lock: LOCK.to_owned(),
        run: RunId::new("20260206-141502-k3f9"),
        state_dir: "/home/ana/.almaplan".into(),
        plan: "/home/ana/production.toml".into(),
        plan_name: "loja".to_owned(),
        user: "ana".to_owned(),
        pid: 7,
        since: "2026-02-06T17:15:02Z".parse().unwrap(),
        next: "almaplan resume 20260206-141502-k3f9".to_owned(),
    }
}

fn claims() -> (tempfile::TempDir, LockDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let claims = LockDirectory::at(folder.path().join("machine")).unwrap();
    (folder, claims)
}

fn now(claims: &LockDirectory) -> Result<Held, LockError> {
    claims.acquire(LOCK, Duration::ZERO)
}

/// Another process that plays `role` until it is killed or what it reads from is closed, and the lines that it says.
struct Other {
    child: Child,
    stays: Option<ChildStdin>,
    says: BufReader<std::process::ChildStdout>,
}

impl Other {
    fn start(role: &str, claims: &LockDirectory) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "lock::tests::other_process", "--nocapture"]).env(ROLE, role).env(FOLDER, &claims.folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stays, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stays, says: BufReader::new(stdout) }
    }

    /// The next thing it says, among what the test harness does.
    fn says(&mut self) -> Option<String> {
        self.says.by_ref().lines().map(Result::unwrap).find_map(|line| Some(line.strip_prefix("says ")?.to_owned()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.stays.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: &str) {
    std::io::stdout().write_all(format!("\nsays {what}\n").as_bytes()).unwrap();
}

/// No test: what other processes of these tests run. Without a role it does nothing.
#[test]
fn files_that_a_killed_process_was_making_are_swept_by_the_next_holder() {
    // A kill between a record's new file and its rename left that in the machine's folder for good.
    let (_folder, claims) = claims();
    let (record, other) = (claims.record_file(LOCK), claims.record_file("another lock"));
    let (left, not_ours) = (unused_name(&record), unused_name(&other));
    for path in [&left, &not_ours] {
        std::fs::write(path, "{").unwrap();
    }
    let held = now(&claims).unwrap();
    assert!(!left.exists() && not_ours.exists());
    held.record(&holder()).unwrap();
    drop(held);
    let held = now(&claims).unwrap();
    assert_eq!(held.record_of().unwrap(), Some(holder()));
}

#[test]
fn other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let claims = LockDirectory::at(std::env::var(FOLDER).unwrap()).unwrap();
    let held = match role.as_str() {
        "child" => None,
        _ => Some(now(&claims)),
    };
    let mut child = None;
    match &held {
        None => {}
        Some(Err(LockError::Busy { .. })) => say("busy"),
        Some(Err(error)) => say(&error.to_string()),
        Some(Ok(held)) => {
            if role == "hold, with a child" {
                held.record(&holder()).unwrap();
                child = Some(
                    Command::new(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1)).env(ROLE, "child").spawn().unwrap(),
                );
            }
            say("held");
        }
    }
    // Until the test closes its end.
    let _ = std::io::stdin().read(&mut [0]);
    say("end");
    if let Some(mut child) = child {
        child.wait().unwrap();
    }
}

#[test]
fn of_many_processes_exactly_one_has_the_lock() {
    let (_folder, claims) = claims();
    let mut others: Vec<_> = (0..6).map(|_| Other::start("hold", &claims)).collect();
    let mut said: Vec<_> = others.iter_mut().map(|other| other.says().unwrap()).collect();
    said.sort();
    assert_eq!(said, ["busy", "busy", "busy", "busy", "busy", "held"]);
    assert!(claims.is_held(LOCK).unwrap());
    assert!(!claims.is_held("/srv/other").unwrap());
    claims.acquire("/srv/other", Duration::ZERO).unwrap();
}

#[test]
fn of_many_threads_exactly_one_has_the_lock_at_a_time() {
    let (_folder, claims) = claims();
    let inside = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _held = claims.acquire(LOCK, Duration::from_secs(60)).unwrap();
                assert!(!inside.swap(true, Ordering::SeqCst));
                std::thread::yield_now();
                inside.store(false, Ordering::SeqCst);
            });
        }
    });
}

#[test]
fn a_killed_holder_leaves_its_record_and_no_lock_although_its_child_lives() {
    let (_folder, claims) = claims();
    let mut other = Other::start("hold, with a child", &claims);
    assert_eq!(other.says().unwrap(), "held");
    let Err(LockError::Busy { holder: Some(busy), .. }) = now(&claims) else { panic!("the lock is not busy") };
    assert_eq!(*busy, holder());

    other.child.kill().unwrap();
    other.child.wait().unwrap();
    let held = claims.acquire(LOCK, Duration::from_secs(10)).unwrap();
    assert_eq!(held.record_of().unwrap(), Some(holder()));
    assert_eq!(claims.unsettled().unwrap(), [holder()]);
    // Its child lived all the while: it ends only now.
    drop(other.stays.take());
    assert_eq!(other.says().unwrap(), "end");
    assert_eq!(other.says(), None);
}

#[test]
fn a_record_lives_from_record_to_clear() {
    let (_folder, claims) = claims();
    let held = now(&claims).unwrap();
    assert_eq!(held.record_of().unwrap(), None);
    held.clear().unwrap();
    held.record(&holder()).unwrap();
    let again = LockHolder { next: "almaplan abort".to_owned(), ..holder() };
    held.record(&again).unwrap();
    drop(held);

    assert!(!claims.is_held(LOCK).unwrap());
    assert_eq!(claims.holder(LOCK).unwrap(), Some(again.clone()));
    let other = claims.acquire("/srv/other", Duration::ZERO).unwrap();
    other.record(&LockHolder { since: "2025-01-01T00:00:00Z".parse().unwrap(), ..holder() }).unwrap();
    let locks: Vec<_> = claims.unsettled().unwrap().into_iter().map(|holder| holder.lock).collect();
    assert_eq!(locks, ["/srv/other", LOCK]);

    now(&claims).unwrap().clear().unwrap();
    assert_eq!(claims.holder(LOCK).unwrap(), None);
    let files = std::fs::read_dir(&claims.folder).unwrap().count();
    assert_eq!(files, 3, "two locks, a record, and nothing half made");
}

#[test]
fn a_damaged_record_is_not_a_free_lock() {
    let (_folder, claims) = claims();
    let held = now(&claims).unwrap();
    held.record(&holder()).unwrap();
    let file = claims.record_file(LOCK);
    let good = std::fs::read_to_string(&file).unwrap();
    for bad in ["", "{}", &good[..good.len() / 2], &good.replace(LOCK, "/srv/other")] {
        std::fs::write(&file, bad).unwrap();
        let Err(error) = held.record_of() else { panic!("{bad} is taken for a record") };
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
    assert!(claims.unsettled().is_ok(), "about another lock, but a record");
    std::fs::write(&file, "").unwrap();
    // It must not hide the others.
    let other = claims.acquire("/srv/other", Duration::ZERO).unwrap();
    other.record(&LockHolder { lock: "/srv/other".to_owned(), ..holder() }).unwrap();
    assert_eq!(claims.unsettled().unwrap().len(), 1);
    // Busy stays busy.
    assert!(matches!(now(&claims), Err(LockError::Busy { holder: None, .. })));
}

#[test]
fn testing_a_lock_never_makes_taking_it_fail() {
    let (_folder, claims) = claims();
    drop(now(&claims).unwrap());
    let (done, started) = (AtomicBool::new(false), std::sync::Barrier::new(4));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                started.wait();
                while !done.load(Ordering::Relaxed) {
                    claims.is_held(LOCK).unwrap();
                }
            });
        }
        started.wait();
        let taken: Vec<_> = (0..30).map(|_| now(&claims).map(drop)).collect();
        done.store(true, Ordering::Relaxed);
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    });
}

#[test]
fn waiting_for_a_lock_ends_when_it_is_released() {
    let (_folder, claims) = claims();
    let mut other = Other::start("hold", &claims);
    assert_eq!(other.says().unwrap(), "held");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| claims.acquire(LOCK, Duration::from_secs(60)).map(drop));
        drop(other.stays.take());
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_folder_that_cannot_be_relied_on_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(LockDirectory::at(&file), Err(LockError::Distrusted(Distrust::NotA { .. }))));
    assert!(LockDirectory::at(file.join("below")).is_err());
}

#[test]
fn names_that_are_no_paths_stay_as_they_are() {
    for name in ["almareia-producao", "..", "a.b", "ação"] {
        assert_eq!(LockDirectory::canonical(name, Path::new("/srv")), name);
    }
}

#[test]
fn all_names_of_a_path_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let real = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir_all(real.join("plans")).unwrap();
    std::fs::create_dir_all(real.join("srv/deep")).unwrap();
    let wanted = |path: &str| volume::fold_case(real.join(path).to_string_lossy().into_owned());
    let canonical = |text: &str| LockDirectory::canonical(text, &real.join("plans"));

    assert_eq!(canonical("../srv"), wanted("srv"));
    assert_eq!(canonical("./x/../../srv/"), wanted("srv"));
    assert_eq!(canonical(real.join("srv/./deep/..").to_str().unwrap()), wanted("srv"));
    // Before it exists, and after.
    assert_eq!(canonical("../srv/loja/app"), wanted("srv/loja/app"));
    assert_eq!(canonical("../srv/loja/../other/"), wanted("srv/other"));
    std::fs::create_dir_all(real.join("srv/loja/app")).unwrap();
    assert_eq!(canonical("../srv/loja/app"), wanted("srv/loja/app"));
}

#[test]
#[cfg(unix)]
fn a_folder_is_locked_once_by_whatever_name_it_is_reached_and_by_whatever_user() {
    // Through a bind mount a folder has two names: both were locked at once. Another user has another folder of locks.
    let (folder, claims) = claims();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    std::fs::create_dir(&target).unwrap();
    let named = |path: &Path| path.to_string_lossy().into_owned();
    let held = claims.acquire(&named(&target), Duration::ZERO).unwrap();
    let elsewhere = LockDirectory::at(folder.path().join("other user/locks")).unwrap();
    let Err(LockError::Busy { by: Some(by), .. }) = elsewhere.acquire(&named(&target), Duration::ZERO) else { panic!("it is not busy") };
    assert_eq!((by.pid, by.is_foreign), (std::process::id(), false));
    held.record(&holder()).unwrap();
    drop(held);
    let record = LockHolder { lock: named(&target), ..holder() };
    claims.acquire(&named(&target), Duration::ZERO).unwrap().record(&record).unwrap();
    // A run that was left is found by the other name as well. (No bind mount without root: a link that was not made one text stands in.)
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(claims.holder(&named(&link)).unwrap(), Some(record));
}

#[test]
#[cfg(target_os = "linux")]
fn a_cleaner_that_takes_the_files_of_a_held_lock_away_lets_nobody_in() {
    // `/var/tmp` is cleaned of what is older than 30 days, and a second run began beside the first.
    let (_folder, claims) = claims();
    let held = now(&claims).unwrap();
    std::fs::remove_dir_all(&claims.folder).unwrap();
    let again = LockDirectory::at(&claims.folder).unwrap();
    assert!(matches!(now(&again), Err(LockError::Busy { .. })));
    assert!(again.is_held(LOCK).unwrap());
    drop(held);
    now(&again).unwrap();
}

#[test]
#[cfg(unix)]
fn a_lock_is_compared_with_its_name_after_it_was_taken() {
    let (_folder, claims) = claims();
    let path = claims.lock_file(LOCK);
    let old = claims.open_or_make(&path).unwrap();
    assert!(volume::is_still(&old, &path));
    std::fs::remove_file(&path).unwrap();
    assert!(!volume::is_still(&old, &path));
    claims.open_or_make(&path).unwrap();
    assert!(!volume::is_still(&old, &path), "another file has its name");
}

/// Any user but root and us.
#[cfg(unix)]
const SOMEBODY: Option<u32> = Some(4_200_042);

#[test]
#[cfg(unix)]
fn what_others_put_into_the_folder_of_root_stops_nobody() {
    if !volume::is_root() {
        return eprintln!("NOT TESTED: giving files away needs root");
    }
    let (folder, claims) = claims();
    for path in [claims.lock_file(LOCK), claims.record_file(LOCK)] {
        std::fs::write(&path, "squatted").unwrap();
        std::os::unix::fs::chown(&path, SOMEBODY, SOMEBODY).unwrap();
    }
    assert_eq!(claims.unsettled().unwrap(), []);
    let held = now(&claims).unwrap();
    assert_eq!(held.record_of().unwrap(), None, "a record of another user is none");
    held.record(&holder()).unwrap();
    assert_eq!(claims.holder(LOCK).unwrap(), Some(holder()));
    drop(held);
    // Older versions made it so that everybody can hold it.
    std::fs::set_permissions(claims.lock_file(LOCK), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    now(&claims).unwrap();
    // The folder itself: made first by somebody else.
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, SOMEBODY, SOMEBODY).unwrap();
    now(&LockDirectory::at(&theirs).unwrap()).unwrap();
}
