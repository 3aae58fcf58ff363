//! Runs one request: within its time, and so that a panic ends nothing but it.

use std::{panic::AssertUnwindSafe, time::Duration};

use async_graphql::Response;
use futures_util::FutureExt;
use tokio::time::timeout;

use super::error::{internal, nowhere, timed_out};

/// Errors of a document that is not valid; more help nobody.
const ERRORS: usize = 20;

/// The answer of `request`, or the error that stands for it.
///
/// A request that takes too long is dropped, and with it its transaction, which rolls back; on PostgreSQL its statement
/// ends, too (see `store::database`). What an ingest lane has taken is recorded all the same, as when a caller goes away:
/// its key tells the caller. A panic has been logged, in the request's span, by the hook of `telemetry`.
pub(super) async fn within(limit: Duration, request: impl Future<Output = Response>) -> Response {
    // Whatever a panicking resolver leaves behind belongs to its request and is dropped with it.
    let mut response = match timeout(limit, AssertUnwindSafe(request).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Response::from_errors(vec![nowhere(internal())]),
        Err(_) => Response::from_errors(vec![nowhere(timed_out())]),
    };
    if response.errors.iter().all(|error| error.path.is_empty()) {
        response.errors.truncate(ERRORS);
    }
    response
}

#[cfg(test)]
mod tests {
    use async_graphql::{ServerError, Value};

    use super::*;

    async fn code_of(request: impl Future<Output = Response>) -> (Value, String) {
        let response = within(Duration::from_secs(30), request).await;
        let code = response.errors[0].extensions.as_ref().and_then(|extensions| extensions.get("code").cloned());
        (response.data, code.expect("a code").to_string())
    }

    #[tokio::test]
    async fn panic_is_answered_generically() {
        let (data, code) = code_of(async { panic!("a secret") }).await;
        assert_eq!((data, code.as_str()), (Value::Null, "\"INTERNAL\""));
        let (_, code) = code_of(async {
            tokio::task::yield_now().await;
            panic!("later")
        })
        .await;
        assert_eq!(code, "\"INTERNAL\"");
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_does_not_end_is_given_up() {
        let (data, code) = code_of(std::future::pending()).await;
        assert_eq!((data, code.as_str()), (Value::Null, "\"TIMEOUT\""));
    }

    #[tokio::test]
    async fn errors_of_an_invalid_document_are_few() {
        let errors = vec![ServerError::new("unknown field", None); 1_000];
        let response = within(Duration::from_secs(30), async { Response::from_errors(errors) }).await;
        assert_eq!(response.errors.len(), ERRORS);
    }
}
