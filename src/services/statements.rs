//! Statements: read from the ledger, at one moment.

use tributary_entity::{Instant, affiliate, ids::AffiliateId, money::Currency};

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        sheet::{Form, Sheet},
        statement::{Period, Statement},
    },
    store::{
        affiliates,
        error::{Constraint, StoreError},
        statements, tenants,
    },
};

/// An affiliate's statement of a period. None when there is no such affiliate for the viewer to see.
///
/// # Errors
/// The period's problems.
pub async fn of_affiliate(
    services: &Services,
    viewer: &Viewer,
    affiliate_id: AffiliateId,
    currency: Currency,
    period: Period,
) -> Result<Option<(affiliate::Model, Statement)>, ServiceError> {
    let period = period.check()?;
    let tx = services.snapshot(viewer).await?;
    let Some(affiliate) = affiliates::get(&tx, affiliate_id).await? else { return Ok(None) };
    let (opening_minor, sums) = statements::sums(&tx, affiliate_id, currency, period).await?;
    let statement = Statement::of(currency, opening_minor, &sums);
    let statement = statement.ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    Ok(Some((affiliate, statement)))
}

/// A statement that was read, for people.
///
/// # Errors
/// As the database answers.
pub async fn written(
    services: &Services,
    viewer: &Viewer,
    affiliate: &affiliate::Model,
    (period, statement): (Period, &Statement),
    form: Form,
) -> Result<Vec<u8>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let instant = |at: Instant| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let sheet = Sheet {
        title: "Statement",
        payer: tenants::get(&tx).await?.name,
        about: vec![
            ("Affiliate", affiliate.id.to_string()),
            ("Payee", affiliate.company.clone().unwrap_or_else(|| affiliate.name.clone())),
            ("From", instant(period.from)),
            ("Until", instant(period.until)),
        ],
        amounts: vec![
            ("Opening balance", statement.opening.to_string()),
            ("Earned", statement.earned.to_string()),
            ("Reversed", statement.reversed.negated().to_string()),
            ("Adjusted", statement.adjusted.to_string()),
            ("Paid", statement.paid.negated().to_string()),
            ("Closing balance", statement.closing.to_string()),
        ],
    };
    Ok(sheet.written(form))
}
