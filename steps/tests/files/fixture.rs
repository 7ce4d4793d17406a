//! A temporary folder, contexts of runs in it, and what trees look like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use almaplan_engine::context::{Attempt, Context, Handles, Keep, RunInfo};
use almaplan_engine::event::{Failure, Part, RunId, StepId};
use almaplan_engine::kind::Kind;
use almaplan_engine::update::{Unit, Update, Updates};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub dir: tempfile::TempDir,
    pub notes: Arc<Mutex<Vec<String>>>,
    /// The records of the steps so far, by step.
    pub records: Arc<Mutex<BTreeMap<String, Map<String, Value>>>>,
    /// What earlier steps of the run left.
    pub outputs: Arc<Mutex<Vec<Value>>>,
}

/// A volume that is mounted until this is dropped.
#[cfg(target_os = "linux")]
pub struct Volume(PathBuf);

#[cfg(target_os = "linux")]
impl Volume {
    /// Mounts what these arguments of `mount` name at `at`, which is made. `None` where the machine does not let us.
    pub fn mount(at: PathBuf, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount").args(arguments).arg(&at).output().is_ok_and(|said| said.status.success());
        if !mounted {
            // Past the capture of what tests print: nobody may believe that it was tried.
            let said = format!("NOT TRIED: what needs a volume of its own, as `mount {}` fails here\n", arguments.join(" "));
            std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
        }
        mounted.then_some(Self(at))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), notes: Arc::default(), records: Arc::default(), outputs: Arc::default() }
    }

    /// In memory where the system has it, for many small worlds: nothing is ever synced to a disk.
    pub fn light() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::on(memory) } else { Self::new() }
    }

    /// On the volume on which `folder` is.
    pub fn on(folder: &Path) -> Self {
        Self { dir: tempfile::tempdir_in(folder).unwrap(), ..Self::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    pub fn warnings(&self) -> String {
        self.notes.lock().unwrap().join("\n")
    }

    /// Runs a step of the run `run`; it sees what its earlier attempts recorded.
    pub async fn run<S: Kind>(&self, run: &str, step: &str, with: Value) -> Result<S::Output, Failure> {
        self.run_with::<S>(run, step, with, Vec::new(), None).await
    }

    /// The same, while `at_each` is called at each sign of progress, in the very thread that makes it.
    pub async fn run_watched<S: Kind>(
        &self,
        run: &str,
        step: &str,
        with: Value,
        at_each: impl Fn() + Send + std::marker::Sync + 'static,
    ) -> Result<S::Output, Failure> {
        let observe = move |update: &Update| {
            if let Update::Progress { .. } = update {
                at_each();
            }
        };
        self.observed::<S>(run, step, with, Vec::new(), CancellationToken::new(), observe).await
    }

    /// The same, with needed paths, and stopped at the `stop_at`-th sign of progress.
    pub async fn run_with<S: Kind>(
        &self,
        run: &str,
        step: &str,
        with: Value,
        needed: Vec<PathBuf>,
        stop_at: Option<usize>,
    ) -> Result<S::Output, Failure> {
        let (stop, seen) = (CancellationToken::new(), Mutex::new(0));
        let token = stop.clone();
        let count = move |_: &Update| {
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            if Some(*seen) == stop_at {
                token.cancel();
            }
        };
        self.observed::<S>(run, step, with, needed, stop, count).await
    }

    /// The same; how many bytes were done, and of how many, at each sign of progress.
    pub async fn run_shown<S: Kind>(&self, run: &str, step: &str, with: Value) -> Vec<(u64, u64)> {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        let observe = move |update: &Update| {
            if let Update::Progress { done, total, unit: Unit::Bytes, .. } = update {
                seen.lock().unwrap().push((*done, total.unwrap()));
            }
        };
        self.observed::<S>(run, step, with, Vec::new(), CancellationToken::new(), observe).await.unwrap();
        shown.lock().unwrap().clone()
    }

    /// Runs it until it is stopped at the `stop_at`-th sign of progress; why it failed, and how many signs there were in all.
    pub async fn run_stopped<S: Kind>(&self, run: &str, step: &str, with: Value, stop_at: usize) -> (Failure, usize)
    where
        S::Output: std::fmt::Debug,
    {
        let (stop, seen) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (token, count) = (stop.clone(), Arc::clone(&seen));
        let observe = move |update: &Update| {
            if matches!(update, Update::Progress { .. }) && count.fetch_add(1, Ordering::SeqCst) + 1 == stop_at {
                token.cancel();
            }
        };
        let failure = self.observed::<S>(run, step, with, Vec::new(), stop, observe).await.unwrap_err();
        (failure, seen.load(Ordering::SeqCst))
    }

    /// The same; `meanwhile` happens when the first file was read, and nobody reads many more before it is over.
    #[cfg(unix)]
    pub async fn run_while<S: Kind>(
        &self,
        run: &str,
        step: &str,
        with: Value,
        meanwhile: impl FnOnce() + Send + 'static,
    ) -> Result<S::Output, Failure> {
        let meanwhile = Mutex::new(Some(meanwhile));
        let at_first = move |update: &Update| {
            // Whoever else shows progress waits here for as long as it takes.
            let mut meanwhile = meanwhile.lock().unwrap();
            if matches!(update, Update::Progress { .. })
                && let Some(meanwhile) = meanwhile.take()
            {
                meanwhile();
            }
        };
        self.observed::<S>(run, step, with, Vec::new(), CancellationToken::new(), at_first).await
    }

    async fn observed<S: Kind>(
        &self,
        run: &str,
        step: &str,
        with: Value,
        needed: Vec<PathBuf>,
        stop: CancellationToken,
        observe: impl Fn(&Update) + Send + std::marker::Sync + 'static,
    ) -> Result<S::Output, Failure> {
        let notes = Arc::clone(&self.notes);
        let updates: Updates = Arc::new(move |update| {
            if let Update::Note { message, .. } = &update {
                notes.lock().unwrap().push(message.clone());
            }
            observe(&update);
        });
        let key = format!("{run}/{step}");
        let recorded = self.records.lock().unwrap().get(&key).cloned().unwrap_or_default();
        let records = Arc::clone(&self.records);
        let keep = move |name: String, value: Value| {
            records.lock().unwrap().entry(key.clone()).or_default().insert(name, value);
        };
        let outputs = Arc::clone(&self.outputs);
        let cx = context(self.dir.path(), run, step, recorded, needed, outputs, stop, updates, keep);
        serde_json::from_value::<S>(with).unwrap().run(&cx).await
    }
}

#[allow(clippy::too_many_arguments)]
pub fn context(
    folder: &Path,
    run: &str,
    step: &str,
    recorded: Map<String, Value>,
    needed: Vec<PathBuf>,
    outputs: Arc<Mutex<Vec<Value>>>,
    stop: CancellationToken,
    updates: Updates,
    keep: impl Fn(String, Value) + Send + 'static,
) -> Context {
    let (requests, mut inbox) = mpsc::unbounded_channel::<almaplan_engine::context::Request>();
    tokio::spawn(async move {
        while let Some(request) = inbox.recv().await {
            if let Keep::Outputs(outputs) = request.keep {
                outputs.into_iter().for_each(|(name, value)| keep(name, value));
            }
            let _ = request.done.send(());
        }
    });
    let run = RunInfo {
        id: RunId::new(run),
        plan: "test".to_owned(),
        plan_dir: folder.to_owned(),
        folder: folder.to_owned(),
        started_at: jiff::Timestamp::now(),
        timestamp: "20260206_141502".to_owned(),
        lang: "en".to_owned(),
    };
    let attempt = Attempt {
        step: StepId::new(step),
        part: Part::Action,
        number: 1,
        timeout: None,
        recorded,
        processes: Vec::new(),
        run: Arc::new(run),
        summary: Arc::default(),
        retained: Arc::default(),
    };
    let needed = Arc::new(std::sync::Mutex::new(needed));
    Context::new(attempt, Handles { stop, needed, outputs, ..Handles::new(requests, updates) })
}

/// Everything in a folder: kind, mode, time of files in seconds, content. Our own files are left out.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    look(root, "", &mut found);
    found.retain(|name, _| !name.starts_with(".almaplan-"));
    found
}

/// The same without times: what a person calls the same content.
pub fn contents(root: &Path) -> BTreeMap<String, String> {
    tree(root).into_iter().map(|(name, what)| (name, what.split(" @").next().unwrap().to_owned())).collect()
}

fn look(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let at = meta.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if meta.is_symlink() {
            found.insert(name, format!("link {}", std::fs::read_link(entry.path()).unwrap().display()));
        } else if meta.is_dir() {
            found.insert(name.clone(), format!("folder {:o} @{at}", mode(&meta)));
            look(&entry.path(), &format!("{name}/"), found);
        } else {
            let hash = blake3::hash(&std::fs::read(entry.path()).unwrap());
            found.insert(name, format!("file {:o} {} @{at}", mode(&meta), hash.to_hex()));
        }
    }
}

#[cfg(unix)]
pub fn mode(meta: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(meta) & 0o7777
}

#[cfg(not(unix))]
pub fn mode(meta: &std::fs::Metadata) -> u32 {
    u32::from(meta.permissions().readonly())
}

#[cfg(unix)]
pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[cfg(unix)]
pub fn link(target: &str, at: &Path) {
    std::os::unix::fs::symlink(target, at).unwrap();
}

/// Runs this test, by its name, in a process that may have 256 files open. `false` in that one, which is to go on.
#[cfg(unix)]
pub fn with_few_handles(test: &str) -> bool {
    const CHILD: &str = "ALMAPLAN_TEST_FEW_HANDLES";
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let output = limited.args([test, "--exact"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    true
}
