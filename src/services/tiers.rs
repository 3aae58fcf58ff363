//! Tiers of recorded conversions: taken out of the count, and rated anew where the step is another.
//!
//! # Decisions
//! - Rating anew is work of the outbox, asked for in the transaction that reached or lost a step: a month may hold any
//!   number of conversions, and a batch has a bounded one. It goes chunk by chunk, each a transaction of its own, and each
//!   conversion says at which step it is rated: so it is safe to run at any time, any number of times, on any number of
//!   nodes, and what was posted is never posted again.
//! - Only conversions of the rule's current version are rated anew: a new version touches no past ones.
//! - A conversion that was changed is due: what was taken back of it before its step changed, and was given again after, is
//!   held against its step once more, whatever its version.
//! - Upwards also in a period that is over (a conversion that comes late lifts its own); downwards only in the open one.
//! - What others earn on top as a share of a commission is rated anew with it, in the same journal; a share of the sale and a
//!   flat amount stay. What was taken back of either goes by the fraction that is taken of the commission at its new step.
//! - What a step adds takes what room caps on commission have left in the period of its conversion, and no more; what it
//!   takes away gives that room back. The clamp is kept with the commission, and what it cut off is what a lower step takes
//!   first. What a cap cut when a conversion was taken in stays as it was cut. What others earn on top takes no room.
//! - Locks: conversions, commissions, caps, tiers, earnings, balances.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, commission, conversion,
    ids::{AffiliateId, CommissionId, ConversionId, OutboxId},
    kinds::{CommissionStatus, ConversionStatus, EventKind, OutboxKind, TierMode},
    money::Money,
    tier_adjustment, tier_share,
};

use super::{
    ServiceError, Services,
    adjustments::{self, By, Move, Moves},
    conversions as noun,
    ingest::caps::BatchCaps,
    overrides, publish, races,
};
use crate::{
    ambient,
    auth::Actor,
    domain::{
        cap,
        commission::{
            Explanation,
            caps::{Clamp, Course, course},
            gross,
            tiers::{Counted, TierKey, reached},
        },
        conversion::{Rated, sale_left},
        event::NewEvent,
        reversal::Earned,
        rule::Rule,
        tenancy::TenantScope,
    },
    store::{
        attributions, commissions, conversions,
        error::StoreError,
        outbox, rules,
        scope::Tx,
        tenants,
        tiers::{self, Otherwise},
    },
};

/// Conversions of one transaction.
const CHUNK: u64 = 250;

/// Asks for periods to be rated anew.
///
/// # Errors
/// As the database answers.
pub(super) async fn ask(tx: &mut Tx, keys: &BTreeSet<TierKey>, now: Instant) -> Result<(), StoreError> {
    let pieces = keys.iter().map(|key| (OutboxId::from_uuid(ambient::new_uuid()), key.to_string()));
    outbox::ask_all(tx, OutboxKind::RerateTier, pieces.collect(), now, now).await
}

/// Takes conversions that are rejected out of what tiers have counted, and asks for the others of their open periods to be
/// rated anew. Once per conversion: again, it finds nothing. The caller holds the conversions locked, and calls it before
/// anything of earnings or balances is.
///
/// # Errors
/// As the database answers.
pub(super) async fn undo(tx: &mut Tx, ids: &[ConversionId], now: Instant) -> Result<(), StoreError> {
    let shares = tiers::shares_of(tx, ids).await?;
    if shares.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    for share in &shares {
        changes.add(share, &tier_share::Model { is_counted: false, sale_minor: 0, ..share.clone() });
    }
    tiers::delete_shares(tx, ids).await?;
    changes.write(tx, now).await
}

/// Counts conversions as they are after a change: what is left of a sale, and nothing of one that is taken back in full. The
/// caller holds them locked, and calls it before anything of earnings or balances is.
///
/// # Errors
/// As the database answers.
pub(super) async fn recount(tx: &mut Tx, rows: &[conversion::Model], now: Instant) -> Result<(), StoreError> {
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let mut changes = Changes::default();
    for share in tiers::shares_of(tx, &ids).await? {
        let Some(row) = rows.iter().find(|row| row.id == share.conversion_id) else { continue };
        let left = Rated::at(row, sale_left(row)).map_or(0, |rated| rated.sale.amount_minor);
        let after = tier_share::Model {
            is_counted: row.status != ConversionStatus::Reversed,
            sale_minor: left,
            // What was taken back of it may be other than its step says now.
            is_due: share.mode == TierMode::Whole,
            ..share.clone()
        };
        changes.add(&share, &after);
        tiers::count_share(tx, &after).await?;
    }
    changes.write(tx, now).await
}

/// What periods count more or less.
#[derive(Default)]
struct Changes {
    counted: BTreeMap<TierKey, Counted>,
    rated: BTreeSet<TierKey>,
}

impl Changes {
    fn add(&mut self, before: &tier_share::Model, after: &tier_share::Model) {
        let counted = self.counted.entry(key_of(before)).or_default();
        counted.conversions += i64::from(after.is_counted) - i64::from(before.is_counted);
        counted.sale_minor += after.sale_minor - before.sale_minor;
        if before.mode == TierMode::Whole {
            self.rated.insert(key_of(before));
        }
    }

    async fn write(self, tx: &mut Tx, now: Instant) -> Result<(), StoreError> {
        if self.counted.is_empty() {
            return Ok(());
        }
        tiers::add(tx, &self.counted).await?;
        ask(tx, &self.rated, now).await
    }
}

fn key_of(share: &tier_share::Model) -> TierKey {
    let tier_share::Model { affiliate_id, rule_id, period, period_start: start, .. } = *share;
    TierKey { affiliate_id, rule_id, period, start }
}

fn is_open(key: &TierKey, now: Instant, zone: chrono_tz::Tz) -> bool {
    cap::period_start(key.period, now, zone) <= key.start
}

/// Why a commission is what it was first.
///
/// # Errors
/// `Inconsistent` when its row does not say.
pub(super) fn earned_of(row: &commission::Model) -> Result<Explanation, StoreError> {
    serde_json::from_str(&row.explanation).map_err(|error| StoreError::inconsistent("commission", error))
}

/// What a cap cut off a commission when it rose last.
fn clamp_of(row: &commission::Model) -> Result<Option<Clamp>, StoreError> {
    let clamp = row.clamp.as_deref().map(serde_json::from_str).transpose();
    clamp.map_err(|error| StoreError::inconsistent("commission", error))
}

/// As [`earned_of`], with what a cap has cut off it since: who credits it anew gives it no more than was left.
///
/// # Errors
/// As [`earned_of`].
pub(super) fn limited_of(row: &commission::Model) -> Result<Explanation, StoreError> {
    let earned = earned_of(row)?;
    Ok(Explanation { clamp: clamp_of(row)?.or(earned.clamp), ..earned })
}

/// Keeps what a cap cut off a commission, where that is something else than before.
///
/// # Errors
/// As the database answers.
pub(super) async fn keep_clamp(tx: &mut Tx, row: &commission::Model, clamp: Option<Clamp>) -> Result<(), StoreError> {
    if clamp_of(row)? == clamp {
        return Ok(());
    }
    let text = clamp.map(|clamp| serde_json::to_string(&clamp)).transpose();
    let text = text.map_err(|error| StoreError::inconsistent("commission", error))?;
    commissions::set_clamp(tx, row.id, text).await
}

/// The steps that commissions are rated at, of tiers that rate anew: what is cut at the steps is not rated at one.
///
/// # Errors
/// As the database answers.
pub(super) async fn steps_of(
    tx: &Tx,
    ids: &[ConversionId],
) -> Result<HashMap<(ConversionId, AffiliateId), i64>, StoreError> {
    let shares = tiers::shares_of(tx, ids).await?;
    let whole = shares.into_iter().filter(|share| share.mode == TierMode::Whole);
    Ok(whole.map(|share| ((share.conversion_id, share.affiliate_id), share.step)).collect())
}

/// Rates the conversions of a period at the step that it has reached.
///
/// # Errors
/// As the database answers; what was committed before stays.
pub async fn rerate(services: &Services, scope: &TenantScope, key: TierKey) -> Result<(), ServiceError> {
    while races::outlast(|| chunk(services, scope, key)).await? > 0 {}
    Ok(())
}

/// Rates some of a period's conversions. Answers how many there were.
async fn chunk(services: &Services, scope: &TenantScope, key: TierKey) -> Result<usize, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let now = services.now();
    let Some(rule) = rules::get(&tx, key.rule_id).await? else { return Ok(0) };
    let zone = tenants::zone(&tx).await?;
    let keys = BTreeSet::from([key]);
    let step = step_of(&rule, &tiers::counted(&tx, &keys).await?, key);
    let mut period = Period { key, only_lower: !is_open(&key, now, zone), step, rule, versions: HashMap::new() };
    let ids = tiers::rated_otherwise(&tx, &key, period.otherwise(), CHUNK).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let found = conversions::lock_many(&tx, &ids).await?;
    let rows = commissions::lock_of_conversions(&tx, &ids).await?;
    let mut caps = BatchCaps::default();
    caps.hold(&mut tx, &found).await?;
    // As it is under the lock: a batch or a review may have been faster.
    period.step = step_of(&period.rule, &tiers::lock(&mut tx, &keys).await?, key);
    let shares: Vec<tier_share::Model> = tiers::shares_of(&tx, &ids)
        .await?
        .into_iter()
        .filter(|share| key_of(share) == key && share.is_counted)
        .collect();
    period.know(&tx, &shares).await?;
    let credits = credits(&tx, key.affiliate_id, &ids).await?;
    let (mut changes, mut steps) = (Vec::new(), BTreeMap::<i64, Vec<ConversionId>>::new());
    for share in &shares {
        let id = share.conversion_id;
        let (step, rule) = period.step_for(share)?;
        steps.entry(step).or_default().push(id);
        let (own, above) = with_above(&rows, id, key.affiliate_id);
        if let (Some(conversion), Some(row)) = (found.iter().find(|row| row.id == id), own) {
            let rating = Rating { rule, from: share.step, to: step, credit: credits.get(&id).copied().unwrap_or(0) };
            changes.extend(rating.change(&mut caps, conversion, row, &above)?);
        }
    }
    caps.write(&mut tx).await?;
    for (step, ids) in steps {
        tiers::set_step(&mut tx, &key, &ids, step).await?;
    }
    if !changes.is_empty() {
        period.write(&mut tx, &changes, now).await?;
    }
    publish(&*services.bus, tx).await?;
    Ok(ids.len())
}

/// An affiliate's own commission of a conversion, and what others earn on top of it.
fn with_above(
    rows: &[commission::Model],
    id: ConversionId,
    affiliate_id: AffiliateId,
) -> (Option<&commission::Model>, Vec<&commission::Model>) {
    let of_conversion = || rows.iter().filter(|row| row.conversion_id == id);
    let own = of_conversion().find(|row| row.level == 0 && row.affiliate_id == affiliate_id);
    (own, of_conversion().filter(|row| row.base_affiliate_id == Some(affiliate_id)).collect())
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
struct Period {
    key: TierKey,
    /// It is over: nothing is rated down.
    only_lower: bool,
    /// The step that it has reached; none where the rule rates nothing anew any more.
    step: Option<i64>,
    /// The rule in its current version.
    rule: Rule,
    /// The rule in the versions that shares name.
    versions: HashMap<i32, Rule>,
}

impl Period {
    fn otherwise(&self) -> Option<Otherwise> {
        let (version, only_lower) = (self.rule.terms.version, self.only_lower);
        self.step.map(|step| Otherwise { version, step, only_lower })
    }

    async fn know(&mut self, tx: &Tx, shares: &[tier_share::Model]) -> Result<(), StoreError> {
        let wanted: BTreeSet<_> = shares.iter().map(|share| (share.rule_id, share.rule_version)).collect();
        let rules = rules::in_versions(tx, &wanted.into_iter().collect::<Vec<_>>()).await?;
        self.versions = rules.into_iter().map(|rule| (rule.terms.version, rule)).collect();
        Ok(())
    }

    /// The step at which a share is to be rated, and the rule in its version. A new version touches no past ones.
    fn step_for(&self, share: &tier_share::Model) -> Result<(i64, &Rule), StoreError> {
        let rule = self.versions.get(&share.rule_version);
        let rule = rule.ok_or_else(|| StoreError::inconsistent("tier_share", "has no rule"))?;
        let step = match self.step.filter(|_| share.rule_version == self.rule.terms.version) {
            Some(step) if self.only_lower => step.max(share.step),
            Some(step) => step,
            None => share.step,
        };
        Ok((step, rule))
    }

    async fn write(&self, tx: &mut Tx, changes: &[Change<'_>], now: Instant) -> Result<(), StoreError> {
        let lines = || changes.iter().flat_map(|change| &change.lines);
        let part = |of: fn(&Line<'_>) -> i64| -> Vec<(CommissionId, i64)> {
            lines().map(|line| (line.row.id, of(line))).filter(|(_, amount)| *amount != 0).collect()
        };
        // In this order nothing is ever taken back of which there is less.
        commissions::reverse(tx, &part(|one| one.reversed_minor.min(0))).await?;
        commissions::adjust(tx, &part(|one| one.gross_minor)).await?;
        commissions::reverse(tx, &part(|one| one.reversed_minor.max(0))).await?;
        for change in changes {
            keep_clamp(tx, change.own, change.clamp).await?;
        }
        let moves: Vec<Moves<'_>> = changes.iter().map(Change::moves).collect();
        let (actor, note) = (Actor::System.to_string(), format!("tier of {}", self.rule.head.name));
        let by = By { actor: &actor, note: Some(&note) };
        // The version names the step of the conversion's life.
        let key = |row: &conversion::Model| format!("tier:{}:{}", row.id, row.version + 1);
        let journals = adjustments::write(tx, &moves, by, key, now).await?;
        let row = |change: &Change<'_>, line: &Line<'_>| tier_adjustment::Model {
            tenant_id: change.conversion.tenant_id,
            conversion_id: change.conversion.id,
            affiliate_id: line.row.affiliate_id,
            version: change.conversion.version + 1,
            base_affiliate_id: line.row.base_affiliate_id,
            rule_id: self.key.rule_id,
            from_step: change.from,
            to_step: change.to,
            amount_minor: line.gross_minor,
            reversed_minor: line.reversed_minor,
            currency: line.row.currency,
            journal_id: journals.get(&change.conversion.id).copied(),
            recorded_at: now,
        };
        let rows = changes.iter().flat_map(|change| change.lines.iter().map(|line| row(change, line)));
        tiers::insert_adjustments(tx, rows.collect()).await?;
        overrides::tell(tx, lines().map(|line| line.row), now);
        tell(tx, changes, now).await
    }
}

/// How a commission is rated anew.
struct Rating<'a> {
    rule: &'a Rule,
    from: i64,
    to: i64,
    /// The affiliate's part of the conversion, in millionths.
    credit: i32,
}

/// A conversion of which commissions gain or lose something.
struct Change<'a> {
    conversion: &'a conversion::Model,
    from: i64,
    to: i64,
    /// The affiliate's own commission, and what a cap cut off it.
    own: &'a commission::Model,
    clamp: Option<Clamp>,
    /// Of it, and of those on top of it.
    lines: Vec<Line<'a>>,
}

/// What one commission gains or loses.
struct Line<'a> {
    row: &'a commission::Model,
    /// Of what was reckoned.
    gross_minor: i64,
    /// Of what is taken back of it.
    reversed_minor: i64,
}

impl Change<'_> {
    fn moves(&self) -> Moves<'_> {
        let lines = self.lines.iter().map(|Line { row, gross_minor, reversed_minor }| {
            let amount = Money::new(gross_minor - reversed_minor, row.currency);
            Move { affiliate_id: row.affiliate_id, amount, status: row.status }
        });
        // Where all of one was taken back, or cut, nothing moves.
        Moves { conversion: self.conversion, lines: lines.filter(|line| line.amount.amount_minor != 0).collect() }
    }
}

const fn counts(row: &commission::Model) -> bool {
    matches!(row.status, CommissionStatus::Unapproved | CommissionStatus::Pending | CommissionStatus::Available)
}

fn out_of_range() -> StoreError {
    StoreError::inconsistent("commission", "a step pays more than can be held")
}

impl Rating<'_> {
    /// None where the commission stays as it is, and those on top of it.
    fn change<'a>(
        &self,
        caps: &mut BatchCaps,
        conversion: &'a conversion::Model,
        row: &'a commission::Model,
        above: &[&'a commission::Model],
    ) -> Result<Option<Change<'a>>, StoreError> {
        let is_open = matches!(conversion.status, ConversionStatus::Approved | ConversionStatus::Pending);
        let earned = earned_of(row)?;
        if !is_open || !counts(row) || earned.clamp.is_some() {
            return Ok(None);
        }
        let sale_minor = Rated::of_row(conversion).map_or(0, |rated| rated.sale.amount_minor);
        let pays = |step| earned.at_step(self.rule, step, sale_minor, self.credit).ok_or_else(out_of_range);
        let before = clamp_of(row)?;
        // Never below nothing, whatever else was taken from it.
        let (gross_minor, clamp) = match course(gross(row).amount_minor, before, pays(self.to)? - pays(self.from)?) {
            Course::Rises(earned_minor) => caps.measure(conversion, row, earned_minor)?,
            Course::Falls(difference, clamp) => {
                caps.fall(conversion, row.affiliate_id, -difference)?;
                (difference, clamp)
            }
        };
        let fixed = earned.offer(self.rule, Some(self.to), sale_minor).fixed().ok_or_else(out_of_range)?;
        let mut lines = vec![line(conversion, row, gross_minor, fixed)?];
        let below_minor = gross(row).amount_minor + gross_minor;
        for row in above.iter().filter(|row| counts(row)) {
            let share = earned_of(row)?.over.and_then(|over| over.terms.of_commission(below_minor));
            let share = share.map(i64::try_from).transpose().map_err(|_| out_of_range())?;
            let gross_minor = share.map_or(0, |share| share - gross(row).amount_minor);
            lines.push(line(conversion, row, gross_minor, fixed)?);
        }
        lines.retain(|line| line.gross_minor != 0 || line.reversed_minor != 0);
        let Self { from, to, .. } = *self;
        let is_changed = !lines.is_empty() || clamp != before;
        Ok(is_changed.then_some(Change { conversion, from, to, own: row, clamp, lines }))
    }
}

/// What a commission gains or loses, of which another part belongs to what was taken back then. `fixed` as `Offer::fixed`.
fn line<'a>(
    conversion: &conversion::Model,
    row: &'a commission::Model,
    gross_minor: i64,
    fixed: (i128, i128),
) -> Result<Line<'a>, StoreError> {
    let after = commission::Model { adjusted_minor: row.adjusted_minor + gross_minor, ..row.clone() };
    let taken_minor = Earned::of(&after, fixed).ok_or_else(out_of_range)?.taken_minor(conversion);
    Ok(Line { row, gross_minor, reversed_minor: taken_minor - row.reversed_minor })
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
