//! Whether this node can work, part by part, and since when each part is as it is.
//!
//! # Decisions
//! - A node is ready while it can answer whatever it is asked. What it only does slower or later without is degraded.
//! - Links are redirected without the database, and their clicks kept in the spool: who balances visitors asks for that
//!   alone, or an outage of the database would take every node from them.
//! - Since when is since somebody asked and saw it: nothing here looks by itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tributary_entity::Instant;

use super::Services;
use crate::store::{database::Schema, replica::ReplicaState};

/// How long the database may take to answer; who asks does not wait much longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a part's state means for the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// The node works, slower or with something put off.
    Degraded,
    /// The node is not ready.
    Missing,
}

/// A part of the node, or something that it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    pub state: &'static str,
    pub verdict: Verdict,
    pub since: Instant,
}

/// What was seen of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub parts: Vec<Part>,
    /// Whether visitors can be sent on without a click being lost.
    pub redirects: bool,
}

impl Health {
    pub fn is_ready(&self) -> bool {
        self.named(Verdict::Missing).next().is_none()
    }

    /// The parts of which this is said.
    pub fn named(&self, verdict: Verdict) -> impl Iterator<Item = &'static str> {
        self.parts.iter().filter(move |part| part.verdict == verdict).map(|part| part.name)
    }
}

/// The states that were seen last, and since when.
#[derive(Default)]
pub struct Seen(Mutex<BTreeMap<&'static str, (&'static str, Instant)>>);

impl Seen {
    /// Since when a part is so; said to the log where it was otherwise before.
    fn since(&self, name: &'static str, (state, verdict): Judged, now: Instant) -> Instant {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.get(name).copied();
        match before {
            Some((same, since)) if same == state => return since,
            None if verdict == Verdict::Well => {}
            _ if verdict == Verdict::Well => tracing::info!(part = name, state, "a part of the node is well again"),
            _ => tracing::warn!(part = name, state, "a part of the node is not well"),
        }
        seen.insert(name, (state, now));
        now
    }
}

type Judged = (&'static str, Verdict);

/// What can be seen at one moment.
struct Sight {
    is_draining: bool,
    /// None: the database does not answer.
    schema: Option<Schema>,
    /// None: there is none.
    replica: Option<ReplicaState>,
    /// None: there is none to answer.
    redis_answers: Option<bool>,
    spool_is_empty: bool,
    spool_is_full: bool,
}

impl Sight {
    const fn node(&self) -> Judged {
        if self.is_draining { ("draining", Verdict::Missing) } else { ("working", Verdict::Well) }
    }

    const fn database(&self) -> Judged {
        if self.schema.is_some() { ("answers", Verdict::Well) } else { ("away", Verdict::Missing) }
    }

    const fn migrations(&self) -> Judged {
        match self.schema {
            Some(Schema::Current) => ("current", Verdict::Well),
            Some(Schema::Newer) => ("newer", Verdict::Well),
            Some(Schema::Behind) => ("behind", Verdict::Missing),
            None => ("unknown", Verdict::Degraded),
        }
    }

    const fn replica(&self) -> Judged {
        match self.replica {
            None => ("unused", Verdict::Well),
            Some(ReplicaState::Follows) => ("follows", Verdict::Well),
            Some(ReplicaState::Behind) => ("behind", Verdict::Degraded),
        }
    }

    const fn redis(&self) -> Judged {
        match self.redis_answers {
            None => ("unused", Verdict::Well),
            Some(true) => ("answers", Verdict::Well),
            Some(false) => ("away", Verdict::Degraded),
        }
    }

    const fn spool(&self) -> Judged {
        match (self.spool_is_full, self.spool_is_empty) {
            (true, _) => ("full", Verdict::Degraded),
            (false, true) => ("empty", Verdict::Well),
            (false, false) => ("holds clicks", Verdict::Degraded),
        }
    }

    const fn redirects(&self) -> bool {
        !self.is_draining && (self.schema.is_some() || !self.spool_is_full)
    }
}

/// Looks at every part.
pub async fn look(services: &Services, is_draining: bool) -> Health {
    let database = timeout(PATIENCE, services.db.schema());
    let redis = async {
        match &services.redis {
            Some(redis) => Some(redis.answers().await),
            None => None,
        }
    };
    let (database, redis_answers) = tokio::join!(database, redis);
    let schema = match database {
        Ok(Ok(schema)) => Some(schema),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not answer");
            None
        }
        Err(_) => None,
    };
    let (spool_is_empty, spool_is_full) = (services.spool.is_empty(), services.spool.is_full());
    let replica = services.db.replica().map(|(state, _)| state);
    let sight = Sight { is_draining, schema, replica, redis_answers, spool_is_empty, spool_is_full };
    let judged = [
        ("node", sight.node()),
        ("database", sight.database()),
        ("migrations", sight.migrations()),
        ("replica", sight.replica()),
        ("redis", sight.redis()),
        ("spool", sight.spool()),
    ];
    let now = services.now();
    let part = |(name, judged): (&'static str, Judged)| {
        let since = services.seen.since(name, judged, now);
        Part { name, state: judged.0, verdict: judged.1, since }
    };
    Health { parts: judged.into_iter().map(part).collect(), redirects: sight.redirects() }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    const WELL: Sight = Sight {
        is_draining: false,
        schema: Some(Schema::Current),
        replica: Some(ReplicaState::Follows),
        redis_answers: Some(true),
        spool_is_empty: true,
        spool_is_full: false,
    };

    #[test]
    fn what_the_node_works_without_is_degraded() {
        assert_eq!(WELL.node(), ("working", Verdict::Well));
        assert_eq!(Sight { replica: Some(ReplicaState::Behind), ..WELL }.replica(), ("behind", Verdict::Degraded));
        assert_eq!(Sight { replica: None, ..WELL }.replica(), ("unused", Verdict::Well));
        assert_eq!(Sight { redis_answers: Some(false), ..WELL }.redis(), ("away", Verdict::Degraded));
        assert_eq!(Sight { redis_answers: None, ..WELL }.redis(), ("unused", Verdict::Well));
        assert_eq!(Sight { spool_is_empty: false, ..WELL }.spool(), ("holds clicks", Verdict::Degraded));
        let full = Sight { spool_is_empty: false, spool_is_full: true, ..WELL };
        assert_eq!(full.spool(), ("full", Verdict::Degraded));
        assert_eq!(Sight { schema: Some(Schema::Newer), ..WELL }.migrations(), ("newer", Verdict::Well));
        assert_eq!(Sight { schema: Some(Schema::Behind), ..WELL }.migrations(), ("behind", Verdict::Missing));
        assert_eq!(Sight { schema: None, ..WELL }.database(), ("away", Verdict::Missing));
    }

    #[test]
    fn visitors_are_sent_on_while_their_clicks_can_be_kept() {
        assert!(WELL.redirects());
        assert!(Sight { schema: None, ..WELL }.redirects());
        assert!(Sight { spool_is_full: true, ..WELL }.redirects());
        assert!(!Sight { schema: None, spool_is_full: true, ..WELL }.redirects());
        assert!(!Sight { is_draining: true, ..WELL }.redirects());
    }

    #[test]
    fn state_is_since_it_was_first_seen() {
        let (seen, first) = (Seen::default(), DateTime::UNIX_EPOCH);
        let later = |seconds| first + TimeDelta::seconds(seconds);
        let well = ("answers", Verdict::Well);
        assert_eq!(seen.since("redis", well, first), first);
        assert_eq!(seen.since("redis", well, later(1)), first);
        assert_eq!(seen.since("redis", ("away", Verdict::Degraded), later(2)), later(2));
        assert_eq!(seen.since("redis", well, later(3)), later(3));
    }
}
