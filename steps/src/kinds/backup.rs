//! The kind `backup`: a folder that is in use becomes a verified archive.
//!
//! ```text
//!  walk ─> snapshots of databases ─> read and compress (threads) ─> write in order ─> .partial ─> sync ─> read back ─> rename ─> sync folder
//! ```
//! Nothing under the archive's name is ever less than a whole, verified archive. A repetition starts over.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Take, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Amount, Before, Preview, Told};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::{
    ABSENT, Archive, ArchiveError, Details, Handle, ITSELF, Item, Limits, Packed, Packer, SAVED, Spool, Writer, held_len, in_order,
    link_bytes,
};
use crate::checked;
use crate::files::{
    BlockingTask, CHUNK, Extended, FileError, FileKind, FirstOf, Found, Meta, Patterns, Root, blocking, each, extended, free_space,
    io_error, make_way, overlap, platform, present, prune, real_target, remove_tree, same_shape, size, tree_size, unforeseeable, unkept,
    walk,
};
use crate::snapshot::{Live, SnapshotError};

/// The permission bits of an archive: it holds what only some may read, and is read by whoever brings it back.
const OWNER_ONLY: u32 = 0o600;

/// Extensions of files that do not get smaller.
const COMPRESSED: &[&str] = &[
    "7z", "avi", "br", "bz2", "docx", "gif", "gz", "heic", "jar", "jpeg", "jpg", "lz4", "mkv", "mov", "mp3", "mp4", "ogg", "png", "pptx",
    "rar", "tgz", "webm", "webp", "whl", "woff", "woff2", "xlsx", "xz", "zip", "zst",
];

/// Zips a folder that is in use, and reads the archive back before it counts.
///
/// SQLite databases are copied by SQLite itself; logs are read up to the size they have when opened; other files that change
/// while they are read are read again, then listed as a warning. A folder that does not exist gives an empty archive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder.
    pub source: PathBuf,
    /// The archive to write; its folder is created. It must not be inside `source`. An archive that another run would need to be undone is
    /// never replaced: this one gets a number after its name then.
    pub archive: PathBuf,
    /// What is left out, as patterns like those of a `.gitignore`.
    #[serde(default, deserialize_with = "checked::patterns")]
    pub exclude: Option<Vec<String>>,
    /// What is stored as it is because it would not get smaller, as patterns. Default: files of compressed formats, by extension.
    #[serde(default, deserialize_with = "checked::patterns")]
    pub store: Option<Vec<String>>,
    /// How hard to compress, from 0 (not at all) to 9. Default: 6.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9))]
    pub level: Option<u32>,
    /// How many archives to keep whose names differ from this one's in the `{{ run.timestamp }}` only, this one included. Default: all.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub keep: Option<usize>,
    /// What to do about a file that changes each time it is read. Default: `snapshot`.
    #[serde(default)]
    pub changing: Option<Changing>,
}

/// See [`Backup::changing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Changing {
    /// Archive it as it was last read, and warn.
    Snapshot,
    /// Fail.
    Fail,
}

/// What `backup` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackupOutput {
    /// The archive, absolute.
    pub archive: PathBuf,
    /// The archive that was asked for, where that is another one because a run needs what is there.
    pub instead_of: Option<PathBuf>,
    /// The folder that is in it, absolute.
    pub source: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// How many files and links are in it.
    pub files: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Kind for Backup {
    const KIND: &'static str = "backup";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = BackupOutput;

    async fn run(&self, cx: &Context) -> Result<BackupOutput, Failure> {
        let work = Work::new(self, cx).map_err(Failure::clean)?;
        blocking(cx, move |task| work.run(task)).await
    }

    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        let work = match Work::new(self, cx) {
            Ok(work) => work,
            Err(error) => return Preview::failure(Failure::clean(error)),
        };
        let exclude = self.exclude.clone().unwrap_or_default();
        let looked = blocking(cx, move |_| {
            let folder = work.check()?.to_owned();
            let size = tree_size(&work.source, &exclude).map_err(io_error("look at", &work.source))?;
            let free = free_space(&folder).map_err(io_error("look at", &folder))?;
            Ok::<_, BackupError>((work, size, folder, free))
        });
        let (work, (files, bytes), folder, free) = match looked.await {
            Ok(looked) => looked,
            Err(failure) => return Preview::failure(failure),
        };
        let saves = Told::new("saves").field("files", files).field("bytes", Amount::Bytes(bytes));
        let room = Told::new("free").field("folder", folder.as_path()).field("bytes", Amount::Bytes(free));
        let told = Preview::default().tell(saves).tell(room);
        told.output("archive", work.archive.display().to_string()).output("source", work.source.display().to_string())
    }
}

/// How the names of its unfinished files end.
const UNFINISHED: [&str; 2] = [".partial", ".snapshots"];

/// The inputs, checked.
struct Work {
    source: PathBuf,
    archive: PathBuf,
    instead_of: Option<PathBuf>,
    /// What a restore by this user would not keep, by name.
    unkept: Mutex<Vec<String>>,
    exclude: Patterns,
    store: Patterns,
    packer: Packer,
    keep: Option<usize>,
    strict: bool,
}

impl Work {
    fn new(with: &Backup, cx: &Context) -> Result<Self, BackupError> {
        let level = with.level.unwrap_or(6);
        if level > 9 {
            return Err(BackupError::Level(level));
        }
        if with.keep == Some(0) {
            return Err(BackupError::Keep);
        }
        let by_extension = || COMPRESSED.iter().map(|extension| format!("*.{extension}")).collect();
        let asked = cx.path(&with.archive);
        let archive = free_name(&asked, cx.retained());
        Ok(Self {
            source: real_target(&cx.path(&with.source))?,
            instead_of: (archive != asked).then_some(asked),
            archive,
            unkept: Mutex::default(),
            exclude: Patterns::new(with.exclude.as_deref().unwrap_or_default())?,
            store: Patterns::ignoring_case(&with.store.clone().unwrap_or_else(by_extension))?,
            packer: Packer::new(level),
            keep: with.keep,
            strict: with.changing == Some(Changing::Fail),
        })
    }

    fn run(&self, task: &BlockingTask) -> Result<BackupOutput, BackupError> {
        let folder = self.check()?;
        make_way(folder).map_err(io_error("create", folder))?;
        self.sweep(task, folder)?;
        let random = unforeseeable().map_err(io_error("write in", folder))?;
        let [partial, snapshots] = UNFINISHED.map(|suffix| folder.join(format!("{}.{random}{suffix}", self.stem())));
        let made = self.make(task, &partial, &snapshots);
        if made.is_err() {
            // Also when it was asked to stop.
            let _ = std::fs::remove_dir_all(&snapshots);
            let _ = Root::above(&partial).and_then(|(folder, name)| folder.remove_file(&name));
        }
        let output = made?;
        remove_tree(task, &snapshots)?;
        self.tell(task);
        if let Some(keep) = self.keep {
            let name = self.name();
            let needed: Vec<PathBuf> = task.cx.needed().iter().chain([&self.archive]).cloned().collect();
            // The backup itself is whole: that old ones stay is no reason to say otherwise.
            if let Err(error) = prune(task, folder, &same_shape(&name), keep, &needed) {
                task.cx.warn(BackupNote::NotPruned { error });
            }
        }
        Ok(output)
    }

    fn name(&self) -> Cow<'_, str> {
        self.archive.file_name().unwrap_or_default().to_string_lossy()
    }

    /// What the names of its unfinished files begin with: that of the archive, so that `<archive>.*` finds them, where that is not too long.
    fn stem(&self) -> String {
        /// With what follows, a name has at most 255 bytes (Linux) or UTF-16 units (NTFS).
        const LONGEST: usize = 220;
        let name = self.name();
        if name.len() <= LONGEST { name.into_owned() } else { blake3::hash(name.as_bytes()).to_hex().to_string() }
    }

    /// Removes what an earlier attempt left half made, an older version among them.
    fn sweep(&self, task: &BlockingTask, folder: &Path) -> Result<(), FileError> {
        let (name, stem) = (self.name(), self.stem());
        let is_random =
            |text: &str| text.strip_prefix('.').is_some_and(|text| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let is_left = |left: &str| {
            UNFINISHED
                .iter()
                .filter_map(|suffix| left.strip_suffix(suffix))
                .any(|left| left == name || left.strip_prefix(&stem).is_some_and(is_random))
        };
        let entries = std::fs::read_dir(folder).map_err(io_error("read the folder", folder))?.flatten();
        let mut left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_left));
        left.try_for_each(|left| remove_tree(task, &left.path()))
    }

    /// Tells where the archive is, and what would not come back out of it.
    fn tell(&self, task: &BlockingTask) {
        /// As many as a person reads.
        const SHOWN: usize = 10;
        if let Some(asked) = &self.instead_of {
            task.cx.warn(BackupNote::OtherName { asked: asked.clone(), archive: self.archive.clone() });
        }
        let mut unkept = std::mem::take(&mut *self.unkept.lock().expect("no code panics while it holds this lock"));
        if !unkept.is_empty() {
            unkept.sort();
            task.cx.warn(BackupNote::NotKept { names: FirstOf::new(&unkept[..unkept.len().min(SHOWN)], unkept.len()) });
        }
    }

    fn check(&self) -> Result<&Path, BackupError> {
        let Some(folder) = self.archive.parent().filter(|_| self.archive.file_name().is_some()) else {
            return Err(BackupError::NoName(self.archive.clone()));
        };
        if self.archive.is_dir() {
            return Err(BackupError::Folder(self.archive.clone()));
        }
        if present(&self.source) && !self.source.is_dir() {
            return Err(BackupError::NoFolder(self.source.clone()));
        }
        if overlap(&self.source, &self.archive) {
            return Err(BackupError::Inside { archive: self.archive.clone(), folder: self.source.clone() });
        }
        Ok(folder)
    }

    fn make(&self, task: &BlockingTask, partial: &Path, snapshots: &Path) -> Result<BackupOutput, BackupError> {
        let (folder, name) = Root::above(partial).map_err(io_error("open the folder of", partial))?;
        let file = folder.create_file(&name, OWNER_ONLY).map_err(io_error("create", partial))?;
        let mut writer = Writer::new(file);
        let written = if present(&self.source) { self.fill(task, &mut writer, snapshots)? } else { 0 };
        let comment = if present(&self.source) { SAVED } else { ABSENT };
        writer.finish(comment, partial).map_err(io_error("write", partial))?;
        let (files, sha256) = verify(task, partial, written)?;
        let bytes = partial.metadata().map_err(io_error("look at", partial))?.len();
        let archive = self.name();
        task.patiently("rename", partial, || folder.rename(&name, &folder, &archive))?;
        folder.sync_folder("").map_err(io_error("sync", &folder.path))?;
        let (archive, instead_of, source) = (self.archive.clone(), self.instead_of.clone(), self.source.clone());
        Ok(BackupOutput { archive, instead_of, source, sha256, files, bytes })
    }

    /// Writes everything in the source. Returns how many entries.
    fn fill(&self, task: &BlockingTask, writer: &mut Writer, snapshots: &Path) -> Result<u64, BackupError> {
        let mut found = walk(&self.source, &self.exclude)?;
        found.retain(|found| found.name != ITSELF);
        // Each name of unix can be in an archive; on Windows each is one that can.
        leave_out(task, &mut found)?;
        found.push(itself(&self.source)?);
        let shared = shared_numbers(&found);
        let live = Live::new(task, &found, snapshots, self.strict)?;
        found.retain(|found| !live.is_spent(&found.name));
        // Once to archive them, and once to read them back.
        task.expect_bytes(2 * size(&found));
        // As every program lists them, which is not as they were walked: `a.txt` comes before `a/b`.
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut written = 0;
        let pack =
            |found: &Found, ended: &AtomicBool| self.pack(task, &Reading { live: &live, shared: &shared, folder: snapshots, ended }, found);
        in_order(&found, pack, |found, packed| {
            let Some(packed) = packed else { return Ok(()) };
            // Of a long file it was shown while it was read.
            task.advance(if found.meta.kind == FileKind::File { packed.held() } else { 0 });
            written += 1;
            writer.add(packed).map_err(io_error("write", &self.archive))
        })?;
        let unsteady = live.unsteady();
        if !unsteady.is_empty() {
            let names = unsteady.join(", ");
            task.cx.warn(BackupNote::Unsteady { names });
        }
        Ok(written)
    }

    /// Reads and compresses one thing that was found. `None` where it is gone.
    fn pack(&self, task: &BlockingTask, reading: &Reading<'_>, found: &Found) -> Result<Option<Packed>, FileError> {
        task.check()?;
        let packed = match found.meta.kind {
            FileKind::Folder | FileKind::Other | FileKind::Mount => {
                let name = if found.name == ITSELF { "" } else { &found.name };
                let opened = found.root.open_folder(name).ok();
                let beside = opened.map(|folder| Beside::of(&folder, found)).transpose()?.unwrap_or_default();
                self.packer.store(&self.item(reading, found, found.meta, beside), &[])
            }
            FileKind::Link => match &found.link {
                // What was looked at is what is written: it may lead elsewhere by now.
                Some(target) => self.packer.store(&self.item(reading, found, found.meta, Beside::default()), &link_bytes(target)),
                None => return reading.live.lost(found).map(|()| None),
            },
            FileKind::File => match self.read(task, reading, found)? {
                None => return Ok(None),
                Some(Content::Packed(packed)) => Ok(packed),
                Some(Content::Held(content, item)) if self.is_stored(found) => self.packer.store(&item, &content),
                Some(Content::Held(content, item)) => self.packer.pack(&item, &content),
            },
        };
        packed.map(Some).map_err(io_error("compress", &found.path()))
    }

    /// Reads a file. What is too long for memory is packed in a file in a folder meanwhile.
    fn read(&self, task: &BlockingTask, reading: &Reading<'_>, found: &Found) -> Result<Option<Content>, FileError> {
        let mut reads = 0;
        let folder = reading.folder;
        reading.live.read(task, found, |source, meta| {
            reads += 1;
            let item = self.item(reading, found, meta, reading.beside(found, source.get_ref())?);
            if source.limit() <= held_len(found) {
                return Ok(Content::Held(read_whole(source).map_err(io_error("read", &found.path()))?, item));
            }
            // What was shown of it is read once more.
            task.expect_bytes(if reads > 1 { source.limit() } else { 0 });
            let deflates = self.deflates(reading.live, found)?;
            let mut spool = self.packer.spool(&item, deflates, source.limit(), folder).map_err(io_error("write in", folder))?;
            copy(task, found, source, &mut spool, reading.ended)?;
            spool.finish().map(Content::Packed).map_err(io_error("write in", folder))
        })
    }

    fn item(&self, reading: &Reading<'_>, found: &Found, meta: Meta, Beside { extended, is_fixed }: Beside) -> Item {
        let fixed = is_fixed.then_some("is protected from changes with `chattr`");
        if let Some(reason) = unkept(&meta, &extended).or(fixed) {
            let name = if found.name == ITSELF { "the folder itself" } else { &found.name };
            self.unkept.lock().expect("no code panics while it holds this lock").push(format!("{name} ({reason})"));
        }
        let details = Details {
            owner: meta.owner,
            nanos: meta.modified_nanos(),
            allocated: meta.has_holes().then_some(meta.allocated),
            shared: found.meta.shared_by().and_then(|file| reading.shared.get(&file).copied()),
            is_encoded: false,
            extended,
        };
        Item { name: found.name.clone(), kind: meta.kind, modified_s: meta.modified_s(), mode: meta.mode, details }
    }

    /// Whether a long file gets smaller.
    fn deflates(&self, live: &Live, found: &Found) -> Result<bool, FileError> {
        if self.is_stored(found) {
            return Ok(false);
        }
        self.packer.shrinks(&live.samples(found)).map_err(io_error("compress", &found.path()))
    }

    fn is_stored(&self, found: &Found) -> bool {
        self.store.covers(&found.name, false)
    }
}

/// Why a folder is not saved.
#[derive(Debug, Serialize, thiserror::Error)]
enum BackupError {
    #[error(transparent)]
    Files(#[from] FileError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("`level` is {0}; it goes from 0 to 9")]
    Level(u32),
    #[error("`keep` is 0, which would remove the backup itself; keep at least 1")]
    Keep,
    #[error("{} names no file", .0.display())]
    NoName(PathBuf),
    #[error("{} is a folder; `archive` must name a file", .0.display())]
    Folder(PathBuf),
    #[error("{} is not a folder", .0.display())]
    NoFolder(PathBuf),
    #[error("the archive {} would be inside {}, the folder that it saves; put it elsewhere", archive.display(), folder.display())]
    Inside { archive: PathBuf, folder: PathBuf },
}

/// What is told although the folder is saved.
#[derive(Debug, Serialize, thiserror::Error)]
enum BackupNote {
    #[error("older backups were not all removed: {error}")]
    NotPruned { error: FileError },
    #[error(
        "{} is needed to undo another run and stays; the backup is {}. Put `{{{{ run.timestamp }}}}` into the name of `archive`",
        asked.display(),
        archive.display()
    )]
    OtherName { asked: PathBuf, archive: PathBuf },
    #[error("a restore would not bring back all that these have beside their content: {names}")]
    NotKept { names: FirstOf },
    #[error("changed or disappeared while the backup read them; the archive has them as they were last read: {names}")]
    Unsteady { names: String },
    #[error("{} is neither a file nor a folder: it is left out of the backup", path.display())]
    NoFile { path: PathBuf },
    #[error("{} is where a volume is mounted, which is not changed either: it is left out of the backup", path.display())]
    Mount { path: PathBuf },
}

/// What one thing is read with.
struct Reading<'a> {
    live: &'a Live,
    /// The numbers of files with several names.
    shared: &'a HashMap<(u64, u64), u64>,
    /// For what is too long for memory.
    folder: &'a Path,
    /// Nothing more is wanted.
    ended: &'a AtomicBool,
}

impl Reading<'_> {
    /// What a file has beside its content, of which `opened` is read.
    fn beside(&self, found: &Found, opened: &File) -> Result<Beside, FileError> {
        if !self.live.is_snapshot(found) {
            return Beside::of(opened, found);
        }
        found.open().map_or_else(|_| Ok(Beside::default()), |(file, _)| Beside::of(&file, found))
    }
}

/// What only an open file or folder tells of itself.
#[derive(Default)]
struct Beside {
    extended: Vec<Extended>,
    /// Nobody may change it, or only at its end.
    is_fixed: bool,
}

impl Beside {
    fn of(opened: &File, found: &Found) -> Result<Self, FileError> {
        Ok(Self { extended: extended(opened, &found.path())?, is_fixed: platform::is_fixed(opened) })
    }
}

/// A name for an archive that no other run needs.
fn free_name(asked: &Path, retained: &[PathBuf]) -> PathBuf {
    let stem = asked.file_stem().unwrap_or_default().to_string_lossy();
    let extension = asked.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    let numbered = (2..).map(|number| asked.with_file_name(format!("{stem}_{number}{extension}")));
    let is_free = |name: &PathBuf| !retained.contains(name);
    std::iter::once(asked.to_owned()).chain(numbered).find(is_free).expect("there are more numbers than paths")
}

/// The folder itself, as something in it.
fn itself(folder: &Path) -> Result<Found, FileError> {
    let root = Root::open_real(folder).map_err(io_error("open the folder", folder))?;
    let meta = root.look_at_itself().map_err(io_error("look at", folder))?;
    Ok(Found { root: Arc::new(root), name: ITSELF.to_owned(), meta, link: None })
}

/// A number for each file that has several names among `found`.
fn shared_numbers(found: &[Found]) -> HashMap<(u64, u64), u64> {
    let mut names: HashMap<(u64, u64), u64> = HashMap::new();
    for file in found.iter().filter_map(|found| found.meta.shared_by()) {
        *names.entry(file).or_default() += 1;
    }
    let mut numbers = HashMap::new();
    for file in found.iter().filter_map(|found| found.meta.shared_by()).filter(|file| names[file] > 1) {
        let next = numbers.len() as u64 + 1;
        numbers.entry(file).or_insert(next);
    }
    numbers
}

/// What was read of a file.
enum Content {
    /// All of it, and what is known of it.
    Held(Vec<u8>, Item),
    /// It is too long for memory: what became of it.
    Packed(Packed),
}

fn read_whole(source: &mut Take<File>) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(source.limit()).unwrap_or(0) + 1);
    source.read_to_end(&mut content)?;
    Ok(content)
}

/// Writes a long file to `spool`, and shows how far it is.
fn copy(task: &BlockingTask, found: &Found, source: &mut Take<File>, spool: &mut Spool, ended: &AtomicBool) -> Result<(), FileError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        task.check()?;
        if ended.load(Ordering::Relaxed) {
            return Err(FileError::Stopped);
        }
        let count = source.read(&mut buffer).map_err(io_error("read", &found.path()))?;
        if count == 0 {
            return Ok(());
        }
        spool.write_all(&buffer[..count]).map_err(io_error("archive", &found.path()))?;
        task.advance(count as u64);
    }
}

/// Takes out what no archive can hold, and says so.
fn leave_out(task: &BlockingTask, found: &mut Vec<Found>) -> Result<(), FileError> {
    for link in found.iter_mut().filter(|found| found.meta.kind == FileKind::Link) {
        link.link = link.link_text()?;
    }
    found.retain(|found| {
        task.cx.warn(match found.meta.kind {
            FileKind::Other => BackupNote::NoFile { path: found.path() },
            FileKind::Mount => BackupNote::Mount { path: found.path() },
            FileKind::Folder | FileKind::File | FileKind::Link => return true,
        });
        false
    });
    Ok(())
}

/// Reads the archive back in full. Returns how many files and links are in it, and its SHA-256.
fn verify(task: &BlockingTask, path: &Path, written: u64) -> Result<(u64, String), BackupError> {
    // Links are as they are in the folder, wherever they lead.
    let archive = Archive::open(path, &Limits { links_lead_out: true, ..Limits::default() })?;
    if archive.entries.len() as u64 != written {
        let reason = format!("{} entries were written and {} are in it", written, archive.entries.len());
        return Err(ArchiveError::Damaged { path: path.to_owned(), reason }.into());
    }
    let check = |handle: &mut Handle, entry: &_| {
        task.check()?;
        archive.read(handle, entry, |piece| -> Result<(), BackupError> {
            task.advance(piece.len() as u64);
            Ok(task.check()?)
        })
    };
    let sha256 = std::thread::scope(|scope| {
        let sum = scope.spawn(|| archive.sha256(|| -> Result<(), BackupError> { Ok(task.check()?) }));
        each(&archive.entries, || Ok(archive.handle()?), check)?;
        sum.join().expect("a panic in a reader is a bug")
    })?;
    let files = archive.entries.iter().filter(|entry| entry.kind != FileKind::Folder).count();
    Ok((files as u64, sha256))
}
