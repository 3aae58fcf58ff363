//! The past of conversions: the valid clicks of their visitors.

use sea_orm::{ConnectionTrait, Value};
use tributary_entity::{Instant, ids::CampaignId};

use super::{arrays, dialect, error::StoreError, scope::Tx};
use crate::domain::{attribution::TOUCHES_MAX, touches::PastClick};

/// Rows of one statement.
const CHUNK: usize = 500;

/// A visitor whose clicks are wanted for a conversion.
pub struct Wanted<'a> {
    /// Tells the conversions of a call apart; one may have been several visitors.
    pub number: i64,
    pub visitor_id: &'a str,
    /// None means any.
    pub campaign_id: Option<CampaignId>,
    /// Inclusive.
    pub from: Instant,
    /// Inclusive.
    pub until: Instant,
}

/// The valid clicks of these visitors, with the number of the conversion: of each the newest hundred.
///
/// # Errors
/// As the database answers.
pub async fn past_clicks(tx: &Tx, wanted: &[Wanted<'_>]) -> Result<Vec<(i64, PastClick)>, StoreError> {
    let mut clicks = Vec::new();
    // A conversion with several visitors that fall into two statements gets a hundred of each: the domain cuts.
    for wanted in wanted.chunks(CHUNK) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let rows = wanted.iter().map(|row| {
            let Wanted { number, visitor_id, campaign_id, from, until } = row;
            vec![(*number).into(), (*visitor_id).into(), (*campaign_id).into(), (*from).into(), (*until).into()]
        });
        let rows = arrays::relation(tx.backend(), rows, &mut values)?;
        let sql = format!(
            "WITH wanted (number, visitor_id, campaign_id, from_at, until_at) AS ({rows}), \
             past AS (SELECT wanted.number AS number, found.id AS id, found.campaign_id AS campaign_id, \
             found.affiliate_id AS affiliate_id, found.occurred_at AS occurred_at, \
             ROW_NUMBER() OVER (PARTITION BY wanted.number ORDER BY found.occurred_at DESC, found.id DESC) AS place \
             FROM wanted {}) \
             SELECT number, id, campaign_id, affiliate_id, occurred_at FROM past WHERE place <= {TOUCHES_MAX}",
            dialect::join_each(
                tx.backend(),
                "click",
                "found.tenant_id = $1 AND found.visitor_id = wanted.visitor_id \
                 AND found.occurred_at >= wanted.from_at AND found.occurred_at <= wanted.until_at \
                 AND found.invalid_reason IS NULL \
                 AND (wanted.campaign_id IS NULL OR found.campaign_id = wanted.campaign_id)"
            )
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let click = PastClick {
                id: row.try_get("", "id")?,
                campaign_id: row.try_get("", "campaign_id")?,
                affiliate_id: row.try_get("", "affiliate_id")?,
                occurred_at: row.try_get("", "occurred_at")?,
            };
            clicks.push((row.try_get("", "number")?, click));
        }
    }
    Ok(clicks)
}
