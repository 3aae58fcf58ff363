//! One batch, one transaction: claims, facts, decisions, rows, events; all or nothing.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt;
use tributary_entity::{
    Instant,
    ids::{ClickId, ConversionId, LinkId},
    link,
};
use uuid::Uuid;

use super::{
    Answer, Env, Failure, Item, Recorded, Work, clicks,
    conversions::{self, Case},
    programme::{BatchTotals, Memory, Programme, Remembered},
};
use crate::{
    ambient,
    domain::{idempotency::Claim, problem::Problem, tenancy::TenantScope, touches::Scrutiny},
    fault,
    services::publish,
    store::{
        error::StoreError,
        idempotency::{self, Claimed},
        links,
        scope::Tx,
    },
};

/// How long one transaction may take. Longer than any that works: PostgreSQL gives a statement up before.
const TIME_LIMIT: Duration = Duration::from_secs(45);
/// How often a batch that lost a race is done again.
const ATTEMPTS: u32 = 6;

/// Records items in as few transactions as it takes: one, unless an item cannot be stored and is halved out.
pub(super) async fn settle(env: &Env, memory: &Memory, scope: &TenantScope, items: &[Item]) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = items.iter().map(|_| None).collect();
    let mut open: Vec<Range<usize>> = std::iter::once(0..items.len()).collect();
    while let Some(range) = open.pop() {
        match contained(attempt(env, memory, scope, &items[range.clone()])).await {
            Ok(done) => {
                for (slot, answer) in answers[range].iter_mut().zip(done) {
                    *slot = Some(answer);
                }
            }
            Err(StoreError::Unavailable(error)) => {
                tracing::warn!(%error, ingest.items = range.len(), "the database is away; items not recorded");
                answers[range].fill_with(|| Some(Err(Failure::Unavailable)));
            }
            Err(error) if error.is_conflict() => {
                tracing::warn!(?error, ingest.items = range.len(), "items lost every race; not recorded");
                answers[range].fill_with(|| Some(Err(Failure::Unavailable)));
            }
            Err(error) if range.len() == 1 => {
                tracing::error!(?error, "an item cannot be stored");
                answers[range].fill_with(|| Some(Err(Failure::Poison)));
            }
            Err(error) => {
                tracing::warn!(%error, ingest.items = range.len(), "a batch failed; halving it");
                let middle = range.start + range.len() / 2;
                // The earlier half first: order inside a call stays.
                open.push(middle..range.end);
                open.push(range.start..middle);
            }
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or(Err(Failure::Poison))).collect()
}

/// A panic is a fault like any other: it must not end the lane, and halving finds the item that brings it about.
async fn contained<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    // What the work held is gone with it: its transaction is rolled back, and nothing else is shared.
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(StoreError::inconsistent("(batch)", "a panic")))
}

/// Does a batch, again when it lost a race against another node.
async fn attempt(env: &Env, memory: &Memory, scope: &TenantScope, items: &[Item]) -> Result<Vec<Answer>, StoreError> {
    let batch = Attempt { env, memory, scope, items };
    if let Some(remembered) = memory.take() {
        match contained(batch.in_time(Some(remembered), false)).await {
            Err(error) if !matches!(error, StoreError::Unavailable(_)) => {
                // It may be for what was remembered: nothing is decided by that against anybody.
                tracing::debug!(%error, "a batch is done again, without what was remembered");
            }
            result => return result,
        }
    }
    let mut delay = Duration::from_millis(5);
    for number in 1..ATTEMPTS {
        match batch.in_time(None, number > 1).await {
            // Another node was first with a natural key: the next try sees its row and decides anew.
            Err(error) if error.is_conflict() || error.was_second() => tokio::time::sleep(delay).await,
            result => return result,
        }
        delay *= 2;
    }
    batch.in_time(None, true).await
}

/// What is to be done with an item, as far as its link and its key tell.
enum Plan {
    Record,
    /// Answer what was recorded under this id.
    Replay(Uuid),
    Refuse(Problem),
}

/// What is tried.
struct Attempt<'a> {
    env: &'a Env,
    memory: &'a Memory,
    scope: &'a TenantScope,
    items: &'a [Item],
}

impl Attempt<'_> {
    /// One try, given up when the database does not answer: a server that vanished must not hold the lane. Whether it had
    /// committed is unknown then; the callers' keys tell them.
    async fn in_time(&self, remembered: Option<Remembered>, again: bool) -> Result<Vec<Answer>, StoreError> {
        let transacted = tokio::time::timeout(TIME_LIMIT, self.transact(remembered, again)).await;
        transacted.unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    /// By what is remembered, if all of it is still so at the commit.
    async fn transact(&self, remembered: Option<Remembered>, again: bool) -> Result<Vec<Answer>, StoreError> {
        let now = self.env.clock.now();
        let mut tx = self.env.db.begin(self.scope).await?;
        let mut known = match remembered {
            Some(remembered) => {
                remembered.hold(&mut tx);
                remembered
            }
            None => Remembered::begin(&tx).await?,
        };
        let answers = transact(self.env, tx, self.items, &mut known.programme, again, now).await?;
        self.memory.put(known);
        Ok(answers)
    }
}

/// Clicks that are there already are rare: they are looked for only when it is done `again`, having met one.
async fn transact(
    env: &Env,
    mut tx: Tx,
    items: &[Item],
    programme: &mut Programme,
    again: bool,
    now: Instant,
) -> Result<Vec<Answer>, StoreError> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.work.id().unwrap_or_else(ambient::new_uuid)).collect();

    let link_ids = items.iter().filter_map(|item| match &item.work {
        // What the redirect has read is not read again.
        Work::Click(click) if click.facts.is_none() => Some(click.link_id),
        Work::Click(_) | Work::Conversion(_) => None,
    });
    let links: HashMap<_, _> = match distinct(link_ids) {
        wanted if wanted.is_empty() => HashMap::new(),
        wanted => links::get_many(&tx, &wanted).await?.into_iter().map(|row| (row.id, row)).collect(),
    };

    // A refused item must not use up its key, so refusals come before claims.
    let mut plans: Vec<Plan> = items
        .iter()
        .map(|item| match &item.work {
            Work::Click(click) if click.facts.is_none() && !links.contains_key(&click.link_id) => {
                Plan::Refuse(Problem::not_found(&["linkId"]))
            }
            _ => Plan::Record,
        })
        .collect();
    let mut of_key: BTreeMap<&str, Vec<(usize, &Claim)>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if let (Plan::Record, Some(claim)) = (&plans[index], &item.claim) {
            of_key.entry(&claim.key).or_default().push((index, claim));
        }
    }
    if !of_key.is_empty() {
        let claims: Vec<_> = of_key.values().map(|same_key| (same_key[0].1, ids[same_key[0].0])).collect();
        let outcomes = idempotency::claim(&mut tx, &claims, now).await?;
        for (same_key, outcome) in of_key.values().zip(outcomes) {
            let (first, first_claim) = same_key[0];
            for (index, claim) in same_key {
                let result = match &outcome {
                    Claimed::Fresh if *index == first => continue,
                    Claimed::Fresh => (claim.input_hash == first_claim.input_hash).then_some(ids[first]),
                    Claimed::Used(earlier) => earlier.result_of(claim),
                };
                plans[*index] = result.map_or_else(|| Plan::Refuse(Claim::conflict()), Plan::Replay);
            }
        }
    }

    // A click of the redirect may come twice, by its lane and by the spool.
    let given: Vec<ClickId> = items.iter().filter_map(|item| item.work.id()).map(ClickId::from_uuid).collect();
    let mut there = if again { clicks::there(&tx, &given).await? } else { HashSet::with_capacity(given.len()) };
    for (index, item) in items.iter().enumerate() {
        if let Some(id) = item.work.id()
            && matches!(plans[index], Plan::Record)
            && !there.insert(ClickId::from_uuid(id))
        {
            plans[index] = Plan::Replay(id);
        }
    }

    let mut new_clicks = Vec::new();
    let mut new_conversions: Vec<(usize, Case<'_>)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if !matches!(plans[index], Plan::Record) {
            continue;
        }
        match &item.work {
            Work::Click(input) => {
                new_clicks.push(clicks::Fresh { index, id: ClickId::from_uuid(ids[index]), input });
            }
            Work::Conversion(input) => {
                let case = Case {
                    id: ConversionId::from_uuid(ids[index]),
                    input: Cow::Borrowed(input),
                    before: None,
                    actor: item.actor.to_string().into(),
                    note: None,
                    scrutiny: Scrutiny::Full,
                    has_key: item.claim.is_some(),
                };
                new_conversions.push((index, case));
            }
        }
    }
    let mut answers: Vec<Option<Answer>> = items.iter().map(|_| None).collect();
    if !new_clicks.is_empty() || !new_conversions.is_empty() {
        fault::point("ingest.before_insert");
        let recorded = record(&mut tx, &new_clicks, new_conversions, &links, programme, now).await?;
        for (index, answer) in recorded {
            if let Err(Failure::Refused(problem)) = &answer {
                refuse(&mut tx, items, &ids, &mut plans, index, problem).await?;
            }
            answers[index] = Some(answer);
        }
    }
    fault::point("ingest.before_commit");
    let began = std::time::Instant::now();
    publish(&*env.bus, tx).await?;
    env.meters.committed(began.elapsed());
    fault::point("ingest.after_commit");

    Ok(plans
        .into_iter()
        .enumerate()
        .map(|(index, plan)| match plan {
            Plan::Replay(id) => Ok(Recorded::Replayed(id)),
            Plan::Refuse(problem) => Err(Failure::Refused(problem)),
            Plan::Record => answers[index].take().unwrap_or(Err(Failure::Poison)),
        })
        .collect())
}

/// Records what is new, clicks before conversions. Answers by their index in the batch.
async fn record(
    tx: &mut Tx,
    new_clicks: &[clicks::Fresh<'_>],
    new_conversions: Vec<(usize, Case<'_>)>,
    links: &HashMap<LinkId, link::Model>,
    programme: &mut Programme,
    now: Instant,
) -> Result<Vec<(usize, Answer)>, StoreError> {
    let named = new_conversions.iter().filter_map(|(_, case)| case.input.click_id).collect();
    let mut known = conversions::load_clicks(tx, named).await?;
    let pairs = links
        .values()
        .map(|link| (link.campaign_id, link.affiliate_id))
        .chain(known.values().map(|click| (click.campaign_id, click.affiliate_id)));
    programme.add_pairs(tx, pairs).await?;
    let mut totals = BatchTotals::default();
    let recorded = clicks::record(tx, new_clicks, links, programme, &mut totals, now).await?;
    // Only an id that was given away before its click was recorded can be named by a conversion that waits.
    let given: Vec<ClickId> =
        new_clicks.iter().filter(|fresh| fresh.input.id.is_some()).map(|fresh| fresh.id).collect();
    let mut cases = conversions::waiting::awaiting(tx, &given).await?;
    let waited = cases.len();
    if waited > 0 || !new_conversions.is_empty() {
        known.extend(recorded.iter().map(|(_, row)| (row.id, row.clone())));
    }
    let (indexes, fresh): (Vec<usize>, Vec<Case<'_>>) = new_conversions.into_iter().unzip();
    cases.extend(fresh);
    let settled = conversions::settle(tx, cases, &known, programme, &mut totals, now).await?;
    totals.write(tx).await?;
    let clicks = recorded.into_iter().map(|(index, row)| (index, Ok(Recorded::Click(Box::new(row)))));
    let conversions = indexes.into_iter().zip(settled.into_iter().skip(waited)).map(|(index, answer)| {
        (index, answer.map(|snapshot| Recorded::Conversion(Box::new(snapshot))).map_err(Failure::Refused))
    });
    Ok(clicks.chain(conversions).collect())
}

/// A refused item does not use up its key, and its repetitions in the batch are refused with it.
async fn refuse(
    tx: &mut Tx,
    items: &[Item],
    ids: &[Uuid],
    plans: &mut [Plan],
    index: usize,
    problem: &Problem,
) -> Result<(), StoreError> {
    let Some(claim) = &items[index].claim else { return Ok(()) };
    idempotency::release(tx, &[&claim.key]).await?;
    for plan in plans.iter_mut() {
        if matches!(plan, Plan::Replay(id) if *id == ids[index]) {
            *plan = Plan::Refuse(problem.clone());
        }
    }
    Ok(())
}

pub(super) fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_in_a_batch_is_an_error_of_the_batch() {
        let broken = async {
            tokio::task::yield_now().await;
            panic!("a defect");
        };
        assert!(matches!(contained::<()>(broken).await, Err(StoreError::Inconsistent { .. })));
        assert!(matches!(contained(async { Ok(1) }).await, Ok(1)));
    }
}
