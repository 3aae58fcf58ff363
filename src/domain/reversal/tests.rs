//! Changes of conversions: the worked examples, and the laws over any sequence of them.

use proptest::prelude::*;
use tributary_entity::{
    Instant,
    ids::{CampaignId, CommissionRuleId, ConversionChangeId, ConversionId, TenantId},
    kinds::ConversionReason,
};
use uuid::Uuid;

use super::*;

const CURRENCIES: [&str; 3] = ["EUR", "JPY", "KWD"];

fn currency(code: &str) -> Currency {
    code.parse().expect("known")
}

fn conversion(sale_minor: i64, code: &str, status: ConversionStatus) -> conversion::Model {
    let at = Instant::default();
    conversion::Model {
        tenant_id: TenantId::default(),
        id: ConversionId::default(),
        campaign_id: Some(CampaignId::default()),
        goal_id: None,
        goal_code: "sale".to_owned(),
        affiliate_id: Some(AffiliateId::default()),
        click_id: None,
        sent_click_id: None,
        visitor_id: None,
        coupon_code: None,
        kept_back: false,
        held_until: None,
        order_id: None,
        unique_order_id: None,
        unique_click_id: None,
        customer_id: None,
        product_id: None,
        status,
        reason: None,
        sale_minor,
        sale_currency: currency(code),
        sale_adjusted_minor: 0,
        refunded_minor: 0,
        commission_minor: 0,
        commission_currency: currency(code),
        rated_sale_minor: None,
        fx: None,
        labels: None,
        occurred_at: at,
        recorded_at: at,
        approved_at: None,
        payable_at: None,
        version: 1,
        updated_at: at,
    }
}

fn commission(number: u128, amount_minor: i64, code: &str) -> commission::Model {
    commission::Model {
        tenant_id: TenantId::default(),
        id: CommissionId::from_uuid(Uuid::from_u128(number)),
        conversion_id: ConversionId::default(),
        level: 0,
        base_affiliate_id: None,
        affiliate_id: AffiliateId::from_uuid(Uuid::from_u128(number)),
        status: CommissionStatus::Pending,
        amount_minor,
        currency: currency(code),
        adjusted_minor: 0,
        reversed_minor: 0,
        rule_id: CommissionRuleId::default(),
        rule_version: 1,
        explanation: String::new(),
        clamp: None,
        payable_at: None,
        released_at: None,
        created_at: Instant::default(),
    }
}

/// What a rule's terms take back with the whole sale only, and all that they give.
type Terms = (i64, i64, bool);

const fn terms(flat_minor: i64, rate_ppm: i64, is_flat_refunded_in_part: bool) -> Terms {
    (flat_minor, rate_ppm, is_flat_refunded_in_part)
}

fn weights((flat_minor, rate_ppm, in_part): Terms, sale_minor: i64) -> (i128, i128) {
    let flat = i128::from(flat_minor) * 1_000_000;
    let whole = flat + i128::from(sale_minor) * i128::from(rate_ppm);
    (if in_part { 0 } else { flat }, whole)
}

/// A conversion under change: what the program would keep of it.
struct Books {
    row: conversion::Model,
    commissions: Vec<commission::Model>,
    terms: Terms,
    events: Vec<(conversion_change::Model, Vec<conversion_change_line::Model>, bool)>,
}

impl Books {
    fn new(code: &str, sale_minor: i64, amounts: &[i64], terms: Terms) -> Self {
        Self {
            row: conversion(sale_minor, code, ConversionStatus::Approved),
            commissions: (1..).zip(amounts).map(|(number, amount)| commission(number, *amount, code)).collect(),
            terms,
            events: Vec::new(),
        }
    }

    fn apply(&mut self, effect: &Effect) {
        self.row.status = effect.status;
        self.row.refunded_minor -= effect.sale_minor;
        for line in &effect.lines {
            let row = self.commissions.iter_mut().find(|row| row.id == line.commission_id).expect("is there");
            row.reversed_minor -= line.amount_minor;
        }
    }

    /// What each commission lost.
    fn refund(&mut self, amount_minor: Option<i64>) -> Result<Vec<i64>, ProblemCode> {
        let sale = self.row.sale_minor;
        let earned: Vec<Earned<'_>> =
            self.commissions.iter().map(|row| Earned::of(row, weights(self.terms, sale)).expect("in range")).collect();
        let amount = amount_minor.map(|amount| Money::new(amount, self.row.sale_currency));
        let effect = reverse(&self.row, &earned, amount).map_err(|problem| problem.code)?;
        let change = conversion_change::Model {
            tenant_id: TenantId::default(),
            id: ConversionChangeId::default(),
            conversion_id: self.row.id,
            version: 1,
            kind: ConversionChangeKind::Reversal,
            reason: ConversionReason::Refund,
            sale_minor: effect.sale_minor,
            currency: self.row.sale_currency,
            undoes_id: None,
            reference: None,
            journal_id: None,
            actor: String::new(),
            note: None,
            recorded_at: Instant::default(),
        };
        let stored = effect.lines.iter().map(|line| conversion_change_line::Model {
            tenant_id: TenantId::default(),
            change_id: change.id,
            commission_id: line.commission_id,
            affiliate_id: line.affiliate_id,
            amount_minor: line.amount_minor,
            currency: line.currency,
        });
        self.events.push((change.clone(), stored.collect(), false));
        self.apply(&effect);
        let lost = |row: &commission::Model| {
            effect.lines.iter().filter(|line| line.commission_id == row.id).map(|line| line.amount_minor).sum()
        };
        Ok(self.commissions.iter().map(lost).collect())
    }

    fn undo(&mut self, place: usize) {
        let (change, lines, undone) = &mut self.events[place];
        assert!(!std::mem::replace(undone, true), "once");
        let effect = undo(&self.row, &self.commissions, change, lines, ConversionStatus::Approved).expect("may be");
        self.apply(&effect);
    }

    fn target(&self, row: &commission::Model) -> i64 {
        Earned::of(row, weights(self.terms, self.row.sale_minor))
            .expect("in range")
            .target_minor(self.row.sale_minor, self.row.refunded_minor)
    }
}

#[test]
fn partial_refunds_post_the_difference_to_what_was_taken() {
    let mut books = Books::new("EUR", 4_900, &[1_470], terms(0, 300_000, false));
    let lost: Vec<i64> =
        [1_000, 1_000, 2_900].iter().flat_map(|amount| books.refund(Some(*amount)).expect("may be")).collect();
    assert_eq!(lost, [-300, -300, -870]);
    assert_eq!(books.row.status, ConversionStatus::Reversed);
    assert_eq!(books.refund(None), Err(ProblemCode::InvalidTransition), "a second full one");
}

#[test]
fn more_than_is_left_and_nothing_are_refused() {
    let mut books = Books::new("EUR", 4_900, &[1_470], terms(0, 300_000, false));
    assert_eq!(books.refund(Some(0)), Err(ProblemCode::OutOfRange));
    assert_eq!(books.refund(Some(4_901)), Err(ProblemCode::OutOfRange));
    books.refund(Some(4_000)).expect("may be");
    assert_eq!(books.refund(Some(901)), Err(ProblemCode::OutOfRange));
    assert_eq!(books.refund(None), Ok(vec![-270]));
}

#[test]
fn fixed_part_goes_with_the_whole_unless_the_rule_says_otherwise() {
    let mut flat = Books::new("EUR", 10_000, &[500], terms(500, 0, false));
    assert_eq!(flat.refund(Some(9_999)), Ok(vec![0]));
    assert_eq!(flat.refund(None), Ok(vec![-500]));
    let mut in_part = Books::new("EUR", 10_000, &[500], terms(500, 0, true));
    assert_eq!(in_part.refund(Some(2_500)), Ok(vec![-125]));
    // 5.00 + 10 % of 100.00, shared by two: half of the percentage is a quarter of all.
    let mut mixed = Books::new("EUR", 10_000, &[900, 600], terms(500, 100_000, false));
    assert_eq!(mixed.refund(Some(5_000)), Ok(vec![-300, -200]));
    assert_eq!(mixed.refund(None), Ok(vec![-600, -400]));
}

#[test]
fn lead_is_taken_back_as_a_whole() {
    let mut lead = Books::new("EUR", 0, &[250], terms(250, 0, false));
    assert_eq!(lead.refund(Some(1)), Err(ProblemCode::OutOfRange));
    assert_eq!(lead.refund(None), Ok(vec![-250]));
    assert_eq!(lead.row.status, ConversionStatus::Reversed);
    lead.undo(0);
    assert_eq!((lead.row.status, lead.commissions[0].reversed_minor), (ConversionStatus::Approved, 0));
}

#[test]
fn refused_conversion_has_nothing_to_take_back_or_to_adjust() {
    let row = conversion(100, "EUR", ConversionStatus::Rejected);
    assert_eq!(reverse(&row, &[], None).map_err(|problem| problem.code), Err(ProblemCode::InvalidTransition));
    let sale = Money::new(50, row.sale_currency);
    assert_eq!(adjust(&row, sale).map_err(|problem| problem.code), Err(ProblemCode::InvalidTransition));
}

#[test]
fn sale_is_adjusted_to_more_than_what_was_refunded() {
    let mut row = conversion(100, "EUR", ConversionStatus::Approved);
    let eur = |amount| Money::new(amount, row.sale_currency);
    let [forty, hundred, zero, more] = [40, 100, 0, 150].map(eur);
    assert_eq!(adjust(&row, forty), Ok(-60));
    assert_eq!(adjust(&row, zero), Ok(-100));
    assert_eq!(adjust(&row, more), Ok(50));
    assert!(adjust(&row, hundred).is_err(), "it is that");
    row.refunded_minor = 40;
    assert!(adjust(&row, forty).is_err(), "the rest is a refund");
    let taken = commission::Model { reversed_minor: 4, ..commission(1, 10, "EUR") };
    assert_eq!(adjusted(&taken, 5).map(|line| line.amount_minor), Some(-5));
    assert_eq!(adjusted(&taken, 3).map(|line| line.amount_minor), Some(-6), "never below what was taken");
    assert_eq!(adjusted(&taken, 10), None);
}

#[derive(Clone, Debug)]
enum Act {
    /// Millionths of what is left.
    Refund(i64),
    RefundAll,
    /// One of those that are not undone.
    Undo(prop::sample::Index),
    UndoLast,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1i64..=1_000_000).prop_map(Act::Refund),
        1 => Just(Act::RefundAll),
        2 => any::<prop::sample::Index>().prop_map(Act::Undo),
        1 => Just(Act::UndoLast),
    ];
    prop::collection::vec(act, 1..30)
}

proptest! {
    #[test]
    fn reversals_never_exceed_the_commission_and_come_to_the_target(
        code in prop::sample::select(&CURRENCIES[..]),
        sale in 0i64..=1_000_000_000,
        amounts in prop::collection::vec(0i64..=100_000_000, 1..5),
        (flat, rate, in_part) in (0i64..=10_000, 0i64..=1_000_000, any::<bool>()),
        acts in acts(),
    ) {
        let mut books = Books::new(code, sale, &amounts, terms(flat, rate, in_part));
        // Whether reversals were only undone from the last one back.
        let mut in_order = true;
        for act in acts {
            let before: Vec<i64> = books.commissions.iter().map(|row| row.reversed_minor).collect();
            let open: Vec<usize> = (0..books.events.len()).filter(|place| !books.events[*place].2).collect();
            match act {
                Act::Refund(part) => {
                    let left = sale_left(&books.row);
                    let amount = i64::try_from(i128::from(left) * i128::from(part) / 1_000_000).expect("in range");
                    let result = books.refund(Some(amount));
                    prop_assert_eq!(result.is_ok(), amount > 0);
                }
                Act::RefundAll => _ = books.refund(None),
                Act::Undo(index) if !open.is_empty() => {
                    let place = *index.get(&open);
                    in_order &= Some(&place) == open.last();
                    books.undo(place);
                }
                Act::UndoLast if !open.is_empty() => books.undo(open[open.len() - 1]),
                Act::Undo(_) | Act::UndoLast => {}
            }
            let row = &books.row;
            prop_assert!((0..=row.sale_minor).contains(&row.refunded_minor));
            let live = books.events.iter().filter(|(_, _, undone)| !undone).count();
            for (commission, before) in books.commissions.iter().zip(before) {
                let taken = commission.reversed_minor;
                prop_assert!((0..=commission.amount_minor).contains(&taken));
                if row.status == ConversionStatus::Reversed {
                    prop_assert_eq!(taken, commission.amount_minor);
                } else if live == 0 {
                    prop_assert_eq!(taken, 0);
                } else if in_order {
                    prop_assert_eq!(taken, books.target(commission));
                } else if matches!(act, Act::Refund(_)) {
                    prop_assert_eq!(taken, books.target(commission).max(before));
                }
            }
        }
    }

    #[test]
    fn refunds_of_a_commission_that_came_later_take_what_they_would_have_taken(
        sale in 1i64..=1_000_000, amount in 0i64..=1_000_000, cuts in prop::collection::vec(1i64..=1_000, 0..10),
    ) {
        let mut books = Books::new("EUR", sale, &[amount], terms(0, 100_000, false));
        let row = books.commissions[0].clone();
        let mut refunds = Vec::new();
        let mut taken = Vec::new();
        for cut in cuts {
            if let Ok(lost) = books.refund(Some(cut)) {
                refunds.push(cut);
                taken.push(-lost[0]);
            }
        }
        let earned = Earned::of(&row, weights(books.terms, sale)).expect("in range");
        prop_assert_eq!(replay(&earned, sale, &refunds), taken);
    }
}
