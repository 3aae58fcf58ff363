//! The command line: what it prints and where, and how it refuses.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;
use tributary::domain::ledger_chain::Checkpoint;

use crate::support::{
    Backend, Client, Programme, Terms,
    app::PASSWORD,
    database,
    node::{self, Data, Node},
    postgres::Postgres,
    programme::sale,
    world::World,
};

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn say(command: &mut Command, arguments: &[&str]) -> Said {
    let output = command.args(arguments).output().await.expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Demands a refusal in words, with nothing on standard output.
    fn assert_refused(&self, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        assert!(self.err.starts_with("tributary: "), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` in: {}", self.err);
        }
    }
}

const CREATE: [&str; 8] = ["tenant", "create", "--slug", "home", "--name", "Home", "--owner-email", "owner@home.test"];

/// Data of its own with the tenant `home`.
async fn with_tenant() -> (tempfile::TempDir, Data) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    let said = say(data.command().env("TRIBUTARY_TEST_OWNER_PASSWORD", PASSWORD), &CREATE).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("tenant ten_") && lines[1].starts_with("owner usr_"), "{lines:?}");
    (folder, data)
}

async fn token_works(backend: Backend) {
    let world = World::new(backend).await;
    let said = say(&mut world.data.command(), &["token", "--tenant", "home", "--role", "manager"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let token = said.out.strip_suffix('\n').expect("a line");
    assert!(!token.contains(char::is_whitespace), "{token}");
    let node = Node::start(&world.data).await;
    let client = Client::new(&node.url, Some(token.to_owned()));
    let data = client.data("{ viewer { roles } tenant { slug } }", json!({})).await;
    assert_eq!(data, json!({ "viewer": { "roles": ["MANAGER"] }, "tenant": { "slug": "home" } }));
    node.stop().await;
    world.finish().await;
}

#[tokio::test]
async fn token_is_one_line_and_works_sqlite() {
    token_works(Backend::Sqlite).await;
}

#[tokio::test]
async fn token_is_one_line_and_works_postgres() {
    token_works(Backend::Postgres).await;
}

#[tokio::test]
async fn token_for_nobody_is_refused() {
    let (_folder, data) = with_tenant().await;
    let refused = [
        (&["--tenant", "nobody", "--role", "owner"][..], "no tenant `nobody`"),
        (&["--tenant", "home", "--role", "affiliate"], "--affiliate"),
        (&["--tenant", "home", "--role", "owner", "--affiliate", "aff_00000000000000000000000000"], "--affiliate"),
    ];
    for (arguments, word) in refused {
        say(data.command().arg("token"), arguments).await.assert_refused(&[word]);
    }
    // What the command line itself does not take ends with 2, as is custom.
    for arguments in [
        &["token", "--tenant", "home", "--role", "king"][..],
        &["token", "--tenant", "home", "--role", "affiliate", "--affiliate", "cmp_00000000000000000000000000"],
        &["token", "--role", "owner"],
        &["reign"],
    ] {
        let said = say(&mut data.command(), arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
}

/// A running node heeds what the command line, another process, does to a tenant.
async fn tenant_is_suspended_and_resumed(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let input = json!({ "tenant": "home", "email": "owner@home.test", "password": PASSWORD });
    let tokens = Client::new(&node.url, None).done("login", input.clone(), "accessToken").await;
    let owner = Client::new(&node.url, tokens["accessToken"].as_str().map(str::to_owned));
    let who = "{ viewer { roles } }";
    assert_eq!(owner.send(who, json!({})).await.0, 200);
    let suspended = world.data.run(&["tenant", "suspend", "--tenant", "home"]).await;
    assert!(suspended.starts_with("tenant ten_") && suspended.ends_with(" home SUSPENDED\n"), "{suspended}");
    let began = Instant::now();
    while owner.send(who, json!({})).await.0 != 401 {
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(Client::new(&node.url, None).refusal("login", input.clone()).await, "INVALID_CREDENTIALS");
    assert_eq!(world.owner(&node).send(who, json!({})).await.0, 200, "the operator goes on");
    assert!(world.data.run(&["tenant", "resume", "--tenant", "home"]).await.ends_with(" home ACTIVE\n"));
    Client::new(&node.url, None).done("login", input, "accessToken").await;
    say(&mut world.data.command(), &["tenant", "suspend", "--tenant", "nobody"]).await.assert_refused(&["`nobody`"]);
    node.stop().await;
    world.finish().await;
}

#[tokio::test]
async fn tenant_is_suspended_and_resumed_sqlite() {
    tenant_is_suspended_and_resumed(Backend::Sqlite).await;
}

#[tokio::test]
async fn tenant_is_suspended_and_resumed_postgres() {
    tenant_is_suspended_and_resumed(Backend::Postgres).await;
}

#[tokio::test]
async fn slug_is_taken_once() {
    let (_folder, data) = with_tenant().await;
    let again = say(data.command().env("TRIBUTARY_TEST_OWNER_PASSWORD", PASSWORD), &CREATE).await;
    again.assert_refused(&["slug", "another tenant"]);
    let weak = say(data.command().env("TRIBUTARY_TEST_OWNER_PASSWORD", "short"), &CREATE).await;
    weak.assert_refused(&["assword"]);
    assert!(!weak.err.contains("short\n"), "{}", weak.err);
}

#[tokio::test]
async fn schema_is_the_committed_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = say(&mut node::folder(folder.path()).command(), &["schema"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out == include_str!("../../schema.graphql"), "`make schema` renews it");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "it touches nothing");
}

#[tokio::test]
async fn production_needs_a_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    for (name, value) in [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("TRIBUTARY_MODE", "production")] {
        for arguments in [&["serve"][..], &["token", "--tenant", "home", "--role", "owner"]] {
            let said = say(data.command().env_remove("TRIBUTARY_SECRET").env(name, value), arguments).await;
            said.assert_refused(&["TRIBUTARY_SECRET is not set", "openssl rand -hex 32", "TRIBUTARY_MODE=development"]);
        }
    }
    let short = say(data.command().env("TRIBUTARY_SECRET", "hunter2"), &["serve"]).await;
    short.assert_refused(&["TRIBUTARY_SECRET", "at least 32"]);
    assert!(!short.err.contains("hunter2"), "{}", short.err);
}

#[tokio::test]
async fn kept_secret_makes_tokens_in_production_and_serves_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    let make = ["tenant", "create", "--slug", "home", "--name", "Home", "--owner-email", "o@home.test"];
    let made = say(
        data.command().env_remove("TRIBUTARY_SECRET").env("TRIBUTARY_TEST_OWNER_PASSWORD", "correct horse battery"),
        &make,
    )
    .await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let in_production = || {
        let mut command = data.command();
        command.env_remove("TRIBUTARY_SECRET").env("TRIBUTARY_MODE", "production");
        command
    };
    let token = say(&mut in_production(), &["token", "--tenant", "home", "--role", "owner"]).await;
    assert_eq!((token.code, token.out.lines().count()), (Some(0), 1), "{}", token.err);
    say(&mut in_production(), &["serve"]).await.assert_refused(&["TRIBUTARY_SECRET is not set"]);
}

#[tokio::test]
async fn settings_are_known_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    for (name, value, words) in [
        ("TRIBUTARY_LISSTEN", "127.0.0.1:1", &["LISSTEN", "unknown"][..]),
        ("TRIBUTARY_LISTEN", "nowhere", &["LISTEN"]),
        ("TRIBUTARY_DATABASE_CONNECTIONS", "1", &["TRIBUTARY_DATABASE_CONNECTIONS"]),
        ("DATABASE_URL", "mysql://x", &["DATABASE_URL"]),
        ("REDIS_URL", "http://x", &["REDIS_URL"]),
        ("TRIBUTARY_IDENTITY_PROVIDERS", "[{\"name\": \"x\"}]", &["TRIBUTARY_IDENTITY_PROVIDERS", "issuer"]),
        ("TRIBUTARY_CONFIG", "absent.toml", &["absent.toml"]),
    ] {
        say(data.command().env(name, value), &["serve"]).await.assert_refused(words);
    }
}

#[tokio::test]
async fn settings_file_is_read_and_the_environment_wins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    let file = folder.path().join("tributary.toml");
    let create = async |command: &mut Command| {
        let said = say(command.env("TRIBUTARY_TEST_OWNER_PASSWORD", PASSWORD), &CREATE).await;
        assert_eq!(said.code, Some(0), "{}", said.err);
    };
    std::fs::write(&file, "data_dir = \"from-file\"\n").expect("written");
    create(data.command().env_remove("TRIBUTARY_DATA_DIR")).await;
    assert!(folder.path().join("from-file/tributary.db").exists());
    create(data.command().env("TRIBUTARY_DATA_DIR", "from-environment")).await;
    assert!(folder.path().join("from-environment/tributary.db").exists());
    std::fs::write(folder.path().join("other.toml"), "data_dir = \"from-other\"\n").expect("written");
    create(data.command().env_remove("TRIBUTARY_DATA_DIR").env("TRIBUTARY_CONFIG", "other.toml")).await;
    assert!(folder.path().join("from-other/tributary.db").exists());
    std::fs::write(&file, "lissten = \"127.0.0.1:1\"\n").expect("written");
    say(&mut data.command(), &["serve"]).await.assert_refused(&["lissten", "tributary.toml"]);
}

#[tokio::test]
async fn database_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    let url = database::postgres_url();
    let (server, _) = url.rsplit_once('/').expect("an address with a database");
    let (user, place) = server.rsplit_once('@').expect("an address with a user");
    let (_, password) = user.rsplit_once(':').expect("a password");
    let cases = [
        (format!("postgres://postgres:wrong-word@{place}/postgres"), vec!["password authentication failed"]),
        (format!("{server}/absent"), vec!["\"absent\" does not exist"]),
        ("postgres://someone:wrong-word@127.0.0.1:1/x".to_owned(), vec!["127.0.0.1:1", "refused"]),
        ("postgres://someone:wrong-word@no-such-host.invalid/x".to_owned(), vec!["no-such-host.invalid"]),
    ];
    for (url, words) in cases {
        let began = Instant::now();
        let said = say(data.command().env("DATABASE_URL", &url), &["serve"]).await;
        said.assert_refused(&words);
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
        assert!(!said.err.contains("wrong-word") && !said.err.contains(password), "{}", said.err);
    }
    std::fs::write(folder.path().join("tributary.db"), "this is no database").expect("written");
    say(&mut data.command(), &["serve"]).await.assert_refused(&["not a database"]);
}

/// A server that may lose what it has committed is refused, whoever asked for it.
#[tokio::test]
async fn database_server_that_does_not_write_safely_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = node::folder(folder.path());
    for setting in ["fsync=off", "full_page_writes=off"] {
        let postgres = Postgres::start_with(&[setting]).await.expect("PostgreSQL starts");
        let said = say(data.command().env("DATABASE_URL", postgres.url()), &["serve"]).await;
        let name = setting.trim_end_matches("=off");
        said.assert_refused(&[&format!("PostgreSQL runs with {setting}"), &format!("set {name}=on")]);
    }
}

/// Commits are on disk before they are answered, whatever the database has set for those who do not say.
#[tokio::test]
async fn commits_are_synchronous_whatever_the_database_has_set() {
    let world = World::new(Backend::Postgres).await;
    for sql in [
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
        "CREATE FUNCTION refuse_in_haste() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF current_setting('synchronous_commit') <> 'on' THEN RAISE EXCEPTION 'in haste'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER in_haste BEFORE INSERT ON campaign FOR EACH ROW EXECUTE FUNCTION refuse_in_haste()",
    ] {
        world.auditor.run(sql).await.expect(sql);
    }
    let node = Node::start(&world.data).await;
    Programme::build(&world.owner(&node), &Terms::default()).await;
    node.stop().await;
    world.finish().await;
}

/// A folder of data is one process's, on SQLite as well: the second is told what to change.
#[tokio::test]
async fn second_node_on_the_same_folder_is_refused() {
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start(&world.data).await;
    let output = world.data.command().arg("serve").output().await.expect("the command runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let words = "is used by another process: give each node a folder of its own (TRIBUTARY_SPOOL_DIR)";
    assert!(said.contains(words), "{said}");
    // The first one goes on.
    Programme::build(&world.owner(&node), &Terms::default()).await;
    node.stop().await;
    world.finish().await;
}

/// What the ledger's commands say, and how they end: 0 where all is well, 1 where something differs, 2 where that cannot be
/// told.
async fn ledger_is_verified_rebuilt_and_sealed(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    owner.done("recordConversion", sale(&click, "1", "49.00"), "").await;
    node.stop().await;
    let run = async |arguments: &[&str]| say(&mut world.data.command(), arguments).await;
    let checkpoint = run(&["checkpoint", "--tenant", "home"]).await;
    assert_eq!(checkpoint.code, Some(0), "{}", checkpoint.err);
    let kept: Checkpoint = serde_json::from_str(&checkpoint.out).expect("a checkpoint");
    assert!(kept.is_signed());
    assert_eq!((kept.block, kept.journals), (1, 1));
    let file = world.data.folder.join("checkpoint.json");
    std::fs::write(&file, &checkpoint.out).expect("written");
    let file = file.to_str().expect("a name");
    let well = run(&["verify", "--tenant", "home", "--checkpoint", file]).await;
    assert_eq!((well.code, well.err.as_str()), (Some(0), ""), "{}", well.out);
    assert!(
        well.out.contains(" home: 1 journals, 2 entries, 1 blocks up to journal 1: no difference\n"),
        "{}",
        well.out
    );
    assert!(well.out.contains("  5000 EUR debit 490 credit 0\n"), "{}", well.out);
    world.auditor.run("UPDATE balance SET amount_minor = 491 WHERE amount_minor = 490").await.expect("is changed");
    let ill = run(&["verify"]).await;
    assert_eq!(ill.code, Some(1), "{}", ill.err);
    assert!(ill.out.contains("! PROJECTION balance ") && ill.out.contains("amount_minor 491"), "{}", ill.out);
    let json = run(&["verify", "--json"]).await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, &report["differences"][0]["check"]), (Some(1), &json!("PROJECTION")), "{report}");
    for (arguments, code, word) in [
        (&["rebuild", "--check"][..], 1, "balance 1"),
        (&["rebuild", "--tenant", "home"], 0, "balance 1"),
        (&["rebuild"], 0, "nothing differs"),
        (&["rebuild", "--check"], 0, "nothing differs"),
        (&["verify"], 0, "no difference"),
    ] {
        let said = run(arguments).await;
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.out.contains(word), "{arguments:?}: {}", said.out);
    }
    for arguments in [
        &["verify", "--tenant", "nobody"][..],
        &["rebuild", "--tenant", "nobody"],
        &["verify", "--tenant", "home", "--checkpoint", "/no/such/file"],
        &["verify", "--checkpoint", file],
    ] {
        let said = run(arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}: {}", said.err);
    }
    run(&["checkpoint", "--tenant", "nobody"]).await.assert_refused(&["`nobody`"]);
    for arguments in [&["tenant", "begin-history"][..], &["tenant", "begin-history", "--tenant", "home"]] {
        let said = run(arguments).await;
        assert!(said.code == Some(0) && said.out.ends_with(" begins another history\n"), "{}{}", said.out, said.err);
    }
    run(&["tenant", "begin-history", "--tenant", "nobody"]).await.assert_refused(&["`nobody`"]);
    world.finish().await;
}

#[tokio::test]
async fn ledger_is_verified_rebuilt_and_sealed_sqlite() {
    ledger_is_verified_rebuilt_and_sealed(Backend::Sqlite).await;
}

#[tokio::test]
async fn ledger_is_verified_rebuilt_and_sealed_postgres() {
    ledger_is_verified_rebuilt_and_sealed(Backend::Postgres).await;
}
