//! `db-restore`: brings a database back to what `db-backup` saved, exactly: what was not there then is gone.
//!
//! PostgreSQL: in one transaction, so that a failure or a crash leaves the database as it was before. MySQL knows no such transaction: the
//! database is dropped and made anew, and whoever is interrupted begins again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::db::{Database, DatabaseAim, System};
use super::db_backup::sha256;
use crate::files::PanicError;

/// Empties a database of PostgreSQL: what a dump does not bring along must not stay, and what it does must not be in its way.
const EMPTY: &str = include_str!("db_restore.sql");
/// What the first bytes of a dump are.
const POSTGRES_DUMP: &[u8] = b"PGDMP";
/// How much of the beginning of a dump of MySQL tells its database, in bytes.
const HEAD: u64 = 64 << 10;

/// Brings a PostgreSQL or MySQL database back to what `db-backup` saved; whatever was made since is lost. For the compensation of a
/// migration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbRestore {
    /// The database, as for `db-backup`. Its user must be the one that owns everything in it, or an administrator.
    pub url: String,
    /// The file that `db-backup` wrote.
    pub file: PathBuf,
    /// Its SHA-256, from `db-backup`: another file is refused before anything is touched.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Where `psql` or `mysql` is, with the other tools beside it. By default as the system finds them.
    #[serde(default)]
    pub tool: Option<String>,
}

/// What was brought back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DbRestoreOutput {
    /// The size of the dump in bytes.
    pub bytes: u64,
}

/// Why a dump is not brought back.
#[derive(Debug, Serialize, thiserror::Error)]
enum DumpedError {
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("{} is not the dump that was made: its SHA-256 is {found}, not {wanted}", file.display())]
    NotOurs { file: PathBuf, found: String, wanted: String },
    #[error("no folder can be made beside {}: {source}", file.display())]
    NoScripts {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("{} is no dump of PostgreSQL that `db-backup` made", file.display())]
    NoPostgres { file: PathBuf },
    #[error("{} is no dump of MySQL that `db-backup` made", file.display())]
    NoMySql { file: PathBuf },
    #[error("{} is the dump of another database, which it would replace", file.display())]
    OtherDatabase { file: PathBuf },
}

impl Kind for DbRestore {
    const KIND: &'static str = "db-restore";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(60 * 60));
    type Output = DbRestoreOutput;

    async fn run(&self, cx: &Context) -> Result<DbRestoreOutput, Failure> {
        let database = Database::of(cx, &self.url)?;
        let file = cx.path(&self.file);
        let unreadable = |source| Failure::clean(DumpedError::Unreadable { file: file.clone(), source });
        let read = file.clone();
        let (found, bytes) = tokio::task::spawn_blocking(move || sha256(&read))
            .await
            .map_err(|panic| Failure::clean(PanicError { panic }))?
            .map_err(unreadable)?;
        if let Some(wanted) = self.sha256.as_deref().filter(|wanted| !wanted.is_empty() && !wanted.eq_ignore_ascii_case(&found)) {
            return Err(Failure::clean(DumpedError::NotOurs { wanted: wanted.to_owned(), file, found }));
        }
        refuse_other(&database, &file).map_err(unreadable)??;
        match database.system {
            System::Postgres => self.postgres(cx, &database, &file).await?,
            System::MySql => self.mysql(cx, &database, &file).await?,
        }
        Ok(DbRestoreOutput { bytes })
    }
}

impl DbRestore {
    async fn postgres(&self, cx: &Context, database: &Database, file: &Path) -> Result<(), Failure> {
        let tool = self.tool.as_deref();
        let (read, write) = (database.tool(cx, tool, &["pg_restore"])?, database.tool(cx, tool, &["psql"])?);
        // Gone with this step; only its owner may read it.
        let scripts = tempfile::Builder::new().prefix(".almaplan-restore-").tempdir_in(file.parent().unwrap_or(Path::new("")));
        let scripts = scripts.map_err(|source| Failure::clean(DumpedError::NoScripts { file: file.to_owned(), source }))?;
        let (empty, content) = (scripts.path().join("empty.sql"), scripts.path().join("content.sql"));
        fs::write(&empty, EMPTY).map_err(|source| Failure::clean(DumpedError::NoScripts { file: file.to_owned(), source }))?;
        let args = vec![format!("--file={}", content.display()), file.display().to_string()];
        database.run(cx, DatabaseAim::Read, read, args).await.map_err(|failure| Failure { clean: true, ..failure })?;
        let mut args: Vec<String> =
            ["--no-password", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"].map(str::to_owned).into();
        args.extend([&empty, &content].map(|script| format!("--file={}", script.display())));
        database.run(cx, DatabaseAim::BringBack, write, args).await.map(drop)
    }

    async fn mysql(&self, cx: &Context, database: &Database, file: &Path) -> Result<(), Failure> {
        let write = database.tool(cx, self.tool.as_deref(), &["mysql", "mariadb"])?;
        let args = vec!["--batch".to_owned(), "--max-allowed-packet=1G".to_owned(), format!("--execute=source {}", file.display())];
        database.run(cx, DatabaseAim::BringBack, write, args).await.map(drop)
    }
}

/// Refuses a file that is no dump of this system, or one of another database, which it would replace.
fn refuse_other(database: &Database, file: &Path) -> std::io::Result<Result<(), Failure>> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut head)?;
    let (refused, file) = (|error: DumpedError| Ok(Err(Failure::clean(error))), file.to_owned());
    match database.system {
        System::Postgres if !head.starts_with(POSTGRES_DUMP) => refused(DumpedError::NoPostgres { file }),
        System::MySql => {
            let head = String::from_utf8_lossy(&head);
            let made = head.lines().find(|line| line.starts_with("CREATE DATABASE"));
            match made {
                None => refused(DumpedError::NoMySql { file }),
                Some(line) if !line.contains(&format!("`{}`", database.name.replace('`', "``"))) => {
                    refused(DumpedError::OtherDatabase { file })
                }
                Some(_) => Ok(Ok(())),
            }
        }
        System::Postgres => Ok(Ok(())),
    }
}

#[cfg(all(test, unix))]
mod tests {
    //! Against real servers, where their programs are installed; where they are not, that is said, and nothing is claimed.
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::kinds::db_backup::{DbBackup, DbBackupOutput};

    const PASSWORD: &str = "p@ss/wörd9";
    const ESCAPED: &str = "p%40ss%2Fw%C3%B6rd9";

    /// A server of its own, which ends with it.
    struct Server {
        folder: TempDir,
        child: Child,
        url: String,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn not_tried(what: &str) {
        // Past the capture of what tests print: nobody may believe that it was tried.
        std::io::stderr().write_all(format!("NOT TRIED: {what}, as its server is not installed\n").as_bytes()).unwrap();
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }

    fn wait_for(port: u16, child: &mut Child) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn succeeds(command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Servers refuse to run as root: then they run as a user that is nobody's, in a folder of theirs.
    fn as_nobody(program: &Path, folder: &Path) -> Command {
        if !rustix::process::geteuid().is_root() {
            return Command::new(program);
        }
        succeeds(Command::new("chown").arg("-R").arg("nobody").arg(folder));
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
        command
    }

    /// The folder of the newest PostgreSQL server: Debian does not have it in PATH.
    fn postgres_programs() -> Option<PathBuf> {
        let mut versions: Vec<PathBuf> =
            std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.retain(|bin| bin.join("initdb").is_file());
        versions.sort();
        versions.pop()
    }

    fn postgres() -> Option<Server> {
        let bin = postgres_programs()?;
        let folder = tempfile::Builder::new().prefix("alma pg ").tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let (data, port) = (folder.path().join("data"), free_port());
        let mut init = as_nobody(&bin.join("initdb"), folder.path());
        init.args(["--username=ana", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--pwfile"])
            .arg(folder.path().join("password"));
        succeeds(init.arg("--pgdata").arg(&data));
        let mut server = as_nobody(&bin.join("postgres"), folder.path());
        server.arg("-D").arg(&data).args(["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]);
        let mut child = server.args(["-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(port, &mut child);
        // It listens before it serves.
        let mut ready = Command::new(bin.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        let deadline = Instant::now() + Duration::from_secs(90);
        while !ready.status().unwrap().success() {
            assert!(Instant::now() < deadline, "the server does not get ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Server { folder, child, url: format!("postgresql://ana:{ESCAPED}@127.0.0.1:{port}") })
    }

    fn mysql() -> Option<Server> {
        let daemon = ["/usr/sbin/mariadbd", "/usr/sbin/mysqld"].into_iter().map(Path::new).find(|path| path.is_file())?;
        let install = ["mariadb-install-db", "mysql_install_db"].into_iter().find_map(|name| which::which(name).ok())?;
        let folder = tempfile::Builder::new().prefix("alma-my-").tempdir().unwrap();
        let (data, port) = (folder.path().join("data"), free_port());
        let mut init = as_nobody(&install, folder.path());
        succeeds(
            init.arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"]),
        );
        let script = format!(
            "DELETE FROM mysql.global_priv WHERE User = '';\nFLUSH PRIVILEGES;\nCREATE USER ana@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO ana@'%';\n"
        );
        std::fs::write(folder.path().join("init.sql"), script).unwrap();
        let mut server = as_nobody(daemon, folder.path());
        server
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--init-file={}/init.sql", folder.path().display()));
        server.arg(format!("--socket={}/socket", folder.path().display())).arg(format!("--port={port}")).arg("--bind-address=127.0.0.1");
        let mut child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(port, &mut child);
        Some(Server { folder, child, url: format!("mysql://ana:{ESCAPED}@127.0.0.1:{port}") })
    }

    impl Server {
        fn database(&self, name: &str) -> Database {
            let cx = self.cx();
            Database::of(&cx, &format!("{}/{name}", self.url)).unwrap()
        }

        fn cx(&self) -> Context {
            Context::standalone(self.folder.path(), Arc::new(|_| {}))
        }

        /// What a program of the database prints for `sql`.
        async fn says(&self, name: &str, sql: &str) -> String {
            let database = self.database(name);
            let (program, args) = match database.system {
                System::Postgres => ("psql", vec!["-XAtq", "-c", sql]),
                System::MySql => ("mysql", vec!["-N", "-e", sql, name]),
            };
            let program = database.tool(&self.cx(), None, &[program]).unwrap();
            let args = args.into_iter().map(str::to_owned).collect();
            database.run(&self.cx(), DatabaseAim::Read, program, args).await.unwrap().trim().to_owned()
        }

        async fn backup(&self, name: &str) -> DbBackupOutput {
            let step: DbBackup =
                serde_json::from_value(json!({ "url": format!("{}/{name}", self.url), "file": "saved/before.dump" })).unwrap();
            step.run(&self.cx()).await.unwrap()
        }

        async fn restore(&self, name: &str, more: Value) -> Result<DbRestoreOutput, Failure> {
            let mut with = json!({ "url": format!("{}/{name}", self.url), "file": "saved/before.dump" });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let step: DbRestore = serde_json::from_value(with).unwrap();
            step.run(&self.cx()).await
        }
    }

    #[tokio::test]
    async fn a_database_of_postgresql_comes_back_as_it_was_although_a_migration_changed_everything() {
        let Some(server) = postgres() else { return not_tried("a database of PostgreSQL") };
        server.says("postgres", "CREATE DATABASE shop").await;
        let before = "CREATE SCHEMA old; CREATE TYPE size AS ENUM ('s', 'm'); CREATE TABLE orders (id serial PRIMARY KEY, item text, size size); \
                      INSERT INTO orders (item, size) VALUES ('café', 's'), ('pão', 'm'); CREATE TABLE old.notes (text text); \
                      INSERT INTO old.notes VALUES ('x'); CREATE VIEW items AS SELECT item FROM orders; \
                      CREATE FUNCTION double(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'";
        server.says("shop", before).await;
        let saved = server.backup("shop").await;
        assert!(saved.bytes > 0 && saved.sha256.len() == 64);
        assert_eq!(std::fs::metadata(&saved.file).unwrap().permissions().mode() & 0o777, 0o600, "others could read the database");
        let migration = "ALTER TABLE orders DROP COLUMN size, ADD COLUMN price int; DROP TYPE size; DELETE FROM orders WHERE id = 1; DROP SCHEMA old CASCADE; \
                         CREATE SCHEMA new; CREATE TABLE new.things (id int); CREATE TABLE orders_new (LIKE orders); CREATE TYPE colour AS ENUM ('red'); \
                         CREATE FUNCTION triple(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 3'";
        server.says("shop", migration).await;

        // A dump that is not the one that was made touches nothing, and neither does one that cannot be brought back.
        let failure = server.restore("shop", json!({ "sha256": "00" })).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("is not the dump that was made"), "{failure}");
        let whole = std::fs::read(&saved.file).unwrap();
        std::fs::write(&saved.file, &whole[..whole.len() - 20]).unwrap();
        assert!(server.restore("shop", json!({})).await.unwrap_err().clean);
        std::fs::write(&saved.file, &whole).unwrap();
        assert_eq!(server.says("shop", "SELECT count(*) FROM orders").await, "1");

        for _ in 0..2 {
            let restored = server.restore("shop", json!({ "sha256": saved.sha256 })).await.unwrap();
            assert_eq!(restored.bytes, saved.bytes);
            assert_eq!(server.says("shop", "SELECT string_agg(item || size, ',' ORDER BY id) FROM orders").await, "cafés,pãom");
            assert_eq!(server.says("shop", "SELECT double(2) || (SELECT text FROM old.notes)").await, "4x");
            let left = "SELECT count(*) FROM pg_class WHERE relname IN ('orders_new', 'things')";
            let types = "SELECT count(*) FROM pg_type WHERE typname = 'colour'";
            let functions = "SELECT count(*) FROM pg_proc WHERE proname = 'triple'";
            assert_eq!(
                [server.says("shop", left).await, server.says("shop", types).await, server.says("shop", functions).await],
                ["0", "0", "0"]
            );
        }
        assert_eq!(std::fs::read_dir(server.folder.path().join("saved")).unwrap().count(), 1, "something was left behind");
    }

    #[tokio::test]
    async fn a_database_of_mysql_comes_back_as_it_was_although_a_migration_changed_everything() {
        let Some(server) = mysql() else { return not_tried("a database of MySQL") };
        server.says("mysql", "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin").await;
        let before = "CREATE TABLE orders (id int PRIMARY KEY, item text, raw blob); INSERT INTO orders VALUES (1, 'café', x'00ff'), (2, 'pão', NULL); \
                      CREATE VIEW items AS SELECT item FROM orders; CREATE FUNCTION two() RETURNS int DETERMINISTIC RETURN 2";
        server.says("shop", before).await;
        let saved = server.backup("shop").await;
        let migration = "ALTER TABLE orders DROP COLUMN raw; DELETE FROM orders WHERE id = 1; CREATE TABLE orders_new (id int); DROP FUNCTION two; \
                         ALTER DATABASE shop COLLATE utf8mb4_general_ci";
        server.says("shop", migration).await;
        server.says("mysql", "CREATE DATABASE other").await;
        let failure = server.restore("other", json!({})).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("dump of another database"), "{failure}");
        for _ in 0..2 {
            server.restore("shop", json!({ "sha256": saved.sha256 })).await.unwrap();
            let rows = server.says("shop", "SELECT CONCAT(item, IFNULL(HEX(raw), '-'), two()) FROM orders ORDER BY id").await;
            assert!(rows.contains("café00FF2") && rows.contains("pão-2"), "{rows}");
            assert!(!server.says("shop", "SHOW TABLES").await.contains("orders_new"));
            assert!(server.says("shop", "SELECT @@collation_database").await.contains("utf8mb4_bin"));
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_told_in_its_words_without_the_password() {
        let Some(mut server) = postgres() else { return not_tried("a refusal of PostgreSQL") };
        server.url = server.url.replace(ESCAPED, "wrong-pass-1");
        let step: DbBackup = serde_json::from_value(json!({ "url": format!("{}/postgres", server.url), "file": "saved/x.dump" })).unwrap();
        let failure = step.run(&server.cx()).await.unwrap_err();
        assert!(failure.message.contains("password authentication failed") && !failure.message.contains("wrong-pass"), "{failure}");
        assert_eq!(std::fs::read_dir(server.folder.path().join("saved")).unwrap().count(), 0, "half a dump was left");
    }
}
