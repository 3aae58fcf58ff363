//! Processors as callers: the token in the address that they call, `trb_proc_` and a [`KeyText`].

use super::key_text::{self, KeyText};

pub use super::key_text::hint;

const FORM: KeyText = KeyText::new("trb_proc_");

/// A new token; its text is shown once.
pub fn generate() -> String {
    FORM.generate()
}

/// What is stored of a token; none for a text that cannot be one.
pub fn stored_hash(token: &str) -> Option<[u8; 32]> {
    FORM.fits(token).then(|| key_text::hash(token))
}
