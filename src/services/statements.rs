//! Statements: read from the ledger, at one moment.

use tributary_entity::{affiliate, ids::AffiliateId, money::Currency};

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::statement::{Period, Statement},
    store::{
        affiliates,
        error::{Constraint, StoreError},
        statements,
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
