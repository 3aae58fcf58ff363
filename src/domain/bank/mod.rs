//! Files for banks, and what banks write back: pure text in and out. Who is in a file, and what an answer does, is decided
//! in the services.
//!
//! # Decisions
//! - A file says nothing that is not stored: message names, dates and order come from its row, so that the same file can be
//!   written again, byte for byte.
//! - Banks take few characters. Names are transliterated, in any script; what is left of nothing is refused, with the
//!   payout that it is about.
//! - A payment is known again by its bank reference, which follows from the payout's id.

pub mod nacha;
pub mod notice;
pub mod sepa;
pub mod table;

use deunicode::deunicode_char;
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant,
    ids::{PayoutFileId, PayoutId},
    kinds::{PayoutFileFormat, PayoutMethod},
    money::Currency,
};

use super::{
    payout_destination::{Account, aba, checked_bic, or_invalid, sepa_iban},
    problem::{Problem, ProblemCode},
    text,
};

/// The account that payouts of one method are paid from, as its bank wants to see it in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PayingAccount {
    /// The debtor of credit transfers.
    Sepa { name: String, iban: String, bic: Option<String>, address: Address },
    /// The originator of ACH credits.
    Ach(Originator),
}

/// Where the debtor sits: structured, as SEPA wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub street: Option<String>,
    pub building_number: Option<String>,
    pub post_code: Option<String>,
    pub town: String,
    /// ISO 3166, two letters.
    pub country: String,
}

/// Who originates ACH entries, and through which bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Originator {
    /// As receivers see it on their statements; 16 characters.
    pub company_name: String,
    /// Ten characters, given by the bank; often 1 and the tax number.
    pub company_id: String,
    /// The routing number of the bank that sends the entries.
    pub bank_routing_number: String,
    /// Its name; 23 characters.
    pub bank_name: String,
    /// Corporate receivers (CCD), else consumers (PPD).
    pub is_corporate: bool,
}

impl PayingAccount {
    pub const fn method(&self) -> PayoutMethod {
        match self {
            Self::Sepa { .. } => PayoutMethod::Sepa,
            Self::Ach(_) => PayoutMethod::Ach,
        }
    }

    /// The account in its normal form.
    ///
    /// # Errors
    /// The problem of the first field that has one.
    pub fn check(self) -> Result<Self, Problem> {
        match self {
            Self::Sepa { name, iban, bic, address } => {
                let name = printable(&["sepa", "name"], &name, 70)?;
                let iban = sepa_iban(&iban)?;
                let bic = bic.map(|bic| checked_bic(&bic, &iban)).transpose()?;
                Ok(Self::Sepa { name, iban, bic, address: address.check()? })
            }
            Self::Ach(originator) => Ok(Self::Ach(originator.check()?)),
        }
    }

    /// The account as far as its owner needs to know it again.
    pub fn mask(&self) -> String {
        match self {
            Self::Sepa { iban, .. } => Account::Sepa { iban: iban.clone(), bic: None }.mask(),
            Self::Ach(originator) => format!("{} at {}", originator.company_id, originator.bank_name),
        }
    }
}

impl Address {
    fn check(self) -> Result<Self, Problem> {
        let field = |name| ["sepa", "address", name];
        let optional =
            |name, value: Option<String>, max| value.map(|value| printable(&field(name), &value, max)).transpose();
        let country = self.country.trim().to_ascii_uppercase();
        if ::sepa::PostalAddress::new("x", &country).is_err() {
            let message = "not a country's two letters";
            return Err(Problem::new(ProblemCode::InvalidText, &field("country"), message));
        }
        Ok(Self {
            street: optional("street", self.street, 70)?,
            building_number: optional("buildingNumber", self.building_number, 16)?,
            post_code: optional("postCode", self.post_code, 16)?,
            town: printable(&field("town"), &self.town, 35)?,
            country,
        })
    }
}

impl Originator {
    fn check(self) -> Result<Self, Problem> {
        let field = |name| ["ach", name];
        let company_id = printable(&field("companyId"), &self.company_id, 10)?.to_ascii_uppercase();
        let valid = company_id.len() == 10 && company_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        or_invalid(valid, &field("companyId"), "ten letters and digits")?;
        Ok(Self {
            company_name: printable(&field("companyName"), &self.company_name, 16)?,
            company_id,
            bank_routing_number: aba(&self.bank_routing_number)?,
            bank_name: printable(&field("bankName"), &self.bank_name, 23)?,
            is_corporate: self.is_corporate,
        })
    }
}

/// A text of which a bank's file keeps something.
fn printable(field: &[&str], value: &str, max: usize) -> Result<String, Problem> {
    let value = text::required(field, value, max)?;
    if ascii(&value).is_some() && ascii(&value).is_some_and(|ascii| ascii.chars().count() <= max) {
        return Ok(value);
    }
    let message = format!("nothing that a bank could print, or more than {max} characters of it");
    Err(Problem::new(ProblemCode::InvalidText, field, message))
}

/// A name in ASCII, spaces made single. None where nothing is left of it.
pub fn ascii(name: &str) -> Option<String> {
    let spelled: String = name
        .chars()
        .map(|char| match char {
            'ä' => "ae",
            'ö' => "oe",
            'ü' => "ue",
            'Ä' => "Ae",
            'Ö' => "Oe",
            'Ü' => "Ue",
            char => deunicode_char(char).unwrap_or(" "),
        })
        .collect();
    let words: Vec<&str> = spelled.split_whitespace().collect();
    let line = words.join(" ");
    line.bytes().any(|byte| byte.is_ascii_alphanumeric()).then_some(line)
}

/// A payment to be written into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub payout_id: PayoutId,
    pub amount_minor: i64,
    /// Whose account it is.
    pub holder: String,
    pub account: Account,
}

/// What a file is written from, beside its transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHead {
    pub id: PayoutFileId,
    /// When it was first written.
    pub created_at: Instant,
}

/// Why a file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// One of its payouts cannot be in it.
    #[error("payout {0}: {1}")]
    Payout(PayoutId, String),
    /// The whole of it.
    #[error("{0}")]
    File(String),
}

/// A way of paying by files, which a bank or a person is handed: what `processors` are that are called over HTTP.
///
/// # Adding one
/// A file here with its implementation, and a line in [`payment_file`].
pub trait PaymentFile: Sync {
    /// Which payouts it is for; none for any.
    fn method(&self) -> Option<PayoutMethod>;

    /// By which name the bank tells of a payment; none where no bank does.
    fn reference(&self, id: PayoutId) -> Option<String>;

    /// Writes a file of payouts in a currency, from the account of its method.
    ///
    /// # Errors
    /// [`Unwritable`], with the payout where it is about one.
    fn write(
        &self,
        currency: Currency,
        head: &FileHead,
        account: Option<&PayingAccount>,
        transfers: &[Transfer],
    ) -> Result<String, Unwritable>;
}

/// The files of a format; none where they come from banks.
pub fn payment_file(format: PayoutFileFormat) -> Option<&'static dyn PaymentFile> {
    match format {
        PayoutFileFormat::SepaCreditTransfer => Some(&sepa::CreditTransfers),
        PayoutFileFormat::Nacha => Some(&nacha::Credits),
        PayoutFileFormat::Csv => Some(&table::Transfers),
        PayoutFileFormat::PaymentStatusReport
        | PayoutFileFormat::DebitCreditNotification
        | PayoutFileFormat::NachaReturn => None,
    }
}

/// By which name the bank tells of a payment: the id, with the one character changed that SEPA does not take.
pub fn sepa_reference(id: PayoutId) -> String {
    id.to_string().replace('_', "-")
}

/// As [`sepa_reference`], in the 15 characters of an ACH entry: the last 75 bits of the id, all random but one.
pub fn ach_reference(id: PayoutId) -> String {
    let text = id.to_string().to_ascii_uppercase();
    text.chars().skip(text.len() - 15).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_of_any_script_are_spelled_in_ascii() {
        assert_eq!(ascii("  Jürgen  Ångström ").as_deref(), Some("Juergen Angstroem"));
        assert_eq!(ascii("Иван Петров").as_deref(), Some("Ivan Petrov"));
        assert_eq!(ascii("北京").as_deref(), Some("Bei Jing"));
        assert_eq!(ascii("…!"), None);
    }

    #[test]
    fn references_fit_their_fields_and_differ() {
        let id = PayoutId::from_uuid(Uuid::new_v4());
        let other = PayoutId::from_uuid(Uuid::new_v4());
        assert_eq!(sepa_reference(id).len(), 30);
        assert!(::sepa::charset::is_sepa_text(&sepa_reference(id)));
        assert_eq!(ach_reference(id).len(), 15);
        assert_ne!(ach_reference(id), ach_reference(other));
    }

    #[test]
    fn accounts_that_no_bank_takes_are_refused() {
        let address = Address {
            street: Some("Hauptstraße".to_owned()),
            building_number: Some("1".to_owned()),
            post_code: Some("10115".to_owned()),
            town: "Berlin".to_owned(),
            country: "de".to_owned(),
        };
        let sepa = |iban: &str, country: &str| PayingAccount::Sepa {
            name: "Müller GmbH".to_owned(),
            iban: iban.to_owned(),
            bic: Some("cobadeff".to_owned()),
            address: Address { country: country.to_owned(), ..address.clone() },
        };
        let PayingAccount::Sepa { bic, address, .. } = sepa("DE89370400440532013000", "de").check().expect("good")
        else {
            panic!("another method")
        };
        assert_eq!((bic.as_deref(), address.country.as_str()), (Some("COBADEFF"), "DE"));
        assert_eq!(sepa("DE89370400440532013001", "DE").check().expect_err("bad").code, ProblemCode::InvalidAccount);
        assert_eq!(sepa("DE89370400440532013000", "XX").check().expect_err("bad").code, ProblemCode::InvalidText);
        let ach = |company_id: &str| {
            PayingAccount::Ach(Originator {
                company_name: "Shop Inc".to_owned(),
                company_id: company_id.to_owned(),
                bank_routing_number: "021000021".to_owned(),
                bank_name: "First Bank".to_owned(),
                is_corporate: false,
            })
        };
        assert!(ach("1234567890").check().is_ok());
        assert_eq!(ach("123").check().expect_err("bad").code, ProblemCode::InvalidAccount);
    }
}
