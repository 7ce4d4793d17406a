//! A secret as it looks where it comes out again: every character of it for itself may be written in any of the ways in which URLs,
//! JSON, HTML, shells and programming languages write one.

use std::ops::Range;

use super::{CUT, SHORTEST_PIECE};

/// Where `secret` first is in `text` from the byte `from` on, in whatever encoding.
pub(super) fn next(text: &str, from: usize, secret: &[char]) -> Option<Range<usize>> {
    let at = |start| Some(start..*ends(text, start, secret).last()?);
    starts(text, from, *secret.first()?).find_map(at)
}

/// Where the beginning of `secret` first is in `text` right before a cut, or the end of it after one that begins the text.
pub(super) fn next_cut(text: &str, from: usize, secret: &[char]) -> Option<Range<usize>> {
    let pieces = SHORTEST_PIECE..secret.len();
    let begun = text.strip_prefix(CUT).filter(|_| from == 0).map(|_| CUT.len_utf8());
    let ending = begun.and_then(|start| {
        let end = pieces.clone().rev().find_map(|left| ends(text, start, &secret[secret.len() - left..]).pop());
        end.map(|end| start..end)
    });
    ending.or_else(|| {
        let cuts = text.char_indices().filter(|(at, c)| *c == CUT && *at >= from);
        cuts.map(|(cut, _)| cut).find_map(|cut| Some(beginning(&text[..cut], from, secret)?..cut))
    })
}

/// Where the beginning of `secret` is with which `text` ends.
fn beginning(text: &str, from: usize, secret: &[char]) -> Option<usize> {
    let ends_there = |start: &usize| {
        let mut reached = vec![*start];
        secret.iter().enumerate().any(|(matched, c)| {
            let over = matched >= SHORTEST_PIECE && reached.contains(&text.len());
            reached = step(text, &reached, *c);
            over
        })
    };
    starts(text, from, *secret.first()?).find(ends_there)
}

/// Where `first` may be in `text`.
fn starts(text: &str, from: usize, first: char) -> impl Iterator<Item = usize> {
    let may_be = move |c: char| c == first || matches!(c, '%' | '\\' | '&' | '+' | '\'' | '"');
    text[from..].char_indices().filter(move |(_, c)| may_be(*c)).map(move |(at, _)| from + at)
}

/// Where `secret` may end that begins at `start`, in order.
fn ends(text: &str, start: usize, secret: &[char]) -> Vec<usize> {
    let mut reached = vec![start];
    for c in secret {
        reached = step(text, &reached, *c);
        if reached.is_empty() {
            break;
        }
    }
    reached
}

/// Where `c` may end that begins at one of `starts`, in order.
fn step(text: &str, starts: &[usize], c: char) -> Vec<usize> {
    let mut ends: Vec<usize> =
        starts.iter().flat_map(|start| lengths(&text[*start..], c).into_iter().map(move |length| start + length)).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// The lengths of all that means `c` at the beginning of `text`.
fn lengths(text: &str, c: char) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut is = |written: &str| {
        if text.starts_with(written) {
            lengths.push(written.len());
        }
    };
    is(c.encode_utf8(&mut [0; 4]));
    match c {
        ' ' => is("+"),
        '\n' => ["\r\n", r"\n", r"\r\n"].into_iter().for_each(is),
        '\r' => is(r"\r"),
        '\t' => is(r"\t"),
        // Doubled, as SQL and CSV do, and as shells leave a quoted text for a moment.
        '\'' => ["''", r"'\''", "'\"'\"'"].into_iter().for_each(is),
        '"' => is("\"\""),
        _ => {}
    }
    match text.as_bytes().first() {
        Some(b'%') => lengths.extend(in_bytes(text, "%", 16, c)),
        Some(b'&') => lengths.extend(in_html(text, c)),
        Some(b'\\') => {
            let itself = (c.is_ascii_punctuation() || c == ' ') && text[1..].starts_with(c);
            lengths.extend(itself.then_some(2));
            lengths.extend(in_bytes(text, r"\x", 16, c));
            lengths.extend(in_bytes(text, r"\", 8, c));
            lengths.extend(in_units(text, r"\x", 2, &[u32::from(c)]));
            lengths.extend(in_units(text, r"\u", 4, &c.encode_utf16(&mut [0; 2]).iter().map(|unit| u32::from(*unit)).collect::<Vec<_>>()));
        }
        _ => {}
    }
    lengths
}

/// The bytes of `c`, each after `mark`: `%C3%B6`, `\xc3\xb6`, `\303\266`.
fn in_bytes(text: &str, mark: &str, radix: u32, c: char) -> Option<usize> {
    let digits = if radix == 16 { 2 } else { 3 };
    numbers(text, mark, radix, digits, c.encode_utf8(&mut [0; 4]).bytes().map(u32::from))
}

/// Numbers of so many hexadecimal digits, each after `mark`: `\u00f6`.
fn in_units(text: &str, mark: &str, digits: usize, units: &[u32]) -> Option<usize> {
    numbers(text, mark, 16, digits, units.iter().copied())
}

fn numbers(text: &str, mark: &str, radix: u32, digits: usize, mut expected: impl Iterator<Item = u32>) -> Option<usize> {
    let mut at = 0;
    expected.try_for_each(|number| {
        let written = text.get(at..)?.strip_prefix(mark)?.get(..digits)?;
        at += mark.len() + digits;
        (u32::from_str_radix(written, radix).ok()? == number).then_some(())
    })?;
    Some(at)
}

/// `&lt;`, `&#60;`, `&#x3c;`.
fn in_html(text: &str, c: char) -> Option<usize> {
    const LONGEST: usize = 10;
    let end = text.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let meant = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
            Some(digits) => number(digits, 16),
            None => name.strip_prefix('#').and_then(|digits| number(digits, 10)),
        },
    };
    (meant == Some(c)).then_some(end + 1)
}
