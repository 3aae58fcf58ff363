//! Compares books: our payouts, our ledger, and what each processor says it did; where a person or a bank's file pays, our
//! payouts and our ledger. What differs is in [`super::differences`].
//!
//! # Decisions
//! - What the ledger must hold is what `verify` demands, told of the day.
//! - A day is compared once per processor, after it is over; compared again it finds the same items. Days that passed
//!   while nobody could compare are made up for, up to a month of them.
//! - The processor's lines are asked for with some days around: a payment is often written there on another day than here.
//!   What of ours has no line that tells amount and fee is asked for by itself.
//! - A return without a notice becomes an item, whenever it comes: a person moves the payout, as after any notice that was
//!   lost.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate, TimeDelta};
use tributary_entity::{
    Instant,
    ids::PayoutId,
    kinds::{PayoutMethod, PayoutStatus, ReconciliationKind},
    money::Money,
    payout, payout_transfer, processor, reconciliation_run,
};
use uuid::Uuid;

use super::{
    differences::{Difference, tell},
    open,
};
use crate::{
    domain::{
        audit::Difference as AuditDifference,
        payout_deductions::net_minor,
        payout_destination,
        processor::{self as rules, Order},
        tenancy::TenantScope,
    },
    processors::{Booked, CallError, Found, Processor, Transaction, is_processor},
    services::{ServiceError, Services, publish},
    store::{
        audit::payouts as audit, error::StoreError, payout_destinations, payout_transfers, payouts, processors,
        reconciliation as store, scope::Tx,
    },
};

/// How many days before the last one are made up for.
const DAYS_BACK: Days = Days::new(30);
/// How far the processor's lines may lie from ours.
const AROUND: TimeDelta = TimeDelta::days(3);
/// After which nothing is under way any more: PayPal gives back after 30 days what nobody has claimed.
const OVERDUE: TimeDelta = TimeDelta::weeks(5);
/// Payouts looked at together.
const CHUNK: u64 = 500;
const IN_CLEARING: &[PayoutStatus] = &[PayoutStatus::Submitted, PayoutStatus::InTransit, PayoutStatus::Unknown];

/// Whose days are compared.
struct Due {
    method: PayoutMethod,
    /// Its account there; none for methods that have no books but ours.
    row: Option<processor::Model>,
    days: Vec<NaiveDate>,
}

/// Compares the days (in UTC) up to `last` of all methods by which a tenant pays, where that was not done yet. Answers how
/// many days were. One whose books cannot be had is left for the next time.
///
/// # Errors
/// As the database answers.
pub async fn up_to(services: &Services, scope: &TenantScope, last: NaiveDate) -> Result<u64, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    let mut due = Vec::new();
    for row in processors::live(&tx).await? {
        let since = processors::first_of(&tx, row.method).await?.map_or(row.created_at, |first| first.created_at);
        due.push(Due { method: row.method, days: not_compared(&tx, row.method, since, last).await?, row: Some(row) });
    }
    for (method, since) in store::in_use_since(&tx).await?.into_iter().filter(|(method, _)| !is_processor(*method)) {
        due.push(Due { method, row: None, days: not_compared(&tx, method, since, last).await? });
    }
    drop(tx);
    let mut compared = 0;
    for Due { method, row, days } in due {
        let account = match &row {
            Some(row) => match open(services, scope, row) {
                Some(account) => Some(account),
                None => continue,
            },
            None => None,
        };
        for day in days {
            if let Err(error) = compare(services, scope, method, account.as_deref(), day).await? {
                tracing::warn!(%error, %method, %day, "a processor's books cannot be had");
                break;
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// The days since an instant that were not compared, the latest first: one whose books cannot be had any more holds up
/// none that follows it.
async fn not_compared(
    tx: &Tx,
    method: PayoutMethod,
    since: Instant,
    last: NaiveDate,
) -> Result<Vec<NaiveDate>, StoreError> {
    let first = since.date_naive().max(last - DAYS_BACK);
    let done = store::days(tx, method, &first.to_string()).await?;
    let days = first.iter_days().take_while(|day| *day <= last).filter(|day| !done.contains(&day.to_string()));
    let mut days: Vec<NaiveDate> = days.collect();
    days.reverse();
    Ok(days)
}

/// Compares a day of one method.
async fn compare(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    account: Option<&dyn Processor>,
    day: NaiveDate,
) -> Result<Result<(), CallError>, ServiceError> {
    let from = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let period = (from, from + TimeDelta::days(1));
    let (transactions, mut differences) = match account {
        Some(account) => match books(services, scope, method, account, period).await? {
            Ok(counted) => counted,
            Err(error) => return Ok(Err(error)),
        },
        None => (0, 0),
    };
    differences += ledger(services, scope, method, day, period).await?;
    differences += overdue(services, scope, method, period).await?;
    let mut tx = services.db.begin(scope).await?;
    let run = reconciliation_run::Model {
        tenant_id: scope.tenant_id(),
        method,
        day: day.to_string(),
        transactions,
        differences,
        finished_at: services.now(),
    };
    store::finish(&mut tx, run).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Compares a processor's books of a period with ours. Answers how many lines it has of it, and how many differences there
/// are.
async fn books(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    account: &dyn Processor,
    (from, to): (Instant, Instant),
) -> Result<Result<(i64, i64), CallError>, ServiceError> {
    let changed_from = from - account.changes_within();
    let lines = match account.transactions(changed_from.min(from - AROUND), to + AROUND).await {
        Ok(lines) => lines,
        Err(error) => return Ok(Err(error)),
    };
    let of_day: Vec<&Transaction> = lines.iter().filter(|line| (from..to).contains(&line.at)).collect();
    let mut differences = theirs(services, scope, method, &of_day, Strangers::Told).await?;
    let is_late = |line: &&Transaction| line.kind == Booked::Return && (changed_from..from).contains(&line.at);
    let late: Vec<&Transaction> = lines.iter().filter(is_late).collect();
    differences += theirs(services, scope, method, &late, Strangers::PassedOver).await?;
    let found = ours(services, scope, method, account, &lines, (from, to)).await?;
    Ok(found.map(|found| (of_day.len() as i64, differences + found)))
}

/// The payouts that lines are about: by our reference, or by the payment's.
async fn subjects(
    tx: &Tx,
    method: PayoutMethod,
    lines: &[&Transaction],
) -> Result<(BTreeMap<PayoutId, payout::Model>, BTreeMap<String, PayoutId>), StoreError> {
    let ids: Vec<PayoutId> = lines.iter().filter_map(|line| line.payout_id).collect();
    let references: Vec<String> =
        lines.iter().filter(|line| line.payout_id.is_none()).map(|line| line.reference.clone()).collect();
    let mut rows = payouts::get_many(tx, &ids).await?;
    rows.retain(|row| row.method == method);
    let mut by_reference: BTreeMap<String, PayoutId> = BTreeMap::new();
    for row in store::by_references(tx, method, &references).await? {
        by_reference.extend(row.reference.clone().map(|reference| (reference, row.id)));
        rows.push(row);
    }
    Ok((rows.into_iter().map(|row| (row.id, row)).collect(), by_reference))
}

/// What becomes of lines that are about no payout of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Told,
    /// They were told of on their day, or are older than the account here.
    PassedOver,
}

/// Holds the processor's lines against our payouts. Answers how many differ.
async fn theirs(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    lines: &[&Transaction],
    strangers: Strangers,
) -> Result<i64, ServiceError> {
    let mut differences = 0;
    for chunk in lines.chunks(CHUNK as usize) {
        let mut tx = services.db.begin(scope).await?;
        let (rows, by_reference) = subjects(&tx, method, chunk).await?;
        let ids: Vec<PayoutId> = rows.keys().copied().collect();
        let transfers = transfers(&tx, &ids).await?;
        for line in chunk {
            let id = line.payout_id.or_else(|| by_reference.get(&line.reference).copied());
            let found = id.and_then(|id| rows.get(&id));
            if found.is_none() && strangers == Strangers::PassedOver {
                continue;
            }
            for difference in judge(method, line, found, found.and_then(|row| transfers.get(&row.id))) {
                tell(&mut tx, &difference, services.now()).await?;
                differences += 1;
            }
        }
        publish(&*services.bus, tx).await?;
    }
    Ok(differences)
}

async fn transfers(tx: &Tx, ids: &[PayoutId]) -> Result<BTreeMap<PayoutId, payout_transfer::Model>, StoreError> {
    let rows = payout_transfers::get_many(tx, ids).await?;
    Ok(rows.into_iter().map(|row| (row.payout_id, row)).collect())
}

/// How a line differs from the payout that it is about.
fn judge<'a>(
    method: PayoutMethod,
    line: &'a Transaction,
    payout: Option<&'a payout::Model>,
    transfer: Option<&payout_transfer::Model>,
) -> Vec<Difference<'a>> {
    use PayoutStatus::{Paid, Returned};
    let told = |difference: Difference<'a>| Difference {
        external_id: Some(&line.reference),
        currency: Some(line.amount.currency),
        theirs_minor: Some(line.amount.amount_minor),
        ..difference
    };
    let Some(payout) = payout else {
        let what = if line.kind == Booked::Payment { "a payment" } else { "a return" };
        let subject = format!("{what}:{}", line.reference);
        let detail = format!("the processor has {what} that is none of ours");
        return vec![told(Difference::new(method, ReconciliationKind::TheirsOnly, subject, &detail))];
    };
    let mut found: Vec<_> = other_amount(payout, line.amount).map(told).into_iter().collect();
    let agree = match line.kind {
        // What is on its way here may be booked there already.
        Booked::Payment => IN_CLEARING.contains(&payout.status) || matches!(payout.status, Paid | Returned),
        Booked::Return => payout.status == Returned,
    };
    if !agree {
        let detail = match line.kind {
            Booked::Payment => format!("the processor paid, the payout is {}", payout.status),
            Booked::Return => format!("the processor has it back, the payout is {}", payout.status),
        };
        found.push(told(Difference::of(ReconciliationKind::State, payout, &detail)));
    }
    let fee = line.fee.and_then(|fee| other_fee(payout, transfer, fee));
    found.extend(fee.map(|fee| Difference { external_id: Some(&line.reference), ..fee }));
    found
}

fn other_amount(payout: &payout::Model, theirs: Money) -> Option<Difference<'_>> {
    let differs = (payout.currency, net_minor(payout)) != (theirs.currency, theirs.amount_minor);
    differs.then(|| Difference {
        currency: Some(theirs.currency),
        theirs_minor: Some(theirs.amount_minor),
        ..Difference::of(ReconciliationKind::Amount, payout, "the amounts differ")
    })
}

/// A fee is posted once the payout is paid, and stays when it comes back.
fn other_fee<'a>(
    payout: &'a payout::Model,
    transfer: Option<&payout_transfer::Model>,
    theirs: Money,
) -> Option<Difference<'a>> {
    let posted = transfer.and_then(|transfer| transfer.fee_minor).unwrap_or(0);
    let was_paid = matches!(payout.status, PayoutStatus::Paid | PayoutStatus::Returned);
    (was_paid && theirs.amount_minor != posted).then(|| Difference {
        ours_minor: Some(posted),
        theirs_minor: Some(theirs.amount_minor),
        currency: Some(theirs.currency),
        ..Difference::of(ReconciliationKind::Fee, payout, "the processor charged another fee")
    })
}

/// Holds our payments of a day against what the processor says of each, whatever the day of its line: those of which its
/// lines do not tell all. Answers how many differ.
async fn ours(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    account: &dyn Processor,
    lines: &[Transaction],
    period: (Instant, Instant),
) -> Result<Result<i64, CallError>, ServiceError> {
    let told = || lines.iter().filter(|line| line.fee.is_some());
    let known: BTreeSet<PayoutId> = told().filter_map(|line| line.payout_id).collect();
    let names: BTreeSet<&str> = told().map(|line| line.reference.as_str()).collect();
    let mut differences = 0;
    let mut after = None;
    loop {
        let tx = services.db.snapshot(scope).await?;
        let paid = store::paid(&tx, method, period, after, CHUNK).await?;
        let Some(last) = paid.last() else { return Ok(Ok(differences)) };
        after = Some(last.id);
        let untold: Vec<&payout::Model> = paid
            .iter()
            .filter(|row| !known.contains(&row.id))
            .filter(|row| row.reference.as_deref().is_none_or(|reference| !names.contains(reference)))
            .collect();
        let ids: Vec<PayoutId> = untold.iter().map(|row| row.id).collect();
        let transfers = transfers(&tx, &ids).await?;
        let orders = orders(&tx, &untold, &transfers, services.now()).await?;
        drop(tx);
        for row in untold {
            let found = match orders.get(&row.id) {
                Some(order) => account.find(order).await,
                None => Ok(Found::Nothing),
            };
            let found = match found {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            let answered = answered(row, transfers.get(&row.id), &found);
            if answered.is_empty() {
                continue;
            }
            let mut tx = services.db.begin(scope).await?;
            for difference in &answered {
                tell(&mut tx, difference, services.now()).await?;
                differences += 1;
            }
            publish(&*services.bus, tx).await?;
        }
    }
}

/// How a payment of ours differs from what the processor answers about it.
fn answered<'a>(
    payout: &'a payout::Model,
    transfer: Option<&payout_transfer::Model>,
    found: &'a Found,
) -> Vec<Difference<'a>> {
    let ours_only = |detail: &str| vec![Difference::of(ReconciliationKind::OursOnly, payout, detail)];
    let report = match found {
        Found::Known(report) => report,
        Found::Nothing => return ours_only("the processor does not know the payment"),
        Found::Begun(_) => return ours_only("the processor waits for the payment's funds"),
        Found::NotAsked => {
            return ours_only("the processor cannot be asked about it, as it never told its name for it");
        }
        Found::CannotTell(why) => return ours_only(why),
    };
    let amount = report.amount.and_then(|amount| other_amount(payout, amount));
    let state = (rules::steps(payout.status, report) != Ok(Vec::new())).then(|| {
        let detail = format!("the payout is {}, the processor says {:?}", payout.status, report.progress);
        Difference::of(ReconciliationKind::State, payout, &detail)
    });
    let fee = report.fee.as_ref().and_then(|fee| other_fee(payout, transfer, fee.amount));
    let found = [amount, state, fee].into_iter().flatten();
    found.map(|difference| Difference { external_id: Some(&report.reference), ..difference }).collect()
}

/// What to ask for about payouts, where they have a destination that can be read.
async fn orders(
    tx: &Tx,
    rows: &[&payout::Model],
    transfers: &BTreeMap<PayoutId, payout_transfer::Model>,
    now: Instant,
) -> Result<BTreeMap<PayoutId, Order>, StoreError> {
    let ids: Vec<_> = rows.iter().filter_map(|row| row.destination_id).collect();
    let destinations = payout_destinations::get_many(tx, &ids).await?;
    let accounts: BTreeMap<_, _> =
        destinations.iter().filter_map(|row| Some((row.id, payout_destination::account(row)?))).collect();
    let order = |row: &payout::Model| {
        let transfer = transfers.get(&row.id)?;
        Some(Order {
            payout_id: row.id,
            amount: Money::new(net_minor(row), row.currency),
            account: accounts.get(&row.destination_id?)?.clone(),
            external_id: transfer.external_id.clone(),
            handed_at: transfer.handed_at,
            at: now,
        })
    };
    Ok(rows.iter().filter_map(|row| Some((row.id, order(row)?))).collect())
}

/// Holds what was posted in a day against its payouts: the clearing (2020) and the cash (1000) account of those who pay, and
/// each payout's journals. Answers how many differ.
async fn ledger(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    day: NaiveDate,
    period: (Instant, Instant),
) -> Result<i64, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let found = audit::in_period(&tx, method, period).await?;
    for one in &found {
        let payout = match one.subject.strip_prefix("payout ").and_then(|id| Uuid::try_parse(id).ok()) {
            Some(id) => payouts::get_many(&tx, &[PayoutId::from_uuid(id)]).await?.pop(),
            None => None,
        };
        tell(&mut tx, &posted_otherwise(method, day, one, payout.as_ref()), services.now()).await?;
    }
    publish(&*services.bus, tx).await?;
    Ok(found.len() as i64)
}

/// A difference of the ledger's, as an audit tells it.
fn posted_otherwise<'a>(
    method: PayoutMethod,
    day: NaiveDate,
    found: &AuditDifference,
    payout: Option<&'a payout::Model>,
) -> Difference<'a> {
    if payout.is_some() {
        let detail = format!("{}: {} by the payout, {} by the ledger", found.check, found.expected, found.found);
        let subject = format!("{}:{}", found.check, found.subject);
        return Difference { payout, ..Difference::new(method, ReconciliationKind::Ledger, subject, &detail) };
    }
    let (kind, what) = match found.check {
        audit::CLEARING => (ReconciliationKind::Clearing, "clearing"),
        _ => (ReconciliationKind::Ledger, "cash"),
    };
    let currency = found.subject.rsplit(' ').next().unwrap_or_default();
    let detail = format!("the {what} account differs from the payouts of {day}");
    Difference {
        currency: currency.parse().ok(),
        ours_minor: found.expected.parse().ok(),
        theirs_minor: found.found.parse().ok(),
        ..Difference::new(method, kind, format!("{currency}:{day}"), &detail)
    }
}

/// Tells of payouts that were submitted five weeks before a day and did not end. Answers how many.
async fn overdue(
    services: &Services,
    scope: &TenantScope,
    method: PayoutMethod,
    (from, to): (Instant, Instant),
) -> Result<i64, ServiceError> {
    let (mut differences, mut after) = (0, None);
    loop {
        let mut tx = services.db.begin(scope).await?;
        let period = (from - OVERDUE, to - OVERDUE);
        let rows = store::under_way(&tx, method, IN_CLEARING, period, after, CHUNK).await?;
        let Some(last) = rows.last() else { return Ok(differences) };
        after = Some(last.id);
        for row in &rows {
            let detail = format!("it is {} since it was submitted, five weeks ago", row.status);
            let subject = format!("{}:overdue", row.id);
            let difference = Difference { subject, ..Difference::of(ReconciliationKind::State, row, &detail) };
            tell(&mut tx, &difference, services.now()).await?;
            differences += 1;
        }
        publish(&*services.bus, tx).await?;
    }
}
