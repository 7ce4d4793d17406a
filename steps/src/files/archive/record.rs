//! One record of an archive's directory, as it is written; nothing of it is believed yet.

use super::format::{CENTRAL, CENTRAL_LEN, EXTRA_TIME, EXTRA_ZIP64, MAX32, Take};

/// What a record says.
pub(super) struct RawEntry<'a> {
    pub made_by: u16,
    pub flags: u16,
    pub method: u16,
    pub time: u16,
    pub date: u16,
    pub crc: u32,
    pub compressed: u32,
    pub size: u32,
    pub attributes: u32,
    pub offset: u32,
    pub name: &'a [u8],
    pub extra: &'a [u8],
}

impl<'a> RawEntry<'a> {
    /// Takes one from the front; `None` where it breaks off.
    pub fn take(rest: &mut Take<'a>) -> Option<Self> {
        let mut head = Take(rest.bytes(CENTRAL_LEN)?);
        (head.u32()? == CENTRAL).then_some(())?;
        let made_by = head.u16()?;
        head.u16()?;
        let (flags, method, time, date) = (head.u16()?, head.u16()?, head.u16()?, head.u16()?);
        let (crc, compressed, size) = (head.u32()?, head.u32()?, head.u32()?);
        let (name, extra, comment) = (head.u16()?, head.u16()?, head.u16()?);
        head.bytes(4)?;
        let (attributes, offset) = (head.u32()?, head.u32()?);
        let (name, extra) = (rest.bytes(usize::from(name))?, rest.bytes(usize::from(extra))?);
        rest.bytes(usize::from(comment))?;
        Some(Self { made_by, flags, method, time, date, crc, compressed, size, attributes, offset, name, extra })
    }
}

/// What the extra fields make of a record.
pub(super) struct Extra {
    pub size: u64,
    pub compressed: u64,
    pub offset: u64,
    pub modified_s: Option<i64>,
}

impl Extra {
    /// `None` where a field breaks off.
    pub fn parse(raw: &RawEntry<'_>) -> Option<Self> {
        let mut found = Self { size: raw.size.into(), compressed: raw.compressed.into(), offset: raw.offset.into(), modified_s: None };
        let mut rest = Take(raw.extra);
        while rest.0.len() >= 4 {
            let (id, len) = (rest.u16()?, rest.u16()?);
            let mut field = Take(rest.bytes(usize::from(len))?);
            match id {
                EXTRA_ZIP64 => {
                    for number in [&mut found.size, &mut found.compressed, &mut found.offset] {
                        if *number == MAX32 {
                            *number = field.u64()?;
                        }
                    }
                }
                EXTRA_TIME if field.bytes(1)?[0] & 1 == 1 => {
                    found.modified_s = Some(i32::from_le_bytes(field.bytes(4)?.try_into().ok()?).into());
                }
                _ => {}
            }
        }
        Some(found)
    }
}
