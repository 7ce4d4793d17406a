//! The `almaplan` binary.

fn main() -> std::process::ExitCode {
    almaplan::main()
}
