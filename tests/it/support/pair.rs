//! Two nodes on the same data, with somebody who writes and somebody who watches.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use tokio::sync::watch;

use super::{
    Client, Programme, Terms, Watcher, log,
    node::Node,
    programme::{id, sale},
    world::World,
    writer::{Writer, Writing},
};

/// Two nodes, a client of each, a programme, and a click to convert.
pub struct Pair {
    pub world: World,
    pub nodes: [Node; 2],
    pub owners: [Client; 2],
    pub programme: Programme,
    pub click: String,
}

impl Pair {
    pub async fn start(world: World) -> Self {
        Self::start_with(world, &[]).await
    }

    /// On nodes with more settings.
    pub async fn start_with(world: World, settings: &[(&str, &str)]) -> Self {
        let second = [settings, &[("TRIBUTARY_SPOOL_DIR", "spool-2")]].concat();
        let nodes = [Node::start_with(&world.data, settings).await, Node::start_with(&world.data, &second).await];
        let owners = [world.owner(&nodes[0]), world.owner(&nodes[1])];
        let programme = Programme::build(&owners[0], &Terms::default()).await;
        let click = programme.click(&owners[1]).await;
        Self { world, nodes, owners, programme, click }
    }

    /// Records a sale at a node; the conversion's id.
    pub async fn record(&self, node: usize) -> String {
        let order = uuid::Uuid::new_v4().to_string();
        let input = sale(&self.click, &order, "1.00");
        id(&self.owners[node].done("recordConversion", input, "conversion { id }").await, "conversion")
    }

    /// Somebody who watches at each node.
    pub async fn watchers(&self) -> [Watcher; 2] {
        [Watcher::begin(&self.owners[0], &self.click).await, Watcher::begin(&self.owners[1], &self.click).await]
    }

    /// Writers that send to both nodes until told to stop.
    pub fn write(&self, count: usize, rng: &mut StdRng) -> Writing {
        let (_, nodes) = watch::channel(self.owners.to_vec());
        Writing::begin(count, &Writer::new(&self.click), &nodes, rng)
    }

    /// How long a sale takes until it is answered at a node, and from then on until it is seen at the other.
    pub async fn time(&self, node: usize, watchers: &mut [Watcher; 2]) -> (Duration, Duration) {
        let began = Instant::now();
        let conversion = self.record(node).await;
        let answered = began.elapsed();
        watchers[1 - node].read_until(&conversion).await;
        (answered, began.elapsed() - answered)
    }

    /// Reads to the end of the log as it is and compares.
    pub async fn assert_see_all(&self, watchers: &mut [Watcher]) {
        let (_, end) = log::all(&self.world.auditor).await.pop().expect("a log");
        for watcher in watchers {
            watcher.read_until(&end).await;
            log::assert_saw_everything(&self.world.auditor, &watcher.seen).await;
        }
    }

    pub async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
        self.world.finish().await;
    }
}

/// Reads whatever comes for a while.
pub async fn read_for(watchers: &mut [Watcher; 2], time: Duration) {
    let end = Instant::now() + time;
    let [first, second] = watchers;
    let read = async |watcher: &mut Watcher| {
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            watcher.read_within(left).await;
            assert!(watcher.is_connected());
        }
    };
    tokio::join!(read(first), read(second));
}
