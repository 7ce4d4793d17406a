//! The question before `abort` and `rollback`.

use std::io::{BufRead, IsTerminal, Write};

use almaplan_engine::sqlite::RunRow;

use crate::diagnose::Refusal;
use crate::lang::{Lang, Value};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `abort`.
    Abort,
    /// `rollback`.
    Rollback,
}

/// Asks on the terminal whether a run shall be undone.
///
/// # Errors
/// There is no terminal to ask on, or the answer is not yes.
pub fn confirm(lang: &Lang, question: Question, run: &RunRow) -> Result<(), Refusal> {
    let command = match question {
        Question::Abort => format!("almaplan abort {}", run.run),
        Question::Rollback => format!("almaplan rollback {}", run.run),
    };
    let args = [("run", run.run.as_str().into()), ("plan", run.plan_name.as_str().into())];
    agree(&text(lang, question, &args), command)
}

/// Asks on the terminal whether `command` shall do what `question` says.
///
/// # Errors
/// There is no terminal to ask on, or the answer is not yes.
pub fn agree(question: &str, command: String) -> Result<(), Refusal> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    // Standard output may be a file, or read by a program: it is asked on the other one.
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Refusal::NeedsYes { command });
    }
    let agreed = ask(question, &mut stdin.lock(), &mut stderr);
    if agreed { Ok(()) } else { Err(Refusal::NotConfirmed { command }) }
}

fn text(lang: &Lang, question: Question, args: &[(&str, Value<'_>)]) -> String {
    match question {
        Question::Abort => lang.with("confirm-abort", args),
        Question::Rollback => lang.with("confirm-rollback", args),
    }
}

fn ask(text: &str, answers: &mut dyn BufRead, screen: &mut dyn Write) -> bool {
    let mut answer = String::new();
    // What cannot be asked was not agreed to.
    let asked = write!(screen, "{text} ").and_then(|()| screen.flush()).and_then(|()| answers.read_line(&mut answer));
    // Yes of either language: a hand does not always follow the eye.
    asked.is_ok() && ["y", "yes", "s", "sim"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Language;

    #[test]
    fn only_a_yes_is_a_yes() {
        let lang = Lang::new(Language::PtBr);
        let says = |answer: &str| {
            let mut screen = Vec::new();
            let args = [("run", "r1".into()), ("plan", "produção".into())];
            let yes = ask(&text(&lang, Question::Rollback, &args), &mut answer.as_bytes(), &mut screen);
            assert!(String::from_utf8_lossy(&screen).contains("r1 de produção"));
            yes
        };
        assert!(says("s\n") && says("SIM\r\n") && says("yes\n"));
        assert!(!says("\n") && !says("") && !says("n\n") && !says("sure\n"));
    }
}
