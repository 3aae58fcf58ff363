//! What is known of the past of a batch's conversions: coupons, visitors and their clicks, looked up for all at once and
//! only where some conversion needs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, click, coupon,
    ids::{CampaignId, ClickId},
};

use super::Case;
use crate::{
    domain::{
        problem::{Problem, ProblemCode},
        touches::{self, Named, PastClick, Scrutiny, Traces},
    },
    services::ingest::programme::Programme,
    store::{
        clicks, coupons, customers,
        error::StoreError,
        scope::Tx,
        touches::{Wanted, past_clicks},
    },
};

/// The stored clicks with these ids.
pub(in crate::services) async fn load_clicks(
    tx: &Tx,
    ids: BTreeSet<ClickId>,
) -> Result<HashMap<ClickId, click::Model>, StoreError> {
    let ids: Vec<ClickId> = ids.into_iter().collect();
    let mut known = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(1_000) {
        known.extend(clicks::get_many(tx, chunk).await?.into_iter().map(|row| (row.id, row)));
    }
    Ok(known)
}

/// Where one conversion came from.
pub(super) struct Trace {
    /// None when nothing leads to one.
    pub campaign_id: Option<CampaignId>,
    click: Named<click::Model>,
    coupon: Named<coupon::Model>,
    history: Vec<PastClick>,
}

impl Trace {
    pub fn view(&self) -> Traces<'_> {
        Traces { click: self.click.as_ref(), coupon: self.coupon.as_ref(), history: &self.history }
    }
}

/// Looks up where conversions came from, and reads their campaigns and affiliates. Answers per case, in order; a problem
/// where the sender must say more.
pub(super) async fn look_up(
    tx: &mut Tx,
    cases: &[Case<'_>],
    known: &HashMap<ClickId, click::Model>,
    programme: &mut Programme,
    now: Instant,
) -> Result<Vec<Result<Trace, Problem>>, StoreError> {
    bind_customers(tx, cases, known, now).await?;
    let coupons = load_coupons(tx, cases).await?;
    programme.add_campaigns(tx, cases.iter().filter_map(|case| case.input.campaign_id)).await?;
    let mut traces: Vec<Result<Trace, Problem>> =
        cases.iter().map(|case| begin(case, known, &coupons, programme)).collect();
    let campaign_ids = traces.iter().flatten().filter_map(|trace| trace.campaign_id);
    programme.add_campaigns(tx, campaign_ids.collect::<BTreeSet<_>>().into_iter()).await?;
    add_history(tx, cases, &mut traces, programme, now).await?;
    let pairs: BTreeSet<_> = traces.iter().flatten().flat_map(pairs).collect();
    programme.add_pairs(tx, pairs.into_iter()).await?;
    programme.add_goals_and_rules(tx).await?;
    Ok(traces)
}

/// A conversion that tells customer and visitor tells that they are one.
async fn bind_customers(
    tx: &mut Tx,
    cases: &[Case<'_>],
    known: &HashMap<ClickId, click::Model>,
    now: Instant,
) -> Result<(), StoreError> {
    let bound: BTreeSet<(&str, &str)> = cases
        .iter()
        .filter_map(|case| Some((case.input.customer_id.as_deref()?, case)))
        .flat_map(|(customer_id, case)| {
            let click = case.input.click_id.and_then(|id| known.get(&id));
            let visitors = [click.and_then(|click| click.visitor_id.as_deref()), case.input.visitor_id.as_deref()];
            visitors.into_iter().flatten().map(move |visitor_id| (customer_id, visitor_id))
        })
        .collect();
    if bound.is_empty() { Ok(()) } else { customers::bind(tx, bound, now).await }
}

/// The active coupons that are named, by code.
async fn load_coupons(tx: &Tx, cases: &[Case<'_>]) -> Result<BTreeMap<String, Vec<coupon::Model>>, StoreError> {
    let codes: BTreeSet<&String> = cases.iter().filter_map(|case| case.input.coupon_code.as_ref()).collect();
    let mut by_code: BTreeMap<String, Vec<coupon::Model>> = BTreeMap::new();
    if !codes.is_empty() {
        let codes: Vec<String> = codes.into_iter().cloned().collect();
        for coupon in coupons::active_with_codes(tx, &codes).await? {
            by_code.entry(coupon.code.clone()).or_default().push(coupon);
        }
    }
    Ok(by_code)
}

/// What the input itself names, and the campaign by it: of the click, else the one that is named, else of the coupon.
fn begin(
    case: &Case<'_>,
    known: &HashMap<ClickId, click::Model>,
    coupons: &BTreeMap<String, Vec<coupon::Model>>,
    programme: &Programme,
) -> Result<Trace, Problem> {
    let input = &case.input;
    let click = match input.click_id {
        None => Named::Nothing,
        Some(id) => known.get(&id).map_or(Named::Unknown, |click| Named::Known(click.clone())),
    };
    if let Some(id) = input.campaign_id
        && programme.get_campaign(id).is_none()
    {
        return Err(Problem::not_found(&["campaignId"]));
    }
    let mut campaign_id = click.as_ref().known().map(|click| click.campaign_id).or(input.campaign_id);
    let coupon = match &input.coupon_code {
        None => Named::Nothing,
        Some(code) => {
            let of_code = coupons.get(code).map_or(&[][..], Vec::as_slice);
            let found = match (campaign_id, of_code) {
                (Some(id), _) => of_code.iter().find(|coupon| coupon.campaign_id == id),
                (None, [_, _, ..]) => {
                    let message = "several campaigns have a coupon with this code: say which one is meant";
                    return Err(Problem::new(ProblemCode::Required, &["campaignId"], message));
                }
                (None, one) => one.first(),
            };
            found.map_or(Named::Unknown, |coupon| Named::Known(coupon.clone()))
        }
    };
    campaign_id = campaign_id.or(coupon.as_ref().known().map(|coupon| coupon.campaign_id));
    Ok(Trace { campaign_id, click, coupon, history: Vec::new() })
}

/// Adds the clicks of visitors and customers where they would change the decision. Where nothing else names a campaign it
/// is that of the newest click.
async fn add_history(
    tx: &Tx,
    cases: &[Case<'_>],
    traces: &mut [Result<Trace, Problem>],
    programme: &Programme,
    now: Instant,
) -> Result<(), StoreError> {
    let mut needing: Vec<(usize, i64)> = Vec::new();
    for ((index, (case, trace)), number) in cases.iter().zip(traces.iter()).enumerate().zip(0_i64..) {
        let Ok(trace) = trace else { continue };
        let needs = match trace.campaign_id {
            None => true,
            Some(id) => {
                touches::needs_history(programme.campaign(id)?, &trace.view(), case.occurred_at(now), case.scrutiny)
            }
        };
        if needs {
            needing.push((index, number));
        }
    }
    let customers: BTreeSet<&String> =
        needing.iter().filter_map(|(index, _)| cases[*index].input.customer_id.as_ref()).collect();
    let visitors_of = if customers.is_empty() {
        BTreeMap::new()
    } else {
        customers::visitors(tx, &customers.into_iter().cloned().collect::<Vec<_>>()).await?
    };
    let mut wanted = Vec::new();
    for (index, number) in &needing {
        let (case, Ok(trace)) = (&cases[*index], &traces[*index]) else { continue };
        let until = case.occurred_at(now);
        let from = match (trace.campaign_id, case.scrutiny) {
            (Some(id), Scrutiny::Full) => {
                until - chrono::TimeDelta::seconds(programme.campaign(id)?.attribution_window_secs)
            }
            _ => Instant::UNIX_EPOCH,
        };
        let of_customer = case.input.customer_id.as_ref().and_then(|id| visitors_of.get(id));
        let of_click = trace.click.as_ref().known().and_then(|click| click.visitor_id.as_deref());
        let own = [case.input.visitor_id.as_deref(), of_click];
        let visitors: BTreeSet<&str> =
            own.into_iter().flatten().chain(of_customer.into_iter().flatten().map(String::as_str)).collect();
        let campaign_id = trace.campaign_id;
        wanted.extend(visitors.into_iter().map(|visitor_id| Wanted {
            number: *number,
            visitor_id,
            campaign_id,
            from,
            until,
        }));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut found: HashMap<i64, Vec<PastClick>> = HashMap::new();
    for (number, click) in past_clicks(tx, &wanted).await? {
        found.entry(number).or_default().push(click);
    }
    for (index, number) in needing {
        let (Some(mut history), Ok(trace)) = (found.remove(&number), &mut traces[index]) else { continue };
        let newest = history.iter().max_by_key(|click| (click.occurred_at, click.id));
        let campaign_id = trace.campaign_id.or(newest.map(|click| click.campaign_id));
        history.retain(|click| Some(click.campaign_id) == campaign_id);
        (trace.campaign_id, trace.history) = (campaign_id, history);
    }
    Ok(())
}

/// The campaign with every affiliate that a trace leads to.
fn pairs(trace: &Trace) -> impl Iterator<Item = (CampaignId, tributary_entity::ids::AffiliateId)> {
    let click = trace.click.as_ref().known().map(|click| click.affiliate_id);
    let coupon = trace.coupon.as_ref().known().map(|coupon| coupon.affiliate_id);
    let named = click.into_iter().chain(coupon);
    let all = named.chain(trace.history.iter().map(|click| click.affiliate_id));
    trace.campaign_id.into_iter().flat_map(move |id| all.clone().map(move |affiliate_id| (id, affiliate_id)))
}
