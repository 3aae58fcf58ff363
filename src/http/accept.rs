//! What a client wants to be answered in: the `Accept` header, with its weights (RFC 9110).
//!
//! # Decisions
//! - A type that a client names beats one that it only lets through by a wildcard; with `*/*` alone, as plain tools send
//!   it, the answer is `application/json`.
//! - A stream has to be asked for by name: a client that takes anything does not expect an answer that never ends.

use axum::http::{HeaderMap, header};

/// Types of one whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/graphql-response+json`: the status tells whether the document was executed.
    GraphqlResponse,
    /// `application/json`, for older clients: 200 whatever became of the document.
    Json,
}

impl Media {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// Types of an answer in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streaming {
    /// `text/event-stream`.
    Events,
    /// `multipart/mixed` with a `subscriptionSpec` that we speak.
    Multipart,
}

/// The header, parsed.
pub(super) struct Accept<'a>(Vec<Range<'a>>);

/// One media range.
struct Range<'a> {
    media_type: &'a str,
    parameters: &'a str,
    /// In thousandths.
    weight: u16,
}

/// How much a type is wanted: its weight first, then how closely it is named.
type Rank = (u16, u8);
/// The closeness of a type that is named whole.
const NAMED: u8 = 2;

impl<'a> Accept<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| unquoted(value, ',')).filter_map(Range::parse).collect())
    }

    /// The type of a whole answer; none when the client takes none that we have.
    pub fn whole(&self) -> Option<Media> {
        if self.0.is_empty() {
            return Some(Media::Json);
        }
        let (modern, older) = (self.rank("application/graphql-response+json"), self.rank("application/json"));
        let is_named = matches!(modern, Some((_, NAMED)));
        match (modern, older) {
            (None, None) => None,
            _ if modern > older || (modern == older && is_named) => Some(Media::GraphqlResponse),
            _ => Some(Media::Json),
        }
    }

    /// The type of an answer in parts; none when the client names none that we have.
    pub fn streaming(&self) -> Option<Streaming> {
        let named = |streaming, is: fn(&Range) -> bool| {
            let weight = self.0.iter().filter(|range| range.weight > 0 && is(range)).map(|range| range.weight).max();
            weight.map(|weight| (weight, streaming))
        };
        let events = named(Streaming::Events, |range| range.is("text/event-stream"));
        let parts = named(Streaming::Multipart, |range| {
            range.is("multipart/mixed") && range.parameter("subscriptionSpec").is_some_and(|spec| spec.starts_with('1'))
        });
        match (events, parts) {
            (Some(events), Some(parts)) => Some(if parts.0 > events.0 { parts.1 } else { events.1 }),
            (one, other) => one.or(other).map(|(_, streaming)| streaming),
        }
    }

    /// Whether a person looks: HTML by name.
    pub fn names_html(&self) -> bool {
        self.0.iter().any(|range| range.weight > 0 && range.is("text/html"))
    }

    /// The rank of a type, by the range that names it most closely; none when it is not wanted.
    fn rank(&self, media_type: &str) -> Option<Rank> {
        let family = media_type.split('/').next().unwrap_or_default();
        let closeness = |range: &Range| match range.media_type {
            "*/*" => Some(0),
            named if named.strip_suffix("/*").is_some_and(|named| named.eq_ignore_ascii_case(family)) => Some(1),
            _ => range.is(media_type).then_some(NAMED),
        };
        let closest = self.0.iter().filter_map(|range| Some((closeness(range)?, range.weight))).max();
        closest.filter(|(_, weight)| *weight > 0).map(|(closeness, weight)| (weight, closeness))
    }
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
        let mut range = Self { media_type: media_type.trim(), parameters, weight: 1_000 };
        if let Some(weight) = range.parameter("q").and_then(|text| text.parse::<f32>().ok()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1 000")]
            let thousandths = (weight.clamp(0.0, 1.0) * 1_000.0) as u16;
            range.weight = thousandths;
        }
        (!range.media_type.is_empty()).then_some(range)
    }

    fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        unquoted(self.parameters, ';').find_map(|parameter| {
            let (found, value) = parameter.split_once('=')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// Splits where the separator does not stand between quotes.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a header"))])
    }

    #[test]
    fn whole_answer_is_of_the_type_that_is_wanted_most() {
        let modern = "application/graphql-response+json";
        for (accept, expected) in [
            (modern.to_owned(), Some(Media::GraphqlResponse)),
            ("application/json".to_owned(), Some(Media::Json)),
            ("*/*".to_owned(), Some(Media::Json)),
            ("application/*".to_owned(), Some(Media::Json)),
            ("Application/JSON; charset=utf-8".to_owned(), Some(Media::Json)),
            (format!("{modern}, application/json"), Some(Media::GraphqlResponse)),
            (format!("application/json, {modern}"), Some(Media::GraphqlResponse)),
            (format!("{modern};q=0.9, application/json"), Some(Media::Json)),
            (format!("{modern}, application/json;q=0.9"), Some(Media::GraphqlResponse)),
            (format!("{modern}; q=0.5, */*"), Some(Media::Json)),
            (format!("{modern}, */*"), Some(Media::GraphqlResponse)),
            (format!("{modern};q=0, */*"), Some(Media::Json)),
            (format!("application/json;q=0, {modern};q=0.1"), Some(Media::GraphqlResponse)),
            ("text/html,application/xhtml+xml,*/*;q=0.8".to_owned(), Some(Media::Json)),
            ("text/html".to_owned(), None),
            ("application/json;q=0".to_owned(), None),
            ("text/event-stream".to_owned(), None),
        ] {
            assert_eq!(Accept::of(&headers(&accept)).whole(), expected, "{accept}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).whole(), Some(Media::Json));
    }

    #[test]
    fn stream_is_asked_for_by_name() {
        for (accept, expected) in [
            ("text/event-stream", Some(Streaming::Events)),
            ("multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0, application/json", Some(Streaming::Multipart)),
            ("multipart/mixed;boundary=\"a,b\";subscriptionSpec=\"1.0\"", Some(Streaming::Multipart)),
            ("text/event-stream, multipart/mixed", Some(Streaming::Events)),
            ("text/event-stream;q=0.1, multipart/mixed;subscriptionSpec=1.0", Some(Streaming::Multipart)),
            ("multipart/mixed;subscriptionSpec=1.0, text/event-stream", Some(Streaming::Events)),
            ("multipart/mixed", None),
            ("multipart/mixed;subscriptionSpec=2.0", None),
            ("multipart/mixed;deferSpec=20220824, application/json", None),
            ("text/event-stream;q=0", None),
            ("*/*", None),
        ] {
            assert_eq!(Accept::of(&headers(accept)).streaming(), expected, "{accept}");
        }
    }
}
