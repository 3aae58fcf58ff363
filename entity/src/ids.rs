//! Typed ids: a UUID in the database, a TypeID (`cmp_01h2x..`, prefix + base32) everywhere a person or a client sees it.
//!
//! A raw UUID never crosses a module: a campaign's id cannot be passed where an affiliate's is due, and a wrong prefix
//! is refused when it is parsed, before any look-up.
//!
//! # Adding one
//! Add a line to the `typed_ids!` list below; prefixes are unique (a test holds it) and never change once published.

use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use type_safe_id::{StaticType, TypeSafeId};
use uuid::Uuid;

/// Why a text is not the id that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is a TypeID of another kind of object.
    #[error("expected an id that begins with `{expected}_`, got `{found}_..`")]
    WrongPrefix { expected: &'static str, found: String },
    /// The text is no TypeID at all.
    #[error("expected an id of the form `{expected}_` followed by 26 characters of lower-case base32")]
    Malformed { expected: &'static str },
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
            pub struct $name(Uuid);

            impl $name {
                /// The three letters that begin the public form.
                pub const PREFIX: &'static str = $prefix;

                /// Wraps a UUID that is known to name such an object.
                pub const fn from_uuid(uuid: Uuid) -> Self {
                    Self(uuid)
                }

                /// The form the database holds.
                pub const fn uuid(self) -> Uuid {
                    self.0
                }
            }

            impl StaticType for $name {
                const TYPE: &'static str = $prefix;
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    TypeSafeId::<$name>::from_uuid(self.0).fmt(f)
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(self, f)
                }
            }

            impl FromStr for $name {
                type Err = IdError;

                fn from_str(text: &str) -> Result<Self, IdError> {
                    match text.parse::<TypeSafeId<$name>>() {
                        Ok(id) => Ok(Self(id.uuid())),
                        Err(type_safe_id::Error::IncorrectType { actual, .. })
                            if known_prefix(&actual) =>
                        {
                            Err(IdError::WrongPrefix { expected: $prefix, found: actual })
                        }
                        Err(_) => Err(IdError::Malformed { expected: $prefix }),
                    }
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                }
            }

            impl TryFromU64 for $name {
                fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                    Err(DbErr::ConvertFromU64(stringify!($name)))
                }
            }
        )*

        /// Every prefix in use, for refusing a foreign one by name and for the uniqueness test.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

typed_ids! {
    /// One customer of the platform, isolated from all others.
    TenantId = "ten";
    /// A person who logs in.
    UserId = "usr";
    /// A key that a program uses.
    ApiKeyId = "key";
    /// A log-in with its rotating refresh token.
    SessionId = "ses";
    /// The thing promoted.
    CampaignId = "cmp";
    /// An action type inside a campaign.
    GoalId = "gol";
    /// A commission rule; its versions share the id.
    CommissionRuleId = "rul";
    /// What those above an affiliate earn; its versions share the id.
    OverridePlanId = "ovp";
    /// What clicks earn; its versions share the id.
    ClickRateId = "crt";
    /// What affiliates who bring enough are given.
    BonusRuleId = "bnr";
    /// Who promotes.
    AffiliateId = "aff";
    /// Affiliates who are paid alike.
    AffiliateGroupId = "agr";
    /// An affiliate in a campaign.
    EnrollmentId = "enr";
    /// A limit of what a campaign or enrollment takes.
    CapId = "cap";
    /// A tracking link.
    LinkId = "lnk";
    /// One recorded visit through a link.
    ClickId = "clk";
    /// A code by which customers name the affiliate who sent them.
    CouponId = "cpn";
    /// One recorded action of a customer.
    ConversionId = "cnv";
    /// A change of a recorded conversion.
    ConversionChangeId = "chg";
    /// A run that approves, rejects or takes back conversions.
    ConversionRunId = "crn";
    /// A run that credits recorded conversions anew.
    AttributionRunId = "run";
    /// What one affiliate earns from one conversion.
    CommissionId = "com";
    /// One payment to one affiliate in one currency.
    PayoutId = "pay";
    /// Payouts that are decided on together.
    PayoutBatchId = "pbt";
    /// Where another server, or a page, sends conversions to.
    PostbackEndpointId = "pbe";
    /// A call of such an endpoint that was refused.
    PostbackCallId = "pbc";
    /// Where an affiliate is paid.
    PayoutDestinationId = "pde";
    /// An exchange rate of one day.
    FxRateId = "fxr";
    /// A balance that was converted into another currency.
    FxConversionId = "fxc";
    /// When and from how much on somebody is paid.
    PayoutTermsId = "ptm";
    /// The tenant's accounts that payouts are paid from.
    PayingAccountId = "pac";
    /// Files of payments and of banks' answers.
    PayoutFileId = "pfl";
    /// Lines of banks' answers.
    PayoutNoticeId = "pnt";
    /// A tenant's account at a processor.
    ProcessorId = "prc";
    /// A call that came to a processor's address.
    ProcessorCallId = "prw";
    /// A difference between the books.
    ReconciliationItemId = "rec";
    /// What an affiliate got or lost apart from conversions.
    AwardId = "awd";
    /// What affiliates have of their customers' net revenue.
    RevenueDealId = "rvd";
    /// What a customer brought on a day.
    RevenueRecordId = "rvr";
    /// What an affiliate got of its customers' net revenue in a period.
    RevenueSettlementId = "rvs";
    /// A ledger account.
    AccountId = "acc";
    /// A balanced set of ledger entries.
    JournalId = "jrn";
    /// A unit of work to do after commit.
    OutboxId = "job";
}

fn known_prefix(prefix: &str) -> bool {
    PREFIXES.contains(&prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_round_trips_through_its_public_form() {
        let id = CampaignId::from_uuid(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("cmp_"));
    }

    #[test]
    fn wrong_prefix_is_named() {
        let id = AffiliateId::from_uuid(Uuid::nil()).to_string();
        assert_eq!(id.parse::<CampaignId>(), Err(IdError::WrongPrefix { expected: "cmp", found: "aff".into() }));
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in ["", "cmp", "cmp_", "cmp_zzzzzzzzzzzzzzzzzzzzzzzzzz", "x_00000000000000000000000000", "🦀_🦀"] {
            assert_eq!(text.parse::<CampaignId>(), Err(IdError::Malformed { expected: "cmp" }), "{text}");
        }
    }

    #[test]
    fn prefixes_are_unique() {
        let mut sorted = PREFIXES.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), PREFIXES.len());
    }
}
