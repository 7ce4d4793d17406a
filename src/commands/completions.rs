//! `almaplan completions SHELL`.

use crate::cli::{self, CompletionsArgs};
use crate::exit::Exit;
use crate::terminal::{Terminal, print};

/// Prints the script.
pub fn run(args: &CompletionsArgs, terminal: &Terminal) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(terminal.lang()), "almaplan", &mut script);
    print(&String::from_utf8_lossy(&script));
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{Lang, Language};

    #[test]
    fn every_shell_has_completions_in_both_languages() {
        use clap::ValueEnum;
        use clap_complete::Shell;
        for shell in Shell::value_variants() {
            for language in Language::ALL {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut cli::command(&Lang::new(language)), "almaplan", &mut script);
                let script = String::from_utf8_lossy(&script);
                assert!(script.contains("rollback") && script.contains("lock-timeout"), "{shell}, {}", language.tag());
                // The generators of the other shells complete no values.
                if [Shell::Bash, Shell::Zsh, Shell::Fish].contains(shell) {
                    assert!(script.contains("mermaid"), "{shell}, {}", language.tag());
                }
            }
        }
    }
}
