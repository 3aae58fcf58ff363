//! The API's enums for the closed sets of the data: same names, same values, described for API users.

mod earning;

use async_graphql::Enum;
use tributary_entity::kinds;

pub(super) use earning::{CommissionStatus, JournalKind, RuleSource};

/// What a user or key may do, by job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::Role")]
pub(super) enum Role {
    /// Everything, including users and keys.
    Owner,
    /// As the owner.
    Admin,
    /// Runs campaigns and affiliates, reviews conversions.
    Manager,
    /// Reads the ledger, reviews conversions.
    Finance,
    /// Reads.
    Analyst,
    /// A program of the tenant; narrowed by its key's scopes.
    Integration,
    /// Sees own rows only.
    Affiliate,
}

/// What an API key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ApiKeyScope")]
pub(super) enum ApiKeyScope {
    /// Read campaigns, affiliates, links, clicks, conversions, earnings and reports.
    Read,
    /// Create and change campaigns, affiliates, enrollments and links.
    Manage,
    /// Record clicks.
    RecordClicks,
    /// Record conversions.
    RecordConversions,
    /// Approve and reject conversions.
    ReviewConversions,
    /// Read journals, accounts and the trial balance.
    ReadLedger,
}

/// Whether a user can log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::UserStatus")]
pub(super) enum UserStatus {
    /// Can log in.
    Active,
    /// Cannot log in.
    Disabled,
}

/// Whether a campaign takes clicks and conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CampaignStatus")]
pub(super) enum CampaignStatus {
    /// Being prepared: takes no clicks.
    Draft,
    /// Takes clicks and conversions.
    Active,
    /// Takes no new clicks; conversions of earlier clicks still count inside the window.
    Paused,
    /// Finished for good.
    Archived,
}

/// Who decides that a conversion is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ApprovalMode")]
pub(super) enum ApprovalMode {
    /// A conversion that passes every check is approved as it is recorded.
    Auto,
    /// A conversion waits as PENDING until somebody approves it.
    Manual,
}

/// Whether a goal takes conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::GoalStatus")]
pub(super) enum GoalStatus {
    /// Takes conversions.
    Active,
    /// Takes none.
    Archived,
}

/// Whether a commission rule is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::RuleStatus")]
pub(super) enum RuleStatus {
    /// In use.
    Active,
    /// No longer chosen for new conversions.
    Archived,
}

/// How a commission is reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::RuleKind")]
pub(super) enum RuleKind {
    /// A fixed amount per conversion (CPA, CPL).
    Flat,
    /// A share of the sale amount (CPS, RevShare).
    Percent,
    /// Both.
    FlatPlusPercent,
}

/// Where an affiliate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::AffiliateStatus")]
pub(super) enum AffiliateStatus {
    /// Applied, not yet decided.
    Pending,
    /// May promote and earn.
    Active,
    /// The application was refused.
    Rejected,
    /// Earns nothing new; what is earned stays.
    Suspended,
}

/// Where an affiliate stands in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::EnrollmentStatus")]
pub(super) enum EnrollmentStatus {
    /// Applied, not yet decided.
    Pending,
    /// May promote the campaign.
    Approved,
    /// The application was refused.
    Rejected,
    /// Earns nothing new in this campaign.
    Suspended,
}

/// Whether a link's clicks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::LinkStatus")]
pub(super) enum LinkStatus {
    /// Clicks count.
    Active,
    /// Clicks are recorded as invalid.
    Disabled,
}

/// Whether a coupon leads to its affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CouponStatus")]
pub(super) enum CouponStatus {
    /// It does.
    Active,
    /// Its code is unknown to conversions.
    Disabled,
}

/// Why a click does not count as valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ClickInvalidReason")]
pub(super) enum ClickInvalidReason {
    /// The campaign did not take clicks.
    CampaignNotActive,
    /// The affiliate was not active.
    AffiliateNotActive,
    /// The affiliate was not enrolled in the campaign.
    EnrollmentNotApproved,
    /// The link was disabled.
    LinkDisabled,
    /// A HEAD request, which asks where the link leads and goes nowhere.
    Head,
    /// Fetched ahead by a browser, perhaps never shown.
    Prefetch,
    /// A program, not a person.
    Bot,
    /// From a country that the campaign does not take.
    CountryNotAllowed,
    /// With a device that the campaign does not take.
    DeviceNotAllowed,
    /// A cap of clicks was used up.
    OverCap,
}

/// What a cap limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CapMetric")]
pub(super) enum CapMetric {
    /// Unique valid clicks.
    Clicks,
    /// Conversions that are not rejected.
    Conversions,
    /// What customers pay.
    SaleAmount,
    /// What affiliates earn.
    Commission,
}

/// After what a cap, or a tier's count, begins anew, in the tenant's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CapPeriod")]
pub(super) enum CapPeriod {
    /// At midnight.
    Day,
    /// At midnight before Monday.
    Week,
    /// At midnight before the first.
    Month,
    /// Never.
    Lifetime,
}

/// What tiers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::TierBasis")]
pub(super) enum TierBasis {
    /// Conversions; a shared one counts whole for each of its affiliates.
    Conversions,
    /// What their customers paid.
    SaleAmount,
}

/// What a reached tier pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::TierMode")]
pub(super) enum TierMode {
    /// All conversions of the period: earlier ones are adjusted.
    Whole,
    /// Only what is past the threshold.
    Marginal,
    /// The conversions after the one that reached it.
    Prospective,
}

/// Whether a cap limits anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::CapStatus")]
pub(super) enum CapStatus {
    /// It does.
    Active,
    /// No longer.
    Archived,
}

/// What a visitor used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::Device")]
pub(super) enum Device {
    /// A computer with a screen and keys.
    Desktop,
    /// A telephone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A television, console, watch or anything else that is recognised.
    Other,
}

/// Where a conversion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ConversionStatus")]
pub(super) enum ConversionStatus {
    /// Waits for somebody's decision.
    Pending,
    /// Waits for a fact, named by the reason.
    Held,
    /// Good; its commission is in the ledger.
    Approved,
    /// Refused; counts nowhere.
    Rejected,
    /// Taken back in full; counts nowhere.
    Reversed,
}

/// What a change of a recorded conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ConversionChangeKind")]
pub(super) enum ConversionChangeKind {
    /// It was taken back, in part or whole.
    Reversal,
    /// A reversal was undone: what that took was given again.
    Undo,
    /// Its sale has another amount.
    Adjustment,
}

/// Why a conversion is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ConversionReason")]
pub(super) enum ConversionReason {
    /// The order id was recorded before for this campaign and goal.
    DuplicateOrder,
    /// The goal counts once per click and has been counted.
    DuplicateClick,
    /// The click id names no click.
    UnknownClick,
    /// The click is older than the campaign's window, or later than the conversion.
    OutsideWindow,
    /// The campaign has no such goal, or it is archived.
    UnknownGoal,
    /// The campaign did not take conversions.
    CampaignNotActive,
    /// The affiliate was not active.
    AffiliateNotActive,
    /// The affiliate was not enrolled in the campaign.
    EnrollmentNotApproved,
    /// The click itself was not valid.
    InvalidClick,
    /// More than was left of a cap.
    OverCap,
    /// It came sooner after the last click than the campaign allows.
    TooFast,
    /// The campaign has no active coupon with this code.
    UnknownCoupon,
    /// Neither click nor coupon was named, and the visitor or customer has no click that counts.
    NoTouch,
    /// The click id names no click yet; HELD until it does, or until `heldUntil`.
    AwaitingClick,
    /// No exchange rate from the sale's currency to the campaign's is known.
    FxRateMissing,
    /// Decided by a person.
    Manual,
    /// The advertiser's server declined it.
    Declined,
    /// The customer was given money back.
    Refund,
    /// The goods came back.
    ReturnedGoods,
    /// The payment was charged back.
    Chargeback,
    /// The customer did not pay.
    BadDebt,
    /// Found to be fraud.
    Fraud,
    /// A test.
    Test,
}

/// By which names the parameters of a postback go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PostbackDialect")]
pub(super) enum PostbackDialect {
    /// Told by the names themselves.
    Auto,
    /// Ours: `click_id`, `goal`, `order_id`, `customer_id`, `amount`, `currency`, `adv1` to `adv10`.
    Tributary,
    /// TUNE's: `transaction_id`, `goal_id`, `adv_sub`, `amount`.
    Tune,
    /// Everflow's: `transaction_id`, `event_id`, `order_id`, `amount`, `currency`.
    Everflow,
    /// Voluum's: `cid`, `et`, `txid`, `payout`, `currency`.
    Voluum,
    /// Affise's: `clickid`, `goal`, `action_id`, `sum`, `status`.
    Affise,
    /// Ours, sent by pages: images and the snippet `t.js`. Its token is public, so that anybody can send conversions.
    Pixel,
}

/// Whether a postback endpoint takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PostbackEndpointStatus")]
pub(super) enum PostbackEndpointStatus {
    /// Takes calls.
    Active,
    /// Refuses them.
    Disabled,
}

/// How conversions are credited to touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::AttributionModel")]
pub(super) enum AttributionModel {
    /// All to the last touch.
    LastClick,
    /// All to the first touch inside the window.
    FirstClick,
    /// The same to every touch.
    Linear,
    /// 40 % to the first and to the last touch, 20 % spread over those between; of two touches a half each.
    PositionBased,
    /// A touch weighs half as much with every half-life that it is older.
    TimeDecay,
}

/// Where the touches of a conversion are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::TouchSource")]
pub(super) enum TouchSource {
    /// The click that the conversion names.
    ClickId,
    /// The affiliate whose coupon was used.
    Coupon,
    /// The earlier clicks of the visitor or customer.
    History,
}

/// Where an attribution run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::AttributionRunStatus")]
pub(super) enum AttributionRunStatus {
    /// Asked for.
    Queued,
    /// Looks at its conversions.
    Running,
    /// Has looked at all of them.
    Done,
    /// Given up at a fault. What was done stays, and the same again goes on from there.
    Failed,
}

/// What a run does with conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ConversionRunAction")]
pub(super) enum ConversionRunAction {
    /// Approves them.
    Approve,
    /// Rejects them: those that are approved are refused.
    Reject,
    /// Takes them back in full.
    Reverse,
    /// Takes up again those that were refused: each is decided anew with its checks waived, and waits for a review.
    Reopen,
    /// Undoes, of each, the newest reversal that was not undone, whoever made it: gives again exactly what that took.
    Undo,
    /// Takes back a part of each: `percent` of its sale.
    Refund,
    /// Gives each sale another amount: `percent` of the one that it has.
    Adjust,
}

/// Where a run over conversions stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ConversionRunStatus")]
pub(super) enum ConversionRunStatus {
    /// Asked for.
    Queued,
    /// Goes through its conversions.
    Running,
    /// Has looked at all of them.
    Done,
    /// Ended by a person. What was done stays.
    Cancelled,
    /// Given up at a fault. What was done stays.
    Failed,
}

/// Where a payout batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutBatchStatus")]
pub(super) enum PayoutBatchStatus {
    /// Its payouts are being drafted; a large batch takes a while.
    Drafting,
    /// A preview: whom to pay, and how much. No money has moved.
    Draft,
    /// Approved; its payouts are being moved on.
    Approving,
    /// Approved, not yet submitted. No money has moved.
    Approved,
    /// Its payouts are being initiated, one after another.
    Submitting,
    /// Under way; each payout has its own state.
    Submitted,
    /// Given up; its payouts are being given up, one after another.
    Cancelling,
    /// Given up before it was submitted. No money has moved.
    Cancelled,
}

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutStatus")]
pub(super) enum PayoutStatus {
    /// Drafted. No money has moved.
    Draft,
    /// Approved with its batch. No money has moved.
    Approved,
    /// Taken from the affiliate's available balance; waits for the processor, or for a person to pay it.
    Submitted,
    /// The processor has it.
    InTransit,
    /// The processor did not answer: it may or may not have been paid.
    Unknown,
    /// Paid.
    Paid,
    /// Not paid; the money is the affiliate's again.
    Failed,
    /// Given up before it was paid; the money is the affiliate's again.
    Cancelled,
    /// Was paid and came back; the money is the affiliate's again.
    Returned,
}

/// By which processor a payout is made, or to which kind of account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutMethod")]
pub(super) enum PayoutMethod {
    /// A person pays, and marks it as paid.
    Manual,
    /// A bank transfer in the Single Euro Payments Area.
    Sepa,
    /// A bank transfer in the United States.
    Ach,
    /// PayPal.
    Paypal,
    /// Wise.
    Wise,
    /// Stripe.
    Stripe,
}

/// Of which type a bank account in the United States is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum UsAccountType {
    /// For payments.
    Checking,
    /// For savings.
    Savings,
}

/// Why a batch passed an affiliate over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutSkipReason")]
pub(super) enum PayoutSkipReason {
    /// Another payout in this currency is not finished.
    OpenPayout,
    /// Its available balance is below what it is paid at least, or too little for its processor to pay. Batches tell it only
    /// of those that were named.
    BelowMinimum,
    /// It owes something, which what it earns pays off first.
    InDebt,
    /// It is paid by another schedule. Only previews tell it.
    OtherSchedule,
}

/// Where an exchange rate is from. Of one day, a person's goes before a table's before the ECB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::FxSource")]
pub(super) enum FxSource {
    /// Set by a person.
    Manual,
    /// The reference rates of the European Central Bank.
    Ecb,
    /// A table of the tenant's own.
    File,
}
