//! Earnings: an affiliate's commissions summed, by where they stand.

use tributary_entity::money::Money;

/// What one affiliate earned in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earnings {
    /// Of conversions that nobody approved so far: a projection, not in the ledger.
    pub unapproved: Money,
    /// Approved and in the hold period (account 2000).
    pub pending: Money,
    /// Payable (account 2010).
    pub available: Money,
    /// Owed back after a reversal of what was paid (account 1200).
    pub debt: Money,
}

impl Earnings {
    pub const fn none(currency: tributary_entity::money::Currency) -> Self {
        let zero = Money::zero(currency);
        Self { unapproved: zero, pending: zero, available: zero, debt: zero }
    }
}
