//! Variables whose names a shell could not use, like `app.password` or the functions that bash exports.
//!
//! The shell that a program becomes may drop them (dash does). They travel under names that it keeps, as `NAME=VALUE`, to a helper that
//! gives them their names and becomes the program: in no list of arguments, which every user of the machine may read.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The first argument of the helper; the program and its arguments follow.
const RENAME: &str = "__rename-variables";
const CARRIER: &str = "ALMAPLAN_VARIABLE_";
/// The exit code of a shell that does not find a program (POSIX, "Exit Status for Commands").
const NOT_FOUND: u8 = 127;

/// Whether a shell keeps a variable of this name.
pub fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') && bytes.first().is_some_and(|first| !first.is_ascii_digit())
}

/// The variables that carry `odd` ones to the helper.
pub fn carriers<'a>(odd: &'a [(OsString, OsString)]) -> impl Iterator<Item = (String, OsString)> + 'a {
    odd.iter()
        .enumerate()
        .map(|(n, (name, value))| (format!("{CARRIER}{n}"), [name.as_os_str(), OsStr::new("="), value].into_iter().collect()))
}

/// What stands before a program so that the helper becomes it.
pub fn command_words(helper: &Path) -> [OsString; 2] {
    [helper.into(), RENAME.into()]
}

/// What stands before a program where no helper can become it. Whoever looks into `/proc` in that moment reads the values.
pub fn env_words(odd: &[(OsString, OsString)]) -> impl Iterator<Item = OsString> + '_ {
    let pairs = odd.iter().map(|(name, value)| [name.as_os_str(), OsStr::new("="), value].into_iter().collect());
    std::iter::once("/usr/bin/env".into()).chain(pairs)
}

/// Becomes the program, if these are the arguments of a helper that does; returns only where it cannot.
pub fn run_helper(args: &[OsString]) -> Option<ExitCode> {
    let [rename, program, args @ ..] = args else { return None };
    if rename != RENAME {
        return None;
    }
    let mut command = Command::new(program);
    command.args(args);
    for n in 0.. {
        let carrier = format!("{CARRIER}{n}");
        let Some(pair) = std::env::var_os(&carrier).map(OsString::into_vec) else { break };
        command.env_remove(carrier);
        let Some(end) = pair.iter().position(|byte| *byte == b'=') else { continue };
        command.env(OsStr::from_bytes(&pair[..end]), OsStr::from_bytes(&pair[end + 1..]));
    }
    let error = command.exec();
    eprintln!("{}: {error}", Path::new(program).display());
    Some(ExitCode::from(NOT_FOUND))
}
