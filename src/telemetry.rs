//! Logging: readable alone, with dotted fields; to standard error, so that a command's output stays its own.

use std::io::IsTerminal;

use tracing::error;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::LogFormat;

/// Starts logging; `RUST_LOG` chooses what, `info` and above by default.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sea_orm=warn"));
    let text = (format == LogFormat::Text).then(|| {
        // Colours are for people: a log file gets none.
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr)
    });
    let json = (format == LogFormat::Json).then(|| fmt::layer().json().with_writer(std::io::stderr));
    // In the log, where the request's id is; and there once.
    std::panic::set_hook(Box::new(|panic| error!(%panic, "panicked")));
    // Starting twice (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(text).with(json).try_init();
}
