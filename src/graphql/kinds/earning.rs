//! The enums of what affiliates earn, and of the ledger.

use async_graphql::Enum;
use tributary_entity::kinds;

/// Where a commission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CommissionStatus")]
pub(in crate::graphql) enum CommissionStatus {
    /// Its conversion is not approved: a projection, not in the ledger.
    Unapproved,
    /// Approved and in the hold period.
    Pending,
    /// Hold over: payable.
    Available,
    /// Its conversion was rejected.
    Rejected,
    /// Taken back.
    Reversed,
}

/// Which precedence level chose the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::RuleSource")]
pub(in crate::graphql) enum RuleSource {
    /// A default rule of the campaign.
    CampaignDefault,
    /// A rule of the affiliate's group.
    AffiliateGroup,
    /// The rule named by the affiliate's enrollment.
    EnrollmentOverride,
    /// None: it is an override, which a plan gives to those above the affiliate.
    OverridePlan,
}

/// What a journal posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::JournalKind")]
pub(in crate::graphql) enum JournalKind {
    /// A conversion was approved: commission expense to the affiliate's pending account.
    ConversionApproved,
    /// The hold is over: pending to available, debts netted first.
    HoldReleased,
    /// A payout was submitted: available to clearing.
    PayoutInitiated,
    /// A payout was paid: clearing to cash.
    PayoutSettled,
    /// A payout failed, or was cancelled after it was submitted: clearing back to available, debts netted first.
    PayoutFailed,
    /// A paid payout came back: cash back to available, debts netted first.
    PayoutReturned,
    /// What an affiliate earns was changed later, by an attribution run or by a person: adjustment expense to the account
    /// that holds the commission, or back.
    Adjustment,
    /// A conversion was taken back, in part or whole, or a reversal was: the affiliate's account to the expense, or back.
    Reversal,
    /// A bonus: bonus expense to the affiliate.
    Bonus,
    /// What was earned apart from conversions, such as by clicks: commission expense to the affiliate.
    Commission,
    /// A processor's charge: processor fee from cash.
    ProcessorFee,
    /// A balance was converted into another currency: each side against the FX position of its currency.
    FxConversion,
    /// An affiliate's debt was given up: write-off from the receivable.
    WriteOff,
    /// The tenant paid in: cash to funding.
    Deposit,
}
