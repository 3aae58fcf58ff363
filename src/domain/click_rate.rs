//! What clicks earn: rates per click (CPC) and per thousand clicks (CPM), and when it becomes money.
//!
//! A click earns less than a minor unit, often: it accrues in millionths of the major unit, and once a period is over the whole
//! minor units are posted. The remainder stays for the next period, so that nothing is lost or rounded twice.
//!
//! # Decisions
//! - Only unique valid clicks earn, for both kinds: nobody tells us of impressions, so that a mille is a thousand of these
//!   clicks.
//! - Precedence is that of commission rules: the affiliate's own rate in the campaign, else its group's, else the campaign's;
//!   the group's modifier comes on top of whichever it is, rounded to a millionth for one click, half to even.
//! - What clicks earn is kept by version of the rate and modifier, so that each amount can be explained and reckoned again.
//! - Rates have at most six digits per click and three per mille: both are whole millionths for one click.

use serde::Serialize;
use tributary_entity::{
    Instant, affiliate_group, click_rate, click_rate_accrual, click_rate_version,
    ids::{AffiliateGroupId, AffiliateId, CampaignId, ClickRateId, TenantId},
    kinds::{ClickRateKind, RuleStatus},
    money::{Currency, Money},
};

use super::{
    award::Step,
    commission::round_half_even,
    problem::{Problem, ProblemCode},
    rule::format_percent,
    transition,
};

/// Rates of one campaign, archived ones too: they are answered in one list.
pub const RATES_MAX: usize = 1_000;
/// Digits after the point of the major unit.
const DIGITS: usize = 6;
/// The most that a click, or a thousand, earns: a million of the major unit.
const RATE_MAX_MICROS: i64 = 1_000_000_000_000;
const WHOLE_PPM: i128 = 1_000_000;

/// A rate in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pub head: click_rate::Model,
    pub terms: click_rate_version::Model,
}

/// By what a click earns: a version of a rate, and the modifier of the affiliate's group in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    pub rate_id: ClickRateId,
    pub version: i32,
    pub modifier_ppm: i64,
}

/// What one click earns by terms and a modifier, in millionths of the major unit.
pub fn micros_per_click(terms: &click_rate_version::Model, modifier_ppm: i64) -> i64 {
    let clicks = match terms.kind {
        ClickRateKind::PerClick => 1,
        ClickRateKind::PerMille => 1_000,
    };
    let exact = i128::from(terms.rate_micros) * (WHOLE_PPM + i128::from(modifier_ppm));
    i64::try_from(round_half_even(exact, WHOLE_PPM * clicks)).unwrap_or(i64::MAX)
}

/// What a click of an affiliate in a campaign earns, in millionths of the major unit, and by what: by the affiliate's own
/// rate, or else its group's, or else the campaign's. `rates` are active ones.
pub fn earned<'a>(
    rates: impl Iterator<Item = &'a Rate> + Clone,
    affiliate_id: AffiliateId,
    group: Option<&affiliate_group::Model>,
) -> Option<(Basis, i64)> {
    let first = |affiliate_id, group_id| {
        rates.clone().find(|rate| (rate.head.affiliate_id, rate.head.group_id) == (affiliate_id, group_id))
    };
    let of_group = |group: &affiliate_group::Model| first(None, Some(group.id));
    let rate = first(Some(affiliate_id), None).or_else(|| group.and_then(of_group)).or_else(|| first(None, None))?;
    let modifier_ppm = group.map_or(0, |group| group.modifier_ppm);
    let basis = Basis { rate_id: rate.head.id, version: rate.terms.version, modifier_ppm };
    Some((basis, micros_per_click(&rate.terms, modifier_ppm)))
}

/// What is not posted yet of what clicks earned by one version of a rate and modifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub terms: click_rate_version::Model,
    pub modifier_ppm: i64,
    pub clicks: i64,
    pub micros: i64,
}

impl Part {
    /// Of what was accrued by `terms`.
    pub fn open(accrual: &click_rate_accrual::Model, terms: click_rate_version::Model) -> Self {
        let clicks = accrual.clicks.saturating_sub(accrual.posted_clicks);
        let micros = clicks.saturating_mul(micros_per_click(&terms, accrual.modifier_ppm));
        Self { terms, modifier_ppm: accrual.modifier_ppm, clicks, micros }
    }

    /// The rate, and how many clicks earned how much by it.
    fn steps(&self) -> [Step; 3] {
        let each = match self.terms.kind {
            ClickRateKind::PerClick => "per click",
            ClickRateKind::PerMille => "per thousand clicks",
        };
        let mut rate = format!("{} {each}", format_micros(self.terms.rate_micros));
        if self.modifier_ppm != 0 {
            rate.push_str(&format!(" + {} %", format_percent(self.modifier_ppm)));
        }
        [
            step("rate", format!("{rate}, version {} of {}", self.terms.version, self.terms.rate_id)),
            step("clicks at this rate", self.clicks.to_string()),
            step("earned at this rate", format_micros(self.micros)),
        ]
    }
}

/// A rate as a caller sets it.
#[derive(Clone, Debug, Serialize)]
pub struct NewRate {
    pub campaign_id: CampaignId,
    /// Whose own it is.
    pub affiliate_id: Option<AffiliateId>,
    /// The group whose affiliates it is for. Neither is for all affiliates without one of their own or of their group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<AffiliateGroupId>,
    pub kind: ClickRateKind,
    pub rate_micros: i64,
}

impl NewRate {
    /// Checks for whom it is.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` for both a group and an affiliate.
    pub fn check(self) -> Result<Self, Problem> {
        if self.affiliate_id.is_some() && self.group_id.is_some() {
            let message = "a rate is for a group or for one affiliate";
            return Err(Problem::new(ProblemCode::OutOfRange, &["groupId"], message));
        }
        Ok(self)
    }

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

fn step(name: &str, value: String) -> Step {
    Step { name: name.to_owned(), value }
}

/// How an amount that is posted came about: by `parts`, and by what remained before or was accrued before parts were kept.
pub fn steps(clicks: i64, accrued_micros: i64, remainder_micros: i64, parts: &[Part]) -> Vec<Step> {
    let sum = |of: fn(&Part) -> i64| parts.iter().map(of).fold(0, i64::saturating_add);
    let (rated, earned) = (sum(|part| part.clicks), sum(|part| part.micros));
    // More than accrued: a node that keeps no parts has posted some of them, and nobody can tell which.
    let is_told = rated <= clicks && earned <= accrued_micros;
    let mut steps = vec![step("unique valid clicks", clicks.to_string())];
    if is_told && rated > 0 {
        steps.extend(parts.iter().flat_map(Part::steps));
        let rest = if rated == clicks { "remained before" } else { "other clicks, with what remained before" };
        steps.push(step(rest, format_micros(accrued_micros - earned)));
    }
    steps.push(step("accrued, with what remained before", format_micros(accrued_micros)));
    steps.push(step("remains for the next period", format_micros(remainder_micros)));
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::ids::ClickRateId;
    use uuid::Uuid;

    use super::*;

    fn rate(whose: (Option<AffiliateId>, Option<AffiliateGroupId>), kind: ClickRateKind, text: &str) -> Rate {
        let (tenant_id, campaign_id, at) = (TenantId::default(), CampaignId::default(), Instant::default());
        let (affiliate_id, group_id) = whose;
        let head = click_rate::Model {
            tenant_id,
            id: ClickRateId::default(),
            campaign_id,
            affiliate_id,
            group_id,
            current_version: 1,
            status: RuleStatus::Active,
            created_at: at,
            updated_at: at,
        };
        let rate_micros = parse_rate(&["x"], kind, text).expect("a rate");
        let terms = NewRate { campaign_id, affiliate_id, group_id, kind, rate_micros }.version(tenant_id, &head, at);
        Rate { head, terms }
    }

    #[test]
    fn clicks_and_milles_are_whole_millionths_of_one_click() {
        let of = |kind, text, modifier_ppm| micros_per_click(&rate((None, None), kind, text).terms, modifier_ppm);
        assert_eq!(of(ClickRateKind::PerClick, "0.0125", 0), 12_500);
        assert_eq!(of(ClickRateKind::PerMille, "1.5", 0), 1_500);
        assert_eq!(of(ClickRateKind::PerMille, "0.001", 0), 1);
        assert_eq!(of(ClickRateKind::PerClick, "0.0125", 100_000), 13_750);
        assert_eq!(of(ClickRateKind::PerMille, "0.025", 100_000), 28, "27.5, half to even");
        assert_eq!(of(ClickRateKind::PerMille, "0.015", 100_000), 16, "16.5");
        assert_eq!(of(ClickRateKind::PerClick, "1000000", 1_000_000), 2_000_000_000_000);
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
    fn own_rate_goes_before_the_groups_before_the_campaigns_and_the_modifier_is_on_top() {
        let group = |number, modifier_ppm| affiliate_group::Model {
            tenant_id: TenantId::default(),
            id: AffiliateGroupId::from_uuid(Uuid::from_u128(number)),
            name: "Gold".to_owned(),
            modifier_ppm,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        };
        let (own, other) = (AffiliateId::from_uuid(Uuid::from_u128(1)), AffiliateId::default());
        let (gold, silver) = (group(2, 0), group(3, 100_000));
        let per_click = |whose, text| rate(whose, ClickRateKind::PerClick, text);
        let rates = [
            per_click((None, None), "0.1"),
            per_click((None, Some(gold.id)), "0.3"),
            per_click((Some(own), None), "0.2"),
        ];
        let micros = |rates: &[Rate], id, group| earned(rates.iter(), id, group).map(|(_, micros)| micros);
        assert_eq!(micros(&rates, own, Some(&gold)), Some(200_000));
        assert_eq!(micros(&rates, own, Some(&silver)), Some(220_000));
        assert_eq!(micros(&rates, other, Some(&gold)), Some(300_000));
        assert_eq!(micros(&rates, other, Some(&silver)), Some(110_000), "the campaign's");
        assert_eq!(micros(&rates, other, None), Some(100_000));
        assert_eq!(micros(&rates[1..], other, Some(&silver)), None);
        let basis = earned(rates.iter(), other, Some(&silver)).map(|(basis, _)| basis.modifier_ppm);
        assert_eq!(basis, Some(100_000));
    }

    #[test]
    fn amount_is_explained_by_each_rate_that_it_was_earned_by() {
        let part = |text, modifier_ppm, clicks, micros| {
            let terms = rate((None, None), ClickRateKind::PerClick, text).terms;
            Part { terms, modifier_ppm, clicks, micros }
        };
        let parts = [part("0.01", 0, 3, 30_000), part("0.02", 100_000, 1, 22_000)];
        let told = |clicks, accrued| -> Vec<String> {
            let steps = steps(clicks, accrued, 0, &parts).into_iter();
            steps.map(|step| format!("{}: {}", step.name, step.value)).collect()
        };
        let all = told(4, 60_000);
        assert_eq!(all.len(), 10, "{all:?}");
        assert!(all[4].starts_with("rate: 0.02 per click + 10 %, version 1 of crt_"), "{all:?}");
        assert_eq!(all[5..8], ["clicks at this rate: 1", "earned at this rate: 0.022", "remained before: 0.008"]);
        assert_eq!(told(5, 60_000)[7], "other clicks, with what remained before: 0.008");
        assert_eq!(told(3, 60_000).len(), 3, "some are posted already");
        assert_eq!(told(4, 50_000).len(), 3);
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
