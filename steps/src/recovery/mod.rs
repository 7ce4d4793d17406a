//! What a restored folder consists of: what comes back from the archive, and what stays as it is now.

mod error;
mod plan;
mod policy;

pub(crate) use self::error::{RecoveryError, RecoveryNote};
pub(crate) use self::plan::RestorePlan;
pub(crate) use self::policy::{Listing, Origin, RestorePolicy};
