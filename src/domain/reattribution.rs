//! Crediting recorded conversions anew: by which rules, what each becomes, and the difference in money.
//!
//! What was decided is never edited. A conversion gets another decision beside the earlier ones, and each affiliate the
//! difference between what the commission would be now and what it is, so that the same again makes no difference.
//!
//! # Decisions
//! - The money is split by the rule that a stored commission names, in its version: trying another model must not bring in
//!   terms that changed since, nor another tier than that which it is rated at. Affiliates who had no commission get the
//!   rule that would be theirs now, as far as it asks nothing of the click, at the first step of its tiers: a run counts
//!   nothing for a tier.
//! - Who has no commission from the conversion yet is credited only while active and approved in the campaign: nobody
//!   earns anew who may not earn.
//! - A conversion that named its click was credited with that click under LAST_CLICK, whatever came after it, and still is.
//! - A conversion that was credited by a coupon stays as it is: the coupon is the customer's word.
//! - So does one of which a part was taken back: what each reversal took stays that affiliate's.

use std::collections::BTreeMap;

use serde::Serialize;
use tributary_entity::{
    Instant, attribution_decision, attribution_run, attribution_touch, campaign, commission, conversion,
    ids::{AffiliateId, CampaignId},
    kinds::{AttributionModel, AttributionRunStatus, ConversionStatus, TouchSource},
    money::Currency,
};

use super::{
    attribution::{self, Means, Rules, Share, Touch},
    campaign as settings,
    commission::{self as commission_rules, Explanation, Offer},
    conversion::{ConversionFilter, Rated},
    instant,
    override_plan::{self, Claim},
    problem::{Problem, ProblemCode},
};

/// The longest period that is looked at together: a year.
pub const PERIOD_MAX_DAYS: i64 = 366;

/// What to credit anew, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// None means all.
    pub campaign_id: Option<CampaignId>,
    /// Conversions of this time, inclusive.
    pub from: Instant,
    /// Exclusive.
    pub until: Instant,
    pub model: AttributionModel,
    /// None means each campaign's own; also of the next two.
    pub window_secs: Option<i64>,
    pub half_life_secs: Option<i64>,
    pub min_secs: Option<i64>,
}

impl Trial {
    /// What a run was asked for.
    pub const fn of_run(run: &attribution_run::Model) -> Self {
        Self {
            campaign_id: run.campaign_id,
            from: run.occurred_from,
            until: run.occurred_before,
            model: run.model,
            window_secs: run.window_secs,
            half_life_secs: run.half_life_secs,
            min_secs: run.min_secs,
        }
    }

    /// Checks period and settings.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(mut self) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        for (field, at) in [("from", &mut self.from), ("until", &mut self.until)] {
            match instant::checked(&[field], *at) {
                Ok(checked) => *at = checked,
                Err(problem) => problems.push(problem),
            }
        }
        let length = self.until - self.from;
        if length <= chrono::TimeDelta::zero() || length > chrono::TimeDelta::days(PERIOD_MAX_DAYS) {
            let message = format!("after `from`, by at most {PERIOD_MAX_DAYS} days");
            problems.push(Problem::new(ProblemCode::OutOfRange, &["until"], message));
        }
        problems.extend(self.window_secs.and_then(|secs| settings::window("windowSeconds", secs)));
        problems.extend(self.half_life_secs.and_then(|secs| settings::half_life("halfLifeSeconds", secs)));
        problems.extend(self.min_secs.and_then(|secs| settings::minimum("minimumSeconds", secs)));
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// The rules for a campaign's conversions.
    pub fn rules(&self, campaign: &campaign::Model) -> Rules {
        let own = Rules::of(campaign);
        Rules {
            model: self.model,
            window_secs: self.window_secs.unwrap_or(own.window_secs),
            min_secs: self.min_secs.unwrap_or(own.min_secs),
            half_life_secs: self.half_life_secs.unwrap_or(own.half_life_secs),
        }
    }

    /// The conversions to look at: what is decided and counts.
    pub fn conversions(&self) -> ConversionFilter {
        ConversionFilter {
            campaign_ids: self.campaign_id.map(|id| vec![id]),
            statuses: Some(vec![ConversionStatus::Approved, ConversionStatus::Pending]),
            occurred_from: Some(self.from),
            occurred_before: Some(self.until),
            ..ConversionFilter::default()
        }
    }
}

/// Whether a run has more to do.
pub const fn is_open(status: AttributionRunStatus) -> bool {
    matches!(status, AttributionRunStatus::Queued | AttributionRunStatus::Running)
}

/// What is known of a conversion that is credited anew.
pub struct Known<'a> {
    pub conversion: &'a conversion::Model,
    /// The newest.
    pub decision: &'a attribution_decision::Model,
    /// Of that decision.
    pub touches: &'a [attribution_touch::Model],
    /// The affiliates' own, without overrides.
    pub commissions: &'a [commission::Model],
    /// The click that the conversion was attributed to, where it still counts.
    pub named: Option<Touch>,
    /// The other valid clicks of its visitor in its campaign.
    pub history: &'a [Touch],
}

/// What a conversion becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub rules: Rules,
    /// Empty where no touch counts: then nobody earns anything.
    pub shares: Vec<Share>,
    /// Everybody who is credited, was credited or has a commission; then those above them.
    pub lines: Vec<Line>,
    /// Whether it differs from what was decided before.
    pub is_new: bool,
}

impl Verdict {
    /// With what those above the affiliates earn. `rows` are all commissions of the conversion that count, `fresh` answers
    /// who earns on the commission of an affiliate who had none. None when an amount is past what can be held.
    pub fn with_overrides(
        mut self,
        rows: &[commission::Model],
        fresh: impl Fn(AffiliateId, &Explanation) -> Vec<Claim>,
    ) -> Option<Self> {
        let overrides = override_plan::again(&self.lines, rows, fresh)?;
        self.is_new |= overrides.iter().any(|line| line.difference_minor() != 0);
        self.lines.extend(overrides);
        Some(self)
    }
}

/// What one affiliate has from a conversion and would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub affiliate_id: AffiliateId,
    /// As in the commission.
    pub level: i32,
    /// As in the commission.
    pub base_affiliate_id: Option<AffiliateId>,
    pub currency: Currency,
    pub was_credited: bool,
    pub is_credited: bool,
    /// The commission as it is, earlier adjustments included.
    pub current_minor: i64,
    /// The commission as it would be, and why; none where nothing is earned.
    pub earned: Option<Explanation>,
}

impl Line {
    /// Of somebody who has nothing from the conversion and would have nothing.
    pub const fn blank(affiliate_id: AffiliateId, currency: Currency) -> Self {
        Self {
            affiliate_id,
            level: 0,
            base_affiliate_id: None,
            currency,
            was_credited: false,
            is_credited: false,
            current_minor: 0,
            earned: None,
        }
    }

    pub fn proposed_minor(&self) -> i64 {
        self.earned.as_ref().map_or(0, |earned| earned.amount.amount_minor)
    }

    /// What is to be added, or taken where it is negative.
    pub fn difference_minor(&self) -> i64 {
        self.proposed_minor() - self.current_minor
    }
}

/// Credits a conversion anew. None for one that is left as it is, and where an amount is past what can be held.
///
/// `offer_of` answers what an affiliate is paid by, `may_earn` whether one who has no commission may be credited.
pub fn judge<'r>(
    known: &Known<'_>,
    rules: Rules,
    offer_of: impl Fn(AffiliateId) -> Option<Offer<'r>>,
    may_earn: impl Fn(AffiliateId) -> bool,
) -> Option<Verdict> {
    let Known { conversion, decision, commissions, .. } = known;
    if decision.source == TouchSource::Coupon {
        return None;
    }
    if conversion.refunded_minor != 0 {
        return None;
    }
    let has_one = |id| commissions.iter().any(|row| row.affiliate_id == id);
    let mut touches = touches(known, rules.model);
    touches.retain(|touch| has_one(touch.affiliate_id) || may_earn(touch.affiliate_id));
    let shares = attribution::attribute(&rules, &touches, conversion.occurred_at).unwrap_or_default();
    let credits = attribution::credits(&shares);
    let rated = Rated::of_row(conversion)?;
    let mut earned: BTreeMap<_, _> = commission_rules::split(rated.sale, &credits, offer_of)?.into_iter().collect();
    earned.values_mut().for_each(|explanation| explanation.fx = rated.fx);
    let lines = lines(known, &credits, earned);
    let is_new = rules != Rules::of_decision(decision)
        || !is_same(&shares, known.touches)
        || lines.iter().any(|line| line.difference_minor() != 0);
    Some(Verdict { rules, shares, lines, is_new })
}

/// Whether the other clicks of a conversion's visitor make a difference to how it is credited. `names_a_click`: the click
/// that it was attributed to still counts.
pub fn needs_history(source: TouchSource, names_a_click: bool, model: AttributionModel) -> bool {
    match source {
        TouchSource::Coupon => false,
        TouchSource::ClickId => !names_a_click || model != AttributionModel::LastClick,
        TouchSource::History => true,
    }
}

/// The touches that the model looks at.
fn touches(known: &Known<'_>, model: AttributionModel) -> Vec<Touch> {
    if let (Some(named), false) = (known.named, needs_history(known.decision.source, known.named.is_some(), model)) {
        return vec![named];
    }
    // Clicks that retention dropped are still known by the decision that they were credited in.
    let decided = known.touches.iter().filter_map(|row| {
        Some(Touch {
            means: Means::Click(row.click_id?),
            affiliate_id: row.affiliate_id,
            occurred_at: row.occurred_at?,
        })
    });
    decided.chain(known.named).chain(known.history.iter().copied()).collect()
}

fn lines(
    known: &Known<'_>,
    credits: &[(AffiliateId, i32)],
    mut earned: BTreeMap<AffiliateId, Explanation>,
) -> Vec<Line> {
    let currency = known.conversion.commission_currency;
    let mut lines: BTreeMap<AffiliateId, Line> = BTreeMap::new();
    let mut line = |affiliate_id, change: &mut dyn FnMut(&mut Line)| {
        let blank = Line { earned: earned.remove(&affiliate_id), ..Line::blank(affiliate_id, currency) };
        change(lines.entry(affiliate_id).or_insert(blank));
    };
    for (affiliate_id, _) in credits {
        line(*affiliate_id, &mut |line| line.is_credited = true);
    }
    for touch in known.touches.iter().filter(|touch| touch.share_millionths > 0) {
        line(touch.affiliate_id, &mut |line| line.was_credited = true);
    }
    for row in known.commissions {
        line(row.affiliate_id, &mut |line| line.current_minor += commission_rules::net(row).amount_minor);
    }
    lines.into_values().collect()
}

/// Whether a decision's touches are these.
fn is_same(shares: &[Share], rows: &[attribution_touch::Model]) -> bool {
    let decided = rows.iter().filter(|row| row.share_millionths > 0);
    let mut decided: Vec<_> =
        decided.map(|row| (row.click_id.map(Means::Click), row.affiliate_id, row.share_millionths)).collect();
    let mut wanted: Vec<_> =
        shares.iter().map(|share| (Some(share.touch.means), share.touch.affiliate_id, share.millionths)).collect();
    decided.sort_unstable();
    wanted.sort_unstable();
    decided == wanted
}

/// What a run added to and took from an affiliate's commissions, or everybody's, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// None means all.
    pub affiliate_id: Option<AffiliateId>,
    pub currency: Currency,
    pub conversions: i64,
    pub added_minor: i64,
    /// Positive.
    pub taken_minor: i64,
}

/// What a trial comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub conversions: i64,
    /// Those that the trial credits otherwise.
    pub changed: i64,
    pub affiliates: BTreeMap<(Currency, AffiliateId), Effect>,
}

/// What a trial means to one affiliate in one currency, or to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// With a share in them now.
    pub conversions: i64,
    /// With a share in them under the trial.
    pub conversions_proposed: i64,
    pub commission_minor: i64,
    pub commission_proposed_minor: i64,
}

impl Effect {
    /// None when a sum is past what can be held.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            conversions: self.conversions + other.conversions,
            conversions_proposed: self.conversions_proposed + other.conversions_proposed,
            commission_minor: self.commission_minor.checked_add(other.commission_minor)?,
            commission_proposed_minor: self.commission_proposed_minor.checked_add(other.commission_proposed_minor)?,
        })
    }

    pub const fn difference_minor(&self) -> i64 {
        self.commission_proposed_minor - self.commission_minor
    }
}

impl Outcome {
    /// Adds a conversion that was looked at, with what it becomes. False when a sum is past what can be held.
    pub fn add(&mut self, verdict: Option<&Verdict>) -> bool {
        self.conversions += 1;
        let Some(verdict) = verdict else { return true };
        self.changed += i64::from(verdict.is_new);
        verdict.lines.iter().all(|line| {
            let effect = Effect {
                conversions: line.was_credited.into(),
                conversions_proposed: line.is_credited.into(),
                commission_minor: line.current_minor,
                commission_proposed_minor: line.proposed_minor(),
            };
            let sum = self.affiliates.entry((line.currency, line.affiliate_id)).or_default();
            sum.plus(&effect).map(|total| *sum = total).is_some()
        })
    }

    /// All affiliates together, per currency.
    pub fn totals(&self) -> Option<BTreeMap<Currency, Effect>> {
        let mut totals: BTreeMap<Currency, Effect> = BTreeMap::new();
        for ((currency, _), effect) in &self.affiliates {
            let sum = totals.entry(*currency).or_default();
            *sum = sum.plus(effect)?;
        }
        Some(totals)
    }
}
