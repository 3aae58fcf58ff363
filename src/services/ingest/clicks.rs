//! The clicks of a batch.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use tributary_entity::{
    Instant, affiliate, campaign, click, enrollment,
    ids::{ClickId, LinkId},
    kinds::ClickInvalidReason,
    link,
};

use super::programme::{BatchTotals, Programme};
use crate::{
    domain::click::{self as rules, NewClick},
    services::click_accruals::Accruals,
    store::{
        clicks::{self, Visit},
        error::StoreError,
        scope::Tx,
    },
};

/// A click to be recorded under an id.
pub(super) struct Fresh<'a> {
    /// In the batch.
    pub index: usize,
    pub id: ClickId,
    pub input: &'a NewClick,
}

/// Which of these clicks are there already.
pub(super) async fn there(tx: &Tx, ids: &[ClickId]) -> Result<HashSet<ClickId>, StoreError> {
    let mut there = HashSet::new();
    for ids in ids.chunks(1_000) {
        there.extend(clicks::get_many(tx, ids).await?.into_iter().map(|row| row.id));
    }
    Ok(there)
}

/// Records clicks, whose links are known. Answers the rows by their index in the batch.
///
/// # Errors
/// `Conflict` when one of them is there already.
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
    let repeated = repeated(tx, fresh, links, programme, now).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    for item in fresh {
        rows.push((item.index, row(tx, item, links, programme, totals, !repeated.contains(&item.index), now)?));
    }
    clicks::insert(tx, rows.iter().map(|(_, row)| row.clone()).collect()).await?;
    let mut accruals = Accruals::default();
    for (_, row) in &rows {
        totals.add_click(row, programme.campaign(row.campaign_id)?.currency)?;
        if let Some(micros) = programme.click_micros(row).filter(|_| row.is_unique) {
            accruals.add(row, micros);
        }
    }
    // Before any balance is locked, as where it is posted.
    accruals.write(tx, now).await?;
    Ok(rows)
}

fn row(
    tx: &Tx,
    Fresh { id, input, .. }: &Fresh<'_>,
    links: &HashMap<LinkId, link::Model>,
    programme: &Programme,
    totals: &mut BatchTotals,
    is_first: bool,
    now: Instant,
) -> Result<click::Model, StoreError> {
    let link = links
        .get(&input.link_id)
        .ok_or_else(|| StoreError::inconsistent("link", "a click without its link was not refused"))?;
    let campaign = programme.campaign(link.campaign_id)?;
    let affiliate = programme.affiliate(link.affiliate_id)?;
    let enrollment = programme.enrollment(link.campaign_id, link.affiliate_id);
    let occurred_at = input.occurred_at.unwrap_or(now);
    let mut invalid_reason = invalid_reason(input, link, campaign, affiliate, enrollment);
    if invalid_reason.is_none() && totals.caps.click_is_over(campaign.id, affiliate.id, occurred_at, is_first)? {
        invalid_reason = Some(ClickInvalidReason::OverCap);
    }
    Ok(click::Model {
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
        is_unique: is_first && invalid_reason.is_none(),
        invalid_reason,
        country: input.visit.country.clone(),
        device: input.visit.device,
        os: input.visit.os.clone(),
        browser: input.visit.browser.clone(),
        referrer_host: input.visit.referrer_host.clone(),
        address_prefix: input.visit.address_prefix.clone(),
        address_hash: input.visit.address_hash.clone(),
    })
}

/// Why a click does not count. Of a click that has its id already the redirect has decided, when it happened: it may come
/// late, by the spool.
fn invalid_reason(
    input: &NewClick,
    link: &link::Model,
    campaign: &campaign::Model,
    affiliate: &affiliate::Model,
    enrollment: Option<&enrollment::Model>,
) -> Option<ClickInvalidReason> {
    match input.id {
        Some(_) => input.invalid_reason,
        None => input.invalid_reason.or(rules::invalid_reason(link, campaign, affiliate, enrollment)),
    }
}

/// Which clicks repeat a valid one of the same visitor and link inside the campaign's window, whichever of the two came
/// first: senders report late, and not in order. By their index in the batch.
async fn repeated(
    tx: &Tx,
    fresh: &[Fresh<'_>],
    links: &HashMap<LinkId, link::Model>,
    programme: &Programme,
    now: Instant,
) -> Result<HashSet<usize>, StoreError> {
    let mut repeated = HashSet::new();
    let mut indexes = Vec::new();
    let mut visits = Vec::new();
    let mut of_visitor: HashMap<(LinkId, &str), Vec<Instant>> = HashMap::new();
    for Fresh { index, input, .. } in fresh {
        // Nobody can tell two visitors without a mark apart.
        let (Some(visitor_id), Some(link)) = (&input.visitor_id, links.get(&input.link_id)) else { continue };
        let at = input.occurred_at.unwrap_or(now);
        let (campaign, affiliate) = (programme.campaign(link.campaign_id)?, programme.affiliate(link.affiliate_id)?);
        let enrollment = programme.enrollment(campaign.id, affiliate.id);
        let window = TimeDelta::seconds(campaign.attribution_window_secs);
        let earlier = of_visitor.entry((link.id, visitor_id.as_str())).or_default();
        if earlier.iter().any(|earlier| (at - *earlier).abs() <= window) {
            repeated.insert(*index);
        } else {
            indexes.push(*index);
            visits.push(Visit { link_id: link.id, visitor_id, from: at - window, until: at + window });
        }
        if invalid_reason(input, link, campaign, affiliate, enrollment).is_none() {
            earlier.push(at);
        }
    }
    if !visits.is_empty() {
        repeated.extend(clicks::repeated(tx, &visits).await?.into_iter().map(|number| indexes[number]));
    }
    Ok(repeated)
}
