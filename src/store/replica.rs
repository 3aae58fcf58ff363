//! A standby of PostgreSQL that answers queries, for as long as it is known to be young enough.
//!
//! # Decisions
//! - How old its state is, is measured: the primary is asked from time to time how far its log is, and the standby has the
//!   state of that moment once it has replayed so much. One that is slow only grows older, and past the bound nobody asks
//!   it. An idle primary makes no standby old.
//! - A tenant that this node has written for since, or told of a write elsewhere, is answered by the primary: who writes
//!   sees what was written, and who hears of something can read it. What another node wrote unheard may be missing for as
//!   long as the bound.
//! - Only a standby that streams from the primary's server, on its timeline, is used, and only as a role that row-level
//!   security binds; each look checks it.
//! - A look that is not answered ends its use at once, and the connections of that time are closed. Nobody falls back in
//!   the middle of a query: what was begun here is done again as a whole from the primary, or an older state could follow a
//!   newer one.
//! - It is connected to when it is there: a node starts without it, and does its work without it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult, Statement};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tributary_entity::ids::TenantId;

use super::{database::postgres_options, error::StoreError, shares::Shares};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_millis(750);

const OF_PRIMARY: &str = "SELECT pg_current_wal_flush_lsn()::text AS position, current_database()::text AS name, \
     (SELECT system_identifier FROM pg_control_system()) AS server, \
     (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline";
const OF_STANDBY: &str = "SELECT pg_last_wal_replay_lsn()::text AS position, current_database()::text AS name, \
     (SELECT system_identifier FROM pg_control_system()) AS server, \
     (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, \
     pg_is_in_recovery() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) AS follows, \
     (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS privileged";

/// Where a standby is, and how old its state may be.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaAt<'a> {
    pub url: &'a str,
    pub max_lag: Duration,
}

/// How a standby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    Follows,
    /// Its state is older than it may be, or it does not answer.
    Behind,
}

/// A standby.
#[derive(Debug)]
pub(super) struct Replica {
    pub pool: DatabaseConnection,
    pub shares: Arc<Shares>,
    known: Arc<Known>,
    looking: AbortHandle,
}

/// What is known of it.
#[derive(Debug)]
struct Known {
    began: Instant,
    max_lag: Duration,
    /// The moment whose state it has for certain, in microseconds since `began`; 0: none.
    as_of: AtomicU64,
    /// When this node last wrote for a tenant, or heard that another did, likewise. Forgotten once no state that may still
    /// be used is as old.
    wrote: Cache<TenantId, u64>,
    /// When it was last lost, likewise; 0: never.
    lost_at: watch::Sender<u64>,
    /// When the primary did last not answer, likewise.
    unanswered_at: AtomicU64,
}

impl Known {
    fn new(max_lag: Duration) -> Self {
        let wrote = Cache::builder().max_capacity(1_000_000).time_to_live(max_lag + Duration::from_secs(1)).build();
        Self {
            began: Instant::now(),
            max_lag,
            as_of: AtomicU64::new(0),
            wrote,
            lost_at: watch::Sender::new(0),
            unanswered_at: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> u64 {
        micros(instant.duration_since(self.began)).max(1)
    }

    /// How old the state is that it has for certain; as old as this where none is known.
    fn lag(&self) -> Duration {
        Duration::from_micros(self.now().saturating_sub(self.as_of.load(Relaxed)))
    }

    fn is_young(&self) -> bool {
        self.as_of.load(Relaxed) > 0 && self.lag() <= self.max_lag
    }

    /// From now on nobody asks it, until a look finds it again.
    fn lose(&self) {
        self.as_of.store(0, Relaxed);
        self.lost_at.send_replace(self.now());
    }

    /// Whether a connection of this age is of before a time: it may lead to where nobody answers.
    fn is_of_before(&self, age: Duration, lost_at: u64) -> bool {
        lost_at > 0 && micros(age) >= self.now().saturating_sub(lost_at)
    }

    fn write(&self, tenant_id: TenantId) {
        self.wrote.insert(tenant_id, self.now());
    }

    fn has(&self, tenant_id: TenantId) -> bool {
        let as_of = self.as_of.load(Relaxed);
        self.is_young() && self.wrote.get(&tenant_id).is_none_or(|wrote| wrote < as_of)
    }
}

impl Replica {
    /// Begins to look at a standby of the server at `primary_url`.
    ///
    /// # Errors
    /// When an address itself is not valid.
    pub async fn open(at: ReplicaAt<'_>, primary_url: &str, connections: u32) -> Result<Self, StoreError> {
        let known = Arc::new(Known::new(at.max_lag));
        let of = |known: &Arc<Known>| {
            let known = Arc::clone(known);
            move |age| known.is_of_before(age, *known.lost_at.borrow())
        };
        let pool = lazily(at.url, connections, of(&known)).await?;
        // Of their own: where all others are taken, it is still to be known how old the standby is.
        let standby = lazily(at.url, 1, of(&known)).await?;
        let asked = Arc::clone(&known);
        let is_lost = move |age| asked.is_of_before(age, asked.unanswered_at.load(Relaxed));
        let primary = lazily(primary_url, 1, is_lost).await?;
        let looking = tokio::spawn(look_on(Arc::clone(&known), primary, standby)).abort_handle();
        Ok(Self { pool, shares: Arc::new(Shares::of(connections)), known, looking })
    }

    /// Whether it has all that this node wrote for a tenant, and of what others wrote all but the newest.
    pub fn has(&self, tenant_id: TenantId) -> bool {
        self.known.has(tenant_id)
    }

    pub fn state(&self) -> ReplicaState {
        if self.known.is_young() { ReplicaState::Follows } else { ReplicaState::Behind }
    }

    /// How old the state is that it has for certain; as old as the node where none is known.
    pub fn lag(&self) -> Duration {
        self.known.lag()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        let mut lost_at = self.known.lost_at.subscribe();
        // The sender lives in `known`.
        let _ = lost_at.changed().await;
    }

    /// A tenant was written for, by whomever.
    pub fn heard_of(&self, tenant_id: TenantId) {
        self.known.write(tenant_id);
    }

    /// Looks no more, and closes what is open, which one that does not answer must not hold up.
    pub async fn close(&self) {
        self.looking.abort();
        let _ = timeout(PATIENCE, self.pool.clone().close()).await;
    }

    /// What is held by a transaction that writes for a tenant.
    pub fn writing(&self, tenant_id: TenantId) -> Writing {
        Writing { known: Arc::clone(&self.known), tenant_id }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Marks, when it is dropped, that a tenant was written for. Whether that was committed is not always known.
#[derive(Debug)]
pub(super) struct Writing {
    known: Arc<Known>,
    tenant_id: TenantId,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.known.write(self.tenant_id);
    }
}

/// A pool that connects when it is first asked.
async fn lazily(
    url: &str,
    connections: u32,
    is_lost: impl Fn(Duration) -> bool + Send + Sync + 'static,
) -> Result<DatabaseConnection, StoreError> {
    let mut options: ConnectOptions = postgres_options(url, connections, is_lost);
    options.connect_lazy(true).acquire_timeout(PATIENCE);
    Ok(Database::connect(options).await?)
}

/// Looks for as long as it is not aborted.
async fn look_on(known: Arc<Known>, primary: DatabaseConnection, standby: DatabaseConnection) {
    let mut waiting = VecDeque::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        looks.tick().await;
        let why = look(&known, &primary, &standby, &mut waiting).await.err();
        if why != told {
            match &why {
                None => tracing::info!("the replica of the database follows"),
                Some(why) => tracing::warn!(why, "the replica of the database cannot be used"),
            }
            told = why;
        }
    }
}

/// Where the primary's log was, and when it was asked.
type Position = (Instant, u64);

/// Looks once. A primary that does not answer leaves the standby to grow old; a standby that does not, or is unfit, is lost.
async fn look(
    known: &Known,
    primary: &DatabaseConnection,
    standby: &DatabaseConnection,
    waiting: &mut VecDeque<Position>,
) -> Result<(), String> {
    let asked = Instant::now();
    let primary = ask(primary, OF_PRIMARY).await.map_err(|error| {
        known.unanswered_at.store(known.now(), Relaxed);
        format!("the primary does not answer: {error}")
    })?;
    let is = Server::read(&primary)?;
    let at = position(&primary)?.ok_or("the primary has no position")?;
    if waiting.back().is_some_and(|(_, before)| *before > at) {
        waiting.clear();
        known.lose();
    }
    // What the standby has not reached by then is older than it may be.
    waiting.retain(|(asked, _)| asked.elapsed() <= known.max_lag);
    waiting.push_back((asked, at));
    let replayed = match ask(standby, OF_STANDBY).await.map_err(|error| format!("it does not answer: {error}")) {
        Ok(standby) => fits(&standby, &is).and_then(|()| position(&standby)),
        Err(why) => Err(why),
    };
    match replayed {
        Ok(replayed) => {
            let replayed = replayed.unwrap_or(0);
            while let Some((asked, _)) = waiting.pop_front_if(|(_, position)| *position <= replayed) {
                known.as_of.store(known.at(asked), Relaxed);
            }
            Ok(())
        }
        Err(why) => {
            known.lose();
            waiting.clear();
            Err(why)
        }
    }
}

/// Which database of which server. A standby is not on a new timeline of its primary before it has taken a checkpoint there.
#[derive(PartialEq)]
struct Server {
    identifier: i64,
    timeline: i32,
    database: String,
}

impl Server {
    fn read(row: &QueryResult) -> Result<Self, String> {
        let (identifier, timeline) = (get(row, "server")?, get(row, "timeline")?);
        Ok(Self { identifier, timeline, database: get(row, "name")? })
    }
}

fn fits(row: &QueryResult, primary: &Server) -> Result<(), String> {
    if get(row, "privileged")? {
        return Err("its user would pass row-level security by".to_owned());
    }
    if !get::<bool>(row, "follows")? {
        return Err("it follows no primary".to_owned());
    }
    if Server::read(row)? != *primary {
        return Err("it is another database, or on another timeline".to_owned());
    }
    Ok(())
}

async fn ask(connection: &DatabaseConnection, sql: &str) -> Result<QueryResult, String> {
    let asked = timeout(PATIENCE, connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql))).await;
    let answered = asked.map_err(|_| "no answer in time".to_owned())?;
    answered.map_err(|error| error.to_string())?.ok_or_else(|| "no answer".to_owned())
}

fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T, String> {
    row.try_get("", column).map_err(|error| error.to_string())
}

/// A position in the log: as bytes from its beginning. A standby that has replayed nothing has none.
fn position(row: &QueryResult) -> Result<Option<u64>, String> {
    let text: Option<String> = get(row, "position")?;
    text.map(|text| parse(&text).ok_or(format!("{text} is no position"))).transpose()
}

/// `16/B374D848`: two numbers of 32 bits.
fn parse(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let number = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(number(high)? << 32 | number(low)?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn positions_are_in_the_order_of_the_log() {
        assert_eq!(parse("16/B374D848"), Some(0x16_B374_D848));
        assert!(parse("16/B374D848") < parse("17/0"));
        assert!(["", "16", "16/", "16/G", "1/2/3", "100000000/0"].iter().all(|text| parse(text).is_none()));
    }

    #[test]
    fn who_wrote_is_answered_here_once_that_has_arrived() {
        let known = Arc::new(Known::new(Duration::from_secs(10)));
        let [one, two] = [1, 2].map(|number| TenantId::from_uuid(Uuid::from_u128(number)));
        assert!(!known.has(one), "nothing is known yet");
        known.as_of.store(known.now(), Relaxed);
        assert!(known.has(one) && known.has(two));
        std::thread::sleep(Duration::from_millis(1));
        drop(Writing { known: Arc::clone(&known), tenant_id: one });
        assert!(!known.has(one) && known.has(two));
        std::thread::sleep(Duration::from_millis(1));
        known.as_of.store(known.now(), Relaxed);
        assert!(known.has(one));
    }

    #[test]
    fn connections_of_before_it_was_lost_are_known() {
        let known = Known::new(Duration::from_secs(10));
        let is_lost = |age| known.is_of_before(age, *known.lost_at.borrow());
        assert!(!is_lost(Duration::from_secs(1)));
        known.as_of.store(known.now(), Relaxed);
        known.lose();
        assert!(!known.is_young());
        std::thread::sleep(Duration::from_millis(5));
        assert!(is_lost(Duration::from_secs(1)));
        assert!(!is_lost(Duration::from_millis(1)));
    }

    #[test]
    fn state_that_is_not_renewed_grows_too_old() {
        let known = Known::new(Duration::from_millis(1));
        known.as_of.store(known.now(), Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        assert!(!known.is_young());
    }
}
