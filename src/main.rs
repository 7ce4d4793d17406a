//! The `almaplan` binary.

/// Small things are allocated by the hundred thousand, on several threads; with the system's own allocator a deploy that changes little
/// takes a seventh longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    almaplan::main()
}
