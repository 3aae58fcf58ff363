//! Links: their public codes, and how their status moves.

use serde::Serialize;
use tributary_entity::{
    ids::{AffiliateId, CampaignId},
    kinds::LinkStatus,
    link,
};

use super::{change::Change, destination, problem::Problem, text, transition};

/// Characters in a code: 62^10, so that guessing finds nothing and one tenant's codes do not collide.
pub const CODE_LEN: usize = 10;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new link as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewLink {
    pub campaign_id: CampaignId,
    /// None means the viewer's own.
    pub affiliate_id: Option<AffiliateId>,
    /// None means the campaign's.
    pub destination_url: Option<String>,
    pub label: Option<String>,
}

/// Changes to a link.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LinkChange {
    pub destination_url: Change<String>,
    pub label: Change<String>,
}

/// Which links a list holds.
#[derive(Clone, Debug, Default)]
pub struct LinkFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub statuses: Option<Vec<LinkStatus>>,
}

impl NewLink {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        let url = self.destination_url.as_deref().map(own_destination).transpose();
        match (url, own_label(self.label.as_deref())) {
            (Ok(destination_url), Ok(label)) => Ok(Self { destination_url, label, ..self }),
            (url, label) => Err(url.err().into_iter().chain(label.err()).collect()),
        }
    }
}

impl LinkChange {
    /// The link with the changes applied.
    ///
    /// # Errors
    /// All problems at once.
    pub fn apply(&self, mut link: link::Model) -> Result<link::Model, Vec<Problem>> {
        let url = self.destination_url.check(|url| own_destination(url).map(Some));
        match (url, self.label.check(|label| own_label(Some(label)))) {
            (Ok(url), Ok(label)) => {
                url.apply(&mut link.destination_url);
                label.apply(&mut link.label);
                Ok(link)
            }
            (url, label) => Err(url.err().into_iter().chain(label.err()).collect()),
        }
    }
}

fn own_destination(url: &str) -> Result<String, Problem> {
    destination::check(&["destinationUrl"], url)
}

fn own_label(label: Option<&str>) -> Result<Option<String>, Problem> {
    text::optional(&["label"], label, text::REFERENCE_MAX)
}

/// A public code from random bytes.
pub fn code(random: [u8; 16]) -> String {
    // 128 bits against the 60 that ten characters hold: the bias of the remainder is below 2^-60.
    let mut number = u128::from_be_bytes(random);
    let mut code = String::with_capacity(CODE_LEN);
    for _ in 0..CODE_LEN {
        let index = usize::try_from(number % 62).expect("a remainder of 62 is small");
        code.push(char::from(ALPHABET[index]));
        number /= 62;
    }
    code
}

/// The moves of a link's status.
const TRANSITIONS: &[(LinkStatus, LinkStatus)] =
    &[(LinkStatus::Active, LinkStatus::Disabled), (LinkStatus::Disabled, LinkStatus::Active)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: LinkStatus, to: LinkStatus) -> Result<LinkStatus, Problem> {
    transition::step(TRANSITIONS, "a link", from, to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::{
        Instant,
        ids::{LinkId, TenantId},
    };

    use super::*;

    proptest! {
        #[test]
        fn code_is_ten_letters_and_digits(random in any::<[u8; 16]>()) {
            let code = code(random);
            prop_assert_eq!(code.len(), CODE_LEN);
            prop_assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn codes_of_different_bytes_differ() {
        assert_eq!(code([0; 16]), "0000000000");
        assert_ne!(code([1; 16]), code([2; 16]));
    }

    #[test]
    fn change_clears_sets_and_keeps() {
        let link = link::Model {
            tenant_id: TenantId::default(),
            id: LinkId::default(),
            code: "0000000000".to_owned(),
            campaign_id: CampaignId::default(),
            affiliate_id: AffiliateId::default(),
            destination_url: Some("https://a.example/".to_owned()),
            label: Some("old".to_owned()),
            status: LinkStatus::Active,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        };
        let kept = LinkChange::default().apply(link.clone()).expect("valid");
        assert_eq!(kept, link);
        let change = LinkChange { destination_url: Change::Clear, label: Change::Set(" new ".to_owned()) };
        let changed = change.apply(link.clone()).expect("valid");
        assert_eq!((changed.destination_url, changed.label.as_deref()), (None, Some("new")));
        let change = LinkChange { destination_url: Change::Set(String::new()), label: Change::Set("a\0".to_owned()) };
        assert_eq!(change.apply(link).map_err(|problems| problems.len()), Err(2));
    }

    #[test]
    fn transitions_go_both_ways_but_never_nowhere() {
        assert!(transition(LinkStatus::Active, LinkStatus::Disabled).is_ok());
        assert!(transition(LinkStatus::Disabled, LinkStatus::Active).is_ok());
        for status in LinkStatus::ALL {
            assert!(transition(*status, *status).is_err(), "{status}");
        }
    }
}
