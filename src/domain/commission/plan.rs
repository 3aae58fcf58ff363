//! A rule's plan: for which conversions it is, for how long it pays for a customer, and its tiers. A part of its version.
//!
//! # Decisions
//! - The rule's own terms are the first step of its tiers: what is paid from nothing on.
//! - A threshold is of the campaign's currency, as the flat parts are: nothing is converted to compare.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tributary_entity::{
    kinds::{CapPeriod, TierBasis, TierMode},
    money::{Currency, Money},
};

use crate::domain::{
    coupon,
    problem::{Problem, ProblemCode},
    rule::Terms,
    text,
};

/// Values of one criterion.
pub const VALUES_MAX: usize = 100;
/// Steps above the rule's own terms.
pub const STEPS_MAX: usize = 20;
/// The longest time that a rule pays for a customer, but for ever: a hundred years.
pub const MONTHS_MAX: i32 = 1_200;
/// The largest threshold of a count.
pub const COUNT_MAX: i64 = 1_000_000_000_000;

/// What a version has besides its terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    #[serde(default, skip_serializing_if = "Criteria::is_empty")]
    pub criteria: Criteria,
    /// Whole months since the customer's first commission; 0 is the first alone, none is for life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_months: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
}

/// For which conversions a rule is: of each criterion that is there one value must be met, of all criteria all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria {
    /// Of the credited click; ISO 3166-1 alpha-2, in upper case.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub countries: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub products: BTreeSet<String>,
    /// In upper case.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub coupons: BTreeSet<String>,
    /// Of the credited click.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
    /// Of the credited click, by `sub1`..`sub10`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, BTreeSet<String>>,
}

/// Tiers above the rule's own terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiers {
    pub basis: TierBasis,
    pub period: CapPeriod,
    pub mode: TierMode,
    /// By threshold, rising.
    pub steps: Vec<Step>,
}

/// What is paid from a threshold on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Inclusive: a count, or minor units.
    pub from: i64,
    pub flat_minor: i64,
    pub rate_ppm: i64,
}

impl Plan {
    /// As a version keeps it.
    ///
    /// # Errors
    /// As the stored text is not ours.
    pub fn read(json: Option<&str>) -> Result<Self, serde_json::Error> {
        json.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// What a version keeps; none for a plan that says nothing.
    ///
    /// # Errors
    /// Never: everything in it is text and numbers.
    pub fn json(&self) -> Result<Option<String>, serde_json::Error> {
        if *self == Self::default() { Ok(None) } else { serde_json::to_string(self).map(Some) }
    }
}

impl Criteria {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks what only a click tells.
    pub fn reads_click(&self) -> bool {
        !(self.countries.is_empty() && self.sources.is_empty() && self.subs.is_empty())
    }

    /// Trims and checks every value; `field` is where the criteria stand in the input.
    ///
    /// # Errors
    /// `BATCH_SIZE` past [`VALUES_MAX`]; `REQUIRED` or `INVALID_TEXT` for a value; `OUT_OF_RANGE` for a country that is
    /// no two letters.
    pub fn check(self, field: &[&str]) -> Result<Self, Problem> {
        let at = |name: &str| -> Vec<String> {
            field.iter().map(|part| (*part).to_owned()).chain([name.to_owned()]).collect()
        };
        let upper = |values: BTreeSet<String>| -> BTreeSet<String> {
            values.iter().map(|value| coupon::canonical(value)).collect()
        };
        let countries = upper(values(&at("countries"), self.countries)?);
        if let Some(wrong) = countries.iter().find(|code| !is_country(code)) {
            let path = at("countries");
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let message = format!("`{wrong}` is no country's two letters");
            return Err(Problem::new(ProblemCode::OutOfRange, &path, message));
        }
        Ok(Self {
            countries,
            products: values(&at("productIds"), self.products)?,
            coupons: upper(values(&at("couponCodes"), self.coupons)?),
            sources: values(&at("sources"), self.sources)?,
            subs: self
                .subs
                .into_iter()
                .map(|(name, wanted)| Ok((name, values(&at("subs"), wanted)?)))
                .filter(|sub| !matches!(sub, Ok((_, wanted)) if wanted.is_empty()))
                .collect::<Result<_, Problem>>()?,
        })
    }
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn values(field: &[String], given: BTreeSet<String>) -> Result<BTreeSet<String>, Problem> {
    let field: Vec<&str> = field.iter().map(String::as_str).collect();
    if given.len() > VALUES_MAX {
        return Err(Problem::new(ProblemCode::BatchSize, &field, format!("at most {VALUES_MAX} values")));
    }
    given.iter().map(|value| text::required(&field, value, text::REFERENCE_MAX)).collect()
}

/// Tiers as a caller describes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewTiers {
    pub basis: TierBasis,
    pub period: CapPeriod,
    pub mode: TierMode,
    pub steps: Vec<NewStep>,
}

/// A step as a caller describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NewStep {
    pub from: Threshold,
    pub terms: Terms,
}

/// Where a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Threshold {
    Count(i64),
    Sale(Money),
}

impl NewTiers {
    /// The tiers of a rule whose campaign is in `currency`; `field` is where they stand in the input.
    ///
    /// # Errors
    /// `BATCH_SIZE` for no step or more than [`STEPS_MAX`]; `REQUIRED` for a count where sales are counted, and the other
    /// way round; `CURRENCY_MISMATCH`; `OUT_OF_RANGE` for a threshold of nothing, and where thresholds do not rise.
    pub fn check(&self, field: &[&str], currency: Currency) -> Result<Tiers, Problem> {
        let steps_at = [field, &["steps"]].concat();
        if let Some(problem) = Problem::batch_size(&steps_at, self.steps.len(), STEPS_MAX) {
            return Err(problem);
        }
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        for NewStep { from, terms } in &self.steps {
            let from = match (self.basis, *from) {
                (TierBasis::Conversions, Threshold::Count(count)) => count,
                (TierBasis::SaleAmount, Threshold::Sale(sale)) if sale.currency == currency => sale.amount_minor,
                (TierBasis::SaleAmount, Threshold::Sale(_)) => {
                    let message = format!("the campaign's currency is {currency}");
                    return Err(Problem::new(ProblemCode::CurrencyMismatch, &steps_at, message));
                }
                (TierBasis::Conversions, Threshold::Sale(_)) => {
                    return Err(Problem::required(&[&steps_at[..], &["conversions"]].concat()));
                }
                (TierBasis::SaleAmount, Threshold::Count(_)) => {
                    return Err(Problem::required(&[&steps_at[..], &["saleAmount"]].concat()));
                }
            };
            let least = steps.last().map_or(0, |below| below.from);
            if from <= least || (self.basis == TierBasis::Conversions && from > COUNT_MAX) {
                let message = "thresholds are above nothing, and rise";
                return Err(Problem::new(ProblemCode::OutOfRange, &steps_at, message));
            }
            let (flat_minor, rate_ppm) = terms.amounts(&steps_at, currency)?;
            steps.push(Step { from, flat_minor, rate_ppm });
        }
        Ok(Tiers { basis: self.basis, period: self.period, mode: self.mode, steps })
    }
}

/// Checks for how long a rule pays for a customer.
///
/// # Errors
/// `OUT_OF_RANGE`.
pub fn max_months(field: &[&str], months: i32) -> Result<i32, Problem> {
    if (0..=MONTHS_MAX).contains(&months) {
        Ok(months)
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, field, format!("from 0 to {MONTHS_MAX}")))
    }
}
