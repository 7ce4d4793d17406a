//! The real binary at every system call that writes, syncs or renames: killed there, failed there, or with a disk that is full.
//!
//! ```text
//!  inject.c   stops the binary at its n-th call of a name on a path: kills it, or makes the call fail
//!  inject.rs  runs it; what it reports; every call of a run, each hit once, and the proof that none was missed
//!  fixture.rs   a production folder with all that is nasty, and what it must look like in the end
//!  plans.rs   small plans of one kind each, and a whole procedure
//!  kills.rs, errors.rs, full_disk.rs   what is asked of the binary
//! ```

// The registers of a system call are those of this machine.

mod errors;
mod fixture;
mod full_disk;
mod inject;
mod kills;
mod plans;
