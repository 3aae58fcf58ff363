//! The ledger's chart, its recipes, and the journal that balances or does not exist.

mod changes;
mod exchange;
mod money;

use std::collections::BTreeMap;

use tributary_entity::{
    ids::{AccountId, AffiliateId, ConversionId, TenantId},
    kinds::{JournalKind, PayoutMethod},
    money::{Currency, Money},
    payout,
};
use uuid::Uuid;

pub use changes::{Adjustment, adjusted, reversed};
pub use exchange::fx_converted;
pub use money::{deposited, processor_fee, written_off};

use super::payout_deductions::net_minor;

/// Accounts of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Code {
    /// Cash at a processor. Dr.
    Cash = 1000,
    /// Clawback debt of an affiliate. Dr.
    AffiliateReceivable = 1200,
    /// What one currency owes another after conversions between them. Either side.
    FxPosition = 1900,
    /// Earned and in the hold period. Cr.
    AffiliatePending = 2000,
    /// Earned and payable; never below zero. Cr.
    AffiliateAvailable = 2010,
    /// Payouts under way: zero once each is final. Cr.
    PayoutClearing = 2020,
    /// Tax withheld from payouts, owed to the authorities. Cr.
    WithholdingPayable = 2100,
    /// What the platform takes. Cr.
    PlatformFeePayable = 2200,
    /// What the tenant paid in. Cr.
    TenantFunding = 3000,
    /// What the tenant spends on commissions. Dr.
    CommissionExpense = 5000,
    /// What the tenant spends on bonuses. Dr.
    BonusExpense = 5010,
    /// What the tenant spends on overrides of parents. Dr.
    OverrideExpense = 5020,
    /// What the tenant spends, or gets back, because commissions were changed later. Dr.
    AdjustmentExpense = 5030,
    /// What processors take. Dr.
    ProcessorFee = 5100,
    /// What conversions between currencies cost or bring. Dr.
    FxGainLoss = 5200,
    /// Debts of affiliates that were given up. Dr.
    ClawbackWriteOff = 5300,
    /// What rounding left. Dr.
    Rounding = 5900,
}

/// On which side an account grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Debit,
    Credit,
}

impl Code {
    /// The whole chart.
    pub const ALL: &'static [Self] = &[
        Self::Cash,
        Self::AffiliateReceivable,
        Self::FxPosition,
        Self::AffiliatePending,
        Self::AffiliateAvailable,
        Self::PayoutClearing,
        Self::WithholdingPayable,
        Self::PlatformFeePayable,
        Self::TenantFunding,
        Self::CommissionExpense,
        Self::BonusExpense,
        Self::OverrideExpense,
        Self::AdjustmentExpense,
        Self::ProcessorFee,
        Self::FxGainLoss,
        Self::ClawbackWriteOff,
        Self::Rounding,
    ];

    /// The number the database and the API show.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The account with a number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Cash => "cash at processor",
            Self::AffiliateReceivable => "affiliate receivable",
            Self::FxPosition => "FX position",
            Self::AffiliatePending => "affiliate pending",
            Self::AffiliateAvailable => "affiliate available",
            Self::PayoutClearing => "payout clearing",
            Self::WithholdingPayable => "withholding payable",
            Self::PlatformFeePayable => "platform fee payable",
            Self::TenantFunding => "tenant funding",
            Self::CommissionExpense => "commission expense",
            Self::BonusExpense => "bonus expense",
            Self::OverrideExpense => "override expense",
            Self::AdjustmentExpense => "adjustment expense",
            Self::ProcessorFee => "processor fee",
            Self::FxGainLoss => "FX gain or loss",
            Self::ClawbackWriteOff => "clawback write-off",
            Self::Rounding => "rounding",
        }
    }

    pub const fn side(self) -> Side {
        match self {
            Self::AffiliatePending
            | Self::AffiliateAvailable
            | Self::PayoutClearing
            | Self::WithholdingPayable
            | Self::PlatformFeePayable
            | Self::TenantFunding => Side::Credit,
            Self::Cash
            | Self::AffiliateReceivable
            | Self::FxPosition
            | Self::CommissionExpense
            | Self::BonusExpense
            | Self::OverrideExpense
            | Self::AdjustmentExpense
            | Self::ProcessorFee
            | Self::FxGainLoss
            | Self::ClawbackWriteOff
            | Self::Rounding => Side::Debit,
        }
    }

    /// Whether its balance decides something, and so is kept and guarded; the others are sums of their entries.
    pub const fn is_guarded(self) -> bool {
        matches!(self, Self::AffiliateReceivable | Self::AffiliatePending | Self::AffiliateAvailable)
    }
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Tenant,
    Affiliate(AffiliateId),
    Processor(PayoutMethod),
}

/// What makes an account: its id follows from it, so that posting needs no look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    pub code: Code,
    pub owner: Owner,
    pub currency: Currency,
}

impl AccountKey {
    pub const fn of_affiliate(code: Code, affiliate_id: AffiliateId, currency: Currency) -> Self {
        Self { code, owner: Owner::Affiliate(affiliate_id), currency }
    }

    pub const fn of_tenant(code: Code, currency: Currency) -> Self {
        Self { code, owner: Owner::Tenant, currency }
    }

    pub const fn of_processor(code: Code, processor: PayoutMethod, currency: Currency) -> Self {
        Self { code, owner: Owner::Processor(processor), currency }
    }

    /// A name-based UUID (version 5) in the tenant's namespace.
    pub fn id(&self, tenant_id: TenantId) -> AccountId {
        let owner = match self.owner {
            Owner::Tenant => String::new(),
            Owner::Affiliate(id) => id.to_string(),
            Owner::Processor(processor) => processor.to_string(),
        };
        let name = format!("{}/{owner}/{}", self.code.number(), self.currency);
        AccountId::from_uuid(Uuid::new_v5(&tenant_id.uuid(), name.as_bytes()))
    }
}

/// Which journals a list holds.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    pub kinds: Option<Vec<JournalKind>>,
    pub conversion_ids: Option<Vec<ConversionId>>,
    pub account_ids: Option<Vec<AccountId>>,
}

/// A line of the trial balance: all accounts of one code in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeTotal {
    pub code: Code,
    pub currency: Currency,
    pub debit_minor: i64,
    pub credit_minor: i64,
}

/// One line of a journal: debit positive, credit negative, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub account: AccountKey,
    pub amount_minor: i64,
}

/// A balanced set of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    kind: JournalKind,
    business_key: String,
    conversion_id: Option<ConversionId>,
    lines: Vec<Line>,
}

/// The lines of a journal do not sum to zero in a currency, or a sum is out of range: a defect of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not balance")]
pub struct Unbalanced;

impl Journal {
    /// A journal, if it balances per currency. Lines of zero are left out; one without lines is nothing to post.
    ///
    /// # Errors
    /// [`Unbalanced`].
    pub fn new(
        kind: JournalKind,
        business_key: String,
        conversion_id: Option<ConversionId>,
        lines: Vec<Line>,
    ) -> Result<Option<Self>, Unbalanced> {
        let lines: Vec<Line> = lines.into_iter().filter(|line| line.amount_minor != 0).collect();
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for line in &lines {
            *sums.entry(line.account.currency).or_default() += i128::from(line.amount_minor);
        }
        if sums.values().any(|sum| *sum != 0) {
            return Err(Unbalanced);
        }
        Ok((!lines.is_empty()).then_some(Self { kind, business_key, conversion_id, lines }))
    }

    pub const fn kind(&self) -> JournalKind {
        self.kind
    }

    pub fn business_key(&self) -> &str {
        &self.business_key
    }

    pub const fn conversion_id(&self) -> Option<ConversionId> {
        self.conversion_id
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// What an affiliate earns from a conversion, and on which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    pub affiliate_id: AffiliateId,
    /// As in the commission: 0 is the affiliate's own.
    pub level: i32,
    pub amount: Money,
}

/// Which expense a commission is: 5000 for what an affiliate earns itself, at level 0, or 5020 for what its parents earn on
/// top.
pub const fn expense_of(level: i32) -> Code {
    if level == 0 { Code::CommissionExpense } else { Code::OverrideExpense }
}

/// Conversion approved: Dr 5000, or 5020 for an override, Cr 2000 of each affiliate.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn conversion_approved(conversion_id: ConversionId, commissions: &[Earned]) -> Result<Option<Journal>, Unbalanced> {
    let lines = commissions
        .iter()
        .flat_map(|Earned { affiliate_id, level, amount: money }| {
            [
                Line {
                    account: AccountKey::of_tenant(expense_of(*level), money.currency),
                    amount_minor: money.amount_minor,
                },
                Line {
                    account: AccountKey::of_affiliate(Code::AffiliatePending, *affiliate_id, money.currency),
                    amount_minor: -money.amount_minor,
                },
            ]
        })
        .collect();
    Journal::new(JournalKind::ConversionApproved, conversion_id.to_string(), Some(conversion_id), lines)
}

/// Debts of affiliates (account 1200) that credits to them pay off as they go.
pub type Debts = BTreeMap<(AffiliateId, Currency), i64>;

/// Credits an affiliate: 1200 up to the debt, the rest 2010. `debts` is reduced by what was paid off.
pub(super) fn credit_affiliate(affiliate_id: AffiliateId, money: Money, debts: &mut Debts) -> [Line; 2] {
    let account = |code| AccountKey::of_affiliate(code, affiliate_id, money.currency);
    let debt = debts.entry((affiliate_id, money.currency)).or_default();
    let netted = money.amount_minor.min(*debt);
    *debt -= netted;
    [
        Line { account: account(Code::AffiliateReceivable), amount_minor: -netted },
        Line { account: account(Code::AffiliateAvailable), amount_minor: netted - money.amount_minor },
    ]
}

/// Hold released: Dr 2000, Cr 1200 up to the debt, the rest 2010. `debts` is reduced by what was paid off.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn hold_released(
    conversion_id: ConversionId,
    commissions: &[(AffiliateId, Money)],
    debts: &mut Debts,
) -> Result<Option<Journal>, Unbalanced> {
    let lines = commissions
        .iter()
        .flat_map(|(affiliate_id, money)| {
            let pending = AccountKey::of_affiliate(Code::AffiliatePending, *affiliate_id, money.currency);
            let [debt, available] = credit_affiliate(*affiliate_id, *money, debts);
            [Line { account: pending, amount_minor: money.amount_minor }, debt, available]
        })
        .collect();
    Journal::new(JournalKind::HoldReleased, conversion_id.to_string(), Some(conversion_id), lines)
}

/// What affiliates have available (account 2010), which debits use up as they go.
pub type Available = BTreeMap<(AffiliateId, Currency), i64>;

/// Debits an affiliate: 2010 as far as it goes, the rest 1200.
pub(super) fn debit_affiliate(
    affiliate_id: AffiliateId,
    amount_minor: i64,
    currency: Currency,
    debts: &mut Debts,
    available: &mut Available,
) -> [Line; 2] {
    let account = |code| AccountKey::of_affiliate(code, affiliate_id, currency);
    let have = available.entry((affiliate_id, currency)).or_default();
    let covered = amount_minor.min(*have);
    *have -= covered;
    *debts.entry((affiliate_id, currency)).or_default() += amount_minor - covered;
    [
        Line { account: account(Code::AffiliateAvailable), amount_minor: covered },
        Line { account: account(Code::AffiliateReceivable), amount_minor: amount_minor - covered },
    ]
}

/// A payout's line on an account of its processor: debit positive.
const fn on_processor(code: Code, payout: &payout::Model, amount_minor: i64) -> Line {
    Line { account: AccountKey::of_processor(code, payout.method, payout.currency), amount_minor }
}

/// Payout initiated: Dr 2010 gross, Cr 2020 net, 2100 the tax that is withheld, 5100 what the affiliate bears of the cost.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn payout_initiated(payout: &payout::Model) -> Result<Option<Journal>, Unbalanced> {
    let available = AccountKey::of_affiliate(Code::AffiliateAvailable, payout.affiliate_id, payout.currency);
    let lines = vec![
        Line { account: available, amount_minor: payout.gross_minor },
        on_processor(Code::PayoutClearing, payout, -net_minor(payout)),
        Line {
            account: AccountKey::of_tenant(Code::WithholdingPayable, payout.currency),
            amount_minor: -payout.tax_minor,
        },
        Line { account: AccountKey::of_tenant(Code::ProcessorFee, payout.currency), amount_minor: -payout.fee_minor },
    ];
    Journal::new(JournalKind::PayoutInitiated, payout.id.to_string(), None, lines)
}

/// Payout settled: Dr 2020, Cr 1000.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn payout_settled(payout: &payout::Model) -> Result<Option<Journal>, Unbalanced> {
    let lines = vec![
        on_processor(Code::PayoutClearing, payout, net_minor(payout)),
        on_processor(Code::Cash, payout, -net_minor(payout)),
    ];
    Journal::new(JournalKind::PayoutSettled, format!("{}:settle", payout.id), None, lines)
}

/// Payout failed, or cancelled after it was initiated: Dr 2020, and 2100 and 5100 what was taken off; Cr 1200 up to the debt,
/// the rest 2010.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn payout_failed(payout: &payout::Model, debts: &mut Debts) -> Result<Option<Journal>, Unbalanced> {
    let lines = given_back(Code::PayoutClearing, payout, payout.fee_minor, debts);
    Journal::new(JournalKind::PayoutFailed, format!("{}:fail", payout.id), None, lines)
}

/// Payout returned after settling: Dr 1000, and 2100 the tax; Cr 1200 up to the debt, the rest 2010. What the payment cost was
/// spent. `reference` is the return's.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn payout_returned(
    payout: &payout::Model,
    reference: &str,
    debts: &mut Debts,
) -> Result<Option<Journal>, Unbalanced> {
    let lines = given_back(Code::Cash, payout, 0, debts);
    Journal::new(JournalKind::PayoutReturned, format!("{}:return:{reference}", payout.id), None, lines)
}

/// What a payout paid, its tax and `fee_minor`, from `code` and where they went, to its affiliate.
fn given_back(code: Code, payout: &payout::Model, fee_minor: i64, debts: &mut Debts) -> Vec<Line> {
    let of_tenant = |code, amount_minor| Line { account: AccountKey::of_tenant(code, payout.currency), amount_minor };
    let net_minor = net_minor(payout);
    let amount = Money::new(net_minor + payout.tax_minor + fee_minor, payout.currency);
    let [debt, available] = credit_affiliate(payout.affiliate_id, amount, debts);
    vec![
        on_processor(code, payout, net_minor),
        of_tenant(Code::WithholdingPayable, payout.tax_minor),
        of_tenant(Code::ProcessorFee, fee_minor),
        debt,
        available,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::payout::testing::payout;

    fn usd(amount_minor: i64) -> Money {
        Money::new(amount_minor, "USD".parse().expect("known"))
    }

    fn affiliate(number: u128) -> AffiliateId {
        AffiliateId::from_uuid(Uuid::from_u128(number))
    }

    fn earned(number: u128, level: i32, amount_minor: i64) -> Earned {
        Earned { affiliate_id: affiliate(number), level, amount: usd(amount_minor) }
    }

    fn conversion() -> ConversionId {
        ConversionId::from_uuid(Uuid::from_u128(1))
    }

    fn amounts(journal: &Journal) -> Vec<(i32, i64)> {
        journal.lines().iter().map(|line| (line.account.code.number(), line.amount_minor)).collect()
    }

    #[test]
    fn approval_debits_expense_and_credits_pending() {
        let lines = [earned(1, 0, 250), earned(2, 1, 25)];
        let journal = conversion_approved(conversion(), &lines).expect("balances").expect("lines");
        assert_eq!(amounts(&journal), [(5000, 250), (2000, -250), (5020, 25), (2000, -25)]);
    }

    #[test]
    fn release_pays_the_debt_first() {
        let mut debts = Debts::from([((affiliate(1), usd(0).currency), 100)]);
        let release = |amount, debts: &mut Debts| {
            let journal = hold_released(conversion(), &[(affiliate(1), usd(amount))], debts);
            amounts(&journal.expect("balances").expect("lines"))
        };
        assert_eq!(release(60, &mut debts), [(2000, 60), (1200, -60)]);
        assert_eq!(release(60, &mut debts), [(2000, 60), (1200, -40), (2010, -20)]);
        assert_eq!(release(60, &mut debts), [(2000, 60), (2010, -60)]);
    }

    #[test]
    fn payout_goes_through_clearing_to_cash() {
        let payout = payout(100);
        let posted = |journal: Result<Option<Journal>, Unbalanced>| {
            let journal = journal.expect("balances").expect("lines");
            (journal.business_key().trim_start_matches(&payout.id.to_string()).to_owned(), amounts(&journal))
        };
        let owing = |debt| Debts::from([((affiliate(1), usd(0).currency), debt)]);
        assert_eq!(posted(payout_initiated(&payout)), (String::new(), vec![(2010, 100), (2020, -100)]));
        assert_eq!(posted(payout_settled(&payout)), (":settle".to_owned(), vec![(2020, 100), (1000, -100)]));
        let failed = posted(payout_failed(&payout, &mut owing(30)));
        assert_eq!(failed, (":fail".to_owned(), vec![(2020, 100), (1200, -30), (2010, -70)]));
        let returned = posted(payout_returned(&payout, "R1", &mut owing(100)));
        assert_eq!(returned, (":return:R1".to_owned(), vec![(1000, 100), (1200, -100)]));
        let returned = posted(payout_returned(&payout, "R1", &mut Debts::new()));
        assert_eq!(returned.1, [(1000, 100), (2010, -100)]);
    }

    #[test]
    fn tax_and_fee_leave_with_the_payout_and_come_back_with_it() {
        let payout = payout::Model { tax_minor: 15, fee_minor: 5, ..payout(100) };
        let posted =
            |journal: Result<Option<Journal>, Unbalanced>| amounts(&journal.expect("balances").expect("lines"));
        assert_eq!(posted(payout_initiated(&payout)), [(2010, 100), (2020, -80), (2100, -15), (5100, -5)]);
        assert_eq!(posted(payout_settled(&payout)), [(2020, 80), (1000, -80)]);
        let mut owing = Debts::from([((affiliate(1), usd(0).currency), 30)]);
        let failed = posted(payout_failed(&payout, &mut owing));
        assert_eq!(failed, [(2020, 80), (2100, 15), (5100, 5), (1200, -30), (2010, -70)]);
        let returned = posted(payout_returned(&payout, "R1", &mut Debts::new()));
        assert_eq!(returned, [(1000, 80), (2100, 15), (2010, -95)]);
    }

    #[test]
    fn adjustment_goes_where_the_money_is() {
        let owner = (affiliate(1), usd(0).currency);
        let (mut debts, mut available) = (Debts::from([(owner, 0)]), Available::from([(owner, 70)]));
        let mut adjust = |amount, in_hold| {
            let adjustments = [Adjustment { affiliate_id: affiliate(1), amount: usd(amount), in_hold }];
            let journal = adjusted("k".to_owned(), conversion(), &adjustments, &mut debts, &mut available);
            amounts(&journal.expect("balances").expect("lines"))
        };
        assert_eq!(adjust(30, true), [(5030, 30), (2000, -30)]);
        assert_eq!(adjust(-30, true), [(5030, -30), (2000, 30)]);
        assert_eq!(adjust(-50, false), [(5030, -50), (2010, 50)]);
        // What was paid out already is owed, and paid off by what comes next.
        assert_eq!(adjust(-50, false), [(5030, -50), (2010, 20), (1200, 30)]);
        assert_eq!(adjust(40, false), [(5030, 40), (1200, -30), (2010, -10)]);
        assert_eq!(adjust(-10, false), [(5030, -10), (2010, 10)]);
    }

    #[test]
    fn nothing_earned_is_nothing_to_post() {
        assert_eq!(conversion_approved(conversion(), &[earned(1, 0, 0)]), Ok(None));
        assert_eq!(conversion_approved(conversion(), &[]), Ok(None));
    }

    #[test]
    fn lines_that_do_not_balance_make_no_journal() {
        let line = |code, amount_minor, money: Money| Line {
            account: AccountKey::of_tenant(code, money.currency),
            amount_minor,
        };
        let eur = Money::new(0, "EUR".parse().expect("known"));
        let journal = |lines| Journal::new(JournalKind::HoldReleased, "k".into(), None, lines);
        assert_eq!(journal(vec![line(Code::CommissionExpense, 1, usd(0))]), Err(Unbalanced));
        // Across currencies nothing balances.
        let lines = vec![line(Code::CommissionExpense, 1, usd(0)), line(Code::CommissionExpense, -1, eur)];
        assert_eq!(journal(lines), Err(Unbalanced));
    }

    #[test]
    fn account_ids_differ_by_every_part_of_the_key() {
        let tenant = |number| TenantId::from_uuid(Uuid::from_u128(number));
        let usd = usd(0).currency;
        let keys = [
            AccountKey::of_tenant(Code::CommissionExpense, usd).id(tenant(1)),
            AccountKey::of_tenant(Code::CommissionExpense, usd).id(tenant(2)),
            AccountKey::of_tenant(Code::CommissionExpense, "EUR".parse().expect("known")).id(tenant(1)),
            AccountKey::of_affiliate(Code::AffiliatePending, affiliate(1), usd).id(tenant(1)),
            AccountKey::of_affiliate(Code::AffiliatePending, affiliate(2), usd).id(tenant(1)),
            AccountKey::of_affiliate(Code::AffiliateAvailable, affiliate(1), usd).id(tenant(1)),
            AccountKey::of_processor(Code::PayoutClearing, PayoutMethod::Manual, usd).id(tenant(1)),
            AccountKey::of_processor(Code::Cash, PayoutMethod::Manual, usd).id(tenant(1)),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    proptest! {
        #[test]
        fn recipes_always_balance_and_net_exactly(amounts in prop::collection::vec(0i64..1_000_000, 1..20), debt in 0i64..1_000_000) {
            let lines: Vec<_> = amounts.iter().map(|amount| (affiliate(1), usd(*amount))).collect();
            let approved: Vec<_> = (0..).zip(&amounts).map(|(level, amount)| earned(1, level % 3, *amount)).collect();
            prop_assert!(conversion_approved(conversion(), &approved).is_ok());
            let mut debts = Debts::from([((affiliate(1), usd(0).currency), debt)]);
            prop_assert!(hold_released(conversion(), &lines, &mut debts).is_ok());
            let total: i64 = amounts.iter().sum();
            prop_assert_eq!(debts[&(affiliate(1), usd(0).currency)], (debt - total).max(0));
        }
    }
}
