//! What people post to the ledger: deposits of the tenant, and debts that are given up.

use serde::Serialize;
use tributary_entity::{ids::AffiliateId, kinds::PayoutMethod, money::Money};

use super::{
    problem::{Problem, ProblemCode},
    text,
};

/// Money that the tenant paid in.
#[derive(Clone, Debug, Serialize)]
pub struct NewDeposit {
    /// Where it is now.
    pub processor: PayoutMethod,
    pub amount: Money,
    /// The payment's name at the bank or processor.
    pub reference: String,
}

impl NewDeposit {
    /// # Errors
    /// `OUT_OF_RANGE` for nothing; `REQUIRED` or `INVALID_TEXT` for the reference.
    pub fn check(mut self) -> Result<Self, Problem> {
        something(self.amount)?;
        self.reference = text::required(&["reference"], &self.reference, text::REFERENCE_MAX)?;
        Ok(self)
    }
}

/// A debt that is given up, whole or in part.
#[derive(Clone, Debug, Serialize)]
pub struct NewWriteOff {
    pub affiliate_id: AffiliateId,
    pub amount: Money,
    /// Why.
    pub reason: String,
}

impl NewWriteOff {
    /// # Errors
    /// `OUT_OF_RANGE` for nothing; `REQUIRED` or `INVALID_TEXT` for the reason.
    pub fn check(mut self) -> Result<Self, Problem> {
        something(self.amount)?;
        self.reason = text::required(&["reason"], &self.reason, text::NOTE_MAX)?;
        Ok(self)
    }

    /// # Errors
    /// `OUT_OF_RANGE` where less is owed.
    pub fn covered_by(&self, debt_minor: i64) -> Result<(), Problem> {
        if self.amount.amount_minor > debt_minor {
            let owed = Money::new(debt_minor, self.amount.currency);
            return Err(Problem::new(ProblemCode::OutOfRange, &["amount"], format!("{owed} is owed")));
        }
        Ok(())
    }
}

fn something(amount: Money) -> Result<(), Problem> {
    if amount.amount_minor > 0 {
        Ok(())
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, &["amount"], "there is nothing to post"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_written_off_than_is_owed() {
        let amount = Money::new(70, "EUR".parse().expect("known"));
        let write_off = NewWriteOff { affiliate_id: AffiliateId::default(), amount, reason: "gone".to_owned() };
        assert!(write_off.clone().check().is_ok());
        assert!(write_off.covered_by(70).is_ok());
        assert_eq!(write_off.covered_by(69).expect_err("too much").code, ProblemCode::OutOfRange);
        let nothing = NewWriteOff { amount: Money::new(0, amount.currency), ..write_off };
        assert!(nothing.check().is_err());
    }
}
