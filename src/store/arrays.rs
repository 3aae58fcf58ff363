//! Rows as columns: for PostgreSQL, one array for each column of an insert, so that its text is the same whatever the
//! number of rows, and is parsed and planned once for each connection.
//!
//! # Decisions
//! - Arrays are written as PostgreSQL's own array literals and bound as text: the library's arrays cannot hold a null.

use std::fmt::Write;

use sea_orm::Value;

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
        _ => return None,
    })
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
        let instant = DateTime::from_timestamp_micros(1_700_000_000_000_001).expect("in range");
        assert_eq!(literal(&[instant.into()]), r#"{"2023-11-14 22:13:20.000001+00"}"#);
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        let texts = ["", "NULL", r#"a"b"#, r"\", r#"\""#, "{,}", "ä\n"].map(Value::from);
        assert_eq!(literal(&texts), "{\"\",\"NULL\",\"a\\\"b\",\"\\\\\",\"\\\\\\\"\",\"{,}\",\"ä\n\"}");
    }
}
