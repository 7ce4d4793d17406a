#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use almaplan_engine::plan::{self, Given, Mistake};

use super::*;
use crate::lang::Language;

/// A plan of these steps, otherwise right.
fn with_steps(steps: &str) -> String {
    format!(
        "format = 1\n[plan]\nname = \"p\"\n[vars]\nport = 80\nroot = \"/app\"\n[secrets]\nword = {{ env = \"WORD\", optional = true }}\n{steps}"
    )
}

/// A right step, with these further keys.
fn step(id: &str, keys: &str) -> String {
    format!("[steps.{id}]\nuses = \"command\"\ncompensate = \"none\"\n{keys}\n")
}

const RIGHT: &str = "with = { program = \"true\" }";

/// Wrong plans, each with the code of what is wrong with it.
fn wrong() -> Vec<(&'static str, String)> {
    let one = |keys: &str| with_steps(&step("a", keys));
    let two = |first: &str, second: &str| with_steps(&(step("a", first) + &step("b", second)));
    let top = |old: &str, new: &str| one(RIGHT).replace(old, new);
    let program = |text: &str| one(&format!("with = {{ program = \"{text}\" }}"));
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let many: String = (0..300).map(|key| format!("key{key} = 1\n")).collect();
    vec![
        ("ALM0001", "format = 1\n[plan\n".to_owned()),
        ("ALM0002", one(&format!("with = {{ program = \"true\", args = {deep} }}"))),
        ("ALM0002", program(&"{{ vars.port }}".repeat(400))),
        ("ALM0003", top("format = 1\n", "")),
        ("ALM0003", top("format = 1\n", "format = \"1\"\n")),
        ("ALM0003", top("format = 1\n", "format = [1]\n")),
        ("ALM0004", one(&format!("{RIGHT}\nnedes = []"))),
        ("ALM0004", top("name = \"p\"", "name = \"p\"\ncolour = 1")),
        ("ALM0004", one("with = { program = \"true\", agrs = [] }")),
        ("ALM0005", top("name = \"p\"\n", "")),
        ("ALM0005", top("uses = \"command\"\n", "")),
        ("ALM0005", one("with = { args = [] }")),
        ("ALM0005", top("[vars]", "[measure]\n[vars]")),
        ("ALM0006", one(&format!("{RIGHT}\ntimeout = 5"))),
        ("ALM0006", one("with = { program = \"true\", args = 5.5 }")),
        ("ALM0006", one("with = { program = \"true\", idempotent = \"{{ vars.port }}\" }")),
        ("ALM0006", one(&format!("{RIGHT}\nneeds = 5"))),
        ("ALM0006", top("compensate = \"none\"", "compensate = 5")),
        ("ALM0006", top("port = 80", "port = [{ a = 1 }]")),
        ("ALM0006", top("word = { env = \"WORD\", optional = true }", "word = true")),
        ("ALM0006", one("with = 2026-02-06")),
        ("ALM0007", top("\"command\"", "\"comand\"")),
        ("ALM0007", top("\"command\"", "\"something-else\"")),
        ("ALM0008", one(&format!("{RIGHT}\non_failure = \"continu\""))),
        ("ALM0008", one(&format!("{RIGHT}\non_failure = \"ignore\""))),
        ("ALM0009", one(&format!("{RIGHT}\ntimeout = \"soon\""))),
        ("ALM0010", with_steps("[steps.a]\nuses = \"watch\"\nwith = { pid = 1, for = \"1s\", max_memory = \"much\" }\n")),
        ("ALM0011", one(&format!("{RIGHT}\nretry = {{ attempts = 0 }}"))),
        ("ALM0011", one(&format!("{RIGHT}\ntimeout = \"0s\""))),
        ("ALM0011", with_steps("[steps.a]\nuses = \"prune\"\ncompensate = \"none\"\nwith = { dir = \"d\", pattern = \"p\", keep = -1 }\n")),
        ("ALM0012", with_steps("[steps.a]\nuses = \"watch\"\nwith = { pid = 1, max_memory = \"99999999TiB\" }\n")),
        ("ALM0012", with_steps("[steps.a]\nuses = \"log-check\"\nwith = { files = [\"{{ vars.root }}/a.log\"], allow = [\"(\"] }\n")),
        ("ALM0013", top("name = \"p\"", "name = \"{{ a }}\"")),
        ("ALM0013", top("port = 80", "2port = 80")),
        ("ALM0013", top("word =", "wo-rd =")),
        ("ALM0013", with_steps(&format!("[steps.\"a b\"]\nuses = \"command\"\ncompensate = \"none\"\n{RIGHT}\n"))),
        ("ALM0014", one(RIGHT) + "[finally.a]\nuses = \"command\"\n" + RIGHT),
        ("ALM0015", with_steps("")),
        ("ALM0016", one(&format!("{RIGHT}\nneeds = [\"nobody\"]"))),
        ("ALM0016", two(RIGHT, &format!("{RIGHT}\nneeds = [\"f\"]")) + "[finally.f]\nuses = \"command\"\n" + RIGHT),
        ("ALM0017", two(RIGHT, &format!("{RIGHT}\nneeds = [\"a\", \"a\"]"))),
        ("ALM0018", one(&format!("{RIGHT}\nneeds = [\"a\"]"))),
        ("ALM0019", two(&format!("{RIGHT}\nneeds = [\"b\"]"), &format!("{RIGHT}\nneeds = [\"a\"]"))),
        ("ALM0020", program("{{ vars.port")),
        ("ALM0020", program("{% set a = 1 %}")),
        ("ALM0020", one(&format!("{RIGHT}\nwhen = \"{{{{ vars.port }}}}\""))),
        ("ALM0020", top("env = \"WORD\"", "env = \"{{ vars.root }}\"")),
        ("ALM0021", program("{{ weather }}")),
        ("ALM0021", program("{{ run.it }}")),
        ("ALM0022", program("{{ vars.prot }}")),
        ("ALM0023", program("{{ secrets.wrod }}")),
        ("ALM0024", program("{{ steps.nobody.code }}")),
        ("ALM0024", program("{{ steps.f.code }}") + "[finally.f]\nuses = \"command\"\n" + RIGHT),
        ("ALM0025", two(RIGHT, "with = { program = \"{{ steps.a.cod }}\" }")),
        ("ALM0025", two(RIGHT, "with = { program = \"{{ steps.a.weather }}\" }")),
        ("ALM0026", program("{{ vars }}")),
        ("ALM0026", two(RIGHT, "with = { program = \"{{ steps.a }}\" }")),
        ("ALM0027", top("root = \"/app\"", "root = \"{{ run.id }}\"")),
        ("ALM0027", program("{{ run.outcome }}")),
        ("ALM0027", program("{{ steps.a.stdout }}")),
        ("ALM0028", program("{{ env.DB_PASSWORD }}")),
        ("ALM0029", program("{{ secrets.word }}")),
        ("ALM0029", two(&format!("{RIGHT}\nwhen = \"vars.port > 1\""), "with = { program = \"{{ steps.a.stdout }}\" }")),
        ("ALM0029", two(&format!("{RIGHT}\non_failure = \"continue\""), "with = { program = \"x{{ steps.a.stdout }}\" }")),
        ("ALM0029", one(RIGHT) + "[finally.f]\nuses = \"command\"\nwith = { program = \"{{ steps.a.stdout }}\" }\n"),
        ("ALM0029", top("compensate = \"none\"", "compensate = { uses = \"command\", with = { program = \"{{ steps.a.stdout }}\" } }")),
        (
            "ALM0029",
            one(&format!(
                "{RIGHT}\nprobe = {{ uses = \"command\", with = {{ program = \"{{{{ steps.a.stdout }}}}\", idempotent = true }} }}"
            )),
        ),
        (
            "ALM0030",
            two(RIGHT, RIGHT).replacen(
                "compensate = \"none\"",
                "compensate = { uses = \"command\", with = { program = \"{{ steps.b.stdout }}\" } }",
                1,
            ),
        ),
        ("ALM0031", top("root = \"/app\"", "root = \"{{ vars.other }}\"\nother = \"{{ vars.root }}\"")),
        ("ALM0032", program("{{ vars.root | uper }}")),
        ("ALM0032", program("{{ vars.root is big }}")),
        ("ALM0032", program("{{ now() }}")),
        ("ALM0033", two(&format!("{RIGHT}\npivot = true"), &format!("{RIGHT}\npivot = true\nneeds = [\"a\"]"))),
        ("ALM0034", two(&format!("{RIGHT}\npivot = true"), RIGHT)),
        ("ALM0034", two(&format!("{RIGHT}\npivot = true"), RIGHT) + &step("c", RIGHT)),
        ("ALM0035", one(&format!("{RIGHT}\nirreversible = true")).replace("compensate = \"none\"\n", "")),
        (
            "ALM0035",
            two(&format!("{RIGHT}\nirreversible = true"), &format!("{RIGHT}\nneeds = [\"a\"]\npivot = true")).replacen(
                "compensate = \"none\"\n",
                "",
                1,
            ),
        ),
        ("ALM0036", one(&format!("{RIGHT}\npivot = true\nirreversible = true"))),
        ("ALM0037", one(RIGHT).replace("compensate = \"none\"\n", "")),
        ("ALM0038", top("env = \"WORD\"", "env = \"WORD\", file = \"word\"")),
        ("ALM0039", top("port = 80", "port = {}")),
        ("ALM0040", top("port = 80", "port = 2026-02-06")),
        ("ALM0040", top("port = 80", "port = 99999999999999999999")),
        ("ALM0040", top("port = 80", "port = inf")),
        ("ALM0041", one(RIGHT) + "[finally.f]\nuses = \"command\"\npivot = true\n" + RIGHT),
        ("ALM0042", one(&format!("{RIGHT}\nwhen = \" \""))),
        ("ALM0043", many + &one(RIGHT)),
        ("ALM0044", program("{{ vars.root + 1 }}")),
        ("ALM0044", one(&format!("{RIGHT}\nwhen = \"vars.root + 1\""))),
        ("ALM0044", top("root = \"/app\"", "root = \"{{ vars.port | upper + 1 }}\"")),
        ("ALM0006", top("port = 80", "port = { default = 80, one_of = 80 }")),
        ("ALM0008", top("port = 80", "port = { default = 80, one_of = [81, 82] }")),
        ("ALM0011", with_steps("[steps.a]\nuses = \"stop-service\"\nwith = { port = \"{{ vars.port * 1000 }}\" }\n")),
        ("ALM0011", with_steps(&step("a", &format!("{RIGHT}\ntimeout = \"101y\"")))),
    ]
}

fn mistakes(text: &str) -> Vec<Mistake> {
    let given = Given { overrides: &[], env: &|_| None, is_final: true };
    plan::load_given(text, Path::new("/plans/plan.toml"), &almaplan_steps::registry(), given).mistakes
}

/// All that is said of a mistake.
fn said(lang: &Lang, mistake: &Mistake) -> String {
    let mut said = message(lang, &mistake.problem);
    said.extend(hint(lang, &mistake.problem).map(|hint| format!("\n    {hint}")));
    said.extend(mistake.related.iter().map(|(_, what)| format!("\n    @ {}", related(lang, what))));
    said
}

/// Mistakes that no plan of this test has.
fn further() -> Vec<Mistake> {
    let problems = [Problem::FileTooLarge { most_mib: 64 }];
    problems.map(|problem| Mistake { span: 0..0, problem, related: Vec::new(), given: None }).into()
}

/// The first mistake of each wrong plan that has its code.
fn all() -> Vec<Mistake> {
    let of = |(code, text): &(&str, String)| {
        let found = mistakes(text);
        let codes: Vec<_> = found.iter().map(Mistake::code).collect();
        found.iter().find(|mistake| mistake.code() == *code).cloned().unwrap_or_else(|| panic!("no {code} but {codes:?} in:\n{text}"))
    };
    wrong().iter().map(of).chain(further()).collect()
}

#[test]
fn every_code_has_words_in_both_languages() {
    let all = all();
    let codes: BTreeSet<_> = all.iter().map(Mistake::code).collect();
    let documented = include_str!("../../../docs/plan-format.md").split("| ALM").skip(1).map(|row| format!("ALM{}", &row[..4]));
    assert_eq!(codes.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), documented.collect());
    let mut shown = String::new();
    for mistake in &all {
        let [en, pt] = Language::ALL.map(|language| said(&Lang::new(language), mistake));
        shown.push_str(&format!("{}\n  {en}\n  {pt}\n", mistake.code()));
    }
    insta::assert_snapshot!(shown.replace(std::env::consts::FAMILY, "<family>"));
}

/// The words of a text that are ours: not what is quoted, and not the details of a parser.
fn our_words(text: &str) -> Vec<String> {
    let ours = text.lines().map(|line| {
        let line = line.split("detalhe:").next().unwrap();
        let unquoted: Vec<&str> = line.split('`').step_by(2).collect();
        let unquoted = unquoted.join(" ");
        let unquoted: Vec<&str> = unquoted.split('"').step_by(2).collect();
        let unquoted = unquoted.join(" ");
        let unquoted: Vec<&str> = unquoted.split('\'').step_by(2).collect();
        unquoted.join(" ")
    });
    ours.flat_map(|line| line.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase).collect::<Vec<_>>()).collect()
}

const ENGLISH: &[&str] = &[
    "the", "is", "are", "of", "which", "must", "has", "have", "does", "not", "cannot", "and", "or", "with", "that", "it", "its", "an",
    "this", "there", "what", "to", "in", "by", "be", "from", "write", "step", "steps", "plan", "need", "needs", "key", "kind", "value",
    "list", "text", "table", "number", "integer", "date", "between", "least", "most", "when", "did", "you", "mean", "take", "say", "name",
    "nothing", "template", "null", "secret", "first",
];
const PORTUGUESE: &[&str] = &[
    "não", "é", "de", "da", "que", "uma", "um", "os", "ou", "com", "para", "deve", "etapa", "etapas", "plano", "precisa", "chave", "lista",
    "texto", "tabela", "número", "quando", "diga", "nome", "nada", "modelo", "segredo", "existe",
];

#[test]
fn no_language_speaks_with_words_of_the_other() {
    for (language, foreign) in [(Language::En, PORTUGUESE), (Language::PtBr, ENGLISH)] {
        let lang = Lang::new(language);
        for mistake in all() {
            let said = said(&lang, &mistake);
            let words = our_words(&said);
            let found: Vec<_> = words.iter().filter(|word| foreign.contains(&word.as_str())).collect();
            assert!(found.is_empty(), "{found:?} in {}: {said}", language.tag());
        }
    }
}

#[test]
fn variables_are_told_in_both_languages() {
    let name = || "port".to_owned();
    let short = || "{{ vars.a }}".to_owned();
    let fault = |fault| TemplateError::Syntax { template: short(), fault };
    let tool = |tool| fault(TemplateFault::UnknownTool { tool, name: "uper".to_owned() });
    let units = [Unfit::Number, Unfit::List, Unfit::Table, Unfit::Name, Unfit::Undefined, Unfit::Value];
    let templates = [
        fault(TemplateFault::NamesAValue),
        fault(TemplateFault::Vague("vars".to_owned())),
        tool(Tool::Filter),
        tool(Tool::Test),
        tool(Tool::Function),
        fault(TemplateFault::Parser("unexpected end of input".to_owned())),
        TemplateError::Undefined { template: short(), name: "vars.b".to_owned() },
        TemplateError::Null { template: short(), name: "vars.b".to_owned() },
        TemplateError::TooMuch { template: short() },
        TemplateError::Failed { template: short(), detail: "invalid operation".to_owned() },
    ];
    let templates = templates.into_iter().chain(units.map(|what| TemplateError::Unfit { template: short(), what }));
    let errors = [
        VarError::Unknown { name: "prot".to_owned(), suggestion: None },
        VarError::Unknown { name: "prot".to_owned(), suggestion: Some(name()) },
        VarError::Type { name: name(), expected: ValueType::Integer, given: "many".to_owned() },
        VarError::NotHere { name: name(), reference: "secrets.x".to_owned() },
        VarError::Secret { name: name(), env: "APP_TOKEN".to_owned() },
        VarError::NotOneOf { name: name(), value: "1".to_owned(), choices: vec!["80".to_owned(), "443".to_owned()], suggestion: None },
        VarError::NotOneOf {
            name: name(),
            value: "44".to_owned(),
            choices: vec!["80".to_owned(), "443".to_owned()],
            suggestion: Some("443".to_owned()),
        },
        VarError::Cycle { cycle: ["a", "b", "a"].map(str::to_owned).to_vec() },
    ];
    let errors = errors.into_iter().chain(templates.map(|source| VarError::Template { name: name(), source }));
    let mut shown = String::new();
    for error in errors {
        let [en, pt] = Language::ALL.map(|language| variable(&Lang::new(language), &error));
        let foreign: Vec<_> = our_words(&pt).into_iter().filter(|word| ENGLISH.contains(&word.as_str())).collect();
        assert!(foreign.is_empty(), "{foreign:?} in: {pt}");
        shown.push_str(&format!("{en}\n{pt}\n"));
    }
    insta::assert_snapshot!(shown);
}
