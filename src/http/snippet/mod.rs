//! `/t.js`: what landing pages load to keep the click id, and to send conversions. The script is `t.js` beside this file.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const SCRIPT: &str = include_str!("t.js");
/// An hour, then asked for again: a page's visitors are not kept on an old script for days.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

static TAG: LazyLock<String> = LazyLock::new(|| format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(SCRIPT)[..8])));

pub(super) async fn script(headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_current = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *TAG
    });
    let said = [
        (header::CACHE_CONTROL, CACHED),
        (header::ETAG, HeaderValue::from_str(&TAG).expect("hex in quotes")),
        // Pages that isolate themselves load what says that it may be.
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
    ];
    if is_current {
        (StatusCode::NOT_MODIFIED, said).into_response()
    } else {
        (said, [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_is_small_and_says_whose_it_is() {
        assert!(SCRIPT.len() < 2_000, "{} bytes", SCRIPT.len());
        assert!(SCRIPT.starts_with("// Tributary"));
    }
}
