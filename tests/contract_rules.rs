//! The documents are true as far as a program can tell: each rule of the contract is cited by number where it is decided and held by what
//! exists, paths and links lead somewhere, and what they repeat of the code is what the code has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where rules are decided.
const SOURCES: [&str; 3] = ["engine/src", "steps/src", "src"];
/// What a path of this repository begins with.
const FOLDERS: [&str; 11] =
    ["engine/", "steps/", "src/", "tests/", "docs/", "plans/", "examples/", "benches/", "fuzz/", "packaging/", ".ci/"];

/// One rule of `docs/contract.md`.
struct Rule {
    number: u32,
    text: String,
}

impl Rule {
    /// The paths in backticks of the line that begins with `- **name**:`, continued over the lines below it.
    fn paths(&self, name: &str) -> Vec<String> {
        let start = format!("- **{name}**:");
        let line = self.text.split("\n- ").find_map(|item| format!("- {item}").strip_prefix(&start).map(str::to_owned));
        let line = line.unwrap_or_else(|| panic!("rule {} does not say `{name}`", self.number));
        in_backticks(line.split("\n\n").next().unwrap_or_default())
    }

    /// Whether all of it holds.
    fn holds(&self) -> bool {
        !self.text.contains("**Not yet**")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below `folder` whose names end with `ending`, relative to the repository.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn rules() -> Vec<Rule> {
    let contract = read("docs/contract.md");
    let sections = contract.split("\n### Rule ").skip(1);
    let rule = |section: &str| {
        let (number, _) = section.split_once('.').expect("a heading is `### Rule N. Title`");
        Rule { number: number.parse().unwrap(), text: section.split("\n## ").next().unwrap_or_default().to_owned() }
    };
    sections.map(rule).collect()
}

fn in_backticks(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The code of the product, without its tests.
fn product() -> Vec<(PathBuf, String)> {
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests" || part == "tests.rs");
    let paths = SOURCES.iter().flat_map(|folder| files(folder, ".rs")).filter(|path| !is_test(path));
    paths.map(|path| (path.clone(), without_tests(&read(&path)))).collect()
}

fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let is_module = lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line.starts_with("#[cfg(") && line.contains("test") && is_module {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The numbers of the rules that the comments of `code` cite: `rule 4`, `rules 1, 4 and 14`.
fn cited(code: &str) -> BTreeSet<u32> {
    let comments: Vec<&str> = code.lines().filter_map(|line| line.split_once("//").map(|(_, comment)| comment)).collect();
    // A citation may begin on one line and end on the next.
    let text = comments.join(" ").to_lowercase();
    let mut found = BTreeSet::new();
    for (at, word) in text.match_indices("rule") {
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &text[at + word.len()..];
        let (rest, several) = rest.strip_prefix('s').map_or((rest, false), |rest| (rest, true));
        if begins && rest.starts_with(' ') {
            found.extend(numbers(rest, several));
        }
    }
    found
}

fn numbers(text: &str, several: bool) -> Vec<u32> {
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        match digits.parse() {
            Ok(number) if found.is_empty() || several => found.push(number),
            Err(_) if word == "and" && several => continue,
            _ => break,
        }
        if !word.ends_with([',', ' ']) && digits.len() != word.len() {
            break;
        }
    }
    found
}

/// Whether there is anything at `path`, in which a `*` stands for any part of the last name.
fn exists(path: &str) -> bool {
    match path.split_once('*') {
        None => root().join(path).exists(),
        Some((before, after)) => {
            let (folder, begin) = before.rsplit_once('/').unwrap_or(("", before));
            let matches = |name: &str| name.starts_with(begin) && name.ends_with(after);
            fs::read_dir(root().join(folder))
                .is_ok_and(|entries| entries.flatten().any(|entry| matches(&entry.file_name().to_string_lossy())))
        }
    }
}

/// The documents that people read, relative to the repository.
fn documents() -> Vec<PathBuf> {
    let at_the_top = fs::read_dir(root()).unwrap().map(|entry| PathBuf::from(entry.unwrap().file_name()));
    let mut documents: Vec<PathBuf> = at_the_top.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    documents.extend(files("docs", ".md"));
    documents.extend([PathBuf::from("fuzz/README.md"), PathBuf::from("tests/golden/README.md")]);
    documents
}

/// The text without what stands between lines of three backticks.
fn without_listings(text: &str) -> String {
    let outside = |(index, part): (usize, &str)| (index % 2 == 0).then(|| part.to_owned());
    text.split("\n```").enumerate().filter_map(outside).collect::<Vec<_>>().join("\n")
}

/// The anchors of the headings of a document, as they are made where it is shown.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = without_listings(text);
    let headings = headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let anchor = |heading: String| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_rule_is_cited_where_it_is_decided_and_held_by_what_exists() {
    let (rules, product) = (rules(), product());
    let counted: Vec<u32> = rules.iter().map(|rule| rule.number).collect();
    assert_eq!(counted, (1..=rules.len() as u32).collect::<Vec<_>>(), "the rules are not numbered from 1");
    let mut wrong = Vec::new();
    for rule in &rules {
        let number = rule.number;
        assert!(rule.text.contains("\n- **Prevents**: "), "rule {number} does not say what it prevents");
        for path in rule.paths("Decided in") {
            match product.iter().find(|(file, _)| *file == Path::new(&path)) {
                Some((_, code)) if cited(code).contains(&number) => {}
                Some(_) => wrong.push(format!("{path} does not cite rule {number}")),
                None => wrong.push(format!("rule {number} is decided in {path}, which is no file of the product")),
            }
        }
        let held = rule.paths("Held by");
        wrong.extend(held.iter().filter(|path| !exists(path)).map(|path| format!("rule {number} is held by {path}, which is not there")));
        let planted = format!("tests/planted/rules/{number:02}-*.bug");
        if rule.holds() && !held.contains(&planted) {
            wrong.push(format!("rule {number} holds, and no planted bug proves it: it should be held by {planted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rule 23: nothing goes round the one place that decides whose word counts. Who reads a state, a record or a lock opens it there, or below a
/// folder that was believed there.
#[test]
fn nothing_goes_round_the_place_that_decides_whose_word_counts() {
    let decides = Path::new("engine/src/trust.rs");
    let ways_in = ["File::open", "fs::read(", "fs::read_to_string", "OpenOptions", "Connection::open"];
    // Each opens only what is below a state folder that was believed, or is no word of anybody: with the reason.
    let known = [
        ("engine/src/sqlite/connection.rs", "the database and its log, of a `Store`, which is believed when it is made"),
        ("engine/src/sqlite/witness.rs", "the high-water mark below the same folder"),
        ("engine/src/lock/occupancy.rs", "the locked folder itself, of which nothing is read, and what the kernel tells"),
        ("engine/src/volume.rs", "makes files of our own"),
    ];
    let rooms =
        ["engine/src/lock", "engine/src/sqlite", "engine/src/runs", "engine/src/journal.rs", "engine/src/volume.rs", "src/machine.rs"];
    let mut looked_at = 0;
    for (path, code) in product() {
        let text = path.to_str().unwrap();
        if !rooms.iter().any(|room| text.starts_with(room)) {
            continue;
        }
        looked_at += 1;
        let found: Vec<&str> = ways_in.into_iter().filter(|way| code.contains(way)).collect();
        assert!(
            found.is_empty() || known.iter().any(|(file, _)| *file == text),
            "{text} opens things itself ({found:?}), not by {decides:?}"
        );
    }
    assert!(looked_at > 15, "only {looked_at} files");
    let store = without_tests(&read("engine/src/sqlite.rs"));
    assert_eq!(store.matches("Self { dir }").count(), 1, "a `Store` is made in one place");
    assert!(store.contains("let store = Self { dir };\n                store.believe()?;"), "and believed there");
}

#[test]
fn every_citation_names_a_rule_of_the_contract() {
    let known: BTreeSet<u32> = rules().iter().map(|rule| rule.number).collect();
    let mut found = 0;
    for (path, code) in product() {
        let cited = cited(&code);
        found += cited.len();
        assert!(cited.is_subset(&known), "{} cites {:?}, which the contract has not got", path.display(), cited.difference(&known));
    }
    assert!(found > 40, "only {found} citations were found");
    for path in files("tests/planted/rules", ".bug") {
        let bug = read(&path);
        let number = bug.strip_prefix("rule ").and_then(|rest| rest.split(':').next()?.parse().ok());
        assert!(number.is_some_and(|number| known.contains(&number)), "{} breaks no rule of the contract", path.display());
    }
}

#[test]
fn citations_are_read_as_they_are_written() {
    let read = |comment: &str| cited(&format!("let a = 1; // {comment}\n")).into_iter().collect::<Vec<_>>();
    assert_eq!(read("nothing is done beside it (rule 4)."), [4]);
    assert_eq!(read("Rules 1, 4 and 14: x"), [1, 4, 14]);
    assert_eq!(read("(rules 6 and 7)"), [6, 7]);
    assert_eq!(read("rule 9 and 3 other things"), [9]);
    assert_eq!(read("the rules of Windows; overrule 3"), [0; 0]);
    assert_eq!(cited("let rule = \"rule 3\";\n"), BTreeSet::new());
    assert_eq!(cited("// see (rules 6 and\n// 7)\n"), BTreeSet::from([6, 7]));
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut found = 0;
    for document in documents() {
        let text = without_listings(&read(&document));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            found += 1;
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let leads = root().join(&target).exists() && anchor.is_none_or(|anchor| anchors(&read(&target)).contains(anchor));
            if !leads {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
    assert!(found > 20, "only {found} links were found");
}

#[test]
fn paths_in_the_documents_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        let paths = in_backticks(&without_listings(&text)).into_iter().filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)));
        // Some say how a name is made, or how a program is called.
        for path in paths.filter(|path| !path.contains(['<', '…', ' ', '$'])) {
            if !exists(&path) && !path.starts_with("target/") {
                wrong.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these paths do not exist:\n{}", wrong.join("\n"));
}

#[test]
fn the_plan_format_lists_every_code_of_a_mistake() {
    let codes = |text: String| -> BTreeSet<String> {
        let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        text.split("ALM").skip(1).map(digits).filter(|code| code.len() == 4).collect()
    };
    let of_the_code = codes(read("engine/src/plan/mistake.rs"));
    assert!(of_the_code.len() > 40, "{of_the_code:?}");
    assert_eq!(codes(read("docs/plan-format.md")), of_the_code);
}

#[test]
fn the_formats_quote_the_tables_as_they_are_made() {
    let schema = read("engine/src/sqlite/schema.rs");
    let tables = schema.split("const TABLES: &str = \"").nth(1).and_then(|rest| rest.split("\";").next()).unwrap();
    assert!(read("docs/formats.md").contains(tables.trim()), "docs/formats.md does not quote the tables of engine/src/sqlite/schema.rs");
}

#[test]
fn the_glossary_names_what_the_code_has() {
    let code: Vec<String> = product().into_iter().map(|(_, code)| code).collect();
    let words: BTreeSet<&str> = code.iter().flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let glossary = read("docs/glossary.md");
    let rows = glossary.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let names: Vec<String> = rows.flat_map(in_backticks).collect();
    assert!(names.len() > 40, "only {} names were found", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "the code has no {missing:?}");
}

#[test]
fn every_command_is_listed() {
    let help = Command::new(env!("CARGO_BIN_EXE_almaplan")).args(["--help", "--lang", "en"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Lines that begin further in go on with what is said before.
    let first = |line: &str| {
        line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).and_then(|rest| Some(rest.split_once(' ')?.0.to_owned()))
    };
    let names: Vec<String> = listed.filter_map(first).filter(|name| name != "help").collect();
    assert!(names.iter().any(|name| name == "apply"), "no commands in:\n{help}");
    let commands = read("docs/commands.md");
    let table: String = commands.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>().join("\n");
    let has = |name: &String| [' ', '`'].iter().any(|end| table.contains(&format!("`{name}{end}")));
    let missing: Vec<_> = names.into_iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "docs/commands.md does not list {missing:?}");
}

/// The two are one text: whoever changes the one changes the other.
#[test]
fn the_readme_says_the_same_in_both_languages_and_its_plan_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let of_both = ["README.md", "README.pt-BR.md"].map(|name| {
        let text = read(name);
        let listings: Vec<String> = text.split("\n```").skip(1).step_by(2).map(str::to_owned).collect();
        let plan = folder.path().join("plan.toml");
        fs::write(&plan, listings[0].strip_prefix("toml").unwrap()).unwrap();
        let checked = Command::new(env!("CARGO_BIN_EXE_almaplan")).arg("check").arg(&plan).output().unwrap();
        assert!(checked.status.success(), "the plan of {name}:\n{}", String::from_utf8_lossy(&checked.stderr));
        let without_comments = |text: &String| text.lines().map(|line| line.split(" #").next().unwrap().trim_end().to_owned()).collect();
        let listings: Vec<Vec<String>> = listings.iter().map(without_comments).collect();
        (listings, text.matches("\n## ").count(), text.matches("\n![").count())
    });
    assert_eq!(of_both[0], of_both[1]);
}

#[test]
fn the_kind_that_contributing_shows_is_one_that_is_tried() {
    let shown = read("CONTRIBUTING.md");
    let shown = shown.split("## A kind").nth(1).and_then(|rest| rest.split("```rust\n").nth(1)?.split("```").next()).unwrap();
    let tried = read("steps/tests/contributed_kind.rs");
    let tried = tried.replace("use almaplan_steps::human", "use crate::human").replace(", as CONTRIBUTING.md shows it", "");
    assert_eq!(shown, tried);
}
