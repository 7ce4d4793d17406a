//! What a process may do, and how it is treated, as Linux shows it in `/proc` and as a child takes it over before it runs.

use std::fs;
use std::io;

use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, setpriority_process, setrlimit, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

/// User, groups, umask, limits and priorities of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    umask: u32,
    nice: i32,
    oom_score_adj: i32,
    limits: Vec<Limit>,
}

/// One limit of a process; `None` is without limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    name: String,
    soft: Option<u64>,
    hard: Option<u64>,
}

/// The limits as `/proc/PID/limits` calls them.
const RESOURCES: [(&str, Resource); 14] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
    ("Max pending signals", Resource::Sigpending),
    ("Max msgqueue size", Resource::Msgqueue),
    ("Max nice priority", Resource::Nice),
    ("Max realtime priority", Resource::Rtprio),
];

impl Rights {
    /// Those of the process that has `pid`.
    ///
    /// # Errors
    /// It is gone, or this user may not see them.
    pub fn of(pid: u32) -> io::Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let status = read("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).ok_or_else(|| io::Error::other(format!("`{name}` is missing in its status")))
        };
        let numbers = |text: &str| text.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<u32>>();
        // Real, effective, saved, of the file system: what it runs as is the second.
        let second = |name: &str| field(name).map(|text| numbers(text).get(1).copied().unwrap_or_default());
        let stat = read("stat")?;
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let nice = behind_name.split_whitespace().nth(16).and_then(|nice| nice.parse().ok()).unwrap_or_default();
        Ok(Self {
            uid: second("Uid")?,
            gid: second("Gid")?,
            groups: numbers(field("Groups")?),
            umask: u32::from_str_radix(field("Umask")?, 8).map_err(io::Error::other)?,
            nice,
            oom_score_adj: read("oom_score_adj")?.trim().parse().unwrap_or_default(),
            limits: limits(&read("limits")?),
        })
    }

    /// Whether this process may start another one with them.
    pub fn can_be_taken(&self) -> bool {
        if rustix::process::geteuid().is_root() {
            return true;
        }
        let Ok(own) = Self::of(std::process::id()) else { return false };
        let sorted = |groups: &[u32]| {
            let mut groups = groups.to_vec();
            groups.sort_unstable();
            groups
        };
        let at_most = |limit: &Limit| {
            let ours = own.limits.iter().find(|ours| ours.name == limit.name);
            ours.is_none_or(|ours| ours.hard.unwrap_or(u64::MAX) >= limit.hard.unwrap_or(u64::MAX))
        };
        (self.uid, self.gid) == (own.uid, own.gid)
            && sorted(&self.groups) == sorted(&own.groups)
            && self.nice >= own.nice
            && self.oom_score_adj >= own.oom_score_adj
            && self.limits.iter().all(at_most)
    }

    /// What makes the calling process have them. The returned closure allocates nothing, so that it may run between fork and exec.
    pub fn taken(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
        let limits: Vec<(Resource, Rlimit)> = self.limits.iter().filter_map(Limit::of_system).collect();
        let groups: Vec<rustix::fs::Gid> = self.groups.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
        let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
        let (mask, nice, score) = (Mode::from_raw_mode(self.umask), self.nice, self.oom_score_adj.to_string());
        let root = rustix::process::geteuid().is_root();
        move || {
            umask(mask);
            for (resource, limit) in &limits {
                setrlimit(*resource, *limit)?;
            }
            setpriority_process(None::<Pid>, nice)?;
            // Not every kernel lets it be set; what it is for, who is killed first, is no reason not to serve.
            let _ = rustix::fs::open(c"/proc/self/oom_score_adj", rustix::fs::OFlags::WRONLY, Mode::empty())
                .and_then(|file| rustix::io::write(&file, score.as_bytes()));
            // The groups and the user last: behind them the rest is not allowed any more.
            if root {
                set_thread_groups(&groups)?;
                set_thread_res_gid(gid, gid, gid)?;
                set_thread_res_uid(uid, uid, uid)?;
            }
            Ok(())
        }
    }
}

impl Limit {
    fn of_system(&self) -> Option<(Resource, Rlimit)> {
        let (_, resource) = RESOURCES.into_iter().find(|(name, _)| *name == self.name)?;
        Some((resource, Rlimit { current: self.soft, maximum: self.hard }))
    }
}

fn limits(text: &str) -> Vec<Limit> {
    let limit = |(name, _): (&str, Resource)| {
        let mut values = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
        let mut value = || values.next().map(|value| value.parse().ok());
        Some(Limit { name: name.to_owned(), soft: value()?, hard: value()? })
    };
    RESOURCES.into_iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_system_shows_of_a_process_is_read() {
        let own = Rights::of(std::process::id()).unwrap();
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert!(own.can_be_taken(), "our own");
        let files = own.limits.iter().find(|limit| limit.name == "Max open files").unwrap();
        assert_eq!(files.soft, rustix::process::getrlimit(Resource::Nofile).current);
        assert!(Rights::of(u32::MAX).is_err());
    }
}
