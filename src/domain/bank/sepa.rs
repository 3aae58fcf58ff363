//! SEPA credit transfers: pain.001.001.09 with structured addresses, as the German banks' subset wants it too.

use chrono::{Datelike, Timelike};
use sepa::{
    CharsetPolicy, CreditTransferEntry, CreditTransferGroup, CreditTransferSchema, IsoDate, IsoDateTime,
    Pain001Builder, PostalAddress, validate_bic, validate_iban,
};
use tributary_entity::{Instant, ids::PayoutId, kinds::PayoutMethod, money::Currency};

use super::{Address, FileHead, PayingAccount, PaymentFile, Transfer, Unwritable, ascii, sepa_reference};
use crate::domain::payout_destination::Account;

/// pain.001.001.09.
pub struct CreditTransfers;

impl PaymentFile for CreditTransfers {
    fn method(&self) -> Option<PayoutMethod> {
        Some(PayoutMethod::Sepa)
    }

    fn reference(&self, id: PayoutId) -> Option<String> {
        Some(sepa_reference(id))
    }

    fn write(
        &self,
        _: Currency,
        head: &FileHead,
        account: Option<&PayingAccount>,
        transfers: &[Transfer],
    ) -> Result<String, Unwritable> {
        let Some(PayingAccount::Sepa { name, iban, bic, address }) = account else {
            return Err(Unwritable::File("the account is not in SEPA".to_owned()));
        };
        let name = spelled(name);
        let iban = validate_iban(iban).map_err(|error| Unwritable::File(error.to_string()))?;
        let (date, time) = moment(head.created_at)?;
        let message = message_id(head);
        let mut group = CreditTransferGroup::new(&name, &iban, date)
            .payment_info_id(&message)
            .batch_booking(true)
            .debtor_address(postal(address)?);
        if let Some(bic) = bic {
            group = group.debtor_bic(validate_bic(bic).map_err(|error| Unwritable::File(error.to_string()))?);
        }
        for transfer in transfers {
            group = group.add_entry(entry(transfer)?);
        }
        Pain001Builder::new(&name, &message)
            .schema(CreditTransferSchema::IsoV9)
            .charset(CharsetPolicy::Strict)
            .created_at(time)
            .add_group(group)
            .build()
            .map_err(|error| Unwritable::File(error.to_string()))
    }
}

/// The file's name at the bank, up to 35 characters.
pub fn message_id(head: &FileHead) -> String {
    head.id.to_string().replace('_', "-")
}

fn entry(transfer: &Transfer) -> Result<CreditTransferEntry, Unwritable> {
    let refused = |why: String| Unwritable::Payout(transfer.payout_id, why);
    let Account::Sepa { iban, bic } = &transfer.account else {
        return Err(refused("its account is not in SEPA".to_owned()));
    };
    let iban = validate_iban(iban).map_err(|error| refused(error.to_string()))?;
    let holder = spelled(&transfer.holder);
    if !holder.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Err(refused("nothing is left of the account holder's name in the characters of SEPA".to_owned()));
    }
    sepa::validate::check_amount("InstdAmt", transfer.amount_minor).map_err(|error| refused(error.to_string()))?;
    let reference = sepa_reference(transfer.payout_id);
    let entry = CreditTransferEntry::new(holder, iban, transfer.amount_minor, &reference)
        .with_description(format!("Payout {reference}"));
    match bic {
        Some(bic) => Ok(entry.with_bic(validate_bic(bic).map_err(|error| refused(error.to_string()))?)),
        None => Ok(entry),
    }
}

/// A name in the characters of SEPA, up to 70 of them. What the bank would cut is cut here, so that it is the same
/// everywhere.
fn spelled(name: &str) -> String {
    let ascii = ascii(name).unwrap_or_default();
    let allowed = ascii.chars().map(|char| match char {
        '&' => '+',
        char if sepa::charset::is_sepa_char(char) => char,
        _ => ' ',
    });
    let cut: String = allowed.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    // A slash at the beginning or end, or two together, mean something else to the banks' network.
    let edge = ['/', ' '];
    let parts: Vec<&str> = cut.split('/').filter(|part| !part.is_empty()).collect();
    parts.join("/").trim_start_matches(edge).chars().take(70).collect::<String>().trim_end_matches(edge).to_owned()
}

fn postal(address: &Address) -> Result<PostalAddress, Unwritable> {
    let town = spelled(&address.town);
    let mut postal = PostalAddress::new(town, &address.country).map_err(|error| Unwritable::File(error.to_string()))?;
    if let Some(street) = &address.street {
        postal = postal.street(spelled(street));
    }
    if let Some(number) = &address.building_number {
        postal = postal.building_number(spelled(number));
    }
    if let Some(code) = &address.post_code {
        postal = postal.post_code(spelled(code));
    }
    Ok(postal)
}

fn moment(at: Instant) -> Result<(IsoDate, IsoDateTime), Unwritable> {
    let small = |number: u32| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(at.year()).unwrap_or_default();
    let date = IsoDate::new(year, small(at.month()), small(at.day()));
    let date = date.map_err(|error| Unwritable::File(error.to_string()))?;
    let time = IsoDateTime::new(date, small(at.hour()), small(at.minute()), small(at.second()));
    Ok((date, time.map_err(|error| Unwritable::File(error.to_string()))?.in_utc()))
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::{PayoutFileId, PayoutId};
    use uuid::Uuid;

    use super::*;

    fn written(head: &FileHead, transfers: &[Transfer]) -> Result<String, Unwritable> {
        CreditTransfers.write("EUR".parse().expect("known"), head, Some(&debtor()), transfers)
    }

    fn debtor() -> PayingAccount {
        PayingAccount::Sepa {
            name: "Müller & Söhne GmbH".to_owned(),
            iban: "DE89370400440532013000".to_owned(),
            bic: Some("COBADEFFXXX".to_owned()),
            address: Address {
                street: Some("Hauptstraße".to_owned()),
                building_number: Some("1".to_owned()),
                post_code: Some("10115".to_owned()),
                town: "Köln".to_owned(),
                country: "DE".to_owned(),
            },
        }
    }

    fn head() -> FileHead {
        let created_at = "2026-11-26T10:20:30.5Z".parse().expect("RFC 3339");
        FileHead { id: PayoutFileId::from_uuid(Uuid::from_u128(7)), created_at }
    }

    fn transfer(number: u128, holder: &str, amount_minor: i64) -> Transfer {
        Transfer {
            payout_id: PayoutId::from_uuid(Uuid::from_u128(number)),
            amount_minor,
            holder: holder.to_owned(),
            account: Account::Sepa { iban: "NL91ABNA0417164300".to_owned(), bic: None },
        }
    }

    #[test]
    fn file_holds_its_sums_and_names_in_the_banks_characters() {
        let transfers = [transfer(1, "Владимир <script>", 12_345), transfer(2, "李 小龙", 1)];
        let xml = written(&head(), &transfers).expect("written");
        for part in [
            "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09",
            "<NbOfTxs>2</NbOfTxs>",
            "<CtrlSum>123.46</CtrlSum>",
            "<InstdAmt Ccy=\"EUR\">123.45</InstdAmt>",
            "<Nm>Mueller + Soehne GmbH</Nm>",
            "<Nm>Vladimir script</Nm>",
            "<TwnNm>Koeln</TwnNm>",
            "<CreDtTm>2026-11-26T10:20:30Z</CreDtTm>",
            "<EndToEndId>pay-00000000000000000000000001</EndToEndId>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
        assert_eq!(written(&head(), &transfers), Ok(xml));
    }

    #[test]
    fn slashes_stand_at_no_end_of_a_name_and_never_together() {
        let of = |name: &str| spelled(name);
        assert_eq!(of("/Ada//Bob/"), "Ada/Bob");
        assert_eq!(of("a///b"), "a/b");
        assert_eq!(of("/ Ada /"), "Ada");
        assert_eq!(of(&format!("{}/b", "a".repeat(69))), "a".repeat(69));
    }

    #[test]
    fn transfer_that_no_file_can_hold_is_named() {
        let too_large = transfer(5, "Ada", 100_000_000_000);
        assert!(matches!(written(&head(), &[too_large]), Err(Unwritable::Payout(..))));
        let nameless = transfer(3, "…", 1);
        assert!(matches!(written(&head(), &[nameless]), Err(Unwritable::Payout(..))));
        let account = Account::Manual { instructions: "cash".to_owned() };
        let foreign = Transfer { account, ..transfer(4, "Ada", 1) };
        assert!(matches!(written(&head(), &[foreign]), Err(Unwritable::Payout(..))));
    }
}
