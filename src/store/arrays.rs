//! Rows as columns: for PostgreSQL, one array for each column of an insert, so that its text is the same whatever the
//! number of rows, and is parsed and planned once for each connection.
//!
//! # Decisions
//! - Arrays are written as PostgreSQL's own array literals and bound as text: the library's arrays cannot hold a null.
//! - Instants go as microseconds since 1970: a number is read several times faster than a date.

use std::fmt::Write;

use sea_orm::{DbBackend, Value};
use tributary_entity::Instant;
use uuid::Uuid;

use super::error::StoreError;

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
pub(super) struct Columns(Vec<(&'static str, Literal)>);

impl Columns {
    /// Columns of these types, as [`type_name`] spells them.
    pub fn new(types: impl IntoIterator<Item = &'static str>) -> Self {
        Self(types.into_iter().map(|sql_type| (sql_type, Literal::new())).collect())
    }

    /// The columns' literals, to be pushed to, each once per row.
    pub fn literals(&mut self) -> impl Iterator<Item = &mut Literal> {
        self.0.iter_mut().map(|(_, literal)| literal)
    }

    /// `SELECT` of `first` and all columns, a row each; their values are appended to what the statement binds.
    pub fn into_select(self, first: &str, values: &mut Vec<Value>) -> String {
        let mut expressions = String::from(first);
        let (mut arrays, mut names) = (String::new(), String::new());
        for (number, (sql_type, literal)) in self.0.into_iter().enumerate() {
            values.push(literal.finish().into());
            let comma = if number == 0 { "" } else { ", " };
            let (element, expression) = match sql_type {
                "timestamptz" => ("bigint", format!("timestamptz 'epoch' + c{number} * interval '1 microsecond'")),
                other => (other, format!("c{number}")),
            };
            let separator = if expressions.is_empty() { "" } else { ", " };
            let parameter = values.len();
            write!(expressions, "{separator}{expression}")
                .and_then(|()| write!(arrays, "{comma}CAST(CAST(${parameter} AS text) AS {element}[])"))
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
        columns.literals().zip(&row).for_each(|(literal, value)| literal.push(value));
    }
    Ok(columns.into_select("", values))
}

/// An array literal that grows by a value at a time.
pub(super) struct Literal(String);

impl Literal {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn next(&mut self) -> &mut String {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        &mut self.0
    }

    fn write(&mut self, value: impl std::fmt::Display) {
        write!(self.next(), "{value}").expect("a text takes what is written to it");
    }

    pub fn push_null(&mut self) {
        self.next().push_str("NULL");
    }

    pub fn push_uuid(&mut self, value: Uuid) {
        let mut buffer = Uuid::encode_buffer();
        let text = value.as_hyphenated().encode_lower(&mut buffer);
        self.next().push_str(text);
    }

    pub fn push_instant(&mut self, value: Instant) {
        self.write(value.timestamp_micros());
    }

    pub fn push_bool(&mut self, value: bool) {
        self.next().push_str(if value { "true" } else { "false" });
    }

    pub fn push_text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => quote(self.next(), value),
            None => self.push_null(),
        }
    }

    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Bool(Some(value)) => self.push_bool(*value),
            Value::Int(Some(value)) => self.write(value),
            Value::BigInt(Some(value)) => self.write(value),
            Value::Uuid(Some(value)) => self.push_uuid(*value),
            Value::ChronoDateTimeUtc(Some(value)) => self.push_instant(*value),
            Value::ChronoDate(Some(value)) => self.write(value),
            Value::Bytes(Some(value)) => {
                write!(self.next(), "\"\\\\x{}\"", data_encoding::HEXLOWER.encode(value))
                    .expect("a text takes what is written to it");
            }
            Value::String(Some(value)) => self.push_text(Some(value)),
            // `type_name` knows no other types, so this one has no value.
            _ => self.push_null(),
        }
    }

    fn finish(mut self) -> String {
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
        assert_eq!(literal(&[instant.into()]), "{1700000000000001}");
    }

    #[test]
    fn relation_has_one_text_for_any_number_of_rows_on_postgres() {
        let row = |number: i64| vec![number.into(), Value::Uuid(None), DateTime::UNIX_EPOCH.into()];
        let (mut one, mut two) = (vec![0.into()], vec![0.into()]);
        let text = relation(DbBackend::Postgres, [row(1)].into_iter(), &mut one).expect("known types");
        assert_eq!(text, relation(DbBackend::Postgres, [row(1), row(2)].into_iter(), &mut two).expect("known types"));
        assert_eq!(
            text,
            "SELECT c0, c1, timestamptz 'epoch' + c2 * interval '1 microsecond' FROM unnest(CAST(CAST($2 AS text) AS \
             bigint[]), CAST(CAST($3 AS text) AS uuid[]), CAST(CAST($4 AS text) AS bigint[])) AS arrays (c0, c1, c2)"
        );
        assert_eq!(two, vec![0.into(), "{1,2}".into(), "{NULL,NULL}".into(), "{0,0}".into()]);
        let mut values = vec![0.into()];
        let text = relation(DbBackend::Sqlite, [row(1), row(2)].into_iter(), &mut values).expect("known types");
        assert_eq!((text.as_str(), values.len()), ("VALUES ($2, $3, $4), ($5, $6, $7)", 7));
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        let texts = ["", "NULL", r#"a"b"#, r"\", r#"\""#, "{,}", "ä\n"].map(Value::from);
        assert_eq!(literal(&texts), "{\"\",\"NULL\",\"a\\\"b\",\"\\\\\",\"\\\\\\\"\",\"{,}\",\"ä\n\"}");
    }
}
