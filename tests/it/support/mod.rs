//! What every test stands on: a running node per test, clients by identity, builders, invariants.

pub mod app;
pub mod client;
pub mod database;
pub mod invariants;
pub mod node;
pub mod programme;
pub mod sdl;
pub mod socket;
pub mod surface;

pub use app::{Backend, TestApp};
pub use client::Client;
pub use programme::{Programme, Terms};
pub use sdl::Sdl;

/// Declares tests whose body runs on both backends: `name::sqlite` and `name::postgres`. The body takes the app; when it
/// returns, the app's invariants are checked.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "most bodies use what their file imports")]
            use super::*;

            async fn body($app: &crate::support::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::support::app::run(crate::support::Backend::Sqlite, async |app| body(app).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::support::app::run(crate::support::Backend::Postgres, async |app| body(app).await).await;
            }
        }
    )*};
}
pub(crate) use on_both;
