//! What `deploy/README.md` says of backups: taken while a node works, restored elsewhere, it is all there; and clients
//! that stand where the backup's log ends otherwise are told, instead of missing what is between.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    Backend, Client, Programme, Terms, Watcher,
    database::Auditor,
    node::{Data, Node},
    postgres::Postgres,
    programme::{id, sale},
    world::World,
};

const ALL: &str = "subscription($after: Cursor) { conversions(after: $after) { cursor type conversion { id } } }";
const CONVERSIONS: &str = "SELECT COUNT(*) FROM conversion";

/// Runs one of PostgreSQL's programs; what it says.
async fn tool(name: &str, arguments: &[&str]) -> String {
    let programs = PathBuf::from(std::env::var_os("TRIBUTARY_TEST_POSTGRES_BIN").expect("tests/with-servers names it"));
    let output = Command::new(programs.join(name)).args(arguments).output().await.expect("the program runs");
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A node with a past that is being backed up: a programme, clients, and somebody who writes all the time.
struct Past {
    world: World,
    node: Node,
    owner: Client,
    click: String,
    watcher: Watcher,
    /// A cursor from before the backup.
    early: Value,
    checkpoint: PathBuf,
}

impl Past {
    async fn new(world: World) -> Self {
        let node = Node::start(&world.data).await;
        let owner = world.owner(&node);
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let watcher = Watcher::begin(&owner, &click).await;
        let early = json!(watcher.cursor);
        let checkpoint = world.data.folder.join("checkpoint.json");
        std::fs::write(&checkpoint, world.data.run(&["checkpoint", "--tenant", "home"]).await).expect("written");
        Self { world, node, owner, click, watcher, early, checkpoint }
    }

    /// Does something while somebody records conversions: some are acknowledged before it begins, which is told, and the
    /// next only when it is over, as it may be done between two of them.
    async fn under_load(&self, backup: impl Future<Output = ()>) -> i64 {
        let (owner, click, stop) = (self.owner.clone(), self.click.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let writing = tokio::spawn(async move {
            for number in 0.. {
                if stopped.load(Relaxed) {
                    return;
                }
                owner.done("recordConversion", sale(&click, &format!("load-{number}"), "1.00"), "").await;
            }
        });
        let before = self.more_than(0).await;
        backup.await;
        self.more_than(before).await;
        stop.store(true, Relaxed);
        writing.await.expect("the writer writes");
        before
    }

    /// How many conversions there are, when there are more than this.
    async fn more_than(&self, past: i64) -> i64 {
        let reached = async {
            loop {
                let count = self.world.auditor.number(CONVERSIONS).await;
                if count > past {
                    return count;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("somebody records conversions")
    }

    /// Goes on after the backup, and is lost: its last conversion, which was told to the watcher.
    async fn lose(&mut self) -> Value {
        let lost = sale(&self.click, "lost", "5.00");
        let payload = self.owner.done("recordConversion", lost.clone(), "conversion { id }").await;
        self.watcher.read_until(&id(&payload, "conversion")).await;
        lost
    }
}

/// Follows the rest of `deploy/README.md` on what was restored, and holds it against what was backed up.
async fn serve_restored(past: Past, data: &Data, restored: &Auditor, at_least: i64, lost: Value) {
    let Past { world, node, click, watcher, early, checkpoint, .. } = past;
    node.stop().await;
    let count = restored.number(CONVERSIONS).await;
    assert!(count >= at_least, "{count} of the {at_least} that were acknowledged before the backup");
    assert!(count < world.auditor.number(CONVERSIONS).await, "some were lost");

    let said = data.run(&["tenant", "begin-history"]).await;
    assert!(said.ends_with(" begins another history\n"), "{said}");
    let said = data.run(&["verify"]).await;
    assert!(said.contains("no difference"), "{said}");
    let checkpoint = checkpoint.to_str().expect("a name");
    data.run(&["verify", "--tenant", "home", "--checkpoint", checkpoint]).await;
    let said = data.run(&["rebuild", "--check"]).await;
    assert!(said.contains("nothing differs"), "{said}");

    let node = Node::start(data).await;
    let owner = Client::new(&node.url, world.owner_at("").token);
    // Whether the backup has what the cursor stands behind or not.
    for after in [early, json!(watcher.cursor)] {
        let mut socket = owner.subscribe(ALL, json!({ "after": after })).await;
        assert_eq!(socket.error_code().await, "CURSOR_EXPIRED");
    }
    // What was lost is recorded when it is sent again, under the key that it had, once.
    for replayed in [false, true] {
        let payload = owner.done("recordConversion", lost.clone(), "replayed conversion { status }").await;
        assert_eq!(payload["replayed"], replayed, "{payload}");
    }
    assert_eq!(restored.number(CONVERSIONS).await, count + 1);
    // A new start works, past the numbers that the lost log had.
    let mut watcher = Watcher::begin(&owner, &click).await;
    for number in 0..50 {
        let input = sale(&click, &format!("new-{number}"), "1.00");
        let payload = owner.done("recordConversion", input, "conversion { id }").await;
        watcher.read_until(&id(&payload, "conversion")).await;
    }
    node.stop().await;
    let said = data.run(&["verify"]).await;
    assert!(said.contains("no difference"), "{said}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_is_backed_up_while_a_node_works_and_restored() {
    let mut past = Past::new(World::new(Backend::Sqlite).await).await;
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("tributary.db");
    let statement = format!("VACUUM INTO '{}'", copy.display());
    let at_least = past.under_load(async { past.world.auditor.run(&statement).await.expect("copied") }).await;
    let lost = past.lose().await;
    let data = Data { folder: folder.path().to_owned(), database_url: None, redis_url: None };
    let restored = Auditor::file(copy).await;
    let schema = "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY 1";
    assert_eq!(texts(&past.world.auditor, schema).await, texts(&restored, schema).await);
    serve_restored(past, &data, &restored, at_least, lost).await;
    assert!(restored.run("UPDATE event SET kind = kind").await.is_err(), "history still cannot be rewritten");
    restored.close().await;
}

/// The first column.
async fn texts(auditor: &Auditor, sql: &str) -> Vec<String> {
    auditor.rows(sql).await.iter().map(|row| row.try_get_by_index(0).expect("text")).collect()
}

/// What guards the tables in PostgreSQL: row security and its policies, grants, triggers.
const GUARDS: &[&str] = &[
    "SELECT format('%s %s %s', c.relname, c.relrowsecurity, c.relforcerowsecurity) FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1",
    "SELECT format('%s %s %s %s %s %s', tablename, policyname, roles, cmd, qual, with_check) FROM pg_policies ORDER BY 1",
    "SELECT format('%s %s', table_name, privilege_type) FROM information_schema.role_table_grants \
     WHERE grantee = 'tributary_app' ORDER BY 1",
    "SELECT format('%s %s', tgrelid::regclass, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT format('%s %s %s %s', rolname, rolcanlogin, rolsuper, rolbypassrls) FROM pg_roles \
     WHERE rolname = 'tributary_app'",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dump_of_a_node_that_works_is_restored_on_another_server() {
    let (server, other) = (Postgres::start().await.expect("starts"), Postgres::start().await.expect("starts"));
    let mut past = Past::new(World::on(Some(server.url()), None).await).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (dump, roles) = (file("tributary.dump"), file("roles.sql"));
    let url = server.url();
    let dumping = async {
        tool("pg_dump", &["--format=custom", &format!("--file={dump}"), &url]).await;
        tool("pg_dumpall", &["--roles-only", &format!("--file={roles}"), &format!("--dbname={url}")]).await;
    };
    let at_least = past.under_load(dumping).await;
    let lost = past.lose().await;

    let new_server = other.url();
    let (address, _) = new_server.rsplit_once('/').expect("an address with a database");
    let new = format!("{address}/tributary");
    tool("psql", &[&format!("--dbname={new_server}"), &format!("--file={roles}")]).await;
    tool("createdb", &[&format!("--maintenance-db={new_server}"), "tributary"]).await;
    tool("pg_restore", &["--exit-on-error", "--single-transaction", &format!("--dbname={new}"), &dump]).await;
    let restored = Auditor::postgres(&new).await;
    for sql in GUARDS {
        let (left, right) = (texts(&past.world.auditor, sql).await, texts(&restored, sql).await);
        assert!(!left.is_empty() && left == right, "{sql}: {left:?} {right:?}");
    }
    let data = Data { folder: folder.path().to_owned(), database_url: Some(new), redis_url: None };
    serve_restored(past, &data, &restored, at_least, lost).await;
    // The application's role sees nothing that is not its tenant's.
    let as_app = restored.begin().await;
    as_app.execute_unprepared("SET LOCAL ROLE tributary_app").await.expect("assumed");
    let count = Statement::from_string(as_app.get_database_backend(), CONVERSIONS);
    let row = as_app.query_one_raw(count).await.expect("counts").expect("a row");
    assert_eq!(row.try_get_by_index::<i64>(0).expect("a number"), 0);
    as_app.rollback().await.expect("rolled back");
    assert!(restored.run("UPDATE event SET kind = kind").await.is_err(), "history still cannot be rewritten");
    restored.close().await;
}
