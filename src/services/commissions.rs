//! Commissions: list.

use tributary_entity::{
    commission,
    ids::{CommissionId, ConversionId},
};

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        commission::CommissionFilter,
        page::{Page, PageRequest},
    },
    store::commissions,
};

/// The commissions with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[CommissionId],
) -> Result<Vec<commission::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(commissions::get_many(&tx, ids).await?)
}

/// The commissions of these conversions that the viewer may see, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_conversions(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionId],
) -> Result<Vec<commission::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(commissions::of_conversions(&tx, ids).await?)
}

/// A page of the commissions that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &CommissionFilter,
    request: &PageRequest,
) -> Result<Page<commission::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(commissions::list(&tx, filter, request).await?)
}

/// How many commissions a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &CommissionFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(commissions::count(&tx, filter).await?)
}
