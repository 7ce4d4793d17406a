//! Reading files while others write into them.

mod live;

pub(crate) use self::live::{Live, SnapshotError, is_database};
