//! Windows' services, as `sc.exe queryex` tells of them: labels are translated, the names of states and `PID` are not.
//!
//! Not by the crate `windows-service`: a tool is asked in the same way as those of the other managers, so that one path serves all three,
//! and the same tests try it on every system.

use super::{Ask, Seen, State};

pub(super) fn args(ask: Ask, name: &str) -> Vec<String> {
    let verb = match ask {
        Ask::Show => "queryex",
        Ask::Start => "start",
        Ask::Stop => "stop",
        // There is none: it is stopped and started.
        Ask::Restart => unreachable!("`Manager::restarts` says that it has none"),
    };
    vec![verb.to_owned(), name.to_owned()]
}

pub(super) fn read(shown: &str) -> Option<Seen> {
    // `        STATE              : 4  RUNNING`, in Portuguese `        ESTADO             : 4  RUNNING`
    let values = shown.lines().filter_map(|line| line.split_once(':'));
    let (state, words) = values.filter_map(|(_, value)| state(value.trim())).next()?;
    let pid = shown.lines().filter_map(|line| line.split_once(':')).find(|(label, _)| label.trim() == "PID");
    let pid = pid.and_then(|(_, value)| value.trim().parse().ok()).filter(|&pid| pid != 0);
    Some(Seen { state, pid, words })
}

/// The state in a value like `4  RUNNING`, and its name.
fn state(value: &str) -> Option<(Option<State>, String)> {
    let (code, name) = value.split_once(char::is_whitespace)?;
    let name = name.split_whitespace().next()?;
    let state = match (code, name) {
        ("1", "STOPPED") => Some(State::Stopped),
        // What is paused is loaded and holds what it holds.
        ("4", "RUNNING") | ("7", "PAUSED") => Some(State::Running),
        ("2", "START_PENDING") | ("3", "STOP_PENDING") | ("5", "CONTINUE_PENDING") | ("6", "PAUSE_PENDING") => None,
        _ => return None,
    };
    Some((state, name.to_owned()))
}
