//! The connections of a node that stay: WebSockets and streams. How many there may be, and how they end with it.
//!
//! A socket outlives the request that opened it, so that a graceful end of the server neither waits for it nor closes
//! it. Here each is counted, and is told when it is time to leave.
//!
//! # Decisions
//! - Told to leave together, all clients would come back together, to what is left of the cluster: each leaves at a
//!   moment of its own, in a time that grows with their number.
//! - Caps are per node: they protect its memory. An anonymous socket counts for its address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tributary_entity::ids::TenantId;

use crate::{
    ambient,
    auth::{Actor, Viewer},
    services::Services,
};

/// How many leave in a millisecond; all have left after [`LEAVING_MAX`].
const LEAVING_PER_MILLI: usize = 1;
const LEAVING_MAX: Duration = Duration::from_secs(5);

/// All sockets and streams of a node; cheap to clone.
#[derive(Clone)]
pub struct Sockets(Arc<Registry>);

struct Registry {
    announced: AtomicBool,
    leaving: CancellationToken,
    open: watch::Sender<usize>,
    held: Mutex<HashMap<Holder, usize>>,
    per_user: usize,
    per_tenant: usize,
    max_age: Duration,
}

/// Whom a connection counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Tenant(TenantId),
    User(TenantId, Actor),
    Address(IpAddr),
}

/// Who has as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    User,
    Tenant,
}

impl Full {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::User => "too many connections of this user",
            Self::Tenant => "too many connections of this tenant",
        }
    }
}

/// Why a connection has to leave; its client comes back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// The node ends.
    Draining,
    /// It stood long enough; elsewhere there may be less to do.
    Age,
}

impl Departure {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Draining => "the node ends; connect again",
            Self::Age => "this connection is old; connect again",
        }
    }
}

/// One connection, counted until it is dropped.
pub(super) struct Open {
    sockets: Sockets,
    holders: Vec<Holder>,
}

impl Sockets {
    /// None yet, within the bounds that the settings give.
    pub fn new(services: &Services) -> Self {
        let settings = &services.settings;
        Self(Arc::new(Registry {
            announced: AtomicBool::new(false),
            leaving: CancellationToken::new(),
            open: watch::Sender::new(0),
            held: Mutex::default(),
            per_user: settings.sockets_per_user,
            per_tenant: settings.sockets_per_tenant,
            max_age: Duration::from_secs(settings.connection_max_secs),
        }))
    }

    /// Says that the node is about to end: no new ones.
    pub fn announce_end(&self) {
        self.0.announced.store(true, Ordering::Relaxed);
    }

    /// Tells all, also those to come, to end.
    pub fn end(&self) {
        self.announce_end();
        self.0.leaving.cancel();
    }

    /// Waits until they are told to end.
    pub async fn ending(&self) {
        self.0.leaving.cancelled().await;
    }

    /// Waits until none is open.
    pub async fn ended(&self) {
        // The sender lives in `self`.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.announced.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) -> Open {
        self.0.open.send_modify(|open| *open += 1);
        Open { sockets: self.clone(), holders: Vec::new() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Counts the connection for its viewer, or for the client's address without one.
    pub fn claim(&mut self, viewer: Option<&Viewer>, client: IpAddr) -> Result<(), Full> {
        let (per_user, per_tenant) = (self.sockets.0.per_user, self.sockets.0.per_tenant);
        let claims = match viewer {
            Some(viewer) => {
                let tenant = viewer.scope.tenant_id();
                vec![
                    (Holder::User(tenant, viewer.actor.clone()), per_user, Full::User),
                    (Holder::Tenant(tenant), per_tenant, Full::Tenant),
                ]
            }
            None => vec![(Holder::Address(client), per_user, Full::User)],
        };
        let mut held = self.sockets.held();
        if let Some((_, _, full)) =
            claims.iter().find(|(holder, cap, _)| held.get(holder).is_some_and(|count| count >= cap))
        {
            return Err(*full);
        }
        for (holder, _, _) in claims {
            *held.entry(holder.clone()).or_default() += 1;
            self.holders.push(holder);
        }
        Ok(())
    }

    /// Ends when the connection has to leave.
    pub fn departure(&self) -> impl Future<Output = Departure> + Send + use<> {
        let sockets = self.sockets.clone();
        // Up to a tenth less, so that what came together does not come back together.
        let age = sockets.0.max_age.mul_f64(1.0 - random() / 10.0);
        async move {
            tokio::select! {
                () = sleep(age) => Departure::Age,
                () = sockets.ending() => {
                    let millis = (*sockets.0.open.borrow() / LEAVING_PER_MILLI) as u64;
                    sleep(Duration::from_millis(millis).min(LEAVING_MAX).mul_f64(random())).await;
                    Departure::Draining
                }
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut held = self.sockets.held();
        for holder in &self.holders {
            if let Some(count) = held.get_mut(holder) {
                *count -= 1;
                if *count == 0 {
                    held.remove(holder);
                }
            }
        }
        drop(held);
        self.sockets.0.open.send_modify(|open| *open -= 1);
    }
}

/// From 0 to 1.
fn random() -> f64 {
    f64::from(u32::from_le_bytes(ambient::random_bytes::<4>())) / f64::from(u32::MAX)
}
