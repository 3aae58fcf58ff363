//! Why a commission is what it is.

use async_graphql::{Description, Object, Result};
use tributary_entity::money;

use super::{
    error::IntoGraphql,
    kinds::{RuleKind, RuleSource},
    override_plans::OverrideExplanation,
    scalars::{Decimal, Money},
};
use crate::{
    domain::{commission::Explanation, rule::format_percent as percent},
    services::ServiceError,
};

/// Why a commission is what it is: stored with it, untouched by later changes of the rule.
#[derive(Description)]
pub(super) struct CommissionExplanation(Explanation);

impl CommissionExplanation {
    /// From what the database keeps.
    pub fn read(json: &str) -> Result<Self> {
        let read = serde_json::from_str(json);
        Ok(Self(read.map_err(|_| ServiceError::Internal("a stored explanation cannot be read")).or_graphql()?))
    }
}

#[Object(use_type_description)]
impl CommissionExplanation {
    /// In a sentence: rule, version, terms and what they gave.
    async fn summary(&self) -> String {
        let Explanation { rule_name, rule_version, flat_minor, rate_ppm, sale, amount, .. } = &self.0;
        let flat = money::Money::new(*flat_minor, amount.currency);
        let rate = percent(*rate_ppm);
        let terms = match self.0.kind {
            tributary_entity::kinds::RuleKind::Flat => flat.to_string(),
            tributary_entity::kinds::RuleKind::Percent => format!("{rate} % of {sale}"),
            tributary_entity::kinds::RuleKind::FlatPlusPercent => format!("{flat} + {rate} % of {sale}"),
        };
        let share = match self.0.share_millionths {
            1_000_000 => String::new(),
            share => format!(" x {share} / 1000000"),
        };
        format!("{rule_name} v{rule_version}: {terms}{share} = {amount}")
    }

    /// The rule's name and version; of an override, with its level and plan.
    async fn rule(&self) -> String {
        format!("{} v{}", self.0.rule_name, self.0.rule_version)
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

    /// What the rule was applied to; of an override on a commission, that commission.
    async fn sale_amount(&self) -> Money {
        self.0.sale.into()
    }

    /// The rule's fixed part.
    async fn flat(&self) -> Money {
        money::Money::new(self.0.flat_minor, self.0.amount.currency).into()
    }

    /// The rule's share of the sale, in percent.
    async fn percent(&self) -> Decimal {
        Decimal(percent(self.0.rate_ppm))
    }

    /// The affiliate's share of the conversion, from 0 to 1.
    async fn share(&self) -> Decimal {
        Decimal::millionths(self.0.share_millionths)
    }

    /// What was earned, rounded half to even, once.
    async fn amount(&self) -> Money {
        self.0.amount.into()
    }

    /// What an override is on; null for an affiliate's own commission.
    #[graphql(name = "override")]
    async fn over(&self) -> Option<OverrideExplanation> {
        self.0.over.map(OverrideExplanation)
    }

    /// The tier that applied; null where the rule has none.
    async fn tier(&self) -> Option<String> {
        None
    }

    /// The exchange rate that applied; null where the sale was in the campaign's currency.
    async fn fx(&self) -> Option<String> {
        None
    }
}
