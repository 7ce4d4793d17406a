//! `almaplan completions SHELL`.

use crate::cli::{self, CompletionsArgs};
use crate::diagnose::Exit;

use super::{Globals, print};

/// Prints the script.
pub fn run(args: &CompletionsArgs, globals: &Globals) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(&globals.lang), "almaplan", &mut script);
    print(&String::from_utf8_lossy(&script));
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{Lang, Tongue};

    #[test]
    fn every_shell_has_completions_in_both_languages() {
        use clap::ValueEnum;
        use clap_complete::Shell;
        for shell in Shell::value_variants() {
            for tongue in Tongue::ALL {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut cli::command(&Lang::new(tongue)), "almaplan", &mut script);
                let script = String::from_utf8_lossy(&script);
                assert!(script.contains("rollback") && script.contains("lock-timeout"), "{shell}, {}", tongue.tag());
                // The generators of the other shells complete no values.
                if [Shell::Bash, Shell::Zsh, Shell::Fish].contains(shell) {
                    assert!(script.contains("mermaid"), "{shell}, {}", tongue.tag());
                }
            }
        }
    }
}
