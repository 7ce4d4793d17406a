//! What the plan is made of: each value given, found, answered, or what is usual.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use almaplan_steps::process::is_listened_on;
use clap::ValueEnum;

use crate::cli::{InitArgs, InitTemplate};
use crate::diagnose::Refusal;
use crate::lang::Lang;
use crate::terminal::Terminal;

use super::application::{self, Entry, Found};
use super::serving::{self, Serving};

/// Who said a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An option.
    Given,
    /// What is there.
    Found,
    /// An answer.
    Answered,
    /// Nobody: it is usual.
    Usual,
}

/// A value, and who said it.
#[derive(Debug, Clone)]
pub struct Choice<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub source: Source,
}

impl<T> Choice<T> {
    /// `given`, else what there is without it.
    fn of(given: Option<T>, else_this: (T, Source)) -> Self {
        match given {
            Some(value) => Self { value, source: Source::Given },
            None => Self { value: else_this.0, source: else_this.1 },
        }
    }
}

/// All that a plan is made of.
#[derive(Debug)]
pub struct Choices {
    /// How it is started.
    pub template: Choice<InitTemplate>,
    /// The name of the deployment.
    pub name: Choice<String>,
    /// The folder that serves.
    pub production: Choice<String>,
    /// The port that serves.
    pub port: Choice<u16>,
    /// The path that must answer.
    pub health: Choice<String>,
    /// What starts it.
    pub entry: Entry,
    /// The list of packages, of Python.
    pub requirements: &'static str,
    /// Packages that start it and are not in that list.
    pub missing: Vec<&'static str>,
    /// Whether the list of packages is there.
    pub has_requirements: bool,
    /// A port for the rehearsal.
    pub test_port: u16,
    /// What was found in the folder.
    pub found: Option<Found>,
    /// Who listens on the port.
    pub serving: Option<Serving>,
}

impl Choices {
    /// From the options, what is in `folder`, and where somebody can be asked, the answers.
    ///
    /// # Errors
    /// Nothing says what application it is, a path is no text, or an answer is none.
    pub fn of(args: &InitArgs, folder: &Path, terminal: &Terminal) -> Result<Self, Refusal> {
        let found = application::find(folder);
        let questions = Questions::of(args, terminal);
        let default = found.as_ref().map(|found| (found.template, Source::Found));
        let template = match (args.template, default) {
            (None, None) => return Err(Refusal::NoApplication { folder: folder.to_owned() }),
            (given, default) => Choice::of(given, default.unwrap_or((InitTemplate::Static, Source::Usual))),
        };
        let template =
            questions.ask(["init-ask-template", "init-again-template"], template, |text| InitTemplate::from_str(text, true).ok())?;
        let evidence = found.as_ref().map(|found| found.evidence).filter(|name| !name.contains('*'));
        let serving = serving_now(args.port, template.value, folder, evidence);

        let name = Choice::of(args.name.clone(), (name_of(folder), Source::Found));
        let name = questions.ask(["init-ask-name", "init-again-name"], name, |text| Some(text.to_owned()))?;
        let production = Choice::of(args.production.as_deref().map(text_of).transpose()?, production_of(folder, serving.as_ref())?);
        let production =
            questions.ask(["init-ask-production", "init-again-production"], production, |text| text_of(Path::new(text)).ok())?;
        let port = Choice::of(args.port, port_of(template.value, serving.as_ref()));
        let port = questions.ask(["init-ask-port", "init-again-port"], port, |text| text.parse().ok().filter(|port| *port > 0))?;
        let health = Choice::of(args.health.clone(), ("/".to_owned(), Source::Usual));
        let health =
            questions.ask(["init-ask-health", "init-again-health"], health, |text| text.starts_with('/').then(|| text.to_owned()))?;

        let serving = serving.filter(|serving| serving.port == port.value).or_else(|| serving::on_port(port.value, folder, evidence));
        let requirements = application::requirements(folder);
        let missing = template.value.packages().iter().copied().filter(|package| !application::lists(folder, requirements, package));
        Ok(Self {
            entry: application::entry(folder, template.value),
            requirements,
            missing: missing.collect(),
            has_requirements: folder.join(requirements).is_file(),
            test_port: free_port(port.value),
            template,
            name,
            production,
            port,
            health,
            found,
            serving,
        })
    }

    /// The folder that serves now beside the one that will, where it is another one.
    pub fn serves_from(&self) -> Option<String> {
        let from = self.serving.as_ref()?.from.as_deref()?;
        (from != Path::new(&self.production.value)).then(|| from.to_string_lossy().into_owned())
    }

    /// What was found, and each value with who said it, one a line.
    pub fn told(&self, lang: &Lang, folder: &Path) -> Vec<String> {
        let at = [("folder", folder.display().to_string().into())];
        let mut lines = match &self.found {
            Some(found) => {
                let template = lang.text(found.template.title());
                vec![lang.with("init-found", &[&at[..], &[("what", template.into()), ("file", found.evidence.into())]].concat())]
            }
            None => vec![lang.with("init-found-nothing", &at)],
        };
        if let Some(serving) = &self.serving {
            let cwd = serving.cwd.as_ref().map_or_else(|| "?".to_owned(), |cwd| cwd.display().to_string());
            let key = if serving.from.is_some() { "init-serving" } else { "init-stranger" };
            let about = [("port", serving.port.to_string().into()), ("pid", serving.pid.to_string().into())];
            lines.push(lang.with(key, &[&about[..], &[("command", serving.command.as_str().into()), ("folder", cwd.into())]].concat()));
        }
        let rows = [
            ("template", self.template.value.name().to_owned(), self.template.source),
            ("name", self.name.value.clone(), self.name.source),
            ("production", self.production.value.clone(), self.production.source),
            ("port", self.port.value.to_string(), self.port.source),
            ("health", self.health.value.clone(), self.health.source),
        ];
        lines.extend(rows.map(|(option, value, source)| {
            let source = lang.text(match source {
                Source::Given => "init-given",
                Source::Found => "init-from-folder",
                Source::Answered => "init-answered",
                Source::Usual => "init-usual",
            });
            lang.with("init-value", &[("option", format!("{option:<10}").into()), ("value", value.into()), ("source", source.into())])
        }));
        lines.extend(self.to_do(lang, folder));
        lines
    }

    /// What somebody has to do before the plan works.
    fn to_do(&self, lang: &Lang, folder: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.entry.found {
            lines.push(lang.with("init-entry-unknown", &[("entry", self.entry.name.as_str().into())]));
        }
        if self.template.value.is_python() && !self.has_requirements {
            lines.push(lang.with("init-no-requirements", &[("file", self.requirements.into())]));
        }
        for package in &self.missing {
            lines.push(lang.with("init-missing-package", &[("package", (*package).into()), ("file", self.requirements.into())]));
        }
        if let Some(file) = application::compose_file(folder) {
            lines.push(lang.with("init-compose", &[("file", file.into())]));
        }
        lines
    }
}

/// Questions, where there is somebody who answers.
struct Questions<'a> {
    lang: &'a Lang,
    asks: bool,
}

impl<'a> Questions<'a> {
    fn of(args: &InitArgs, terminal: &'a Terminal) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self { lang: terminal.lang(), asks: is_terminal && !args.yes && terminal.asks() }
    }

    /// Asks for what no option gave. An empty answer takes what was found.
    fn ask<T: ToString>(&self, keys: [&str; 2], choice: Choice<T>, read: impl Fn(&str) -> Option<T>) -> Result<Choice<T>, Refusal> {
        if !self.asks || choice.source == Source::Given {
            return Ok(choice);
        }
        ask(self.lang, keys, choice, read, &mut std::io::stdin().lock(), &mut std::io::stderr())
    }
}

fn ask<T: ToString>(
    lang: &Lang,
    [question, again]: [&str; 2],
    choice: Choice<T>,
    read: impl Fn(&str) -> Option<T>,
    answers: &mut dyn BufRead,
    screen: &mut dyn Write,
) -> Result<Choice<T>, Refusal> {
    let question = lang.with(question, &[("default", choice.value.to_string().into())]);
    loop {
        write!(screen, "{question} ").and_then(|()| screen.flush())?;
        let mut answer = String::new();
        // The end of the input is no answer to any question.
        if answers.read_line(&mut answer)? == 0 {
            return Err(Refusal::NotConfirmed { command: "almaplan init".to_owned() });
        }
        match answer.trim() {
            "" => return Ok(choice),
            text => {
                if let Some(value) = read(text) {
                    return Ok(Choice { value, source: Source::Answered });
                }
            }
        }
        writeln!(screen, "{}", lang.text(again))?;
    }
}

/// Who listens on the port that was given, or serves the application on one that is usual for it.
fn serving_now(port: Option<u16>, template: InitTemplate, folder: &Path, evidence: Option<&str>) -> Option<Serving> {
    match port {
        Some(port) => serving::on_port(port, folder, evidence),
        // Nobody has named these: only what runs in this very folder is taken for the application.
        None => [template.port(), 5000, 8000, 3000, 8080]
            .into_iter()
            .find_map(|port| serving::on_port(port, folder, None).filter(|serving| serving.from.is_some())),
    }
}

fn port_of(template: InitTemplate, serving: Option<&Serving>) -> (u16, Source) {
    match serving {
        Some(serving) => (serving.port, Source::Found),
        None => (free_port(template.port() - 1), Source::Usual),
    }
}

/// The next port on which nobody listens.
fn free_port(after: u16) -> u16 {
    let is_free = |port: &u16| matches!(is_listened_on(*port), Ok(false));
    (after.saturating_add(1)..=u16::MAX).find(is_free).unwrap_or(if after == u16::MAX { u16::MAX - 1 } else { after + 1 })
}

/// The folder that serves now; else one beside the application.
fn production_of(folder: &Path, serving: Option<&Serving>) -> Result<(String, Source), Refusal> {
    match serving.and_then(|serving| serving.from.as_deref()) {
        Some(from) if from != folder => Ok((text_of(from)?, Source::Found)),
        // What serves from the folder in which people work shall serve from one of its own.
        _ => Ok((text_of(folder)? + "-production", Source::Usual)),
    }
}

/// The name of the folder, without what a name cannot have.
fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '\'' | '"' | '\\')).collect();
    if name.trim().is_empty() { "application".to_owned() } else { name.trim().to_owned() }
}

/// `path` from the root, as text.
fn text_of(path: &Path) -> Result<String, Refusal> {
    let path: PathBuf = crate::machine::absolute(path).components().collect();
    path.to_str().map(str::to_owned).ok_or(Refusal::PathNoText { path })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Language;

    fn answered(answers: &str) -> (Result<Choice<u16>, Refusal>, String) {
        let (lang, mut screen) = (Lang::new(Language::En), Vec::new());
        let choice = Choice { value: 5000, source: Source::Usual };
        let asked =
            ask(&lang, ["init-ask-port", "init-again-port"], choice, |text| text.parse().ok(), &mut answers.as_bytes(), &mut screen);
        (asked, String::from_utf8(screen).unwrap())
    }

    #[test]
    fn an_empty_answer_takes_the_default_and_a_wrong_one_is_asked_again() {
        let (choice, screen) = answered("\n");
        assert_eq!(choice.map(|choice| (choice.value, choice.source)).unwrap(), (5000, Source::Usual));
        assert!(screen.contains("[5000]"), "{screen}");
        let (choice, _) = answered("many\r\n5001\r\n");
        assert_eq!(choice.map(|choice| (choice.value, choice.source)).unwrap(), (5001, Source::Answered));
        assert!(matches!(answered("").0, Err(Refusal::NotConfirmed { .. })));
    }
}
