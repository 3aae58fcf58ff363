//! The recipe for balances that are converted into another currency.

use tributary_entity::{
    ids::{AffiliateId, FxConversionId},
    kinds::JournalKind,
    money::{Currency, Money},
};

use super::{AccountKey, Code, Debts, Journal, Line, Unbalanced, credit_affiliate};

/// A balance converted into another currency: Dr 2010 and Cr 1900 of the one, Dr 1900 of the other and Cr 1200 up to the
/// debt, the rest 2010. `debts` is reduced by what was paid off.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn fx_converted(
    id: FxConversionId,
    affiliate_id: AffiliateId,
    sold: Money,
    bought: Money,
    debts: &mut Debts,
) -> Result<Option<Journal>, Unbalanced> {
    let available = AccountKey::of_affiliate(Code::AffiliateAvailable, affiliate_id, sold.currency);
    let position = |currency: Currency| AccountKey::of_tenant(Code::FxPosition, currency);
    let mut lines = vec![
        Line { account: available, amount_minor: sold.amount_minor },
        Line { account: position(sold.currency), amount_minor: -sold.amount_minor },
        Line { account: position(bought.currency), amount_minor: bought.amount_minor },
    ];
    lines.extend(credit_affiliate(affiliate_id, bought, debts));
    Journal::new(JournalKind::FxConversion, id.to_string(), None, lines)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn converted_balance_pays_debts_of_the_other_currency_first() {
        let usd = Money::new(1_000, "USD".parse().expect("known"));
        let jpy = Money::new(1_635, "JPY".parse().expect("known"));
        let affiliate_id = AffiliateId::from_uuid(Uuid::from_u128(1));
        let mut debts = Debts::from([((affiliate_id, jpy.currency), 35)]);
        let id = FxConversionId::from_uuid(Uuid::from_u128(3));
        let journal = fx_converted(id, affiliate_id, usd, jpy, &mut debts).expect("balances").expect("lines");
        let amounts: Vec<(i32, i64)> =
            journal.lines().iter().map(|line| (line.account.code.number(), line.amount_minor)).collect();
        assert_eq!(amounts, [(2010, 1_000), (1900, -1_000), (1900, 1_635), (1200, -35), (2010, -1_600)]);
        assert_eq!(debts[&(affiliate_id, jpy.currency)], 0);
    }
}
