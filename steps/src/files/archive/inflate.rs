//! Inflates contents that fit into memory, which takes half the time of a stream.

use std::fs::File;
use std::io;

use libdeflater::Decompressor;
use memchr::memmem;

use crate::files::platform;

/// Longer contents are streams.
const WHOLE: u64 = 4 << 20;
/// How a content begins as gzip has it: no name, no time.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An archive that is open, and what a thread needs to read contents of it.
pub(crate) struct Handle {
    pub(super) file: File,
    inflate: Decompressor,
    frame: Vec<u8>,
    content: Vec<u8>,
}

/// Where a deflated content is, and what it is said to be.
pub(super) struct Deflated {
    pub offset: u64,
    pub compressed: u64,
    pub size: u64,
    pub crc: u32,
}

impl Handle {
    pub(super) fn new(file: File) -> Self {
        Self { file, inflate: Decompressor::new(), frame: Vec::new(), content: Vec::new() }
    }

    /// The content, if it is short and all that it is said to be. `None` where anything about it is odd: what that is, its stream tells.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn inflate(&mut self, deflated: &Deflated) -> io::Result<Option<&[u8]>> {
        if deflated.size == 0 || deflated.size.max(deflated.compressed) > WHOLE {
            return Ok(None);
        }
        let len = |bytes: u64| usize::try_from(bytes).expect("it is short");
        let low = u32::try_from(deflated.size).expect("it is short");
        let end = (u64::from(low) << 32 | u64::from(deflated.crc)).to_le_bytes();
        // As gzip has it, checksum and length are checked with it. Something between the stream and them would not be: then they came first.
        self.frame.clear();
        self.frame.extend(GZIP);
        self.frame.resize(GZIP.len() + len(deflated.compressed), 0);
        platform::read_exact_at(&self.file, &mut self.frame[GZIP.len()..], deflated.offset)?;
        self.frame.extend(end);
        if memmem::find(&self.frame[GZIP.len()..], &end) != Some(len(deflated.compressed)) {
            return Ok(None);
        }
        self.content.resize(len(deflated.size), 0);
        let inflated = self.inflate.gzip_decompress(&self.frame, &mut self.content);
        Ok((inflated == Ok(self.content.len())).then_some(&self.content))
    }
}
