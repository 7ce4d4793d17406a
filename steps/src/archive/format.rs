//! The layout of a zip archive (APPNOTE 6.3.10), as bytes.

use jiff::tz::TimeZone;

pub(super) const LOCAL: u32 = 0x0403_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const END: u32 = 0x0605_4b50;
pub(super) const END64: u32 = 0x0606_4b50;
pub(super) const LOCATOR64: u32 = 0x0706_4b50;
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;

pub(super) const LOCAL_LEN: usize = 30;
pub(super) const CENTRAL_LEN: usize = 46;
pub(super) const END_LEN: usize = 22;
pub(super) const END64_LEN: usize = 56;
pub(super) const LOCATOR64_LEN: usize = 20;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

pub(super) const FLAG_ENCRYPTED: u16 = 1;
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
pub(super) const FLAG_STRONG: u16 = 1 << 6;
pub(super) const FLAG_MASKED: u16 = 1 << 13;

pub(super) const EXTRA_ZIP64: u16 = 0x0001;
pub(super) const EXTRA_NTFS: u16 = 0x000a;
/// Ours: see `details.rs`.
pub(super) const EXTRA_DETAILS: u16 = 0x6c61;
pub(super) const EXTRA_TIME: u16 = 0x5455;
pub(super) const EXTRA_UNICODE_PATH: u16 = 0x7075;

pub(super) const MAX32: u64 = 0xFFFF_FFFF;
/// In the external attributes: a folder, as DOS said it.
pub(super) const DOS_FOLDER: u32 = 0x10;
pub(super) const DOS_READ_ONLY: u32 = 0x01;

pub(super) const MODE_KIND: u32 = 0o170_000;
pub(super) const MODE_FOLDER: u32 = 0o040_000;
pub(super) const MODE_FILE: u32 = 0o100_000;
pub(super) const MODE_LINK: u32 = 0o120_000;

/// Takes numbers in little endian from the front; `None` where there is too little.
pub(super) struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }
}

/// From the beginning of 1601, from which NTFS counts, to that of 1970.
const NTFS_EPOCH_S: i64 = 11_644_473_600;
const NTFS_TICKS: i64 = 10_000_000;

/// A time as NTFS counts it, where it can: until the year 30,828.
pub(super) fn ntfs_time(seconds: i64) -> Option<u64> {
    u64::try_from(seconds.checked_add(NTFS_EPOCH_S)?.checked_mul(NTFS_TICKS)?).ok()
}

/// The other way round.
pub(super) fn from_ntfs_time(ticks: u64) -> Option<i64> {
    Some(i64::try_from(ticks).ok()?.div_euclid(NTFS_TICKS) - NTFS_EPOCH_S)
}

/// A time as DOS wrote it: local, in steps of two seconds, from 1980 on. The beginning of 1970 where it is none.
pub(super) fn from_dos_time(time: u16, date: u16, zone: &TimeZone) -> i64 {
    let small = |value: u16| i8::try_from(value).unwrap_or(0);
    let year = 1980 + i16::try_from(date >> 9).unwrap_or(0);
    let (month, day) = (small((date >> 5) & 15), small(date & 31));
    let (hour, minute, second) = (small(time >> 11), small((time >> 5) & 63), small((time & 31) * 2));
    let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0);
    civil.and_then(|civil| zone.to_timestamp(civil)).map_or(0, |at| at.as_second())
}
