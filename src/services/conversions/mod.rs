//! Conversions: record through the lanes, list; [`review`] and [`reopen`] are decisions of persons, [`let_go`] of
//! senders; [`refund`], [`undo`] and
//! [`adjust`] change what is recorded; [`runs`] do such things with many.

mod adjust;
pub mod advance;
mod changes;
mod let_go;
mod refund;
mod reopen;
mod review;
pub mod runs;
mod undo;

use std::collections::HashMap;

use chrono::TimeDelta;
use tributary_entity::{commission, conversion, conversion_history, ids::ConversionId};
use uuid::Uuid;

use super::{
    Outcome, ServiceError, Services, feed,
    ingest::{
        Item, Recorded, Work,
        conversions::{rated, waiting},
    },
};
use crate::{
    auth::Viewer,
    domain::{
        conversion::{self as rules, ConversionFilter, NewConversion, Snapshot},
        cursor::Position,
        idempotency::Claim,
        page::{Page, PageRequest},
        problem::Problem,
        tenancy::TenantScope,
    },
    store::{attributions, commissions, conversions, error::StoreError, scope::Tx},
};

pub use adjust::{AdjustInput, adjust};
pub(in crate::services) use changes::carry_over;
pub use let_go::let_go;
pub use refund::{Change, Changed, RefundInput, changes_of, refund};
pub use reopen::{ReopenInput, reopen};
pub use review::{ReviewInput, review};
pub use undo::{UndoInput, undo};

/// The most items of one batch call.
pub const BATCH_MAX: usize = 1_000;

/// One call's conversion with its key, or why its input could not be read.
pub type ConversionInput = Result<(Option<String>, NewConversion), Problem>;

/// Records conversions. Answers per item, in order; an item that is refused does not touch the others.
///
/// # Errors
/// `Overloaded` when the lane is full; `Unavailable` when nothing is known of the outcome.
pub async fn record(
    services: &Services,
    viewer: &Viewer,
    inputs: Vec<ConversionInput>,
) -> Result<Vec<Result<Outcome<Snapshot>, ServiceError>>, ServiceError> {
    let now = services.now();
    let max_age = TimeDelta::days(services.settings.conversion_max_age_days);
    let items = inputs
        .into_iter()
        .map(|input| {
            let (key, new) = input?;
            let new = new.check(now, max_age)?;
            let claim = Claim::new(&viewer.scope, key.as_deref(), "recordConversion", &new)?;
            Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Conversion(new) })
        })
        .collect();
    let answers = services.lanes.record_checked(&viewer.scope, items).await?;
    let replayed: Vec<ConversionId> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(Recorded::Replayed(id)) => Some(ConversionId::from_uuid(*id)),
            _ => None,
        })
        .collect();
    let earlier: HashMap<Uuid, Snapshot> = if replayed.is_empty() {
        HashMap::new()
    } else {
        let tx = services.snapshot(viewer).await?;
        snapshots_by_id(&tx, &replayed).await?.into_iter().map(|(id, snapshot)| (id.uuid(), snapshot)).collect()
    };
    Ok(answers
        .into_iter()
        .map(|answer| match answer? {
            Recorded::Conversion(snapshot) => Ok(Outcome::done(*snapshot)),
            Recorded::Replayed(id) => earlier
                .get(&id)
                .map(|snapshot| Outcome::replayed(snapshot.clone()))
                .ok_or(ServiceError::Internal("a replayed conversion is not there")),
            Recorded::Click(_) => Err(ServiceError::Internal("a conversion was answered with a click")),
        })
        .collect())
}

/// Decides the conversions of a tenant that waited for a click which has come, or long enough. Answers how many.
///
/// # Errors
/// As the database answers; what was committed before stays decided.
pub async fn resolve_waiting(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    waiting::resolve(services, scope).await
}

/// Decides every conversion of a tenant that waited for an exchange rate which is there now. Answers how many.
///
/// # Errors
/// As the database answers; what was committed before stays decided.
pub async fn resolve_unrated(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    rated::resolve(services, scope).await
}

/// Conversions with what was decided about them.
async fn snapshots_by_id(tx: &Tx, ids: &[ConversionId]) -> Result<HashMap<ConversionId, Snapshot>, StoreError> {
    let rows = conversions::get_many(tx, ids).await?;
    Ok(snapshots(tx, rows).await?.into_iter().map(|snapshot| (snapshot.conversion.id, snapshot)).collect())
}

async fn commissions_of(
    tx: &Tx,
    ids: &[ConversionId],
) -> Result<HashMap<ConversionId, Vec<commission::Model>>, StoreError> {
    let mut by_id: HashMap<ConversionId, Vec<_>> = HashMap::new();
    for row in commissions::of_conversions(tx, ids).await? {
        by_id.entry(row.conversion_id).or_default().push(row);
    }
    Ok(by_id)
}

/// Rows as the viewer sees them: of what an affiliate shares with others, its own part.
async fn as_seen(
    tx: &Tx,
    viewer: &Viewer,
    mut rows: Vec<conversion::Model>,
) -> Result<Vec<conversion::Model>, StoreError> {
    let Some(own) = viewer.scope.own_affiliate() else { return Ok(rows) };
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let shared: Vec<ConversionId> = conversions::shared(tx, &ids).await?.into_iter().collect();
    let commissions = commissions_of(tx, &ids).await?;
    let attributions = if shared.is_empty() { Vec::new() } else { newest_attributions(tx, &shared).await? };
    let attributions: HashMap<ConversionId, Attribution> =
        attributions.into_iter().map(|attribution| (attribution.0.conversion_id, attribution)).collect();
    for row in &mut rows {
        let lines = commissions.get(&row.id).map_or(&[][..], Vec::as_slice);
        if shared.contains(&row.id) {
            let touches = attributions.get(&row.id).map_or(&[][..], |(_, touches)| touches);
            *row = rules::own_part(row.clone(), own, touches, lines);
        } else {
            // What others earn on top of it is not told.
            row.commission_minor = rules::sum(lines);
        }
    }
    Ok(rows)
}

/// Rows with what was decided about them, in the order of the rows.
pub(super) async fn snapshots(tx: &Tx, rows: Vec<conversion::Model>) -> Result<Vec<Snapshot>, StoreError> {
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let mut commissions_of = commissions_of(tx, &ids).await?;
    let mut attributions_of: HashMap<ConversionId, Attribution> = HashMap::new();
    for attribution in newest_attributions(tx, &ids).await? {
        attributions_of.insert(attribution.0.conversion_id, attribution);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let (decision, touches) = attributions_of.remove(&row.id).unzip();
            Snapshot {
                decision,
                touches: touches.unwrap_or_default(),
                commissions: commissions_of.remove(&row.id).unwrap_or_default(),
                conversion: row,
            }
        })
        .collect())
}

/// A decision with its touches.
pub type Attribution = (tributary_entity::attribution_decision::Model, Vec<tributary_entity::attribution_touch::Model>);

async fn newest_attributions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<Attribution>, StoreError> {
    // Oldest first: the newest version stays in the map.
    let decisions: HashMap<ConversionId, _> =
        attributions::decisions(tx, ids).await?.into_iter().map(|row| (row.conversion_id, row)).collect();
    let mut touches: HashMap<(ConversionId, i32), Vec<_>> = HashMap::new();
    for touch in attributions::touches(tx, ids).await? {
        touches.entry((touch.conversion_id, touch.version)).or_default().push(touch);
    }
    Ok(decisions
        .into_values()
        .map(|decision| {
            let touches = touches.remove(&(decision.conversion_id, decision.version)).unwrap_or_default();
            (decision, touches)
        })
        .collect())
}

/// The newest attribution decisions of conversions that the viewer may see; touches of others are left out.
///
/// # Errors
/// As the database answers.
pub async fn attributions_of(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionId],
) -> Result<Vec<Attribution>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let visible: Vec<ConversionId> = conversions::get_many(&tx, ids).await?.into_iter().map(|row| row.id).collect();
    Ok(newest_attributions(&tx, &visible).await?)
}

/// The conversions with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionId],
) -> Result<Vec<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let rows = conversions::get_many(&tx, ids).await?;
    Ok(as_seen(&tx, viewer, rows).await?)
}

/// The conversion with the advertiser's reference; of several, the one that counts.
///
/// # Errors
/// As the database answers.
pub async fn get_by_order(
    services: &Services,
    viewer: &Viewer,
    order_id: &str,
) -> Result<Option<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let row = conversions::get_by_order(&tx, order_id).await?;
    Ok(as_seen(&tx, viewer, row.into_iter().collect()).await?.pop())
}

/// A page of the conversions that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &ConversionFilter,
    request: &PageRequest,
) -> Result<Page<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let page = conversions::list(&tx, filter, request).await?;
    let rows = as_seen(&tx, viewer, page.rows).await?;
    Ok(Page { rows, ..page })
}

/// How many conversions a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &ConversionFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversions::count(&tx, filter).await?)
}

/// The place in the event log now: a stream that begins there misses nothing that a later list holds.
///
/// # Errors
/// As the database answers.
pub async fn position(services: &Services, viewer: &Viewer) -> Result<Position, ServiceError> {
    let tx = services.snapshot_of_log(viewer).await?;
    Ok(feed::position(&tx).await?)
}

/// The steps of a conversion's life, oldest first; empty for one that the viewer may not see.
///
/// # Errors
/// As the database answers.
pub async fn history(
    services: &Services,
    viewer: &Viewer,
    id: ConversionId,
) -> Result<Vec<conversion_history::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    if conversions::get_many(&tx, &[id]).await?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(conversions::history(&tx, id).await?)
}
