//! Settings that are lists: separated by commas in the environment, lists in the file.

use std::{fmt::Display, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

use super::LedgerKey;

/// What stands between the commas.
pub(super) trait Item: Sized {
    type Error: Display;
    fn parse(text: &str) -> Result<Self, Self::Error>;
}

impl Item for String {
    type Error = std::convert::Infallible;

    fn parse(text: &str) -> Result<Self, Self::Error> {
        Ok(text.to_owned())
    }
}

impl Item for IpNet {
    type Error = ipnet::AddrParseError;

    /// An address alone is the network of that one.
    fn parse(text: &str) -> Result<Self, Self::Error> {
        std::net::IpAddr::from_str(text).map(Self::from).or_else(|_| text.parse())
    }
}

impl Item for LedgerKey {
    type Error = &'static str;

    fn parse(text: &str) -> Result<Self, Self::Error> {
        let key = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        key.and_then(|key| key.try_into().ok()).map(Self).ok_or("not 64 hexadecimal digits")
    }
}

pub(super) fn deserialize<'de, T: Item, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Text(String),
        Items(Vec<String>),
    }
    let texts = match List::deserialize(deserializer)? {
        List::Text(text) => {
            text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        }
        List::Items(items) => items,
    };
    texts.iter().map(|text| T::parse(text).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))).collect()
}
