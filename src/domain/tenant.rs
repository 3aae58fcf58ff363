//! Tenants: what their names may be.

use super::problem::{Problem, ProblemCode};

/// A tenant's short name: lower-case letters, digits and hyphens, 2 to 40 of them. It is typed into log-in forms, so
/// case and spaces around it do not matter.
///
/// # Errors
/// `REQUIRED` or `INVALID_TEXT`.
pub fn slug(field: &[&str], text: &str) -> Result<String, Problem> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return Err(Problem::required(field));
    }
    let valid =
        (2..=40).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if valid {
        Ok(text)
    } else {
        let message = "from 2 to 40 lower-case letters, digits and hyphens";
        Err(Problem::new(ProblemCode::InvalidText, field, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_is_short_and_plain() {
        assert_eq!(slug(&["slug"], " Acme-2 "), Ok("acme-2".to_owned()));
        for text in ["", "a", "ä-b", "a b", "a_b", &"a".repeat(41)] {
            assert!(slug(&["slug"], text).is_err(), "{text}");
        }
    }
}
