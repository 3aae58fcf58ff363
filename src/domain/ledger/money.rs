//! Recipes for money that moves beside conversions and payouts: what the tenant pays in, what processors take, debts that
//! are given up.

use tributary_entity::{
    ids::AffiliateId,
    kinds::{JournalKind, PayoutMethod},
    money::Money,
};

use super::{AccountKey, Code, Journal, Line, Unbalanced};

/// Processor fee: Dr 5100, Cr 1000. `transaction` is the processor's own name of the charge, which is posted once.
///
/// # Errors
/// [`Unbalanced`] when the sum is out of range.
pub fn processor_fee(processor: PayoutMethod, transaction: &str, fee: Money) -> Result<Option<Journal>, Unbalanced> {
    let lines = vec![
        Line { account: AccountKey::of_tenant(Code::ProcessorFee, fee.currency), amount_minor: fee.amount_minor },
        Line {
            account: AccountKey::of_processor(Code::Cash, processor, fee.currency),
            amount_minor: -fee.amount_minor,
        },
    ];
    Journal::new(JournalKind::ProcessorFee, format!("{processor}:{transaction}"), None, lines)
}

/// Tenant top-up: Dr 1000, Cr 3000. `reference` is the payment's name at the bank or processor, which is posted once.
///
/// # Errors
/// [`Unbalanced`] when the sum is out of range.
pub fn deposited(processor: PayoutMethod, reference: &str, amount: Money) -> Result<Option<Journal>, Unbalanced> {
    let lines = vec![
        Line {
            account: AccountKey::of_processor(Code::Cash, processor, amount.currency),
            amount_minor: amount.amount_minor,
        },
        Line {
            account: AccountKey::of_tenant(Code::TenantFunding, amount.currency),
            amount_minor: -amount.amount_minor,
        },
    ];
    Journal::new(JournalKind::Deposit, format!("{processor}:{reference}"), None, lines)
}

/// Write-off of an affiliate's debt: Dr 5300, Cr 1200. The caller sees to it that so much is owed.
///
/// # Errors
/// [`Unbalanced`] when the sum is out of range.
pub fn written_off(
    business_key: String,
    affiliate_id: AffiliateId,
    amount: Money,
) -> Result<Option<Journal>, Unbalanced> {
    let lines = vec![
        Line {
            account: AccountKey::of_tenant(Code::ClawbackWriteOff, amount.currency),
            amount_minor: amount.amount_minor,
        },
        Line {
            account: AccountKey::of_affiliate(Code::AffiliateReceivable, affiliate_id, amount.currency),
            amount_minor: -amount.amount_minor,
        },
    ];
    Journal::new(JournalKind::WriteOff, business_key, None, lines)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn usd(amount_minor: i64) -> Money {
        Money::new(amount_minor, "USD".parse().expect("known"))
    }

    #[test]
    fn deposits_fees_and_write_offs_go_where_the_chart_says() {
        let posted = |journal: Result<Option<Journal>, Unbalanced>| {
            let journal = journal.expect("balances").expect("lines");
            let lines = journal.lines().iter().map(|line| (line.account.code.number(), line.amount_minor));
            (journal.business_key().to_owned(), lines.collect::<Vec<_>>())
        };
        let deposit = posted(deposited(PayoutMethod::Stripe, "po_1", usd(500)));
        assert_eq!(deposit, ("STRIPE:po_1".to_owned(), vec![(1000, 500), (3000, -500)]));
        let fee = posted(processor_fee(PayoutMethod::Wise, "t1", usd(30)));
        assert_eq!(fee, ("WISE:t1".to_owned(), vec![(5100, 30), (1000, -30)]));
        let write_off = posted(written_off("k".to_owned(), AffiliateId::from_uuid(Uuid::from_u128(1)), usd(70)));
        assert_eq!(write_off, ("k".to_owned(), vec![(5300, 70), (1200, -70)]));
    }
}
