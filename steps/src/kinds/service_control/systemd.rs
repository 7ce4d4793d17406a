//! systemd units, as `systemctl show` tells of them: names and values that are never translated.

use std::collections::HashMap;

use super::{Ask, Seen, State};

pub(super) fn args(ask: Ask, name: &str, user: bool) -> Vec<String> {
    let scope = if user { "--user" } else { "--system" };
    let mut args = vec![scope.to_owned(), "--no-pager".to_owned(), "--no-ask-password".to_owned()];
    match ask {
        Ask::Show => args.extend(["show", "--property=LoadState,ActiveState,SubState,MainPID,Result"].map(str::to_owned)),
        Ask::Start => args.push("start".to_owned()),
        Ask::Stop => args.push("stop".to_owned()),
        Ask::Restart => args.push("restart".to_owned()),
    }
    // A unit's name may begin with a dash: that of the root folder's mount does.
    args.extend(["--".to_owned(), name.to_owned()]);
    args
}

/// `None` also of a unit that is masked or that there is none of: it is neither running nor stopped.
pub(super) fn read(shown: &str) -> Option<Seen> {
    let properties: HashMap<&str, &str> = shown.lines().filter_map(|line| line.split_once('=')).collect();
    let of = |name: &str| properties.get(name).copied().unwrap_or_default();
    if of("LoadState") != "loaded" {
        return None;
    }
    let state = match of("ActiveState") {
        "active" | "reloading" | "refreshing" => Some(State::Running),
        "inactive" | "failed" => Some(State::Stopped),
        "activating" | "deactivating" | "maintenance" => None,
        _ => return None,
    };
    let pid = of("MainPID").parse().ok().filter(|&pid| pid != 0);
    Some(Seen { state, pid, words: format!("{} ({}, {})", of("ActiveState"), of("SubState"), of("Result")) })
}
