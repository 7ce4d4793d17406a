//! A process with everything below it, and the way from a listener up to the root of what was started.
//!
//! A tree remembers whom it has seen: parents end before their children, and then nothing else tells whose those were. Besides,
//! it knows its own by the session it leads and by what its gate left on them. Ourselves, what started us and
//! pid 1 are never part of a tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use almaplan_engine::event::ProcessIdentity;
use serde::Serialize;

use super::system::{self, TreeMarker};
use super::{Entry, boot, is_shell, running};

/// The running processes, by pid.
type Table = HashMap<u32, Entry>;

/// A root and what belongs to it.
#[derive(Debug, Clone)]
pub struct Tree {
    root: ProcessIdentity,
    /// The root was seen and leads a session, whose number nobody else can get while members live.
    leads_session: bool,
    /// pid → start time.
    seen: BTreeMap<u32, u64>,
}

/// A process that must not be touched.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("process {pid} is almaplan itself, or what started it: it is never stopped from here")]
pub struct NotOurs {
    /// Whose.
    pub pid: u32,
}

impl Tree {
    /// The tree below `root`, which may have ended already.
    pub fn of(root: &ProcessIdentity) -> Self {
        // A zombie still has its number: what ended before anyone looked may have left children in its session.
        let there = system::entry(root.pid).filter(|entry| entry.started == root.started && root.boot == boot());
        let leads_session = there.is_some_and(|entry| entry.session == entry.pid);
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
        let table: Table = system::entries().into_iter().filter(|entry| !entry.ended).map(|entry| (entry.pid, entry)).collect();
        let known = std::iter::once((&self.root.pid, &self.root.started)).chain(&self.seen);
        let known = known.filter_map(|(pid, started)| table.get(pid).filter(|entry| entry.started == *started));
        let marker = TreeMarker::of(self.root.pid, self.root.started);
        let owned = table.values().filter(|entry| self.owns(entry, &table, &marker));
        let mut members = with_all_below(known.chain(owned), &table, is_there);
        members.sort_by_key(|entry| (entry.pid != self.root.pid, entry.started, entry.pid));
        self.seen = members.iter().map(|entry| (entry.pid, entry.started)).collect();
        // Without members its number may be given away, and its next holder may end and leave members of its own.
        self.leads_session &= !members.is_empty() || system::entry(self.root.pid).is_some_and(|entry| entry.started == self.root.started);
        members
    }

    /// Whether `entry` is of this tree although its parents may be gone.
    fn owns(&self, entry: &Entry, table: &Table, marker: &TreeMarker) -> bool {
        // What is older than the root cannot come from it.
        if entry.started < self.root.started {
            return false;
        }
        let reused = table.get(&self.root.pid).is_some_and(|now| now.started != self.root.started);
        let of_session = self.leads_session && entry.session == self.root.pid && !reused;
        of_session || marker.has(entry)
    }
}

/// `some` of the rows of `table` and all below them. A table is not read in one moment: who is someone's child there is so for sure
/// only where that one `is_there` even now that all has been read. Else its pid may have been another's when the child was read.
fn with_all_below<'t>(some: impl Iterator<Item = &'t Entry>, table: &'t Table, is_there: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let protected = ourselves();
    let mut children: HashMap<u32, Vec<&Entry>> = HashMap::new();
    for entry in table.values() {
        children.entry(entry.parent).or_default().push(entry);
    }
    let (mut members, mut known) = (Vec::new(), HashSet::new());
    let mut waiting: Vec<&Entry> = some.collect();
    while let Some(entry) = waiting.pop() {
        if protected.contains(&entry.pid) || !known.insert(entry.pid) {
            continue;
        }
        members.push(*entry);
        // A child that is older than its parent is another one's, whose pid the parent has now.
        let below = children.get(&entry.pid).filter(|_| is_there(entry)).into_iter().flatten();
        waiting.extend(below.filter(|child| child.started >= entry.started));
    }
    members
}

/// Whether the process of a row runs still.
fn is_there(entry: &Entry) -> bool {
    running(entry.pid).is_some_and(|now| now.started == entry.started)
}

/// Ourselves and all that we come from.
pub(super) fn ourselves() -> HashSet<u32> {
    let mut ours = HashSet::from([0, 1]);
    let mut next = running(std::process::id());
    while let Some(entry) = next.filter(|entry| ours.insert(entry.pid)) {
        next = parent(&entry);
    }
    ours
}

/// Who started `entry`, if that still runs: a younger process has only got its pid.
fn parent(entry: &Entry) -> Option<Entry> {
    running(entry.parent).filter(|parent| parent.started <= entry.started)
}

/// The root of the tree that `process` belongs to: what has to be stopped so that it does not come back. `None` where it has ended.
///
/// What was started through a gate says so itself. Of anything else only a launcher, reloader or forking parent is taken: the
/// same program (or two of Python's), in the same session, group and folder; never a shell, a supervisor or a terminal.
///
/// # Errors
/// It is almaplan itself, or what started it.
pub fn root_of(process: &ProcessIdentity) -> Result<Option<ProcessIdentity>, NotOurs> {
    let protected = ourselves();
    let Some(mut top) = running(process.pid).filter(|entry| entry.started == process.started && process.boot == boot()) else {
        return Ok(None);
    };
    if protected.contains(&process.pid) {
        return Err(NotOurs { pid: process.pid });
    }
    match marked_root(&top).filter(|root| !protected.contains(&root.pid)) {
        Some(root) => top = root,
        None => {
            while let Some(parent) = parent(&top).filter(|parent| !protected.contains(&parent.pid) && is_launcher(parent, &top)) {
                top = parent;
            }
        }
    }
    Ok(super::identify(top.pid).filter(|identity| identity.started == top.started))
}

/// Whether `process` is one that almaplan itself started.
pub fn came_through_a_gate(process: &ProcessIdentity) -> bool {
    let entry = running(process.pid).filter(|entry| entry.started == process.started);
    entry.and_then(|entry| marked_root(&entry)).is_some_and(|root| root.pid == process.pid && root.started == process.started)
}

/// The process that was let out of a gate and that `entry` comes from, if it still runs. Anybody can give a process of their own any
/// mark: it counts only where the one that it names carries the same, as whatever comes out of a gate does.
fn marked_root(entry: &Entry) -> Option<Entry> {
    let mark = system::gated_root(entry.pid).filter(|_| is_there(entry))?;
    running(mark.0).filter(|root| root.started == mark.1 && system::gated_root(root.pid) == Some(mark))
}

fn is_launcher(parent: &Entry, child: &Entry) -> bool {
    // Nobody is younger than its child: that one has the pid of a parent which is gone.
    if parent.started > child.started {
        return false;
    }
    let same_place =
        parent.session == child.session && parent.group == child.group && system::folder(parent.pid) == system::folder(child.pid);
    let (Some(above), Some(below)) = (system::executable(parent.pid), system::executable(child.pid)) else { return false };
    same_place && system::same_family(&above, &below) && !is_shell(&above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, started: u64) -> Entry {
        let (cpu, memory) = Default::default();
        Entry { pid, parent, group: pid, session: pid, started, ended: false, suspended: false, cpu, memory }
    }

    // A parent was read from the process table, ended, and its pid went to a stranger whose child was read a moment later: that
    // child counted as ours, and was killed with all that it had started.
    #[test]
    fn a_child_is_nobodys_whose_parent_is_gone_once_all_has_been_read() {
        let table: Table = [row(4100, 7, 50), row(4200, 4100, 60), row(4300, 4200, 70)].map(|entry| (entry.pid, entry)).into();
        let below = |is_there: fn(&Entry) -> bool| {
            let members = with_all_below(table.get(&4100).into_iter(), &table, is_there);
            members.iter().map(|entry| entry.pid).collect::<Vec<_>>()
        };
        assert_eq!(below(|_| true), [4100, 4200, 4300]);
        assert_eq!(below(|entry| entry.pid != 4200), [4100, 4200]);
        assert_eq!(below(|entry| entry.pid != 4100), [4100]);
    }

    // The same of a launcher: who has the pid of a parent that is gone is younger than its child.
    #[test]
    fn nobody_is_the_launcher_of_who_is_older() {
        let us = running(std::process::id()).expect("we run");
        let again = Entry { started: us.started + 1, ..us };
        assert!(is_launcher(&us, &again));
        assert!(!is_launcher(&again, &us));
    }
}
