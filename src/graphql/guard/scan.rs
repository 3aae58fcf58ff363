//! The look at a document's text before the parser sees it: linear, without recursion, without allocation.
//!
//! The parser recurses with each bracket and keeps every token: a text that nests deeply would overflow its stack, and
//! one of a million tokens would keep it busy. Tokens are told apart here as the parser does, so that what it takes for
//! a bracket has been counted as one.

use super::limits::{DOCUMENT_BYTES, Excess, NESTING, TOKENS};

/// What a text holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Names, numbers, strings and marks. A number with a sign or a point counts for each part.
    pub tokens: u64,
    /// The most brackets of any kind that are open at once.
    pub nesting: u64,
}

/// Refuses a text that the parser should not see.
pub(super) fn check(text: &str) -> Result<(), Excess> {
    DOCUMENT_BYTES.check(text.len() as u64)?;
    let scan = scan(text);
    TOKENS.check(scan.tokens)?;
    NESTING.check(scan.nesting)
}

pub(super) fn scan(text: &str) -> Scan {
    let bytes = text.as_bytes();
    let mut scan = Scan::default();
    let mut open = 0_u64;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += run(&bytes[at..], |byte| byte != b'\n' && byte != b'\r');
                continue;
            }
            b'{' | b'[' | b'(' => {
                open += 1;
                scan.nesting = scan.nesting.max(open);
                1
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                1
            }
            b'"' => string(&bytes[at..]),
            b'.' if bytes[at..].starts_with(b"...") => 3,
            b'0'..=b'9' => run(&bytes[at..], |byte| byte.is_ascii_digit()),
            b'_' | b'A'..=b'Z' | b'a'..=b'z' => run(&bytes[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            _ => 1,
        };
        scan.tokens += 1;
        at += length;
    }
    scan
}

/// The length of the run of bytes at the start that are `wanted`.
fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !wanted(*byte)).unwrap_or(bytes.len())
}

/// The length of the string or block string at the start; one that does not end goes to the end of its line or of all.
fn string(bytes: &[u8]) -> usize {
    let is_block = bytes.starts_with(b"\"\"\"");
    let mut at = if is_block { 3 } else { 1 };
    while at < bytes.len() {
        let rest = &bytes[at..];
        at += match rest[0] {
            b'"' if !is_block => return at + 1,
            b'"' if rest.starts_with(b"\"\"\"") => return at + 3,
            b'\n' | b'\r' if !is_block => return at,
            b'\\' if is_block && rest.starts_with(b"\\\"\"\"") => 4,
            b'\\' if !is_block => 2,
            _ => 1,
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use proptest::prelude::*;

    use super::*;

    fn counts(text: &str) -> (u64, u64) {
        let scan = scan(text);
        (scan.tokens, scan.nesting)
    }

    #[test]
    fn tokens_and_brackets_are_counted() {
        assert_eq!(counts(""), (0, 0));
        assert_eq!(counts("{ a }"), (3, 1));
        assert_eq!(counts("query Q($a: [Int!]! = [1, 2]) @x { b: a(c: {d: $a}) ...F }"), (36, 3));
        assert_eq!(counts("}}}{{"), (5, 2), "what closes nothing does not make room");
        assert_eq!(counts("[1-1-1]"), (7, 1), "signs need no space before them");
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        assert_eq!(counts("# {{{ \" \n{ a }"), (3, 1));
        assert_eq!(counts(r#"{ a(b: "}{{{ \" {{{") }"#), (8, 2));
        assert_eq!(counts("{ a(b: \"\"\"{{{ \" \"\" \\\"\"\" {{{ \"\"\") }"), (8, 2));
        assert_eq!(counts("{ a(b: \"\") }"), (8, 2));
    }

    #[test]
    fn strings_that_do_not_end_hide_nothing_behind_their_line() {
        assert_eq!(counts("\"abc\n{{{").1, 3);
        assert_eq!(counts("\"abc\\"), (1, 0));
        assert_eq!(counts("\"\"\"abc {{{"), (1, 0));
    }

    #[test]
    fn each_cap_is_told_by_its_name() {
        let named = |text: &str| check(text).expect_err("refused").limit;
        assert_eq!(named(&"#".repeat(100_000)), "bytes");
        assert_eq!(named(&"a ".repeat(20_000)), "tokens");
        assert_eq!(named(&"{a".repeat(1_000)), "nesting");
        assert_eq!(check(&"# long comment\n".repeat(4_000)), Ok(()));
    }

    /// Pieces of documents, among them all that opens and closes something.
    fn soup() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "{", "}", "(", ")", "[", "]", "\"", "\"\"\"", "\\", "#", "\n", "\r", " ", ",", "...", ".", "on", "a",
            "query", "fragment", "mutation", "$", "@", ":", "!", "=", "1", "-", "1.5e3", "true", "null", "é",
            "\u{feff}", "x:1",
        ];
        prop::collection::vec(prop::sample::select(PIECES), 0..200).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_text_that_passes_can_be_parsed_without_harm(text in soup()) {
            if check(&text).is_ok() {
                let _ = parse_query(&text);
            }
        }

        #[test]
        fn tokens_never_outnumber_bytes(text in ".*") {
            let scan = scan(&text);
            prop_assert!(scan.nesting <= scan.tokens && scan.tokens <= text.len() as u64);
        }
    }
}
