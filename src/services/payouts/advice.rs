//! Remittance advice: what a payout pays, from the statement between the payout before it and itself.

use chrono::TimeDelta;
use tributary_entity::{Instant, ids::PayoutId, money::Money, payout};

use crate::{
    auth::Viewer,
    domain::{
        payout_deductions::net_minor,
        sheet::{Form, Sheet},
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
    Ok(Some(sheet(&tx, &row, submitted_at).await?.written(form)))
}

async fn sheet(tx: &Tx, row: &payout::Model, submitted_at: Instant) -> Result<Sheet, ServiceError> {
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
    let mut about = vec![
        ("Payout", row.id.to_string()),
        ("Payee", affiliate.company.unwrap_or(affiliate.name)),
        ("Method", row.method.to_string()),
    ];
    if let Some(destination) = destination {
        about.push(("Account holder", destination.holder));
        about.push(("Account", destination.mask));
    }
    if let Some(reference) = &row.bank_reference {
        about.push(("Reference", reference.clone()));
    }
    about.push(("Submitted", submitted_at.format("%Y-%m-%d %H:%M UTC").to_string()));
    let rest = statement.closing.amount_minor.saturating_sub(row.gross_minor);
    let text = |money: Money| money.to_string();
    let mut amounts = vec![
        ("Balance after the last payout", text(statement.opening)),
        ("Earned since", text(statement.earned)),
        ("Reversed since", text(statement.reversed.negated())),
        ("Adjusted since", text(statement.adjusted)),
        ("Came back of payouts", text(statement.paid.negated())),
        ("Left in the balance", text(Money::new(rest, row.currency).negated())),
    ];
    let taken = [("Tax withheld", row.tax_minor), ("Fee", row.fee_minor)];
    if taken.iter().any(|(_, amount_minor)| *amount_minor != 0) {
        amounts.push(("This payout before deductions", text(Money::new(row.gross_minor, row.currency))));
        amounts
            .extend(taken.map(|(name, amount_minor)| (name, text(Money::new(amount_minor, row.currency).negated()))));
    }
    amounts.push(("This payout", text(Money::new(net_minor(row), row.currency))));
    Ok(Sheet { title: "Remittance advice", payer: tenants::get(tx).await?.name, about, amounts })
}
