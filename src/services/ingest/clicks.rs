//! The clicks of a batch.

use std::collections::{BTreeSet, HashMap};

use chrono::TimeDelta;
use tributary_entity::{
    Instant, click,
    ids::{ClickId, LinkId},
    link,
};

use super::programme::{BatchTotals, Programme};
use crate::{
    domain::{
        click::{self as rules, NewClick},
        report::Totals,
    },
    store::{clicks, error::StoreError, scope::Tx},
};

/// A click to be recorded under an id.
pub(super) struct Fresh<'a> {
    /// In the batch.
    pub index: usize,
    pub id: ClickId,
    pub input: &'a NewClick,
}

/// Records clicks, whose links are known. Answers the rows by their index in the batch.
pub(super) async fn record(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    links: &HashMap<LinkId, link::Model>,
    programme: &Programme,
    totals: &mut BatchTotals,
    now: Instant,
) -> Result<Vec<(usize, click::Model)>, StoreError> {
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let mut visits = earlier_visits(tx, fresh, links, programme, now).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    for Fresh { index, id, input } in fresh {
        let link = links
            .get(&input.link_id)
            .ok_or_else(|| StoreError::inconsistent("link", "a click without its link was not refused"))?;
        let campaign = programme.campaign(link.campaign_id)?;
        let affiliate = programme.affiliate(link.affiliate_id)?;
        let enrollment = programme.enrollment(link.campaign_id, link.affiliate_id);
        let occurred_at = input.occurred_at.unwrap_or(now);
        let invalid_reason = rules::invalid_reason(link, campaign, affiliate, enrollment);
        let valid = invalid_reason.is_none();
        let is_unique = match &input.visitor_id {
            // Nobody can tell two visitors without a mark apart.
            None => true,
            Some(visitor_id) => {
                let visit = (link.id, visitor_id.clone());
                let last = visits.get(&visit).copied();
                // Only a valid click makes the next one a repetition; a late report does not set the clock back.
                if valid {
                    visits.insert(visit, last.map_or(occurred_at, |last| last.max(occurred_at)));
                }
                let window = TimeDelta::seconds(campaign.attribution_window_secs);
                last.is_none_or(|last| (occurred_at - last).abs() > window)
            }
        };
        totals.add(
            occurred_at,
            campaign.id,
            affiliate.id,
            campaign.currency,
            Totals {
                clicks_gross: 1,
                clicks_unique: i64::from(is_unique && valid),
                clicks_invalid: i64::from(!valid),
                ..Totals::default()
            },
        )?;
        let row = click::Model {
            tenant_id: tx.scope().tenant_id(),
            id: *id,
            link_id: link.id,
            campaign_id: campaign.id,
            affiliate_id: affiliate.id,
            occurred_at,
            recorded_at: now,
            visitor_id: input.visitor_id.clone(),
            source: input.source.clone(),
            labels: rules::labels_json(&input.labels),
            is_unique,
            invalid_reason,
        };
        rows.push((*index, row));
    }
    clicks::insert(tx, rows.iter().map(|(_, row)| row.clone()).collect()).await?;
    Ok(rows)
}

/// When the batch's visitors last clicked the same links, as far back as any campaign's window.
async fn earlier_visits(
    tx: &Tx,
    fresh: &[Fresh<'_>],
    links: &HashMap<LinkId, link::Model>,
    programme: &Programme,
    now: Instant,
) -> Result<HashMap<(LinkId, String), Instant>, StoreError> {
    let mut visitors = BTreeSet::new();
    let mut since = now;
    for Fresh { input, .. } in fresh {
        let (Some(visitor_id), Some(link)) = (&input.visitor_id, links.get(&input.link_id)) else { continue };
        let window = TimeDelta::seconds(programme.campaign(link.campaign_id)?.attribution_window_secs);
        since = since.min(input.occurred_at.unwrap_or(now) - window);
        visitors.insert((link.id, visitor_id.clone()));
    }
    if visitors.is_empty() {
        return Ok(HashMap::new());
    }
    let visitors: Vec<_> = visitors.into_iter().collect();
    clicks::last_visits(tx, &visitors, since).await
}
