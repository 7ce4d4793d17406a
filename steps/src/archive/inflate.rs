//! Reads the bytes of contents, and inflates them.

use std::fs::File;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use crate::files::platform;

/// How much is read, and handed on, at once.
const PIECE: usize = 128 << 10;

/// An archive that is open, and what a thread needs to read contents of it.
pub(crate) struct Handle {
    file: File,
    inflate: Decompress,
    raw: Vec<u8>,
    content: Vec<u8>,
}

/// Why a content ended early.
pub(super) enum Broken<E> {
    /// It cannot be read.
    Read(io::Error),
    /// It is no deflate stream.
    Deflate(io::Error),
    /// Something follows the deflate stream.
    TooLong,
    /// Whoever takes the content has had enough.
    Refused(E),
}

impl Handle {
    pub(super) fn new(file: File) -> Self {
        Self { file, inflate: Decompress::new(false), raw: vec![0; PIECE], content: vec![0; PIECE] }
    }

    /// Hands the `len` bytes from `offset` to `pass`, piece by piece.
    pub(super) fn stored<E>(&mut self, offset: u64, len: u64, mut pass: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), Broken<E>> {
        let Self { file, raw, .. } = self;
        pieces(file, raw, offset, len, |piece| pass(piece).map_err(Broken::Refused))
    }

    /// Hands what the `len` bytes from `offset` inflate to on to `pass`, piece by piece.
    pub(super) fn inflated<E>(&mut self, offset: u64, len: u64, mut pass: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), Broken<E>> {
        let Self { file, inflate, raw, content } = self;
        inflate.reset(false);
        let mut ended = false;
        pieces(file, raw, offset, len, |mut piece| {
            loop {
                if ended {
                    return Err(Broken::TooLong);
                }
                let (taken, made) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(piece, content, FlushDecompress::None).map_err(|error| Broken::Deflate(error.into()))?;
                let taken = usize::try_from(inflate.total_in() - taken).expect("it is part of a piece");
                let made = usize::try_from(inflate.total_out() - made).expect("it is part of a piece");
                pass(&content[..made]).map_err(Broken::Refused)?;
                piece = &piece[taken..];
                ended = status == Status::StreamEnd;
                // With room left, all that there was to make is made.
                if piece.is_empty() && (ended || made < content.len()) {
                    return Ok(());
                }
                if taken == 0 && made == 0 {
                    return Err(Broken::Deflate(io::ErrorKind::InvalidData.into()));
                }
            }
        })?;
        if ended { Ok(()) } else { Err(Broken::Deflate(io::ErrorKind::UnexpectedEof.into())) }
    }
}

/// Reads `len` bytes from `offset`, and hands them to `pass`, piece by piece.
fn pieces<E>(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
    len: u64,
    mut pass: impl FnMut(&[u8]) -> Result<(), Broken<E>>,
) -> Result<(), Broken<E>> {
    let mut left = len;
    while left > 0 {
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = &mut buffer[..count];
        platform::read_exact_at(file, piece, offset + (len - left)).map_err(Broken::Read)?;
        pass(piece)?;
        left -= count as u64;
    }
    Ok(())
}
