//! Takes the calls of processors: verified, once each, and only ever onwards.
//!
//! # Decisions
//! - The status is honest: 200 when the call is taken, also when it was before or is about nothing of ours, so that the
//!   processor stops telling; 4xx when it is not believed; 503 when it should be told again.
//! - Whoever knows no token learns and leaves nothing. A call with the token and without the processor's signature is
//!   listed, so many in a minute.
//! - What a call says and what the answer to our own call says meet in the payout's row, locked: whichever comes first, the
//!   later state stays.

use tributary_entity::{
    Instant,
    ids::{PayoutId, ProcessorCallId},
    kinds::{PayoutMethod, ProcessorCallOutcome},
    processor, processor_call,
};

pub use crate::processors::Call;

use super::open;
use crate::{
    ambient,
    auth::processors as tokens,
    domain::tenancy::TenantScope,
    processors::{About, Notice, NoticeError},
    services::{ServiceError, Services, payouts::drive, publish},
    store::{directory, error::StoreError, payout_transfers, payouts, processors, scope::Tx},
};

/// The longest body that is kept for people to read.
const BODY_MAX: usize = 16 * 1024;
/// Of a name of an event.
const NAME_MAX: usize = 255;

/// What a call is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken, now.
    Taken,
    /// Taken before.
    Replayed,
    /// The address is nobody's.
    Unknown,
    Refused {
        status: u16,
        code: &'static str,
        message: String,
    },
}

/// Takes a call.
///
/// # Errors
/// As the database answers: the processor should call again.
pub async fn receive(
    services: &Services,
    method: PayoutMethod,
    token: &str,
    call: &Call,
) -> Result<Answer, ServiceError> {
    let Some(hash) = tokens::stored_hash(token) else { return Ok(Answer::Unknown) };
    let found = directory::processor_by_hash(&services.db, &hash).await?.filter(|(_, row)| row.method == method);
    let Some((scope, row)) = found else { return Ok(Answer::Unknown) };
    let Some(account) = open(services, &scope, &row) else {
        return Ok(refusal(503, "UNAVAILABLE", "the credentials cannot be opened".to_owned()));
    };
    match account.notice(call).await {
        Ok(notice) => take(services, &scope, &row, call, notice).await,
        Err(error) => {
            let answer = match &error {
                NoticeError::Signature(_) => refusal(401, "SIGNATURE_INVALID", error.to_string()),
                NoticeError::Unreadable(_) => refusal(400, "BAD_REQUEST", error.to_string()),
                NoticeError::Unavailable(_) => refusal(503, "UNAVAILABLE", error.to_string()),
            };
            list_refusal(services, &scope, &row, &answer).await;
            Ok(answer)
        }
    }
}

const fn refusal(status: u16, code: &'static str, message: String) -> Answer {
    Answer::Refused { status, code, message }
}

/// Takes a verified call.
async fn take(
    services: &Services,
    scope: &TenantScope,
    row: &processor::Model,
    call: &Call,
    notice: Notice,
) -> Result<Answer, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let event_id: String = notice.event_id.chars().take(NAME_MAX).collect();
    let payout_id = match &notice.about {
        Some(about) => subject(&tx, row.method, about).await?,
        None => None,
    };
    // Calls about one payout wait here for each other, and for the answer to ours.
    let payout = match payout_id {
        Some(id) => payouts::lock(&tx, id).await?.filter(|payout| payout.method == row.method),
        None => None,
    };
    if processors::knows_event(&tx, row.id, &event_id).await? {
        return Ok(Answer::Replayed);
    }
    let mut listed = processor_call::Model {
        tenant_id: row.tenant_id,
        id: ProcessorCallId::from_uuid(ambient::new_uuid()),
        processor_id: row.id,
        event_id: Some(event_id),
        event_type: Some(notice.event_type.chars().take(NAME_MAX).collect()),
        outcome: ProcessorCallOutcome::Unmatched,
        http_status: 200,
        message: None,
        payout_id: None,
        body: Some(shown(&call.body)),
        received_at: services.now(),
        unlisted_before: 0,
    };
    if let (Some(about), Some(payout)) = (&notice.about, payout)
        && let Some(mut transfer) = payout_transfers::lock(&tx, payout.id).await?
    {
        listed.payout_id = Some(payout.id);
        let (_, contradiction) = drive::settle(services, &mut tx, payout, &mut transfer, &about.report).await?;
        transfer.updated_at = services.now();
        payout_transfers::update(&mut tx, &transfer).await?;
        let outcome =
            if contradiction.is_some() { ProcessorCallOutcome::Contradicted } else { ProcessorCallOutcome::Applied };
        (listed.outcome, listed.message) = (outcome, contradiction);
    }
    if !processors::insert_call(&mut tx, listed).await? {
        // Told at the same moment, about no payout of ours.
        return Ok(Answer::Replayed);
    }
    publish(&*services.bus, tx).await?;
    Ok(Answer::Taken)
}

/// The payout that a call is about.
async fn subject(tx: &Tx, method: PayoutMethod, about: &About) -> Result<Option<PayoutId>, StoreError> {
    match about.payout_id {
        Some(id) => Ok(Some(id)),
        None => payout_transfers::by_external(tx, method, &about.report.external_id).await,
    }
}

/// What of a body is kept.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]);
    text.chars().filter(|char| *char != '\0').collect()
}

/// Lists a refused call. Its answer neither waits for another try nor fails with this one.
async fn list_refusal(services: &Services, scope: &TenantScope, row: &processor::Model, answer: &Answer) {
    let Answer::Refused { status, message, .. } = answer else { return };
    let now = services.now();
    let Some(unlisted_before) = services.refusals.take(row.id.uuid(), now) else { return };
    let listed = processor_call::Model {
        tenant_id: row.tenant_id,
        id: ProcessorCallId::from_uuid(ambient::new_uuid()),
        processor_id: row.id,
        event_id: None,
        event_type: None,
        outcome: ProcessorCallOutcome::Refused,
        http_status: i32::from(*status),
        message: Some(message.clone()),
        payout_id: None,
        // Whoever sent it, the processor has not signed it.
        body: None,
        received_at: now,
        unlisted_before,
    };
    if let Err(error) = insert(services, scope, listed).await {
        tracing::warn!(%error, processor.id = %row.id, "a refused call was not listed");
    }
}

async fn insert(services: &Services, scope: &TenantScope, row: processor_call::Model) -> Result<(), StoreError> {
    let mut tx = services.db.begin(scope).await?;
    processors::insert_call(&mut tx, row).await?;
    tx.commit().await.map(drop)
}

/// Forgets a tenant's refused calls that were received before. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn expire(services: &Services, scope: &TenantScope, before: Instant) -> Result<u64, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let deleted = processors::delete_refused_before(&mut tx, before).await?;
    tx.commit().await?;
    Ok(deleted)
}
