//! Rows as columns: for PostgreSQL, one array for each column of an insert, so that its text is the same whatever the
//! number of rows, and is parsed and planned once for each connection.
//!
//! # Decisions
//! - Arrays are bound as such, in the protocol's own form: read as texts, they cost PostgreSQL as much as the rows that it
//!   makes of them.
//! - The library's arrays cannot hold a null. One stands for it that no column holds: the least number (no amount of ours
//!   gets there, nor an instant), the greatest id (no UUIDv7), and a text that this process has made up.
//! - Instants go as microseconds since 1970, dates as days: no array of theirs is read as fast.

use std::{fmt::Write, sync::LazyLock};

use data_encoding::HEXLOWER;
use sea_orm::{DbBackend, Value, sea_query::ArrayType};
use tributary_entity::Instant;
use uuid::Uuid;

use super::error::StoreError;
use crate::ambient;

/// Stands for a null among ids.
const NO_ID: Uuid = Uuid::max();
/// Stands for a null among numbers.
const NO_NUMBER: i64 = i64::MIN;
/// Stands for a null among texts: nobody can know it, so that nobody can send it.
static NO_TEXT: LazyLock<String> = LazyLock::new(|| HEXLOWER.encode(&ambient::random_bytes::<16>()));

/// PostgreSQL's name of a value's type; none for a type that no table of ours has.
pub(super) const fn type_name(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::BigInt(_) => "bigint",
        Value::String(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::Uuid(_) => "uuid",
        Value::ChronoDateTimeUtc(_) => "timestamptz",
        Value::ChronoDate(_) => "date",
        _ => return None,
    })
}

/// Columns that grow by a value at a time, to be the arrays of a statement.
pub(super) struct Columns(Vec<Array>);

impl Columns {
    /// Columns of these types, as [`type_name`] spells them.
    pub fn new(types: impl IntoIterator<Item = &'static str>) -> Self {
        Self(types.into_iter().map(Array::new).collect())
    }

    /// The columns' arrays, to be pushed to, each once per row.
    pub fn arrays(&mut self) -> impl Iterator<Item = &mut Array> {
        self.0.iter_mut()
    }

    /// `SELECT` of `first` and all columns, a row each; their values are appended to what the statement binds.
    pub fn into_select(self, first: &str, values: &mut Vec<Value>) -> String {
        let mut expressions = String::from(first);
        let (mut arrays, mut names) = (String::new(), String::new());
        if self.0.iter().any(|array| matches!(array.sql_type, "text" | "bytea")) {
            values.push(NO_TEXT.as_str().into());
        }
        let no_text = values.len();
        for (number, array) in self.0.into_iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let separator = if expressions.is_empty() { "" } else { ", " };
            let (element, expression) = array.expression(number, no_text);
            values.push(array.finish());
            let parameter = values.len();
            write!(expressions, "{separator}{expression} AS c{number}")
                .and_then(|()| write!(arrays, "{comma}CAST(${parameter} AS {element}[])"))
                .and_then(|()| write!(names, "{comma}c{number}"))
                .expect("a text takes what is written to it");
        }
        format!("SELECT {expressions} FROM unnest({arrays}) AS arrays ({names})")
    }
}

/// Rows as a relation, to stand in a statement where a sub-select may: on PostgreSQL arrays, elsewhere a list of values.
/// All rows have values of the same types, and there is at least one; what they bind is appended to `values`.
///
/// # Errors
/// `Inconsistent` for values of a type that no table of ours has.
pub(super) fn relation(
    backend: DbBackend,
    rows: impl Iterator<Item = Vec<Value>>,
    values: &mut Vec<Value>,
) -> Result<String, StoreError> {
    if backend != DbBackend::Postgres {
        let rows: Vec<String> = rows
            .map(|row| {
                let first = values.len() + 1;
                let placeholders: Vec<String> = (first..first + row.len()).map(|number| format!("${number}")).collect();
                values.extend(row);
                format!("({})", placeholders.join(", "))
            })
            .collect();
        return Ok(format!("VALUES {}", rows.join(", ")));
    }
    let mut rows = rows.peekable();
    let types: Option<Vec<_>> = rows.peek().and_then(|row| row.iter().map(type_name).collect());
    let mut columns = Columns::new(types.ok_or_else(|| StoreError::inconsistent("(relation)", "no types"))?);
    for row in rows {
        columns.arrays().zip(&row).for_each(|(array, value)| array.push(value));
    }
    Ok(columns.into_select("", values))
}

/// The values of one column.
pub(super) struct Array {
    sql_type: &'static str,
    values: Vec<Value>,
}

impl Array {
    const fn new(sql_type: &'static str) -> Self {
        Self { sql_type, values: Vec::new() }
    }

    /// What the array is of, and how its element in `c{number}` becomes the column's value again. [`NO_TEXT`] is bound as
    /// `no_text`.
    fn expression(&self, number: usize, no_text: usize) -> (&'static str, String) {
        let value = format!("NULLIF(c{number}, CAST('{NO_NUMBER}' AS bigint))");
        match self.sql_type {
            "uuid" => ("uuid", format!("NULLIF(c{number}, CAST('{NO_ID}' AS uuid))")),
            "text" => ("text", format!("NULLIF(c{number}, CAST(${no_text} AS text))")),
            "bytea" => ("bytea", format!("NULLIF(c{number}, convert_to(CAST(${no_text} AS text), 'UTF8'))")),
            "timestamptz" => ("bigint", format!("timestamptz 'epoch' + {value} * interval '1 microsecond'")),
            "date" => ("bigint", format!("date 'epoch' + CAST({value} AS integer)")),
            "boolean" => ("bigint", format!("CAST(CAST({value} AS integer) AS boolean)")),
            "integer" => ("bigint", format!("CAST({value} AS integer)")),
            _ => ("bigint", value),
        }
    }

    fn finish(self) -> Value {
        let element = match self.sql_type {
            "uuid" => ArrayType::Uuid,
            "text" => ArrayType::String,
            "bytea" => ArrayType::Bytes,
            _ => ArrayType::BigInt,
        };
        Value::Array(element, Some(Box::new(self.values)))
    }

    pub fn push_null(&mut self) {
        self.values.push(match self.sql_type {
            "uuid" => NO_ID.into(),
            "text" => NO_TEXT.as_str().into(),
            "bytea" => NO_TEXT.as_bytes().into(),
            _ => NO_NUMBER.into(),
        });
    }

    pub fn push_uuid(&mut self, value: Uuid) {
        self.values.push(value.into());
    }

    pub fn push_number(&mut self, value: i64) {
        self.values.push(value.into());
    }

    pub fn push_instant(&mut self, value: Instant) {
        self.push_number(value.timestamp_micros());
    }

    pub fn push_bool(&mut self, value: bool) {
        self.push_number(value.into());
    }

    pub fn push_text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.values.push(value.into()),
            None => self.push_null(),
        }
    }

    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Bool(Some(value)) => self.push_bool(*value),
            Value::Int(Some(value)) => self.push_number((*value).into()),
            Value::BigInt(Some(value)) => self.push_number(*value),
            Value::Uuid(Some(value)) => self.push_uuid(*value),
            Value::ChronoDateTimeUtc(Some(value)) => self.push_instant(*value),
            Value::ChronoDate(Some(value)) => {
                self.push_number((*value - chrono::NaiveDate::default()).num_days());
            }
            Value::Bytes(Some(_)) | Value::String(Some(_)) => self.values.push(value.clone()),
            // `type_name` knows no other types, so this one has no value.
            _ => self.push_null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn array(sql_type: &'static str, values: &[Value]) -> Value {
        let mut array = Array::new(sql_type);
        values.iter().for_each(|value| array.push(value));
        array.finish()
    }

    #[test]
    fn what_stands_for_a_null_is_no_value() {
        assert_eq!(array("bigint", &[1_i64.into(), Value::BigInt(None)]), vec![1, NO_NUMBER].into());
        assert_eq!(array("boolean", &[true.into(), false.into(), Value::Bool(None)]), vec![1, 0, NO_NUMBER].into());
        assert_eq!(array("uuid", &[Uuid::nil().into(), Value::Uuid(None)]), vec![Uuid::nil(), NO_ID].into());
        let texts = array("text", &["".into(), "NULL".into(), Value::String(None)]);
        assert_eq!(texts, vec![String::new(), "NULL".to_owned(), NO_TEXT.clone()].into());
        let day = chrono::NaiveDate::from_ymd_opt(1969, 12, 31).expect("a day");
        assert_eq!(array("date", &[day.into()]), vec![-1_i64].into());
        let instant = DateTime::from_timestamp_micros(1_700_000_000_000_001).expect("in range");
        assert_eq!(array("timestamptz", &[instant.into()]), vec![1_700_000_000_000_001_i64].into());
    }

    #[test]
    fn relation_has_one_text_for_any_number_of_rows_on_postgres() {
        let row = |number: i64| vec![number.into(), Value::Uuid(None), Value::String(None)];
        let (mut one, mut two) = (vec![0.into()], vec![0.into()]);
        let text = relation(DbBackend::Postgres, [row(1)].into_iter(), &mut one).expect("known types");
        assert_eq!(text, relation(DbBackend::Postgres, [row(1), row(2)].into_iter(), &mut two).expect("known types"));
        assert_eq!(
            text,
            "SELECT NULLIF(c0, CAST('-9223372036854775808' AS bigint)) AS c0, \
             NULLIF(c1, CAST('ffffffff-ffff-ffff-ffff-ffffffffffff' AS uuid)) AS c1, \
             NULLIF(c2, CAST($2 AS text)) AS c2 \
             FROM unnest(CAST($3 AS bigint[]), CAST($4 AS uuid[]), CAST($5 AS text[])) AS arrays (c0, c1, c2)"
        );
        assert_eq!(two[2], vec![1_i64, 2].into());
        let mut values = vec![0.into()];
        let text = relation(DbBackend::Sqlite, [row(1), row(2)].into_iter(), &mut values).expect("known types");
        assert_eq!((text.as_str(), values.len()), ("VALUES ($2, $3, $4), ($5, $6, $7)", 7));
    }
}
