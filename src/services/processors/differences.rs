//! Differences between the books, and what contradicts them, as items that a person resolves; nothing is corrected by itself.

use tributary_entity::{
    Instant,
    ids::ReconciliationItemId,
    kinds::{EventKind, PayoutMethod, ReconciliationKind, ReconciliationStatus},
    money::Currency,
    payout, reconciliation_item,
};

use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        page::{Page, PageRequest},
        payout_deductions::net_minor,
        text, transition,
    },
    services::{Outcome, ServiceError, Services, idempotency},
    store::{error::StoreError, reconciliation as store, scope::Tx},
};

/// A difference, before it is written.
#[derive(Clone)]
pub(in crate::services) struct Difference<'a> {
    pub method: PayoutMethod,
    pub kind: ReconciliationKind,
    pub subject: String,
    pub detail: String,
    pub payout: Option<&'a payout::Model>,
    pub external_id: Option<&'a str>,
    pub currency: Option<Currency>,
    pub ours_minor: Option<i64>,
    pub theirs_minor: Option<i64>,
}

impl<'a> Difference<'a> {
    pub(in crate::services) fn new(
        method: PayoutMethod,
        kind: ReconciliationKind,
        subject: String,
        detail: &str,
    ) -> Self {
        Self {
            method,
            kind,
            subject,
            detail: detail.to_owned(),
            payout: None,
            external_id: None,
            currency: None,
            ours_minor: None,
            theirs_minor: None,
        }
    }

    pub(in crate::services) fn of(kind: ReconciliationKind, payout: &'a payout::Model, detail: &str) -> Self {
        Self { payout: Some(payout), ..Self::new(payout.method, kind, payout.id.to_string(), detail) }
    }
}

/// Writes a difference, unless it was found before. Answers whether it is new.
///
/// # Errors
/// As the database answers.
pub(in crate::services) async fn tell(
    tx: &mut Tx,
    difference: &Difference<'_>,
    now: Instant,
) -> Result<bool, StoreError> {
    let payout = difference.payout;
    let row = reconciliation_item::Model {
        tenant_id: tx.scope().tenant_id(),
        id: ReconciliationItemId::from_uuid(ambient::new_uuid()),
        method: difference.method,
        kind: difference.kind,
        subject: difference.subject.clone(),
        status: ReconciliationStatus::Open,
        payout_id: payout.map(|payout| payout.id),
        external_id: difference.external_id.map(str::to_owned),
        currency: difference.currency.or(payout.map(|payout| payout.currency)),
        ours_minor: difference.ours_minor.or(payout.map(net_minor)),
        theirs_minor: difference.theirs_minor,
        detail: difference.detail.clone(),
        found_at: now,
        note: None,
        resolved_by: None,
        resolved_at: None,
    };
    let is_new = store::insert(tx, row.clone()).await?;
    if is_new {
        tx.record(changed(&row, now));
    }
    Ok(is_new)
}

fn changed(row: &reconciliation_item::Model, now: Instant) -> NewEvent {
    NewEvent::new(EventKind::ReconciliationItemChanged, row.id.uuid(), row, now)
}

/// Says what a difference was.
///
/// # Errors
/// `REQUIRED` or `INVALID_TEXT` for the note; `NOT_FOUND`; `INVALID_TRANSITION` for one that was resolved before;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn resolve(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: ReconciliationItemId,
    note: &str,
) -> Result<Outcome<reconciliation_item::Model>, ServiceError> {
    let note = text::required(&["note"], note, text::NOTE_MAX)?;
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "resolveReconciliationItem", &(id, &note), id.uuid())
            .await?;
    let row = store::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(row));
    }
    if row.status == ReconciliationStatus::Resolved {
        return Err(transition::refused(&["id"], "the difference was resolved before").into());
    }
    let now = services.now();
    let row = reconciliation_item::Model {
        status: ReconciliationStatus::Resolved,
        note: Some(note),
        resolved_by: Some(viewer.actor.to_string()),
        resolved_at: Some(now),
        ..row
    };
    store::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row, now));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// A page of differences.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    status: Option<ReconciliationStatus>,
    request: &PageRequest,
) -> Result<Page<reconciliation_item::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::list(&tx, status, request).await?)
}

/// How many differences there are.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    status: Option<ReconciliationStatus>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::count(&tx, status).await?)
}
