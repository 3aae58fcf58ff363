//! Free text from callers: trimmed, bounded, without control characters.

use url::Url;

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

/// What is left of a text from somebody who cannot be told that it is wrong: control characters dropped, the rest cut off
/// at `max` characters; none when that is nothing.
pub fn clipped(text: &str, max: usize) -> Option<String> {
    let text: String = text.trim().chars().filter(|character| !character.is_control()).take(max).collect();
    (!text.is_empty()).then_some(text)
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

/// An absolute http(s) address with a host, which browsers read as it is written: no user before the host, no backslash,
/// no number or other alphabet in its place. Braces may stand behind it.
///
/// # Errors
/// `REQUIRED`, `INVALID_TEXT` or `INVALID_URL`.
pub fn http_url(field: &[&str], text: &str) -> Result<String, Problem> {
    let text = required(field, text, 2_048)?;
    let invalid = |message| Err(Problem::new(ProblemCode::InvalidUrl, field, message));
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.contains(['@', '{', '}']) || text.contains('\\') || text.contains(char::is_whitespace) {
        return invalid("not an absolute http or https address");
    }
    let Some(read) = Url::parse(&text).ok().filter(|_| !authority.is_empty()) else {
        return invalid("not an absolute http or https address");
    };
    let end = if authority.starts_with('[') { authority.find(']').map(|at| at + 1) } else { authority.find(':') };
    let host = &authority[..end.unwrap_or(authority.len())];
    if read.host_str().is_some_and(|read| host.eq_ignore_ascii_case(read)) {
        Ok(text)
    } else {
        invalid(
            "browsers read another host than is written; write it in ASCII (`xn--..`), an address in its plain form",
        )
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
    }

    #[test]
    fn address_is_what_browsers_read() {
        for text in [
            "https://shop.example/a?b={click_id}",
            "http://Shop.Example:8080#a",
            "https://xn--bcher-kva.example/ä",
            "https://127.0.0.1:1/",
            "https://[::1]:1/",
            "http://localhost",
        ] {
            assert_eq!(http_url(&["url"], text).as_deref(), Ok(text));
        }
        for text in [
            "shop.example",
            "ftp://a.b",
            "https://",
            "https:///x",
            "http://{host}/",
            "https://u@h/",
            "https://u:p@h/",
            "javascript:1",
            "//shop.example/",
            "HTTPS://shop.example/",
            "https:shop.example",
            "https://shop.example\\@evil.example/",
            "https://shop.example/\\",
            "https://evil.example\t.shop.example/",
            "https://shop.exa\nmple/",
            "https://bücher.example/",
            "https://shop。example/",
            "https://evil.example／.shop.example/",
            "https://shop%2eexample/",
            "https://evil.example%2f.shop.example/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::0001]/",
            "https://[::1/",
            "https://shop.example:99999/",
            "https://shop.example:x/",
        ] {
            assert!(http_url(&["url"], text).is_err(), "{text}");
        }
    }

    #[test]
    fn visitor_s_text_is_clipped_not_refused() {
        assert_eq!(clipped(" a\r\nb\0c ", 10).as_deref(), Some("abc"));
        assert_eq!(clipped("äöü", 2).as_deref(), Some("äö"));
        assert_eq!(clipped(" \0\n", 2), None);
    }
}
