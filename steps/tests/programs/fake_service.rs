//! Plays the programs that tests of processes start, the same on every system: services, their launchers, what they leave behind.
//!
//! `fake_service say TEXT start 3 pid FILE sleep wait exit CODE …` does one thing after the other: see [`act`]. `fake_service serve PORT [MODE]`
//! is a service: see [`serve`].

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // Tests start it as a helper too.
    if let Some(done) = almaplan_steps::process::helper_process(&std::env::args_os().skip(1).collect::<Vec<_>>()) {
        return done;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut words = args.iter().map(String::as_str);
    let mut children = Vec::new();
    while let Some(verb) = words.next() {
        if verb == "exit" {
            return code(words.next());
        }
        if let Err(error) = act(verb, &mut words, &mut children) {
            eprintln!("fake_service: {verb}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn code(word: Option<&str>) -> ExitCode {
    ExitCode::from(word.and_then(|word| word.parse().ok()).unwrap_or(u8::MAX))
}

fn act<'a>(verb: &str, words: &mut impl Iterator<Item = &'a str>, children: &mut Vec<Child>) -> Done {
    match verb {
        "serve" => return serve(number(words)?, words.next().unwrap_or_default()),
        // What follows, so many words, is done by a child.
        "start" => children.push(command(words)?.spawn()?),
        // The same by one that knows nothing of where it came from.
        "start-forgetful" => children.push(command(words)?.env_clear().spawn()?),
        // The same by one that left the session and the console of its parent.
        "start-runaway" => children.push(away(&mut command(words)?).spawn()?),
        "leave" => leave()?,
        "wait" => {
            for child in &mut *children {
                child.wait()?;
            }
        }
        "pid" => write_pid(Path::new(words.next().ok_or("a file")?))?,
        "until" => until(words.next().ok_or("a file")?),
        "holds" => holds(words.next().ok_or("a file")?, words.next().ok_or("a text")?)?,
        "say" => println!("{}", words.next().unwrap_or_default()),
        "complain" => eprintln!("{}", words.next().unwrap_or_default()),
        "count" => (1..=number::<u32>(words)?).for_each(|number| println!("{number}")),
        "stubborn" => ignore_requests()?,
        "read" => drop(std::io::stdin().read_to_end(&mut Vec::new())?),
        "work" => work(number(words)?),
        "sleep" => std::thread::sleep(Duration::from_secs(60)),
        // Of what follows, so many words.
        "tell" => tell(&so_many(words)?)?,
        _ => return Err("there is no such thing to do".into()),
    }
    Ok(())
}

fn number<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Result<T, &'static str> {
    words.next().and_then(|word| word.parse().ok()).ok_or("a number")
}

fn command<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Command, Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(so_many(words)?);
    Ok(command)
}

fn so_many<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>, &'static str> {
    let count = number(words)?;
    Ok(words.take(count).collect())
}

#[cfg(windows)]
fn away(command: &mut Command) -> &mut Command {
    use std::os::windows::process::CommandExt;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    command.creation_flags(CREATE_NO_WINDOW)
}

/// On unix it leaves by itself, see [`leave`].
#[cfg(unix)]
fn away(command: &mut Command) -> &mut Command {
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    *command = Command::new(command.get_program());
    command.arg("leave").args(words)
}

fn leave() -> Done {
    #[cfg(unix)]
    rustix::process::setsid()?;
    Ok(())
}

fn write_pid(file: &Path) -> Done {
    Ok(fs::write(file, format!("{}\n", std::process::id()))?)
}

fn until(file: &str) {
    while !fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn holds(file: &str, text: &str) -> Done {
    let found = fs::read_to_string(file)?;
    if found == text { Ok(()) } else { Err(format!("{file} holds {found:?}").into()) }
}

/// These words, the name of its folder, three variables and its input.
fn tell(args: &[&str]) -> Done {
    let folder = std::env::current_dir()?;
    let variables = ["A", "HOME", "x.y"].map(|name| std::env::var(name).ok());
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    println!("{args:?} {:?} {variables:?} {input:?}", folder.file_name().unwrap_or_default());
    Ok(())
}

/// Needs a processor and so many MiB, until its input ends.
fn work(mebibytes: usize) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut memory = vec![1_u8; mebibytes << 20];
    loop {
        memory.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        std::hint::black_box(&memory);
    }
}

/// Returns once no gentle request ends this process any more.
fn ignore_requests() -> Done {
    let (ready, heard) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut requests = Requests::listen()?;
            let _ = ready.send(());
            loop {
                requests.next().await;
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        })
    });
    Ok(heard.blocking_recv()?)
}

/// What asks a process to end gently, as `stop-service` does it unless told otherwise.
struct Requests(#[cfg(unix)] tokio::signal::unix::Signal, #[cfg(windows)] tokio::signal::windows::CtrlC);

impl Requests {
    fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        let requests = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        #[cfg(windows)]
        let requests = tokio::signal::windows::ctrl_c();
        requests.map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// A service on `port` that answers with its pid and ends in order on Ctrl+C, unless its `mode` is another:
///
/// `parent`: its child listens, as with a reloader. `daemon`: the same, and it ends well. `stubborn`: it and its child do not end
/// when asked. `broken`: it ends at once. `idle`: it never listens. `phoenix`: once it is asked to end, a successor begins that
/// belongs to nobody.
fn serve(port: u16, mode: &str) -> Done {
    println!("starting {mode}");
    let mut service = Command::new(std::env::current_exe()?);
    service.args(["serve", &port.to_string()]);
    match mode {
        "parent" => std::process::exit(service.arg("worker").status()?.code().unwrap_or(1)),
        "daemon" => {
            service.spawn()?;
            return Ok(());
        }
        "stubborn" => {
            ignore_requests()?;
            Command::new(std::env::current_exe()?).args(["stubborn", "sleep"]).spawn()?;
        }
        "broken" => {
            eprintln!("Traceback: no such table");
            std::process::exit(4);
        }
        "idle" => std::thread::sleep(Duration::from_secs(60)),
        _ => {}
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut requests = if mode == "phoenix" { Some(Requests::listen()?) } else { None };
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let asked = async {
            match (&mut requests, mode) {
                (Some(requests), _) => requests.next().await,
                (None, "stubborn") => std::future::pending().await,
                (None, _) => drop(tokio::signal::ctrl_c().await),
            }
        };
        tokio::select! {
            () = asked => {}
            _ = answer_all(&listener) => {}
        }
        if mode != "phoenix" {
            println!("ended in order");
            return Ok(());
        }
        drop(listener);
        begin_again(port)
    })
}

/// Ends only when a successor listens that belongs to nobody.
fn begin_again(port: u16) -> Done {
    let successor = ["start-runaway", "3", "serve", &port.to_string(), "phoenix"];
    Command::new(std::env::current_exe()?).args(successor).stdin(Stdio::null()).status()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

async fn answer_all(listener: &tokio::net::TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let stream = stream.into_std()?;
        // Whoever goes away before the answer wanted none.
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
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
    let status = match String::from_utf8_lossy(&request).split(' ').nth(1) {
        Some("/broken") => "503 Service Unavailable",
        Some("/missing") => "404 Not Found",
        _ => "200 OK",
    };
    let body = std::process::id().to_string();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
