//! The text of a plan, of what was chosen.

use minijinja::{Environment, Value, context};

use crate::cli::InitTemplate;
use crate::lang::{Lang, Language};

use super::choices::Choices;

/// The plan and the values of a rehearsal, in a language.
fn templates(language: Language) -> [&'static str; 2] {
    match language {
        Language::En => [include_str!("templates/en/production.toml"), include_str!("templates/en/test.toml")],
        Language::PtBr => [include_str!("templates/pt-BR/production.toml"), include_str!("templates/pt-BR/test.toml")],
    }
}

/// The plan.
pub fn production(lang: &Lang, choices: &Choices) -> String {
    let template = choices.template.value;
    let (program, start) = command(template, &choices.entry.name);
    let values = context! {
        name => toml_of(&choices.name.value),
        production => toml_text(&choices.production.value),
        port => choices.port.value,
        health => toml_list(&[choices.health.value.as_str()]),
        start => toml_list(&start.iter().map(String::as_str).collect::<Vec<_>>()),
        program => program,
        python => template.is_python(),
        migrates => template == InitTemplate::Django,
        requirements => toml_text(choices.requirements),
        packages => toml_list(template.packages()),
        serves_from => choices.serves_from().map(|folder| toml_text(&folder)),
        env => variables(template),
    };
    render(templates(lang.language())[0], values)
}

/// The values of a rehearsal.
pub fn test(lang: &Lang, choices: &Choices) -> String {
    let values = context! {
        test_production => toml_text(&format!("{}-test", choices.production.value)),
        test_port => choices.test_port,
    };
    render(templates(lang.language())[1], values)
}

/// The program, as TOML, of what has no environment of its own; and what it is started with.
fn command(template: InitTemplate, entry: &str) -> (&'static str, Vec<String>) {
    let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let entry_args = match entry.strip_suffix("()") {
        Some(factory) => vec!["--call".to_owned(), factory.to_owned()],
        None => vec![entry.to_owned()],
    };
    match template {
        InitTemplate::FlaskWaitress | InitTemplate::Django => {
            ("", [args(&["-m", "waitress", "--host=127.0.0.1", "--port={port}"]), entry_args].concat())
        }
        InitTemplate::Gunicorn => ("", args(&["-m", "gunicorn", "--bind=127.0.0.1:{port}", entry])),
        InitTemplate::Uvicorn => ("", args(&["-m", "uvicorn", "--host=127.0.0.1", "--port={port}", entry])),
        InitTemplate::Node => ("\"node\"", vec![format!("{{folder}}/{entry}")]),
        InitTemplate::Static => (
            r#"{ windows = "python", unix = "python3" }"#,
            args(&["-m", "http.server", "{port}", "--bind=127.0.0.1", "--directory={folder}"]),
        ),
    }
}

/// The variables of the service, as TOML.
fn variables(template: InitTemplate) -> &'static str {
    match template {
        InitTemplate::Node => r#"{ PORT = "{{ vars.port }}", NODE_ENV = "production" }"#,
        InitTemplate::Static => "{ PYTHONUNBUFFERED = \"1\" }",
        _ => r#"{ PYTHONPATH = "{{ vars.production }}", PYTHONDONTWRITEBYTECODE = "1", PYTHONUNBUFFERED = "1", PYTHONUTF8 = "1" }"#,
    }
}

/// `text` as TOML, where the plan takes it as it is.
fn toml_of(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// `text` as TOML, where the plan would take braces for a template.
fn toml_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|begin| rest.find(begin)).min() {
        plain.push_str(&rest[..at]);
        plain.push_str(&format!("{{{{ '{}' }}}}", &rest[at..at + 2]));
        rest = &rest[at + 2..];
    }
    plain.push_str(rest);
    toml_of(&plain)
}

fn toml_list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| toml_text(text)).collect::<Vec<_>>().join(", "))
}

fn render(template: &str, values: Value) -> String {
    let text = Environment::new().render_str(template, values);
    let text = text.expect("the templates are part of this program, and a test renders each");
    text.trim_end().to_owned() + "\n"
}
