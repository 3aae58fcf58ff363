//! Payout destinations: where an affiliate wants to be paid, checked by what each kind of account lets one check.
//!
//! # Decisions
//! - A destination is never changed: another one takes its place, and payouts that were drafted keep theirs. Whoever
//!   takes over an affiliate's log-in cannot turn a payment that is under way.
//! - Only its mask is for lists, logs and events; the whole of it is for who pays.

use iban::IbanLike;
use serde::{Deserialize, Serialize};
use tributary_entity::{ids::AffiliateId, kinds::PayoutMethod, money::Currency, payout_destination};

use super::{
    countries,
    problem::{Problem, ProblemCode},
    text,
};

/// The countries whose accounts SEPA credit transfers reach (European Payments Council, EPC409-09).
const SEPA: &[&str] = &[
    "AD", "AL", "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GI", "GR", "HR", "HU",
    "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MC", "MD", "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "SE",
    "SI", "SK", "SM", "VA",
];

/// Territories whose banks have IBANs of another country (SWIFT IBAN registry); Monaco's may be branches of French ones.
const WITH_IBANS_OF: &[(&str, &[&str])] = &[
    ("FI", &["AX"]),
    ("FR", &["BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF", "WF", "YT"]),
    ("GB", &["GG", "IM", "JE"]),
    ("MC", &["FR"]),
];

/// The first two digits of routing numbers: the government, the twelve Federal Reserve districts, those of thrifts, those of
/// electronic transactions, and traveller's cheques.
const ROUTING: &[(&str, &str)] = &[("00", "12"), ("21", "32"), ("61", "72"), ("80", "80")];

/// An account of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Account {
    /// A person reads how to pay.
    Manual {
        instructions: String,
    },
    /// A bank account in the Single Euro Payments Area; electronic form, without spaces.
    Sepa {
        iban: String,
        bic: Option<String>,
    },
    /// A bank account in the United States.
    Ach {
        routing_number: String,
        account_number: String,
        is_savings: bool,
    },
    Paypal {
        email: String,
    },
    /// A recipient made at Wise.
    Wise {
        recipient_id: String,
    },
    /// A connected account.
    Stripe {
        account_id: String,
    },
}

impl Account {
    pub const fn method(&self) -> PayoutMethod {
        match self {
            Self::Manual { .. } => PayoutMethod::Manual,
            Self::Sepa { .. } => PayoutMethod::Sepa,
            Self::Ach { .. } => PayoutMethod::Ach,
            Self::Paypal { .. } => PayoutMethod::Paypal,
            Self::Wise { .. } => PayoutMethod::Wise,
            Self::Stripe { .. } => PayoutMethod::Stripe,
        }
    }

    /// The account as far as its owner needs to know it again.
    pub fn mask(&self) -> String {
        match self {
            Self::Manual { .. } => "by instructions".to_owned(),
            Self::Sepa { iban, .. } => hidden(iban, 4),
            Self::Ach { account_number, .. } => hidden(account_number, 0),
            Self::Paypal { email } => match email.split_once('@') {
                Some((local, host)) => format!("{}…@{host}", local.chars().take(1).collect::<String>()),
                None => "…".to_owned(),
            },
            Self::Wise { recipient_id } => hidden(recipient_id, 0),
            Self::Stripe { account_id } => hidden(account_id, 5),
        }
    }

    /// The account in its normal form.
    fn check(self, currency: Currency) -> Result<Self, Problem> {
        match self {
            Self::Manual { instructions } => {
                Ok(Self::Manual { instructions: text::required(&["instructions"], &instructions, text::NOTE_MAX)? })
            }
            Self::Sepa { iban, bic } => {
                needs(currency, "EUR")?;
                let iban = sepa_iban(&iban)?;
                let bic = bic.map(|bic| checked_bic(&bic, &iban)).transpose()?;
                Ok(Self::Sepa { iban, bic })
            }
            Self::Ach { routing_number, account_number, is_savings } => {
                needs(currency, "USD")?;
                let routing_number = aba(&routing_number)?;
                let account_number = us_account(&account_number)?;
                Ok(Self::Ach { routing_number, account_number, is_savings })
            }
            Self::Paypal { email } => Ok(Self::Paypal { email: text::email(&["paypal", "email"], &email)? }),
            Self::Wise { recipient_id } => {
                let field = &["wise", "recipientId"];
                let id = text::required(field, &recipient_id, 36)?;
                // Numbers of the first version of their API, UUIDs of the second.
                let valid = id.bytes().all(|byte| byte.is_ascii_digit()) || uuid::Uuid::try_parse(&id).is_ok();
                or_invalid(valid, field, "neither a recipient's number nor its UUID")?;
                Ok(Self::Wise { recipient_id: id })
            }
            Self::Stripe { account_id } => {
                let field = &["stripe", "accountId"];
                let id = text::required(field, &account_id, 64)?;
                let rest = id.strip_prefix("acct_");
                let valid = rest.is_some_and(|rest| {
                    rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                });
                or_invalid(valid, field, "a connected account's id begins with acct_")?;
                Ok(Self::Stripe { account_id: id })
            }
        }
    }
}

/// The last four characters, and the first few.
fn hidden(text: &str, first: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let last = if chars.len() > first + 4 { &chars[chars.len() - 4..] } else { &[] };
    format!("{}…{}", chars.iter().take(first).collect::<String>(), last.iter().collect::<String>())
}

/// A destination as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewDestination {
    /// None means the viewer's own.
    pub affiliate_id: Option<AffiliateId>,
    pub currency: Currency,
    /// Whose account it is, as the bank knows the name.
    pub holder: String,
    pub account: Account,
}

impl NewDestination {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once: `INVALID_ACCOUNT` with what is wrong about it; `CURRENCY_MISMATCH` when the account cannot
    /// take the currency.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        let holder = text::required(&["holder"], &self.holder, 70);
        let account = self.account.check(self.currency).map_err(|problem| problem.within("account"));
        match (holder, account) {
            (Ok(holder), Ok(account)) => Ok(Self { holder, account, ..self }),
            (holder, account) => Err(holder.err().into_iter().chain(account.err()).collect()),
        }
    }
}

/// The account that a row keeps. None when it cannot be read.
pub fn account(row: &payout_destination::Model) -> Option<Account> {
    serde_json::from_str(&row.account).ok()
}

fn needs(currency: Currency, needed: &str) -> Result<(), Problem> {
    if currency.code() == needed {
        return Ok(());
    }
    let message = format!("such an account takes {needed} only");
    Err(Problem::new(ProblemCode::CurrencyMismatch, &["currency"], message))
}

pub(super) fn or_invalid(valid: bool, field: &[&str], why: &str) -> Result<(), Problem> {
    if valid { Ok(()) } else { Err(Problem::new(ProblemCode::InvalidAccount, field, why)) }
}

/// ISO 13616: the country's length and structure, and the check digits; in electronic form.
pub(super) fn sepa_iban(text: &str) -> Result<String, Problem> {
    let field = &["sepa", "iban"];
    let compact: String = text.chars().filter(|char| !char.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let iban: iban::Iban = compact.parse().map_err(|error: iban::ParseIbanError| {
        let why = match error {
            iban::ParseIbanError::UnknownCountry(_) => "no country of this code has IBANs",
            iban::ParseIbanError::InvalidBban(_) => "the account number has not the form of its country",
            iban::ParseIbanError::InvalidBaseIban { .. } => "the check digits do not fit; a digit may be mistyped",
        };
        Problem::new(ProblemCode::InvalidAccount, field, why)
    })?;
    // 98 less a remainder of 97: from 02 to 98. 99 has the remainder of 02, and the parser lets it pass.
    or_invalid(iban.check_digits_str() != "99", field, "the check digits do not fit; a digit may be mistyped")?;
    or_invalid(SEPA.contains(&iban.country_code()), field, "the account's country is not in SEPA")?;
    Ok(iban.electronic_str().to_owned())
}

/// ISO 9362: four letters of the institution, two of the country, two of the place, perhaps three of the branch. The country
/// is that of the IBAN, or of a territory that has its IBANs.
pub(super) fn checked_bic(text: &str, iban: &str) -> Result<String, Problem> {
    let field = &["sepa", "bic"];
    let bic = text.trim().to_ascii_uppercase();
    let valid = matches!(bic.len(), 8 | 11)
        && bic.is_ascii()
        && bic[..6].bytes().all(|byte| byte.is_ascii_uppercase())
        && bic[6..].bytes().all(|byte| byte.is_ascii_alphanumeric());
    or_invalid(valid, field, "a BIC has 8 or 11 characters, the first six of them letters")?;
    let (country, of_account) = (&bic[4..6], &iban[..2]);
    or_invalid(countries::parse(country).is_some(), field, "no country has the fifth and sixth letter")?;
    let fits =
        country == of_account || WITH_IBANS_OF.iter().any(|(of, all)| *of == of_account && all.contains(&country));
    or_invalid(fits, field, "it is of a bank in another country than the account")?;
    Ok(bic)
}

/// American Bankers Association: nine digits whose weighted sum (3, 7, 1) is a multiple of ten, the first two of a range that
/// is in use.
pub(super) fn aba(text: &str) -> Result<String, Problem> {
    let field = &["ach", "routingNumber"];
    let number = text.trim();
    let digits = number.len() == 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    or_invalid(digits, field, "a routing number has nine digits")?;
    let sum: u32 =
        number.bytes().zip([3, 7, 1].into_iter().cycle()).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    or_invalid(sum > 0 && sum.is_multiple_of(10), field, "the check digit does not fit; a digit may be mistyped")?;
    let in_use = ROUTING.iter().any(|(first, last)| (*first..=*last).contains(&&number[..2]));
    or_invalid(in_use, field, "no bank's routing number begins so")?;
    Ok(number.to_owned())
}

/// As a NACHA entry holds it: up to 17 letters, digits and hyphens.
fn us_account(text: &str) -> Result<String, Problem> {
    let field = &["ach", "accountNumber"];
    let number = text.trim();
    let valid = (1..=17).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && number.bytes().any(|byte| byte.is_ascii_digit());
    or_invalid(valid, field, "from 1 to 17 digits, letters and hyphens")?;
    Ok(number.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(currency: &str, account: Account) -> Result<Account, ProblemCode> {
        let new = NewDestination {
            affiliate_id: None,
            currency: currency.parse().expect("known"),
            holder: "Ada Ltd".to_owned(),
            account,
        };
        new.check().map(|new| new.account).map_err(|mut problems| problems.remove(0).code)
    }

    fn iban(text: &str) -> Result<Account, ProblemCode> {
        checked("EUR", Account::Sepa { iban: text.to_owned(), bic: None })
    }

    fn ach(routing: &str, account: &str) -> Result<Account, ProblemCode> {
        let (routing_number, account_number) = (routing.to_owned(), account.to_owned());
        checked("USD", Account::Ach { routing_number, account_number, is_savings: false })
    }

    #[test]
    fn ibans_of_the_registry_are_taken_in_any_spelling() {
        // Examples of the SWIFT IBAN registry.
        for text in [
            "DE89 3704 0044 0532 0130 00",
            "fr14 2004 1010 0505 0001 3m02 606",
            "NL91ABNA0417164300",
            "MT84MALT011000012345MTLCAST001S",
            "NO9386011117947",
            "GB29 NWBK 6016 1331 9268 19",
        ] {
            let Ok(Account::Sepa { iban, .. }) = iban(text) else { panic!("{text}") };
            assert!(iban.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{iban}");
        }
    }

    #[test]
    fn ibans_that_are_mistyped_or_out_of_reach_are_refused() {
        for text in [
            "DE89370400440532013001",
            "DE98370400440532013000",
            "DE8937040044053201300",
            // As good as 02 by its remainder, and no check digits.
            "DE99230510302000698775",
            "XX89370400440532013000",
            "",
            "DE",
            // Sound, and not in SEPA.
            "BR1800360305000010009795493C1",
        ] {
            assert_eq!(iban(text), Err(ProblemCode::InvalidAccount), "{text}");
        }
        let dollars = checked("USD", Account::Sepa { iban: "DE89370400440532013000".to_owned(), bic: None });
        assert_eq!(dollars, Err(ProblemCode::CurrencyMismatch));
    }

    #[test]
    fn bics_have_their_form() {
        let bic = |text: &str| {
            let (iban, bic) = ("DE89370400440532013000".to_owned(), Some(text.to_owned()));
            checked("EUR", Account::Sepa { iban, bic }).is_ok()
        };
        assert!(bic("COBADEFFXXX") && bic("cobadeff"));
        assert!(!bic("COBADEFFXX") && !bic("C0BADEFF") && !bic("COBADEFÄ") && !bic(""));
    }

    #[test]
    fn bics_are_of_the_accounts_country_or_a_territory_with_its_ibans() {
        let fits = |iban: &str, bic: &str| {
            checked("EUR", Account::Sepa { iban: iban.to_owned(), bic: Some(bic.to_owned()) }).is_ok()
        };
        let (german, british) = ("DE89370400440532013000", "GB29NWBK60161331926819");
        let french = "FR1420041010050500013M02606";
        assert!(fits(british, "NWBKGB2L") && fits(british, "RBOSJESH") && fits(french, "PSSTFRPP"));
        assert!(fits(french, "BNPARERX") && !fits(german, "RBOSJESH"));
        // No country, and another.
        assert!(!fits(german, "COBAZZFF") && !fits(german, "BNPAFRPP") && !fits("NL91ABNA0417164300", "COBADEFF"));
    }

    #[test]
    fn routing_numbers_are_checked_by_their_last_digit() {
        assert!(ach("021000021", "123456789").is_ok());
        assert!(ach("011401533", "0-12").is_ok() && ach("800000006", "1").is_ok());
        // Sound but for the range of their first digits.
        for routing in ["130000006", "330000000", "021000022", "02100002", "0210000211", "000000000", "02100002a"] {
            assert_eq!(ach(routing, "1"), Err(ProblemCode::InvalidAccount), "{routing}");
        }
        for account in ["", "123456789012345678", "12 34", "ABC", "12;34"] {
            assert_eq!(ach("021000021", account), Err(ProblemCode::InvalidAccount), "{account}");
        }
    }

    #[test]
    fn accounts_at_processors_have_their_form() {
        let wise = |id: &str| checked("GBP", Account::Wise { recipient_id: id.to_owned() }).is_ok();
        assert!(wise("148562983") && wise("9a7a6d3e-1f1d-4b2e-8a35-6d5c4b3a2f10") && !wise("x1"));
        let stripe = |id: &str| checked("USD", Account::Stripe { account_id: id.to_owned() }).is_ok();
        assert!(stripe("acct_1032D82eZvKYlo2C") && !stripe("cus_1032D82eZvKYlo2C") && !stripe("acct_1;--------"));
        let paypal = |email: &str| checked("EUR", Account::Paypal { email: email.to_owned() }).is_ok();
        assert!(paypal("Ada@shop.example") && !paypal("ada"));
    }

    #[test]
    fn masks_tell_no_account() {
        let iban = Account::Sepa { iban: "DE89370400440532013000".to_owned(), bic: None };
        assert_eq!(iban.mask(), "DE89…3000");
        let ach = Account::Ach { routing_number: String::new(), account_number: "123".to_owned(), is_savings: true };
        assert_eq!(ach.mask(), "…");
        assert_eq!(Account::Paypal { email: "ada@shop.example".to_owned() }.mask(), "a…@shop.example");
    }

    proptest! {
        #[test]
        fn one_mistyped_digit_is_always_found(place in 0usize..9, digit in 0u8..10) {
            let mut routing = b"021000021".to_vec();
            let same = routing[place] == b'0' + digit;
            routing[place] = b'0' + digit;
            let routing = String::from_utf8(routing).expect("digits");
            prop_assert_eq!(ach(&routing, "1").is_ok(), same);
        }
    }
}
