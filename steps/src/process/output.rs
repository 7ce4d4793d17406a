//! What a program prints: streamed line by line, and only its end kept. Memory, logs and time stay bounded whatever comes: what is
//! more than anyone reads is read, so that the program goes on at its own speed, and dropped.
//!
//! Where a text is cut there is a `…`: so what is left there of a secret can be masked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use almaplan_engine::context::Context;
use almaplan_engine::update::Stream;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that is shown whole, in bytes.
const LINE: usize = 64 << 10;
/// How much of a stream is shown, in bytes, each line counted as [`PER_LINE`] more.
const SHOWN: usize = 32 << 20;
/// What showing and keeping a line takes beside its text, in bytes.
const PER_LINE: usize = 64;
/// How many lines a failure shows.
const LAST: usize = 20;

/// The last lines of all streams of a program, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().expect("no code panics while it holds this lock");
        if lines.len() == LAST {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines, oldest first.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.lock().expect("no code panics while it holds this lock").iter().cloned().collect()
    }

    /// The last lines of `text`.
    pub fn of(text: &str) -> Vec<String> {
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// What is told of a program that prints without end.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("it prints more than {mebibytes} MiB: of what follows only the end is kept")]
struct TooMuch {
    mebibytes: usize,
}

/// Shows each line of `source` through `cx` (where there is one) until it ends, and returns its last `keep` bytes. Bytes that are
/// no UTF-8 are replaced.
pub async fn pump(mut source: impl AsyncRead + Unpin, stream: Stream, cx: Option<Context>, last: LastLines, keep: usize) -> String {
    let mut tail = Tail::new(keep);
    let mut lines = Lines::default();
    let mut room = SHOWN;
    let mut show = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        last.push(line.clone());
        let Some(cx) = cx.as_ref().filter(|_| room > 0) else { return false };
        room = room.saturating_sub(line.len() + PER_LINE);
        cx.log(stream, line);
        if room == 0 {
            cx.warn(TooMuch { mebibytes: SHOWN >> 20 });
        }
        room > 0
    };
    let mut chunk = vec![0; 32 << 10];
    // A read that fails says no more than its end would.
    while let Ok(count @ 1..) = source.read(&mut chunk).await {
        tail.push(&chunk[..count]);
        lines.push(&chunk[..count], &mut show);
    }
    lines.finish(&mut show);
    tail.into_text()
}

/// The last `keep` bytes of `read`, as text; `cut` where something came before them.
pub fn end_of(read: &[u8], keep: usize, cut: bool) -> String {
    let from = read.len().saturating_sub(keep);
    let kept = &read[from..];
    if from == 0 && !cut {
        return String::from_utf8_lossy(kept).into_owned();
    }
    // A line of which only the end is left says little, and may be half a secret.
    if let Some(end) = kept.iter().position(|&byte| byte == b'\n').filter(|end| end + 1 < kept.len()) {
        return String::from_utf8_lossy(&kept[end + 1..]).into_owned();
    }
    // The rest of a character whose beginning was cut off.
    let rest = kept.iter().take_while(|&&byte| byte & 0xC0 == 0x80).count().min(3);
    format!("…{}", String::from_utf8_lossy(&kept[rest..]))
}

/// The end of a stream.
struct Tail {
    keep: usize,
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn new(keep: usize) -> Self {
        Self { keep, bytes: Vec::new(), cut: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * self.keep {
            self.bytes.drain(..self.bytes.len() - self.keep);
            self.cut = true;
        }
    }

    fn into_text(self) -> String {
        end_of(&self.bytes, self.keep, self.cut)
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    /// The open line was too long: the rest of it is dropped.
    cut: bool,
    /// Nobody takes more than the last lines.
    only_last: bool,
}

impl Lines {
    /// `show` tells whether it takes more than the last lines.
    fn push(&mut self, mut bytes: &[u8], show: &mut impl FnMut(&[u8]) -> bool) {
        if self.only_last
            && let Some(from) = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(LAST).map(|(at, _)| at + 1)
        {
            self.open.clear();
            self.cut = false;
            bytes = &bytes[from..];
        }
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            self.end_line(show);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn finish(&mut self, show: &mut impl FnMut(&[u8]) -> bool) {
        if !self.open.is_empty() {
            self.end_line(show);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE - self.open.len();
        self.cut |= bytes.len() > room;
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, show: &mut impl FnMut(&[u8]) -> bool) {
        if self.cut {
            // Not between the bytes of one character.
            if let Err(error) = std::str::from_utf8(&self.open)
                && error.error_len().is_none()
            {
                self.open.truncate(error.valid_up_to());
            }
            self.open.extend_from_slice("… (cut)".as_bytes());
        }
        self.only_last = !show(self.open.strip_suffix(b"\r").unwrap_or(&self.open));
        self.open.clear();
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut shown = Vec::new();
        let mut show = |line: &[u8]| {
            shown.push(String::from_utf8_lossy(line).into_owned());
            shown.len() < 1000
        };
        let mut lines = Lines::default();
        chunks.iter().for_each(|chunk| lines.push(chunk, &mut show));
        lines.finish(&mut show);
        shown
    }

    #[test]
    fn lines_are_whole_however_the_pipe_cuts_them() {
        assert_eq!(lines_of(&[b"on", b"e\r\n\ntw", b"o\nend"]), ["one", "", "two", "end"]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; LINE + 10];
        let shown = lines_of(&[&long, b"more\nnext\n"]);
        assert!(shown[0].len() < LINE + 20 && shown[0].ends_with("(cut)"));
        assert_eq!(shown[1], "next");
    }

    #[test]
    fn the_tail_is_the_end_and_no_broken_character() {
        const KEEP: usize = 64 << 10;
        let mut tail = Tail::new(KEEP);
        let text = "é".repeat(KEEP);
        text.as_bytes().chunks(7).for_each(|chunk| tail.push(chunk));
        tail.push(b"!");
        let kept = tail.into_text();
        assert!(kept.len() <= KEEP + 3 && kept.ends_with("é!") && kept.starts_with("…é"), "{:?}", &kept[..8]);
    }

    // What was kept of the end began within a line, and could begin within a password.
    #[test]
    fn the_end_of_a_text_begins_with_a_whole_line() {
        assert_eq!(end_of(b"a password\nnext\n", 12, false), "next\n");
        assert_eq!(end_of(b"word\nnext\n", 99, true), "next\n");
        assert_eq!(end_of(b"a password\n", 6, false), "…sword\n");
        assert_eq!(end_of(b"whole\n", 99, false), "whole\n");
    }

    #[test]
    fn of_what_is_more_than_anyone_reads_the_last_lines_are_taken() {
        let line = |n: usize| format!("{n}\n").into_bytes();
        let flood: Vec<u8> = (0..5000).flat_map(line).collect();
        let mut chunks: Vec<&[u8]> = flood.chunks(1000).collect();
        chunks.push(b"the end");
        let shown = lines_of(&chunks);
        assert!(shown[..900].iter().enumerate().all(|(n, line)| *line == n.to_string()));
        assert!(shown.len() < 2000, "{}", shown.len());
        assert_eq!(shown[shown.len() - 3..], ["4998", "4999", "the end"]);
    }
}
