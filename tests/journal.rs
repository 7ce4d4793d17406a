//! A journal that is not as it was written is refused with its own exit code, by every command, and nothing is touched (rule 17);
//! one that is as it was written years ago is read and gone on with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use almaplan_engine::event::RunId;
use almaplan_engine::journal::{FORMAT, JournalError};
use almaplan_engine::sqlite::Store;
use almaplan_steps::process;
use rusqlite::Connection;
use serde_json::Value as Json;

use crate::support::sample;
use crate::support::workspace::Workspace;
use crate::support::{self, Said, wait_until};

/// Of thousands of commands one in so many is tried: each takes ten times as long under Wine, and Wine keeps every file open that was
/// closed while somebody had it locked. No multiple of 5, which would try only one of the five commands of [`Case::say`].
const ONE_IN: usize = if cfg!(windows) { 21 } else { 8 };

/// Of all bits that are looked at within this process.
const BIT_IN: usize = ONE_IN / 2;

/// Writes a mark, and waits until it may go on; undone, it writes another one.
const PLAN: &str = r#"
    format = 1
    [plan]
    name = "plan"
    [steps.mark]
    uses = "command"
    with = { program = "test_program", args = ["append", "begun", "", "say", "said", "until", "go", "begun"], idempotent = true }
    compensate = { uses = "command", with = { program = "test_program", args = ["append", "undone", ""] } }
    "#;

/// A state folder with one run, and everything that a command could touch.
struct Case {
    workspace: Workspace,
    run: String,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Case {
    /// A run that succeeded; its state is one file.
    fn finished() -> Self {
        let workspace = Workspace::new();
        workspace.write("plan.toml", PLAN);
        workspace.write("go", "");
        let run = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(0).run();
        Self::of(workspace, run)
    }

    /// A run whose process was killed while its step was at work, and then its step was; what it did is in the WAL.
    fn killed() -> Self {
        let workspace = Workspace::new();
        workspace.write("plan.toml", PLAN);
        let mut child = workspace.started("plan.toml", 1);
        wait_until("the step has spoken", || workspace.path(".almaplan/runs").exists() && !logs(&workspace).is_empty());
        child.kill();
        let run = workspace.status()["run"].as_str().unwrap().to_owned();
        workspace.write("go", "");
        wait_until("the step is over", || process::users_of(&workspace.path("")).is_empty());
        Self::of(workspace, run)
    }

    /// The same, but that all is in the database, and no WAL is left.
    fn killed_without_wal() -> Self {
        let case = Self::killed();
        Connection::open(case.workspace.path(".almaplan/state.db")).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        assert!(!case.workspace.path(".almaplan/state.db-wal").exists());
        Self::of(case.workspace, case.run)
    }

    fn of(workspace: Workspace, run: String) -> Self {
        let files = content(&workspace.path(""));
        Self { workspace, run, files }
    }

    fn state(&self, file: &str) -> PathBuf {
        self.workspace.path(".almaplan").join(file)
    }

    fn good(&self, file: &str) -> &[u8] {
        &self.files[&self.state(file)]
    }

    fn head(&self) -> PathBuf {
        self.state("runs").join(&self.run).join("head")
    }

    /// Every command that reads a journal, in turn.
    fn say(&self, turn: usize) -> Said {
        let run = self.run.as_str();
        let commands: [&[&str]; 5] =
            [&["status", run], &["resume", run], &["abort", run, "--yes"], &["rollback", run, "--yes"], &["logs", run]];
        self.workspace.say(&[commands[turn % commands.len()], &["--progress", "json"]].concat())
    }

    /// Puts back everything as it was, in place: who has a file open still has it.
    fn restore(&self) {
        for (path, bytes) in content(&self.workspace.path("")) {
            match self.files.get(&path) {
                Some(good) if *good == bytes => {}
                Some(good) => fs::write(path, good).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        let missing = self.files.iter().filter(|(path, _)| !path.exists());
        missing.for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }

    /// It was refused as damaged, and said what to do.
    fn is_refused(&self, said: &Said, what: &str) {
        assert_eq!(said.code, 7, "{what}: {}", said.all());
        let refused = lines(said).pop().unwrap();
        assert_eq!((refused["event"].as_str(), refused["code"].as_str()), (Some("refused"), Some("journal-damaged")), "{what}: {refused}");
        assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("restore it from a copy")), "{what}: {refused}");
        self.nothing_was_done(what);
    }

    /// It was refused as another version's, and said what to do.
    fn is_refused_as_newer(&self, said: &Said, what: &str) {
        assert_eq!(said.code, 2, "{what}: {}", said.all());
        let refused = lines(said).pop().unwrap();
        assert_eq!((refused["event"].as_str(), refused["code"].as_str()), (Some("refused"), Some("journal-newer")), "{what}: {refused}");
        self.nothing_was_done(what);
    }

    fn without(&self, file: &str) {
        fs::remove_file(self.state(file)).unwrap();
    }

    fn nothing_was_done(&self, what: &str) {
        assert_eq!((self.workspace.lines("begun"), self.workspace.lines("undone")), (1, 0), "{what}");
    }
}

fn logs(workspace: &Workspace) -> Vec<PathBuf> {
    content(&workspace.path(".almaplan/runs")).into_keys().filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

/// All files below `folder`.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// Bit number `n` of `bytes`, flipped.
fn flipped(bytes: &[u8], n: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[n / 8] ^= 1 << (n % 8);
    bytes
}

/// Some bit of byte `at`: another one for each byte, and the same each time.
fn some_bit(at: usize) -> usize {
    at * 8 + (at.wrapping_mul(2_654_435_761) >> 7) % 8
}

/// The rows of `table`, to be changed behind almaplan's back.
struct Rows {
    connection: Connection,
    table: &'static str,
    key: &'static str,
}

impl Rows {
    fn of(case: &Case, table: &'static str, key: &'static str) -> Self {
        let connection = Connection::open(case.state("state.db")).unwrap();
        // Not durable: nobody pulls the plug here.
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF").unwrap();
        Self { connection, table, key }
    }

    /// What `column` holds in each row, and whether that is a text.
    fn cells(&self, column: &str) -> Vec<(i64, Vec<u8>, bool)> {
        let sql = format!("SELECT {0}, CAST({column} AS BLOB), typeof({column}) FROM {1} ORDER BY {0}", self.key, self.table);
        let mut rows = self.connection.prepare(&sql).unwrap();
        let cells = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)? == "text"))).unwrap();
        cells.map(Result::unwrap).collect()
    }

    fn set(&self, row: i64, column: &str, bytes: &[u8], is_text: bool) {
        // SQLite takes any bytes for a text that is told to be one.
        let kind = if is_text { "TEXT" } else { "BLOB" };
        let sql = format!("UPDATE {} SET {column} = CAST(?1 AS {kind}) WHERE {} = ?2", self.table, self.key);
        self.connection.prepare_cached(&sql).unwrap().execute((bytes, row)).unwrap();
    }

    /// Does `work` with each of the `bits` of each byte flipped, or with a sample of one in so many of them, and puts all back; how
    /// often. `work` gets the number of the flip among all of them.
    fn flip(&self, columns: &[&str], bits: impl Fn(usize) -> Vec<usize>, one_in: usize, mut work: impl FnMut(usize, &str)) -> usize {
        let (mut number, mut flips) = (0, 0);
        for column in columns {
            for (row, good, is_text) in self.cells(column) {
                for bit in (0..good.len()).flat_map(&bits) {
                    number += 1;
                    if sample::has(one_in, number) {
                        self.set(row, column, &flipped(&good, bit), is_text);
                        work(number, &format!("{} {row}, {column}, bit {bit}", self.table));
                        flips += 1;
                    }
                }
                self.set(row, column, &good, is_text);
            }
        }
        flips
    }
}

/// Bytes of a page of a state, with what goes before it in a WAL.
const PAGE: usize = 24 + 4096;

const EVENT: &[&str] = &["run", "at", "body", "hash"];
const RUN: &[&str] = &["run", "plan_name", "lock", "started_at", "outcome", "head", "seal"];

#[test]
fn every_bit_of_a_finished_journals_rows_is_guarded() {
    // More than 5 s: hundreds of commands, each in a process of its own.
    let case = Case::finished();
    let (store, run) = (Store::open(&case.state("")).unwrap(), RunId::new(&case.run));
    let good = store.read(&run).unwrap();
    let mut flips = 0;
    for (table, key, columns) in [("events", "seq", EVENT), ("runs", "number", RUN)] {
        flips += Rows::of(&case, table, key).flip(
            columns,
            |byte| (byte * 8..byte * 8 + 8).collect(),
            BIT_IN,
            |_, what| {
                let [read, resumed] = [store.read(&run).map(drop), store.resume(&run).map(drop)];
                assert!(matches!(read, Err(JournalError::Damaged { .. })), "{what}: {read:?}");
                assert!(matches!(resumed, Err(JournalError::Damaged { .. })), "{what}: {resumed:?}");
            },
        );
    }
    assert!(flips > sample::share(BIT_IN, 10_000), "{flips}");
    assert_eq!(store.read(&run).unwrap(), good);
}

#[test]
fn every_command_refuses_a_flip_in_any_byte_of_a_finished_journals_rows() {
    // More than 5 s: hundreds of commands, each in a process of its own.
    let case = Case::finished();
    let mut flips = 0;
    for (table, key, columns) in [("events", "seq", EVENT), ("runs", "number", RUN)] {
        let refuses = |turn, what: &str| case.is_refused(&case.say(turn), what);
        flips += Rows::of(&case, table, key).flip(columns, |byte| vec![some_bit(byte)], ONE_IN, refuses);
    }
    assert!(flips > sample::share(ONE_IN, 1_300), "{flips}");
    case.workspace.say(&["rollback", "--yes"]).expect(0);
    assert_eq!(case.workspace.lines("undone"), 1);
}

/// What a command may do with a state that may be damaged: refuse it, or tell and do exactly what it would have done with the good one.
fn refused_or_harmless(case: &Case, turn: usize, good: &[Said], what: &str) -> bool {
    let said = case.say(turn);
    let refused = said.code == 7;
    if refused {
        case.is_refused(&said, what);
    } else {
        let good = &good[turn % good.len()];
        assert_eq!((said.code, told(&said)), (good.code, told(good)), "{what}: {}", said.all());
    }
    case.restore();
    refused
}

/// What it said, but for what is another one each time.
fn told(said: &Said) -> Vec<Json> {
    let mut lines = lines(said);
    for line in lines.iter_mut().filter_map(Json::as_object_mut) {
        line.retain(|key, _| !["at", "seconds"].contains(&key.as_str()));
    }
    lines
}

/// What it printed, line by line; what `logs` prints are texts.
fn lines(said: &Said) -> Vec<Json> {
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
}

/// What each command says and does where nothing is damaged.
fn undamaged(case: &Case) -> Vec<Said> {
    let each = |turn| {
        let said = case.say(turn);
        case.restore();
        said
    };
    (0..5).map(each).collect()
}

#[test]
fn a_state_that_was_cut_short_is_refused() {
    // More than 5 s: hundreds of commands, each in a process of its own.
    for (case, file) in [(Case::killed_without_wal(), "state.db"), (Case::killed(), "state.db-wal")] {
        let good = undamaged(&case);
        let length = case.good(file).len();
        let lengths = (0..length).step_by(length / 150 + 1).chain([1, 99, 100, length - 1]);
        for (turn, short) in sample::every(ONE_IN, lengths.enumerate()) {
            let what = format!("{file} of {length} bytes cut to {short}");
            fs::write(case.state(file), &case.good(file)[..short]).unwrap();
            let refused = refused_or_harmless(&case, turn, &good, &what);
            // The last page may hold nothing but its beginning; nothing else may be missing.
            assert!(refused || length - short < PAGE, "{what} is not refused");
        }
    }
}

#[test]
fn a_flip_anywhere_in_the_files_of_a_state_is_refused_or_harmless() {
    // More than 5 s: hundreds of commands, each in a process of its own.
    for (case, file) in [(Case::killed_without_wal(), "state.db"), (Case::killed(), "state.db-wal"), (Case::killed(), "state.db-shm")] {
        let good = undamaged(&case);
        let length = case.good(file).len();
        // The header, and one byte in so many, at another place of each page.
        let bytes = (0..100).chain((100..length).step_by(length / 300 + 1).map(|byte| byte - byte % 2));
        let mut refused = 0;
        for (turn, byte) in sample::every(ONE_IN, bytes.enumerate()) {
            fs::write(case.state(file), flipped(case.good(file), some_bit(byte))).unwrap();
            let what = format!("byte {byte} of {file}");
            if file == "state.db" && (60..64).contains(&byte) {
                // The format's version: another number is another version.
                case.is_refused_as_newer(&case.say(turn), &what);
                case.restore();
            } else {
                refused += usize::from(refused_or_harmless(&case, turn, &good, &what));
            }
        }
        // SQLite makes the index of a WAL anew where nobody has it.
        assert_eq!(refused > 0, file != "state.db-shm", "{file}: {refused}");
    }
}

#[test]
fn a_state_without_its_files_is_refused() {
    // Without the WAL the run is not even known; `apply` took it for one that never began.
    let case = Case::killed();
    for turn in 0..5 {
        case.without("state.db-wal");
        case.is_refused(&case.say(turn), "no WAL");
        case.restore();
    }
    case.without("state.db-wal");
    case.is_refused(&case.workspace.say(&["apply", "plan.toml", "--progress", "json"]), "no WAL");
    case.restore();
    for turn in 0..5 {
        case.without("state.db");
        let said = case.say(turn).expect(6);
        assert_eq!(said.events()[0]["code"], "state-gone", "{}", said.all());
        case.nothing_was_done("no database");
        case.restore();
    }
    case.workspace.say(&["resume"]).expect(0);
}

#[test]
fn a_witness_of_something_else_is_damage_and_one_that_is_missing_is_not() {
    // More than 5 s: hundreds of commands, each in a process of its own.
    let (case, other) = (Case::killed(), Case::finished());
    let good = undamaged(&case);
    let witness = String::from_utf8(case.files[&case.head()].clone()).unwrap();
    let newer = {
        // As a state that was brought back from a copy finds it: the run had gone on since.
        case.workspace.say(&["resume"]).expect(0);
        let witness = fs::read(case.head()).unwrap();
        case.restore();
        witness
    };
    let foreign = fs::read(other.head()).unwrap();
    for turn in 0..5 {
        for (what, kept) in [("newer", &newer), ("foreign", &foreign)] {
            fs::write(case.head(), kept).unwrap();
            case.is_refused(&case.say(turn), what);
            case.restore();
        }
        fs::remove_file(case.head()).unwrap();
        assert!(!refused_or_harmless(&case, turn, &good, "missing"));
        for torn in [&witness[..0], &witness[..30], &witness[1..]] {
            fs::write(case.head(), torn).unwrap();
            assert!(!refused_or_harmless(&case, turn, &good, "torn"));
        }
    }
}

#[test]
fn a_newer_format_is_refused_by_name_by_every_command() {
    let case = Case::killed_without_wal();
    let newer = format!("format {}", FORMAT + 1);
    Connection::open(case.state("state.db")).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
    for turn in 0..5 {
        case.is_refused_as_newer(&case.say(turn), &newer);
    }
    for command in [&["apply", "plan.toml"][..], &["runs"], &["resume"], &["status"], &["abort", "--yes"], &["rollback", "--yes"]] {
        let said = case.workspace.say(&[command, &["--progress", "json"]].concat());
        case.is_refused_as_newer(&said, &newer);
        let line = lines(&said).pop().unwrap();
        let versions = format!("has format {}, and this almaplan reads up to {FORMAT}", FORMAT + 1);
        assert!(line["message"].as_str().unwrap().contains(&versions), "{line}");
        assert!(line["hint"].as_str().unwrap().contains("install"), "{line}");
    }
    Connection::open(case.state("state.db")).unwrap().pragma_update(None, "user_version", FORMAT).unwrap();
    case.workspace.say(&["resume"]).expect(0);
}

/// The state that an almaplan of long ago left, on a machine of today.
struct Golden {
    workspace: Workspace,
}

impl Golden {
    /// Of that format; all formats were made of the same plan in the same way.
    fn of(format: u32) -> Self {
        let workspace = Workspace::new();
        let golden = support::repository().join(format!("tests/golden/format-{format}"));
        for (path, bytes) in content(&golden) {
            let path = workspace.path(".almaplan").join(path.strip_prefix(&golden).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self { workspace }
    }

    /// The run of a case of its plan.
    fn run(&self, case: &str) -> String {
        let runs = Store::open(&self.workspace.path(".almaplan")).unwrap().runs().unwrap();
        runs.into_iter().find(|row| row.lock == format!("golden-{case}")).unwrap().run.to_string()
    }

    fn status(&self, case: &str) -> Json {
        serde_json::from_str(&self.workspace.say(&["status", &self.run(case), "--json"]).expect(0).stdout).unwrap()
    }

    /// What the steps of a case were last known to be, in the order of the plan.
    fn states(&self, case: &str) -> String {
        let status = self.status(case);
        let states: Vec<_> = status["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
        format!("{} {}: {}", status["state"].as_str().unwrap(), status["outcome"].as_str().unwrap_or("-"), states.join(" "))
    }
}

#[test]
fn a_journal_of_each_format_is_read_as_it_was_meant() {
    (1..=FORMAT).for_each(is_read_as_it_was_meant);
}

fn is_read_as_it_was_meant(format: u32) {
    let golden = Golden::of(format);
    for (case, states) in [
        ("succeeds", "settled warned: succeeded skipped failed succeeded succeeded succeeded succeeded"),
        ("sticks", "settled stuck: succeeded skipped failed undo-failed not-run not-run succeeded"),
        ("goes-on", "interrupted -: succeeded skipped failed unknown pending pending pending"),
        ("is-asked", "interrupted -: succeeded skipped failed succeeded unknown pending pending"),
        ("fails", "interrupted -: undo-started skipped failed undone not-run not-run pending"),
    ] {
        assert_eq!(golden.states(case), states, "format {format}: {case}");
    }
    let logs = golden.workspace.say(&["logs", &golden.run("succeeds"), "last"]).expect(0);
    assert!(logs.stdout.ends_with(" four\n"), "{}", logs.all());
}

#[test]
#[cfg(unix)] // It goes on with programs of unix.
fn a_run_of_each_format_is_gone_on_with() {
    (1..=FORMAT).for_each(is_gone_on_with);
}

#[cfg(unix)]
fn is_gone_on_with(format: u32) {
    let golden = Golden::of(format);
    let resume = |case: &str, code: i32| golden.workspace.say(&["resume", &golden.run(case), "--progress", "json"]).expect(code);

    let said = resume("goes-on", 0);
    assert_eq!(golden.states("goes-on"), "settled warned: succeeded skipped failed succeeded succeeded succeeded succeeded");
    let asked = said.events().into_iter().find(|event| event["step"] == "asked" && event["state"] == "succeeded").unwrap();
    assert_eq!(asked["outputs"]["stdout"], "three: one\n\n", "what the first step left long ago");

    let paused = resume("is-asked", 4);
    assert_eq!(paused.outcome(), "paused");
    golden.workspace.say(&["resolve", &golden.run("is-asked"), "asked", "done"]).expect(0);
    assert_eq!(resume("is-asked", 0).states("asked"), Vec::<String>::new());

    let undone = resume("fails", 3);
    assert_eq!((undone.states("first").last().map(String::as_str), undone.states("tried").len()), (Some("undone"), 0));

    assert_eq!(resume("sticks", 4).states("tried"), ["undo-started", "undo-failed"]);

    if format >= 3 {
        resume("answered", 3);
        assert_eq!(golden.states("answered"), "settled compensated: undone skipped failed undone not-run not-run succeeded");
        assert_eq!(golden.status("answered")["written_off"][0]["because"], "the key is lost");
    }

    golden.workspace.say(&["rollback", &golden.run("succeeds"), "--yes"]).expect(0);
    assert_eq!(golden.states("succeeds"), "settled compensated: undone skipped failed undone undone succeeded succeeded");
}
