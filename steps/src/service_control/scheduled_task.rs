//! Windows' scheduled tasks, as `schtasks.exe /Query` tells of them: one line a trigger, and its states only in the system's language.

use super::{Ask, Seen, State};

/// The beginnings of what is shown, in English and in Portuguese, without the letters that each console spells in its own way.
const STATES: [(&str, State); 9] = [
    ("Running", State::Running),
    ("Em execu", State::Running),
    ("Ready", State::Stopped),
    ("Pronto", State::Stopped),
    ("Disabled", State::Stopped),
    ("Desab", State::Stopped),
    ("Desativad", State::Stopped),
    ("Could not start", State::Stopped),
    ("No foi poss", State::Stopped),
];
/// Waiting for its turn to run.
const QUEUED: [&str; 2] = ["Queued", "Na fila"];

pub(super) fn args(ask: Ask, name: &str) -> Vec<String> {
    let (verb, more): (_, &[&str]) = match ask {
        Ask::Show => ("/Query", &["/FO", "CSV", "/NH"]),
        Ask::Start => ("/Run", &[]),
        Ask::Stop => ("/End", &[]),
        Ask::Restart => unreachable!("`Manager::restarts` says that it has none"),
    };
    [verb, "/TN", name].into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
}

pub(super) fn read(shown: &str) -> Option<Seen> {
    let words: Vec<&str> = shown.lines().filter_map(last_field).collect();
    let running = words.iter().find(|word| state(word) == Some(Some(State::Running)));
    let word = running.or(words.first())?;
    // A task has no process that could be told apart: it may have several.
    Some(Seen { state: state(word)?, pid: None, words: (*word).to_owned() })
}

/// `"\Almareia\Servidor","N/A","Running"`
fn last_field(line: &str) -> Option<&str> {
    line.trim().strip_suffix('"')?.rsplit_once("\",\"").map(|(_, field)| field)
}

fn state(word: &str) -> Option<Option<State>> {
    let word: String = word.chars().filter(char::is_ascii).collect();
    let known = STATES.iter().find(|(beginning, _)| word.starts_with(beginning)).map(|(_, state)| Some(*state));
    known.or_else(|| QUEUED.iter().any(|beginning| word.starts_with(beginning)).then_some(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_in_both_languages_however_the_console_spells_them() {
        let read = |word: &[u8]| {
            let line = [b"\"\\Almareia\\Servidor\",\"N/A\",\"", word, b"\"\r\n"].concat();
            read(&String::from_utf8_lossy(&line)).map(|seen| seen.state)
        };
        for running in [&b"Running"[..], "Em execução".as_bytes(), b"Em execu\x87\xc6o"] {
            assert_eq!(read(running), Some(Some(State::Running)));
        }
        for stopped in
            [&b"Ready"[..], b"Pronto", b"Disabled", b"Desabilitado", "Não foi possível iniciar".as_bytes(), b"N\xc6o foi poss\xa1vel"]
        {
            assert_eq!(read(stopped), Some(Some(State::Stopped)));
        }
        assert_eq!(read(b"Na fila"), Some(None));
        // A language that nobody taught it is no state at all, rather than a stopped one.
        assert_eq!(read("Wird ausgeführt".as_bytes()), None);
    }
}
