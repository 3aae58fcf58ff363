//! Visitors while PostgreSQL is killed and stays away, and while the node is killed: whoever was redirected is recorded,
//! once, and nobody waits for the database.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tributary_entity::ids::ClickId;
use uuid::Uuid;

use crate::support::{Backend, Programme, Terms, Visitor, node::Node, postgres::Postgres, visitor::path, world::World};

const VISITORS: usize = 8;
/// Redirects between one fault and the next.
const STRETCH: usize = 150;
/// On a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Visitors who click again and again, wherever the node is, and write down what they were answered.
struct Crowd {
    answered: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<(Vec<Uuid>, usize)>,
}

impl Crowd {
    fn begin(url: &watch::Receiver<String>, path: &str) -> Self {
        let answered = Arc::<AtomicUsize>::default();
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..VISITORS {
            tasks.spawn(click(url.clone(), path.to_owned(), stopped.clone(), Arc::clone(&answered)));
        }
        Self { answered, stop, tasks }
    }

    /// Waits for so many redirects more.
    async fn goes_on(&self, what: &str) {
        let wanted = self.answered.load(Relaxed) + STRETCH;
        let reached = async {
            while self.answered.load(Relaxed) < wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("visitors are redirected {what}"));
    }

    /// The ids that visitors were redirected with, and how many requests broke off.
    async fn end(self) -> (Vec<Uuid>, usize) {
        self.stop.send(true).expect("somebody clicks");
        let (mut ids, mut broken) = (Vec::new(), 0);
        for (own, of_those) in self.tasks.join_all().await {
            ids.extend(own);
            broken += of_those;
        }
        (ids, broken)
    }
}

async fn click(
    mut url: watch::Receiver<String>,
    path: String,
    stopped: watch::Receiver<bool>,
    answered: Arc<AtomicUsize>,
) -> (Vec<Uuid>, usize) {
    let (mut ids, mut broken) = (Vec::new(), 0);
    let mut visitor = Visitor::new(&url.borrow());
    while !*stopped.borrow() {
        if url.has_changed().unwrap_or(false) {
            visitor = Visitor::new(&url.borrow_and_update());
        }
        match visitor.try_get(&path).await {
            Some(answer) => {
                let id: ClickId = answer.click().parse().expect("a click's id");
                ids.push(id.uuid());
                answered.fetch_add(1, Relaxed);
            }
            None => {
                broken += 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    (ids, broken)
}

/// The database holds every id once, none that no request can have made, and counts them all.
async fn assert_recorded(world: &World, ids: &[Uuid], broken: usize) {
    let answered: HashSet<Uuid> = ids.iter().copied().collect();
    assert_eq!(answered.len(), ids.len(), "no id is given away twice");
    let least = i64::try_from(ids.len()).expect("few");
    let arrived = async {
        while world.auditor.number("SELECT COUNT(*) FROM click").await < least {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("every click is recorded");
    let rows = world.auditor.rows("SELECT id FROM click").await;
    let stored: HashSet<Uuid> = rows.iter().map(|row| row.try_get_by_index(0).expect("an id")).collect();
    let lost = answered.difference(&stored).count();
    println!("{} redirected, {broken} broken off, {} stored, {lost} lost", ids.len(), stored.len());
    assert_eq!(lost, 0);
    assert!(stored.len() <= ids.len() + broken);
    let counted = world.auditor.number("SELECT CAST(SUM(clicks_gross) AS bigint) FROM rollup_hourly").await;
    assert_eq!(usize::try_from(counted).expect("a count"), stored.len());
}

/// The node dies in the middle of a burst; before, the database is away for a while, where it can be killed.
async fn nothing_is_lost(world: World, mut postgres: Option<Postgres>) {
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let path = path(&owner, &programme.link).await;
    let (set_url, url) = watch::channel(node.url.clone());
    let crowd = Crowd::begin(&url, &path);
    crowd.goes_on("at first").await;
    if let Some(postgres) = &mut postgres {
        postgres.kill().await.expect("PostgreSQL is killed");
        assert_eq!(postgres.id(), None);
        crowd.goes_on("without the database").await;
        crowd.goes_on("without the database, on and on").await;
        postgres.start_again().await.expect("PostgreSQL starts again");
    }
    // What the outage left is on its disk alone.
    node.kill().await;
    let node = Node::start(&world.data).await;
    set_url.send(node.url.clone()).expect("somebody clicks");
    crowd.goes_on("by the next node").await;
    let (ids, broken) = crowd.end().await;
    assert_recorded(&world, &ids, broken).await;
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_survives_the_node_on_sqlite() {
    nothing_is_lost(World::new(Backend::Sqlite).await, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_survives_database_and_node_on_postgres() {
    let postgres = Postgres::start().await.expect("PostgreSQL starts");
    let world = World::on(Some(postgres.url()), None).await;
    nothing_is_lost(world, Some(postgres)).await;
}
