//! Deflates a content of any length on several threads.
//!
//! ```text
//!  pieces of 1 MiB ─> each deflated beside the others, with the end of the one before as its dictionary ─> put down in order
//! ```
//! What comes of it does not depend on how many threads there are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::thread::{Scope, ScopedJoinHandle};

use flate2::{Compress, Compression, FlushCompress};

use crate::files::threads;

const PIECE: usize = 1 << 20;
/// How far back deflate refers.
const WINDOW: usize = 32 << 10;
/// An empty block that is the last one.
const LAST: [u8; 2] = [3, 0];

/// Takes a content, and writes it deflated to `out`.
pub(super) struct Deflate<'scope, 'env, W> {
    out: W,
    level: u32,
    scope: &'scope Scope<'scope, 'env>,
    /// What was taken, and is too little for a piece.
    piece: Vec<u8>,
    /// The end of what came before it.
    before: Vec<u8>,
    under_way: VecDeque<ScopedJoinHandle<'scope, io::Result<Vec<u8>>>>,
}

impl<'scope, 'env, W: Write> Deflate<'scope, 'env, W> {
    /// At `level` 1 to 9, with threads of `scope`.
    pub fn new(scope: &'scope Scope<'scope, 'env>, out: W, level: u32) -> Self {
        Self { out, level, scope, piece: Vec::with_capacity(PIECE), before: Vec::new(), under_way: VecDeque::new() }
    }

    /// Writes the rest, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.begin_piece()?;
        while !self.under_way.is_empty() {
            self.end_piece()?;
        }
        self.out.write_all(&LAST)?;
        Ok(self.out)
    }

    fn begin_piece(&mut self) -> io::Result<()> {
        if self.under_way.len() == threads() {
            self.end_piece()?;
        }
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let after = piece[piece.len().saturating_sub(WINDOW)..].to_vec();
        let (before, level) = (mem::replace(&mut self.before, after), self.level);
        self.under_way.push_back(self.scope.spawn(move || deflate(&piece, &before, level)));
        Ok(())
    }

    /// Puts down the piece that was begun first.
    fn end_piece(&mut self) -> io::Result<()> {
        let first = self.under_way.pop_front().expect("one was begun");
        self.out.write_all(&first.join().expect("a panic in deflate is a bug")?)
    }
}

impl<W: Write> Write for Deflate<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.begin_piece()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One piece, up to a whole byte, so that the next can follow.
fn deflate(piece: &[u8], before: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(Compression::new(level), false);
    if !before.is_empty() {
        compress.set_dictionary(before)?;
    }
    let mut out = Vec::with_capacity(piece.len() / 2 + 1024);
    let mut rest = piece;
    loop {
        let taken = compress.total_in();
        compress.compress_vec(rest, &mut out, FlushCompress::Sync)?;
        rest = &rest[usize::try_from(compress.total_in() - taken).expect("it is part of a piece")..];
        // With room left nothing waits to be written.
        if rest.is_empty() && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(PIECE / 4);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    fn deflated(content: &[u8], chunk: usize) -> Vec<u8> {
        std::thread::scope(|scope| {
            let mut deflate = Deflate::new(scope, Vec::new(), 6);
            content.chunks(chunk).for_each(|chunk| deflate.write_all(chunk).unwrap());
            deflate.finish().unwrap()
        })
    }

    #[test]
    fn a_content_of_any_length_is_one_stream_however_it_was_handed_over() {
        let mut number = 1_u64;
        let mut noise = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 60) as u8
        };
        let content: Vec<u8> = (0..3 * PIECE + 7).map(|_| noise()).collect();
        for len in [0, 1, WINDOW, PIECE - 1, PIECE, PIECE + 1, content.len()] {
            let (content, mut again) = (&content[..len], Vec::new());
            let stream = deflated(content, 256 << 10);
            flate2::bufread::DeflateDecoder::new(&stream[..]).read_to_end(&mut again).unwrap();
            assert!(again == content, "{len} bytes come back as {}", again.len());
            assert!(stream == deflated(content, 100_003), "{len} bytes depend on how they come");
        }
    }
}
