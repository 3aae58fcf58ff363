//! Why a commission is what it is: as data, and in a sentence.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tributary_entity::{
    ids::{AffiliateGroupId, CommissionRuleId},
    kinds::{RuleKind, RuleSource, TierBasis},
    money::Money,
};

use super::{
    caps::Clamp,
    recurring::Recurrence,
    tiers::{Part, Standing},
};
use crate::domain::{fx_rate::Quote, override_plan::Override, rule::format_percent};

/// Why a commission is what it is; stored with it, so that a later change of the rule explains nothing away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub rule_id: CommissionRuleId,
    pub rule_name: String,
    pub rule_version: i32,
    pub kind: RuleKind,
    pub source: RuleSource,
    /// What the customer paid, in the campaign's currency: by `fx` where it was paid in another.
    pub sale: Money,
    /// The exchange rate that `sale` was reckoned by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fx: Option<Quote>,
    /// The fixed part of the terms that applied, the rule's or a tier's, in minor units of the commission's currency.
    pub flat_minor: i64,
    /// Their share of the sale, in millionths.
    pub rate_ppm: i64,
    /// The affiliate's share of the conversion, in millionths.
    pub share_millionths: i32,
    /// What was earned: `(flat + sale x rate) x (1 + modifier) x share`, over the pieces of a sale that tiers cut; rounded
    /// half to even, once; where several affiliates share it by the same terms, their sum is rounded and split by largest
    /// remainder. Then cut by a cap.
    pub amount: Money,
    /// The pieces of the sale, where they are not one at the terms above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Standing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifier: Option<Modifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<Clamp>,
    /// What an override is on, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Override>,
}

/// What an affiliate's group adds to the rate that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modifier {
    pub group_id: AffiliateGroupId,
    pub group_name: String,
    pub ppm: i64,
}

impl Explanation {
    /// The rule's name and version.
    pub fn rule(&self) -> String {
        format!("{} v{}", self.rule_name, self.rule_version)
    }

    /// How the tier stood, in words; none where the rule has none.
    pub fn tier_words(&self) -> Option<String> {
        let tier = self.tier?;
        let count = |amount: i64| match tier.basis {
            TierBasis::Conversions => format!("{amount} conversions"),
            TierBasis::SaleAmount => Money::new(amount, self.amount.currency).to_string(),
        };
        let (mode, period) = (tier.mode, tier.period);
        Some(format!(
            "{mode} from {}: {} before, {} with it, per {period} since {}",
            count(tier.step),
            count(tier.before),
            count(tier.after),
            tier.period_start.format("%Y-%m-%dT%H:%M:%SZ"),
        ))
    }

    /// In a sentence: rule, version, terms and what they gave.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {}", self.rule(), self.terms());
        if let Some(modifier) = &self.modifier {
            let _ = write!(text, " + {} % ({})", format_percent(modifier.ppm), modifier.group_name);
        }
        if self.share_millionths != 1_000_000 {
            let _ = write!(text, " x {} / 1000000", self.share_millionths);
        }
        let _ = write!(text, " = {}", Money::new(self.earned_minor(), self.amount.currency));
        if let Some(clamp) = self.clamp {
            let left = Money::new(clamp.left_minor, self.amount.currency);
            let _ = write!(text, ", cut to {}: {left} was left of a cap", self.amount);
        }
        if let Some(quote) = self.fx {
            let _ = write!(text, "; {quote}");
        }
        match self.recurrence {
            Some(over) if over.is_over => text.push_str(&over_words(over)),
            Some(known) if !known.is_known => text.push_str("; no customer was named, so it counts as a new one's"),
            _ => {}
        }
        if let Some(tier) = self.tier_words() {
            let _ = write!(text, "; tier {tier}");
        }
        text
    }

    /// Before a cap cut it.
    pub fn earned_minor(&self) -> i64 {
        self.clamp.map_or(self.amount.amount_minor, |clamp| clamp.earned_minor)
    }

    fn terms(&self) -> String {
        if self.recurrence.is_some_and(|recurrence| recurrence.is_over) {
            return "nothing".to_owned();
        }
        if self.parts.is_empty() {
            return self.words();
        }
        let percent = |part: &Part| {
            let sale = Money::new(part.sale_minor, self.sale.currency);
            format!("{} % of {sale}", format_percent(part.rate_ppm))
        };
        let flat = (self.flat_minor != 0).then(|| Money::new(self.flat_minor, self.amount.currency).to_string());
        flat.into_iter().chain(self.parts.iter().map(percent)).collect::<Vec<_>>().join(" + ")
    }

    fn words(&self) -> String {
        let flat = Money::new(self.flat_minor, self.amount.currency);
        let percent = format!("{} % of {}", format_percent(self.rate_ppm), self.sale);
        match self.kind {
            // A step may pay otherwise than the rule.
            RuleKind::Flat if self.rate_ppm == 0 => flat.to_string(),
            RuleKind::Percent if self.flat_minor == 0 => percent,
            RuleKind::Flat | RuleKind::Percent | RuleKind::FlatPlusPercent => format!("{flat} + {percent}"),
        }
    }
}

fn over_words(over: Recurrence) -> String {
    let since = over.first_at.map(|at| at.format("%Y-%m-%d").to_string()).unwrap_or_default();
    match over.max_months {
        0 => format!("; the customer's first commission of {since} is the only one"),
        months => format!("; {months} months have passed since the customer's first commission of {since}"),
    }
}
