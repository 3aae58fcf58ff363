//! Client libraries that our users' programs are made of, run as such programs against a node: `tests/clients/`.
//!
//! A program gets the node's address, what to work on and the settings of the node in its environment; it makes its
//! tokens by the command line, prints what it tries, and fails with a status.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, sync::OnceCell, time::timeout};

use crate::support::{
    Backend, Client, Programme, Terms, TestApp,
    app::PASSWORD,
    node::{Data, Node},
    on_both,
    world::World,
};

/// How long a program may take: many times what it does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A program of a language that `tests/clients/setup` has installed.
fn program(name: &str) -> Command {
    let folder = folder();
    let interpreter =
        if Path::new(name).extension().is_some_and(|extension| extension == "py") { "python" } else { "node" };
    let interpreter = folder.join(".venv/bin").join(interpreter);
    assert!(
        interpreter.exists() && folder.join("node_modules/installed").exists(),
        "the client libraries are not installed: run tests/clients/setup, or all tests by `make test`"
    );
    let mut command = Command::new(interpreter);
    command.arg(name).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program to its end, and demands a good one.
async fn succeed(mut command: Command) {
    let ended = timeout(PATIENCE, command.output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{command:?} did not end")).expect("the program runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{}\n{said}", output.status);
    println!("{said}");
}

/// Takes the README's snippets out of it, once for all tests that run some.
async fn snippets() {
    static EXTRACTED: OnceCell<()> = OnceCell::const_new();
    EXTRACTED.get_or_init(|| succeed(program("readme/extract.ts"))).await;
}

/// A program with what it works on: a programme whose conversions wait for a review, and its click.
async fn prepared(name: &str, data: &Data, owner: &Client) -> Command {
    snippets().await;
    let programme = Programme::build(owner, &Terms::manual()).await;
    let mut command = program(name);
    command
        .envs(data.environment())
        .env("TRIBUTARY_TEST_PROGRAM", env!("CARGO_BIN_EXE_tributary"))
        .env("TRIBUTARY_TEST_URL", &owner.url)
        .env("TRIBUTARY_TEST_PASSWORD", PASSWORD)
        .env("TRIBUTARY_TEST_AFFILIATE", &programme.affiliate)
        .env("TRIBUTARY_TEST_CLICK", programme.click(owner).await);
    command
}

/// Runs a program against a test's app.
async fn run(name: &str, app: &TestApp) {
    let data = Data {
        folder: app.settings.data_dir.clone(),
        database_url: app.settings.database_url.clone(),
        redis_url: app.settings.redis_url.clone(),
    };
    succeed(prepared(name, &data, &app.owner()).await).await;
}

on_both! {
    async fn graphql_http_audit_finds_nothing(app) {
        run("live/graphql-http.ts", app).await;
    }

    async fn graphql_ws_lives_through_what_happens(app) {
        run("live/graphql-ws.ts", app).await;
    }

    async fn misuse_of_graphql_transport_ws_has_its_close_code(app) {
        run("live/close-codes.ts", app).await;
    }

    async fn graphql_sse_resumes(app) {
        run("live/graphql-sse.ts", app).await;
    }

    async fn apollo_client_works_over_every_transport(app) {
        run("live/apollo.ts", app).await;
    }

    async fn urql_works_over_every_transport(app) {
        run("live/urql.ts", app).await;
    }

    async fn gql_works_over_every_transport(app) {
        run("live/gql_client.py", app).await;
    }

    async fn files_for_banks_are_what_banks_take(app) {
        run("live/bank_files.py", app).await;
    }

    async fn schemathesis_finds_no_fault(app) {
        run("live/schemathesis_fuzz.py", app).await;
    }

    async fn landing_pages_keep_clicks_and_send_conversions(app) {
        run("live/page.ts", app).await;
    }

    async fn snippets_of_the_readme_run(app) {
        run("readme/run.ts", app).await;
    }
}

/// The program itself starts, stops and starts again the node, at the address of the one that was.
async fn restarts(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let command = prepared("live/restart.ts", &world.data, &world.owner(&node)).await;
    node.stop().await;
    succeed(command).await;
    world.finish().await;
}

#[tokio::test]
async fn graphql_ws_goes_on_behind_a_restart_sqlite() {
    restarts(Backend::Sqlite).await;
}

#[tokio::test]
async fn graphql_ws_goes_on_behind_a_restart_postgres() {
    restarts(Backend::Postgres).await;
}

#[tokio::test]
async fn relay_compiles_against_the_schema() {
    succeed(program("offline/relay.ts")).await;
}

#[tokio::test]
async fn types_are_generated_and_fit_front_ends() {
    snippets().await;
    succeed(program("offline/types.ts")).await;
}

#[tokio::test]
async fn schema_follows_the_naming_and_relay_rules() {
    succeed(program("offline/lint.ts")).await;
}
