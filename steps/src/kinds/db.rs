//! What `db-backup` and `db-restore` share: which database an address means, and how its own tools are run.
//!
//! A password is in the environment of a tool and nowhere else: what stands in an argument list can be read by every user of the machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use almaplan_engine::context::Context;
use almaplan_engine::event::Failure;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::Serialize;

use crate::process::{self, Ending, Finished, Launch, ResolveError, RunOptions};

/// What a tool that is stopped gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How much of what it prints is kept.
const PRINTED: usize = 64 << 10;

/// The systems whose tools are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Postgres,
    MySql,
}

/// A database, as its address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) system: System,
    pub(super) name: String,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    /// `sslmode=require` and the like, by the name that the system's tools know.
    options: Vec<(String, String)>,
}

/// Why an address means no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub(super) enum AddressError {
    #[error("`url` is no address of a database; write postgresql://user:password@host:port/database, or mysql://…")]
    NotOne,
    #[error("`url` names no database; write its name after the host, like …/database")]
    NoName,
}

/// What a tool of a database is run for.
#[derive(Debug, Clone, Copy, Serialize, thiserror::Error)]
pub(super) enum DatabaseAim {
    #[error("dump the database")]
    Dump,
    #[error("read the dump back")]
    ReadBack,
    #[error("read the dump")]
    Read,
    #[error("bring the database back")]
    BringBack,
}

/// Why a tool of a database did not do what it should.
#[derive(Debug, Serialize, thiserror::Error)]
enum DatabaseError {
    #[error("{missing}; install the client programs of the database, or say where they are with `tool`")]
    NoTool { missing: ResolveError },
    #[error("could not {aim}: `{tool}` {how}: {said}")]
    FailedSaying { aim: DatabaseAim, tool: String, how: Ending, said: String },
    #[error("could not {aim}: `{tool}` {how}")]
    Failed { aim: DatabaseAim, tool: String, how: Ending },
}

impl Database {
    /// The database of `url`, whose address and password are masked from now on.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn of(cx: &Context, url: &str) -> Result<Self, Failure> {
        cx.mask([url]);
        let database = Self::parse(url).map_err(Failure::clean)?;
        // Shorter ones are in every other text; the tools do not print them.
        cx.mask(database.password.iter().map(String::as_str).filter(|password| password.chars().count() >= 4));
        Ok(database)
    }

    fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(AddressError::NotOne)?;
        // As SQLAlchemy writes it: with the driver behind a plus sign.
        let system = match scheme.split('+').next().unwrap_or_default() {
            "postgres" | "postgresql" => System::Postgres,
            "mysql" | "mariadb" => System::MySql,
            _ => return Err(AddressError::NotOne),
        };
        let url = Url::parse(&format!("db://{rest}")).map_err(|_| AddressError::NotOne)?;
        let text = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let given = |part: &str| Some(text(part)).filter(|part| !part.is_empty());
        let name = given(url.path().trim_start_matches('/')).ok_or(AddressError::NoName)?;
        let mut options: Vec<(String, String)> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let host = url.host_str().map(|host| text(host.trim_matches(['[', ']']))).filter(|host| !host.is_empty());
        let host = host.or_else(|| options.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone()));
        options.retain(|(name, _)| name != "host");
        Ok(Self { system, name, host, port: url.port(), user: given(url.username()), password: url.password().map(text), options })
    }

    /// The program called `name`, or the first of `others`: beside `tool` where that is given, else as the system finds it.
    pub(super) fn tool(&self, cx: &Context, tool: Option<&str>, names: &[&str]) -> Result<PathBuf, Failure> {
        let folder = &cx.run().plan_dir;
        let mut first = None;
        for name in names {
            let wanted = match tool.filter(|tool| !tool.is_empty()) {
                // The tools of one version are in one folder; a tool that is itself named is that one.
                Some(tool) => match Path::new(tool).file_stem().is_some_and(|stem| stem == *name) {
                    true => tool.to_owned(),
                    false => {
                        Path::new(tool).with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX)).to_string_lossy().into_owned()
                    }
                },
                None => (*name).to_owned(),
            };
            match process::resolve(&wanted, folder, folder, &[]) {
                Ok(program) => return Ok(program),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        let missing = first.expect("there is a name to look for");
        Err(Failure::clean(DatabaseError::NoTool { missing }))
    }

    /// How a tool is told which server and which user are meant, but for the password.
    fn arguments(&self) -> Vec<String> {
        match self.system {
            // All of it is in the environment.
            System::Postgres => Vec::new(),
            System::MySql => {
                // Its own files would have the last word about the password.
                let mut args = vec!["--no-defaults".to_owned(), "--default-character-set=utf8mb4".to_owned()];
                let port = self.port.map(|port| port.to_string());
                let socket =
                    self.options.iter().find(|(name, _)| name == "unix_socket" || name == "socket").map(|(_, value)| value.clone());
                // By its name `localhost` means a socket.
                let protocol = socket.is_none().then(|| "tcp".to_owned());
                let given =
                    [("host", self.host.clone()), ("port", port), ("user", self.user.clone()), ("socket", socket), ("protocol", protocol)];
                args.extend(given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))));
                args
            }
        }
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        let port = self.port.map(|port| port.to_string());
        let mut env = match self.system {
            System::Postgres => vec![
                ("PGHOST", self.host.clone()),
                ("PGPORT", port),
                ("PGUSER", self.user.clone()),
                ("PGPASSWORD", self.password.clone()),
                ("PGDATABASE", Some(self.name.clone())),
                // What is said elsewhere of other servers.
                ("PGSERVICE", None),
                ("PGOPTIONS", None),
            ],
            System::MySql => vec![("MYSQL_PWD", self.password.clone()), ("MYSQL_HOST", None), ("MYSQL_TCP_PORT", None)],
        };
        let options = [("sslmode", "PGSSLMODE"), ("sslrootcert", "PGSSLROOTCERT"), ("connect_timeout", "PGCONNECT_TIMEOUT")];
        let known = |(name, value): &(String, String)| {
            let (_, variable) = options.iter().find(|(option, _)| option == name)?;
            Some((*variable, Some(value.clone())))
        };
        env.extend(self.options.iter().filter_map(known));
        // Where the address says nothing, the environment of almaplan does, as it does for the tools.
        let said = |(name, value): &(&str, Option<String>)| {
            value.is_some() || !matches!(*name, "PGHOST" | "PGPORT" | "PGUSER" | "PGPASSWORD" | "MYSQL_PWD")
        };
        env.into_iter().filter(said).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Runs one of its tools: what it prints. Where that fails, it is said in the tool's own words.
    pub(super) async fn run(&self, cx: &Context, aim: DatabaseAim, program: PathBuf, args: Vec<String>) -> Result<String, Failure> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let launch = Launch {
            program,
            args: [self.arguments(), args].concat(),
            verbatim: false,
            cwd: cx.run().plan_dir.clone(),
            env: self.environment(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
            outlives_us: false,
            origin: None,
        };
        let options = RunOptions { name: &name, grace: GRACE, shown: false, keep: PRINTED };
        let Finished { ending, stdout, stderr, last } = process::run(cx, launch, options).await?;
        if ending == Ending::WELL {
            return Ok(stdout);
        }
        let said = stderr.lines().map(str::trim).find(|line| line.to_lowercase().contains("error") || line.contains("FATAL"));
        let said = said.or_else(|| stderr.lines().rfind(|line| !line.trim().is_empty()));
        let (tool, how) = (name.clone(), ending);
        let error = match said {
            Some(said) => DatabaseError::FailedSaying { aim, tool, how, said: said.to_owned() },
            None => DatabaseError::Failed { aim, tool, how },
        };
        Err(Failure::dirty(error).with_tail(last))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_read_with_what_is_escaped_in_it() {
        let database = Database::parse("postgresql+psycopg2://ana:p%40ss%2Fw@db.example:5433/shop%20one?sslmode=require").unwrap();
        assert_eq!((database.system, database.name.as_str(), database.port), (System::Postgres, "shop one", Some(5433)));
        let env = database.environment();
        let value = |name: &str| env.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.clone());
        assert_eq!(value("PGPASSWORD").as_deref(), Some("p@ss/w"));
        assert_eq!((value("PGUSER"), value("PGSSLMODE")), (Some("ana".to_owned()), Some("require".to_owned())));
        assert!(database.arguments().is_empty());
        let socket = Database::parse("postgres:///shop?host=/run/postgresql").unwrap();
        assert_eq!(socket.host.as_deref(), Some("/run/postgresql"));
        let database = Database::parse("mysql+pymysql://ana:secret9@localhost/shop").unwrap();
        assert!(!database.arguments().concat().contains("secret9"), "{:?}", database.arguments());
        assert!(database.arguments().contains(&"--protocol=tcp".to_owned()));
        assert_eq!(Database::parse("sqlite:///x.db"), Err(AddressError::NotOne));
        assert_eq!(Database::parse("mysql://h/"), Err(AddressError::NoName));
        assert_eq!(Database::parse("shop"), Err(AddressError::NotOne));
    }
}
