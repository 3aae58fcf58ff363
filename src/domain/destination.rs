//! Destinations: where a click may lead. A template is checked when it is saved and taken apart once; what a click fills
//! in can never choose another host.
//!
//! # Decisions
//! - Scheme, host and port are written anew from what browsers make of them, and values stand behind them only,
//!   percent-encoded but for RFC 3986's unreserved characters. There is nothing that a value could break out of.
//! - A value of dots alone is left out of a path: encoded or not, browsers would take it for a way up.
//! - Values are not looked at again: braces in them are text.
//! - A long value is left out rather than cut where the address would grow past [`LENGTH_MAX`]: half a value is a wrong one.

use std::fmt::{Display, Write};

use tributary_entity::{
    ids::{AffiliateId, CampaignId, ClickId, LinkId},
    kinds::Device,
};
use url::{Host, Url};

use super::{
    click::Labels,
    problem::{Problem, ProblemCode},
    text,
};

/// Bytes of an address that visitors' values may fill; servers take some 8,000.
pub const LENGTH_MAX: usize = 8_000;
/// Characters of a deep link.
const DEEP_LINK_MAX: usize = 2_048;
/// Hosts that a campaign may allow.
const HOSTS_MAX: usize = 100;
/// What the landing page finds the click's id under, where the template gives it no other place.
const CLICK_PARAMETER: &str = "clickId";

/// The labels of a click, in their order.
pub const SUBS: [&str; 10] = ["sub1", "sub2", "sub3", "sub4", "sub5", "sub6", "sub7", "sub8", "sub9", "sub10"];

/// Something that a click tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Macro {
    ClickId,
    CampaignId,
    AffiliateId,
    LinkId,
    Source,
    Country,
    Device,
    /// Of [`SUBS`].
    Sub(usize),
}

/// What a template may hold in braces, ours first, and the names that integrations of others bring along.
const MACROS: &[(&str, Macro)] = &[
    ("click_id", Macro::ClickId),
    ("campaign_id", Macro::CampaignId),
    ("affiliate_id", Macro::AffiliateId),
    ("link_id", Macro::LinkId),
    ("source", Macro::Source),
    ("country", Macro::Country),
    ("device", Macro::Device),
    ("sub1", Macro::Sub(0)),
    ("sub2", Macro::Sub(1)),
    ("sub3", Macro::Sub(2)),
    ("sub4", Macro::Sub(3)),
    ("sub5", Macro::Sub(4)),
    ("sub6", Macro::Sub(5)),
    ("sub7", Macro::Sub(6)),
    ("sub8", Macro::Sub(7)),
    ("sub9", Macro::Sub(8)),
    ("sub10", Macro::Sub(9)),
    ("clickid", Macro::ClickId),
    ("transaction_id", Macro::ClickId),
    ("offer_id", Macro::CampaignId),
    ("aff_id", Macro::AffiliateId),
    ("source_id", Macro::Source),
    ("aff_sub", Macro::Sub(0)),
    ("aff_sub2", Macro::Sub(1)),
    ("aff_sub3", Macro::Sub(2)),
    ("aff_sub4", Macro::Sub(3)),
    ("aff_sub5", Macro::Sub(4)),
];

fn named(name: &str) -> Option<Macro> {
    MACROS.iter().find(|(known, _)| *known == name).map(|(_, named)| *named)
}

/// An http(s) address that clicks may be sent to. Known macros in braces may stand anywhere behind the host.
///
/// # Errors
/// As [`text::http_url`]; `INVALID_URL` for unknown macros and stray braces.
pub fn check(field: &[&str], text: &str) -> Result<String, Problem> {
    let url = text::http_url(field, text)?;
    let invalid = |message: String| Err(Problem::new(ProblemCode::InvalidUrl, field, message));
    let mut rest = url.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        match rest[at..].strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, behind)) if named(name).is_some() => rest = behind,
            Some((name, _)) => {
                let known: Vec<&str> = MACROS.iter().map(|(known, _)| *known).collect();
                return invalid(format!("unknown macro `{{{name}}}`; known are {}", known.join(", ")));
            }
            None => return invalid("a brace without its pair".to_owned()),
        }
    }
    Ok(url)
}

/// A destination, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// The piece that begins the fragment; their number where there is none.
    fragment: usize,
    has_query: bool,
    names_click: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// As it goes out.
    Text(String),
    Value {
        value: Macro,
        in_path: bool,
    },
}

/// What a click fills in.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub click_id: ClickId,
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub link_id: LinkId,
    pub source: Option<&'a str>,
    pub labels: &'a Labels,
    pub country: Option<&'a str>,
    pub device: Option<Device>,
}

impl Template {
    /// Takes a destination apart. None for one that [`check`] refuses for its scheme, host or port.
    pub fn compile(url: &str) -> Option<Self> {
        let host = url.find("://")? + 3;
        let rest = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
        let authority = Url::parse(&url[..rest]).ok()?;
        if !matches!(authority.scheme(), "http" | "https") || !authority.has_host() {
            return None;
        }
        let mut template = Self { pieces: Vec::new(), fragment: usize::MAX, has_query: false, names_click: false };
        let mut text = authority.origin().ascii_serialization();
        let mut rest = &url[rest..];
        if !rest.starts_with('/') {
            text.push('/');
        }
        while let Some(next) = rest.chars().next() {
            if let Some((value, behind)) = leading_macro(rest) {
                template.push_text(&mut text);
                let in_path = !template.has_query && template.fragment == usize::MAX;
                template.names_click |= value == Macro::ClickId;
                template.pieces.push(Piece::Value { value, in_path });
                rest = behind;
                continue;
            }
            if next == '#' && template.fragment == usize::MAX {
                template.push_text(&mut text);
                template.fragment = template.pieces.len();
            } else if next == '?' && template.fragment == usize::MAX {
                template.has_query = true;
            }
            let (character, behind) = rest.split_at(next.len_utf8());
            encode(&mut text, character, |byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte));
            rest = behind;
        }
        template.push_text(&mut text);
        template.fragment = template.fragment.min(template.pieces.len());
        Some(template)
    }

    fn push_text(&mut self, text: &mut String) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(text)));
        }
    }

    /// The address with a click's values: ASCII without blanks, at the template's scheme, host and port.
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut out = String::with_capacity(256);
        let (before, fragment) = self.pieces.split_at(self.fragment);
        fill(&mut out, before, values);
        if !self.names_click {
            if !self.has_query {
                out.push('?');
            } else if !out.ends_with(['?', '&']) {
                out.push('&');
            }
            append(&mut out, format_args!("{CLICK_PARAMETER}={}", values.click_id));
        }
        fill(&mut out, fragment, values);
        out
    }
}

/// The macro that a text begins with, and what is behind it.
fn leading_macro(text: &str) -> Option<(Macro, &str)> {
    let (name, behind) = text.strip_prefix('{')?.split_once('}')?;
    Some((named(name)?, behind))
}

fn fill(out: &mut String, pieces: &[Piece], values: &Values<'_>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Value { value, in_path } => match value {
                Macro::ClickId => append(out, values.click_id),
                Macro::CampaignId => append(out, values.campaign_id),
                Macro::AffiliateId => append(out, values.affiliate_id),
                Macro::LinkId => append(out, values.link_id),
                Macro::Source => fill_in(out, values.source, *in_path),
                Macro::Country => fill_in(out, values.country, *in_path),
                Macro::Device => {
                    let device = values.device.map(|device| device.to_string().to_ascii_lowercase());
                    fill_in(out, device.as_deref(), *in_path);
                }
                Macro::Sub(index) => fill_in(out, values.labels.get(SUBS[*index]).map(String::as_str), *in_path),
            },
        }
    }
}

/// Adds what is known to be plain.
fn append(out: &mut String, text: impl Display) {
    write!(out, "{text}").expect("a string takes everything");
}

/// Adds what came from outside.
fn fill_in(out: &mut String, value: Option<&str>, in_path: bool) {
    let Some(value) = value else { return };
    if in_path && value.bytes().all(|byte| byte == b'.') {
        return;
    }
    let begin = out.len();
    encode(out, value, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if out.len() > LENGTH_MAX {
        out.truncate(begin);
    }
}

/// Adds a text, percent-encoding each byte that is not kept.
fn encode(out: &mut String, text: &str, kept: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if kept(byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
        }
    }
}

/// Hosts that deep links may lead to: `shop.example`, or `*.shop.example` for everything below it.
///
/// # Errors
/// `INVALID_TEXT` for what is neither; `BATCH_SIZE` for too many.
pub fn hosts(field: &[&str], hosts: &[String]) -> Result<Vec<String>, Problem> {
    if hosts.len() > HOSTS_MAX {
        return Err(Problem::new(ProblemCode::BatchSize, field, format!("at most {HOSTS_MAX} hosts")));
    }
    hosts.iter().map(|text| host(field, text)).collect()
}

fn host(field: &[&str], text: &str) -> Result<String, Problem> {
    let pattern = text::required(field, text, text::REFERENCE_MAX)?.to_ascii_lowercase();
    let name = pattern.strip_prefix("*.").unwrap_or(&pattern);
    // As written and as read alike: no scheme, port or path, and nothing that browsers would take for another name.
    match Host::parse(name) {
        Ok(Host::Domain(read)) if read == name && name.contains('.') && !name.contains('*') && !name.ends_with('.') => {
            Ok(pattern)
        }
        _ => Err(Problem::new(
            ProblemCode::InvalidText,
            field,
            format!("`{pattern}` is no host; write `shop.example` or `*.shop.example`, other alphabets as `xn--..`"),
        )),
    }
}

/// The address of a deep link, with the click's id, if it leads to one of these hosts.
pub fn deep_link(hosts: &[String], to: &str, click_id: ClickId) -> Option<String> {
    if hosts.is_empty() || to.chars().count() > DEEP_LINK_MAX {
        return None;
    }
    let mut url = Url::parse(to).ok()?;
    let Some(Host::Domain(host)) = url.host() else { return None };
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none();
    if !is_plain || !hosts.iter().any(|pattern| matches(pattern, host)) {
        return None;
    }
    url.query_pairs_mut().append_pair(CLICK_PARAMETER, &click_id.to_string());
    Some(url.into())
}

fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests;
