//! Rows as columns: for PostgreSQL, one array for each column, so that a statement's text is the same whatever the number
//! of rows, and is parsed and planned once for each connection.
//!
//! # Decisions
//! - Arrays are written as PostgreSQL's own array literals and bound as text: the library's arrays cannot hold a null.

use std::fmt::Write;

use sea_orm::{DbBackend, Value};

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

/// Rows as a table that a statement can select from, written `WITH name (columns) AS (..)`: adds their values to those of
/// the statement. At least one row; each has a value or a typed null of one of our types in every column.
pub(super) fn table(backend: DbBackend, values: &mut Vec<Value>, rows: Vec<Vec<Value>>) -> String {
    if backend != DbBackend::Postgres {
        let rows: Vec<String> = rows
            .into_iter()
            .map(|row| {
                let first = values.len() + 1;
                values.extend(row);
                let places: Vec<String> = (first..=values.len()).map(|place| format!("${place}")).collect();
                format!("({})", places.join(", "))
            })
            .collect();
        return format!("VALUES {}", rows.join(", "));
    }
    let columns = rows.first().map_or(0, Vec::len);
    let arrays: Vec<String> = (0..columns)
        .map(|column| {
            let mut literal = Literal::new();
            rows.iter().for_each(|row| literal.push(&row[column]));
            values.push(literal.finish().into());
            let sql_type = type_name(&rows[0][column]).expect("our statements bind only types that our tables have");
            format!("CAST(CAST(${} AS text) AS {sql_type}[])", values.len())
        })
        .collect();
    format!("SELECT * FROM unnest({})", arrays.join(", "))
}

/// An array literal that grows by a value at a time.
pub(super) struct Literal(String);

impl Literal {
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    pub fn push(&mut self, value: &Value) {
        let text = &mut self.0;
        if text.len() > 1 {
            text.push(',');
        }
        let written = match value {
            Value::Bool(Some(value)) => write!(text, "{value}"),
            Value::Int(Some(value)) => write!(text, "{value}"),
            Value::BigInt(Some(value)) => write!(text, "{value}"),
            Value::Uuid(Some(value)) => write!(text, "{value}"),
            Value::ChronoDateTimeUtc(Some(value)) => write!(text, "\"{}\"", value.format("%Y-%m-%d %H:%M:%S%.6f+00")),
            Value::ChronoDate(Some(value)) => write!(text, "{value}"),
            Value::Bytes(Some(value)) => write!(text, "\"\\\\x{}\"", data_encoding::HEXLOWER.encode(value)),
            Value::String(Some(value)) => {
                quote(text, value);
                Ok(())
            }
            // `type_name` knows no other types, so this one has no value.
            _ => write!(text, "NULL"),
        };
        written.expect("a text takes what is written to it");
    }

    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for part in value.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            Some(before) => {
                text.push_str(before);
                text.push('\\');
                text.push_str(&part[before.len()..]);
            }
            None => text.push_str(part),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn literal(values: &[Value]) -> String {
        let mut literal = Literal::new();
        values.iter().for_each(|value| literal.push(value));
        literal.finish()
    }

    #[test]
    fn values_stand_as_postgres_writes_them() {
        assert_eq!(literal(&[]), "{}");
        assert_eq!(literal(&[1_i64.into(), Value::BigInt(None), (-2_i64).into()]), "{1,NULL,-2}");
        assert_eq!(literal(&[true.into(), false.into()]), "{true,false}");
        assert_eq!(literal(&[vec![0_u8, 255].into()]), r#"{"\\x00ff"}"#);
        assert_eq!(literal(&[Uuid::nil().into()]), "{00000000-0000-0000-0000-000000000000}");
        assert_eq!(literal(&[chrono::NaiveDate::default().into()]), "{1970-01-01}");
        let instant = DateTime::from_timestamp_micros(1_700_000_000_000_001).expect("in range");
        assert_eq!(literal(&[instant.into()]), r#"{"2023-11-14 22:13:20.000001+00"}"#);
    }

    #[test]
    fn rows_are_a_table_in_both_dialects() {
        let rows = || vec![vec![1_i64.into(), "a".into()], vec![2_i64.into(), Value::String(None)]];
        let mut values: Vec<Value> = vec![Uuid::nil().into()];
        assert_eq!(table(DbBackend::Sqlite, &mut values, rows()), "VALUES ($2, $3), ($4, $5)");
        assert_eq!(values.len(), 5);
        let mut values: Vec<Value> = vec![Uuid::nil().into()];
        let text = table(DbBackend::Postgres, &mut values, rows());
        assert_eq!(text, "SELECT * FROM unnest(CAST(CAST($2 AS text) AS bigint[]), CAST(CAST($3 AS text) AS text[]))");
        assert_eq!(values[1..], [Value::from("{1,2}"), Value::from("{\"a\",NULL}")]);
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        let texts = ["", "NULL", r#"a"b"#, r"\", r#"\""#, "{,}", "ä\n"].map(Value::from);
        assert_eq!(literal(&texts), "{\"\",\"NULL\",\"a\\\"b\",\"\\\\\",\"\\\\\\\"\",\"{,}\",\"ä\n\"}");
    }
}
