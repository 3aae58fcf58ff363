//! Free text from callers: trimmed, bounded, without control characters.

use super::problem::{Problem, ProblemCode};

/// Characters in a name or title.
pub const NAME_MAX: usize = 200;
/// Characters in a reference of the caller's own (order id, customer id, label, idempotency key).
pub const REFERENCE_MAX: usize = 255;
/// Texts of one filter: far below what a statement can bind.
const LIST_MAX: usize = 1_000;
/// Characters in a note.
pub const NOTE_MAX: usize = 2_000;

/// A text that must be there.
///
/// # Errors
/// `REQUIRED` when nothing is left after trimming, `INVALID_TEXT` when longer than `max` characters or with control
/// characters.
pub fn required(field: &[&str], text: &str, max: usize) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::required(field));
    }
    if text.chars().count() > max {
        return Err(Problem::new(ProblemCode::InvalidText, field, format!("at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new(ProblemCode::InvalidText, field, "control characters are not allowed"));
    }
    Ok(text.to_owned())
}

/// A text that may be missing; an empty one counts as missing.
///
/// # Errors
/// As [`required`], but for `REQUIRED`.
pub fn optional(field: &[&str], text: Option<&str>, max: usize) -> Result<Option<String>, Problem> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => required(field, text, max).map(Some),
    }
}

/// Texts of a filter. Empty ones are left out: nothing has them.
///
/// # Errors
/// `BATCH_SIZE` past [`LIST_MAX`], `INVALID_TEXT` for one that no row can hold.
pub fn list(field: &[&str], texts: Option<Vec<String>>) -> Result<Option<Vec<String>>, Problem> {
    let Some(texts) = texts else { return Ok(None) };
    if texts.len() > LIST_MAX {
        return Err(Problem::new(ProblemCode::BatchSize, field, format!("at most {LIST_MAX} texts")));
    }
    let checked = texts.iter().filter_map(|text| optional(field, Some(text), REFERENCE_MAX).transpose());
    checked.collect::<Result<_, _>>().map(Some)
}

/// An e-mail address, lower-cased: one `@`, something on both sides, a dot behind it. Whether mail arrives there is
/// another question.
///
/// # Errors
/// `REQUIRED`, `INVALID_TEXT` or `INVALID_EMAIL`.
pub fn email(field: &[&str], text: &str) -> Result<String, Problem> {
    let text = required(field, text, 254)?.to_lowercase();
    let valid = text.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty()
            && !host.contains('@')
            && host.split('.').count() > 1
            && host.split('.').all(|label| !label.is_empty())
            && !text.contains(char::is_whitespace)
    });
    if valid { Ok(text) } else { Err(Problem::new(ProblemCode::InvalidEmail, field, "not an e-mail address")) }
}

/// An absolute http(s) address with a host.
///
/// # Errors
/// `REQUIRED`, `INVALID_TEXT` or `INVALID_URL`.
pub fn http_url(field: &[&str], text: &str) -> Result<String, Problem> {
    let text = required(field, text, 2_048)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let valid = host.is_some_and(|host| {
        !host.is_empty() && !host.contains(['@', '{', '}', '\\']) && !text.contains(char::is_whitespace)
    });
    if valid {
        Ok(text)
    } else {
        Err(Problem::new(ProblemCode::InvalidUrl, field, "not an absolute http or https address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_trimmed_and_bounded() {
        assert_eq!(required(&["name"], "  Shoes ", 10), Ok("Shoes".into()));
        assert_eq!(required(&["name"], "  ", 10).map_err(|p| p.code), Err(ProblemCode::Required));
        assert_eq!(required(&["name"], "12345678901", 10).map_err(|p| p.code), Err(ProblemCode::InvalidText));
        assert_eq!(required(&["name"], "a\0b", 10).map_err(|p| p.code), Err(ProblemCode::InvalidText));
        assert_eq!(optional(&["name"], Some(" "), 10), Ok(None));
    }

    #[test]
    fn email_and_url_are_checked_for_their_form() {
        assert_eq!(email(&["email"], "A@B.de"), Ok("a@b.de".into()));
        for text in ["a", "@b.de", "a@b", "a@b..de", "a@@b.de", "a b@c.de"] {
            assert!(email(&["email"], text).is_err(), "{text}");
        }
        assert!(http_url(&["url"], "https://shop.example/a?b={click_id}").is_ok());
        for text in
            ["shop.example", "ftp://a.b", "https://", "https:///x", "http://{host}/", "https://u@h/", "javascript:1"]
        {
            assert!(http_url(&["url"], text).is_err(), "{text}");
        }
    }
}
