//! What banks write back about payments: pain.002 status reports and camt.054 notifications. ACH returns are in
//! [`super::nacha`].

use sepa::{pain002::PaymentStatus, parse_camt054, parse_pain002};
use tributary_entity::Instant;

/// The largest file that is read.
pub const FILE_MAX: usize = 4 * 1024 * 1024;

/// What became of a payment, as a bank says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeStatus {
    /// The bank has it, and has not refused it.
    Accepted,
    /// It left the account.
    Paid,
    /// The bank refused it.
    Rejected,
    /// It came back.
    Returned,
    /// It went through, to an account that is to be corrected for the next time.
    Corrected,
    /// The bank says something else.
    Other,
}

/// One line of a bank's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// By which name we gave the payment, or the file that the line is about as a whole; none where the bank does not repeat
    /// it.
    pub reference: Option<String>,
    /// By which name the bank tells this line: the same line in two files has the same.
    pub key: String,
    pub status: NoticeStatus,
    /// The bank's code.
    pub reason: Option<String>,
    /// In the bank's words.
    pub detail: Option<String>,
    /// Of a whole file, the sum of its payments.
    pub amount_minor: Option<i64>,
    pub currency: Option<String>,
    /// The day of the booking, where it is told.
    pub happened_at: Option<Instant>,
}

/// Why a bank's file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// The lines of a status report: one for each transaction, and one for a group or a whole file that is told about without
/// its transactions.
///
/// # Errors
/// [`Unreadable`] for what is no pain.002.
pub fn read_pain002(xml: &str) -> Result<Vec<Notice>, Unreadable> {
    let report = parse_pain002(xml).map_err(|error| Unreadable(error.to_string()))?;
    let mut notices = Vec::new();
    for group in &report.payment_info_statuses {
        for transaction in &group.transactions {
            let status = transaction.status.as_ref().or(group.status.as_ref()).or(report.group_status.as_ref());
            let codes =
                if transaction.reason_codes.is_empty() { &group.reason_codes } else { &transaction.reason_codes };
            let reference = transaction.original_end_to_end_id.clone();
            let status = status_of(status);
            notices.push(Notice {
                key: format!("{}/{}/{status:?}", report.msg_id, reference.as_deref().unwrap_or_default()),
                reference,
                status,
                reason: codes.first().map(|code| code.as_code().to_owned()),
                detail: joined(&transaction.additional_info),
                amount_minor: transaction.original_amount_ct,
                currency: transaction.original_amount_ct.map(|_| "EUR".to_owned()),
                happened_at: None,
            });
        }
    }
    // The file as a whole: all its payments, by the name of their message.
    if notices.is_empty() {
        let codes = report.reason_codes();
        let status = report.group_status.as_ref();
        let status = status.or_else(|| report.payment_info_statuses.iter().find_map(|group| group.status.as_ref()));
        let status = status_of(status);
        notices.push(Notice {
            reference: Some(report.original_msg_id.clone()),
            key: format!("{}/{status:?}", report.msg_id),
            status,
            reason: codes.first().map(|code| code.as_code().to_owned()),
            detail: joined(&report.group_additional_info),
            amount_minor: None,
            currency: None,
            happened_at: None,
        });
    }
    Ok(notices)
}

fn status_of(status: Option<&PaymentStatus>) -> NoticeStatus {
    match status {
        Some(status) if status.is_rejected() => NoticeStatus::Rejected,
        // The debtor's account was debited, or the creditor's credited: settlement is done.
        Some(PaymentStatus::Acsc) => NoticeStatus::Paid,
        Some(PaymentStatus::Other(code)) if code == "ACCC" => NoticeStatus::Paid,
        Some(status) if status.is_accepted() => NoticeStatus::Accepted,
        _ => NoticeStatus::Other,
    }
}

fn joined(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| lines.join(" "))
}

/// Whether an end-to-end reference is one: banks write a word where there is none.
fn is_reference(text: &str) -> bool {
    text != "NOTPROVIDED"
}

/// The lines of a notification: one for each transaction of each entry; an entry without transactions is one, and so is the
/// booking of a whole file whose payments it does not name: it has the file's name and the sum.
///
/// # Errors
/// [`Unreadable`] for what is no camt.054.
pub fn read_camt054(xml: &str) -> Result<Vec<Notice>, Unreadable> {
    let document = parse_camt054(xml).map_err(|error| Unreadable(error.to_string()))?;
    let mut notices = Vec::new();
    for (place, entry) in document.notifications.iter().flat_map(|notification| &notification.entries).enumerate() {
        let booked = entry.booking_date().and_then(|date| {
            let day = chrono::NaiveDate::from_ymd_opt(date.year().into(), date.month().into(), date.day().into())?;
            Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
        });
        // The bank's own name of the booking; without one the line is this file's.
        let bank = entry.account_servicer_ref.clone().unwrap_or_else(|| format!("{}/{place}", document.msg_id));
        let status = |cents: Option<i64>, is_return: bool| match cents {
            _ if is_return => NoticeStatus::Returned,
            Some(cents) if cents < 0 => NoticeStatus::Paid,
            _ => NoticeStatus::Other,
        };
        let notice = |number: usize, cents: Option<i64>, is_return: bool| {
            let currency = entry.amount.currency.clone();
            Notice {
                reference: None,
                key: format!("{bank}/{number}"),
                status: status(cents, is_return),
                reason: None,
                detail: entry.additional_info.clone(),
                amount_minor: cents.map(i64::abs),
                currency,
                happened_at: booked,
            }
        };
        let is_named = entry.details.iter().any(|detail| detail.end_to_end_id.as_deref().is_some_and(is_reference));
        let file = entry.batch.as_ref().and_then(|batch| batch.payment_info_id.clone().or(batch.message_id.clone()));
        if file.is_some() && !is_named && !entry.is_return() {
            notices.push(Notice { reference: file, ..notice(0, entry.signed_ct(), false) });
            continue;
        }
        if entry.details.is_empty() {
            notices.push(notice(0, entry.signed_ct(), entry.is_return()));
        }
        for (number, detail) in entry.details.iter().enumerate() {
            let is_return = detail.is_return();
            notices.push(Notice {
                reference: detail.end_to_end_id.clone(),
                reason: detail.return_reason_code.clone(),
                detail: detail.return_additional_info.clone().or_else(|| detail.additional_info.clone()),
                ..notice(number, detail.signed_ct(), is_return)
            });
        }
    }
    Ok(notices)
}
