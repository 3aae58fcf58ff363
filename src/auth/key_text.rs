//! The text of what programs authenticate with: a prefix, 32 characters, `_` and 6 more: 160 random bits and a checksum
//! over them.
//!
//! # Decisions
//! - The checksum refuses a mistyped or made-up text before any look-up, and lets secret scanners tell one from chance.
//! - A plain SHA-256 is stored: there is nothing to guess in 160 random bits, so a slow hash would only slow requests.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::ambient;

const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;

/// The texts with a prefix.
pub struct KeyText {
    prefix: &'static str,
}

impl KeyText {
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix }
    }

    /// A new text.
    pub fn generate(&self) -> String {
        let random = BASE32_NOPAD.encode(&ambient::random_bytes::<20>()).to_ascii_lowercase();
        format!("{}{random}_{}", self.prefix, self.checksum(&random))
    }

    /// Whether a text begins like one.
    pub fn claims(&self, text: &str) -> bool {
        text.starts_with(self.prefix)
    }

    /// Whether a text can be one at all.
    pub fn fits(&self, text: &str) -> bool {
        text.strip_prefix(self.prefix).and_then(|rest| rest.split_once('_')).is_some_and(|(random, sum)| {
            random.len() == RANDOM_CHARS
                && random.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
                && sum == self.checksum(random)
        })
    }

    fn checksum(&self, random: &str) -> String {
        let digest = Sha256::digest(format!("{}{random}", self.prefix));
        let mut text = BASE32_NOPAD.encode(&digest[..4]).to_ascii_lowercase();
        text.truncate(CHECKSUM_CHARS);
        text
    }
}

/// What is stored of a text.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The last four characters, to tell keys apart in a list.
pub fn hint(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(4)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: KeyText = KeyText::new("trb_test_");

    #[test]
    fn generated_text_has_its_form() {
        let text = FORM.generate();
        assert_eq!(text.len(), "trb_test_".len() + RANDOM_CHARS + 1 + CHECKSUM_CHARS);
        assert!(FORM.claims(&text) && FORM.fits(&text), "{text}");
        assert!(text.ends_with(&hint(&text)));
        assert_ne!(FORM.generate(), text);
        let elsewhere = text.replacen("test", "live", 1);
        assert!(!KeyText::new("trb_live_").fits(&elsewhere), "the checksum covers the prefix");
    }

    #[test]
    fn checksum_catches_every_changed_character() {
        let text = FORM.generate();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'a' { b'b' } else { b'a' };
            assert!(!FORM.fits(std::str::from_utf8(&bytes).expect("ascii")), "byte {index} of {text}");
        }
        for wrong in [
            "",
            "trb_test_",
            "trb_test__",
            &text[..text.len() - 1],
            &format!("{text}a"),
            &text.to_uppercase(),
            "\u{1f980}",
        ] {
            assert!(!FORM.fits(wrong), "{wrong}");
        }
    }
}
