//! The clicks of a batch.

use std::collections::{HashMap, HashSet};

use tributary_entity::{
    Instant, click,
    ids::{ClickId, LinkId},
    kinds::ClickInvalidReason,
    link,
};

use super::{
    batch::distinct,
    programme::{BatchTotals, Programme},
};
use crate::{
    domain::click::{self as rules, LinkFacts, NewClick},
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

/// A click with what its link says, and why it does not count, if that is known already.
struct Known<'a> {
    index: usize,
    id: ClickId,
    input: &'a NewClick,
    facts: LinkFacts,
    at: Instant,
    invalid_reason: Option<ClickInvalidReason>,
}

/// Records clicks. Answers the rows by their index in the batch.
///
/// `links` and `programme` have what those name that bring no facts.
///
/// # Errors
/// `Conflict` when one of them is there already.
pub(super) async fn record(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    links: &HashMap<LinkId, link::Model>,
    programme: &mut Programme,
    totals: &mut BatchTotals,
    now: Instant,
) -> Result<Vec<(usize, click::Model)>, StoreError> {
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let clicks = fresh.iter().map(|fresh| known(fresh, links, programme, now)).collect::<Result<Vec<_>, _>>()?;
    let instants = clicks.iter().map(|click| click.at).collect();
    let campaigns = distinct(clicks.iter().map(|click| click.facts.campaign_id));
    programme.add_click_rates(tx, &campaigns).await?;
    let pairs = clicks.iter().map(|click| (click.facts.campaign_id, click.facts.affiliate_id));
    programme.add_groups_of_earning(tx, pairs).await?;
    totals.caps.learn(tx, programme, &campaigns).await?;
    totals.caps.prepare(tx, &campaigns, &instants).await?;
    let repeated = repeated(tx, &clicks).await?;
    let mut rows = Vec::with_capacity(clicks.len());
    let mut accruals = Accruals::default();
    for click in &clicks {
        let row = row(tx, click, totals, !repeated.contains(&click.index), now)?;
        totals.add_click(&row, click.facts.currency)?;
        if let Some((basis, micros)) = programme.earned(&row).filter(|_| row.is_unique) {
            accruals.add(&row, basis, micros);
        }
        rows.push((click.index, row));
    }
    clicks::insert(tx, &rows.iter().map(|(_, row)| row).collect::<Vec<_>>()).await?;
    // Before any balance is locked, as where it is posted.
    accruals.write(tx, now).await?;
    Ok(rows)
}

fn known<'a>(
    Fresh { index, id, input }: &Fresh<'a>,
    links: &HashMap<LinkId, link::Model>,
    programme: &Programme,
    now: Instant,
) -> Result<Known<'a>, StoreError> {
    let at = input.occurred_at.unwrap_or(now);
    if let (Some(facts), Some(_)) = (input.facts, input.id) {
        return Ok(Known { index: *index, id: *id, input, facts, at, invalid_reason: input.invalid_reason });
    }
    let link = links
        .get(&input.link_id)
        .ok_or_else(|| StoreError::inconsistent("link", "a click without its link was not refused"))?;
    let campaign = programme.campaign(link.campaign_id)?;
    let invalid_reason = match input.id {
        // Of a click that has its id already the redirect has decided, when it happened: it may come late, by the spool.
        Some(_) => input.invalid_reason,
        None => input.invalid_reason.or(rules::invalid_reason(
            link,
            campaign,
            programme.affiliate(link.affiliate_id)?,
            programme.enrollment(link.campaign_id, link.affiliate_id),
        )),
    };
    Ok(Known { index: *index, id: *id, input, facts: LinkFacts::new(link, campaign), at, invalid_reason })
}

fn row(
    tx: &Tx,
    click: &Known<'_>,
    totals: &mut BatchTotals,
    is_first: bool,
    now: Instant,
) -> Result<click::Model, StoreError> {
    let Known { id, input, at, .. } = click;
    let LinkFacts { link_id, campaign_id, affiliate_id, .. } = click.facts;
    let mut invalid_reason = click.invalid_reason;
    if invalid_reason.is_none() && totals.caps.click_is_over(campaign_id, affiliate_id, *at, is_first)? {
        invalid_reason = Some(ClickInvalidReason::OverCap);
    }
    Ok(click::Model {
        tenant_id: tx.scope().tenant_id(),
        id: *id,
        link_id,
        campaign_id,
        affiliate_id,
        occurred_at: *at,
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

/// Which clicks repeat a valid one of the same visitor and link inside the campaign's window, whichever of the two came
/// first: senders report late, and not in order. By their index in the batch.
async fn repeated(tx: &Tx, clicks: &[Known<'_>]) -> Result<HashSet<usize>, StoreError> {
    let mut repeated = HashSet::new();
    let mut indexes = Vec::new();
    let mut visits = Vec::new();
    let mut of_visitor: HashMap<(LinkId, &str), Vec<Instant>> = HashMap::new();
    for Known { index, input, facts, at, invalid_reason, .. } in clicks {
        // Nobody can tell two visitors without a mark apart; and a mark that was made for this very click is nobody
        // else's.
        let Some(visitor_id) = &input.visitor_id else { continue };
        if input.is_new_visitor {
            continue;
        }
        let (at, window) = (*at, facts.window);
        let earlier = of_visitor.entry((facts.link_id, visitor_id.as_str())).or_default();
        if earlier.iter().any(|earlier| (at - *earlier).abs() <= window) {
            repeated.insert(*index);
        } else {
            indexes.push(*index);
            visits.push(Visit { link_id: facts.link_id, visitor_id, from: at - window, until: at + window });
        }
        if invalid_reason.is_none() {
            earlier.push(at);
        }
    }
    if !visits.is_empty() {
        repeated.extend(clicks::repeated(tx, &visits).await?.into_iter().map(|number| indexes[number]));
    }
    Ok(repeated)
}
