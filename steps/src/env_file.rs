//! Files of variables as `.env` files have them, for programs that are started with them.
//!
//! ```text
//!  # comment
//!  export NAME=value   # up to a comment, without white space around it
//!  NAME='as it is'     NAME="with \n and ${OTHER}, over several lines"     NAME=${OTHER:-default}
//! ```
//!
//! Read by hand, as the crate for it replaces `$WORD` inside of unquoted passwords, which python-dotenv and docker leave alone. Every
//! value is a secret: none is shown or kept anywhere once it was read.

use std::path::PathBuf;

use almaplan_engine::context::Context;
use almaplan_engine::encoding;
use almaplan_engine::event::Failure;
use almaplan_engine::words::verbatim;
use serde::Serialize;

/// Shorter values are in every other text: masking them would hide nothing and spoil everything.
const SHORTEST: usize = 4;

/// Why a file of variables cannot be used.
#[derive(Debug, Serialize, thiserror::Error)]
enum EnvFileError {
    #[error("`env_file` {} cannot be used: {source}", file.display())]
    Unreadable {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("`env_file` {} cannot be used: it is neither UTF-8 nor UTF-16; save it as UTF-8", file.display())]
    NoText { file: PathBuf },
    #[error("`env_file` {} cannot be used: line {line} is not NAME=value", file.display())]
    NoVariable { file: PathBuf, line: usize },
}

/// The variables of `files`, those of later files last. Their values are masked from now on.
///
/// # Errors
/// A file cannot be read, or a line of it is no variable.
pub fn variables(cx: &Context, files: &[PathBuf]) -> Result<Vec<(String, Option<String>)>, Failure> {
    let mut found = Vec::new();
    for file in files.iter().map(|file| cx.path(file)) {
        let bytes = std::fs::read(&file).map_err(|source| Failure::clean(EnvFileError::Unreadable { file: file.clone(), source }))?;
        let text = encoding::decode(&bytes).map_err(|_| Failure::clean(EnvFileError::NoText { file: file.clone() }))?;
        let known = found.clone();
        let lookup = |name: &str| {
            let earlier = known.iter().rfind(|(known, _)| known == name).map(|(_, value): &(String, String)| value.clone());
            earlier.or_else(|| std::env::var(name).ok())
        };
        let read = parse(&text, lookup).map_err(|line| Failure::clean(EnvFileError::NoVariable { file: file.clone(), line }))?;
        cx.mask(read.iter().map(|(_, value)| value.as_str()).filter(|value| is_secret(value)));
        found.extend(read);
    }
    Ok(found.into_iter().map(|(name, value)| (name, Some(value))).collect())
}

/// What is no word of every log and no small number.
fn is_secret(value: &str) -> bool {
    let is_word = ["true", "false", "none", "null"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let is_small = value.len() < 6 && value.bytes().all(|byte| byte.is_ascii_digit());
    value.chars().count() >= SHORTEST && !is_word && !is_small
}

/// The variables of a text, or the number of the line that is none.
fn parse(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, usize> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let number = text[..text.len() - rest.len()].lines().count() + 1;
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let statement = line.trim();
        if statement.is_empty() || statement.starts_with('#') {
            rest = after;
            continue;
        }
        let statement = statement.strip_prefix("export ").unwrap_or(statement);
        let (name, value) = statement.split_once('=').ok_or(number)?;
        let (name, value) = (name.trim(), value.trim_start());
        let is_name = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Err(number);
        }
        let known = |wanted: &str| {
            let earlier = found.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            earlier.or_else(|| lookup(wanted))
        };
        let value = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                // From the quote on, over the ends of lines.
                let begin = text.len() - rest.len() + line.find('=').map_or(0, |at| at + line[at..].find(quote).unwrap_or_default());
                let (value, length) = quoted(&text[begin + 1..], quote).ok_or(number)?;
                let behind = &text[begin + 1 + length..];
                let (end, next) = behind.split_once('\n').unwrap_or((behind, ""));
                if !end.trim().is_empty() && !end.trim_start().starts_with('#') {
                    return Err(number);
                }
                rest = next;
                if quote == '"' { expanded(&value, known) } else { value }
            }
            _ => {
                rest = after;
                expanded(without_comment(value), known)
            }
        };
        let name = name.to_owned();
        found.push((name, value));
    }
    Ok(found)
}

/// The value that ends at the next `quote`, and how long it is with it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, index + 1)),
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    '\\' => value.push('\\'),
                    _ if escaped == quote => value.push(quote),
                    'n' if quote == '"' => value.push('\n'),
                    'r' if quote == '"' => value.push('\r'),
                    't' if quote == '"' => value.push('\t'),
                    _ => value.extend(['\\', escaped]),
                }
            }
            '\r' if text[index..].starts_with("\r\n") => {}
            _ => value.push(c),
        }
    }
    None
}

/// A comment of an unquoted value begins with `#` after white space.
fn without_comment(value: &str) -> &str {
    let begins = |index: &usize| value[..*index].chars().next_back().is_none_or(char::is_whitespace);
    let comment = value.match_indices('#').map(|(index, _)| index).find(begins);
    comment.map_or(value, |index| &value[..index]).trim_end()
}

/// `value` with each `${NAME}` and `${NAME:-default}` replaced.
fn expanded(value: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { break };
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        text.push_str(before);
        text.push_str(&known(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned()));
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, usize> {
        parse(text, |name| (name == "HOME").then(|| "/home/ana".to_owned()))
    }

    #[test]
    fn variables_are_read_as_python_dotenv_and_docker_read_them() {
        let text = "# comment\n\nA=1\nexport B = two words   # why\r\nC='as $it ${HOME} \\n is' # x\nD=\"line\\none\nline \\\"two\\\" ${A}\"\n\
                    E=pa$word#1\nF=\nG=${HOME}/x\nH=${NO:-default}-${NO}\nI=a=b==\nA.b-c=3\nJ=\"\"";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "as $it ${HOME} \\n is"),
            ("D", "line\none\nline \"two\" 1"),
            ("E", "pa$word#1"),
            ("F", ""),
            ("G", "/home/ana/x"),
            ("H", "default-"),
            ("I", "a=b=="),
            ("A.b-c", "3"),
            ("J", ""),
        ];
        assert_eq!(read(text).unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (text, line) in [("A=1\nwhat is this\n", 2), ("A=1\n=x\n", 2), ("\n2A=x\n", 2), ("A='open\nB=1\n", 1), ("A='x' y\n", 1)] {
            assert_eq!(read(text), Err(line), "{text}");
        }
    }

    #[tokio::test]
    async fn values_are_masked_once_they_are_read_in_whatever_encoding() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let text = "\u{feff}PASSWORD=segrêdo9\r\nPORT=5000\r\nDEBUG=true\r\n";
        std::fs::write(folder.path().join(".env"), text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let read = variables(&cx, &[".env".into()]).unwrap();
        assert_eq!(read[0], ("PASSWORD".to_owned(), Some("segrêdo9".to_owned())));
        assert_eq!(cx.masked("it is segrêdo9 on 5000, true"), "it is *** on 5000, true");
        let failure = variables(&cx, &["no.env".into()]).unwrap_err();
        assert!(failure.clean && failure.message.contains("no.env"), "{failure}");
        std::fs::write(folder.path().join("bad.env"), "X=1\nsegrêdo8\n").unwrap();
        let failure = variables(&cx, &["bad.env".into()]).unwrap_err();
        assert!(failure.message.contains("line 2") && !failure.message.contains("segr"), "{failure}");
    }
}
