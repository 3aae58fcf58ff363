//! Several selects in one journey to the server.
//!
//! # Decisions
//! - PostgreSQL answers one row, a column for each select: its rows as JSON, which our rows are read from as they are from
//!   columns. SQLite, which is a call away, is asked one by one.
//! - For a handful of rows each: JSON of many costs more than journeys do.

use std::fmt::Write;

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryTrait, Select, Statement, Value};
use serde::de::DeserializeOwned;

use super::{dialect, error::StoreError, scope::Tx};

/// A tuple of selects.
pub(super) trait Selects {
    /// The rows of each.
    type Rows;

    /// Asks for all at once: they see one moment.
    async fn read(self, tx: &Tx) -> Result<Self::Rows, StoreError>;
}

macro_rules! tuples {
    ($(($($entity:ident)+))+) => {$(
        impl<$($entity),+> Selects for ($(Select<$entity>,)+)
        where
            $($entity: EntityTrait, $entity::Model: DeserializeOwned + Send,)+
        {
            type Rows = ($(Vec<$entity::Model>,)+);

            #[expect(non_snake_case, reason = "each select under the name of its type")]
            async fn read(self, tx: &Tx) -> Result<Self::Rows, StoreError> {
                let ($($entity,)+) = self;
                if tx.backend() != DbBackend::Postgres {
                    return Ok(($($entity.all(tx.connection()).await?,)+));
                }
                let statements = vec![$(tx.backend().build($entity.as_query()),)+];
                let mut texts = ask(tx, statements).await?.into_iter();
                Ok(($(rows::<$entity::Model>(texts.next())?,)+))
            }
        }
    )+};
}

tuples! {
    (A B C D E F G H I J K)
}

/// The answers of selects, each a text; none where there are no rows.
async fn ask(tx: &Tx, statements: Vec<Statement>) -> Result<Vec<Option<String>>, StoreError> {
    let (mut sql, mut values) = (String::from("SELECT "), Vec::<Value>::new());
    let count = statements.len();
    for (number, statement) in statements.into_iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(sql, "{comma}(SELECT CAST(json_agg(t) AS text) FROM (").expect("a text takes what is written to it");
        dialect::append(statement, &mut sql, &mut values);
        write!(sql, ") t) AS c{number}").expect("a text takes what is written to it");
    }
    let statement = Statement::from_sql_and_values(tx.backend(), sql, values);
    let row = tx.connection().query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StoreError::inconsistent("(reading)", "no row"))?;
    (0..count).map(|number| Ok(row.try_get_by_index(number)?)).collect()
}

fn rows<M: DeserializeOwned>(text: Option<Option<String>>) -> Result<Vec<M>, StoreError> {
    match text.flatten() {
        Some(text) => serde_json::from_str(&text).map_err(|error| StoreError::inconsistent("(reading)", error)),
        None => Ok(Vec::new()),
    }
}
