//! Tiers: what has been counted, which step that is, and what a conversion earns by it.
//!
//! # Decisions
//! - A conversion that several affiliates share counts whole for each of them, and each is paid its share of what the whole
//!   would earn: so the steps do not depend on how a sale was shared, and crediting anew keeps a simple meaning.
//! - `PROSPECTIVE` looks at what was counted before the conversion, `WHOLE` and `MARGINAL` at what is with it: a threshold
//!   is inclusive, so the third of three already has the third's step.
//! - `MARGINAL` over sales cuts the sale at the thresholds; a flat part cannot be cut and is that of the step reached. Each
//!   line is rounded once, so that orders of one sum differ from the sum in one order by at most half a minor unit each.
//! - `WHOLE` rates what was earned before in the period anew: the difference between the two steps, each rounded by itself,
//!   is added, so that any number of steps up and down ends at exactly what the last step pays. A conversion that is taken
//!   back, in part or whole, lowers the count; in the open period the others are rated down with it, in one that is over
//!   they stay. One that is given again counts again.
//! - A part that was taken back follows the step: of a conversion that is rated anew what is left is what the step pays for
//!   what is left of its sale.
//! - `MARGINAL` and `PROSPECTIVE` rate nothing anew: what a conversion earned by the count of its moment stays.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CommissionRuleId},
    kinds::{CapPeriod, TierBasis, TierMode},
};

use super::plan::{Step, Tiers};

/// A period of a rule for an affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierKey {
    pub affiliate_id: AffiliateId,
    pub rule_id: CommissionRuleId,
    pub period: CapPeriod,
    pub start: Instant,
}

/// As the outbox names it.
impl fmt::Display for TierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { affiliate_id, rule_id, period, start } = self;
        write!(f, "{affiliate_id}/{rule_id}/{period}/{}", start.timestamp())
    }
}

impl FromStr for TierKey {
    type Err = NoTierKey;

    fn from_str(text: &str) -> Result<Self, NoTierKey> {
        let mut words = text.split('/');
        let mut next = || words.next().ok_or(NoTierKey);
        let key = Self {
            affiliate_id: next()?.parse().map_err(|_| NoTierKey)?,
            rule_id: next()?.parse().map_err(|_| NoTierKey)?,
            period: next()?.parse().map_err(|_| NoTierKey)?,
            start: Instant::from_timestamp(next()?.parse().map_err(|_| NoTierKey)?, 0).ok_or(NoTierKey)?,
        };
        Ok(key)
    }
}

/// A text that names no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no period of a tier")]
pub struct NoTierKey;

/// What a period has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub conversions: i64,
    pub sale_minor: i64,
}

impl Counted {
    pub const fn of(self, basis: TierBasis) -> i64 {
        match basis {
            TierBasis::Conversions => self.conversions,
            TierBasis::SaleAmount => self.sale_minor,
        }
    }

    /// With one conversion more.
    pub const fn with(self, sale_minor: i64) -> Self {
        Self { conversions: self.conversions + 1, sale_minor: self.sale_minor.saturating_add(sale_minor) }
    }
}

/// A piece of a sale, and what is paid for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub flat_minor: i64,
    pub sale_minor: i64,
    pub rate_ppm: i64,
}

impl Part {
    /// In millionths of a minor unit.
    pub fn exact(&self) -> i128 {
        i128::from(self.flat_minor) * 1_000_000 + i128::from(self.sale_minor) * i128::from(self.rate_ppm)
    }
}

/// How a tier stood for a commission; stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub basis: TierBasis,
    pub mode: TierMode,
    pub period: CapPeriod,
    pub period_start: Instant,
    /// Counted before the conversion, and with it: a count, or minor units, as the basis says.
    pub before: i64,
    pub after: i64,
    /// The threshold of the step that applied; 0 is the rule's own terms.
    pub step: i64,
}

impl Tiers {
    /// Whether a sale is cut at the thresholds.
    pub fn cuts(&self) -> bool {
        self.mode == TierMode::Marginal && self.basis == TierBasis::SaleAmount
    }
}

/// The step that a count has reached; `base` is the rule's own terms.
pub fn reached(tiers: &Tiers, base: Step, count: i64) -> Step {
    tiers.steps.iter().rev().find(|step| step.from <= count).copied().unwrap_or(base)
}

/// What a conversion is rated by after `before`, and the step that applied.
pub fn rate(tiers: &Tiers, base: Step, before: Counted, sale_minor: i64) -> (Step, Vec<Part>) {
    let (from, to) = (before.of(tiers.basis), before.with(sale_minor).of(tiers.basis));
    let step = match tiers.mode {
        TierMode::Prospective => reached(tiers, base, from),
        TierMode::Whole | TierMode::Marginal => reached(tiers, base, to),
    };
    let parts = if tiers.cuts() { cut(tiers, base, from, to, step) } else { vec![at(step, sale_minor)] };
    (step, parts)
}

/// A whole sale at one step.
pub const fn at(step: Step, sale_minor: i64) -> Part {
    Part { flat_minor: step.flat_minor, sale_minor, rate_ppm: step.rate_ppm }
}

/// The pieces of what lies between two counts of sales, each at the step that it lies in.
fn cut(tiers: &Tiers, base: Step, from: i64, to: i64, reached: Step) -> Vec<Part> {
    let begins: Vec<Step> = std::iter::once(Step { from: 0, ..base }).chain(tiers.steps.iter().copied()).collect();
    let ends = begins.iter().skip(1).map(|step| step.from).chain([i64::MAX]);
    let pieces = begins.iter().zip(ends).filter_map(|(step, end)| {
        let sale_minor = to.min(end) - from.max(step.from);
        (sale_minor > 0).then_some(Part { flat_minor: 0, sale_minor, rate_ppm: step.rate_ppm })
    });
    let mut parts: Vec<Part> = pieces.collect();
    match parts.last_mut() {
        Some(last) => last.flat_minor = reached.flat_minor,
        None => parts.push(at(reached, 0)),
    }
    parts
}
