//! Commission rules: terms in versions, chosen by precedence.
//!
//! A version is never edited: past conversions keep the terms they were decided by.

use serde::Serialize;
use tributary_entity::{
    Instant, commission_rule, commission_rule_version,
    ids::{AffiliateGroupId, CampaignId, CommissionRuleId, GoalId, TenantId},
    kinds::{RuleKind, RuleStatus},
    money::{Currency, Money},
};

use super::{
    change::Change,
    commission::plan::{self, Criteria, NewTiers, Plan, Step},
    problem::{Problem, ProblemCode},
    text, transition,
};

/// Rules of one campaign, archived ones too: they are answered in one list.
pub const RULES_MAX: usize = 100;
/// The versions of one rule that are answered: the newest.
pub const VERSIONS_SHOWN: i32 = 100;

/// Digits of a percentage after the point.
const PERCENT_DIGITS: usize = 4;
/// Millionths of one percent.
const PPM_PER_PERCENT: i64 = 10_000;
/// 100 %.
const RATE_MAX_PPM: i64 = 1_000_000;

/// A rule in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub head: commission_rule::Model,
    pub terms: commission_rule_version::Model,
    /// What the version keeps as text.
    pub plan: Plan,
}

impl Rule {
    /// A head with a version of its terms.
    ///
    /// # Errors
    /// As the version's plan is not ours.
    pub fn read(
        head: commission_rule::Model,
        terms: commission_rule_version::Model,
    ) -> Result<Self, serde_json::Error> {
        let plan = Plan::read(terms.plan.as_deref())?;
        Ok(Self { head, terms, plan })
    }

    /// The rule's own terms: the step from nothing on.
    pub const fn base(&self) -> Step {
        Step { from: 0, flat_minor: self.terms.flat_minor, rate_ppm: self.terms.rate_ppm }
    }

    /// The step that begins at a threshold.
    pub fn step(&self, from: i64) -> Option<Step> {
        let steps = self.plan.tiers.iter().flat_map(|tiers| &tiers.steps).copied();
        std::iter::once(self.base()).chain(steps).find(|step| step.from == from)
    }
}

/// The last place of a rule.
pub const POSITION_MAX: i32 = 10_000;

/// What a rule pays, as a caller describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Terms {
    /// Per conversion.
    Flat(Money),
    /// Millionths of the sale amount.
    Percent(i64),
    /// Both.
    FlatPlusPercent { flat: Money, rate_ppm: i64 },
}

/// A new rule as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewRule {
    pub campaign_id: CampaignId,
    /// None means every goal without a rule of its own.
    pub goal_id: Option<GoalId>,
    pub name: String,
    pub is_default: bool,
    pub terms: Terms,
    // What came later is left out where it is not used, so that the hash of an older call's input stays what it was.
    /// The flat part is taken back with parts of the sale; else with the whole of it only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_flat_refunded_in_part: bool,
    /// The group that it is for; then it is no default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<AffiliateGroupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i32>,
    #[serde(skip_serializing_if = "Criteria::is_empty")]
    pub criteria: Criteria,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_months: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<NewTiers>,
}

/// Changes to a rule; none leaves a part as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RuleChange {
    pub name: Option<String>,
    /// Its place; no change of what past conversions earned, nor a version.
    #[serde(skip_serializing_if = "is_kept")]
    pub position: Change<i32>,
    // Each of these becomes a new version.
    pub terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_flat_refunded_in_part: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criteria: Option<Criteria>,
    #[serde(skip_serializing_if = "is_kept")]
    pub max_months: Change<i32>,
    #[serde(skip_serializing_if = "is_kept")]
    pub tiers: Change<NewTiers>,
}

fn is_kept<T>(change: &Change<T>) -> bool {
    matches!(change, Change::Keep)
}

impl Terms {
    pub const fn kind(&self) -> RuleKind {
        match self {
            Self::Flat(_) => RuleKind::Flat,
            Self::Percent(_) => RuleKind::Percent,
            Self::FlatPlusPercent { .. } => RuleKind::FlatPlusPercent,
        }
    }

    /// Flat part and rate, for a campaign in `currency`; `field` is where the terms stand in the input.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH` when the flat part is in another.
    pub fn amounts(&self, field: &[&str], currency: Currency) -> Result<(i64, i64), Problem> {
        let (flat, rate_ppm, part): (_, _, &[&str]) = match *self {
            Self::Flat(flat) => (flat, 0, &["flat", "currency"]),
            Self::Percent(rate_ppm) => (Money::zero(currency), rate_ppm, &[]),
            Self::FlatPlusPercent { flat, rate_ppm } => (flat, rate_ppm, &["flatPlusPercent", "flat", "currency"]),
        };
        if flat.currency != currency {
            let message = format!("the campaign's commissions are in {currency}");
            return Err(Problem::new(ProblemCode::CurrencyMismatch, &[field, part].concat(), message));
        }
        Ok((flat.amount_minor, rate_ppm))
    }

    /// The terms as a version of a rule of a campaign in `currency`, without a plan.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH` when the flat part is in another.
    pub fn version(
        &self,
        tenant_id: TenantId,
        rule_id: CommissionRuleId,
        version: i32,
        currency: Currency,
        created_at: Instant,
    ) -> Result<commission_rule_version::Model, Problem> {
        let (flat_minor, rate_ppm) = self.amounts(&["terms"], currency)?;
        Ok(commission_rule_version::Model {
            tenant_id,
            rule_id,
            version,
            kind: self.kind(),
            flat_minor,
            rate_ppm,
            is_flat_refunded_in_part: false,
            plan: None,
            created_at,
        })
    }
}

impl NewRule {
    /// Checks every field. The currency is checked with the campaign, by [`Terms::version`].
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT`.
    pub fn check(self) -> Result<Self, Problem> {
        let name = text::required(&["name"], &self.name, text::NAME_MAX)?;
        let position = self.position.map(position).transpose()?;
        let criteria = self.criteria.check(&["criteria"])?;
        let max_months = self.max_months.map(|months| plan::max_months(&["maxMonths"], months)).transpose()?;
        Ok(Self {
            name,
            position,
            criteria,
            max_months,
            is_default: self.is_default && self.group_id.is_none(),
            ..self
        })
    }

    /// Its plan, for a campaign in `currency`.
    ///
    /// # Errors
    /// As [`NewTiers::check`].
    pub fn plan(&self, currency: Currency) -> Result<Plan, Problem> {
        let tiers = self.tiers.as_ref().map(|tiers| tiers.check(&["tiers"], currency)).transpose()?;
        Ok(Plan { criteria: self.criteria.clone(), max_months: self.max_months, tiers })
    }
}

fn position(position: i32) -> Result<i32, Problem> {
    if (1..=POSITION_MAX).contains(&position) {
        Ok(position)
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, &["position"], format!("from 1 to {POSITION_MAX}")))
    }
}

impl RuleChange {
    /// The rule's head with the changes applied. Its `current_version` is the next one when there are new terms.
    ///
    /// # Errors
    /// `INVALID_TRANSITION` for an archived rule, `REQUIRED` or `INVALID_TEXT`.
    pub fn apply(&self, mut head: commission_rule::Model) -> Result<commission_rule::Model, Problem> {
        if head.status == RuleStatus::Archived {
            return Err(transition::refused(&["id"], "an archived rule cannot be changed"));
        }
        if let Some(name) = &self.name {
            head.name = text::required(&["name"], name, text::NAME_MAX)?;
        }
        match &self.position {
            Change::Keep => {}
            Change::Clear => head.position = None,
            Change::Set(place) => head.position = Some(position(*place)?),
        }
        if self.is_new_version() {
            head.current_version += 1;
        }
        Ok(head)
    }

    /// Whether conversions from now on are decided by something else than before.
    pub const fn is_new_version(&self) -> bool {
        self.terms.is_some()
            || self.is_flat_refunded_in_part.is_some()
            || self.criteria.is_some()
            || !matches!(self.max_months, Change::Keep)
            || !matches!(self.tiers, Change::Keep)
    }

    /// The next version of a rule: what is not changed is as in `current`. Its number is that of the changed `head`.
    ///
    /// # Errors
    /// The input's problems, `CURRENCY_MISMATCH`.
    pub fn version(
        &self,
        current: &Rule,
        head: &commission_rule::Model,
        currency: Currency,
        now: Instant,
    ) -> Result<(commission_rule_version::Model, Plan), Problem> {
        let mut next = match &self.terms {
            Some(terms) => terms.version(head.tenant_id, head.id, head.current_version, currency, now)?,
            None => commission_rule_version::Model {
                version: head.current_version,
                created_at: now,
                ..current.terms.clone()
            },
        };
        next.is_flat_refunded_in_part = self.is_flat_refunded_in_part.unwrap_or(current.terms.is_flat_refunded_in_part);
        // Written with the plan, below.
        next.plan = None;
        let mut plan = current.plan.clone();
        if let Some(criteria) = self.criteria.clone() {
            plan.criteria = criteria.check(&["criteria"])?;
        }
        match &self.max_months {
            Change::Keep => {}
            Change::Clear => plan.max_months = None,
            Change::Set(months) => plan.max_months = Some(plan::max_months(&["maxMonths"], *months)?),
        }
        match &self.tiers {
            Change::Keep => {}
            Change::Clear => plan.tiers = None,
            Change::Set(tiers) => plan.tiers = Some(tiers.check(&["tiers"], currency)?),
        }
        Ok((next, plan))
    }
}

/// Whether terms of this kind have a flat part.
pub const fn has_flat(kind: RuleKind) -> bool {
    !matches!(kind, RuleKind::Percent)
}

/// Whether terms of this kind have a share of the sale.
pub const fn has_percent(kind: RuleKind) -> bool {
    !matches!(kind, RuleKind::Flat)
}

/// Reads a percentage such as `12.5` as millionths: digits, at most one point, at most four digits after it.
///
/// # Errors
/// `INVALID_RATE` for anything else and for more than 100.
pub fn parse_percent(field: &[&str], text: &str) -> Result<i64, Problem> {
    parse_percent_up_to(field, text, RATE_MAX_PPM)
}

/// As [`parse_percent`], up to another share than the whole.
///
/// # Errors
/// As there.
pub fn parse_percent_up_to(field: &[&str], text: &str, most_ppm: i64) -> Result<i64, Problem> {
    percent_to_ppm(text, most_ppm).ok_or_else(|| {
        let most = format_percent(most_ppm);
        let message = format!(
            "a percentage from 0 to {most} with at most {PERCENT_DIGITS} digits after the point, such as `12.5`"
        );
        Problem::new(ProblemCode::InvalidRate, field, message)
    })
}

fn percent_to_ppm(text: &str, most_ppm: i64) -> Option<i64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if digits(fraction) && fraction.len() <= PERCENT_DIGITS => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    if !digits(whole) {
        return None;
    }
    let padding = PERCENT_DIGITS - fraction.len();
    let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', padding));
    let mut rate_ppm: i64 = 0;
    for digit in digits {
        // Bounded at every step, so that no number of digits overflows.
        rate_ppm = Some(rate_ppm * 10 + i64::from(digit - b'0')).filter(|rate| *rate <= most_ppm)?;
    }
    Some(rate_ppm)
}

/// Prints millionths as a percentage without needless zeros: 125 000 is `12.5`.
pub fn format_percent(rate_ppm: i64) -> String {
    let (whole, fraction) = (rate_ppm / PPM_PER_PERCENT, rate_ppm % PPM_PER_PERCENT);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:0>PERCENT_DIGITS$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// An archived rule stays so: a new one takes its place.
const TRANSITIONS: &[(RuleStatus, RuleStatus)] = &[(RuleStatus::Active, RuleStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: RuleStatus, to: RuleStatus) -> Result<RuleStatus, Problem> {
    transition::step(TRANSITIONS, "a commission rule", from, to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_reads_as_millionths() {
        for (text, ppm, printed) in [
            ("12.5", 125_000, "12.5"),
            ("0", 0, "0"),
            ("100", 1_000_000, "100"),
            ("100.0000", 1_000_000, "100"),
            ("0.0001", 1, "0.0001"),
            ("007", 70_000, "7"),
            ("33.3333", 333_333, "33.3333"),
            ("10", 100_000, "10"),
        ] {
            assert_eq!(parse_percent(&["percent"], text), Ok(ppm), "{text}");
            assert_eq!(format_percent(ppm), printed, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_percentage() {
        for text in [
            "",
            ".",
            "5.",
            ".5",
            "-1",
            "+1",
            "100.0001",
            "101",
            "1.00000",
            "1e1",
            "1,5",
            "5 ",
            "5%",
            "٣",
            "1.2.3",
            "99999999999999999999999999",
        ] {
            let code = parse_percent(&["percent"], text).map_err(|problem| problem.code);
            assert_eq!(code, Err(ProblemCode::InvalidRate), "{text}");
        }
    }

    proptest! {
        #[test]
        fn percent_round_trips(ppm in 0..=RATE_MAX_PPM) {
            prop_assert_eq!(parse_percent(&[], &format_percent(ppm)), Ok(ppm));
        }

        #[test]
        fn percent_of_any_text_is_refused_or_in_range(text in "[0-9.]{0,9}|\\PC*") {
            if let Ok(ppm) = parse_percent(&[], &text) {
                prop_assert!((0..=RATE_MAX_PPM).contains(&ppm));
            }
        }
    }

    #[test]
    fn version_holds_the_parts_of_its_kind_and_refuses_other_currencies() {
        let [eur, usd]: [Currency; 2] = ["EUR", "USD"].map(|code| code.parse().expect("known"));
        let version = |terms: Terms| {
            terms
                .version(TenantId::default(), CommissionRuleId::default(), 1, eur, Instant::default())
                .map(|row| (row.kind, row.flat_minor, row.rate_ppm))
                .map_err(|problem| (problem.code, problem.field.join(".")))
        };
        assert_eq!(version(Terms::Flat(Money::new(250, eur))), Ok((RuleKind::Flat, 250, 0)));
        assert_eq!(version(Terms::Percent(125_000)), Ok((RuleKind::Percent, 0, 125_000)));
        let both = |currency| Terms::FlatPlusPercent { flat: Money::new(100, currency), rate_ppm: 1 };
        assert_eq!(version(both(eur)), Ok((RuleKind::FlatPlusPercent, 100, 1)));
        let mismatch = |field: &str| Err((ProblemCode::CurrencyMismatch, field.to_owned()));
        assert_eq!(version(Terms::Flat(Money::new(250, usd))), mismatch("terms.flat.currency"));
        assert_eq!(version(both(usd)), mismatch("terms.flatPlusPercent.flat.currency"));
    }

    #[test]
    fn only_new_terms_make_a_new_version_and_archived_rules_stay() {
        let head = |status| commission_rule::Model {
            tenant_id: TenantId::default(),
            id: CommissionRuleId::default(),
            campaign_id: CampaignId::default(),
            goal_id: None,
            name: "old".to_owned(),
            is_default: true,
            group_id: None,
            position: None,
            current_version: 3,
            status,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        };
        let rename = RuleChange { name: Some("new".to_owned()), ..RuleChange::default() };
        let renamed = rename.apply(head(RuleStatus::Active)).expect("valid");
        assert_eq!((renamed.name.as_str(), renamed.current_version), ("new", 3));
        let terms = RuleChange { terms: Some(Terms::Percent(1)), ..RuleChange::default() };
        assert_eq!(terms.apply(head(RuleStatus::Active)).map(|head| head.current_version), Ok(4));
        let refunds = RuleChange { is_flat_refunded_in_part: Some(true), ..RuleChange::default() };
        assert_eq!(refunds.apply(head(RuleStatus::Active)).map(|head| head.current_version), Ok(4));
        assert!(terms.apply(head(RuleStatus::Archived)).is_err());
        assert!(transition(RuleStatus::Archived, RuleStatus::Active).is_err());
        assert!(transition(RuleStatus::Active, RuleStatus::Archived).is_ok());
    }
}
