//! Who is asking: credentials in, a [`Viewer`] out.

pub mod permission;
pub mod viewer;

pub use permission::{Permission, PermissionSet};
pub use viewer::{Actor, Viewer};
