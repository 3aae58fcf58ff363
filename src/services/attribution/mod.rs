//! Crediting recorded conversions anew: what it would come to ([`preview`]), and runs that post it ([`runs`], [`apply`]).
//!
//! Both look at the same conversions, page by page, and judge them by the same rules ([`reading`]): what a preview tells
//! is what a run does.

pub mod apply;
pub mod preview;
mod reading;
pub mod runs;
