//! A release: what it consists of, how it is staged, and how it takes the place of the one before.

mod compare;
mod difference;
mod error;
mod hash_cache;
mod install;
mod links;
mod manifest;
mod owners;
mod saved;
mod stage;
mod staged;

pub(crate) use self::difference::{Difference, Source};
pub(crate) use self::error::{ManifestError, ReleaseError};
pub(crate) use self::hash_cache::{HashCache, HashDatabase};
pub(crate) use self::install::{Deployed, Installation, close_to, install, move_in, plan};
pub(crate) use self::links::Links;
#[cfg(test)]
pub(crate) use self::manifest::Item;
pub(crate) use self::manifest::{Kept, MANIFEST, Manifest, NEXT, is_own};
pub(crate) use self::saved::Saved;
pub(crate) use self::stage::{Staged, Staging, check_source, may_stage, stage};
pub(crate) use self::staged::{StageMetadata, StagedRelease};
