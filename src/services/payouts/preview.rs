//! What a batch would pay if it were drafted now, and why it would pass others over. Nothing is written.

use std::collections::BTreeMap;

use tributary_entity::{ids::AffiliateId, kinds::PayoutSkipReason, money::Currency};

use super::{pages::PAGE, routes::Routes};
use crate::{
    auth::Viewer,
    domain::{
        cap::zone,
        page::{Page, PageRequest},
        payout::NewBatch,
        payout_deductions::Amounts,
        payout_terms::{Candidate, Choice, Schedule},
    },
    services::{
        ServiceError, Services,
        payout_terms::{default_schedule, default_threshold},
    },
    store::{
        error::{Constraint, StoreError},
        payout_candidates::{self, Span},
        scope::Tx,
        tenants,
    },
};

/// A batch that may be drafted.
#[derive(Clone, Debug)]
pub struct Trial {
    pub batch: NewBatch,
    /// Only who is paid by it, as on its last day that was due; none means everybody.
    pub schedule: Option<Schedule>,
}

/// An affiliate with something available, and what the batch would pay it.
#[derive(Clone, Debug)]
pub struct Line {
    pub candidate: Candidate,
    pub threshold_minor: i64,
    pub amounts: Result<Amounts, PayoutSkipReason>,
}

/// All lines together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub payouts: i64,
    pub gross_minor: i64,
    pub net_minor: i64,
    pub skipped: BTreeMap<PayoutSkipReason, i64>,
}

impl Trial {
    /// # Errors
    /// As [`NewBatch::check`]; `OUT_OF_RANGE` for the schedule.
    pub fn check(self) -> Result<Self, ServiceError> {
        let schedule = self.schedule.map(Schedule::check).transpose()?;
        Ok(Self { batch: self.batch.check()?, schedule })
    }

    async fn choice(&self, tx: &Tx) -> Result<Choice, StoreError> {
        let currency = self.batch.currency;
        Ok(Choice {
            minimum_minor: match self.batch.minimum_minor() {
                Some(minimum_minor) => minimum_minor,
                None => default_threshold(tx, currency).await?,
            },
            by_terms: self.batch.minimum.is_none(),
            schedule: self.schedule,
            default_schedule: default_schedule(tx, currency).await?,
        })
    }

    /// Who is not there has nothing available, as in every filter.
    async fn span<'a>(&'a self, services: &Services, tx: &Tx) -> Result<Span<'a>, StoreError> {
        let zone = zone(&tenants::get(tx).await?.time_zone);
        let due = self.schedule.and_then(|schedule| schedule.last_due(services.now(), zone));
        Ok(Span {
            currency: self.batch.currency,
            only: self.batch.affiliate_ids.as_deref(),
            earned_before: due.and_then(|due| due.earned_before),
            after: None,
            before: None,
            backward: false,
            limit: PAGE,
        })
    }
}

/// A page of what a batch would do, by affiliate.
///
/// # Errors
/// As the database answers.
pub async fn lines(
    services: &Services,
    viewer: &Viewer,
    trial: &Trial,
    request: &PageRequest,
) -> Result<Page<Line>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let choice = trial.choice(&tx).await?;
    let span = Span {
        after: request.after.map(|position| AffiliateId::from_uuid(position.id)),
        before: request.before.map(|position| AffiliateId::from_uuid(position.id)),
        backward: request.backward,
        limit: request.size + 1,
        ..trial.span(services, &tx).await?
    };
    let candidates = payout_candidates::list(&tx, span).await?;
    let routes = routes(&tx, span.currency, &candidates).await?;
    let lines = candidates.into_iter().map(|candidate| Line {
        threshold_minor: choice.threshold_minor(candidate.threshold_minor),
        amounts: routes.of(candidate.affiliate_id).amounts(&choice, &candidate, span.currency),
        candidate,
    });
    Ok(Page::from_fetched(request, lines.collect()))
}

/// How many affiliates have something available.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, trial: &Trial) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_candidates::count(&tx, trial.batch.currency, trial.batch.affiliate_ids.as_deref()).await?)
}

/// All that a batch would pay. Reads everybody's balance, a page at a time.
///
/// # Errors
/// As the database answers.
pub async fn summary(services: &Services, viewer: &Viewer, trial: &Trial) -> Result<Summary, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let choice = trial.choice(&tx).await?;
    let mut span = trial.span(services, &tx).await?;
    let mut summary = Summary::default();
    loop {
        let candidates = payout_candidates::list(&tx, span).await?;
        let routes = routes(&tx, span.currency, &candidates).await?;
        for candidate in &candidates {
            match routes.of(candidate.affiliate_id).amounts(&choice, candidate, span.currency) {
                Ok(amounts) => {
                    summary.payouts += 1;
                    let sum = summary.gross_minor.checked_add(amounts.gross_minor);
                    summary.gross_minor = sum.ok_or(StoreError::Constraint(Constraint::CounterRange))?;
                    // Never more than the gross amounts.
                    summary.net_minor += amounts.net_minor();
                }
                Err(reason) => *summary.skipped.entry(reason).or_default() += 1,
            }
        }
        match candidates.last() {
            Some(last) if candidates.len() as u64 == span.limit => span.after = Some(last.affiliate_id),
            _ => return Ok(summary),
        }
    }
}

async fn routes(tx: &Tx, currency: Currency, candidates: &[Candidate]) -> Result<Routes, StoreError> {
    let ids: Vec<AffiliateId> = candidates.iter().map(|candidate| candidate.affiliate_id).collect();
    Routes::read(tx, currency, &ids).await
}
