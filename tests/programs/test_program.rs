//! What plans of tests run: does small things, one after the other, the same on every system.
//!
//! `test_program append FILE LINE say TEXT until FILE WHILE exit CODE …`: see [`act`].

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut words = args.iter().map(String::as_str);
    while let Some(verb) = words.next() {
        let mut word = || words.next().unwrap_or_default();
        if verb == "exit" {
            return ExitCode::from(word().parse().unwrap_or(u8::MAX));
        }
        if let Err(error) = act(verb, &mut word) {
            eprintln!("test_program: {verb}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn act<'a>(verb: &str, word: &mut impl FnMut() -> &'a str) -> Done {
    match verb {
        "append" => append(word(), word()),
        "pid" => append(word(), &std::process::id().to_string()),
        "remove" => remove(Path::new(word())),
        "say" => say(word()),
        "env" => env(word()),
        "missing" => missing(word()),
        "until" => {
            until(word(), word());
            Ok(())
        }
        _ => Err("there is no such thing to do".into()),
    }
}

fn append(file: &str, line: &str) -> Done {
    // In one piece: who waits for it counts lines.
    Ok(OpenOptions::new().append(true).create(true).open(file)?.write_all(format!("{line}\n").as_bytes())?)
}

fn remove(file: &Path) -> Done {
    if file.exists() { Ok(fs::remove_file(file)?) } else { Ok(()) }
}

fn say(text: &str) -> Done {
    Ok(std::io::stdout().write_all(format!("{text}\n").as_bytes())?)
}

fn env(name: &str) -> Done {
    say(&format!("{name}={}", std::env::var(name)?))
}

/// Fails where there is such a file.
fn missing(file: &str) -> Done {
    if Path::new(file).exists() { Err(format!("{file} is there").into()) } else { Ok(()) }
}

/// Waits until there is a `file`, or none that is there as long as anybody may want to go on.
fn until(file: &str, while_there: &str) {
    while !Path::new(file).exists() && Path::new(while_there).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
