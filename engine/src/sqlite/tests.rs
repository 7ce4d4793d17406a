#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Barrier;

use rusqlite::types::Value;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::event::{Answer, HostId, StepId};
use crate::event::{Fact, Opened, RunFact};
use crate::journal::{self, FORMAT, Journal};

fn opened() -> Event {
    Event::Run(RunFact::Opened(Box::new(Opened {
        plan_text: "[plan]\nname = \"loja\"\n".to_owned(),
        plan_path: "/srv/loja/plan.toml".to_owned(),
        vars: serde_json::Map::new(),
        secrets: Vec::new(),
        env: serde_json::Map::new(),
        timestamp: "20260206_141502".to_owned(),
        started_at: "2026-02-06T17:15:02.5Z".parse().unwrap(),
        lang: "pt-BR".to_owned(),
        host: HostId::local(),
        boot: "boot".to_owned(),
        user: "ana".to_owned(),
        pid: 1,
        version: "0.1.0".to_owned(),
    })))
}

fn step(id: &str) -> Event {
    Event::Step(StepId::new(id), Fact::Succeeded(json!({ "archive": "C:\\cópia.zip", "bytes": 12 })))
}

fn settled(outcome: Outcome) -> Event {
    Event::Run(RunFact::Settled(outcome))
}

fn abort(by: &str) -> Demand {
    Demand::Abort { by: by.to_owned() }
}

fn run() -> RunId {
    RunId::new("20260206-141502-k3f9")
}

fn state() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("with space #1/.almaplan")).unwrap();
    (folder, store)
}

fn begun(store: &Store) -> RunJournal {
    store.begin(&run(), "loja", "/srv/loja", opened()).unwrap()
}

fn events(records: &[Record]) -> Vec<Event> {
    records.iter().map(|record| record.event.clone()).collect()
}

fn is_damaged<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::Damaged { .. }))
}

/// Name, length and content of all files below `folder`.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn what_is_read_is_what_was_appended() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a"), step("b")]).unwrap();
    journal.append(&[]).unwrap();
    drop(journal);

    let (mut journal, records) = Store::open(store.dir()).unwrap().resume(&run()).unwrap();
    assert_eq!(events(&records), [opened(), step("a"), step("b")]);
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    journal.append(&[settled(Outcome::Warned)]).unwrap();
    assert_eq!(store.read(&run()).unwrap().last().unwrap().event, settled(Outcome::Warned));
    assert!(store.run_folder(&run()).is_dir());
}

#[test]
fn history_is_newest_first_and_knows_how_runs_are_settled() {
    let (_folder, store) = state();
    let mut old = begun(&store);
    assert!(matches!(store.finish(&run()), Err(JournalError::NotSettled(_))));
    assert!(matches!(old.finish(), Err(JournalError::NotSettled(_))));
    old.append(&[step("a"), settled(Outcome::Stuck)]).unwrap();
    old.finish().unwrap();
    let new = RunId::new("20260101-000000-aaaa");
    store.begin(&new, "loja", "/srv/loja", opened()).unwrap();

    let told = |store: &Store| store.runs().unwrap().into_iter().map(|r| (r.run, r.outcome, r.finished, r.events)).collect::<Vec<_>>();
    assert_eq!(told(&store), [(new.clone(), None, false, 1), (run(), Some(Outcome::Stuck), true, 3)]);
    assert_eq!(store.runs().unwrap()[1].started_at, "2026-02-06T17:15:02.5Z".parse().unwrap());

    // Undoing again: not settled until it says so, and what was finished is not.
    old.append(&[Event::Step(StepId::new("a"), Fact::UndoStarted { part: 0, attempt: 2, host: HostId::local() })]).unwrap();
    assert_eq!(told(&store)[1], (run(), None, false, 4));
    store.read(&run()).unwrap();

    // As where its process died before it could say that it is over; and then it is no longer its to say anything.
    old.append(&[settled(Outcome::Stuck)]).unwrap();
    store.finish(&run()).unwrap();
    assert_eq!(told(&store)[1], (run(), Some(Outcome::Stuck), true, 5));
    store.resume(&run()).unwrap().0.append(&[step("a")]).unwrap();
    assert!(matches!(old.finish(), Err(JournalError::Overtaken(_))));
}

/// What opens a run at this time.
fn opened_at(at: &str) -> Event {
    let Event::Run(RunFact::Opened(facts)) = opened() else { unreachable!("it opens one") };
    Event::Run(RunFact::Opened(Box::new(Opened { started_at: at.parse().unwrap(), ..*facts })))
}

#[test]
fn a_clock_that_was_set_back_does_not_change_which_run_is_the_newest() {
    // `rollback` takes the newest.
    let (_folder, store) = state();
    for (run, at) in [("first", "2026-02-06T17:00:00Z"), ("second", "2026-02-06T16:00:00Z")] {
        store.begin(&RunId::new(run), "loja", "/srv/loja", opened_at(at)).unwrap();
    }
    let runs: Vec<_> = store.runs().unwrap().into_iter().map(|row| row.run).collect();
    assert_eq!(runs, [RunId::new("second"), RunId::new("first")]);
}

#[test]
fn events_are_in_the_order_of_their_numbers_although_the_clock_was_set_back_between_them() {
    let (_folder, store) = state();
    let told = [opened(), step("a"), step("b")];
    begun(&store).append(&told[1..]).unwrap();
    let connection = rusqlite::Connection::open(store.file()).unwrap();
    let mut row = row::find(&connection, &run()).unwrap().unwrap();
    row.head = journal::first_link(&run());
    for (seq, event) in (1..).zip(&told) {
        let at = format!("2026-02-06T1{}:00:00Z", 9 - seq);
        row.head = journal::link(&row.head, &run(), seq, &at, &journal::body(event).unwrap());
        let values = params![seq.cast_signed(), at, row.head];
        assert_eq!(connection.execute("UPDATE events SET at = ?2, hash = ?3 WHERE seq = ?1", values).unwrap(), 1);
    }
    row.update(&connection).unwrap();
    // It knows the head that was there before.
    std::fs::remove_file(store.run_folder(&run()).join("head")).unwrap();
    assert_eq!(events(&store.read(&run()).unwrap()), told);
}

#[test]
fn sqlite_is_told_to_sync_each_append() {
    // A power cut cannot be tried here; without this nothing else would notice that one takes back what was appended.
    let (_folder, store) = state();
    let connection = writer(&store.file()).unwrap();
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("synchronous"), pragma("fullfsync")), (2, 1), "FULL, and on");
}

#[test]
fn begin_refuses_what_would_not_be_a_run() {
    let (_folder, store) = state();
    begun(&store);
    assert!(matches!(store.begin(&run(), "loja", "loja", opened()), Err(JournalError::RunExists(_))));
    assert!(matches!(store.begin(&RunId::new("../x"), "loja", "loja", opened()), Err(JournalError::BadRunId(_))));
    assert!(matches!(store.begin(&RunId::new("x"), "loja", "loja", step("a")), Err(JournalError::NotOpened)));
    assert!(matches!(store.read(&RunId::new("x")), Err(JournalError::NoSuchRun(_))));
    assert_eq!(store.runs().unwrap().len(), 1);
}

#[test]
fn open_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(folder.path()), Err(JournalError::NotFound(_))));
    assert!(matches!(Store::open(&folder.path().join("x")), Err(JournalError::NotFound(_))));
    assert_eq!(content(folder.path()).len(), 0);
}

#[test]
fn a_state_whose_maker_died_before_it_held_anything_is_none_yet() {
    // A kill between the first file and its tables: `status` and `resume` called an empty state damaged, although nothing was lost.
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(".almaplan");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("state.db"), "").unwrap();
    assert!(matches!(Store::open(&dir), Err(JournalError::NotFound(_))));
    Connection::open(dir.join("state.db")).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(matches!(Store::open(&dir), Err(JournalError::NotFound(_))));
    // Beside what a run left it is damage.
    std::fs::create_dir_all(dir.join("runs").join(run().as_str())).unwrap();
    assert!(is_damaged(&Store::open(&dir)));
}

#[test]
fn processes_that_make_the_same_state_at_once_all_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        let made: Vec<_> = (0..8).map(|_| scope.spawn(|| (start.wait(), Store::create(folder.path())).1)).collect();
        for store in made {
            store.join().unwrap().unwrap();
        }
    });
    begun(&Store::open(folder.path()).unwrap());
}

#[test]
fn a_failed_append_is_the_last_one_of_its_process() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let other = rusqlite::Connection::open(store.file()).unwrap();
    other.execute_batch("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(FAIL, 'disk full'); END").unwrap();
    journal.append(&[step("a")]).unwrap_err();
    other.execute_batch("DROP TRIGGER full").unwrap();

    store.demand(&run(), &abort("ana")).unwrap();
    assert!(matches!(journal.append(&[step("a")]), Err(JournalError::Poisoned)));
    assert_eq!(events(&store.read(&run()).unwrap()), [opened()]);
    drop(journal);
    let (mut journal, _) = store.resume(&run()).unwrap();
    journal.append(&[step("a")]).unwrap();
}

#[test]
fn of_an_append_that_fails_half_way_nothing_is_kept() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let other = rusqlite::Connection::open(store.file()).unwrap();
    other.execute_batch("CREATE TRIGGER full BEFORE INSERT ON events WHEN new.seq = 3 BEGIN SELECT RAISE(FAIL, 'disk full'); END").unwrap();
    journal.append(&[step("a"), step("b")]).unwrap_err();
    assert_eq!(events(&store.read(&run()).unwrap()), [opened()]);
}

#[test]
fn a_run_that_was_taken_over_is_not_appended_to() {
    let (_folder, store) = state();
    let mut first = begun(&store);
    let (mut second, _) = store.resume(&run()).unwrap();
    second.append(&[step("a")]).unwrap();
    assert!(matches!(first.append(&[step("b")]), Err(JournalError::Overtaken(_))));
    assert_eq!(events(&store.read(&run()).unwrap()), [opened(), step("a")]);
}

// A yes and a no were both accepted, and one of them was not true.
#[test]
fn a_second_answer_is_refused_until_the_first_had_its_consequence() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let no = |step: &str| Demand::Resolve { step: StepId::new(step), answer: Answer::NotDone { by: "ana".to_owned(), because: None } };
    let yes = Demand::Resolve {
        step: StepId::new("a"),
        answer: Answer::Done { outputs: Default::default(), by: "rui".to_owned(), because: None },
    };
    assert!(store.demand(&run(), &no("a")).unwrap().is_some());
    assert_eq!(store.demand(&run(), &yes).unwrap(), None);
    assert!(store.demand(&run(), &no("b")).unwrap().is_some(), "another step");
    assert_eq!(journal.demands().unwrap(), [no("a"), no("b")]);
    assert_eq!(store.demand(&run(), &yes).unwrap(), None, "it was heard and nothing came of it yet");
    journal.append(&[step("a")]).unwrap();
    assert!(store.demand(&run(), &yes).unwrap().is_some());
}

#[test]
fn every_demand_is_handed_out_once() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    assert_eq!(journal.demands().unwrap(), []);
    let resolve = Demand::Resolve { step: StepId::new("a"), answer: Answer::NotDone { by: "ana".to_owned(), because: None } };
    store.demand(&run(), &abort("ana")).unwrap();
    store.demand(&run(), &resolve).unwrap();
    assert_eq!(journal.demands().unwrap(), [abort("ana"), resolve]);
    assert_eq!(journal.demands().unwrap(), []);
    store.demand(&run(), &abort("rui")).unwrap();
    assert_eq!(journal.demands().unwrap(), [abort("rui")]);
    journal.append(&[step("a")]).unwrap();
    drop(journal);

    let (mut journal, _) = store.resume(&run()).unwrap();
    assert_eq!(journal.demands().unwrap(), []);
    assert!(matches!(store.demand(&RunId::new("x"), &abort("ana")), Err(JournalError::NoSuchRun(_))));
}

#[test]
fn a_demand_survives_the_process_that_did_nothing_about_it() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    store.demand(&run(), &abort("ana")).unwrap();
    assert_eq!(journal.demands().unwrap(), [abort("ana")]);
    drop(journal);
    let (mut journal, _) = store.resume(&run()).unwrap();
    assert_eq!(journal.demands().unwrap(), [abort("ana")]);
}

/// No test: the process that crashes in the one below.
#[test]
fn crashing_process() {
    let Ok(dir) = std::env::var("ALMAPLAN_CRASH_TEST_DIR") else { return };
    let mut journal = begun(&Store::create(Path::new(&dir)).unwrap());
    journal.crash_after(3);
    journal.append(&[step("a"), step("b")]).unwrap();
    journal.append(&[step("c")]).unwrap();
    unreachable!("the third append was the last one");
}

#[test]
fn a_process_that_crashes_after_its_nth_append_leaves_just_those() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sqlite::tests::crashing_process", "--nocapture"]).env("ALMAPLAN_CRASH_TEST_DIR", folder.path());
    let output = command.output().unwrap();
    assert!(!output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");

    let store = Store::open(folder.path()).unwrap();
    let told = [opened(), step("a"), step("b"), step("c")];
    assert_eq!(events(&store.read(&run()).unwrap()), told);
    let (mut journal, records) = store.resume(&run()).unwrap();
    assert_eq!(events(&records), told);
    journal.append(&[step("d")]).unwrap();
    assert_eq!(store.read(&run()).unwrap().len(), 5);
}

/// No test: the process that reads in the one below, until the run is settled.
#[test]
fn reading_process() {
    let Ok(dir) = std::env::var("ALMAPLAN_READ_TEST_DIR") else { return };
    let store = Store::open(Path::new(&dir)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let records = store.read(&run()).unwrap();
        assert_eq!(records.len() % 3, 1, "appends are seen whole");
        if seen.insert(records.len()) && seen.len() <= 3 {
            // On a line of its own, whatever the harness printed.
            std::io::stdout().write_all(b"\nsees more\n").unwrap();
        }
        if store.runs().unwrap()[0].outcome.is_some() {
            return;
        }
    }
}

#[test]
fn readers_see_whole_appends_while_another_process_writes() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sqlite::tests::reading_process", "--nocapture"]).env("ALMAPLAN_READ_TEST_DIR", store.dir());
    let mut reader = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let stdout = std::io::BufReader::new(reader.stdout.take().unwrap());

    let done = std::sync::atomic::AtomicBool::new(false);
    let sights = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut lines = stdout.lines().map(Result::unwrap);
            let sights = lines.by_ref().filter(|line| line == "sees more").take(3).count();
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            lines.for_each(drop);
            sights
        });
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            journal.append(&[step("a"), step("b"), step("c")]).unwrap();
            // Readers within the process, too.
            assert_eq!(store.read(&run()).unwrap().len() % 3, 1);
        }
        journal.append(&[step("a"), step("b"), settled(Outcome::Succeeded)]).unwrap();
        watcher.join().unwrap()
    });
    assert!(reader.wait().unwrap().success());
    assert_eq!(sights, 3, "the reader saw the run grow");
}

#[test]
fn reading_leaves_no_trace() {
    let (folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a")]).unwrap();

    // As a process that died leaves it: with a WAL and its index. Copied, because here the writer lives.
    let died = folder.path().join("died");
    std::fs::create_dir(&died).unwrap();
    for (file, bytes) in content(store.dir()) {
        std::fs::write(died.join(file.file_name().unwrap()), bytes).unwrap();
    }
    assert!(died.join("state.db-wal").exists() && died.join("state.db-shm").exists());
    drop(journal);
    assert!(!store.dir().join("state.db-wal").exists());

    for dir in [store.dir(), &died] {
        let before = content(dir);
        let store = Store::open(dir).unwrap();
        assert_eq!(events(&store.read(&run()).unwrap()), [opened(), step("a")]);
        assert_eq!(store.runs().unwrap().len(), 1);
        assert!(before == content(dir), "{:?} became {:?}", before.keys(), content(dir).keys());
    }
}

#[test]
fn a_damaged_run_is_refused_as_it_is_found() {
    // Whoever opens it for writing makes SQLite take over what is in the WAL: the evidence is gone.
    let (folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a")]).unwrap();
    let other = rusqlite::Connection::open(store.file()).unwrap();
    assert_eq!(other.execute("UPDATE events SET body = body || ' ' WHERE seq = 2", []).unwrap(), 1);
    let died = folder.path().join("died");
    std::fs::create_dir(&died).unwrap();
    for (file, bytes) in content(store.dir()) {
        std::fs::write(died.join(file.file_name().unwrap()), bytes).unwrap();
    }
    let before = content(&died);
    assert!(died.join("state.db-wal").exists());
    assert!(is_damaged(&Store::open(&died).unwrap().resume(&run()).map(drop)));
    assert!(before == content(&died), "{:?} became {:?}", before.keys(), content(&died).keys());
}

#[test]
fn a_copy_without_the_index_of_its_wal_can_be_read() {
    let (folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a")]).unwrap();
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["state.db", "state.db-wal"] {
        std::fs::write(copy.join(file), std::fs::read(store.dir().join(file)).unwrap()).unwrap();
    }
    assert_eq!(Store::open(&copy).unwrap().read(&run()).unwrap().len(), 2);
}

#[test]
fn a_wal_that_was_only_begun_can_be_read() {
    // A kill between the header of a WAL and its first page: whoever looked at the state failed with "locking protocol", `resume` too.
    let (_folder, store) = state();
    drop(begun(&store));
    let killed = tempfile::tempdir().unwrap();
    let mut writer = store.begin(&RunId::new("next"), "loja", "/srv/loja", opened()).unwrap();
    writer.append(&[step("a")]).unwrap();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        std::fs::copy(store.dir().join(file), killed.path().join(file)).unwrap();
    }
    std::fs::File::options().write(true).open(killed.path().join("state.db-wal")).unwrap().set_len(32).unwrap();
    let killed = Store::open(killed.path()).unwrap();
    assert_eq!(killed.read(&run()).unwrap().len(), 1);
    killed.resume(&run()).unwrap();
}

#[test]
fn a_lost_wal_is_damage() {
    // SQLite itself takes a missing or rotten WAL for one that had nothing to say, and the run would forget what it did.
    let (folder, store) = state();
    let mut journal = begun(&store);
    drop(journal);
    (journal, _) = store.resume(&run()).unwrap();
    journal.append(&[step("a")]).unwrap();
    journal.append(&[step("b")]).unwrap();
    let copied = |name: &str, wal: Option<Vec<u8>>| {
        let copy = Store { dir: folder.path().join(name) };
        std::fs::create_dir_all(copy.run_folder(&run())).unwrap();
        for file in ["state.db", "state.db-wal"] {
            std::fs::copy(store.dir().join(file), copy.dir().join(file)).unwrap();
        }
        std::fs::copy(store.run_folder(&run()).join("head"), copy.run_folder(&run()).join("head")).unwrap();
        match wal {
            Some(wal) => std::fs::write(copy.dir().join("state.db-wal"), wal).unwrap(),
            None => std::fs::remove_file(copy.dir().join("state.db-wal")).unwrap(),
        }
        copy
    };
    let wal = std::fs::read(store.dir().join("state.db-wal")).unwrap();
    assert_eq!(copied("same", Some(wal.clone())).read(&run()).unwrap().len(), 3);
    assert!(is_damaged(&copied("gone", None).read(&run())));
    assert!(is_damaged(&copied("gone", None).resume(&run()).map(drop)));
    let mut rotten = wal.clone();
    *rotten.last_mut().unwrap() ^= 1;
    assert!(is_damaged(&copied("rotten", Some(rotten)).read(&run())));
}

#[test]
fn a_run_that_is_lost_altogether_is_damage_and_one_that_never_began_is_none() {
    // Its row was in a WAL that was lost: it was taken for a run that died before it began, and another one was begun over it.
    let (folder, store) = state();
    drop(begun(&store));
    let lost = RunId::new("20260206-141503-lost");
    let mut journal = store.begin(&lost, "loja", "/srv/loja", opened()).unwrap();
    journal.append(&[step("a")]).unwrap();
    let wal = store.dir().join("state.db-wal");
    let header = std::fs::read(&wal).unwrap();
    std::fs::write(&wal, [&[0; 32], &header[32..]].concat()).unwrap();
    assert!(is_damaged(&store.runs()));
    assert!(is_damaged(&store.read(&lost)));
    assert_eq!(store.read(&run()).unwrap().len(), 1, "what the WAL said nothing about is as it was");
    // Not removed: on Windows that takes effect once the journal is closed.
    std::fs::rename(store.run_folder(&lost).join("head"), folder.path().join("removed")).unwrap();
    assert_eq!(store.runs().unwrap().len(), 1);
}

#[test]
fn a_witness_that_lags_or_does_not_read_is_none() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let head = store.run_folder(&run()).join("head");
    let early = std::fs::read(&head).unwrap();
    journal.append(&[step("a")]).unwrap();
    let late = std::fs::read(&head).unwrap();
    assert!(early != late && early.len() == late.len());
    for kept in [early.clone(), late[..40].to_vec(), Vec::new(), vec![0; late.len()], [&late[..20], &early[20..]].concat()] {
        std::fs::write(&head, kept).unwrap();
        assert_eq!(store.read(&run()).unwrap().len(), 2);
    }
}

/// Does `sql` to a run of four events behind its back, and says how reading it goes.
fn tampered(sql: &str) -> Result<Vec<Record>, JournalError> {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a"), step("b")]).unwrap();
    journal.append(&[settled(Outcome::Succeeded)]).unwrap();
    drop(journal);
    let connection = rusqlite::Connection::open(store.file()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(sql).unwrap();
    assert!(connection.changes() > 0, "{sql} changes something");
    drop(connection);
    let result = store.read(&run());
    assert_eq!(result.is_err(), store.resume(&run()).is_err(), "{sql}");
    // Not thanks to the witness alone.
    std::fs::remove_file(store.run_folder(&run()).join("head")).unwrap();
    assert_eq!(result.is_err(), store.read(&run()).is_err(), "{sql}");
    result
}

#[test]
fn a_missing_tail_is_damage() {
    assert!(tampered("UPDATE demands SET at = at; UPDATE runs SET run = run").is_ok());
    for sql in [
        "DELETE FROM events WHERE seq = 4",
        "DELETE FROM events WHERE seq >= 3",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events WHERE seq = 1",
        "DELETE FROM events",
        "DELETE FROM runs",
        "UPDATE events SET seq = 5 WHERE seq = 4",
        "INSERT INTO events SELECT run, 5, at, body, hash FROM events WHERE seq = 4",
        "DELETE FROM events WHERE seq = 4; UPDATE runs SET events = 3, head = (SELECT hash FROM events WHERE seq = 3)",
    ] {
        let result = tampered(sql);
        assert!(is_damaged(&result), "{sql}: {result:?}");
    }
}

#[test]
fn every_column_of_a_run_is_protected() {
    for sql in [
        "UPDATE runs SET number = number + 1",
        "UPDATE runs SET plan_name = 'x'",
        "UPDATE runs SET lock = 'x'",
        "UPDATE runs SET started_at = '2026-02-06T17:15:02.6Z'",
        "UPDATE runs SET outcome = 'warned'",
        "UPDATE runs SET outcome = 'x'",
        "UPDATE runs SET outcome = NULL",
        "UPDATE runs SET finished = 1",
        "UPDATE runs SET events = 5",
        "UPDATE runs SET head = zeroblob(32)",
        "UPDATE runs SET seal = zeroblob(32)",
        "UPDATE runs SET seal = x''",
    ] {
        let result = tampered(sql);
        assert!(is_damaged(&result), "{sql}: {result:?}");
    }
}

#[test]
fn a_run_under_another_name_is_damage() {
    let (_folder, store) = state();
    drop(begun(&store));
    let connection = rusqlite::Connection::open(store.file()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF; UPDATE runs SET run = 'x'; UPDATE events SET run = 'x'").unwrap();
    drop(connection);
    assert!(is_damaged(&store.read(&RunId::new("x"))));
    assert!(is_damaged(&store.runs()));
}

#[test]
fn every_bit_flip_in_an_event_is_damage() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a")]).unwrap();
    drop(journal);
    let good = store.read(&run()).unwrap();

    let connection = rusqlite::Connection::open(store.file()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let mut flips = 0;
    for seq in 1..=2 {
        for column in ["at", "body", "hash"] {
            let kind = if column == "hash" { "BLOB" } else { "TEXT" };
            let get = format!("SELECT CAST({column} AS BLOB) FROM events WHERE seq = {seq}");
            let set = format!("UPDATE events SET {column} = CAST(?1 AS {kind}) WHERE seq = {seq}");
            let bytes: Vec<u8> = connection.query_row(&get, [], |row| row.get(0)).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                connection.execute(&set, [Value::Blob(flipped)]).unwrap();
                let result = row::load(&connection, &run(), None);
                assert!(
                    matches!(&result, Err(JournalError::Damaged { run: Some(_), seq: Some(n), .. }) if *n == seq),
                    "{set} {bit} {result:?}"
                );
                flips += 1;
            }
            connection.execute(&set, [Value::Blob(bytes)]).unwrap();
        }
    }
    assert!(flips > 3000, "{flips}");
    drop(connection);
    assert_eq!(store.read(&run()).unwrap(), good);
}

#[test]
fn a_rotten_file_never_tells_another_story() {
    let (folder, store) = state();
    let mut journal = begun(&store);
    journal.append(&[step("a"), settled(Outcome::Succeeded)]).unwrap();
    drop(journal);
    let (records, rows) = (store.read(&run()).unwrap(), store.runs().unwrap());
    let good = std::fs::read(store.file()).unwrap();
    let rotten = Store { dir: folder.path().to_owned() };
    let (mut same, mut refused) = (0, 0);
    for (at, &byte) in good.iter().enumerate().filter(|&(at, &byte)| byte != 0 || at % 64 == 0) {
        let mut bytes = good.clone();
        bytes[at] = byte ^ (1 << (at % 8));
        std::fs::write(rotten.file(), &bytes).unwrap();
        match rotten.read(&run()) {
            Ok(read) if read == records => same += 1,
            Ok(read) => panic!("byte {at} tells another story: {read:?}"),
            Err(_) => refused += 1,
        }
        if let Ok(read) = rotten.runs() {
            assert_eq!(read, rows, "byte {at}");
        }
    }
    assert!(refused > 500 && same > 500, "{refused} {same}");
}

#[test]
fn what_is_no_database_is_damage() {
    let (_folder, store) = state();
    drop(begun(&store));
    let good = std::fs::read(store.file()).unwrap();
    std::fs::write(store.file(), b"no database at all, but long enough to be looked at; ".repeat(100)).unwrap();
    assert!(is_damaged(&store.read(&run())));
    assert!(is_damaged(&Store::open(store.dir())));
    std::fs::write(store.file(), &good[..good.len() / 2]).unwrap();
    assert!(is_damaged(&store.read(&run())));
    // Lost altogether: not a new state, where there were runs.
    std::fs::write(store.file(), b"").unwrap();
    assert!(is_damaged(&Store::open(store.dir())));
    assert!(is_damaged(&Store::create(store.dir())));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (_folder, store) = state();
    drop(begun(&store));
    rusqlite::Connection::open(store.file()).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let refused = |result: Result<(), JournalError>| {
        assert!(matches!(result, Err(JournalError::NewerFormat { found, known: FORMAT }) if found == FORMAT + 1), "{result:?}");
    };
    refused(Store::open(store.dir()).map(drop));
    refused(Store::create(store.dir()).map(drop));
    refused(store.resume(&run()).map(drop));
    refused(store.begin(&RunId::new("x"), "loja", "loja", opened()).map(drop));
    refused(store.demand(&run(), &abort("ana")).map(drop));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let before = content(folder.path());
    assert!(matches!(Store::create(folder.path()), Err(JournalError::NotOurs(_))));
    assert_eq!(content(folder.path()), before);
    assert!(matches!(Store::open(folder.path()), Err(JournalError::NotOurs(_))));
}

#[test]
fn a_run_that_is_forgotten_leaves_nothing_and_one_that_is_not_over_is_not() {
    let (_folder, store) = state();
    let mut journal = begun(&store);
    let run = store.runs().unwrap()[0].run.clone();
    assert!(matches!(store.forget(&run), Err(JournalError::NotSettled(_))));
    journal.append(&[settled(Outcome::Succeeded)]).unwrap();
    journal.finish().unwrap();
    drop(journal);
    store.demand(&run, &abort("ana")).unwrap();
    store.forget(&run).unwrap();
    store.compact().unwrap();
    assert!(store.runs().unwrap().is_empty() && !store.run_folder(&run).exists());
    assert!(matches!(store.read(&run), Err(JournalError::NoSuchRun(_))));
    assert!(matches!(store.forget(&run), Err(JournalError::NoSuchRun(_))));
    // A kill in between: the folder is gone, the row is not.
    let mut journal = begun(&store);
    journal.append(&[settled(Outcome::Succeeded)]).unwrap();
    journal.finish().unwrap();
    drop(journal);
    std::fs::remove_dir_all(store.run_folder(&run)).unwrap();
    assert!(store.read(&run).is_ok());
    store.forget(&run).unwrap();
    assert!(Store::open(store.dir()).is_ok() && store.runs().unwrap().is_empty());
}
