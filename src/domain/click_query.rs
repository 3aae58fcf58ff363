//! What the address of a click says: our parameters, and those that integrations of others send.
//!
//! # Decisions
//! - Nothing here is an error: a visitor cannot mend the link that was given to her. What is too long is cut off, control
//!   characters are dropped, unknown parameters are ignored.
//! - A parameter that comes twice counts once, the first time.
//! - The click id of the affiliate's own tracker has no name of its own here; it becomes `sub10`, which the others' links
//!   leave free, unless that is given.

use tributary_entity::ids::{AffiliateId, CampaignId};
use url::form_urlencoded;

use super::{click::Labels, destination::SUBS, text};

/// Parameters that are looked at.
const PARAMETERS_MAX: usize = 100;
/// Characters of a deep link that are looked at; longer ones lead nowhere.
const TO_MAX: usize = 4_096;
/// The label of the affiliate's own click id.
const OWN_CLICK_ID: &str = SUBS[9];

/// What an address says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickQuery {
    pub labels: Labels,
    pub source: Option<String>,
    /// A deep link.
    pub to: Option<String>,
    /// Named where the path does not name a link.
    pub campaign_id: Option<CampaignId>,
    /// As the campaign.
    pub affiliate_id: Option<AffiliateId>,
}

enum Meaning {
    Sub(&'static str),
    OwnClickId,
    Source,
    To,
    Campaign,
    Affiliate,
}

/// What a parameter means; TUNE, Everflow, Voluum and Affise in this order behind ours.
fn meaning(name: &str) -> Option<Meaning> {
    Some(match name {
        "source" | "source_id" => Meaning::Source,
        "to" => Meaning::To,
        "aff_sub" => Meaning::Sub(SUBS[0]),
        "aff_click_id" | "_ef_transaction_id" | "externalid" | "cid" => Meaning::OwnClickId,
        "offer_id" | "oid" => Meaning::Campaign,
        "aff_id" | "affid" | "pid" => Meaning::Affiliate,
        _ => {
            let sub = |prefix: &str, last: usize| {
                let number: usize = name.strip_prefix(prefix)?.parse().ok()?;
                (1..=last).contains(&number).then(|| SUBS[number - 1])
            };
            Meaning::Sub(sub("sub", 10).or_else(|| sub("var", 10)).or_else(|| sub("aff_sub", 5))?)
        }
    })
}

impl ClickQuery {
    /// Reads the part of an address behind its `?`.
    pub fn read(query: &str) -> Self {
        let mut read = Self::default();
        let mut own_click_id = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX) {
            let short = || text::clipped(&value, text::REFERENCE_MAX);
            match meaning(&name) {
                None => {}
                Some(Meaning::Sub(sub)) => {
                    if let Some(value) = short() {
                        read.labels.entry(sub.to_owned()).or_insert(value);
                    }
                }
                Some(Meaning::OwnClickId) => own_click_id = own_click_id.or_else(short),
                Some(Meaning::Source) => read.source = read.source.or_else(short),
                Some(Meaning::To) => {
                    read.to = read.to.or_else(|| (value.len() <= TO_MAX).then(|| value.into_owned()));
                }
                Some(Meaning::Campaign) => read.campaign_id = read.campaign_id.or_else(|| value.parse().ok()),
                Some(Meaning::Affiliate) => read.affiliate_id = read.affiliate_id.or_else(|| value.parse().ok()),
            }
        }
        if let Some(id) = own_click_id {
            read.labels.entry(OWN_CLICK_ID.to_owned()).or_insert(id);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(query: &str) -> Vec<(String, String)> {
        ClickQuery::read(query).labels.into_iter().collect()
    }

    fn expected(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_of_others_become_labels() {
        for (query, labels_of) in [
            ("sub1=a&sub10=b", &[("sub1", "a"), ("sub10", "b")][..]),
            (
                "aff_sub=a&aff_sub2=b&aff_sub5=c&aff_click_id=d",
                &[("sub1", "a"), ("sub10", "d"), ("sub2", "b"), ("sub5", "c")],
            ),
            ("sub1=a&_ef_transaction_id=t", &[("sub1", "a"), ("sub10", "t")]),
            ("externalid=e&var1=a&var9=b", &[("sub1", "a"), ("sub10", "e"), ("sub9", "b")]),
            ("cid=c&var10=own", &[("sub10", "own")]),
            ("sub11=a&sub0=b&sub01=c&aff_sub6=d&subx=e&sub=f&creative_id=g&sub-1=h", &[("sub1", "c")]),
            ("sub1=&sub1=b&sub1=c", &[("sub1", "b")]),
            ("sub1=a+b%20c%26&sub2=%00%0d%0a", &[("sub1", "a b c&")]),
        ] {
            assert_eq!(labels(query), expected(labels_of), "{query}");
        }
        let read = ClickQuery::read("source_id=mail&source=web&to=https%3A%2F%2Fa.b%2F");
        assert_eq!((read.source.as_deref(), read.to.as_deref()), (Some("mail"), Some("https://a.b/")));
    }

    #[test]
    fn campaign_and_affiliate_have_other_names_elsewhere() {
        let (campaign, affiliate) = (CampaignId::default(), AffiliateId::default());
        for (first, second) in [("offer_id", "aff_id"), ("offer_id", "pid"), ("oid", "affid")] {
            let read = ClickQuery::read(&format!("{first}={campaign}&{second}={affiliate}"));
            assert_eq!((read.campaign_id, read.affiliate_id), (Some(campaign), Some(affiliate)), "{first} {second}");
            let read = ClickQuery::read(&format!("{first}={affiliate}&{second}=17"));
            assert_eq!((read.campaign_id, read.affiliate_id), (None, None));
        }
    }

    #[test]
    fn long_values_are_cut_off() {
        let read = ClickQuery::read(&format!("sub1={}&to={}", "ä".repeat(300), "a".repeat(5_000)));
        assert_eq!(read.labels["sub1"].chars().count(), 255);
        assert_eq!(read.to, None);
        let many = "x=1&".repeat(PARAMETERS_MAX) + "sub1=a";
        assert_eq!(labels(&many), []);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_fit_to_be_kept(query in "[ -~\u{80}-\u{ff}]{0,200}") {
            let read = ClickQuery::read(&query);
            for text in read.labels.values().chain(&read.source) {
                prop_assert!(!text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control));
            }
            prop_assert!(read.labels.keys().all(|name| SUBS.contains(&name.as_str())));
        }
    }
}
