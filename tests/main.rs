//! The binary against real folders, processes and crashes: one test program, so that what waits runs beside what computes.

#![allow(clippy::unwrap_used)]

mod support;

mod appends;
#[cfg(unix)] // reads the repository, which is the same on every system
mod book;
mod command_line;
mod contract;
#[cfg(unix)] // reads the repository, which is the same on every system
mod contract_rules;
#[cfg(unix)] // deploys the Python application; `procedure` is for every system
mod crash;
#[cfg(unix)] // deploys the Python application; `procedure` is for every system
mod deploy;
mod diamond;
mod encodings;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))] // the registers of a system call are those of this machine
mod faults;
#[cfg(target_os = "linux")] // looks at processes in `/proc`
mod flood;
#[cfg(unix)] // limits memory with `ulimit`
mod hostile_plans;
#[cfg(unix)] // runs Python, and sends signals
mod init;
mod journal;
#[cfg(unix)] // measures memory as the system counts it
mod large_plans;
mod once;
mod operator;
mod own_program;
mod preview;
mod procedure;
#[cfg(target_os = "linux")] // looks at processes in `/proc`
mod processes;
mod races;
#[cfg(unix)] // runs Python
mod secrets;
#[cfg(unix)] // runs Python, and sends signals
mod serving;
#[cfg(target_os = "linux")] // becomes other users with `setpriv`
mod users;
mod values;
mod ways_on;

/// Cargo takes no file here for a test of its own: what is no module is never run.
#[test]
fn every_file_beside_this_one_is_a_module() {
    let main = include_str!("main.rs");
    for path in std::fs::read_dir(support::repository().join("tests")).unwrap().map(|entry| entry.unwrap().path()) {
        let is_module = path.extension().is_some_and(|end| end == "rs") || path.join("mod.rs").exists();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!is_module || name == "main" || main.contains(&format!("\nmod {name};")), "{name} is no module of tests/main.rs");
    }
}
