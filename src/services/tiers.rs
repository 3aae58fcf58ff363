//! Tiers of recorded conversions: taken out of the count, and rated anew where the step is another.
//!
//! # Decisions
//! - Rating anew is work of the outbox, asked for in the transaction that reached or lost a step: a month may hold any
//!   number of conversions, and a batch has a bounded one. It goes chunk by chunk, each a transaction of its own, and each
//!   conversion says at which step it is rated: so it is safe to run at any time, any number of times, on any number of
//!   nodes, and what was posted is never posted again.
//! - Only conversions of the rule's current version are rated anew: a new version touches no past ones.
//! - Upwards also in a period that is over (a conversion that comes late lifts its own); downwards only in the open one.
//! - What a cap cut stays as it was cut, and what is added later is not measured by caps: they limit what is taken in.
//! - Locks: conversions, commissions, caps, tiers, earnings, balances.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, commission, conversion,
    ids::{AffiliateId, ConversionId, OutboxId},
    kinds::{CommissionStatus, ConversionStatus, EventKind, OutboxKind, TierMode},
    money::Money,
    tier_adjustment, tier_share,
};

use super::{
    ServiceError, Services,
    adjustments::{self, By, Move, Moves},
    conversions as noun, publish,
};
use crate::{
    ambient,
    auth::Actor,
    domain::{
        cap,
        commission::{
            Explanation,
            tiers::{Counted, TierKey, reached},
        },
        event::NewEvent,
        rule::Rule,
        tenancy::TenantScope,
    },
    store::{attributions, commissions, conversions, error::StoreError, outbox, rules, scope::Tx, tenants, tiers},
};

/// Conversions of one transaction.
const CHUNK: u64 = 250;
/// Races for locks that a chunk may lose before it waits for its next turn.
const RACES: usize = 5;

/// Asks for periods to be rated anew.
///
/// # Errors
/// As the database answers.
pub(super) async fn ask(tx: &mut Tx, keys: &BTreeSet<TierKey>, now: Instant) -> Result<(), StoreError> {
    let pieces = keys.iter().map(|key| (OutboxId::from_uuid(ambient::new_uuid()), key.to_string()));
    outbox::ask_all(tx, OutboxKind::RerateTier, pieces.collect(), now, now).await
}

/// Takes conversions that are rejected or taken back in full out of what tiers have counted, and asks for the others of
/// their open periods to be rated anew. Once per conversion: again, it finds nothing. The caller holds the conversions
/// locked, and calls it before anything of earnings or balances is.
///
/// # Errors
/// As the database answers.
pub(super) async fn undo(tx: &mut Tx, ids: &[ConversionId], now: Instant) -> Result<(), StoreError> {
    let shares = tiers::shares_of(tx, ids).await?;
    if shares.is_empty() {
        return Ok(());
    }
    let mut taken: BTreeMap<TierKey, Counted> = BTreeMap::new();
    let mut rated: BTreeSet<TierKey> = BTreeSet::new();
    for share in &shares {
        let counted = taken.entry(key_of(share)).or_default();
        counted.conversions -= 1;
        counted.sale_minor -= share.sale_minor;
        if share.mode == TierMode::Whole {
            rated.insert(key_of(share));
        }
    }
    tiers::add(tx, &taken).await?;
    tiers::delete_shares(tx, ids).await?;
    let zone = cap::zone(&tenants::get(tx).await?.time_zone);
    rated.retain(|key| is_open(key, now, zone));
    ask(tx, &rated, now).await
}

fn key_of(share: &tier_share::Model) -> TierKey {
    let tier_share::Model { affiliate_id, rule_id, period, period_start: start, .. } = *share;
    TierKey { affiliate_id, rule_id, period, start }
}

fn is_open(key: &TierKey, now: Instant, zone: chrono_tz::Tz) -> bool {
    cap::period_start(key.period, now, zone) <= key.start
}

/// Rates the conversions of a period at the step that it has reached.
///
/// # Errors
/// As the database answers; what was committed before stays.
pub async fn rerate(services: &Services, scope: &TenantScope, key: TierKey) -> Result<(), ServiceError> {
    let mut lost_races = 0;
    loop {
        match chunk(services, scope, key).await {
            Ok(0) => return Ok(()),
            Ok(_) => lost_races = 0,
            Err(StoreError::Conflict(_)) if lost_races < RACES => lost_races += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Rates some of a period's conversions. Answers how many there were.
async fn chunk(services: &Services, scope: &TenantScope, key: TierKey) -> Result<usize, StoreError> {
    let mut tx = services.db.begin(scope).await?;
    let now = services.now();
    let Some(rule) = rules::get(&tx, key.rule_id).await? else { return Ok(0) };
    let zone = cap::zone(&tenants::get(&tx).await?.time_zone);
    let only_lower = !is_open(&key, now, zone);
    let keys = BTreeSet::from([key]);
    let Some(step) = step_of(&rule, &tiers::counted(&tx, &keys).await?, key) else { return Ok(0) };
    let version = rule.terms.version;
    let ids = tiers::rated_otherwise(&tx, &key, version, step, only_lower, CHUNK).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let found = conversions::lock_many(&tx, &ids).await?;
    let rows = commissions::lock_of_conversions(&tx, &ids).await?;
    // As it is under the lock: a batch or a review may have been faster.
    let Some(step) = step_of(&rule, &tiers::lock(&mut tx, &keys).await?, key) else { return Ok(0) };
    let is_meant = |share: &tier_share::Model| {
        let is_other = if only_lower { share.step < step } else { share.step != step };
        key_of(share) == key && share.rule_version == version && is_other
    };
    let shares: HashMap<ConversionId, i64> = tiers::shares_of(&tx, &ids)
        .await?
        .into_iter()
        .filter(is_meant)
        .map(|share| (share.conversion_id, share.step))
        .collect();
    let credits = credits(&tx, key.affiliate_id, &ids).await?;
    let period = Period { key, rule: &rule, step };
    let mut changes = Vec::new();
    for conversion in &found {
        let Some(from) = shares.get(&conversion.id).copied() else { continue };
        let own = rows.iter().find(|row| row.conversion_id == conversion.id && row.affiliate_id == key.affiliate_id);
        let credit = credits.get(&conversion.id).copied().unwrap_or(0);
        if let Some(row) = own {
            changes.extend(period.change(conversion, row, from, credit)?);
        }
    }
    let rated: Vec<ConversionId> = shares.into_keys().collect();
    tiers::set_step(&mut tx, &key, &rated, step).await?;
    if !changes.is_empty() {
        period.write(&mut tx, &changes, now).await?;
    }
    publish(&*services.bus, tx).await?;
    Ok(ids.len())
}

/// The step that a period has reached; none where the rule rates nothing anew.
fn step_of(rule: &Rule, counted: &BTreeMap<TierKey, Counted>, key: TierKey) -> Option<i64> {
    let tiers = rule.plan.tiers.as_ref().filter(|tiers| tiers.mode == TierMode::Whole)?;
    let counted = counted.get(&key).copied().unwrap_or_default();
    Some(reached(tiers, rule.base(), counted.of(tiers.basis)).from)
}

/// What an affiliate is credited with of each conversion now, in millionths.
async fn credits(
    tx: &Tx,
    affiliate_id: AffiliateId,
    ids: &[ConversionId],
) -> Result<HashMap<ConversionId, i32>, StoreError> {
    // Oldest first: the newest stays.
    let newest: HashMap<ConversionId, i32> =
        attributions::decisions(tx, ids).await?.into_iter().map(|row| (row.conversion_id, row.version)).collect();
    let mut credits: HashMap<ConversionId, i32> = HashMap::new();
    for touch in attributions::touches(tx, ids).await? {
        if touch.affiliate_id == affiliate_id && newest.get(&touch.conversion_id) == Some(&touch.version) {
            *credits.entry(touch.conversion_id).or_default() += touch.share_millionths;
        }
    }
    Ok(credits)
}

/// A period that is rated anew.
struct Period<'a> {
    key: TierKey,
    /// In its current version.
    rule: &'a Rule,
    /// The step that the period has reached.
    step: i64,
}

/// A commission that gains or loses something.
struct Change<'a> {
    conversion: &'a conversion::Model,
    row: &'a commission::Model,
    from: i64,
    difference: Money,
}

impl Period<'_> {
    /// None where the commission stays as it is.
    fn change<'a>(
        &self,
        conversion: &'a conversion::Model,
        row: &'a commission::Model,
        from: i64,
        credit: i32,
    ) -> Result<Option<Change<'a>>, StoreError> {
        let counts = matches!(conversion.status, ConversionStatus::Approved | ConversionStatus::Pending)
            && matches!(
                row.status,
                CommissionStatus::Unapproved | CommissionStatus::Pending | CommissionStatus::Available
            );
        let earned: Explanation =
            serde_json::from_str(&row.explanation).map_err(|error| StoreError::inconsistent("commission", error))?;
        if !counts || earned.clamp.is_some() {
            return Ok(None);
        }
        let out_of_range = || StoreError::inconsistent("commission", "a step pays more than can be held");
        let pays = |step| earned.at_step(self.rule, step, credit).ok_or_else(out_of_range);
        // Never below nothing, whatever else was taken from it.
        let floor = -(row.amount_minor + row.adjusted_minor);
        let difference = (pays(self.step)? - pays(from)?).max(floor);
        let difference = Money::new(difference, row.currency);
        Ok((difference.amount_minor != 0).then_some(Change { conversion, row, from, difference }))
    }

    async fn write(&self, tx: &mut Tx, changes: &[Change<'_>], now: Instant) -> Result<(), StoreError> {
        let adjusted: Vec<_> = changes.iter().map(|one| (one.row.id, one.difference.amount_minor)).collect();
        commissions::adjust(tx, &adjusted).await?;
        let moves: Vec<Moves<'_>> = changes
            .iter()
            .map(|Change { conversion, row, difference, .. }| {
                let line = Move { affiliate_id: row.affiliate_id, amount: *difference, status: row.status };
                Moves { conversion, lines: vec![line] }
            })
            .collect();
        let (actor, note) = (Actor::System.to_string(), format!("tier of {}", self.rule.head.name));
        let by = By { actor: &actor, note: Some(&note) };
        // The version names the step of the conversion's life.
        let key = |row: &conversion::Model| format!("tier:{}:{}", row.id, row.version + 1);
        let journals = adjustments::write(tx, &moves, by, key, now).await?;
        let rows = changes.iter().map(|change| tier_adjustment::Model {
            tenant_id: change.conversion.tenant_id,
            conversion_id: change.conversion.id,
            affiliate_id: self.key.affiliate_id,
            version: change.conversion.version + 1,
            rule_id: self.key.rule_id,
            from_step: change.from,
            to_step: self.step,
            amount_minor: change.difference.amount_minor,
            currency: change.difference.currency,
            journal_id: journals.get(&change.conversion.id).copied(),
            recorded_at: now,
        });
        tiers::insert_adjustments(tx, rows.collect()).await?;
        tell(tx, changes, now).await
    }
}

async fn tell(tx: &mut Tx, changes: &[Change<'_>], now: Instant) -> Result<(), StoreError> {
    let ids: Vec<ConversionId> = changes.iter().map(|change| change.conversion.id).collect();
    let rows = conversions::get_many(tx, &ids).await?;
    for snapshot in noun::snapshots(tx, rows).await? {
        let event = NewEvent::new(EventKind::ConversionRerated, snapshot.conversion.id.uuid(), &snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
    }
    Ok(())
}
