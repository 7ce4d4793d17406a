//! A plan becomes a saga, a saga becomes a run.
//!
//! ```text
//!  plan text ──> Plan ──> Graph ──> Saga ⇄ Executor ──> Journal
//!  (spanned)   (checked)  (edges)   (pure)     │  └────> kinds, behind `Kind`
//!                                              └──> Update ──> whoever shows it
//! ```
//!
//! The engine knows no kind, no terminal and no environment variable.

pub mod assignment;
pub mod context;
pub mod encoding;
pub mod event;
pub mod executor;
pub mod graph;
pub mod host;
pub mod journal;
pub mod kind;
pub mod lock;
pub mod plan;
pub mod preview;
pub mod redact;
pub mod registry;
pub mod runs;
pub mod saga;
pub mod sqlite;
pub mod trust;
pub mod update;
mod volume;
pub mod words;

pub use volume::append_private;
