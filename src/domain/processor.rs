//! Processors: what they can pay, what they tell of a payment, and which steps of a payout that means.
//!
//! # Decisions
//! - What a processor tells may come doubled, late and in any order. A payout only ever goes on: what it has behind it is
//!   nothing new, and what it was not told before it is taken to have happened.
//! - A payment that fails after it was paid came back. One that is paid after it failed cannot be undone, as the money is
//!   the affiliate's again: it is a difference that a person has to look at.
//! - A payout is floored to what the processor can pay; the rest stays in the affiliate's balance.

use std::fmt;

use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant,
    ids::PayoutId,
    kinds::{PayoutMethod, PayoutStatus},
    money::Money,
    payout, payout_transfer,
};

use super::{
    payout::Step,
    payout_destination::Account,
    problem::{Problem, ProblemCode},
    text,
};

use PayoutStatus::{Approved, Cancelled, Draft, Failed, InTransit, Paid, Returned, Submitted, Unknown};

/// How far payouts of a currency can be cut at a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Decimal digits that the processor pays: 0 for whole yen.
    pub exponent: u8,
    /// The least that it pays, in minor units.
    pub minimum_minor: i64,
}

impl Unit {
    /// What of an amount is paid; none when that is too little to pay.
    pub fn floor(&self, amount: Money) -> Option<i64> {
        let digits = amount.currency.exponent().saturating_sub(self.exponent);
        let step = 10_i64.checked_pow(digits.into())?;
        let floored = amount.amount_minor - amount.amount_minor.rem_euclid(step);
        (floored >= self.minimum_minor.max(1)).then_some(floored)
    }
}

/// A tenant's credentials at a processor. Written nowhere but encrypted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "processor", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Credentials {
    Stripe {
        secret_key: String,
        /// Signs what Stripe sends.
        webhook_secret: String,
    },
    Paypal {
        client_id: String,
        client_secret: String,
        /// Names the webhook whose calls PayPal is asked to verify.
        webhook_id: String,
    },
    Wise {
        api_token: String,
        profile_id: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.method())
    }
}

/// The longest key that a processor gives.
const KEY_MAX: usize = 512;

impl Credentials {
    pub const fn method(&self) -> PayoutMethod {
        match self {
            Self::Stripe { .. } => PayoutMethod::Stripe,
            Self::Paypal { .. } => PayoutMethod::Paypal,
            Self::Wise { .. } => PayoutMethod::Wise,
        }
    }

    /// Checks each part's form.
    ///
    /// # Errors
    /// `REQUIRED`, `INVALID_TEXT` or `INVALID_ACCOUNT` at the part.
    pub fn check(self) -> Result<Self, Problem> {
        Ok(match self {
            Self::Stripe { secret_key, webhook_secret } => {
                let secret_key = key(&["stripe", "secretKey"], &secret_key)?;
                starts(&["stripe", "secretKey"], &secret_key, &["sk_", "rk_"])?;
                let webhook_secret = key(&["stripe", "webhookSecret"], &webhook_secret)?;
                starts(&["stripe", "webhookSecret"], &webhook_secret, &["whsec_"])?;
                Self::Stripe { secret_key, webhook_secret }
            }
            Self::Paypal { client_id, client_secret, webhook_id } => Self::Paypal {
                client_id: key(&["paypal", "clientId"], &client_id)?,
                client_secret: key(&["paypal", "clientSecret"], &client_secret)?,
                webhook_id: key(&["paypal", "webhookId"], &webhook_id)?,
            },
            Self::Wise { api_token, profile_id } => {
                let api_token = key(&["wise", "apiToken"], &api_token)?;
                let field = &["wise", "profileId"];
                let profile_id = key(field, &profile_id)?;
                if !profile_id.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Problem::new(ProblemCode::InvalidAccount, field, "a profile's id is a number"));
                }
                Self::Wise { api_token, profile_id }
            }
        })
    }

    /// Whether these are of the same account as others; none where they do not tell: a new key of Stripe's, or a new app of
    /// PayPal's, may be of any.
    pub fn is_account_of(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Stripe { secret_key: this, .. }, Self::Stripe { secret_key: that, .. })
            | (Self::Paypal { client_id: this, .. }, Self::Paypal { client_id: that, .. }) => {
                (this == that).then_some(true)
            }
            (Self::Wise { profile_id: this, .. }, Self::Wise { profile_id: that, .. }) => Some(this == that),
            _ => Some(false),
        }
    }

    /// The account as far as its owner needs to know it again: no secret, nor a part of one that helps to guess it.
    pub fn mask(&self) -> String {
        let key = match self {
            Self::Stripe { secret_key, .. } => secret_key,
            Self::Paypal { client_id, .. } => client_id,
            Self::Wise { profile_id, .. } => return format!("profile {profile_id}"),
        };
        let last = if key.len() >= 20 { key.get(key.len() - 4..).unwrap_or_default() } else { "" };
        format!("…{last}")
    }
}

/// A key of printable ASCII without spaces: it stands in a header.
fn key(field: &[&str], value: &str) -> Result<String, Problem> {
    let key = text::required(field, value, KEY_MAX)?;
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key);
    }
    Err(Problem::new(ProblemCode::InvalidText, field, "printable ASCII without spaces"))
}

fn starts(field: &[&str], key: &str, prefixes: &[&str]) -> Result<(), Problem> {
    if prefixes.iter().any(|prefix| key.starts_with(prefix)) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::InvalidAccount, field, format!("begins with {}", prefixes.join(" or "))))
}

/// A payment to be made, or to be found again.
#[derive(Clone, Debug)]
pub struct Order {
    /// Our reference and the idempotency key, the same at each try.
    pub payout_id: PayoutId,
    pub amount: Money,
    pub account: Account,
    /// What the processor calls it, where it has said so.
    pub external_id: Option<String>,
    /// When it was first asked to pay.
    pub handed_at: Option<Instant>,
    /// Now.
    pub at: Instant,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    InTransit,
    Paid,
    Failed,
    Cancelled,
    /// Was or would have been paid, and came back.
    Returned,
}

/// What a processor takes for a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fee {
    /// Its name in the processor's books: it is posted once.
    pub transaction: String,
    pub amount: Money,
}

/// What a processor says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub progress: Progress,
    /// What to look it up by.
    pub external_id: String,
    /// The payment's name in the processor's books.
    pub reference: String,
    /// The return's, where it came back.
    pub return_reference: Option<String>,
    pub reason: Option<String>,
    /// What is paid, where the processor says it.
    pub amount: Option<Money>,
    pub fee: Option<Fee>,
}

/// What a processor says contradicts what was settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payout is {ours}, the processor says {theirs:?}")]
pub struct Contradiction {
    pub ours: PayoutStatus,
    pub theirs: Progress,
}

/// The steps from where a payout stands to what a report says; none when it is nothing new.
///
/// # Errors
/// [`Contradiction`].
pub fn steps(status: PayoutStatus, report: &Report) -> Result<Vec<Step>, Contradiction> {
    use Progress as P;
    let reason = || Some(report.reason.clone().unwrap_or_else(|| "the processor says so".to_owned()));
    let paid = || Step { reference: Some(report.reference.clone()), ..Step::to(Paid) };
    let came_back = || {
        let reference = report.return_reference.clone().unwrap_or_else(|| format!("{}:returned", report.reference));
        Step { reference: Some(reference), reason: reason(), ..Step::to(Returned) }
    };
    let ended = |to| vec![Step { reason: reason(), ..Step::to(to) }];
    Ok(match (status, report.progress) {
        (Submitted | Unknown, P::InTransit) => vec![Step::to(InTransit)],
        (Submitted | InTransit | Unknown, P::Paid) => vec![paid()],
        (Submitted | InTransit | Unknown, P::Failed) => ended(Failed),
        (Submitted | InTransit, P::Cancelled) => ended(Cancelled),
        // Nobody here cancelled what nobody answered for.
        (Unknown, P::Cancelled) => ended(Failed),
        (Submitted | InTransit | Unknown, P::Returned) => vec![paid(), came_back()],
        (Paid, P::Failed | P::Cancelled | P::Returned) => vec![came_back()],
        (InTransit, P::InTransit)
        | (Paid, P::InTransit | P::Paid)
        | (Returned, _)
        | (Failed | Cancelled, P::InTransit | P::Failed | P::Cancelled | P::Returned) => Vec::new(),
        (Draft | Approved, _) | (Failed | Cancelled, P::Paid) => {
            return Err(Contradiction { ours: status, theirs: report.progress });
        }
    })
}

/// Calls after which a payout that nobody can be asked about is for people, too: the first, and one that did not find it.
const TRIED: i32 = 2;

/// Whether a person may move a payout on whose processor is set up: what was handed over is the processor's to tell
/// about, as it may have been paid. Where it cannot be asked, and another call did not find out, a person may: somebody has
/// to look into the processor's books. A return of what was paid may be told by hand: its notice may have been lost.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn by_hand(
    payout: &payout::Model,
    transfer: Option<&payout_transfer::Model>,
    can_be_asked: bool,
    now: Instant,
) -> Result<(), Problem> {
    let is_theirs = match (payout.status, transfer) {
        (Unknown, Some(transfer)) => {
            let is_busy = transfer.busy_until.is_some_and(|until| now < until);
            can_be_asked || transfer.external_id.is_some() || transfer.calls < TRIED || is_busy
        }
        (status, _) => matches!(status, Submitted | InTransit | Unknown),
    };
    if is_theirs {
        let message = format!("{} has it, and tells what becomes of it", payout.method);
        return Err(Problem::new(ProblemCode::InvalidTransition, &["id"], message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::payout::testing::payout;

    const ALL: [Progress; 5] =
        [Progress::InTransit, Progress::Paid, Progress::Failed, Progress::Cancelled, Progress::Returned];

    fn report(progress: Progress) -> Report {
        Report {
            progress,
            external_id: "x".to_owned(),
            reference: "r".to_owned(),
            return_reference: None,
            reason: None,
            amount: None,
            fee: None,
        }
    }

    #[test]
    fn amounts_are_floored_to_what_is_paid() {
        let floor = |amount_minor, code: &str, exponent, minimum_minor| {
            let currency = code.parse().expect("known");
            Unit { exponent, minimum_minor }.floor(Money::new(amount_minor, currency))
        };
        assert_eq!(floor(1_234, "EUR", 2, 1), Some(1_234));
        assert_eq!(floor(1_234, "HUF", 0, 1), Some(1_200));
        assert_eq!(floor(1_239, "KWD", 2, 1), Some(1_230));
        assert_eq!(floor(99, "HUF", 0, 1), None);
        assert_eq!(floor(1_234, "JPY", 0, 1), Some(1_234));
        // A processor that counts finer than the currency changes nothing.
        assert_eq!(floor(7, "ISK", 2, 1), Some(7));
        assert_eq!((floor(99, "EUR", 2, 100), floor(100, "EUR", 2, 100)), (None, Some(100)));
    }

    #[test]
    fn masks_and_logs_tell_no_secret() {
        let stripe =
            Credentials::Stripe { secret_key: "sk_live_abcdefghijklmn".into(), webhook_secret: "whsec_1".into() };
        assert_eq!(stripe.mask(), "…klmn");
        assert_eq!(format!("{stripe:?}"), "Credentials(STRIPE)");
        let short = Credentials::Stripe { secret_key: "sk_1".into(), webhook_secret: "whsec_1".into() };
        assert_eq!(short.mask(), "…");
    }

    #[test]
    fn late_failure_is_a_return_and_late_payment_a_contradiction() {
        let late = steps(Paid, &report(Progress::Failed)).expect("a return");
        assert_eq!((late[0].to, late[0].reference.as_deref()), (Returned, Some("r:returned")));
        assert!(steps(Failed, &report(Progress::Paid)).is_err());
        let both = steps(Unknown, &report(Progress::Returned)).expect("two steps");
        assert_eq!(both.iter().map(|step| step.to).collect::<Vec<_>>(), [Paid, Returned]);
    }

    #[test]
    fn what_a_processor_can_be_asked_about_is_not_moved_by_hand() {
        let now = Instant::default() + chrono::TimeDelta::days(1);
        let row = |status| payout::Model { status, method: PayoutMethod::Paypal, ..payout(100) };
        let unknown = row(Unknown);
        let tried = payout_transfer::Model {
            tenant_id: unknown.tenant_id,
            payout_id: unknown.id,
            method: unknown.method,
            calls: 2,
            handed_at: Some(Instant::default()),
            busy_until: None,
            next_look_at: None,
            external_id: None,
            fee_transaction: None,
            fee_minor: None,
            trouble: None,
            updated_at: Instant::default(),
        };
        let may = |row: &payout::Model, transfer: &payout_transfer::Model, can_be_asked| {
            by_hand(row, Some(transfer), can_be_asked, now).is_ok()
        };
        assert!(may(&unknown, &tried, false));
        assert!(!may(&unknown, &tried, true));
        assert!(!may(&unknown, &payout_transfer::Model { calls: 1, ..tried.clone() }, false));
        let later = Some(now + chrono::TimeDelta::minutes(1));
        assert!(!may(&unknown, &payout_transfer::Model { busy_until: later, ..tried.clone() }, false));
        assert!(may(&unknown, &payout_transfer::Model { busy_until: Some(now), ..tried.clone() }, false));
        let named = payout_transfer::Model { external_id: Some("B1".to_owned()), ..tried.clone() };
        assert!(!may(&unknown, &named, false));
        assert!(!may(&row(Submitted), &tried, false) && !may(&row(InTransit), &tried, false));
        assert!(may(&row(Paid), &named, true) && may(&row(Approved), &tried, true));
        assert!(by_hand(&unknown, None, false, now).is_err());
    }

    proptest! {
        /// In whatever order and however often a processor tells: every step is one of a payout's moves, and what is told
        /// again is nothing new.
        #[test]
        fn reports_in_any_order_only_lead_on(
            from in prop::sample::select(vec![Submitted, InTransit, Unknown]),
            told in prop::collection::vec(prop::sample::select(ALL.to_vec()), 0..20),
        ) {
            let mut row = payout(100);
            row.status = from;
            for progress in told {
                let report = report(progress);
                let Ok(taken) = steps(row.status, &report) else { continue };
                for step in taken {
                    row = step.take(&row, Instant::default()).expect("a move of payouts");
                }
                prop_assert_eq!(steps(row.status, &report), Ok(Vec::new()));
            }
        }
    }
}
