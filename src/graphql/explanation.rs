//! Why a commission is what it is.

use async_graphql::{Description, ID, Object, Result, SimpleObject};
use tributary_entity::{Instant, kinds, money};

use super::{
    error::IntoGraphql,
    kinds::{CapPeriod, RuleKind, RuleSource, TierBasis, TierMode},
    override_plans::OverrideExplanation,
    scalars::{Decimal, Money},
};
use crate::{
    domain::{
        commission::{
            Explanation,
            caps::Clamp,
            tiers::{Part, Standing},
        },
        rule::format_percent as percent,
    },
    services::ServiceError,
};

/// Why a commission is what it is: stored with it, untouched by later changes of the rule.
#[derive(Description)]
pub(super) struct CommissionExplanation(pub Explanation);

impl CommissionExplanation {
    /// From what the database keeps.
    pub fn read(json: &str) -> Result<Self> {
        let read = serde_json::from_str(json);
        Ok(Self(read.map_err(|_| ServiceError::Internal("a stored explanation cannot be read")).or_graphql()?))
    }
}

#[Object(use_type_description)]
impl CommissionExplanation {
    /// In a sentence: rule, version, terms, tier, cap, and what they gave.
    async fn summary(&self) -> String {
        self.0.summary()
    }

    /// The rule's name and version; of an override, with its level and plan.
    async fn rule(&self) -> String {
        self.0.rule()
    }

    /// The rule's id; begins with `rul_`. Of an override, the rule of the commission that it is on.
    async fn rule_id(&self) -> async_graphql::ID {
        self.0.rule_id.into()
    }

    /// The version that applied.
    async fn rule_version(&self) -> i32 {
        self.0.rule_version
    }

    /// How the rule reckons.
    async fn kind(&self) -> RuleKind {
        self.0.kind.into()
    }

    /// Which precedence level chose the rule.
    async fn source(&self) -> RuleSource {
        self.0.source.into()
    }

    /// What the rule was applied to, in the campaign's currency; of an override on a commission, that commission.
    async fn sale_amount(&self) -> Money {
        self.0.sale.into()
    }

    /// The fixed part of the terms that applied: the rule's, or its tier's.
    async fn flat(&self) -> Money {
        money::Money::new(self.0.flat_minor, self.0.amount.currency).into()
    }

    /// Their share of the sale, in percent.
    async fn percent(&self) -> Decimal {
        Decimal(percent(self.0.rate_ppm))
    }

    /// The affiliate's share of the conversion, from 0 to 1.
    async fn share(&self) -> Decimal {
        Decimal::millionths(self.0.share_millionths)
    }

    /// What was earned, rounded half to even, once; cut, where a cap had less left.
    async fn amount(&self) -> Money {
        self.0.amount.into()
    }

    /// What an override is on; null for an affiliate's own commission.
    #[graphql(name = "override")]
    async fn over(&self) -> Option<OverrideExplanation> {
        self.0.over.map(OverrideExplanation)
    }

    /// How the rule's tier stood, in words; null where it has none.
    async fn tier(&self) -> Option<String> {
        self.0.tier_words()
    }

    /// How the rule's tier stood; null where it has none.
    async fn tier_state(&self) -> Option<CommissionTierState> {
        self.0.tier.map(|standing| CommissionTierState { standing, currency: self.0.amount.currency })
    }

    /// The pieces of the sale, where tiers paid them differently; empty otherwise. At most 21.
    async fn parts(&self) -> Vec<CommissionPart> {
        let currency = self.0.amount.currency;
        let part = |part: &Part| CommissionPart {
            sale_amount: money::Money::new(part.sale_minor, self.0.sale.currency).into(),
            flat: money::Money::new(part.flat_minor, currency).into(),
            percent: Decimal(percent(part.rate_ppm)),
        };
        self.0.parts.iter().map(part).collect()
    }

    /// What the affiliate's group added; null where it added nothing.
    async fn modifier(&self) -> Option<CommissionModifier> {
        let modifier = self.0.modifier.as_ref()?;
        Some(CommissionModifier { group: modifier.group_name.clone(), percent: Decimal(percent(modifier.ppm)) })
    }

    /// Where the conversion stood in the time for which the rule pays; null for a rule that pays for life.
    async fn recurrence(&self) -> Option<CommissionRecurrence> {
        let recurrence = self.0.recurrence?;
        Some(CommissionRecurrence {
            max_months: recurrence.max_months,
            customer_known: recurrence.is_known,
            first_at: recurrence.first_at,
            over: recurrence.is_over,
        })
    }

    /// What a cap cut it to; null where none did.
    async fn clamp(&self) -> Option<CommissionClamp> {
        Some(CommissionClamp::of(self.0.clamp?, self.0.amount.currency))
    }

    /// The exchange rate that applied; null where the sale was in the campaign's currency. Such as
    /// `1 USD = 0.9223 EUR (ECB, 2026-11-20)`.
    async fn fx(&self) -> Option<String> {
        self.0.fx.map(|quote| quote.to_string())
    }
}

/// How a tier stood for a commission.
#[derive(Description)]
pub(super) struct CommissionTierState {
    standing: Standing,
    currency: money::Currency,
}

#[Object(use_type_description)]
impl CommissionTierState {
    /// What is counted.
    async fn basis(&self) -> TierBasis {
        self.standing.basis.into()
    }

    /// What a reached step pays for.
    async fn mode(&self) -> TierMode {
        self.standing.mode.into()
    }

    /// After what counting begins anew.
    async fn period(&self) -> CapPeriod {
        self.standing.period.into()
    }

    /// When this period began.
    async fn period_start(&self) -> Instant {
        self.standing.period_start
    }

    /// Counted before the conversion.
    async fn before(&self) -> Decimal {
        self.count(self.standing.before)
    }

    /// Counted with it.
    async fn after(&self) -> Decimal {
        self.count(self.standing.after)
    }

    /// The threshold of the step that applied; zero is the rule's own terms.
    async fn step(&self) -> Decimal {
        self.count(self.standing.step)
    }
}

impl CommissionTierState {
    /// A count, or an amount in the commission's currency.
    fn count(&self, count: i64) -> Decimal {
        Decimal(match self.standing.basis {
            kinds::TierBasis::Conversions => count.to_string(),
            kinds::TierBasis::SaleAmount => money::Money::new(count, self.currency).decimal(),
        })
    }
}

/// A piece of a sale, and what was paid for it.
#[derive(SimpleObject)]
pub(super) struct CommissionPart {
    /// The piece.
    sale_amount: Money,
    /// A fixed part.
    flat: Money,
    /// Percent of the piece.
    percent: Decimal,
}

/// What an affiliate's group added to the rate that was chosen.
#[derive(SimpleObject)]
pub(super) struct CommissionModifier {
    /// The group's name then.
    group: String,
    /// On top.
    percent: Decimal,
}

/// Where a conversion stood in the time for which its rule pays for a customer.
#[derive(SimpleObject)]
pub(super) struct CommissionRecurrence {
    /// Whole months since the customer's first commission; 0 is the first alone.
    max_months: i32,
    /// Whether the conversion named its customer; one that does not counts as a new customer's.
    customer_known: bool,
    /// When the customer's first commission was earned; null where this is it.
    first_at: Option<Instant>,
    /// The time was over: nothing was earned.
    over: bool,
}

/// What a cap cut a commission to.
#[derive(SimpleObject)]
pub(super) struct CommissionClamp {
    /// The cap that had least left; begins with `cap_`.
    cap_id: ID,
    /// What the rule gave.
    earned: Money,
    /// What was left.
    left: Money,
}

impl CommissionClamp {
    pub(super) fn of(clamp: Clamp, currency: money::Currency) -> Self {
        Self {
            cap_id: clamp.cap_id.into(),
            earned: money::Money::new(clamp.earned_minor, currency).into(),
            left: money::Money::new(clamp.left_minor, currency).into(),
        }
    }

    /// As it is stored.
    pub(super) fn read(text: &str, currency: money::Currency) -> Result<Self> {
        let clamp = serde_json::from_str(text).map_err(|_| ServiceError::Internal("a stored clamp cannot be read"));
        Ok(Self::of(clamp.or_graphql()?, currency))
    }
}
