//! Contents as an archive holds them: deflated where that makes them smaller.

use libdeflater::{CompressionLvl, Compressor};

use super::format::{DEFLATED, STORED};

/// A content that a few samples speak for is looked at in pieces of this length, the first of them at its start.
const SAMPLE: usize = 16 << 10;
/// How far apart the samples of a long content are at most.
const APART: usize = 1 << 20;
/// Shorter contents are compressed without a look at samples.
const SAMPLED_FROM: usize = 16 * SAMPLE;

/// A whole content, compressed where that helped.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) size: u64,
    pub(super) bytes: Vec<u8>,
}

impl Packed {
    /// Puts down `content` as it is.
    pub fn stored(content: Vec<u8>) -> Self {
        Self { method: STORED, crc: crc32fast::hash(&content), size: content.len() as u64, bytes: content }
    }
}

/// Compresses whole contents; each thread has one of its own.
pub(crate) struct Packer {
    /// `None` stores.
    deflate: Option<Compressor>,
}

impl Packer {
    /// Compresses at `level` (1 to 9; 0 stores).
    pub fn new(level: u32) -> Self {
        let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
        Self { deflate: level.map(Compressor::new) }
    }

    /// Compresses `content`, unless it would not get smaller.
    pub fn pack(&mut self, content: Vec<u8>) -> Packed {
        let long = content.len() >= SAMPLED_FROM;
        let deflated = if long && !self.shrinks(&samples(&content)) { None } else { self.deflate(&content) };
        match deflated {
            Some(bytes) => Packed { method: DEFLATED, crc: crc32fast::hash(&content), size: content.len() as u64, bytes },
            None => Packed::stored(content),
        }
    }

    /// Whether what `samples` were taken of is worth compressing: it gets at least a twentieth smaller.
    pub fn shrinks(&mut self, samples: &[u8]) -> bool {
        let room = samples.len() / 20 * 19;
        self.deflate_into(samples, room).is_some()
    }

    fn deflate(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = self.deflate_into(content, content.len().saturating_sub(1))?;
        bytes.shrink_to_fit();
        Some(bytes)
    }

    /// `None` where it does not become as short as `room`.
    fn deflate_into(&mut self, content: &[u8], room: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; room];
        let len = self.deflate.as_mut()?.deflate_compress(content, &mut bytes).ok()?;
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Where to look at a content of this length, and how far from there: enough to tell whether all of it gets smaller.
pub(crate) fn sampled(len: u64) -> impl Iterator<Item = (u64, u64)> {
    let (sample, apart) = (SAMPLE as u64, APART as u64);
    // A few of a short one, and of one of many gigabytes not so many that they take long.
    let count = (len / apart).clamp(4, 256);
    (0..count).map(move |number| (len.saturating_sub(sample) / count * number, sample))
}

fn samples(content: &[u8]) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).expect("it is in memory");
    sampled(content.len() as u64).flat_map(|(at, len)| &content[place(at)..place(at + len)]).copied().collect()
}
