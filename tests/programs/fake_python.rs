//! A fake of Python and of the sample application, for tests on systems that have neither.
//!
//! As an interpreter it does what `plans/production.toml` asks of one: it tells its version, makes environments, "installs", and
//! runs `serve.py`, which here is a service of its own. On Windows the interpreter of an environment starts another one and waits
//! for it, as the real one does.
//!
//! The service answers HTTP and obeys Ctrl+C. A file `faults.txt` beside `serve.py` says what is wrong with it, a word each:
//! `no-start`, `login-500`, `traceback`, `slow-stop`, `ignore-stop`, `child`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

type Answer = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> Answer {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if cfg!(windows)
        && let Some(base) = base()
    {
        return launch(&base, &args);
    }
    match words.as_slice() {
        ["--version"] => print("Python 3.14.0"),
        ["-I", "-c", _] => tell(),
        // What is in its environments is always what was asked for.
        ["-I", "-c", _, _] => print(r#"{"problems": [], "installed": {}}"#),
        ["-c", _, file] => print(fs::read_to_string(file).as_deref().unwrap_or("?").trim()),
        ["-m", "venv", folder] => make_environment(Path::new(folder)),
        ["-m", "pip" | "compileall", ..] => Ok(ExitCode::SUCCESS),
        ["sleep"] => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        [script, rest @ ..] if script.ends_with("serve.py") => serve(Path::new(script), rest),
        _ => Err(format!("nothing to do for {words:?}").into()),
    }
}

fn print(text: &str) -> Answer {
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The interpreter that the environment was made from which this one is of.
fn base() -> Option<PathBuf> {
    let settings = fs::read_to_string(std::env::current_exe().ok()?.parent()?.parent()?.join("pyvenv.cfg")).ok()?;
    settings.lines().find_map(|line| line.strip_prefix("base = ")).map(PathBuf::from)
}

/// Leaves Ctrl+C to whom it is for.
fn launch(base: &Path, args: &[String]) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let _heard = tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
        tokio::task::yield_now().await;
        let code = tokio::process::Command::new(base).args(args).status().await?.code().unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    })
}

fn tell() -> Answer {
    let me = std::env::current_exe()?;
    let told = serde_json::json!({ "version": "3.14.0", "executable": me, "base": me.parent(), "platform": "fake", "abi": "fake" });
    print(&told.to_string())
}

fn make_environment(folder: &Path) -> Answer {
    let (bin, name) = if cfg!(windows) { ("Scripts", "python.exe") } else { ("bin", "python") };
    let me = std::env::current_exe()?;
    fs::create_dir_all(folder.join(bin))?;
    fs::copy(&me, folder.join(bin).join(name))?;
    fs::write(folder.join("pyvenv.cfg"), format!("base = {}\n", me.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with this version, and its files.
struct Application {
    version: String,
    faults: String,
    /// Open as long as it runs.
    log: File,
}

fn serve(script: &Path, options: &[&str]) -> Answer {
    let folder = script.parent().ok_or("a script in a folder")?;
    let faults = fs::read_to_string(folder.join("faults.txt")).unwrap_or_default();
    if faults.contains("no-start") {
        return Err("Traceback: no such table".into());
    }
    if faults.contains("child") {
        Command::new(std::env::current_exe()?).arg("sleep").stdin(Stdio::null()).spawn()?;
    }
    let port: u16 = options.iter().find_map(|option| option.strip_prefix("--port=")).ok_or("a port")?.parse()?;
    let version = fs::read_to_string(folder.join("VERSION"))?.trim().to_owned();
    let log = OpenOptions::new().append(true).create(true).open(folder.join("app.log"))?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("version {version} listens");
    let obeys = faults.clone();
    std::thread::spawn(move || answer_all(&listener, &mut Application { version, faults, log }));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        tokio::signal::ctrl_c().await?;
        if obeys.contains("slow-stop") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        while obeys.contains("ignore-stop") {
            tokio::signal::ctrl_c().await?;
        }
        print("ended in order")
    })
}

fn answer_all(listener: &TcpListener, application: &mut Application) {
    for stream in listener.incoming().flatten() {
        // Whoever goes away before the answer wanted none.
        let _ = answer(stream, application);
    }
}

fn answer(mut stream: TcpStream, application: &mut Application) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..count]);
    }
    let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
    writeln!(application.log, "{path}")?;
    if application.faults.contains("traceback") {
        writeln!(application.log, "Traceback (most recent call last):")?;
    }
    let (status, body) = match path.as_str() {
        "/login" if application.faults.contains("login-500") => ("500 Internal Server Error", "broken".to_owned()),
        "/" | "/login" => ("200 OK", "ready".to_owned()),
        "/api/status" => ("200 OK", serde_json::json!({ "version": application.version, "pid": std::process::id() }).to_string()),
        _ => ("404 Not Found", String::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
