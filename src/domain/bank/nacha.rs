//! ACH credits in NACHA's format: records of 94 characters, one batch of PPD or CCD entries, blocks of ten records; and the
//! returns and notifications of change (NOC) that come back in it.
//!
//! # Decisions
//! - An entry is known again by its individual identification number, which the receiving bank copies into a return; trace
//!   numbers repeat from file to file.
//! - The entries settle on the next weekday after the file was first written: the bank knows its holidays and moves them.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use tributary_entity::{ids::PayoutId, kinds::PayoutMethod, money::Currency};

use super::{
    FileHead, Originator, PayingAccount, PaymentFile, Transfer, Unwritable, ach_reference, ascii,
    notice::{Notice, NoticeStatus, Unreadable},
};
use crate::domain::payout_destination::Account;

const RECORD: usize = 94;
const BLOCK: usize = 10;
/// The largest amount of an entry, and the largest total of a batch.
const ENTRY_MAX: i64 = 9_999_999_999;
const TOTAL_MAX: i64 = 999_999_999_999;
/// The hash keeps its last ten digits.
const HASH_MODULO: i64 = 10_000_000_000;

/// Credits of one batch.
pub struct Credits;

impl PaymentFile for Credits {
    fn method(&self) -> Option<PayoutMethod> {
        Some(PayoutMethod::Ach)
    }

    fn reference(&self, id: PayoutId) -> Option<String> {
        Some(ach_reference(id))
    }

    fn write(
        &self,
        _: Currency,
        head: &FileHead,
        account: Option<&PayingAccount>,
        transfers: &[Transfer],
    ) -> Result<String, Unwritable> {
        let Some(PayingAccount::Ach(originator)) = account else {
            return Err(Unwritable::File("the account is no originator of ACH entries".to_owned()));
        };
        let odfi = &originator.bank_routing_number[..8];
        let mut records = vec![file_header(head, originator), batch_header(head, originator)];
        let (mut hash, mut total) = (0_i64, 0_i64);
        for (number, transfer) in (1_usize..).zip(transfers) {
            let (record, routing) = entry(transfer, &format!("{odfi}{number:07}"))?;
            hash += routing;
            total += transfer.amount_minor;
            records.push(record);
        }
        if total > TOTAL_MAX {
            return Err(Unwritable::File("the sum of the entries has more than twelve digits".to_owned()));
        }
        let (count, hash) = (transfers.len(), hash % HASH_MODULO);
        records.push(format!(
            "8220{count:06}{hash:010}{:012}{total:012}{}{:19}{:6}{odfi}{:07}",
            0, originator.company_id, "", "", 1
        ));
        let blocks = (records.len() + 1).div_ceil(BLOCK);
        records.push(format!("9{:06}{blocks:06}{count:08}{hash:010}{:012}{total:012}{:39}", 1, 0, ""));
        records.resize(blocks * BLOCK, "9".repeat(RECORD));
        debug_assert!(records.iter().all(|record| record.len() == RECORD), "{records:#?}");
        Ok(records.join("\n") + "\n")
    }
}

fn file_header(head: &FileHead, originator: &Originator) -> String {
    format!(
        "101 {}{}{}{}094101{}{}{:8}",
        originator.bank_routing_number,
        originator.company_id,
        head.created_at.format("%y%m%d%H%M"),
        modifier(head),
        field(&originator.bank_name, 23),
        field(&originator.company_name, 23),
        ""
    )
}

/// Tells files of one day apart, as far as one character can: of the file's id.
fn modifier(head: &FileHead) -> char {
    let number = head.id.uuid().as_bytes().iter().fold(0_u32, |sum, byte| (sum * 31 + u32::from(*byte)) % 36);
    char::from_digit(number, 36).unwrap_or('0').to_ascii_uppercase()
}

fn batch_header(head: &FileHead, originator: &Originator) -> String {
    let written = head.created_at.date_naive();
    format!(
        "5220{}{:20}{}{}{}{}{}{:3}1{}{:07}",
        field(&originator.company_name, 16),
        "",
        originator.company_id,
        if originator.is_corporate { "CCD" } else { "PPD" },
        field("PAYOUT", 10),
        written.format("%y%m%d"),
        settles_on(written).format("%y%m%d"),
        "",
        &originator.bank_routing_number[..8],
        1
    )
}

fn settles_on(written: NaiveDate) -> NaiveDate {
    let mut day = written + Days::new(1);
    while matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
        day = day + Days::new(1);
    }
    day
}

/// An entry, and what it adds to the hash.
fn entry(transfer: &Transfer, trace: &str) -> Result<(String, i64), Unwritable> {
    let refused = |why: &str| Unwritable::Payout(transfer.payout_id, why.to_owned());
    let Account::Ach { routing_number, account_number, is_savings } = &transfer.account else {
        return Err(refused("its account is not in the United States"));
    };
    if transfer.amount_minor > ENTRY_MAX {
        return Err(refused("its amount has more than ten digits"));
    }
    let holder = ascii(&transfer.holder)
        .ok_or_else(|| refused("nothing is left of the account holder's name in the characters of ACH"))?;
    let routing = routing_number[..8].parse().map_err(|_| refused("its routing number is none"))?;
    let record = format!(
        "6{}{routing_number}{}{:010}{}{}  0{trace}",
        if *is_savings { "32" } else { "22" },
        field(account_number, 17),
        transfer.amount_minor,
        ach_reference(transfer.payout_id),
        field(&holder, 22),
    );
    Ok((record, routing))
}

/// A text in upper-case ASCII, cut or filled up to a width.
fn field(value: &str, width: usize) -> String {
    let ascii = ascii(value).unwrap_or_default().to_ascii_uppercase();
    let cut: String = ascii.chars().take(width).collect();
    format!("{cut:width$}")
}

/// Reads the returns and notifications of change of a file. Records of other kinds are passed over.
///
/// # Errors
/// [`Unreadable`] for a file that is none of NACHA's, or that ends in the middle.
pub fn read(text: &str) -> Result<Vec<Notice>, Unreadable> {
    let records: Vec<&str> =
        text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).collect();
    if !text.is_ascii() || records.iter().any(|record| record.len() != RECORD) {
        return Err(Unreadable("a record has not 94 characters".to_owned()));
    }
    if records.first().is_none_or(|record| !record.starts_with("101")) {
        return Err(Unreadable("the file does not begin with its header".to_owned()));
    }
    if !records.iter().any(|record| record.starts_with('9') && **record != "9".repeat(RECORD)) {
        return Err(Unreadable("the file's end is missing".to_owned()));
    }
    let mut notices = Vec::new();
    for pair in records.windows(2) {
        let (entry, addenda) = (pair[0], pair[1]);
        if !entry.starts_with('6') || !addenda.starts_with('7') {
            continue;
        }
        let cents = entry[29..39].parse().ok();
        let code = addenda[3..6].to_owned();
        let (status, detail) = match &addenda[1..3] {
            "99" => (NoticeStatus::Returned, addenda[35..79].trim().to_owned()),
            "98" => (NoticeStatus::Corrected, addenda[35..64].trim().to_owned()),
            _ => continue,
        };
        notices.push(Notice {
            reference: Some(entry[39..54].trim().to_owned()).filter(|reference| !reference.is_empty()),
            // The bank's trace number of the return: new for each.
            key: addenda[79..94].trim().to_owned(),
            status,
            reason: Some(code),
            detail: Some(detail).filter(|detail| !detail.is_empty()),
            amount_minor: cents,
            currency: Some("USD".to_owned()),
            happened_at: None,
        });
    }
    Ok(notices)
}

/// What a return code means, where it is a usual one (Nacha Operating Rules, Appendix Four).
pub fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "R01" => "insufficient funds",
        "R02" => "account closed",
        "R03" => "no account, or it cannot be found",
        "R04" => "invalid account number",
        "R06" => "returned at the originating bank's request",
        "R10" => "customer says it is not authorised",
        "R12" => "branch sold to another bank",
        "R13" => "invalid routing number",
        "R14" => "the representative payee has died",
        "R15" => "the beneficiary has died",
        "R16" => "account frozen",
        "R17" => "file record edit criteria",
        "R20" => "no transaction account",
        "R23" => "credit refused by the receiver",
        "R24" => "duplicate entry",
        "R29" => "corporate customer says it is not authorised",
        "R31" => "permissible return of a CCD entry",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tributary_entity::{
        Instant,
        ids::{PayoutFileId, PayoutId},
    };
    use uuid::Uuid;

    use super::*;

    fn written(head: &FileHead, transfers: &[Transfer]) -> Result<String, Unwritable> {
        written_for(false, head, transfers)
    }

    fn written_for(is_corporate: bool, head: &FileHead, transfers: &[Transfer]) -> Result<String, Unwritable> {
        Credits.write("USD".parse().expect("known"), head, Some(&account(is_corporate)), transfers)
    }

    fn account(is_corporate: bool) -> PayingAccount {
        PayingAccount::Ach(Originator {
            company_name: "Shop Inc".to_owned(),
            company_id: "1234567890".to_owned(),
            bank_routing_number: "021000021".to_owned(),
            bank_name: "First Bank".to_owned(),
            is_corporate,
        })
    }

    fn head(at: &str) -> FileHead {
        let created_at: Instant = at.parse().expect("RFC 3339");
        FileHead { id: PayoutFileId::from_uuid(Uuid::from_u128(7)), created_at }
    }

    fn transfer(number: u128, routing: &str, amount_minor: i64) -> Transfer {
        Transfer {
            payout_id: PayoutId::from_uuid(Uuid::from_u128(number)),
            amount_minor,
            holder: "Zoë Ångström".to_owned(),
            account: Account::Ach {
                routing_number: routing.to_owned(),
                account_number: "12-345".to_owned(),
                is_savings: number.is_multiple_of(2),
            },
        }
    }

    /// An addenda record that sends the second entry back.
    fn returned(file: &str, kind: &str, code: &str) -> String {
        let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
        let entry = lines[3].clone();
        let addenda =
            format!("7{kind}{code}{}{:6}{}{:44}{}", &entry[79..94], "", &entry[3..11], "NEW", "021000029999999");
        assert_eq!(addenda.len(), RECORD);
        lines.insert(4, addenda);
        lines.join("\r\n")
    }

    #[test]
    fn file_has_whole_blocks_and_right_sums() {
        let transfers = [transfer(1, "011401533", 12_345), transfer(2, "091000019", 1)];
        // A Friday.
        let file = written(&head("2026-11-27T10:20:00Z"), &transfers).expect("written");
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!(lines.len(), 10);
        assert!(lines.iter().all(|line| line.len() == 94), "{file}");
        assert!(lines[0].starts_with("101 02100002112345678902611271020"), "{file}");
        assert!(lines[1].contains("PPDPAYOUT    261127261130   1021000020000001"), "{file}");
        assert_eq!(
            lines[2],
            "62201140153312-345           0000012345000000000000001ZOE ANGSTROEM           0021000020000001"
        );
        assert!(lines[3].starts_with("632091000019"), "{file}");
        assert_eq!(
            lines[4],
            "82200000020010240154000000000000000000012346\
             1234567890                         021000020000001"
        );
        assert!(lines[5].starts_with("9000001000001000000020010240154000000000000000000012346"), "{file}");
        assert_eq!(lines[9], "9".repeat(94));
        assert_eq!(written(&head("2026-11-27T10:20:00Z"), &transfers), Ok(file));
    }

    #[test]
    fn entries_of_companies_differ_by_their_class_alone() {
        let transfers = [transfer(1, "011401533", 12_345), transfer(2, "091000019", 1)];
        let head = head("2026-11-27T10:20:00Z");
        let [consumers, companies] =
            [false, true].map(|is_corporate| written_for(is_corporate, &head, &transfers).expect("written"));
        // The entry class, in columns 51 to 53 of the batch's header.
        assert_eq!(companies.lines().nth(1).map(|header| &header[50..53]), Some("CCD"));
        assert_eq!(consumers.replace("PPDPAYOUT", "CCDPAYOUT"), companies);
        let notices = read(&returned(&companies, "99", "R31")).expect("read");
        assert_eq!((notices[0].status, notices[0].reason.as_deref()), (NoticeStatus::Returned, Some("R31")));
    }

    #[test]
    fn returns_and_corrections_are_read_back() {
        let transfers = [transfer(1, "011401533", 12_345), transfer(2, "091000019", 500)];
        let file = written(&head("2026-11-27T10:20:00Z"), &transfers).expect("written");
        let notices = read(&returned(&file, "99", "R03")).expect("read");
        let [notice] = &notices[..] else { panic!("{notices:?}") };
        assert_eq!(notice.reference.as_deref(), Some("000000000000002"));
        assert_eq!((notice.status, notice.reason.as_deref()), (NoticeStatus::Returned, Some("R03")));
        assert_eq!((notice.amount_minor, notice.key.as_str()), (Some(500), "021000029999999"));
        let notices = read(&returned(&file, "98", "C01")).expect("read");
        assert_eq!(notices[0].status, NoticeStatus::Corrected);
        assert_eq!(read(&file), Ok(Vec::new()));
    }

    #[test]
    fn file_of_another_kind_is_refused() {
        let file = written(&head("2026-11-27T10:20:00Z"), &[transfer(1, "011401533", 1)]).expect("written");
        let torn: String = file.lines().take(4).map(|line| format!("{line}\n")).collect();
        for text in ["", "abc", "<xml/>", &file[..200], &torn, &file.replace('Z', "É")] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
