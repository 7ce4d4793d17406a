//! The guide below `docs/`: what is generated in it is what the binary says, and each page is in a table of contents.
//!
//! `INSTA_UPDATE=always cargo test -p almaplan --test almaplan book` writes the generated pages anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::repository;

/// A language of the guide, and what its generated pages are called.
struct Guide {
    lang: &'static str,
    kinds: &'static str,
    kinds_begin: &'static str,
    codes: &'static str,
    codes_begin: &'static str,
    mistakes: &'static str,
    exits: &'static str,
}

const GUIDES: [Guide; 2] = [
    Guide {
        lang: "en",
        kinds: "docs/kinds.md",
        kinds_begin: "# The kinds\n\nWhat `almaplan steps KIND` says of each.\n",
        codes: "docs/codes.md",
        codes_begin: "# Every code\n\nWhat `almaplan explain CODE` says of each.\n",
        mistakes: "## Mistakes in plans",
        exits: "## Exit codes",
    },
    Guide {
        lang: "pt-BR",
        kinds: "docs/pt-BR/tipos.md",
        kinds_begin: "# Os tipos\n\nO que `almaplan steps TIPO` diz de cada um. As descrições ainda são em inglês.\n",
        codes: "docs/pt-BR/codigos.md",
        codes_begin: "# Todos os códigos\n\nO que `almaplan explain CÓDIGO` diz de cada um.\n",
        mistakes: "## Erros em planos",
        exits: "## Códigos de saída",
    },
];

fn say(arguments: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_almaplan")).args(arguments).current_dir(repository()).output().unwrap();
    assert!(ended.status.success(), "almaplan {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// Each kind as it is told, below its name.
fn kinds(guide: &Guide) -> String {
    let list = say(&["steps", "--lang", guide.lang]);
    let names = list.lines().map(|line| line.split(' ').next().unwrap());
    let section = |name: &str| {
        let told = say(&["steps", name, "--lang", guide.lang]);
        let told = told.split_once('\n').unwrap().1;
        format!("\n## {name}\n\n```text\n{}\n```\n", told.trim_end())
    };
    guide.kinds_begin.to_owned() + &names.map(section).collect::<String>()
}

/// Each code as it is explained: its example as a listing, all else as text.
fn codes(guide: &Guide) -> String {
    let list = say(&["explain", "--lang", guide.lang]);
    let first_words = list.lines().filter_map(|line| line.split_whitespace().next());
    let mistakes: BTreeSet<&str> = first_words.filter(|word| word.starts_with("ALM") && word.len() == 7).collect();
    assert!(mistakes.len() > 40, "{list}");
    let exits = (0..10).map(|code| code.to_string()).collect::<Vec<_>>();
    let mut page = format!("{}\n{}\n", guide.codes_begin, guide.mistakes);
    page.extend(mistakes.into_iter().map(|code| explained(code, guide)));
    page.push_str(&format!("\n{}\n", guide.exits));
    page.extend(exits.iter().map(|code| explained(code, guide)));
    page
}

fn explained(code: &str, guide: &Guide) -> String {
    let told = say(&["explain", code, "--lang", guide.lang]);
    let mut text = String::new();
    let mut listing = false;
    for line in told.lines() {
        let inside = line.strip_prefix("  ");
        if inside.is_none() && listing && !line.is_empty() {
            text.truncate(text.trim_end().len());
            text.push_str("\n```\n\n");
            listing = false;
        }
        match inside {
            _ if text.is_empty() => text.push_str(&format!("\n### {line}\n\n")),
            Some(inside) => text.push_str(&format!("{inside}\n")),
            None if line.is_empty() => text.push('\n'),
            None if ["Example", "Exemplo"].contains(&line) => {
                text.push_str("```toml\n");
                listing = true;
            }
            None => text.push_str(&format!("**{line}:** ")),
        }
    }
    format!("{}\n", text.trim_end())
}

/// The page is what is made now; where that is asked for, it is written first.
fn assert_current(path: &str, made: &str) {
    let file = repository().join(path);
    if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
        fs::write(&file, made).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "{path} is not what the binary says: INSTA_UPDATE=always cargo test -p almaplan --test almaplan book");
}

#[test]
fn the_kinds_and_codes_of_the_guide_are_those_of_the_binary() {
    for guide in &GUIDES {
        assert_current(guide.kinds, &kinds(guide));
        assert_current(guide.codes, &codes(guide));
    }
}

#[test]
fn the_graph_in_the_guide_is_that_of_the_plan() {
    assert_current("docs/pictures/static-site.svg", &say(&["graph", "examples/plans/static-site.toml", "--format", "svg", "--lang", "en"]));
}

#[test]
fn every_page_of_the_guide_is_in_its_table_of_contents() {
    for folder in ["docs", "docs/pt-BR"] {
        let folder = repository().join(folder);
        let contents = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
        let pages = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let is_page = |path: &Path| path.extension().is_some_and(|end| end == "md") && !path.ends_with("SUMMARY.md");
        let names: BTreeSet<String> =
            pages.filter(|path| is_page(path)).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert!(names.len() > 5, "{names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !contents.contains(&format!("]({name})"))).collect();
        assert!(missing.is_empty(), "{} does not list {missing:?}", folder.join("SUMMARY.md").display());
    }
}
