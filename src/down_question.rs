//! What the first Ctrl-C asks while the measured service is down (rule 14): stopping there would leave it down.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::lang::{Lang, Language};
use crate::terminal::Terminal;

/// What the operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Go on as if nothing had been pressed.
    GoOn,
    /// Undo what was done.
    Undo,
    /// Stop here, with the service down.
    Stop,
}

/// The question, and who answers it.
pub struct DownQuestion {
    lang: Arc<Lang>,
    /// What is typed, from the first question on: a thread that reads cannot be called back.
    typed: Option<mpsc::UnboundedReceiver<String>>,
}

impl DownQuestion {
    /// The question, where there is a person to ask: keys are read from one terminal and words shown on another one or the same.
    pub fn new(terminal: &Terminal) -> Option<Self> {
        let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        somebody.then(|| Self { lang: Arc::clone(terminal.lang()), typed: None })
    }

    /// Asks until there is an answer. Can be dropped at any time.
    pub async fn ask(&mut self) -> Choice {
        let typed = self.typed.get_or_insert_with(read_lines);
        // What was typed before the question is no answer to it.
        while typed.try_recv().is_ok() {}
        loop {
            let question = format!("\n{} ", self.lang.text("ctrl-c-while-down"));
            // A terminal that somebody holds (Ctrl-S) shows it later; a further Ctrl-C is heard meanwhile.
            let _ = tokio::task::spawn_blocking(move || std::io::stderr().write_all(question.as_bytes())).await;
            // Whoever closed the input cannot say that the service shall stay down.
            let Some(line) = typed.recv().await else { return Choice::GoOn };
            if let Some(choice) = chosen(self.lang.language(), &line) {
                return choice;
            }
        }
    }
}

fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (lines, typed) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    typed
}

/// What a line means; `None`: nothing, it is asked again.
fn chosen(language: Language, line: &str) -> Option<Choice> {
    let line = line.trim().to_lowercase();
    let [undo, stop] = match language {
        Language::PtBr => [["d", "desfazer"], ["p", "parar"]],
        Language::En => [["u", "undo"], ["s", "stop"]],
    };
    match line.as_str() {
        "" => Some(Choice::GoOn),
        line if undo.contains(&line) => Some(Choice::Undo),
        line if stop.contains(&line) => Some(Choice::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_goes_on_and_only_a_clear_word_does_anything_else() {
        let pt = |line| chosen(Language::PtBr, line);
        assert_eq!(
            (pt("\n"), pt("d\n"), pt(" Desfazer"), pt("P")),
            (Some(Choice::GoOn), Some(Choice::Undo), Some(Choice::Undo), Some(Choice::Stop))
        );
        let en = |line| chosen(Language::En, line);
        assert_eq!((en(""), en("u"), en("STOP\r")), (Some(Choice::GoOn), Some(Choice::Undo), Some(Choice::Stop)));
        assert_eq!((pt("s"), en("d"), en("yes")), (None, None, None));
    }
}
