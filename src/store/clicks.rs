//! Clicks: written in batches, never changed.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, QueryFilter, Select, Value};
use tributary_entity::{
    Instant, click,
    ids::{AffiliateId, CampaignId, ClickId, LinkId},
};

use super::{
    arrays,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    click::ClickFilter,
    page::{Page, PageRequest},
};

/// Visits of one statement.
const VISITS_CHUNK: usize = 500;

fn filtered(tx: &Tx, filter: &ClickFilter) -> Select<click::Entity> {
    use click::Column;
    let mut select = tx.visible::<click::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.link_ids {
        select = select.filter(any_of(Column::LinkId, ids.iter().copied()));
    }
    if let Some(from) = filter.occurred_from {
        select = select.filter(Column::OccurredAt.gte(from));
    }
    if let Some(before) = filter.occurred_before {
        select = select.filter(Column::OccurredAt.lt(before));
    }
    match filter.valid {
        Some(true) => select.filter(Column::InvalidReason.is_null()),
        Some(false) => select.filter(Column::InvalidReason.is_not_null()),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ClickId]) -> Result<Vec<click::Model>, StoreError> {
    let select = tx.visible::<click::Entity>().filter(any_of(click::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &ClickFilter, request: &PageRequest) -> Result<Page<click::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &ClickFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// Inserts clicks.
///
/// # Errors
/// `Conflict` when one of them is there already; the same again can find it before.
pub async fn insert(tx: &mut Tx, rows: Vec<click::Model>) -> Result<(), StoreError> {
    let count = rows.len() as u64;
    let inserted =
        tx.insert_ignoring::<click::Entity>(rows, Some(&[click::Column::TenantId, click::Column::Id])).await?;
    if inserted == count { Ok(()) } else { Err(StoreError::raced("a click is there already")) }
}

/// Deletes up to `limit` of the tenant's clicks with ids before `horizon`, on SQLite, whose trigger keeps all others.
/// Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn delete_before(tx: &mut Tx, horizon: ClickId, limit: u32) -> Result<u64, StoreError> {
    if tx.backend() != DbBackend::Sqlite {
        return Ok(0);
    }
    let values: Vec<Value> = vec![tx.scope().tenant_id().into(), horizon.into()];
    let allow = "INSERT INTO click_horizon (tenant_id, before_id) VALUES ($1, $2) \
                 ON CONFLICT (tenant_id) DO UPDATE SET before_id = excluded.before_id";
    tx.connection().execute_raw(tx.statement(allow, values.clone())).await?;
    let delete = format!(
        "DELETE FROM click WHERE tenant_id = $1 AND id IN \
         (SELECT id FROM click WHERE tenant_id = $1 AND id < $2 ORDER BY id LIMIT {limit})"
    );
    Ok(tx.connection().execute_raw(tx.statement(delete, values)).await?.rows_affected())
}

/// A visitor's way to a conversion.
pub struct Journey<'a> {
    pub campaign_id: CampaignId,
    pub visitor_id: &'a str,
    /// Inclusive.
    pub from: Instant,
    /// Inclusive: the conversion.
    pub until: Instant,
}

/// A valid click on a journey.
pub struct Step {
    pub id: ClickId,
    pub affiliate_id: AffiliateId,
    pub occurred_at: Instant,
}

/// The valid clicks of these journeys, at most `limit` of each, the newest: each with the place of its journey in
/// `journeys`.
///
/// # Errors
/// As the database answers.
pub async fn of_journeys(tx: &Tx, journeys: &[Journey<'_>], limit: usize) -> Result<Vec<(usize, Step)>, StoreError> {
    let mut steps = Vec::new();
    for (chunk, journeys) in journeys.chunks(VISITS_CHUNK).enumerate() {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let rows = (0_i64..).zip(journeys).map(|(number, journey)| {
            let Journey { campaign_id, visitor_id, from, until } = *journey;
            vec![number.into(), campaign_id.into(), visitor_id.into(), from.into(), until.into()]
        });
        let rows = arrays::table(tx.backend(), &mut values, rows.collect());
        let sql = format!(
            "WITH journey (number, campaign_id, visitor_id, from_at, until_at) AS ({rows}) \
             SELECT number, id, affiliate_id, occurred_at FROM (SELECT journey.number AS number, click.id AS id, \
             click.affiliate_id AS affiliate_id, click.occurred_at AS occurred_at, ROW_NUMBER() OVER \
             (PARTITION BY journey.number ORDER BY click.occurred_at DESC, click.id DESC) AS place \
             FROM journey JOIN click ON click.tenant_id = $1 AND click.visitor_id = journey.visitor_id \
             AND click.occurred_at >= journey.from_at AND click.occurred_at <= journey.until_at \
             AND click.campaign_id = journey.campaign_id AND click.invalid_reason IS NULL) found WHERE place <= {limit}"
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let number: i64 = row.try_get_by_index(0)?;
            let number = usize::try_from(number).map_err(|_| StoreError::inconsistent("(journey)", number))?;
            let step = Step {
                id: row.try_get_by_index(1)?,
                affiliate_id: row.try_get_by_index(2)?,
                occurred_at: row.try_get_by_index(3)?,
            };
            steps.push((chunk * VISITS_CHUNK + number, step));
        }
    }
    Ok(steps)
}

/// A visitor's click of a link, and the time around it in which another one makes it a repetition.
pub struct Visit<'a> {
    pub link_id: LinkId,
    pub visitor_id: &'a str,
    /// Inclusive.
    pub from: Instant,
    /// Inclusive.
    pub until: Instant,
}

/// Which of these visits repeat a valid click of the same visitor and link that is recorded, by their place in `visits`.
///
/// # Errors
/// As the database answers.
pub async fn repeated(tx: &Tx, visits: &[Visit<'_>]) -> Result<HashSet<usize>, StoreError> {
    let mut repeated = HashSet::new();
    for (chunk, visits) in visits.chunks(VISITS_CHUNK).enumerate() {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let rows: Vec<String> = (0_i64..)
            .zip(visits)
            .map(|(number, visit)| {
                let first = values.len() + 1;
                values.extend([
                    number.into(),
                    visit.link_id.into(),
                    visit.visitor_id.into(),
                    visit.from.into(),
                    visit.until.into(),
                ]);
                format!("(${first}, ${}, ${}, ${}, ${})", first + 1, first + 2, first + 3, first + 4)
            })
            .collect();
        let sql = format!(
            "WITH visit (number, link_id, visitor_id, from_at, until_at) AS (VALUES {}) \
             SELECT visit.number AS number FROM visit WHERE EXISTS (SELECT 1 FROM click \
             WHERE click.tenant_id = $1 AND click.link_id = visit.link_id AND click.visitor_id = visit.visitor_id \
             AND click.invalid_reason IS NULL AND click.occurred_at >= visit.from_at AND click.occurred_at <= visit.until_at)",
            rows.join(", ")
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let number: i64 = row.try_get("", "number")?;
            let number = usize::try_from(number).map_err(|_| StoreError::inconsistent("(visit)", number))?;
            repeated.insert(chunk * VISITS_CHUNK + number);
        }
    }
    Ok(repeated)
}
