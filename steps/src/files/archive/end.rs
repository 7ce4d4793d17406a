//! What the end of an archive says of its directory, as it is written; nothing of it is believed yet.

use super::format::{END, END64, END64_LEN, MAX32, Take};

/// What an end says of the directory.
pub(super) struct End {
    pub disks: u64,
    pub count_here: u64,
    pub count: u64,
    pub len: u64,
    pub offset: u64,
}

impl End {
    /// `None` where it breaks off.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut end = Take(bytes.get(4..)?);
        let disks = u64::from(end.u16()?) + u64::from(end.u16()?);
        let (count_here, count) = (end.u16()?.into(), end.u16()?.into());
        Some(Self { disks, count_here, count, len: end.u32()?.into(), offset: end.u32()?.into() })
    }

    /// The wide one; `None` where it is none.
    pub fn parse64(bytes: &[u8]) -> Option<Self> {
        let mut end = Take(bytes);
        (end.u32()? == END64 && end.u64()? == END64_LEN as u64 - 12).then_some(())?;
        end.u32()?;
        let disks = u64::from(end.u32()?) + u64::from(end.u32()?);
        Some(Self { disks, count_here: end.u64()?, count: end.u64()?, len: end.u64()?, offset: end.u64()? })
    }

    /// Whether this says the same as `wide`, or that it could not.
    pub fn may_be(&self, wide: &Self) -> bool {
        let fits = |small: u64, large: u64, unknown: u64| small == large || small == unknown;
        fits(self.disks, wide.disks, 0)
            && fits(self.count_here, wide.count_here, 0xFFFF)
            && fits(self.count, wide.count, 0xFFFF)
            && fits(self.len, wide.len, MAX32)
            && fits(self.offset, wide.offset, MAX32)
    }
}

/// Whether the end of an archive begins here: its comment reaches exactly to the end of the file.
pub(super) fn is_end(bytes: &[u8]) -> bool {
    let mut end = Take(bytes);
    end.u32() == Some(END) && end.bytes(16).is_some() && end.u16().is_some_and(|len| usize::from(len) == end.0.len())
}
