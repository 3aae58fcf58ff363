//! Labels: ten from the affiliate (`sub1`..), ten from the advertiser (`adv1`..).

use async_graphql::{InputObject, Result, SimpleObject};

use super::error::IntoGraphql;
use crate::{domain::click::Labels, services::ServiceError};

/// A label by its name.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Label {
    /// Such as `sub1`.
    name: String,
    /// At most 255 characters.
    value: String,
}

impl Label {
    /// From what the database keeps.
    pub fn list(json: Option<&str>) -> Result<Vec<Self>> {
        let Some(json) = json else { return Ok(Vec::new()) };
        let labels: Labels = serde_json::from_str(json)
            .map_err(|_| ServiceError::Internal("stored labels cannot be read"))
            .or_graphql()?;
        Ok(labels.into_iter().map(|(name, value)| Self { name, value }).collect())
    }
}

macro_rules! labels_input {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $text:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Default, InputObject)]
        pub(super) struct $name {
            $(
                /// At most 255 characters.
                $field: Option<String>,
            )*
        }

        impl $name {
            /// The labels that are set, by name.
            pub fn into_labels(self) -> Labels {
                [$(($text, self.$field)),*]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect()
            }
        }
    };
}

labels_input! {
    /// The affiliate's labels.
    SubLabelsInput {
        sub1 = "sub1", sub2 = "sub2", sub3 = "sub3", sub4 = "sub4", sub5 = "sub5",
        sub6 = "sub6", sub7 = "sub7", sub8 = "sub8", sub9 = "sub9", sub10 = "sub10"
    }
}

labels_input! {
    /// The advertiser's labels.
    AdvLabelsInput {
        adv1 = "adv1", adv2 = "adv2", adv3 = "adv3", adv4 = "adv4", adv5 = "adv5",
        adv6 = "adv6", adv7 = "adv7", adv8 = "adv8", adv9 = "adv9", adv10 = "adv10"
    }
}
