//! Files for people, as answers carry them.

use async_graphql::{Enum, SimpleObject};
use data_encoding::BASE64;

use crate::domain::sheet::Form;

/// In which form a file for people is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Form")]
pub(super) enum DownloadForm {
    /// Two columns: names and values.
    Csv,
    /// One page.
    Pdf,
}

/// A file for people.
#[derive(SimpleObject)]
pub(super) struct Download {
    /// A name for it.
    name: String,
    /// What it is, such as `application/pdf`.
    media_type: &'static str,
    /// What is in it, in base64.
    base64: String,
}

impl Download {
    /// `stem` is its name without an ending.
    pub fn new(stem: &str, form: Form, bytes: &[u8]) -> Self {
        let (ending, media_type) = match form {
            Form::Csv => ("csv", "text/csv"),
            Form::Pdf => ("pdf", "application/pdf"),
        };
        Self { name: format!("{stem}.{ending}"), media_type, base64: BASE64.encode(bytes) }
    }
}
