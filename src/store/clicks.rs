//! Clicks: written in batches, never changed.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, QueryFilter, Select, Value};
use tributary_entity::{
    Instant, click,
    ids::{AffiliateId, CampaignId, ClickId, LinkId},
    kinds::{ClickInvalidReason, Device},
};

use super::{
    arrays::{self, Array, Columns},
    dialect,
    error::{StoreError, is_duplicate},
    page,
    scope::{INSERT_ROWS, Tx, any_of},
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
    tx.visible_by_ids::<click::Entity>(ids).await
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

/// A column of the table, its type, and how a row's value is written to it.
type Column = (&'static str, &'static str, fn(&mut Array, &click::Model));

/// All columns but the tenant's. Written out: this is the table that grows the fastest, and a row that went through the
/// mapper's values would cost several times as much.
const COLUMNS: [Column; 18] = [
    ("id", "uuid", |to, row| to.push_uuid(row.id.uuid())),
    ("link_id", "uuid", |to, row| to.push_uuid(row.link_id.uuid())),
    ("campaign_id", "uuid", |to, row| to.push_uuid(row.campaign_id.uuid())),
    ("affiliate_id", "uuid", |to, row| to.push_uuid(row.affiliate_id.uuid())),
    ("occurred_at", "timestamptz", |to, row| to.push_instant(row.occurred_at)),
    ("recorded_at", "timestamptz", |to, row| to.push_instant(row.recorded_at)),
    ("visitor_id", "text", |to, row| to.push_text(row.visitor_id.as_deref())),
    ("source", "text", |to, row| to.push_text(row.source.as_deref())),
    ("labels", "text", |to, row| to.push_text(row.labels.as_deref())),
    ("is_unique", "boolean", |to, row| to.push_bool(row.is_unique)),
    ("invalid_reason", "text", |to, row| to.push_text(row.invalid_reason.map(ClickInvalidReason::as_str))),
    ("country", "text", |to, row| to.push_text(row.country.as_deref())),
    ("device", "text", |to, row| to.push_text(row.device.map(Device::as_str))),
    ("os", "text", |to, row| to.push_text(row.os.as_deref())),
    ("browser", "text", |to, row| to.push_text(row.browser.as_deref())),
    ("referrer_host", "text", |to, row| to.push_text(row.referrer_host.as_deref())),
    ("address_prefix", "text", |to, row| to.push_text(row.address_prefix.as_deref())),
    ("address_hash", "text", |to, row| to.push_text(row.address_hash.as_deref())),
];

/// Inserts clicks of the scope's tenant.
///
/// # Errors
/// `Conflict` when one of them is there already; the same again can find it before.
pub async fn insert(tx: &mut Tx, rows: &[&click::Model]) -> Result<(), StoreError> {
    if tx.backend() != DbBackend::Postgres {
        return match tx.insert_all::<click::Entity>(rows.iter().map(|row| (*row).clone()).collect()).await {
            Err(StoreError::Other(error)) if is_duplicate(&error) => Err(StoreError::raced("a click is there already")),
            result => result,
        };
    }
    for rows in rows.chunks(INSERT_ROWS) {
        let mut columns = Columns::new(COLUMNS.iter().map(|(_, sql_type, _)| *sql_type));
        for (array, (.., write)) in columns.arrays().zip(&COLUMNS) {
            rows.iter().for_each(|row| write(array, row));
        }
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let select = columns.into_select("$1", &mut values);
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        let sql = format!("INSERT INTO click (tenant_id, {}) {select}", names.join(", "));
        if let Err(error) = tx.connection().execute_raw(tx.statement(sql, values)).await {
            let raced = is_duplicate(&error).then(|| StoreError::raced("a click is there already"));
            return Err(raced.unwrap_or_else(|| error.into()));
        }
    }
    Ok(())
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
            let Journey { campaign_id, visitor_id, from, until } = journey;
            vec![number.into(), (*campaign_id).into(), (*visitor_id).into(), (*from).into(), (*until).into()]
        });
        let rows = arrays::relation(tx.backend(), rows, &mut values)?;
        let sql = format!(
            "WITH journey (number, campaign_id, visitor_id, from_at, until_at) AS ({rows}) \
             SELECT number, id, affiliate_id, occurred_at FROM (SELECT journey.number AS number, found.id AS id, \
             found.affiliate_id AS affiliate_id, found.occurred_at AS occurred_at, ROW_NUMBER() OVER \
             (PARTITION BY journey.number ORDER BY found.occurred_at DESC, found.id DESC) AS place \
             FROM journey {}) AS step WHERE place <= {limit}",
            dialect::join_each(
                tx.backend(),
                "click",
                "found.tenant_id = $1 AND found.visitor_id = journey.visitor_id \
                 AND found.occurred_at >= journey.from_at AND found.occurred_at <= journey.until_at \
                 AND found.campaign_id = journey.campaign_id AND found.invalid_reason IS NULL"
            )
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
        let rows = (0_i64..).zip(visits).map(|(number, visit)| {
            let Visit { link_id, visitor_id, from, until } = visit;
            vec![number.into(), (*link_id).into(), (*visitor_id).into(), (*from).into(), (*until).into()]
        });
        let rows = arrays::relation(tx.backend(), rows, &mut values)?;
        let sql = format!(
            "WITH visit (number, link_id, visitor_id, from_at, until_at) AS ({rows}) \
             SELECT visit.number AS number FROM visit WHERE EXISTS (SELECT 1 FROM click \
             WHERE click.tenant_id = $1 AND click.link_id = visit.link_id AND click.visitor_id = visit.visitor_id \
             AND click.invalid_reason IS NULL AND click.occurred_at >= visit.from_at \
             AND click.occurred_at <= visit.until_at{})",
            dialect::for_each_row(tx.backend())
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let number: i64 = row.try_get("", "number")?;
            let number = usize::try_from(number).map_err(|_| StoreError::inconsistent("(visit)", number))?;
            repeated.insert(chunk * VISITS_CHUNK + number);
        }
    }
    Ok(repeated)
}

#[cfg(test)]
mod tests {
    use sea_orm::{IdenStatic, Iterable};

    use super::*;

    #[test]
    fn every_column_is_written() {
        let written: Vec<&str> = std::iter::once("tenant_id").chain(COLUMNS.iter().map(|(name, ..)| *name)).collect();
        let columns: Vec<&str> = click::Column::iter().map(|column| column.as_str()).collect();
        assert_eq!(written, columns);
    }
}
