//! The books against references: a random program of events gives the same balances in ours, in a plain model and in an
//! independent ledger; and whatever happens at once, what the ledger promises holds, and what is refused changes
//! nothing.
//!
//! `TRIBUTARY_TEST_SEED` repeats a run.

mod alone;
mod asked;
mod at_once;
mod markets;
mod model;
mod rebuilt;
mod stage;
mod steps;

use std::panic::AssertUnwindSafe;

use alone::Books;
use futures_util::FutureExt as _;
use rand::RngExt as _;
use stage::Stage;
pub use stage::{dump, everything};
use steps::Step;

use crate::support::{Backend, app, say, seeded};

/// Steps of the program that is held against the references, and after how many of them it is.
const PROGRAM: usize = 600;
const COMPARED_EVERY: usize = 25;
/// Programs that are tried to find a shorter one that fails.
const TRIES: usize = 60;

/// Runs a program on a database of its own; how many of its steps were done when it failed.
async fn failed_after(backend: Backend, program: &[Step]) -> Result<(), usize> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let run = app::run(backend, async |app| {
        let mut books = Books::new(Stage::set(app, app.home, app.owner(), 3_600).await);
        for (number, step) in program.iter().enumerate() {
            done.store(number + 1, std::sync::atomic::Ordering::Relaxed);
            books.act(step).await;
            if number % COMPARED_EVERY == 0 {
                books.compare().await;
            }
        }
        books.compare().await;
        books.model.audit();
    });
    AssertUnwindSafe(run).catch_unwind().await.map_err(|_| done.into_inner())
}

/// A shorter program that fails, too: without what came later, and without parts of what came before, ever smaller ones.
async fn shrunk(backend: Backend, mut program: Vec<Step>) -> Vec<Step> {
    let mut size = program.len().div_ceil(2);
    let (mut begin, mut tries) = (0, 0);
    while size > 0 && tries < TRIES {
        if begin >= program.len() {
            (begin, size) = (0, size / 2);
            continue;
        }
        let mut shorter = program.clone();
        shorter.drain(begin..(begin + size).min(program.len()));
        tries += 1;
        match failed_after(backend, &shorter).await {
            Ok(()) => begin += size,
            Err(done) => {
                shorter.truncate(done);
                program = shorter;
            }
        }
    }
    program
}

async fn same_in_three_ledgers(backend: Backend) {
    let seed = seeded().random();
    let mut program = steps::generated(steps::modelled(), seed, PROGRAM);
    if let Err(done) = failed_after(backend, &program).await {
        program.truncate(done);
        let program = shrunk(backend, program).await;
        say(&format!("fails with {program:#?}"));
        panic!("{} steps fail, from seed {seed}", program.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_program_gives_the_same_balances_in_three_ledgers_sqlite() {
    same_in_three_ledgers(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_program_gives_the_same_balances_in_three_ledgers_postgres() {
    same_in_three_ledgers(Backend::Postgres).await;
}
