//! Accounts of the ledger as people look at them: which ones, and an account's history.

use tributary_entity::{
    ids::{AffiliateId, JournalId},
    kinds::PayoutMethod,
    money::Currency,
};
use uuid::Uuid;

use super::{
    ledger::{Code, Side},
    page::Position,
};

/// Which accounts a list holds.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    pub codes: Option<Vec<Code>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub processors: Option<Vec<PayoutMethod>>,
    pub currencies: Option<Vec<Currency>>,
}

/// Where an entry stands in the order of posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub seq: i64,
    pub line: i32,
}

impl Place {
    /// As lists keep positions.
    pub const fn position(self) -> Position {
        let id = ((self.seq.cast_unsigned() as u128) << 32) | self.line.cast_unsigned() as u128;
        Position { occurred_at: None, id: Uuid::from_u128(id) }
    }

    /// The place of [`Place::position`]; of any other, some place.
    pub const fn of(position: &Position) -> Self {
        let id = position.id.as_u128();
        Self { seq: ((id >> 32) as u64).cast_signed(), line: (id as u32).cast_signed() }
    }
}

/// An entry in an account's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    pub place: Place,
    pub journal_id: JournalId,
    /// Debit positive.
    pub amount_minor: i64,
    /// The sum of the account's entries up to this one, debits positive.
    pub balance_after: i64,
}

/// A sum of entries, debits positive, as the account's side has it.
pub const fn on_side(side: Side, amount_minor: i64) -> i64 {
    match side {
        Side::Debit => amount_minor,
        Side::Credit => -amount_minor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_survives_its_position() {
        for (seq, line) in [(0, 0), (1, 2), (i64::MAX, i32::MAX)] {
            let place = Place { seq, line };
            assert_eq!(Place::of(&place.position()), place);
        }
        assert!(Place { seq: 1, line: 9 } < Place { seq: 2, line: 0 });
    }
}
