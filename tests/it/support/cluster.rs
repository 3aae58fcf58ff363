//! A Redis Cluster of one test: three primaries, a replica of each.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::world::{Redis, free_port};

/// Primaries; as many replicas follow them.
const PRIMARIES: usize = 3;
/// Hash slots of every cluster.
const SLOTS: u16 = 16_384;
/// What a cluster may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers, those that were made primaries first.
pub struct Cluster {
    servers: Vec<Redis>,
}

impl Cluster {
    /// Starts it and waits until every server knows all slots covered.
    pub async fn start() -> Self {
        let servers = join_all((0..2 * PRIMARIES).map(async |_| {
            // Beside, not ten thousand above the port, where another's may be.
            let bus = free_port().await.to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--cluster-port", &bus];
            let mut server = Redis::absent_with(&more).await;
            server.start().await;
            (server, bus)
        }))
        .await;
        let (first, first_bus) = &servers[0];
        let first_port = first.port().to_string();
        for (server, _) in &servers[1..] {
            server.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &first_port, first_bus]).await;
        }
        let cluster = Self { servers: servers.into_iter().map(|(server, _)| server).collect() };
        cluster
            .until("all know each other", async |server| {
                let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
                nodes.lines().count() == 2 * PRIMARIES && !nodes.contains("handshake")
            })
            .await;
        cluster.share_slots().await;
        cluster.until_whole().await;
        cluster
    }

    async fn share_slots(&self) {
        let of_each = SLOTS / u16::try_from(PRIMARIES).expect("few");
        for (number, server) in (0..).zip(&self.servers[..PRIMARIES]) {
            let begin = number * of_each;
            let end = if usize::from(number) + 1 == PRIMARIES { SLOTS - 1 } else { begin + of_each - 1 };
            server.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &begin.to_string(), &end.to_string()]).await;
        }
        for (primary, replica) in self.servers.iter().zip(&self.servers[PRIMARIES..]) {
            let id: String = primary.command(&["CLUSTER", "MYID"]).await;
            replica.command::<()>(&["CLUSTER", "REPLICATE", &id]).await;
        }
        // A replica that knows of no primary's data yet would not be elected.
        for replica in &self.servers[PRIMARIES..] {
            timeout(PATIENCE, async {
                while !replica.command::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") {
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await
            .expect("a replica follows");
        }
    }

    /// Waits until every server that runs says that the cluster works.
    pub async fn until_whole(&self) {
        self.until("all slots are covered", async |server| {
            let [state, nodes] = [
                server.command::<String>(&["CLUSTER", "INFO"]).await,
                server.command::<String>(&["CLUSTER", "NODES"]).await,
            ];
            state.contains("cluster_state:ok")
                && nodes.lines().filter(|line| self.is_serving(line)).count() == PRIMARIES
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Redis) -> bool) {
        let all = async {
            for server in self.servers.iter().filter(|server| server.is_running()) {
                while !holds(server).await {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// As `REDIS_URL` names it: by two of its servers.
    pub fn url(&self) -> String {
        let [one, other] = [self.servers[0].port(), self.servers[PRIMARIES].port()];
        format!("redis-cluster://127.0.0.1:{one},127.0.0.1:{other}")
    }

    /// The number of the server that keeps a channel's slot, or a key's.
    pub async fn home_of(&self, key: &str) -> usize {
        let running = self.servers.iter().find(|server| server.is_running()).expect("one runs");
        let slot: u16 = running.command(&["CLUSTER", "KEYSLOT", key]).await;
        let nodes: String = running.command(&["CLUSTER", "NODES"]).await;
        let covers = |range: &str| {
            let (begin, end) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u16>().ok();
            number(begin).zip(number(end)).is_some_and(|(begin, end)| (begin..=end).contains(&slot))
        };
        let line = nodes.lines().filter(|line| self.is_serving(line)).find(|line| line.split(' ').skip(8).any(covers));
        line.and_then(|line| self.number_of(line)).expect("somebody keeps it")
    }

    /// Waits until so many nodes listen to a tenant's events, by a sharded channel.
    pub async fn wait_for_listeners(&self, channel: &str, count: i64) {
        timeout(PATIENCE, async {
            loop {
                let home = &self.servers[self.home_of(channel).await];
                let (_, listeners): (String, i64) = home.command(&["PUBSUB", "SHARDNUMSUB", channel]).await;
                if listeners == count {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the nodes listen");
    }

    /// Kills a server (SIGKILL).
    pub async fn kill(&mut self, number: usize) {
        self.servers[number].kill().await;
    }

    /// Gives the slot of a channel to another primary than the one that keeps it.
    pub async fn move_slot(&self, channel: &str) {
        let home = self.home_of(channel).await;
        let mut target = home;
        for (number, server) in self.servers.iter().enumerate() {
            if number != home && server.command::<String>(&["INFO", "replication"]).await.contains("role:master") {
                target = number;
            }
        }
        let slot: u16 = self.servers[home].command(&["CLUSTER", "KEYSLOT", channel]).await;
        let id: String = self.servers[target].command(&["CLUSTER", "MYID"]).await;
        let slot = slot.to_string();
        // The new owner first, as the manual demands.
        for number in [target, home] {
            self.servers[number].command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
        }
    }

    /// Whose a line of `CLUSTER NODES` is.
    fn number_of(&self, line: &str) -> Option<usize> {
        let address = line.split([' ', '@']).nth(1)?;
        self.servers.iter().position(|server| address.ends_with(&format!(":{}", server.port())))
    }

    /// Whether a line of `CLUSTER NODES` is of a primary that works. Of one that was killed the others learn later.
    fn is_serving(&self, line: &str) -> bool {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        let is_there = self.number_of(line).is_some_and(|number| self.servers[number].is_running());
        is_there && flags.split(',').any(|flag| flag == "master") && !flags.contains("fail")
    }
}
