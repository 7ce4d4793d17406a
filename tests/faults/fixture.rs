//! A production folder with all that is nasty, in a folder of its own, and what it must look like in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::Value;

use super::inject::{Call, Fault, Injected, Trace};
use super::plans::{PYTHON_ENV, Plan};
use crate::support::process::copy_program;
use crate::support::workspace::Workspace;
use crate::support::{Said, command, run, tool, wait_until};

/// Each entry of a folder with all of it that must be kept.
pub type Tree = BTreeMap<PathBuf, String>;

/// Version 1 is deployed in `app`, with data, and its database is open; version 2 is in `dev`.
pub struct Fixture {
    workspace: Workspace,
    /// Who reads the database while it is saved: without it there would be no WAL left.
    open: Connection,
    production: PathBuf,
    injected: Vec<Injected>,
}

/// The disk of production, where it has one of its own.
pub const DISK: &str = "disk";

impl Fixture {
    pub fn new(plan: &Plan) -> Self {
        let workspace = in_memory();
        tool(command("tar").args(["-xp", "-f"]).arg(&template().packed).current_dir(workspace.folder()));
        let text = format!("format = 1\n[plan]\nname = \"{}\"\n{}", plan.name, plan.text);
        workspace.write("plan.toml", &text);
        let open = Connection::open(workspace.path("app/data/pedidos.db")).unwrap();
        assert_eq!(rows(&open), ROWS);
        let fixture = Self { production: workspace.path("app"), workspace, open, injected: Vec::new() };
        if *plan == PYTHON_ENV {
            fixture.add_python();
        }
        fixture
    }

    /// A requirement, its wheel, and an interpreter.
    fn add_python(&self) {
        fs::write(self.path("requirements.txt"), "almasample==1.0\n").unwrap();
        wheel(&self.path("wheels"));
        let ready = environment().display();
        let python = format!("#!/bin/sh\nif [ \"$1 $2\" = '-m venv' ]; then exec cp -a '{ready}/.' \"$3\"; fi\nexec python3 \"$@\"\n");
        fs::write(self.path("python.sh"), python).unwrap();
        fs::set_permissions(self.path("python.sh"), Permissions::from_mode(0o755)).unwrap();
        copy_program(&self.path("python.sh"), &self.path("python"));
        fs::remove_file(self.path("python.sh")).unwrap();
    }

    /// Production moves to the disk mounted at `disk`, with what is beside it; other folders are there already.
    pub fn settle_in(&mut self, disk: &str) {
        if disk != DISK {
            return;
        }
        let (from, to) = (self.path("app"), self.path(DISK).join("app"));
        tool(command("cp").arg("-a").args([&from, &to]));
        fs::remove_dir_all(from).unwrap();
        self.open = Connection::open(to.join("data/pedidos.db")).unwrap();
        assert_eq!(rows(&self.open), ROWS);
        let plan = fs::read_to_string(self.path("plan.toml")).unwrap();
        fs::write(self.path("plan.toml"), plan.replace("\"app\"", &format!("\"{DISK}/app\""))).unwrap();
        self.production = to;
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.workspace.path(below)
    }

    pub fn almaplan(&self, args: &[&str]) -> Command {
        self.workspace.almaplan(args)
    }

    pub fn say(&self, args: &[&str]) -> Said {
        run(&mut self.almaplan(args))
    }

    /// `almaplan ARGS` with a fault.
    pub fn faulty(&mut self, args: &[&str], fault: Fault, at: Option<&Call>) -> (Trace, Said) {
        let mut injected = Injected::start(&self.almaplan(args), self.workspace.folder(), fault, at);
        let trace = injected.trace();
        self.injected.push(injected);
        let text = |name| fs::read_to_string(self.path(name)).unwrap();
        let said = Said { code: trace.code(), stdout: text("out"), stderr: text("err") };
        (trace, said)
    }

    pub fn apply(&mut self, fault: Fault, at: Option<&Call>) -> (Trace, Said) {
        self.faulty(&["apply", "plan.toml", "--progress", "json"], fault, at)
    }

    /// Where the newest run stands; `None` where there is none.
    pub fn status(&self) -> Option<Value> {
        let said = self.say(&["status", "--json"]);
        if said.code == 2 && said.stderr.contains("there is no such run") {
            return None;
        }
        let said = said.expect(0);
        Some(serde_json::from_str(&said.stdout).unwrap())
    }

    /// Waits until no process of any run is left.
    pub fn all_quiet(&mut self) {
        wait_until("nothing that the binary started is left", || self.injected.iter_mut().all(Injected::is_over));
    }

    /// The production folder.
    pub fn production(&self) -> Tree {
        tree(&self.production)
    }

    /// What is beside it, and in the folders of backups, environments, locks and state: names without what differs from run to run.
    pub fn beside(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for folder in ["", "backups", "environments", "machine", ".almaplan"] {
            let Ok(entries) = fs::read_dir(self.path(folder)) else { continue };
            for entry in entries.map(|entry| entry.unwrap()) {
                let name = entry.file_name().into_string().unwrap();
                // A journal of SQLite is no leftover: whoever writes next takes it in.
                if folder == ".almaplan" && name.starts_with("state.db-") {
                    continue;
                }
                names.insert(format!(
                    "{folder}/{}",
                    name.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#")
                ));
            }
        }
        names
    }

    /// Every archive holds all of version 1.
    pub fn archives_verify(&self) {
        let Ok(entries) = fs::read_dir(self.path("backups")) else { return };
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "zip")) {
            verify(&path);
        }
    }
}

/// What an undisturbed run of a plan leaves.
pub struct Reference {
    pub trace: Trace,
    pub before: Tree,
    pub after: Tree,
    pub beside: BTreeSet<String>,
}

impl Reference {
    pub fn of(plan: &Plan) -> Self {
        let mut fixture = Fixture::new(plan);
        let (trace, said) = fixture.apply(Fault::None, None);
        said.expect(plan.code);
        fixture.archives_verify();
        let (before, after) = (template().production.clone(), fixture.production());
        assert_eq!(after != before, plan.deploys);
        Self { trace, before, after, beside: fixture.beside() }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
            eprintln!("--- out\n{}\n--- err\n{}\n--- report\n{}", text("out"), text("err"), text("report"));
        }
    }
}

/// An archive reads back with every checksum, and has what was in the folder.
fn verify(path: &Path) {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut files = 0;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let (name, mut content) = (entry.name().unwrap().into_owned(), Vec::new());
        entry.read_to_end(&mut content).unwrap_or_else(|error| panic!("{}: {name}: {error}", path.display()));
        if entry.is_dir() {
            continue;
        }
        files += 1;
        if name.ends_with(".db") {
            let copy = tempfile::NamedTempFile::new().unwrap();
            fs::write(copy.path(), &content).unwrap();
            assert_eq!(rows(&Connection::open(copy.path()).unwrap()), ROWS, "{}", path.display());
        } else {
            let kept = if entry.is_symlink() { String::from_utf8(content).unwrap() } else { hash(&content) };
            let original = &template().production[Path::new(&name)];
            assert!(original.ends_with(&format!(" {kept}")), "{}: {name}: {original}", path.display());
        }
    }
    let saved = |(name, what): &(&PathBuf, &String)| !what.starts_with("folder") && !name.ends_with("pedidos.db-wal");
    assert_eq!(files, template().production.iter().filter(saved).count(), "{}", path.display());
}

const ROWS: u32 = 40;

fn rows(database: &Connection) -> u32 {
    database.query_row("SELECT count(*) FROM pedidos", [], |row| row.get(0)).unwrap()
}

/// `status` tells what the journal holds; every step that was said to have succeeded has.
pub fn status_is_true(status: &Value, said: &Said) {
    let steps = status["steps"].as_array().unwrap();
    let next = status["next"].as_array().unwrap();
    match status["state"].as_str().unwrap() {
        "settled" if status["outcome"] != "stuck" => assert!(next.is_empty(), "{status}"),
        "settled" | "interrupted" => assert!(next[0].as_str().unwrap().starts_with("almaplan resume"), "{status}"),
        _ => panic!("nobody runs it, and nobody is asked: {status}"),
    }
    assert!(!steps.iter().any(|step| step["state"] == "started"), "nothing runs, and yet: {status}");
    // The last line may be torn.
    for event in said.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["event"] == "step" && event["state"] == "succeeded" && event["phase"] == "forward" {
            let step = steps.iter().find(|step| step["step"] == event["step"]).unwrap();
            let state = step["state"].as_str().unwrap();
            assert!(["succeeded", "undone", "undo-started", "undo-failed"].contains(&state), "{step} in {status}");
        }
    }
}

/// Every entry of `folder`, its mode, and of files the time and the content; but for the index of a WAL, which no copy needs.
pub fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            let mode = meta.mode() & 0o7777;
            let what = if meta.is_dir() {
                left.push(path);
                format!("folder {mode:o}")
            } else if meta.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else if entry.file_name().to_str().unwrap().ends_with("-shm") {
                continue;
            } else {
                // When a manifest was written says nothing of the release.
                let time = if entry.file_name().to_str().unwrap().starts_with(".almaplan-") { 0 } else { meta.mtime() };
                format!("file {mode:o} {time} {}", hash(&fs::read(&path).unwrap()))
            };
            tree.insert(name, what);
        }
    }
    tree
}

/// In memory where the machine has such a folder: what is tried here are orders of calls, not disks.
fn in_memory() -> Workspace {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { Workspace::below(memory, "almaplan faults ") } else { Workspace::called("almaplan faults ") }
}

fn hash(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// What every fixture begins as.
struct Template {
    packed: PathBuf,
    production: Tree,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let workspace = in_memory();
        release_1(&workspace.path("dev"));
        workspace.write("first.toml", FIRST);
        // The data is there before: a release never touches it.
        let _open = data(&workspace.path("app"));
        workspace.say(&["apply", "first.toml"]).expect(0);
        for made in [".almaplan", "machine", "dev"] {
            fs::remove_dir_all(workspace.path(made)).unwrap();
        }
        fs::remove_file(workspace.path("first.toml")).unwrap();
        release_2(&workspace.path("dev"));
        let packed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.tar");
        tool(command("tar").args(["-c", "--exclude=*-shm", "-f"]).arg(&packed).arg(".").current_dir(workspace.folder()));
        Template { packed, production: tree(&workspace.path("app")) }
    })
}

/// A package with one module, made by hand: no network is needed.
fn wheel(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let info = "almasample-1.0.dist-info";
    let files = [
        ("almasample.py".to_owned(), "VERSION = '1.0'\n".to_owned()),
        (format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: almasample\nVersion: 1.0\n".to_owned()),
        (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
        (format!("{info}/RECORD"), format!("almasample.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")),
    ];
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.join("almasample-1.0-py3-none-any.whl")).unwrap());
    for (name, text) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

/// A virtual environment, made once, with a pip that unpacks wheels and can do nothing else: with the whole one, every environment
/// would cost seconds, in processes that are not what is killed here.
fn environment() -> &'static Path {
    static ENVIRONMENT: OnceLock<PathBuf> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults environment");
        let _ = fs::remove_dir_all(&folder);
        tool(command("python3").args(["-m", "venv", "--without-pip"]).arg(&folder));
        let packages = fs::read_dir(folder.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
        fs::create_dir(packages.join("pip")).unwrap();
        fs::write(packages.join("pip/__main__.py"), PIP).unwrap();
        folder
    })
}

const PIP: &str = "
import pathlib, sys, zipfile
if 'install' in sys.argv:
    packages = pathlib.Path(__file__).parent.parent
    for wheel in pathlib.Path(sys.argv[sys.argv.index('--find-links') + 1]).glob('*.whl'):
        zipfile.ZipFile(wheel).extractall(packages)
        print('installed', wheel.name)
";

/// What deployed version 1, and saved it.
const FIRST: &str = r#"
    format = 1
    [plan]
    name = "first"
    [steps.update]
    uses = "sync"
    compensate = "none"
    with = { from = "dev", to = "app" }
    [steps.backup]
    uses = "backup"
    needs = ["update"]
    compensate = "none"
    with = { source = "app", archive = "before.zip" }
"#;

fn write(folder: &Path, name: &str, content: &[u8], mode: u32, age: u64) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let file = fs::File::open(&path).unwrap();
    // To the second, as an archive keeps them.
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age)).unwrap();
    file.set_permissions(Permissions::from_mode(mode)).unwrap();
}

/// Longer than one block, and nothing that gets much smaller.
fn long(seed: u8) -> Vec<u8> {
    let mut content = vec![0; 9000];
    blake3::Hasher::new_derive_key("long").update(&[seed]).finalize_xof().fill(&mut content);
    content
}

fn release_1(dev: &Path) {
    write(dev, "app.py", b"version 1\n", 0o755, 1);
    write(dev, "static/long.bin", &long(1), 0o644, 2);
    write(dev, "static/only in 1.css", b"/* old */", 0o644, 3);
    write(dev, "config/read-only.cfg", b"one\n", 0o444, 4);
    write(dev, "config/same.cfg", b"same\n", 0o600, 5);
    fs::create_dir_all(dev.join("folder/empty")).unwrap();
    symlink("app.py", dev.join("current")).unwrap();
}

fn release_2(dev: &Path) {
    write(dev, "app.py", b"version 2\n", 0o755, 11);
    write(dev, "static/long.bin", &long(2), 0o644, 12);
    write(dev, "modelos/ção.html", b"", 0o644, 13);
    write(dev, "config/read-only.cfg", b"two\n", 0o444, 14);
    write(dev, "config/same.cfg", b"same\n", 0o600, 5);
    symlink("static/long.bin", dev.join("current")).unwrap();
}

/// What belongs to no release, among it a database in WAL mode, open as long as what is returned.
fn data(app: &Path) -> Connection {
    write(app, "uploads/foto.jpg", &long(3), 0o640, 21);
    write(app, "uploads/empty", b"", 0o644, 22);
    fs::create_dir_all(app.join("data")).unwrap();
    let database = Connection::open(app.join("data/pedidos.db")).unwrap();
    let fill = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE pedidos (cliente TEXT);";
    database.execute_batch(fill).unwrap();
    for row in 0..ROWS {
        database.execute("INSERT INTO pedidos VALUES (?1)", [row.to_string()]).unwrap();
    }
    database
}
