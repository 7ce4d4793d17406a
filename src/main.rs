//! The `almaplan` binary.

/// Small things are allocated by the hundred thousand, on several threads; the system's own allocator takes a third of the time of a
/// deploy that changes little.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    almaplan::main()
}
