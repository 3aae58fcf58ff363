//! Exchange rates: appended, read by day.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, Select};
use tributary_entity::{
    fx_rate::{Column, Entity, Model},
    ids::FxRateId,
    money::Currency,
};

use super::{
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    fx_rate::{FxRateFilter, Rates},
    page::{Page, PageRequest},
};

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, rows: Vec<Model>) -> Result<(), StoreError> {
    tx.insert_all::<Entity>(rows).await
}

/// The rates of these days, both inclusive, that have one of these currencies on either side, older ones first.
///
/// # Errors
/// As the database answers.
pub async fn of_days(
    tx: &Tx,
    (first, last): (NaiveDate, NaiveDate),
    currencies: &BTreeSet<Currency>,
) -> Result<Vec<Model>, StoreError> {
    let either = Condition::any()
        .add(any_of(Column::Base, currencies.iter().copied()))
        .add(any_of(Column::Quote, currencies.iter().copied()));
    let select = tx.find::<Entity>().filter(Column::ValidOn.between(first, last)).filter(either);
    Ok(select.order_by_asc(Column::Id).all(tx.connection()).await?)
}

/// The rates by which amounts of these days are reckoned, each from its first currency to the second. Reads nothing where
/// both are always the same.
///
/// # Errors
/// As the database answers.
pub async fn of_needs(
    tx: &Tx,
    needs: impl Iterator<Item = (Currency, Currency, NaiveDate)>,
) -> Result<Rates, StoreError> {
    let (mut currencies, mut windows) = (BTreeSet::new(), BTreeSet::new());
    for (from, to, on) in needs.filter(|(from, to, _)| from != to) {
        currencies.extend([from, to]);
        windows.insert(Rates::days(on));
    }
    // Days that lie far apart are read for themselves: nobody asked for all between them.
    let mut spans: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for (first, last) in windows {
        match spans.last_mut() {
            Some(span) if first <= span.1 => span.1 = span.1.max(last),
            _ => spans.push((first, last)),
        }
    }
    let mut rows = Vec::new();
    for span in spans {
        rows.extend(of_days(tx, span, &currencies).await?);
    }
    Ok(Rates::of(&rows))
}

fn filtered(tx: &Tx, filter: &FxRateFilter) -> Select<Entity> {
    let mut select = tx.find::<Entity>();
    if let Some(sources) = &filter.sources {
        select = select.filter(any_of(Column::Source, sources.iter().copied()));
    }
    if let Some(bases) = &filter.bases {
        select = select.filter(any_of(Column::Base, bases.iter().copied()));
    }
    if let Some(quotes) = &filter.quotes {
        select = select.filter(any_of(Column::Quote, quotes.iter().copied()));
    }
    if let Some(from) = filter.from {
        select = select.filter(Column::ValidOn.gte(from));
    }
    if let Some(until) = filter.until {
        select = select.filter(Column::ValidOn.lte(until));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &FxRateFilter, request: &PageRequest) -> Result<Page<Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &FxRateFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[FxRateId]) -> Result<Vec<Model>, StoreError> {
    let select = tx.find::<Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}
