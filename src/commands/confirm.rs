//! The question before `abort` and `rollback`.

use std::io::{BufRead, IsTerminal, Write};

use crate::diagnose::{Reason, Refusal};
use crate::lang::{Lang, Value};

use super::Globals;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `abort`.
    Abort,
    /// `rollback`.
    Rollback,
}

/// Asks on the terminal whether `run` of `plan` shall be undone; `command` is what was typed, to be named in a refusal.
///
/// # Errors
/// There is no terminal to ask on, or the answer is not yes.
pub fn confirm(globals: &Globals, question: Question, run: &str, plan: &str, command: &str) -> Result<(), Refusal> {
    let refused = |reason| Err(globals.refusal(reason, &[("command", command.into())]));
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    // Standard output may be a file, or read by a program: it is asked on the other one.
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return refused(Reason::NeedsYes);
    }
    let asked = ask(&globals.lang, question, &[("run", run.into()), ("plan", plan.into())], &mut stdin.lock(), &mut stderr);
    if asked { Ok(()) } else { refused(Reason::NotConfirmed) }
}

fn ask(lang: &Lang, question: Question, args: &[(&str, Value<'_>)], answers: &mut dyn BufRead, screen: &mut dyn Write) -> bool {
    let text = match question {
        Question::Abort => lang.with("confirm-abort", args),
        Question::Rollback => lang.with("confirm-rollback", args),
    };
    let mut answer = String::new();
    // What cannot be asked was not agreed to.
    let asked = write!(screen, "{text} ").and_then(|()| screen.flush()).and_then(|()| answers.read_line(&mut answer));
    // Yes of either language: a hand does not always follow the eye.
    asked.is_ok() && ["y", "yes", "s", "sim"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Tongue;

    #[test]
    fn only_a_yes_is_a_yes() {
        let lang = Lang::new(Tongue::PtBr);
        let says = |answer: &str| {
            let mut screen = Vec::new();
            let args = [("run", "r1".into()), ("plan", "produção".into())];
            let yes = ask(&lang, Question::Rollback, &args, &mut answer.as_bytes(), &mut screen);
            assert!(String::from_utf8_lossy(&screen).contains("r1 de produção"));
            yes
        };
        assert!(says("s\n") && says("SIM\r\n") && says("yes\n"));
        assert!(!says("\n") && !says("") && !says("n\n") && !says("sure\n"));
    }
}
