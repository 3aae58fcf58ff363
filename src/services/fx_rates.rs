//! Exchange rates: set, imported from files, fetched once an hour from where the settings say; listed, and asked for.
//!
//! # Decisions
//! - Rates are only ever added. A correction is another rate of the same day, and what was reckoned by the earlier one
//!   keeps it. What a file says that is known already is not added again, so that a file can be sent every day.
//! - The feed is the operator's and serves every tenant; a tenant's own rates of the same day go before it.

use std::{collections::BTreeSet, time::Duration};

use chrono::{NaiveDate, TimeDelta};
use reqwest::{header, redirect};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tributary_entity::{
    Instant, fx_rate,
    ids::{FxRateId, OutboxId},
    kinds::{EventKind, OutboxKind},
    money::Currency,
};

use super::{Outcome, ServiceError, Services, holds, idempotency};
use crate::{
    ambient,
    auth::{Actor, Viewer},
    domain::{
        event::NewEvent,
        fx_rate::{
            FxRateFilter, NewRate, Quote, Rates,
            file::{self, Format},
        },
        page::{Page, PageRequest},
        problem::Problem,
        tenancy::TenantScope,
    },
    store::{fx_rates, outbox, scope::Tx},
};

/// When conversions that wait are looked at besides at once: when no transaction that could not see the rates is open.
const LOOK_AGAIN: [TimeDelta; 2] = [TimeDelta::seconds(2), TimeDelta::seconds(60)];
/// Of one request to the feed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file to import.
#[derive(Clone, Debug)]
pub struct FileInput {
    pub format: Format,
    pub content: String,
}

/// What an import added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Rates of the file.
    pub read: usize,
    /// Those that were not known.
    pub added: usize,
    /// The days that the file speaks of.
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
}

/// Sets a rate.
///
/// # Errors
/// The input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewRate,
) -> Result<Outcome<fx_rate::Model>, ServiceError> {
    let now = services.now();
    let input = input.check(now)?;
    let id = FxRateId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "setFxRate", &input, id.uuid()).await? {
        let earlier = fx_rates::get_many(&tx, &[FxRateId::from_uuid(id)]).await?.pop();
        return Ok(Outcome::replayed(earlier.ok_or_else(|| ServiceError::not_found(&["idempotencyKey"]))?));
    }
    let row = row(&tx, id, &input, &viewer.actor, now);
    add(&mut tx, vec![row.clone()], now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// What a repetition of an import has to agree with.
#[derive(Serialize)]
struct FileClaim {
    format: Format,
    sha256: String,
}

/// Imports a file, whole or not at all.
///
/// # Errors
/// `INVALID_TEXT` or `BATCH_SIZE` for a file that cannot be taken; `TIME_IN_FUTURE`; `IDEMPOTENCY_CONFLICT`.
pub async fn import(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: &FileInput,
) -> Result<Outcome<Imported>, ServiceError> {
    let now = services.now();
    let rates = file::read(input.format, &input.content)?;
    let rates = rates.into_iter().map(|rate| rate.check(now)).collect::<Result<Vec<_>, Problem>>();
    let rates = rates.map_err(|problem| Problem { field: vec!["content".to_owned()], ..problem })?;
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&input.content));
    let claim = FileClaim { format: input.format, sha256 };
    let mut tx = services.begin(viewer).await?;
    let marker = ambient::new_uuid();
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "importFxRates", &claim, marker).await?;
    if claimed.is_some() {
        // All that it says was known when the first call ended.
        return Ok(Outcome::replayed(Imported { added: 0, ..told(&rates)? }));
    }
    let imported = take_in(&mut tx, &rates, &viewer.actor, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(imported))
}

fn told(rates: &[NewRate]) -> Result<Imported, ServiceError> {
    let days = || rates.iter().map(|rate| rate.valid_on);
    let none = ServiceError::Internal("an import without rates was not refused");
    let (Some(first_day), Some(last_day)) = (days().min(), days().max()) else { return Err(none) };
    Ok(Imported { read: rates.len(), added: rates.len(), first_day, last_day })
}

/// Adds what is not known yet.
async fn take_in(tx: &mut Tx, rates: &[NewRate], actor: &Actor, now: Instant) -> Result<Imported, ServiceError> {
    let told = told(rates)?;
    let currencies: BTreeSet<Currency> = rates.iter().map(|rate| rate.base).collect();
    let known = Rates::of(&fx_rates::of_days(tx, (told.first_day, told.last_day), &currencies).await?);
    let fresh = rates.iter().filter(|rate| !known.has(rate));
    let rows: Vec<fx_rate::Model> =
        fresh.map(|rate| row(tx, FxRateId::from_uuid(ambient::new_uuid()), rate, actor, now)).collect();
    let added = rows.len();
    add(tx, rows, now).await?;
    Ok(Imported { added, ..told })
}

fn row(tx: &Tx, id: FxRateId, rate: &NewRate, actor: &Actor, now: Instant) -> fx_rate::Model {
    let NewRate { source, base, quote, rate_e12, valid_on } = *rate;
    fx_rate::Model {
        tenant_id: tx.scope().tenant_id(),
        id,
        source,
        base,
        quote,
        rate_e12,
        valid_on,
        author: actor.to_string(),
        created_at: now,
    }
}

/// Adds rates, tells of them, and asks for what waited.
async fn add(tx: &mut Tx, rows: Vec<fx_rate::Model>, now: Instant) -> Result<(), ServiceError> {
    let Some(first) = rows.first() else { return Ok(()) };
    tx.record(NewEvent::new(EventKind::FxRatesChanged, first.id.uuid(), &rows.len(), now));
    fx_rates::insert(tx, rows).await?;
    outbox::ask(tx, OutboxId::from_uuid(ambient::new_uuid()), OutboxKind::ResolveRates, "now".to_owned(), now, now)
        .await?;
    holds::ask_each(tx, OutboxKind::ResolveRates, LOOK_AGAIN.map(|delay| now + delay).into_iter(), now).await?;
    Ok(())
}

/// The rate by which an amount is reckoned for a day; none where none is known.
///
/// # Errors
/// As the database answers.
pub async fn quote(
    services: &Services,
    viewer: &Viewer,
    from: Currency,
    to: Currency,
    on: NaiveDate,
) -> Result<Option<Quote>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    find(&tx, from, to, on).await
}

/// As [`quote`], inside another noun's transaction.
pub(super) async fn find(tx: &Tx, from: Currency, to: Currency, on: NaiveDate) -> Result<Option<Quote>, ServiceError> {
    let rows = fx_rates::of_days(tx, Rates::days(on), &BTreeSet::from([from, to])).await?;
    Ok(Rates::of(&rows).find(from, to, on))
}

/// A page of the tenant's rates.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &FxRateFilter,
    request: &PageRequest,
) -> Result<Page<fx_rate::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_rates::list(&tx, filter, request).await?)
}

/// The rates with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[FxRateId],
) -> Result<Vec<fx_rate::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_rates::get_many(&tx, ids).await?)
}

/// How many rates a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &FxRateFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_rates::count(&tx, filter).await?)
}

/// Fetches the feed of the settings, and gives each of these tenants what it does not know. Answers how many rates were
/// added in all.
///
/// # Errors
/// As the database answers. A feed that cannot be fetched or read is logged, and asked again at the next turn.
pub async fn feed(services: &Services, tenants: &[TenantScope]) -> Result<u64, ServiceError> {
    let Some(url) = &services.settings.fx_feed_url else { return Ok(0) };
    let rates = match fetch(url).await {
        Ok(document) => file::read(document.format, &document.content).map_err(|problem| problem.message),
        Err(error) => Err(error.to_string()),
    };
    let rates = match rates {
        Ok(rates) => rates,
        Err(error) => {
            tracing::warn!(error, "the feed of exchange rates cannot be used");
            return Ok(0);
        }
    };
    let now = services.now();
    let rates: Vec<NewRate> = rates.into_iter().filter_map(|rate| rate.check(now).ok()).collect();
    if rates.is_empty() {
        return Ok(0);
    }
    let mut added = 0;
    for scope in tenants {
        let mut tx = services.db.begin(scope).await?;
        let imported = take_in(&mut tx, &rates, &Actor::System, now).await?;
        services.commit(tx).await?;
        added += imported.added as u64;
    }
    Ok(added)
}

/// Why there is no feed.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error("answered more than {} bytes", file::FILE_MAX_BYTES)]
    TooLarge,
    #[error("answered no text")]
    NoText,
}

/// Reads the feed, bounded in size and time. Redirects are not followed: the settings say where it is.
async fn fetch(url: &str) -> Result<FileInput, FeedError> {
    let http = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut response = http.get(url).header(header::ACCEPT, "application/xml, text/xml, text/csv").send().await?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(FeedError::Status(response.status()));
    }
    let media_type =
        response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > file::FILE_MAX_BYTES {
            return Err(FeedError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let content = String::from_utf8(body).map_err(|_| FeedError::NoText)?;
    Ok(FileInput { format: Format::of(media_type.as_deref(), &content), content })
}
