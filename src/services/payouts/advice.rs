//! Remittance advice: what a payout pays, from the statement between the payout before it and itself.

use chrono::TimeDelta;
use tributary_entity::{Instant, ids::PayoutId, money::Money, payout};

use crate::{
    auth::Viewer,
    domain::{
        bank::advice::{self, Advice},
        payout_deductions::net_minor,
        statement::{Period, Statement},
    },
    services::{ServiceError, Services},
    store::{
        affiliates,
        error::{Constraint, StoreError},
        payout_destinations, payouts,
        scope::Tx,
        statements, tenants,
    },
};

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Csv,
    Pdf,
}

/// The advice of a payout that the viewer may see; none for one that is not there or not submitted. The same bytes each
/// time.
///
/// # Errors
/// As the database answers.
pub async fn of_payout(
    services: &Services,
    viewer: &Viewer,
    id: PayoutId,
    form: Form,
) -> Result<Option<Vec<u8>>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let Some(row) = payouts::get_many(&tx, &[id]).await?.pop() else { return Ok(None) };
    let Some(submitted_at) = row.submitted_at else { return Ok(None) };
    let advice = written(&tx, &row, submitted_at).await?;
    Ok(Some(match form {
        Form::Csv => advice::to_csv(&advice).into_bytes(),
        Form::Pdf => advice::to_pdf(&advice),
    }))
}

async fn written(tx: &Tx, row: &payout::Model, submitted_at: Instant) -> Result<Advice, ServiceError> {
    let affiliate = affiliates::get(tx, row.affiliate_id).await?;
    let affiliate = affiliate.ok_or_else(|| StoreError::inconsistent("payout", "its affiliate is not there"))?;
    let destination = match row.destination_id {
        Some(id) => payout_destinations::get_many(tx, &[id]).await?.pop(),
        None => None,
    };
    // Up to and without its own journal, which was posted at that moment.
    let from = payouts::submitted_before(tx, row.affiliate_id, row.currency, submitted_at).await?;
    let from = from.map_or(Instant::UNIX_EPOCH, |at| at + TimeDelta::microseconds(1));
    let period = Period { from, until: submitted_at };
    let (opening_minor, sums) = statements::sums(tx, row.affiliate_id, row.currency, period).await?;
    let statement = Statement::of(row.currency, opening_minor, &sums);
    let statement = statement.ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let mut payout = vec![
        ("Payout", row.id.to_string()),
        ("Payee", affiliate.company.unwrap_or(affiliate.name)),
        ("Method", row.method.to_string()),
    ];
    if let Some(destination) = destination {
        payout.push(("Account holder", destination.holder));
        payout.push(("Account", destination.mask));
    }
    if let Some(reference) = &row.bank_reference {
        payout.push(("Reference", reference.clone()));
    }
    payout.push(("Submitted", submitted_at.format("%Y-%m-%d %H:%M UTC").to_string()));
    let rest = statement.closing.amount_minor.saturating_sub(row.gross_minor);
    let text = |money: Money| money.to_string();
    let mut amounts = vec![
        ("Balance after the last payout", text(statement.opening)),
        ("Earned since", text(statement.earned)),
        ("Reversed since", text(negated(statement.reversed))),
        ("Adjusted since", text(statement.adjusted)),
        ("Came back of payouts", text(negated(statement.paid))),
        ("Left in the balance", text(negated(Money::new(rest, row.currency)))),
    ];
    let taken = [("Tax withheld", row.tax_minor), ("Fee", row.fee_minor)];
    if taken.iter().any(|(_, amount_minor)| *amount_minor != 0) {
        amounts.push(("This payout before deductions", text(Money::new(row.gross_minor, row.currency))));
        amounts.extend(taken.map(|(name, amount_minor)| (name, text(negated(Money::new(amount_minor, row.currency))))));
    }
    amounts.push(("This payout", text(Money::new(net_minor(row), row.currency))));
    Ok(Advice { payer: tenants::get(tx).await?.name, payout, amounts })
}

fn negated(money: Money) -> Money {
    Money::new(money.amount_minor.saturating_neg(), money.currency)
}
