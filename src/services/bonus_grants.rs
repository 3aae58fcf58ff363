//! Bonuses by rule are given: each period of each rule is decided once, when it is over.
//!
//! # Decisions
//! - Who gives by a rule holds its row before any balance: of two who decide at once, the second finds what the first gave,
//!   and a rule that is archived meanwhile gives nothing more. The key of what was given stands behind that.
//! - Affiliates are given theirs in chunks, each in a transaction of its own; the last one moves the rule on to its next
//!   period. Whoever goes on after a node died finds those who were not given anything yet.
//! - What is next to decide is asked for by every run, of all active rules: a rule whose work came too early, because the
//!   time zone was moved, is not forgotten, and periods that no worker saw the end of are decided by the next run.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use tributary_entity::{
    Instant, bonus_grant, bonus_rule,
    ids::{AwardId, BonusRuleId},
    kinds::{AwardKind, OutboxKind, RuleStatus},
    money::Money,
};

use super::{
    ServiceError, Services,
    awards::{Award, give_all},
    holds, publish, races,
};
use crate::{
    ambient,
    auth::Actor,
    domain::{
        bonus_rule::{self as rules, Period},
        tenancy::TenantScope,
    },
    store::{bonus_rules, error::StoreError, scope::Tx, tenants},
};

/// Affiliates who are given theirs in one transaction.
const CHUNK: u64 = 100;
/// Rules that are looked at in one read.
const PAGE: u64 = 500;

/// Asks for a rule's next period to be decided when it is due.
///
/// # Errors
/// As the database answers.
pub(super) async fn ask(tx: &mut Tx, rule: &bonus_rule::Model, zone: Tz, now: Instant) -> Result<(), StoreError> {
    let due_at = Period::next(rule, zone).due_at;
    holds::ask_each(tx, OutboxKind::DecideBonuses, std::iter::once(due_at), now).await
}

/// Decides every period of a tenant's rules that is due. Answers how many bonuses were given. Safe to run at any time, any
/// number of times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays given.
pub async fn decide_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let (mut given, mut next, mut after) = (0, BTreeSet::new(), None);
    loop {
        let tx = services.db.snapshot(scope).await?;
        let zone = tenants::zone(&tx).await?;
        let page = bonus_rules::active(&tx, after, PAGE).await?;
        drop(tx);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for rule in &page {
            let due_at = Period::next(rule, zone).due_at;
            if due_at > services.now() {
                next.insert(due_at);
            } else {
                let (to_so_many, then) = decide(services, scope, rule.id).await?;
                given += to_so_many;
                next.extend(then);
            }
        }
    }
    let mut tx = services.db.begin(scope).await?;
    holds::ask_each(&mut tx, OutboxKind::DecideBonuses, next.into_iter(), services.now()).await?;
    tx.commit().await?;
    Ok(given)
}

/// Decides what is due of a rule. Answers to how many it gave something, and when it is due again.
async fn decide(
    services: &Services,
    scope: &TenantScope,
    id: BonusRuleId,
) -> Result<(u64, Option<Instant>), ServiceError> {
    let mut given = 0;
    loop {
        match races::outlast(|| step(services, scope, id)).await? {
            Step::Gave(to_so_many) => given += to_so_many,
            Step::Next(due_at) => return Ok((given, due_at)),
        }
    }
}

/// What one transaction did with a rule.
enum Step {
    /// It gave to so many.
    Gave(u64),
    /// Nothing: it is due then, or not any more.
    Next(Option<Instant>),
}

async fn step(services: &Services, scope: &TenantScope, id: BonusRuleId) -> Result<Step, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let rule = bonus_rules::lock(&tx, id).await?.filter(|rule| rule.status == RuleStatus::Active);
    let Some(rule) = rule else { return Ok(Step::Next(None)) };
    let zone = tenants::zone(&tx).await?;
    let (now, period) = (services.now(), Period::next(&rule, zone));
    if period.due_at > now {
        return Ok(Step::Next(Some(period.due_at)));
    }
    let given = advance(&mut tx, rule, &period, zone, now).await?;
    publish(&*services.bus, tx).await?;
    Ok(Step::Gave(given))
}

/// Gives the next affiliates theirs for a period of a locked rule. After the last one the rule is at its next period.
async fn advance(
    tx: &mut Tx,
    rule: bonus_rule::Model,
    period: &Period,
    zone: Tz,
    now: Instant,
) -> Result<u64, StoreError> {
    let reached = bonus_rules::reached(tx, &rule, period, CHUNK).await?;
    let given = reached.len() as u64;
    let awards = reached.into_iter().map(|(affiliate_id, counted)| Award {
        id: AwardId::from_uuid(ambient::new_uuid()),
        kind: AwardKind::Bonus,
        affiliate_id,
        campaign_id: rule.campaign_id,
        amount: Money::new(rule.amount_minor, rule.currency),
        reason: rule.name.clone(),
        steps: rules::steps(&rule, period, counted, zone),
        author: Actor::System.to_string(),
        hold_secs: rule.hold_secs,
    });
    let awards = awards.collect();
    let grants = give_all(tx, awards, now).await?.into_iter().map(|award| bonus_grant::Model {
        tenant_id: award.tenant_id,
        rule_id: rule.id,
        affiliate_id: award.affiliate_id,
        period_start: period.from,
        award_id: award.id,
        created_at: now,
    });
    let grants = grants.collect();
    bonus_rules::insert_grants(tx, grants).await?;
    if given < CHUNK {
        bonus_rules::update(tx, bonus_rule::Model { decided_until: period.until, ..rule }).await?;
    }
    Ok(given)
}
