//! Commission: which rule applies, what it earns, and why.
//!
//! [`choose`] finds the rule, [`book`] what it pays for one affiliate by what has been counted, [`split`] what each affiliate
//! of a conversion gets; [`caps`] cut it. Ingest and [`preview`] use the same.

pub mod book;
pub mod caps;
pub mod choose;
mod explanation;
pub mod plan;
pub mod preview;
pub mod recurring;
pub mod tiers;

use std::collections::BTreeMap;

use tributary_entity::{
    commission,
    ids::{AffiliateId, CommissionRuleId, ConversionId},
    kinds::CommissionStatus,
    money::Money,
};

pub use self::{
    book::{Book, Offer},
    explanation::{Explanation, Modifier},
    plan::Plan,
};
use super::{apportion::apportion, attribution::WHOLE_MILLIONTHS, ledger::Earned};

/// What a commission is before anything of it is taken back: what was reckoned, with what attribution runs, tiers and
/// adjusted sales added or took since.
pub const fn gross(row: &commission::Model) -> Money {
    Money::new(row.amount_minor + row.adjusted_minor, row.currency)
}

/// What a commission is now: [`gross`] less what was taken back.
pub const fn net(row: &commission::Model) -> Money {
    Money::new(row.amount_minor + row.adjusted_minor - row.reversed_minor, row.currency)
}

/// A commission as the ledger takes it, as it is now.
pub const fn earned(row: &commission::Model) -> Earned {
    Earned { affiliate_id: row.affiliate_id, level: row.level, amount: net(row) }
}

/// Among the commissions of its conversion, the one by whose rule a commission is rated and taken back: of an override the
/// one that it is on, else itself. None where that is not there.
pub fn base_of<'a>(row: &'a commission::Model, rows: &'a [commission::Model]) -> Option<&'a commission::Model> {
    match row.base_affiliate_id {
        None => Some(row),
        Some(id) => rows.iter().find(|base| base.level == 0 && base.affiliate_id == id),
    }
}

/// Which commissions a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct CommissionFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub conversion_ids: Option<Vec<ConversionId>>,
    pub statuses: Option<Vec<CommissionStatus>>,
    /// 0 is an affiliate's own, the others are overrides.
    pub levels: Option<Vec<i32>>,
}

/// Splits the commission of a sale among the affiliates credited with it, each by the offer that is its own; who has none
/// has no line. `credits` are in millionths of the conversion, one per affiliate, in the order of their first touch. None
/// when an amount is past what 64 bits can hold.
///
/// Affiliates whose offers come to the same share one pool: `round_half_even(exact x credits / 10^18)`, rounded once for
/// all of them; their parts sum to it exactly, by largest remainder, ties by the earlier touch.
pub fn split<'r>(
    sale: Money,
    credits: &[(AffiliateId, i32)],
    offer_of: impl Fn(AffiliateId) -> Option<Offer<'r>>,
) -> Option<Vec<(AffiliateId, Explanation)>> {
    let mut pools: BTreeMap<(CommissionRuleId, i32, i128), Vec<usize>> = BTreeMap::new();
    let offers: Vec<Option<Offer<'r>>> = credits.iter().map(|(affiliate_id, _)| offer_of(*affiliate_id)).collect();
    for (place, offer) in offers.iter().enumerate() {
        if let Some(offer) = offer {
            let terms = (offer.rule.head.id, offer.rule.terms.version, offer.exact()?);
            pools.entry(terms).or_default().push(place);
        }
    }
    let mut lines: Vec<(usize, Explanation)> = Vec::with_capacity(credits.len());
    for ((_, _, exact), places) in pools {
        let shares: Vec<i32> = places.iter().map(|place| credits[*place].1).collect();
        let parts = pool(exact, &shares)?;
        for (place, part) in places.into_iter().zip(parts) {
            let offer = offers[place].as_ref()?;
            lines.push((place, offer.explanation(sale, credits[place].1, i64::try_from(part).ok()?)));
        }
    }
    lines.sort_unstable_by_key(|(place, _)| *place);
    Some(lines.into_iter().map(|(place, line)| (credits[place].0, line)).collect())
}

/// What offers and shares are reckoned in: a rate, a modifier and a share, each in millionths.
const DENOMINATOR: i128 = 1_000_000 * 1_000_000 * WHOLE_MILLIONTHS as i128;

/// What those earn who share the same terms; `exact` as [`Offer::exact`].
fn pool(exact: i128, shares: &[i32]) -> Option<Vec<i128>> {
    let exact: Vec<i128> = shares.iter().map(|share| exact.checked_mul((*share).into())).collect::<Option<_>>()?;
    let sum = exact.iter().try_fold(0_i128, |sum, part| sum.checked_add(*part))?;
    Some(apportion(round_half_even(sum, DENOMINATOR), &exact, DENOMINATOR))
}

/// `numerator / denominator` to the nearest integer, ties to the even one. `denominator` is positive.
pub fn round_half_even(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator.div_euclid(denominator);
    // Not twice the remainder: that may be past what can be held.
    let remainder = numerator.rem_euclid(denominator);
    match remainder.cmp(&(denominator - remainder)) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

#[cfg(test)]
mod tests;
