//! What clicks earn: rates per click (CPC) and per thousand clicks (CPM), and when it becomes money.
//!
//! A click earns less than a minor unit, often: it accrues in millionths of the major unit, and once a period is over the whole
//! minor units are posted. The remainder stays for the next period, so that nothing is lost or rounded twice.
//!
//! # Decisions
//! - Only unique valid clicks earn, for both kinds: nobody tells us of impressions, so that a mille is a thousand of these
//!   clicks.
//! - Rates have at most six digits per click and three per mille: both are whole millionths for one click.

use serde::Serialize;
use tributary_entity::{
    Instant, click_rate, click_rate_version,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::{ClickRateKind, RuleStatus},
    money::{Currency, Money},
};

use super::{
    award::Step,
    problem::{Problem, ProblemCode},
    transition,
};

/// Rates of one campaign, archived ones too: they are answered in one list.
pub const RATES_MAX: usize = 1_000;
/// Digits after the point of the major unit.
const DIGITS: usize = 6;
/// The most that a click, or a thousand, earns: a million of the major unit.
const RATE_MAX_MICROS: i64 = 1_000_000_000_000;

/// A rate in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pub head: click_rate::Model,
    pub terms: click_rate_version::Model,
}

impl Rate {
    /// What one click earns, in millionths of the major unit.
    pub const fn micros_per_click(&self) -> i64 {
        match self.terms.kind {
            ClickRateKind::PerClick => self.terms.rate_micros,
            ClickRateKind::PerMille => self.terms.rate_micros / 1_000,
        }
    }
}

/// The rate of an affiliate in a campaign: its own, or else the campaign's. `rates` are active ones.
pub fn in_force<'a>(mut rates: impl Iterator<Item = &'a Rate> + Clone, affiliate_id: AffiliateId) -> Option<&'a Rate> {
    let own = rates.clone().find(|rate| rate.head.affiliate_id == Some(affiliate_id));
    own.or_else(|| rates.find(|rate| rate.head.affiliate_id.is_none()))
}

/// A rate as a caller sets it.
#[derive(Clone, Debug, Serialize)]
pub struct NewRate {
    pub campaign_id: CampaignId,
    /// None is for all affiliates without a rate of their own.
    pub affiliate_id: Option<AffiliateId>,
    pub kind: ClickRateKind,
    pub rate_micros: i64,
}

impl NewRate {
    /// The terms as a version of a rate.
    pub const fn version(
        &self,
        tenant_id: TenantId,
        head: &click_rate::Model,
        at: Instant,
    ) -> click_rate_version::Model {
        click_rate_version::Model {
            tenant_id,
            rate_id: head.id,
            version: head.current_version,
            kind: self.kind,
            rate_micros: self.rate_micros,
            created_at: at,
        }
    }
}

/// An archived rate is set again, not moved.
const TRANSITIONS: &[(RuleStatus, RuleStatus)] = &[(RuleStatus::Active, RuleStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: RuleStatus, to: RuleStatus) -> Result<RuleStatus, Problem> {
    transition::step(TRANSITIONS, "a click rate", from, to)
}

/// Reads an amount of the major unit, such as `0.0125`, as millionths.
///
/// # Errors
/// `INVALID_AMOUNT` for what is no plain decimal or has more digits than the kind takes; `AMOUNT_OUT_OF_RANGE`.
pub fn parse_rate(field: &[&str], kind: ClickRateKind, text: &str) -> Result<i64, Problem> {
    let most = match kind {
        ClickRateKind::PerClick => DIGITS,
        ClickRateKind::PerMille => DIGITS - 3,
    };
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_plain(whole) || !is_plain(fraction) || fraction.len() > most {
        let message = format!("a plain decimal with at most {most} digits after the point, such as `0.015`");
        return Err(Problem::new(ProblemCode::InvalidAmount, field, message));
    }
    let digits: String = format!("{whole}{fraction:0<DIGITS$}");
    let micros = digits.parse().ok().filter(|micros| *micros <= RATE_MAX_MICROS);
    micros.ok_or_else(|| Problem::new(ProblemCode::AmountOutOfRange, field, "more than a million"))
}

/// Prints millionths of the major unit as a plain decimal, without needless zeros.
pub fn format_micros(micros: i64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{fraction:0>DIGITS$}").trim_end_matches('0'))
}

/// The whole minor units in what has accrued, and what remains in millionths of the major unit.
pub fn payable(accrued_micros: i64, currency: Currency) -> (Money, i64) {
    let digits = u32::from(currency.exponent());
    let unit = 10_i64.pow(DIGITS as u32 - digits.min(DIGITS as u32));
    (Money::new(accrued_micros / unit, currency), accrued_micros % unit)
}

/// How an amount that is posted came about.
pub fn steps(clicks: i64, accrued_micros: i64, remainder_micros: i64) -> Vec<Step> {
    let step = |name: &str, value: String| Step { name: name.to_owned(), value };
    vec![
        step("unique valid clicks", clicks.to_string()),
        step("accrued, with what remained before", format_micros(accrued_micros)),
        step("remains for the next period", format_micros(remainder_micros)),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::ids::ClickRateId;
    use uuid::Uuid;

    use super::*;

    fn rate(affiliate_id: Option<AffiliateId>, kind: ClickRateKind, text: &str) -> Rate {
        let (tenant_id, campaign_id, at) = (TenantId::default(), CampaignId::default(), Instant::default());
        let head = click_rate::Model {
            tenant_id,
            id: ClickRateId::default(),
            campaign_id,
            affiliate_id,
            current_version: 1,
            status: RuleStatus::Active,
            created_at: at,
            updated_at: at,
        };
        let rate_micros = parse_rate(&["x"], kind, text).expect("a rate");
        let terms = NewRate { campaign_id, affiliate_id, kind, rate_micros }.version(tenant_id, &head, at);
        Rate { head, terms }
    }

    #[test]
    fn clicks_and_milles_are_whole_millionths_of_one_click() {
        assert_eq!(rate(None, ClickRateKind::PerClick, "0.0125").micros_per_click(), 12_500);
        assert_eq!(rate(None, ClickRateKind::PerMille, "1.5").micros_per_click(), 1_500);
        assert_eq!(rate(None, ClickRateKind::PerMille, "0.001").micros_per_click(), 1);
        for (kind, text) in [
            (ClickRateKind::PerClick, "0.0000001"),
            (ClickRateKind::PerMille, "0.0001"),
            (ClickRateKind::PerClick, "-1"),
            (ClickRateKind::PerClick, "1."),
            (ClickRateKind::PerClick, ""),
            (ClickRateKind::PerClick, "1e3"),
        ] {
            let code = parse_rate(&["x"], kind, text).map_err(|problem| problem.code);
            assert_eq!(code, Err(ProblemCode::InvalidAmount), "{text}");
        }
        let code = parse_rate(&["x"], ClickRateKind::PerClick, "1000001").map_err(|problem| problem.code);
        assert_eq!(code, Err(ProblemCode::AmountOutOfRange));
    }

    #[test]
    fn own_rate_goes_before_the_campaigns() {
        let own = AffiliateId::from_uuid(Uuid::from_u128(1));
        let rates = [rate(None, ClickRateKind::PerClick, "0.1"), rate(Some(own), ClickRateKind::PerClick, "0.2")];
        let micros = |id| in_force(rates.iter(), id).map(Rate::micros_per_click);
        assert_eq!(micros(own), Some(200_000));
        assert_eq!(micros(AffiliateId::default()), Some(100_000));
        assert_eq!(in_force(rates[1..].iter(), AffiliateId::default()), None);
    }

    #[test]
    fn whole_minor_units_are_payable_and_the_rest_remains() {
        let payable = |micros, currency: &str| {
            let (money, rest) = payable(micros, currency.parse().expect("known"));
            (money.amount_minor, rest)
        };
        assert_eq!(payable(37_500, "EUR"), (3, 7_500));
        assert_eq!(payable(9_999, "EUR"), (0, 9_999));
        assert_eq!(payable(2_500_000, "JPY"), (2, 500_000));
        assert_eq!(payable(2_500, "KWD"), (2, 500));
        assert_eq!(format_micros(37_500), "0.0375");
        assert_eq!(format_micros(2_000_000), "2");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_over_periods(parts in prop::collection::vec(0i64..50_000, 1..50)) {
            let eur: Currency = "EUR".parse().expect("known");
            let (mut rest, mut posted) = (0, 0);
            for part in &parts {
                let (money, remains) = payable(rest + part, eur);
                posted += money.amount_minor;
                rest = remains;
            }
            prop_assert_eq!(posted * 10_000 + rest, parts.iter().sum::<i64>());
            prop_assert!(rest < 10_000);
        }
    }
}
