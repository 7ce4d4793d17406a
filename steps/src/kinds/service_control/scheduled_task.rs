//! Windows' scheduled tasks, by PowerShell's module `ScheduledTasks`, which tells their state as a number.
//!
//! `schtasks.exe` tells it only as a word of the system's language.

use super::{Ask, Seen, State};

pub(super) fn args(ask: Ask, name: &str) -> Vec<String> {
    let (folder, task) = name.rsplit_once('\\').unwrap_or(("", name));
    let what =
        format!("-TaskPath {} -TaskName {}", quoted(&format!("\\{}\\", folder.trim_matches('\\')).replace("\\\\", "\\")), quoted(task));
    let command = match ask {
        Ask::Show => format!("[int](Get-ScheduledTask {what}).State"),
        Ask::Start => format!("Start-ScheduledTask {what}"),
        Ask::Stop => format!("Stop-ScheduledTask {what}"),
        Ask::Restart => unreachable!("`Manager::restarts` says that it has none"),
    };
    let script = format!("$ErrorActionPreference = 'Stop'; {command}");
    ["-NoProfile", "-NonInteractive", "-Command", &script].map(str::to_owned).to_vec()
}

/// A text of PowerShell in which nothing stands for anything else. It takes typographic quotes for quotes, too.
fn quoted(text: &str) -> String {
    let doubled = text.chars().flat_map(|c| std::iter::repeat_n(c, if matches!(c, '\'' | '‘' | '’' | '‚' | '‛') { 2 } else { 1 }));
    format!("'{}'", doubled.collect::<String>())
}

/// The members of `TASK_STATE`. A task has no process that could be told apart: it may have several.
pub(super) fn read(shown: &str) -> Option<Seen> {
    let (state, words) = match shown.trim() {
        "1" => (Some(State::Stopped), "disabled"),
        // Waiting for its turn to run.
        "2" => (None, "queued"),
        "3" => (Some(State::Stopped), "ready"),
        "4" => (Some(State::Running), "running"),
        _ => return None,
    };
    Some(Seen { state, pid: None, words: words.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_folder_and_a_task_and_never_a_command() {
        let shown = |name: &str| args(Ask::Show, name).pop().unwrap_or_default();
        let asks = |what: &str| format!("$ErrorActionPreference = 'Stop'; [int](Get-ScheduledTask {what}).State");
        assert_eq!(shown(r"\Almareia\Servidor"), asks(r"-TaskPath '\Almareia\' -TaskName 'Servidor'"));
        assert_eq!(shown(r"Almareia\Web\Servidor"), asks(r"-TaskPath '\Almareia\Web\' -TaskName 'Servidor'"));
        assert_eq!(shown("Servidor"), asks(r"-TaskPath '\' -TaskName 'Servidor'"));
        assert_eq!(shown("d'água; exit’"), asks(r"-TaskPath '\' -TaskName 'd''água; exit’’'"));
    }

    #[test]
    fn what_is_no_state_is_none() {
        assert_eq!(read("4\r\n").map(|seen| seen.state), Some(Some(State::Running)));
        assert_eq!(read("2").map(|seen| seen.state), Some(None));
        for odd in ["", "0", "Running", "3 3"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
