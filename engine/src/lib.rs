//! A plan becomes a saga, a saga becomes a run.
//!
//! ```text
//!  plan text ──> Plan ──> Graph ──> Saga ⇄ Executor ──> Journal
//!  (spanned)   (checked)  (edges)   (pure)     │  └────> kinds, behind `Step`
//!                                              └──> Update ──> whoever shows it
//! ```
//!
//! The engine knows no kind, no terminal and no environment variable.

pub mod event;
pub mod executor;
pub mod graph;
pub mod journal;
pub mod lock;
pub mod plan;
pub mod saga;
pub mod sqlite;
pub mod step;
pub mod update;
mod volume;

pub use volume::append_private;
