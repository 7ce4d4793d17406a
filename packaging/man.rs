//! Writes the manual pages: `cargo run --example man -- FOLDER`.
//!
//! One page of almaplan and one of each command, made of the command line itself, in every language: `FOLDER/man1/`, and
//! `FOLDER/pt_BR/man1/` and its like, as `man` looks for them.

#![allow(clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use almaplan::cli;
use almaplan::lang::{Lang, Language};
use clap::Command;
use clap_mangen::Man;

/// The headings that clap_mangen writes, in Portuguese.
const HEADINGS: [(&str, &str); 6] = [
    ("NAME", "NOME"),
    ("SYNOPSIS", "SINOPSE"),
    ("DESCRIPTION", "DESCRIÇÃO"),
    ("OPTIONS", "OPÇÕES"),
    ("SUBCOMMANDS", "COMANDOS"),
    ("VERSION", "VERSÃO"),
];

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: man FOLDER");
        return ExitCode::from(2);
    };
    match Language::ALL.into_iter().try_for_each(|language| write_all(&folder, language)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("man: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path, language: Language) -> std::io::Result<()> {
    let lang = Lang::new(language);
    let folder = if language == Language::En { folder.join("man1") } else { folder.join(language.tag().replace('-', "_")).join("man1") };
    fs::create_dir_all(&folder)?;
    let mut command = cli::command(&lang);
    command.build();
    write_page(&folder, &command, "almaplan", language)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_page(&folder, sub, &format!("almaplan-{}", sub.get_name()), language)?;
    }
    Ok(())
}

fn write_page(folder: &Path, command: &Command, name: &str, language: Language) -> std::io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone().name(name.to_owned()).version(env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    let mut page = String::from_utf8(page).map_err(std::io::Error::other)?;
    if language != Language::En {
        for (english, portuguese) in HEADINGS {
            page = page.replace(&format!("\n.SH {english}\n"), &format!("\n.SH \"{portuguese}\"\n"));
        }
    }
    fs::write(folder.join(format!("{name}.1")), page)
}
