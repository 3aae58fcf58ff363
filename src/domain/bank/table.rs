//! Payouts as a table for people who pay by hand, and any table of text as CSV.
//!
//! # Decisions
//! - A cell that a spreadsheet would take for a formula begins with an apostrophe: names are the affiliates' to choose.

use tributary_entity::{
    ids::PayoutId,
    kinds::PayoutMethod,
    money::{Currency, Money},
};

use super::{FileHead, PayingAccount, PaymentFile, Transfer, Unwritable};
use crate::domain::payout_destination::Account;

/// Writes rows as CSV (RFC 4180), the first being the names of the columns.
pub fn csv<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        let cells = row.map(|cell| guarded(&cell));
        writer.write_record(&cells).expect("a vector takes what is written to it, and rows are of one length");
    }
    let bytes = writer.into_inner().expect("a vector takes what is written to it");
    String::from_utf8(bytes).expect("texts, commas and quotes are UTF-8")
}

fn guarded(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && !is_amount(cell);
    if is_formula { format!("'{cell}") } else { cell.to_owned() }
}

/// A decimal, perhaps negative, perhaps with a currency.
fn is_amount(cell: &str) -> bool {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let number = number.strip_prefix('-').unwrap_or(number);
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && (unit.is_empty() || unit.len() == 3 && unit.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// For who pays by hand.
pub struct Transfers;

impl PaymentFile for Transfers {
    fn method(&self) -> Option<PayoutMethod> {
        None
    }

    fn reference(&self, _: PayoutId) -> Option<String> {
        None
    }

    fn write(
        &self,
        currency: Currency,
        _: &FileHead,
        _: Option<&PayingAccount>,
        transfers: &[Transfer],
    ) -> Result<String, Unwritable> {
        Ok(self::transfers(currency, transfers))
    }
}

/// Payouts in a currency, with all that it takes to pay them.
fn transfers(currency: Currency, transfers: &[Transfer]) -> String {
    let names = ["payout", "currency", "amount", "holder", "method", "account", "bank", "instructions"];
    let rows = transfers.iter().map(|transfer| {
        let amount = Money::new(transfer.amount_minor, currency).decimal();
        let (account, bank, instructions) = match &transfer.account {
            Account::Manual { instructions } => (String::new(), String::new(), instructions.clone()),
            Account::Sepa { iban, bic } => (iban.clone(), bic.clone().unwrap_or_default(), String::new()),
            Account::Ach { routing_number, account_number, is_savings } => {
                let kind = if *is_savings { "savings" } else { "checking" };
                (account_number.clone(), routing_number.clone(), kind.to_owned())
            }
            Account::Paypal { email } => (email.clone(), String::new(), String::new()),
            Account::Wise { recipient_id } => (recipient_id.clone(), String::new(), String::new()),
            Account::Stripe { account_id } => (account_id.clone(), String::new(), String::new()),
        };
        [
            transfer.payout_id.to_string(),
            currency.code().to_owned(),
            amount,
            transfer.holder.clone(),
            transfer.account.method().to_string(),
            account,
            bank,
            instructions,
        ]
    });
    csv(std::iter::once(names.map(str::to_owned)).chain(rows))
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::PayoutId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn cell_is_no_formula_and_keeps_its_quotes() {
        let transfer = Transfer {
            payout_id: PayoutId::from_uuid(Uuid::from_u128(1)),
            amount_minor: 1_205,
            holder: "=HYPERLINK(\"x\"),Ada".to_owned(),
            account: Account::Manual { instructions: "@cash\nat noon".to_owned() },
        };
        let csv = transfers("EUR".parse().expect("known"), &[transfer]);
        assert_eq!(
            csv,
            "payout,currency,amount,holder,method,account,bank,instructions\r\n\
             pay_00000000000000000000000001,EUR,12.05,\"'=HYPERLINK(\"\"x\"\"),Ada\",MANUAL,,,\"'@cash\nat noon\"\r\n"
        );
    }
}
