//! Conversions: what is taken in, what becomes of it, and how its state may move.
//!
//! A refused business case is a *recorded* conversion with its reason; only malformed input is an error.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant, affiliate, attribution_decision, attribution_touch, campaign, click, commission, conversion, enrollment,
    goal,
    ids::{AffiliateId, CampaignId, ClickId},
    kinds::{
        AffiliateStatus, ApprovalMode, CampaignStatus, ConversionReason, ConversionStatus, EnrollmentStatus, GoalStatus,
    },
    money::Money,
};

use super::{
    attribution::{self, Means, Share, Touch},
    click::{Labels, labels},
    commission::{self as commission_rules, Explanation},
    instant,
    problem::{Problem, ProblemCode},
    rule::Rule,
    text,
};

/// A conversion as its sender describes it, checked.
#[derive(Clone, Debug, Serialize)]
pub struct NewConversion {
    pub click_id: ClickId,
    pub goal: String,
    pub order_id: Option<String>,
    pub customer_id: Option<String>,
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
    pub fn check(mut self, now: Instant) -> Result<Self, Problem> {
        self.occurred_at = instant::occurred_at(self.occurred_at, now)?;
        self.goal = text::required(&["goal"], &self.goal, text::REFERENCE_MAX)?;
        self.order_id = text::optional(&["orderId"], self.order_id.as_deref(), text::REFERENCE_MAX)?;
        self.customer_id = text::optional(&["customerId"], self.customer_id.as_deref(), text::REFERENCE_MAX)?;
        self.labels = labels(self.labels)?;
        Ok(self)
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

/// Which conversions a list or a stream holds. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConversionFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub statuses: Option<Vec<ConversionStatus>>,
    pub goals: Option<Vec<String>>,
    pub order_ids: Option<Vec<String>>,
    pub occurred_from: Option<Instant>,
    pub occurred_before: Option<Instant>,
}

impl ConversionFilter {
    /// Whether a conversion is in the list: the same conditions that the store puts into SQL.
    pub fn matches(&self, row: &conversion::Model) -> bool {
        fn one_of<T: PartialEq>(wanted: Option<&[T]>, value: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| value.is_some_and(|value| wanted.contains(value)))
        }
        one_of(self.campaign_ids.as_deref(), row.campaign_id.as_ref())
            && one_of(self.affiliate_ids.as_deref(), row.affiliate_id.as_ref())
            && one_of(self.statuses.as_deref(), Some(&row.status))
            && one_of(self.goals.as_deref(), Some(&row.goal_code))
            && one_of(self.order_ids.as_deref(), row.order_id.as_ref())
            && self.occurred_from.is_none_or(|from| row.occurred_at >= from)
            && self.occurred_before.is_none_or(|before| row.occurred_at < before)
    }
}

/// What is known when a conversion is decided.
pub struct Facts<'a> {
    pub sale: Money,
    pub occurred_at: Instant,
    pub click: &'a click::Model,
    pub campaign: &'a campaign::Model,
    pub goal: Option<&'a goal::Model>,
    pub affiliate: &'a affiliate::Model,
    pub enrollment: Option<&'a enrollment::Model>,
    /// Of the campaign.
    pub rules: &'a [Rule],
    /// Another conversion of the campaign and goal has the order id.
    pub order_taken: bool,
    /// The goal counts once per click, and another conversion has the click.
    pub click_taken: bool,
    /// Its sender keeps it back.
    pub needs_review: bool,
}

/// What becomes of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub status: ConversionStatus,
    pub reason: Option<ConversionReason>,
    /// Empty for a refused conversion.
    pub shares: Vec<Share>,
    /// One line per credited affiliate, where a rule applies.
    pub commissions: Vec<(AffiliateId, Explanation)>,
}

impl Decision {
    const fn refused(reason: ConversionReason) -> Self {
        Self { status: ConversionStatus::Rejected, reason: Some(reason), shares: Vec::new(), commissions: Vec::new() }
    }

    /// Of a conversion whose click id names no click.
    pub const fn unknown_click() -> Self {
        Self::refused(ConversionReason::UnknownClick)
    }
}

/// Decides a conversion whose click is known. None when an amount is past what can be held.
pub fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let Facts { campaign, click, .. } = facts;
    let touch =
        Touch { means: Means::Click(click.id), affiliate_id: click.affiliate_id, occurred_at: click.occurred_at };
    let shares = match refusal(facts) {
        Some(reason) => return Some(Decision::refused(reason)),
        None => attribution::attribute(&attribution::Rules::of(campaign), &[touch], facts.occurred_at),
    };
    let (Some(shares), Some(goal)) = (shares, facts.goal) else {
        return Some(Decision::refused(ConversionReason::OutsideWindow));
    };
    if facts.sale.currency != campaign.currency {
        // Never guessed: it waits for a rate.
        return Some(Decision {
            status: ConversionStatus::Held,
            reason: Some(ConversionReason::FxRateMissing),
            shares,
            commissions: Vec::new(),
        });
    }
    let own_rule = facts.enrollment.and_then(|enrollment| enrollment.rule_id);
    let rule_of = |_| commission_rules::choose(facts.rules, goal.id, own_rule);
    let commissions = commission_rules::split(facts.sale, &attribution::credits(&shares), rule_of)?;
    let status = match campaign.approval {
        ApprovalMode::Auto if !facts.needs_review => ConversionStatus::Approved,
        ApprovalMode::Auto | ApprovalMode::Manual => ConversionStatus::Pending,
    };
    Some(Decision { status, reason: None, shares, commissions })
}

fn refusal(facts: &Facts<'_>) -> Option<ConversionReason> {
    let window = facts.campaign.attribution_window_secs;
    if facts.goal.is_none_or(|goal| goal.status != GoalStatus::Active) {
        Some(ConversionReason::UnknownGoal)
    } else if facts.order_taken {
        Some(ConversionReason::DuplicateOrder)
    } else if facts.click_taken {
        Some(ConversionReason::DuplicateClick)
    } else if facts.click.invalid_reason.is_some() {
        Some(ConversionReason::InvalidClick)
    } else if !matches!(facts.campaign.status, CampaignStatus::Active | CampaignStatus::Paused) {
        Some(ConversionReason::CampaignNotActive)
    } else if facts.affiliate.status != AffiliateStatus::Active {
        Some(ConversionReason::AffiliateNotActive)
    } else if facts.enrollment.is_none_or(|enrollment| enrollment.status != EnrollmentStatus::Approved) {
        Some(ConversionReason::EnrollmentNotApproved)
    } else if !attribution::in_window(facts.click.occurred_at, facts.occurred_at, window) {
        Some(ConversionReason::OutsideWindow)
    } else {
        None
    }
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
/// `INVALID_TRANSITION` unless it is PENDING or HELD; a conversion that is HELD for a missing rate has no commission yet
/// and can only be rejected.
pub fn review(row: &conversion::Model, review: Review) -> Result<(ConversionStatus, ConversionReason), Problem> {
    match (row.status, review) {
        (ConversionStatus::Held, Review::Approve) if row.reason == Some(ConversionReason::FxRateMissing) => {
            Err(Problem::new(
                ProblemCode::InvalidTransition,
                &["ids"],
                "the conversion waits for an exchange rate and has no commission yet",
            ))
        }
        (ConversionStatus::Pending | ConversionStatus::Held, Review::Approve) => {
            Ok((ConversionStatus::Approved, ConversionReason::Manual))
        }
        (ConversionStatus::Pending | ConversionStatus::Held, Review::Reject(reason)) => {
            Ok((ConversionStatus::Rejected, reason))
        }
        (status, _) => Err(Problem::new(
            ProblemCode::InvalidTransition,
            &["ids"],
            format!("a conversion that is {status} cannot be reviewed"),
        )),
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
