//! `db-backup`: a dump of a PostgreSQL or MySQL database by its own tools, while it is in use, verified before it counts.
//!
//! It is written beside its place, synced, read back by the system's own reader, and only then renamed. Only its owner may read it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use data_encoding::HEXLOWER;
use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::db::{Database, DatabaseAim, System};
use crate::files::{PanicError, sync_folder};

/// What the last line of a dump of MySQL begins with; without it the dump was cut off.
const MYSQL_END: &str = "-- Dump completed";
/// How much of the end of a dump has that line, in bytes.
const TAIL: u64 = 4096;

/// Saves a PostgreSQL or MySQL database to a file with its own tools, and verifies what they wrote; the database stays in use.
///
/// PostgreSQL: `pg_dump` in its custom format, read back by `pg_restore`. MySQL and MariaDB: `mysqldump` in one transaction, which is
/// consistent for InnoDB tables. `db-restore` brings it back, for example as the compensation of a migration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbBackup {
    /// The database: `postgresql://user:password@host:port/database` or `mysql://…`. Take it from `[secrets]`.
    pub url: String,
    /// The file to write. One that is there is replaced once the new one is complete.
    pub file: PathBuf,
    /// Where `pg_dump` or `mysqldump` is, with the other tools beside it. By default as the system finds them.
    #[serde(default)]
    pub tool: Option<String>,
}

/// The dump.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DbBackupOutput {
    /// The file, absolute.
    pub file: String,
    /// Its SHA-256, for `db-restore`.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why there is no dump.
#[derive(Debug, Serialize, thiserror::Error)]
enum DumpError {
    #[error("{} cannot be written: {source}", file.display())]
    Unwritable {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("the dump is cut off: its last line is not `{MYSQL_END} …`")]
    CutOff,
}

impl Kind for DbBackup {
    const KIND: &'static str = "db-backup";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(60 * 60));
    type Output = DbBackupOutput;

    async fn run(&self, cx: &Context) -> Result<DbBackupOutput, Failure> {
        let database = Database::of(cx, &self.url)?;
        let file = cx.path(&self.file);
        let partial = begin(&file).map_err(|source| Failure::clean(DumpError::Unwritable { file: file.clone(), source }))?;
        let dumped = self.dump(cx, &database, &partial).await;
        let kept = match dumped {
            Ok(()) => {
                let (partial, file) = (partial.clone(), file.clone());
                let kept = tokio::task::spawn_blocking(move || keep(&partial, &file))
                    .await
                    .map_err(|panic| Failure::dirty(PanicError { panic }))?;
                kept.map_err(|source| Failure::dirty(DumpError::Unwritable { file: self.file.clone(), source }))
            }
            Err(failure) => Err(failure),
        };
        if kept.is_err() {
            // Half a dump is of no use, and the database's content.
            let _ = fs::remove_file(&partial);
        }
        let (sha256, bytes) = kept?;
        Ok(DbBackupOutput { file: file.display().to_string(), sha256, bytes })
    }
}

impl DbBackup {
    async fn dump(&self, cx: &Context, database: &Database, to: &Path) -> Result<(), Failure> {
        let path = to.to_string_lossy();
        let tool = self.tool.as_deref();
        match database.system {
            System::Postgres => {
                let args = vec!["--no-password".to_owned(), "--format=custom".to_owned(), format!("--file={path}")];
                let (dump, read) = (database.tool(cx, tool, &["pg_dump"])?, database.tool(cx, tool, &["pg_restore"])?);
                database.run(cx, DatabaseAim::Dump, dump, args).await?;
                // Everything in it is unpacked and thrown away.
                let nowhere = if cfg!(windows) { "NUL" } else { "/dev/null" };
                database.run(cx, DatabaseAim::ReadBack, read, vec![format!("--file={nowhere}"), path.into_owned()]).await.map(drop)
            }
            System::MySql => {
                let options = ["--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--no-tablespaces"];
                let target = ["--add-drop-database", "--databases", &database.name];
                let args = options.iter().map(|option| (*option).to_owned()).chain([format!("--result-file={path}")]);
                let args = args.chain(target.map(str::to_owned)).collect();
                let dump = database.tool(cx, tool, &["mysqldump", "mariadb-dump"])?;
                database.run(cx, DatabaseAim::Dump, dump, args).await?;
                let end = end_of(to).map_err(|source| Failure::dirty(DumpError::Unreadable { file: to.to_owned(), source }))?;
                match end.lines().rfind(|line| !line.is_empty()).is_some_and(|line| line.starts_with(MYSQL_END)) {
                    true => Ok(()),
                    false => Err(Failure::dirty(DumpError::CutOff)),
                }
            }
        }
    }
}

/// An empty file beside `file` that nobody else may read.
fn begin(file: &Path) -> std::io::Result<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)?;
    let name = format!("{}.partial", file.file_name().unwrap_or_default().to_string_lossy());
    let partial = folder.join(&name);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let made = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempfile_in(folder)?;
    made.keep().map_err(|error| error.error)?;
    Ok(partial)
}

fn end_of(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives a dump its name once it is on the disk; its hash and size.
fn keep(partial: &Path, file: &Path) -> std::io::Result<(String, u64)> {
    let told = sha256(partial)?;
    File::options().write(true).open(partial)?.sync_all()?;
    fs::rename(partial, file)?;
    file.parent().map_or(Ok(()), sync_folder)?;
    Ok(told)
}

/// The SHA-256 of a file, and its size in bytes.
pub(super) fn sha256(path: &Path) -> std::io::Result<(String, u64)> {
    let (mut file, mut bytes) = (File::open(path)?, 0);
    let mut hasher = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((HEXLOWER.encode(hasher.finish().as_ref()), bytes)),
            length => {
                hasher.update(&chunk[..length]);
                bytes += length as u64;
            }
        }
    }
}
