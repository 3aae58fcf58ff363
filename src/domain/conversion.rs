//! Conversions: what is taken in, what becomes of it, and how its state may move.
//!
//! A refused business case is a *recorded* conversion with its reason; only malformed input is an error.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant, affiliate, attribution_decision, attribution_touch, campaign, commission, conversion,
    conversion_affiliate, enrollment, goal,
    ids::{AffiliateId, CampaignId, ClickId},
    kinds::{
        AffiliateStatus, ApprovalMode, CampaignStatus, ConversionReason, ConversionStatus, EnrollmentStatus,
        GoalStatus, TouchSource,
    },
    money::{Currency, Money},
};

use super::{
    attribution::{self, Means, Share, Touch},
    click::{Labels, labels},
    commission::{
        self as commission_rules, Book, Explanation,
        book::Deal,
        choose::{Occasion, Origin},
    },
    coupon,
    fx_rate::Quote,
    instant,
    problem::{Problem, ProblemCode},
    rule::Rule,
    tenancy::Ring,
    text,
    touches::{self, Found, Scrutiny},
    transition,
};

/// A conversion as its sender describes it, checked.
#[derive(Clone, Debug, Serialize)]
pub struct NewConversion {
    // What came later is left out where it is not used, so that the hash of an older call's input stays what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click_id: Option<ClickId>,
    /// The sender's own mark, as clicks carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitor_id: Option<String>,
    /// In upper case once checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon_code: Option<String>,
    /// None means that of the click, the coupon or the last click of the visitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<CampaignId>,
    pub goal: String,
    pub order_id: Option<String>,
    pub customer_id: Option<String>,
    /// What was bought, such as a SKU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// None means nothing was paid (a lead).
    pub sale: Option<Money>,
    /// None means now.
    pub occurred_at: Option<Instant>,
    /// `adv1`..`adv10`.
    pub labels: Labels,
    /// The sender wants it decided about, also where the campaign approves by itself. Not part of what was sent: the same
    /// conversion may be sent again without it.
    #[serde(skip)]
    pub needs_review: bool,
}

impl NewConversion {
    /// Checks texts and time.
    ///
    /// # Errors
    /// The first problem.
    pub fn check(mut self, now: Instant, max_age: TimeDelta) -> Result<Self, Problem> {
        self.occurred_at = instant::occurred_at(self.occurred_at, now)?;
        if self.occurred_at.is_some_and(|at| now - at > max_age) {
            let message = format!("older than {} days", max_age.num_days());
            return Err(Problem::new(ProblemCode::TimeTooOld, &["occurredAt"], message));
        }
        self.goal = text::required(&["goal"], &self.goal, text::REFERENCE_MAX)?;
        self.order_id = text::optional(&["orderId"], self.order_id.as_deref(), text::REFERENCE_MAX)?;
        self.customer_id = text::optional(&["customerId"], self.customer_id.as_deref(), text::REFERENCE_MAX)?;
        self.product_id = text::optional(&["productId"], self.product_id.as_deref(), text::REFERENCE_MAX)?;
        self.visitor_id = text::optional(&["visitorId"], self.visitor_id.as_deref(), text::REFERENCE_MAX)?;
        let coupon_code = text::optional(&["couponCode"], self.coupon_code.as_deref(), text::REFERENCE_MAX)?;
        self.coupon_code = coupon_code.map(|code| coupon::canonical(&code));
        self.labels = labels(self.labels)?;
        let leads_nowhere = self.click_id.is_none()
            && self.coupon_code.is_none()
            && self.visitor_id.is_none()
            && self.customer_id.is_none();
        if leads_nowhere {
            let message = "one of clickId, couponCode, visitorId and customerId is needed";
            return Err(Problem::new(ProblemCode::Required, &["clickId"], message));
        }
        Ok(self)
    }

    /// As a recorded conversion was sent, with the amount that its sale has now.
    pub fn of_row(row: &conversion::Model) -> Self {
        // A lead was sent without an amount: it is a zero in whatever currency its campaign turns out to have.
        let sale = (sale_now(row) != 0).then(|| Money::new(sale_now(row), row.sale_currency));
        Self {
            click_id: row.sent_click_id,
            visitor_id: row.visitor_id.clone(),
            coupon_code: row.coupon_code.clone(),
            campaign_id: row.campaign_id,
            goal: row.goal_code.clone(),
            order_id: row.order_id.clone(),
            customer_id: row.customer_id.clone(),
            product_id: row.product_id.clone(),
            sale,
            occurred_at: Some(row.occurred_at),
            needs_review: row.kept_back,
            labels: row.labels.as_deref().and_then(|labels| serde_json::from_str(labels).ok()).unwrap_or_default(),
        }
    }
}

/// A conversion with all that was decided about it: what an event carries and a stream delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub conversion: conversion::Model,
    pub decision: Option<attribution_decision::Model>,
    pub touches: Vec<attribution_touch::Model>,
    pub commissions: Vec<commission::Model>,
}

impl Snapshot {
    /// Numbers its decision: those that went before keep theirs.
    pub fn set_decision_version(&mut self, version: i32) {
        self.decision.iter_mut().for_each(|decision| decision.version = version);
        self.touches.iter_mut().for_each(|touch| touch.version = version);
    }

    /// Everybody who is credited, or would have been.
    pub fn affiliates(&self) -> impl Iterator<Item = AffiliateId> {
        let main = self.conversion.affiliate_id;
        let touched = self.touches.iter().map(|touch| touch.affiliate_id);
        main.into_iter().chain(touched.filter(move |id| Some(*id) != main))
    }

    /// Whom it credits besides the affiliate of its own row, each once.
    pub fn shares(&self) -> Vec<conversion_affiliate::Model> {
        let conversion::Model { tenant_id, id, affiliate_id, .. } = self.conversion;
        let besides: BTreeSet<AffiliateId> =
            self.affiliates().filter(|besides| Some(*besides) != affiliate_id).collect();
        let share = |affiliate_id| conversion_affiliate::Model { tenant_id, affiliate_id, conversion_id: id };
        besides.into_iter().map(share).collect()
    }

    /// What a ring may see of it: nothing of a conversion that credits others alone, of a shared one its own part.
    pub fn seen_by(&self, ring: Ring) -> Option<Self> {
        let Ring::Affiliate(own) = ring else { return Some(self.clone()) };
        if !self.affiliates().any(|id| id == own) {
            return None;
        }
        let commissions: Vec<_> = self.commissions.iter().filter(|row| row.affiliate_id == own).cloned().collect();
        if self.affiliates().all(|id| id == own) {
            let conversion = conversion::Model { commission_minor: sum(&commissions), ..self.conversion.clone() };
            return Some(Self { conversion, commissions, ..self.clone() });
        }
        let touches: Vec<_> = self.touches.iter().filter(|touch| touch.affiliate_id == own).cloned().collect();
        let conversion = own_part(self.conversion.clone(), own, &touches, &commissions);
        Some(Self { conversion, decision: self.decision.clone(), touches, commissions })
    }
}

/// A conversion as one of its affiliates sees it: as if there were no other. `touches` and `commissions` are its own.
pub fn own_part(
    mut row: conversion::Model,
    own: AffiliateId,
    touches: &[attribution_touch::Model],
    commissions: &[commission::Model],
) -> conversion::Model {
    if row.affiliate_id != Some(own) {
        row.affiliate_id = Some(own);
        row.click_id = touches.iter().rev().find_map(|touch| touch.click_id);
    }
    let is_own_click =
        |id: &ClickId| row.click_id == Some(*id) || touches.iter().any(|touch| touch.click_id == Some(*id));
    row.sent_click_id = row.sent_click_id.filter(is_own_click);
    row.coupon_code = row.coupon_code.filter(|_| touches.iter().all(|touch| touch.coupon_id.is_some()));
    row.commission_minor = sum(commissions);
    row
}

/// What commissions of a conversion come to now, in minor units.
pub fn sum(commissions: &[commission::Model]) -> i64 {
    commissions.iter().map(|row| commission_rules::net(row).amount_minor).sum()
}

/// The amount of a conversion's sale: as sent, with what was adjusted since.
pub const fn sale_now(row: &conversion::Model) -> i64 {
    row.sale_minor + row.sale_adjusted_minor
}

/// What of a conversion's sale was not taken back: what reports count.
pub const fn sale_left(row: &conversion::Model) -> i64 {
    sale_now(row) - row.refunded_minor
}

/// Which conversions a list or a stream holds. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub statuses: Option<Vec<ConversionStatus>>,
    pub goals: Option<Vec<String>>,
    pub order_ids: Option<Vec<String>>,
    pub reasons: Option<Vec<ConversionReason>>,
    pub customer_ids: Option<Vec<String>>,
    /// In upper case.
    pub coupon_codes: Option<Vec<String>>,
    pub occurred_from: Option<Instant>,
    pub occurred_before: Option<Instant>,
}

impl ConversionFilter {
    /// Whether a conversion is in the list: the same conditions that the store puts into SQL.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        fn one_of<T: PartialEq>(wanted: Option<&[T]>, value: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| value.is_some_and(|value| wanted.contains(value)))
        }
        let row = &snapshot.conversion;
        one_of(self.campaign_ids.as_deref(), row.campaign_id.as_ref())
            && self.affiliate_ids.as_ref().is_none_or(|wanted| snapshot.affiliates().any(|id| wanted.contains(&id)))
            && one_of(self.statuses.as_deref(), Some(&row.status))
            && one_of(self.goals.as_deref(), Some(&row.goal_code))
            && one_of(self.order_ids.as_deref(), row.order_id.as_ref())
            && one_of(self.reasons.as_deref(), row.reason.as_ref())
            && one_of(self.customer_ids.as_deref(), row.customer_id.as_ref())
            && one_of(self.coupon_codes.as_deref(), row.coupon_code.as_ref())
            && self.occurred_from.is_none_or(|from| row.occurred_at >= from)
            && self.occurred_before.is_none_or(|before| row.occurred_at < before)
    }
}

/// An affiliate in a campaign: whom a touch leads to, or whose customer brought something.
#[derive(Clone, Copy, Debug)]
pub struct Promoter<'a> {
    pub affiliate: &'a affiliate::Model,
    pub enrollment: Option<&'a enrollment::Model>,
}

impl Promoter<'_> {
    /// Why it cannot be credited now.
    pub fn refusal(&self) -> Option<ConversionReason> {
        if self.affiliate.status != AffiliateStatus::Active {
            Some(ConversionReason::AffiliateNotActive)
        } else if self.enrollment.is_none_or(|enrollment| enrollment.status != EnrollmentStatus::Approved) {
            Some(ConversionReason::EnrollmentNotApproved)
        } else {
            None
        }
    }
}

/// A sale in the currency of its campaign, which commissions are reckoned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rated {
    pub sale: Money,
    /// None where it was in that currency.
    pub fx: Option<Quote>,
}

impl Rated {
    /// A sale in a currency, by `rate` where it is in another. None where no rate is known; also where the amount is past
    /// what can be held in the other currency: such a rate is a mistake.
    pub fn of(sale: Money, currency: Currency, rate: impl FnOnce() -> Option<Quote>) -> Option<Self> {
        if sale.currency == currency {
            return Some(Self { sale, fx: None });
        }
        let quote = rate()?;
        Some(Self { sale: quote.convert(sale)?, fx: Some(quote) })
    }

    /// A recorded sale, as it is now, in the currency of its commissions. None while no rate is known.
    pub fn of_row(row: &conversion::Model) -> Option<Self> {
        Self::at(row, sale_now(row))
    }

    /// As [`Rated::of_row`], were the sale so much: by the rate that it was reckoned by first.
    pub fn at(row: &conversion::Model, sale_minor: i64) -> Option<Self> {
        let quote = || serde_json::from_str(row.fx.as_deref()?).ok();
        Self::of(Money::new(sale_minor, row.sale_currency), row.commission_currency, quote)
    }
}

/// What is known when a conversion is decided.
pub struct Facts<'a> {
    pub sale: Money,
    /// None where the sale is in another currency than the campaign and no rate is known.
    pub rated: Option<Rated>,
    pub occurred_at: Instant,
    pub campaign: &'a campaign::Model,
    pub goal: Option<&'a goal::Model>,
    /// Its touches, or why it has none.
    pub found: Result<&'a Found, ConversionReason>,
    /// Whom the touches lead to, all of them.
    pub promoters: &'a BTreeMap<AffiliateId, Promoter<'a>>,
    /// Of the campaign.
    pub rules: &'a [Rule],
    /// What was counted before.
    pub book: &'a Book,
    pub customer_id: Option<&'a str>,
    pub product_id: Option<&'a str>,
    /// In upper case.
    pub coupon_code: Option<&'a str>,
    /// Another conversion of the campaign and goal has the order id.
    pub order_taken: bool,
    /// The goal counts once per click, and another conversion has the click.
    pub click_taken: bool,
    pub scrutiny: Scrutiny,
    /// Its sender keeps it back.
    pub needs_review: bool,
}

impl<'a> Facts<'a> {
    /// What its commission is reckoned from; `sale` is in the campaign's currency.
    pub const fn deal(&self, sale: Money) -> Deal<'a> {
        Deal {
            campaign_id: self.campaign.id,
            occurred_at: self.occurred_at,
            sale,
            left_minor: sale.amount_minor,
            customer_id: self.customer_id,
        }
    }

    /// What rules are asked for one of its affiliates, whose last credited click came from `origin`.
    pub fn occasion<'o>(
        &self,
        goal: &goal::Model,
        affiliate_id: AffiliateId,
        origin: Option<&'o Origin>,
    ) -> Occasion<'o>
    where
        'a: 'o,
    {
        let enrollment = self.promoters.get(&affiliate_id).and_then(|promoter| promoter.enrollment);
        Occasion {
            affiliate_id,
            goal_id: goal.id,
            origin,
            product_id: self.product_id,
            coupon_code: self.coupon_code,
            group_id: self.book.groups.get(&affiliate_id).map(|group| group.id),
            own_rule: enrollment.and_then(|enrollment| enrollment.rule_id),
        }
    }
}

/// Who is credited, found how, by which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    pub source: TouchSource,
    pub rules: attribution::Rules,
    /// Never empty.
    pub shares: Vec<Share>,
}

impl Credit {
    /// Each credited affiliate, the one with the largest share first; of equal ones that of the latest touch.
    pub fn affiliates(&self) -> Vec<AffiliateId> {
        let mut standing: BTreeMap<AffiliateId, (i32, Instant, Means)> = BTreeMap::new();
        for Share { touch, millionths } in &self.shares {
            let own = standing.entry(touch.affiliate_id).or_insert((0, touch.occurred_at, touch.means));
            let (at, means) = (own.1, own.2).max((touch.occurred_at, touch.means));
            *own = (own.0 + millionths, at, means);
        }
        let mut ordered: Vec<_> = standing.into_iter().map(|(id, rank)| (rank, id)).collect();
        ordered.sort_unstable_by(|one, other| other.cmp(one));
        ordered.into_iter().map(|(_, id)| id).collect()
    }

    /// The last credited click of an affiliate.
    pub fn last_click_of(&self, affiliate_id: AffiliateId) -> Option<ClickId> {
        let own = self.shares.iter().map(|share| share.touch).filter(|touch| touch.affiliate_id == affiliate_id);
        let clicks = own.filter_map(|touch| match touch.means {
            Means::Click(id) => Some((touch.occurred_at, id)),
            Means::Coupon(_) => None,
        });
        clicks.max().map(|(_, id)| id)
    }
}

/// What becomes of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub status: ConversionStatus,
    pub reason: Option<ConversionReason>,
    /// None for a refused conversion.
    pub credit: Option<Credit>,
    /// One line per credited affiliate, where a rule applies.
    pub commissions: Vec<(AffiliateId, Explanation)>,
}

impl Decision {
    /// A conversion that credits nobody.
    pub const fn refused(reason: ConversionReason) -> Self {
        Self { status: ConversionStatus::Rejected, reason: Some(reason), credit: None, commissions: Vec::new() }
    }

    /// A conversion whose click may yet come.
    pub fn awaits_click() -> Self {
        Self { status: ConversionStatus::Held, ..Self::refused(ConversionReason::AwaitingClick) }
    }
}

/// Decides a conversion whose campaign is known. None when an amount is past what can be held.
pub fn decide(facts: &Facts<'_>) -> Option<Decision> {
    match credit(facts) {
        Err(reason) => Some(Decision::refused(reason)),
        Ok((goal, credit)) => reward(facts, goal, credit),
    }
}

/// Whom the conversion credits, or why nobody.
///
/// # Errors
/// Why nobody.
pub fn credit<'a>(facts: &Facts<'a>) -> Result<(&'a goal::Model, Credit), ConversionReason> {
    let Facts { campaign, scrutiny, .. } = facts;
    let is_waived = *scrutiny == Scrutiny::Waived;
    let goal = facts.goal.filter(|goal| goal.status == GoalStatus::Active).ok_or(ConversionReason::UnknownGoal)?;
    if facts.order_taken {
        return Err(ConversionReason::DuplicateOrder);
    }
    if facts.click_taken {
        return Err(ConversionReason::DuplicateClick);
    }
    if !matches!(campaign.status, CampaignStatus::Active | CampaignStatus::Paused) && !is_waived {
        return Err(ConversionReason::CampaignNotActive);
    }
    let found = facts.found?;
    let touches = if is_waived { found.touches.clone() } else { creditable(found, facts.promoters)? };
    let rules = touches::rules(campaign, &touches, facts.occurred_at, *scrutiny);
    if attribution::is_too_fast(&rules, &touches, facts.occurred_at) {
        return Err(ConversionReason::TooFast);
    }
    let shares = attribution::attribute(&rules, &touches, facts.occurred_at).ok_or(ConversionReason::OutsideWindow)?;
    Ok((goal, Credit { source: found.source, rules, shares }))
}

/// The touches of affiliates who may be credited. The one that the sender named decides for all.
fn creditable(found: &Found, promoters: &BTreeMap<AffiliateId, Promoter<'_>>) -> Result<Vec<Touch>, ConversionReason> {
    let refusal = |touch: &Touch| match promoters.get(&touch.affiliate_id) {
        Some(promoter) => promoter.refusal(),
        None => Some(ConversionReason::AffiliateNotActive),
    };
    let (touches, refused): (Vec<Touch>, Vec<Touch>) = found.touches.iter().partition(|touch| refusal(touch).is_none());
    let decisive = refused.iter().filter(|touch| touches.is_empty() || Some(touch.means) == found.named);
    match decisive.max_by_key(|touch| (touch.occurred_at, touch.means)).and_then(refusal) {
        Some(reason) => Err(reason),
        None => Ok(touches),
    }
}

/// What a credited conversion earns, and where it stands.
fn reward(facts: &Facts<'_>, goal: &goal::Model, credit: Credit) -> Option<Decision> {
    let Some(rated) = facts.rated else {
        // Never guessed: it waits for a rate.
        return Some(Decision {
            status: ConversionStatus::Held,
            reason: Some(ConversionReason::FxRateMissing),
            credit: Some(credit),
            commissions: Vec::new(),
        });
    };
    let deal = facts.deal(rated.sale);
    let offer_of = |affiliate_id: AffiliateId| {
        let origin = credit.last_click_of(affiliate_id).and_then(|id| facts.book.origins.get(&id));
        facts.book.offer(facts.rules, &deal, &facts.occasion(goal, affiliate_id, origin))
    };
    let mut commissions = commission_rules::split(rated.sale, &attribution::credits(&credit.shares), offer_of)?;
    commissions.iter_mut().for_each(|(_, explanation)| explanation.fx = rated.fx);
    let (status, reason) = match (facts.scrutiny, facts.campaign.approval) {
        // Taken up again by a person, and a person has the last word.
        (Scrutiny::Waived, _) => (ConversionStatus::Pending, Some(ConversionReason::Manual)),
        (Scrutiny::Full, ApprovalMode::Auto) if !facts.needs_review => (ConversionStatus::Approved, None),
        (Scrutiny::Full, ApprovalMode::Auto | ApprovalMode::Manual) => (ConversionStatus::Pending, None),
    };
    Some(Decision { status, reason, credit: Some(credit), commissions })
}

/// What moves a conversion from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A person, or an advertiser's server, decides.
    Review,
    /// All of it is taken back.
    Reversal,
    /// A reversal is undone: it stands where it stood before.
    Undo,
    /// A person takes up what was refused.
    Reopening,
}

/// Every move there is, but for the fact that a HELD conversion waits for: that decides it as if it came then.
const TRANSITIONS: &[(Cause, ConversionStatus, ConversionStatus)] = {
    use ConversionStatus::{Approved, Held, Pending, Rejected, Reversed};
    &[
        (Cause::Review, Pending, Approved),
        (Cause::Review, Held, Approved),
        (Cause::Review, Pending, Rejected),
        (Cause::Review, Held, Rejected),
        (Cause::Reversal, Pending, Reversed),
        (Cause::Reversal, Held, Reversed),
        (Cause::Reversal, Approved, Reversed),
        (Cause::Undo, Reversed, Pending),
        (Cause::Undo, Reversed, Held),
        (Cause::Undo, Reversed, Approved),
        (Cause::Reopening, Rejected, Pending),
        (Cause::Reopening, Rejected, Held),
    ]
};

/// Moves a conversion's state, where the table has the move.
///
/// # Errors
/// `INVALID_TRANSITION` at `field`.
pub fn step(
    cause: Cause,
    field: &[&str],
    from: ConversionStatus,
    to: ConversionStatus,
) -> Result<ConversionStatus, Problem> {
    if TRANSITIONS.contains(&(cause, from, to)) {
        return Ok(to);
    }
    let done = match cause {
        Cause::Review => "reviewed",
        Cause::Reversal => "taken back",
        Cause::Undo => "given again",
        Cause::Reopening => "re-opened",
    };
    Err(transition::refused(field, format!("a conversion that is {from} cannot be {done}")))
}

/// What a reviewer may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Review {
    Approve,
    Reject(ConversionReason),
}

/// Applies a review to a conversion's state.
///
/// # Errors
/// `INVALID_TRANSITION` unless it is PENDING or HELD; a conversion that is HELD for a missing rate or click has no
/// commission yet and can only be rejected.
pub fn review(row: &conversion::Model, review: Review) -> Result<(ConversionStatus, ConversionReason), Problem> {
    let without_commission = |what: &str| {
        let message = format!("the conversion waits for {what} and has no commission yet");
        Err(Problem::new(ProblemCode::InvalidTransition, &["ids"], message))
    };
    match (row.status, review) {
        (ConversionStatus::Held, Review::Approve) if row.reason == Some(ConversionReason::FxRateMissing) => {
            without_commission("an exchange rate")
        }
        (ConversionStatus::Held, Review::Approve) if row.reason == Some(ConversionReason::AwaitingClick) => {
            without_commission("its click")
        }
        (from, Review::Approve) => {
            Ok((step(Cause::Review, &["ids"], from, ConversionStatus::Approved)?, ConversionReason::Manual))
        }
        (from, Review::Reject(reason)) => {
            Ok((step(Cause::Review, &["ids"], from, ConversionStatus::Rejected)?, reason))
        }
    }
}

/// Whether a conversion stands where a review wanted it: what the repetition of that review is answered.
///
/// # Errors
/// As [`review`].
pub fn reviewed(row: &conversion::Model, wanted: Review) -> Result<(), Problem> {
    match (row.status, wanted) {
        (ConversionStatus::Approved | ConversionStatus::Reversed, Review::Approve)
        | (ConversionStatus::Rejected, Review::Reject(_)) => Ok(()),
        _ => review(row, wanted).map(drop),
    }
}
