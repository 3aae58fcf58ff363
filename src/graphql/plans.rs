//! The plan of a commission rule's version: criteria, recurrence, tiers; as input and as output.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::{InputObject, SimpleObject};
use tributary_entity::{
    kinds::TierBasis as Basis,
    money::{self, Currency},
};

use super::{
    kinds::{CapPeriod, TierBasis, TierMode},
    rules::CommissionTermsInput,
    scalars::{Decimal, Money, MoneyInput},
};
use crate::domain::{
    commission::plan::{self, Criteria, NewStep, NewTiers, Threshold},
    problem::{Problem, ProblemCode},
    rule::format_percent,
};

/// For which conversions a rule is: of each list that is not empty one value must be met, of all lists all.
#[derive(SimpleObject)]
pub(super) struct RuleCriteria {
    /// Of the credited click; ISO 3166-1 alpha-2. At most 100.
    countries: Vec<String>,
    /// What was bought. At most 100.
    product_ids: Vec<String>,
    /// In upper case. At most 100.
    coupon_codes: Vec<String>,
    /// Of the credited click. At most 100.
    sources: Vec<String>,
    /// Of the credited click. At most ten.
    subs: Vec<SubCriterion>,
}

/// The values that a label of the affiliate may have.
#[derive(SimpleObject)]
pub(super) struct SubCriterion {
    /// `sub1` to `sub10`.
    name: String,
    /// One of them must be met. At most 100.
    values: Vec<String>,
}

impl From<&Criteria> for RuleCriteria {
    fn from(criteria: &Criteria) -> Self {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect();
        let subs = criteria.subs.iter().map(|(name, values)| SubCriterion { name: name.clone(), values: list(values) });
        Self {
            countries: list(&criteria.countries),
            product_ids: list(&criteria.products),
            coupon_codes: list(&criteria.coupons),
            sources: list(&criteria.sources),
            subs: subs.collect(),
        }
    }
}

/// For which conversions a rule is: of each list that is not empty one value must be met, of all lists all. A conversion that
/// a coupon credits has no click.
#[derive(Clone, Default, InputObject)]
pub(super) struct RuleCriteriaInput {
    /// Of the credited click; ISO 3166-1 alpha-2, in any case. At most 100.
    #[graphql(default)]
    countries: Vec<String>,
    /// What was bought, as conversions name it. At most 100.
    #[graphql(default)]
    product_ids: Vec<String>,
    /// In any case. At most 100.
    #[graphql(default)]
    coupon_codes: Vec<String>,
    /// Of the credited click. At most 100.
    #[graphql(default)]
    sources: Vec<String>,
    /// Of the credited click; each name once.
    #[graphql(default)]
    subs: Vec<SubCriterionInput>,
}

/// The values that a label of the affiliate may have.
#[derive(Clone, InputObject)]
pub(super) struct SubCriterionInput {
    /// `sub1` to `sub10`.
    name: String,
    /// One of them must be met. At most 100.
    values: Vec<String>,
}

impl RuleCriteriaInput {
    /// Unchecked, but for the names of labels; `field` is where they stand.
    pub fn parse(self, field: &[&str]) -> Result<Criteria, Problem> {
        let set = |values: Vec<String>| values.into_iter().collect::<BTreeSet<String>>();
        let mut subs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for SubCriterionInput { name, values } in self.subs {
            let number = name.strip_prefix("sub").and_then(|number| number.parse::<u8>().ok());
            let is_label = number.is_some_and(|number| (1..=10).contains(&number) && name == format!("sub{number}"));
            if !is_label || subs.insert(name, set(values)).is_some() {
                let message = "`sub1` to `sub10`, each once";
                return Err(Problem::new(ProblemCode::OutOfRange, &[field, &["subs", "name"]].concat(), message));
            }
        }
        Ok(Criteria {
            countries: set(self.countries),
            products: set(self.product_ids),
            coupons: set(self.coupon_codes),
            sources: set(self.sources),
            subs,
        })
    }
}

/// Steps above a rule's own terms, by what an affiliate brings in a period of the tenant's time zone.
#[derive(SimpleObject)]
pub(super) struct CommissionTiers {
    /// What is counted.
    basis: TierBasis,
    /// After what counting begins anew.
    period: CapPeriod,
    /// What a reached step pays for.
    mode: TierMode,
    /// By threshold, rising; at most 20.
    steps: Vec<CommissionTierStep>,
}

/// What is paid from a threshold on.
#[derive(SimpleObject)]
pub(super) struct CommissionTierStep {
    /// The threshold, inclusive, where conversions are counted.
    conversions: Option<i64>,
    /// The threshold, inclusive, where sales are counted.
    sale_amount: Option<Money>,
    /// Per conversion, in the campaign's currency.
    flat: Money,
    /// Percent of the sale amount.
    percent: Decimal,
}

impl CommissionTiers {
    pub fn of(tiers: &plan::Tiers, currency: Currency) -> Self {
        let step = |step: &plan::Step| CommissionTierStep {
            conversions: (tiers.basis == Basis::Conversions).then_some(step.from),
            sale_amount: (tiers.basis == Basis::SaleAmount).then(|| money::Money::new(step.from, currency).into()),
            flat: money::Money::new(step.flat_minor, currency).into(),
            percent: Decimal(format_percent(step.rate_ppm)),
        };
        Self {
            basis: tiers.basis.into(),
            period: tiers.period.into(),
            mode: tiers.mode.into(),
            steps: tiers.steps.iter().map(step).collect(),
        }
    }
}

/// Steps above a rule's own terms, by what an affiliate brings in a period of the tenant's time zone.
#[derive(Clone, InputObject)]
pub(super) struct CommissionTiersInput {
    /// What is counted.
    basis: TierBasis,
    /// After what counting begins anew.
    period: CapPeriod,
    /// What a reached step pays for.
    mode: TierMode,
    /// 1 to 20, by threshold, rising.
    steps: Vec<CommissionTierStepInput>,
}

/// What is paid from a threshold on, in place of the rule's own terms.
#[derive(Clone, InputObject)]
pub(super) struct CommissionTierStepInput {
    /// The threshold, inclusive, where conversions are counted; at least 1.
    conversions: Option<i64>,
    /// The threshold, inclusive, where sales are counted; in the campaign's currency.
    sale_amount: Option<MoneyInput>,
    /// What the step pays.
    terms: CommissionTermsInput,
}

impl CommissionTiersInput {
    /// `field` is where they stand.
    pub fn parse(&self, field: &[&str]) -> Result<NewTiers, Problem> {
        let steps_at = [field, &["steps"]].concat();
        let step = |step: &CommissionTierStepInput| {
            let from = match (step.conversions, &step.sale_amount) {
                (Some(count), None) => Threshold::Count(count),
                (None, Some(sale)) => Threshold::Sale(sale.money(&[&steps_at[..], &["saleAmount"]].concat())?),
                _ => {
                    let message = "one of `conversions` and `saleAmount`";
                    return Err(Problem::new(ProblemCode::Required, &steps_at, message));
                }
            };
            Ok(NewStep { from, terms: step.terms.parse_at(&steps_at)? })
        };
        let steps = self.steps.iter().map(step).collect::<Result<_, Problem>>()?;
        Ok(NewTiers { basis: self.basis.into(), period: self.period.into(), mode: self.mode.into(), steps })
    }
}
