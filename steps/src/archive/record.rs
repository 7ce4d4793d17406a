//! What an archive says of an entry, in its directory and in front of the content, and of its directory at its end, as it is written.
//! Nothing of it is believed yet.

use super::format::{
    CENTRAL, CENTRAL_LEN, END, END64, END64_LEN, EXTRA_DETAILS, EXTRA_NTFS, EXTRA_TIME, EXTRA_UNICODE_PATH, EXTRA_ZIP64, LOCAL, LOCAL_LEN,
    MAX32, Take, from_ntfs_time,
};

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
    pub disk: u16,
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
        let disk = head.u16()?;
        head.u16()?;
        let (attributes, offset) = (head.u32()?, head.u32()?);
        let (name, extra) = (rest.bytes(usize::from(name))?, rest.bytes(usize::from(extra))?);
        rest.bytes(usize::from(comment))?;
        Some(Self { made_by, flags, method, time, date, crc, compressed, size, disk, attributes, offset, name, extra })
    }
}

/// What an entry says of itself, in front of its content.
pub(super) struct Local {
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub compressed: u32,
    pub size: u32,
    pub name_len: usize,
    pub extra_len: usize,
}

impl Local {
    /// `None` where there is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut head = Take(bytes.get(..LOCAL_LEN)?);
        (head.u32()? == LOCAL).then_some(())?;
        head.u16()?;
        let (flags, method) = (head.u16()?, head.u16()?);
        head.u32()?;
        let (crc, compressed, size) = (head.u32()?, head.u32()?, head.u32()?);
        let (name_len, extra_len) = (head.u16()?.into(), head.u16()?.into());
        Some(Self { flags, method, crc, compressed, size, name_len, extra_len })
    }
}

/// What the extra fields make of a record.
pub(super) struct Extra<'a> {
    pub size: u64,
    pub compressed: u64,
    pub offset: u64,
    pub modified_s: Option<i64>,
    /// Another name, which some programs use instead.
    pub name: Option<&'a [u8]>,
    /// The field of ours, and `None` where there is none; two of them are none that can be believed.
    pub details: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// The fields in `extra` beside a size, a compressed size and an offset of 32 bits. `None` where one breaks off.
    pub fn parse(extra: &'a [u8], [size, compressed, offset]: [u32; 3]) -> Option<Self> {
        let mut found =
            Self { size: size.into(), compressed: compressed.into(), offset: offset.into(), modified_s: None, name: None, details: None };
        let mut rest = Take(extra);
        while !rest.0.is_empty() {
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
                EXTRA_NTFS => found.modified_s = found.modified_s.or(ntfs_modified(field)),
                EXTRA_DETAILS if found.details.is_some() => return None,
                EXTRA_DETAILS => found.details = Some(field.0),
                EXTRA_UNICODE_PATH => found.name = Some(field.0.get(5..)?),
                _ => {}
            }
        }
        Some(found)
    }
}

fn ntfs_modified(mut field: Take<'_>) -> Option<i64> {
    field.u32()?;
    (field.u16()? == 1 && field.u16()? >= 8).then_some(())?;
    from_ntfs_time(field.u64()?)
}

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
