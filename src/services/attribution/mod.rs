//! Crediting recorded conversions anew: what it would come to ([`preview`]), and runs that post it ([`runs`], [`apply`]).
//!
//! Both look at the same conversions, page by page, and judge them by the same rules ([`reading`]): what a preview tells
//! is what a run does.
//!
//! # Decisions
//! - Caps are not asked. They limit what is taken in and what rises; a run credits anew what was taken in, and who is credited
//!   late is not refused for what others have taken since. What conversions took of caps stays as it is, and what a cap cut
//!   off a commission stays cut.

pub mod apply;
pub mod preview;
mod reading;
pub mod runs;
