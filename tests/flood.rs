//! More output, larger logs and longer answers than anyone reads fill neither the memory nor the disk.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use crate::support::{self, Running, Said, Server, sample, wait_until};

/// What almaplan may need at most, in kB.
const MOST_MEMORY: u64 = 100_000;

/// Applies `steps`; what was said, and the most memory that it ever needed, in kB.
fn apply(server: &Server, steps: &str) -> (Said, u64) {
    fs::write(server.path("flood.toml"), format!("format = 1\n[plan]\nname = \"flood\"\n{steps}")).unwrap();
    // To files: nobody reads while it is watched.
    let file = |name: &str| fs::File::create(server.path(name)).unwrap();
    let mut command = server.almaplan(&["apply", "flood.toml", "--progress", "json"]);
    let mut almaplan = Running::spawn(command.stdout(file("stdout")).stderr(file("stderr")));
    let mut most = 0;
    wait_until("almaplan ends", || {
        // It only ever grows, so that looking now and then is enough.
        let status = fs::read_to_string(format!("/proc/{}/status", almaplan.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        most = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(most);
        almaplan.is_over()
    });
    let text = |name: &str| fs::read_to_string(server.path(name)).unwrap();
    let said = Said { code: almaplan.code(), stdout: text("stdout"), stderr: text("stderr") };
    (said, most)
}

#[test]
fn a_gigabyte_on_each_stream_is_read_and_neither_kept_in_memory_nor_on_disk() {
    // More than 5 s: so much is read by a binary that is not optimised.
    let server = Server::with_environments(PathBuf::new());
    // By default a part of it, which is still more than may be kept.
    let bytes = sample::share(8, 1_000_000_000);
    let flood =
        format!(r"yes $(printf '\377\376 no text at all %0100d') | head -c {bytes} >&2 & head -c {bytes} /dev/zero; wait; echo; echo over");
    let (said, most) = apply(
        &server,
        &format!(
            "[steps.flood]\nuses = \"command\"\ncompensate = \"none\"\ntimeout = \"10m\"\nwith = {{ program = \"sh\", args = [\"-c\", '''{flood}'''] }}\n"
        ),
    );
    let said = said.expect(0);
    assert!(most > 0 && most < MOST_MEMORY, "{most} kB");
    let step = said.events().into_iter().find(|event| event["event"] == "step" && event["state"] == "succeeded").unwrap();
    assert_eq!(step["outputs"]["stdout"], "over\n", "the end of what was printed is kept, from a whole line on");
    assert!(said.stdout.contains("only the end is kept"));
    let state: u64 = support::tree(&server.path(".almaplan"), &|_| false)
        .keys()
        .map(|file| fs::metadata(server.path(".almaplan").join(file)).unwrap().len())
        .sum();
    assert!(state < 64 << 20, "{state} bytes in the state folder");
    eprintln!("2 * {bytes} bytes printed: {most} kB of memory, {state} bytes of state, {:.1} s", step["seconds"].as_f64().unwrap());
}

#[test]
fn a_log_without_line_ends_and_one_that_is_nothing_but_errors_are_read_in_pieces() {
    // More than 5 s: so much is read by a binary that is not optimised.
    let server = Server::with_environments(PathBuf::new());
    fs::File::create(server.path("endless.log")).unwrap().set_len(256 << 20).unwrap();
    fs::write(server.path("errors.log"), "ERROR no disk\n".repeat(100_000)).unwrap();
    let traceback =
        "Traceback (most recent call last):\n".to_owned() + &"  at the same workspace\n".repeat(500_000) + "RecursionError: too deep\n";
    fs::write(server.path("traceback.log"), traceback).unwrap();
    let check = |name: &str| {
        format!(
            "[steps.{name}]\nuses = \"log-check\"\ntimeout = \"10m\"\non_failure = \"continue\"\nwith = {{ files = [\"{name}.log\"], settle = \"0s\", patterns = [\"ERROR\", \"Traceback\"] }}\n"
        )
    };
    let (said, most) = apply(&server, &["endless", "errors", "traceback"].map(check).concat());
    let said = said.expect(0);
    assert_eq!(said.states("endless").last().unwrap(), "succeeded");
    let error = |step: &str| {
        let failed = said.events().into_iter().find(|event| event["step"] == step && event["state"] == "failed").unwrap();
        failed["error"].as_str().unwrap().to_owned()
    };
    assert!(error("errors").contains("100000 of 100000 new lines") && error("errors").contains("(and 99980 more)"), "{}", error("errors"));
    assert!(error("traceback").contains("RecursionError: too deep"), "{}", error("traceback"));
    assert!(most > 0 && most < MOST_MEMORY, "{most} kB");
    eprintln!("logs: {most} kB of memory");
}

/// A service of which each answer, after the request's first line, is what `answer` writes until nobody reads any more.
fn endless(answer: fn(&mut TcpStream, &str) -> std::io::Result<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                // It ends when nobody reads it any more.
                let _ = answer(&mut { stream }, &line);
            });
        }
    });
    port
}

#[test]
fn answers_without_end_are_cut_or_refused() {
    let port = endless(|stream, request| {
        let chunk = vec![b'x'; 64 << 10];
        if request.contains("/body") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&chunk)?;
            }
        } else if request.contains("/gigabyte") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
            (0..1_000_000_000 / chunk.len()).try_for_each(|_| stream.write_all(&chunk))
        } else if request.contains("/line") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            loop {
                stream.write_all(&chunk)?;
            }
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"X-More: of the same\r\n")?;
            }
        }
    });
    let server = Server::with_environments(PathBuf::new());
    let check = |name: &str| {
        format!(
            "[steps.{name}]\nuses = \"http-check\"\non_failure = \"continue\"\nwith = {{ base = \"http://127.0.0.1:{port}\", checks = [{{ path = \"/{name}\" }}], deadline = \"10s\", answer_within = \"60s\" }}\n"
        )
    };
    let (said, most) = apply(&server, &["body", "gigabyte", "line", "headers"].map(check).concat());
    let said = said.expect(0);
    let ends = ["body", "gigabyte", "line", "headers"].map(|step| said.states(step).pop().unwrap());
    assert_eq!(ends, ["succeeded", "succeeded", "failed", "failed"]);
    assert!(most > 0 && most < MOST_MEMORY, "{most} kB");
    eprintln!("answers: {most} kB of memory");
}
