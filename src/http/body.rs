//! Bodies, read up to a limit: one that says it is larger is refused before any of it is read, one that only turns out
//! to be at the byte where it does.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::errors::Rejection;

/// The largest request body: a full batch of conversions with every label is about half of it.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// What is made ready for a body before it comes, whatever it says of itself.
const FIRST_BYTES: usize = 64 * 1024;
/// How much of a refused body is still taken from the wire, and thrown away: a connection that is closed while its
/// client sends is reset, and the client would never read why.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The whole body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Rejection> {
    read_up_to(MAX_BYTES, headers, body).await
}

/// The whole body, where it has no more bytes than this.
pub(super) async fn read_up_to(max: usize, headers: &HeaderMap, body: Body) -> Result<Bytes, Rejection> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    if said.is_some_and(|said| said > max) {
        // Who asks before sending is told not to.
        if !headers.contains_key(header::EXPECT) {
            discard(stream);
        }
        return Err(too_large(max));
    }
    let mut bytes = BytesMut::with_capacity(said.unwrap_or(0).min(FIRST_BYTES));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Rejection::bad_request("the body could not be read"))?;
        if bytes.len() + chunk.len() > max {
            discard(stream);
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn too_large(max: usize) -> Rejection {
    let limit = if max < 1024 * 1024 { format!("{} kiB", max / 1024) } else { format!("{} MiB", max / 1024 / 1024) };
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", format!("the body is larger than {limit}"))
        .with(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Reads what is still on its way, chunk by chunk, beside the answer.
fn discard(mut stream: BodyDataStream) {
    tokio::spawn(timeout(DISCARD_TIME, async move {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            discarded += chunk.len();
            if discarded > DISCARD_BYTES {
                break;
            }
        }
    }));
}
