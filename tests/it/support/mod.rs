//! What every test stands on: a running node per test, clients by identity, builders, invariants.

pub mod app;
pub mod client;
pub mod cluster;
pub mod database;
pub mod double;
pub mod gate;
pub mod invariants;
pub mod issuer;
pub mod log;
pub mod node;
pub mod pair;
pub mod postgres;
pub mod programme;
pub mod samples;
pub mod sdl;
pub mod socket;
pub mod stream;
pub mod surface;
pub mod tap;
pub mod visitor;
pub mod watcher;
pub mod world;
pub mod writer;

pub use app::{Backend, TestApp};
pub use client::Client;
pub use programme::{Programme, Terms};
pub use tap::Tap;
pub use visitor::Visitor;
pub use watcher::{Watcher, Watching};

/// A generator for tests that act at random. Its seed is said on standard error, and taken from `TRIBUTARY_TEST_SEED` where that is set.
pub fn seeded() -> rand::rngs::StdRng {
    let seed = std::env::var("TRIBUTARY_TEST_SEED")
        .map(|text| text.parse().expect("a number"))
        .unwrap_or_else(|_| uuid::Uuid::new_v4().as_u64_pair().0);
    say(&format!("TRIBUTARY_TEST_SEED={seed}"));
    rand::SeedableRng::seed_from_u64(seed)
}

/// Says something on the standard error of the process, whether the test fails or not: the harness captures only what the
/// macros print.
pub fn say(what: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {what}\n", thread.name().unwrap_or("a test"));
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("standard error is open");
}
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

/// As [`on_both!`], on nodes that a function has tuned.
macro_rules! on_both_tuned {
    ($tune:expr => $(async fn $name:ident($app:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn body($app: &crate::support::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let backend = crate::support::Backend::Sqlite;
                crate::support::app::run_tuned(backend, $tune, async |app| body(app).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let backend = crate::support::Backend::Postgres;
                crate::support::app::run_tuned(backend, $tune, async |app| body(app).await).await;
            }
        }
    )*};
}
pub(crate) use on_both_tuned;
