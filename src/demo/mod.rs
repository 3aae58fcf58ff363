//! The demo.
use clap::Args;

use crate::{app::StartError, config::Settings};

/// How the demo runs.
#[derive(Args)]
pub struct Options {}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Start(#[from] StartError),
}

/// # Errors
/// x
pub async fn run(
    _settings: Settings,
    _options: Options,
    _stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DemoError> {
    Ok(())
}
