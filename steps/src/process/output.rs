//! What a program prints: streamed line by line, and only its end kept. Memory stays bounded whatever comes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use almaplan_engine::step::Context;
use almaplan_engine::update::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that is shown whole, in bytes.
const LINE: usize = 64 << 10;
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

/// Shows each line of `source` through `cx` (where there is one) until it ends, and returns its last `keep` bytes. Bytes that are
/// no UTF-8 are replaced.
pub async fn pump(mut source: impl AsyncRead + Unpin, stream: Stream, cx: Option<Context>, last: LastLines, keep: usize) -> String {
    let mut tail = Tail { keep, bytes: Vec::new() };
    let mut lines = Lines::default();
    let mut show = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        last.push(line.clone());
        if let Some(cx) = &cx {
            cx.log(stream, line);
        }
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

/// The end of a stream.
struct Tail {
    keep: usize,
    bytes: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * self.keep {
            self.bytes.drain(..self.bytes.len() - self.keep);
        }
    }

    fn into_text(self) -> String {
        let from = self.bytes.len().saturating_sub(self.keep);
        let kept = &self.bytes[from..];
        // The rest of a character whose beginning was cut off; the beginning of a text has none.
        let rest = kept.iter().take_while(|&&byte| byte & 0xC0 == 0x80).count().min(3);
        String::from_utf8_lossy(&kept[rest..]).into_owned()
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    /// The open line was too long: the rest of it is dropped.
    cut: bool,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], show: &mut impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            self.end_line(show);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn finish(&mut self, show: &mut impl FnMut(&[u8])) {
        if !self.open.is_empty() {
            self.end_line(show);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE - self.open.len();
        self.cut |= bytes.len() > room;
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, show: &mut impl FnMut(&[u8])) {
        if self.cut {
            self.open.extend_from_slice(" … (cut)".as_bytes());
        }
        show(self.open.strip_suffix(b"\r").unwrap_or(&self.open));
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
        let mut show = |line: &[u8]| shown.push(String::from_utf8_lossy(line).into_owned());
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
        let mut tail = Tail { keep: KEEP, bytes: Vec::new() };
        let text = "é".repeat(KEEP);
        text.as_bytes().chunks(7).for_each(|chunk| tail.push(chunk));
        tail.push(b"!");
        let kept = tail.into_text();
        assert!(kept.len() <= KEEP && kept.ends_with("é!") && kept.starts_with('é'), "{:?}", &kept[..8]);
    }
}
