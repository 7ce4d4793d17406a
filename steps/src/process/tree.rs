//! A process with everything below it, and the way from a listener up to the root of what was started.
//!
//! A tree remembers whom it has seen: parents end before their children, and then nothing else tells whose those were. Besides,
//! it knows its own by the session it leads and by the mark that gates leave in the environment. Ourselves, what started us and
//! pid 1 are never part of a tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use almaplan_engine::step::ProcessIdentity;

use super::{Entry, MARK, boot, gate, running, system};

/// A root and what belongs to it.
#[derive(Debug, Clone)]
pub struct Tree {
    root: ProcessIdentity,
    /// The root was seen alive and leads a session, so that the session's id cannot belong to anyone else while members live.
    leads_session: bool,
    /// pid → start time.
    seen: BTreeMap<u32, u64>,
}

/// A process that must not be touched.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} is almaplan itself, or what started it: it is never stopped from here")]
pub struct NotOurs {
    /// Whose.
    pub pid: u32,
}

impl Tree {
    /// The tree below `root`, which may have ended already.
    pub fn of(root: &ProcessIdentity) -> Self {
        let alive = running(root.pid).filter(|entry| entry.started == root.started && root.boot == boot());
        let leads_session = alive.is_some_and(|entry| entry.session == entry.pid);
        let mut tree = Self { root: root.clone(), leads_session, seen: BTreeMap::new() };
        tree.refresh();
        tree
    }

    /// The root.
    pub fn root(&self) -> &ProcessIdentity {
        &self.root
    }

    /// Whether any process that was seen still runs. Cheap; [`Tree::refresh`] finds new ones.
    pub fn is_running(&self) -> bool {
        self.seen.iter().any(|(pid, started)| running(*pid).is_some_and(|entry| entry.started == *started))
    }

    /// The pids that run now, the root first.
    pub fn refresh(&mut self) -> Vec<u32> {
        self.members().iter().map(|entry| entry.pid).collect()
    }

    /// The rows of all that run now, the root first.
    pub(crate) fn members(&mut self) -> Vec<Entry> {
        if self.root.boot != boot() {
            return Vec::new();
        }
        let table: HashMap<u32, Entry> =
            system::entries().into_iter().filter(|entry| !entry.ended).map(|entry| (entry.pid, entry)).collect();
        let protected = ourselves();
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in table.values() {
            children.entry(entry.parent).or_default().push(entry.pid);
        }
        let mut members: Vec<Entry> = Vec::new();
        let mut known = HashSet::new();
        let mut add = |start: u32, members: &mut Vec<Entry>| {
            let mut waiting = vec![start];
            while let Some(pid) = waiting.pop() {
                if protected.contains(&pid) || !known.insert(pid) {
                    continue;
                }
                members.extend(table.get(&pid));
                waiting.extend(children.get(&pid).into_iter().flatten());
            }
        };
        for (pid, started) in std::iter::once((&self.root.pid, &self.root.started)).chain(&self.seen) {
            if table.get(pid).is_some_and(|entry| entry.started == *started) {
                add(*pid, &mut members);
            }
        }
        for entry in table.values().filter(|entry| self.owns(entry, &table)) {
            add(entry.pid, &mut members);
        }
        members.sort_by_key(|entry| (entry.pid != self.root.pid, entry.started, entry.pid));
        self.seen = members.iter().map(|entry| (entry.pid, entry.started)).collect();
        members
    }

    /// Whether `entry` is of this tree although its parents may be gone.
    fn owns(&self, entry: &Entry, table: &HashMap<u32, Entry>) -> bool {
        // What is older than the root cannot come from it.
        if entry.started < self.root.started {
            return false;
        }
        let reused = table.get(&self.root.pid).is_some_and(|now| now.started != self.root.started);
        let of_session = self.leads_session && entry.session == self.root.pid && !reused;
        of_session || system::variable(entry.pid, MARK).is_some_and(|mark| mark.to_str() == Some(gate::mark(&self.root).as_str()))
    }
}

/// Ourselves and all that we come from.
pub(super) fn ourselves() -> HashSet<u32> {
    let mut ours = HashSet::from([0, 1]);
    let mut pid = std::process::id();
    while ours.insert(pid) {
        pid = running(pid).map_or(1, |entry| entry.parent);
    }
    ours
}

/// The root of the tree that `pid` belongs to: what has to be stopped so that it does not come back.
///
/// What was started through a gate says so itself. Of anything else only a launcher, reloader or forking parent is taken: the
/// same program (or two of Python's), in the same session, group and folder; never a shell, a supervisor or a terminal.
///
/// # Errors
/// It is almaplan itself, or what started it.
pub fn root_of(pid: u32) -> Result<Option<ProcessIdentity>, NotOurs> {
    let protected = ourselves();
    let Some(mut top) = running(pid) else { return Ok(None) };
    if protected.contains(&pid) {
        return Err(NotOurs { pid });
    }
    if let Some(root) = marked_root(pid).filter(|root| !protected.contains(&root.pid)) {
        return Ok(super::identify(root.pid).filter(|identity| identity.started == root.started));
    }
    while let Some(parent) = running(top.parent).filter(|parent| !protected.contains(&parent.pid) && is_launcher(parent, &top)) {
        top = parent;
    }
    Ok(super::identify(top.pid).filter(|identity| identity.started == top.started))
}

/// Whether `pid` is a process that almaplan itself started.
pub fn came_through_a_gate(pid: u32) -> bool {
    marked_root(pid).is_some_and(|root| root.pid == pid)
}

/// The process that was let out of a gate and that `pid` comes from, if it still runs.
fn marked_root(pid: u32) -> Option<Entry> {
    let mark = system::variable(pid, MARK)?;
    let (root, started) = mark.to_str()?.split_once('.')?;
    let entry = running(root.parse().ok()?)?;
    (entry.started == started.parse::<u64>().ok()?).then_some(entry)
}

fn is_launcher(parent: &Entry, child: &Entry) -> bool {
    let same_place =
        parent.session == child.session && parent.group == child.group && system::folder(parent.pid) == system::folder(child.pid);
    let (Some(above), Some(below)) = (system::executable(parent.pid), system::executable(child.pid)) else { return false };
    same_place && system::same_family(&above, &below) && !is_shell(&above)
}

/// A script that a shell runs has a parent of the same program: that is the shell somebody sits at.
fn is_shell(program: &std::path::Path) -> bool {
    const SHELLS: [&str; 10] = ["sh", "bash", "dash", "zsh", "fish", "ksh", "busybox", "cmd", "powershell", "pwsh"];
    program.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| SHELLS.contains(&stem.to_ascii_lowercase().as_str()))
}
