//! Column enums: closed sets, held as upper-case text in both databases and spelled the same way in the API.
//!
//! # Adding one
//! Add it to `text_enums!`. A new variant is an addition to the API (`schema.graphql` changes); a removed one breaks
//! stored rows.

use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};

/// A text in the database that is none of the enum's values: the row was written by another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}")]
pub struct UnknownKind {
    kind: &'static str,
    text: String,
}

macro_rules! text_enums {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType, serde::Serialize,
            serde::Deserialize,
        )]
        #[sea_orm(value_type = "String")]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The text that the database and the API use.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        // Asked for by composite primary keys; no key of ours is numeric.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(UnknownKind { kind: stringify!($name), text: text.to_owned() }),
                }
            }
        }
    )*};
}

mod earning;
mod paying;

pub use earning::*;
pub use paying::*;

text_enums! {
    /// What a user or key may do, by job. The permissions of each are in `auth::permission`.
    Role {
        Owner = "OWNER",
        Admin = "ADMIN",
        Manager = "MANAGER",
        Finance = "FINANCE",
        Analyst = "ANALYST",
        /// API keys of the tenant's own servers.
        Integration = "INTEGRATION",
        /// Sees own rows only.
        Affiliate = "AFFILIATE",
    }

    /// What an API key was made for: each scope opens a part of the INTEGRATION role.
    ApiKeyScope {
        /// Read campaigns, affiliates, links, clicks, conversions and reports.
        Read = "READ",
        /// Create and change campaigns, affiliates, enrollments and links.
        Manage = "MANAGE",
        /// Record clicks.
        RecordClicks = "RECORD_CLICKS",
        /// Record conversions.
        RecordConversions = "RECORD_CONVERSIONS",
        /// Approve and reject conversions.
        ReviewConversions = "REVIEW_CONVERSIONS",
        /// Read journals, accounts and the trial balance.
        ReadLedger = "READ_LEDGER",
    }

    TenantStatus {
        Active = "ACTIVE",
        Suspended = "SUSPENDED",
    }

    UserStatus {
        Active = "ACTIVE",
        Disabled = "DISABLED",
    }

    CampaignStatus {
        /// Being prepared: takes no clicks.
        Draft = "DRAFT",
        Active = "ACTIVE",
        /// Takes no new clicks; conversions of earlier clicks still count inside the window.
        Paused = "PAUSED",
        /// Finished for good.
        Archived = "ARCHIVED",
    }

    /// Who decides that a conversion is good.
    ApprovalMode {
        /// A conversion that passes every check is approved as it is recorded.
        Auto = "AUTO",
        /// A conversion waits as PENDING until somebody approves it.
        Manual = "MANUAL",
    }

    GoalStatus {
        Active = "ACTIVE",
        Archived = "ARCHIVED",
    }

    AffiliateStatus {
        /// Applied, not yet decided.
        Pending = "PENDING",
        Active = "ACTIVE",
        Rejected = "REJECTED",
        /// Earns nothing new; what is earned stays.
        Suspended = "SUSPENDED",
    }

    EnrollmentStatus {
        Pending = "PENDING",
        Approved = "APPROVED",
        Rejected = "REJECTED",
        Suspended = "SUSPENDED",
    }

    LinkStatus {
        Active = "ACTIVE",
        Disabled = "DISABLED",
    }

    CouponStatus {
        Active = "ACTIVE",
        Disabled = "DISABLED",
    }

    /// Why a click does not count as valid.
    ClickInvalidReason {
        CampaignNotActive = "CAMPAIGN_NOT_ACTIVE",
        AffiliateNotActive = "AFFILIATE_NOT_ACTIVE",
        EnrollmentNotApproved = "ENROLLMENT_NOT_APPROVED",
        LinkDisabled = "LINK_DISABLED",
        /// A HEAD request, which asks where the link leads and goes nowhere.
        Head = "HEAD",
        /// Fetched ahead by a browser, perhaps never shown.
        Prefetch = "PREFETCH",
        /// A program, not a person.
        Bot = "BOT",
        /// From a country that the campaign does not take.
        CountryNotAllowed = "COUNTRY_NOT_ALLOWED",
        /// With a device that the campaign does not take.
        DeviceNotAllowed = "DEVICE_NOT_ALLOWED",
        /// A cap of clicks was used up.
        OverCap = "OVER_CAP",
    }

    /// What a cap limits.
    CapMetric {
        /// Unique valid clicks.
        Clicks = "CLICKS",
        Conversions = "CONVERSIONS",
        SaleAmount = "SALE_AMOUNT",
        Commission = "COMMISSION",
    }

    /// After what a cap begins anew, in the tenant's time zone.
    CapPeriod {
        Day = "DAY",
        /// From Monday.
        Week = "WEEK",
        Month = "MONTH",
        /// Never.
        Lifetime = "LIFETIME",
    }

    CapStatus {
        Active = "ACTIVE",
        Archived = "ARCHIVED",
    }

    /// What a visitor used.
    Device {
        Desktop = "DESKTOP",
        Mobile = "MOBILE",
        Tablet = "TABLET",
        /// A television, console, watch or anything else that is recognised.
        Other = "OTHER",
    }

    /// Where the touches of a conversion are looked for.
    TouchSource {
        /// The click that the conversion names.
        ClickId = "CLICK_ID",
        /// The affiliate whose coupon was used.
        Coupon = "COUPON",
        /// The earlier clicks of the visitor or customer.
        History = "HISTORY",
    }

    ConversionStatus {
        /// Waits for somebody's decision.
        Pending = "PENDING",
        /// Waits for a fact, named by the reason.
        Held = "HELD",
        Approved = "APPROVED",
        Rejected = "REJECTED",
        /// Taken back in full.
        Reversed = "REVERSED",
    }

    /// What a change of a recorded conversion is.
    ConversionChangeKind {
        /// It was taken back, in part or whole.
        Reversal = "REVERSAL",
        /// A reversal was undone.
        Undo = "UNDO",
        /// Its sale has another amount.
        Adjustment = "ADJUSTMENT",
    }

    /// Why a conversion is in its state.
    ConversionReason {
        /// The order id was recorded before for this campaign and goal.
        DuplicateOrder = "DUPLICATE_ORDER",
        /// The goal counts once per click and has been counted.
        DuplicateClick = "DUPLICATE_CLICK",
        /// The click id names no click of this tenant.
        UnknownClick = "UNKNOWN_CLICK",
        /// The click is older than the campaign's window, or later than the conversion.
        OutsideWindow = "OUTSIDE_WINDOW",
        /// The campaign has no such goal, or it is archived.
        UnknownGoal = "UNKNOWN_GOAL",
        CampaignNotActive = "CAMPAIGN_NOT_ACTIVE",
        AffiliateNotActive = "AFFILIATE_NOT_ACTIVE",
        EnrollmentNotApproved = "ENROLLMENT_NOT_APPROVED",
        /// The click itself was not valid.
        InvalidClick = "INVALID_CLICK",
        /// More than is left of a cap.
        OverCap = "OVER_CAP",
        /// The conversion came sooner after its last click than the campaign allows.
        TooFast = "TOO_FAST",
        /// The coupon code is none of the campaign's, or disabled.
        UnknownCoupon = "UNKNOWN_COUPON",
        /// Neither click nor coupon was named, and the visitor or customer has no click that counts.
        NoTouch = "NO_TOUCH",
        /// The click id names no click yet.
        AwaitingClick = "AWAITING_CLICK",
        /// No exchange rate from the sale's currency to the campaign's is known.
        FxRateMissing = "FX_RATE_MISSING",
        /// Decided by a person.
        Manual = "MANUAL",
        /// The advertiser's server said so.
        Declined = "DECLINED",
        /// The customer was given money back.
        Refund = "REFUND",
        ReturnedGoods = "RETURNED_GOODS",
        Chargeback = "CHARGEBACK",
        BadDebt = "BAD_DEBT",
        Fraud = "FRAUD",
        Test = "TEST",
    }

    /// By which names a caller's parameters go.
    PostbackDialect {
        /// Told by the names themselves.
        Auto = "AUTO",
        /// Ours.
        Tributary = "TRIBUTARY",
        Tune = "TUNE",
        Everflow = "EVERFLOW",
        Voluum = "VOLUUM",
        Affise = "AFFISE",
        /// Ours, sent by pages: the token is public, and nothing about a call is secret.
        Pixel = "PIXEL",
    }

    PostbackEndpointStatus {
        Active = "ACTIVE",
        Disabled = "DISABLED",
    }

    AttributionModel {
        LastClick = "LAST_CLICK",
        FirstClick = "FIRST_CLICK",
        /// The same for every touch.
        Linear = "LINEAR",
        /// 40 % to the first and to the last, 20 % spread over those between.
        PositionBased = "POSITION_BASED",
        /// Halved with every half-life that a touch is older.
        TimeDecay = "TIME_DECAY",
    }

    AttributionRunStatus {
        /// Asked for.
        Queued = "QUEUED",
        Running = "RUNNING",
        /// All of its conversions were looked at.
        Done = "DONE",
        /// Given up at a fault; what was done stays.
        Failed = "FAILED",
    }

    /// What a run does with conversions.
    ConversionRunAction {
        Approve = "APPROVE",
        Reject = "REJECT",
        /// Takes back in full.
        Reverse = "REVERSE",
        /// Takes up again what was refused.
        Reopen = "REOPEN",
        /// Gives again what was taken back last.
        Undo = "UNDO",
        /// Takes back a part of each sale.
        Refund = "REFUND",
        /// Gives each sale another amount.
        Adjust = "ADJUST",
    }

    ConversionRunStatus {
        /// Asked for.
        Queued = "QUEUED",
        Running = "RUNNING",
        /// All of its conversions were looked at.
        Done = "DONE",
        /// Ended by a person; what was done stays.
        Cancelled = "CANCELLED",
        /// Given up at a fault; what was done stays.
        Failed = "FAILED",
    }

    PayoutBatchStatus {
        /// Its payouts are being drafted, page by page.
        Drafting = "DRAFTING",
        /// A preview: whom to pay, and how much.
        Draft = "DRAFT",
        /// Approved; its payouts are being moved on, page by page.
        Approving = "APPROVING",
        Approved = "APPROVED",
        /// Its payouts are being initiated, page by page.
        Submitting = "SUBMITTING",
        /// Its payouts are under way, each with a state of its own.
        Submitted = "SUBMITTED",
        /// Given up; its payouts are being given up, page by page.
        Cancelling = "CANCELLING",
        Cancelled = "CANCELLED",
    }

    PayoutStatus {
        Draft = "DRAFT",
        Approved = "APPROVED",
        /// Taken from the affiliate's balance and handed to the processor, or to a person.
        Submitted = "SUBMITTED",
        /// The processor has it.
        InTransit = "IN_TRANSIT",
        /// The processor did not answer: it may or may not have been paid.
        Unknown = "UNKNOWN",
        Paid = "PAID",
        Failed = "FAILED",
        Cancelled = "CANCELLED",
        /// Was paid and came back.
        Returned = "RETURNED",
    }

    /// By which processor a payout is made.
    PayoutMethod {
        /// A person pays, and marks it as paid.
        Manual = "MANUAL",
        /// A bank transfer in the Single Euro Payments Area.
        Sepa = "SEPA",
        /// A bank transfer in the United States.
        Ach = "ACH",
        Paypal = "PAYPAL",
        Wise = "WISE",
        Stripe = "STRIPE",
    }

    /// Why a batch passed an affiliate over.
    PayoutSkipReason {
        /// Another payout in this currency is not finished.
        OpenPayout = "OPEN_PAYOUT",
        /// The balance is below what is paid at least, or too little for the processor to pay. Told of those that were named, and
        /// by previews.
        BelowMinimum = "BELOW_MINIMUM",
        /// It owes something, which what it earns pays off first.
        InDebt = "IN_DEBT",
        /// Its terms have another schedule than the batch. Told by previews.
        OtherSchedule = "OTHER_SCHEDULE",
    }

    EventKind {
        ConversionRecorded = "CONVERSION_RECORDED",
        ConversionApproved = "CONVERSION_APPROVED",
        ConversionRejected = "CONVERSION_REJECTED",
        /// An attribution run credited it anew.
        ConversionReattributed = "CONVERSION_REATTRIBUTED",
        /// A tier was reached or lost, and what the conversion earned was rated anew.
        ConversionRerated = "CONVERSION_RERATED",
        /// A conversion was re-opened, or the click that it waited for came, and it waits for a decision now.
        ConversionChanged = "CONVERSION_CHANGED",
        /// A conversion was taken back, in part or whole.
        ConversionReversed = "CONVERSION_REVERSED",
        /// A reversal of a conversion was undone.
        ConversionRestored = "CONVERSION_RESTORED",
        /// A conversion's sale has another amount.
        ConversionAdjusted = "CONVERSION_ADJUSTED",
        /// An affiliate's commissions left the hold period.
        EarningsReleased = "EARNINGS_RELEASED",
        /// What an affiliate has earned changed by something that is not its own to see.
        EarningsChanged = "EARNINGS_CHANGED",
        /// An affiliate got or lost something apart from conversions.
        AwardPosted = "AWARD_POSTED",
        CampaignChanged = "CAMPAIGN_CHANGED",
        AffiliateChanged = "AFFILIATE_CHANGED",
        /// Made, or given another name or modifier.
        AffiliateGroupChanged = "AFFILIATE_GROUP_CHANGED",
        EnrollmentChanged = "ENROLLMENT_CHANGED",
        LinkChanged = "LINK_CHANGED",
        CouponChanged = "COUPON_CHANGED",
        /// Made, disabled, enabled, given other roles or another password.
        UserChanged = "USER_CHANGED",
        /// Made or revoked.
        ApiKeyChanged = "API_KEY_CHANGED",
        /// A postback endpoint was made, changed, disabled, enabled, or has another token.
        PostbackEndpointChanged = "POSTBACK_ENDPOINT_CHANGED",
        /// Logged out, or ended because a used refresh token came up again.
        SessionEnded = "SESSION_ENDED",
        /// Suspended or resumed, or given other settings.
        TenantChanged = "TENANT_CHANGED",
        /// A payout was drafted or moved to another state.
        PayoutChanged = "PAYOUT_CHANGED",
        /// Exchange rates were set or imported.
        FxRatesChanged = "FX_RATES_CHANGED",
        /// An affiliate's balance was converted into another currency.
        BalanceConverted = "BALANCE_CONVERTED",
        /// A payout batch was asked for, or moved to another state.
        PayoutBatchChanged = "PAYOUT_BATCH_CHANGED",
        /// An account that payouts are paid from was set.
        PayingAccountChanged = "PAYING_ACCOUNT_CHANGED",
        /// A file of payments was handed out, or a bank's answer taken in.
        PayoutFileChanged = "PAYOUT_FILE_CHANGED",
        /// When, or from how much on, an affiliate or everybody is paid was set.
        PayoutTermsChanged = "PAYOUT_TERMS_CHANGED",
        /// A person posted to the ledger: a deposit, or the write-off of a debt.
        JournalPosted = "JOURNAL_POSTED",
        /// An attribution run was asked for, went on, or came to its end.
        AttributionRunChanged = "ATTRIBUTION_RUN_CHANGED",
        /// A run over conversions was asked for, went on, or came to its end.
        ConversionRunChanged = "CONVERSION_RUN_CHANGED",
        /// A processor was set up, given other credentials, or removed.
        ProcessorChanged = "PROCESSOR_CHANGED",
        /// A difference between the books was found, or somebody resolved it.
        ReconciliationItemChanged = "RECONCILIATION_ITEM_CHANGED",
        /// What those above affiliates earn was set anew, or ended.
        OverridePlanChanged = "OVERRIDE_PLAN_CHANGED",
        /// A bonus rule was made or archived.
        BonusRuleChanged = "BONUS_RULE_CHANGED",
    }

    /// Where an exchange rate is from.
    FxSource {
        /// Set by a person.
        Manual = "MANUAL",
        /// The reference rates of the European Central Bank.
        Ecb = "ECB",
        /// A table of the tenant's own.
        File = "FILE",
    }

    /// What the outbox asks to be done.
    OutboxKind {
        /// Release every commission of the tenant whose hold is over.
        ReleaseHolds = "RELEASE_HOLDS",
        /// Credit the next conversions of an attribution run anew.
        ApplyAttribution = "APPLY_ATTRIBUTION",
        /// Decide every conversion of the tenant whose click has come, or was waited for long enough.
        ResolveWaiting = "RESOLVE_WAITING",
        /// Decide every conversion of the tenant that waited for an exchange rate which is there now.
        ResolveRates = "RESOLVE_RATES",
        /// Post what the tenant's clicks earned.
        PostClicks = "POST_CLICKS",
        /// Settle what the tenant's customers brought in periods that are over.
        SettleRevenue = "SETTLE_REVENUE",
        /// Give what the tenant's bonus rules give for periods that are over.
        DecideBonuses = "DECIDE_BONUSES",
        /// Approve, reject or take back the next conversions of a run.
        RunConversions = "RUN_CONVERSIONS",
        /// Take up again, or give again, the next conversions of a run.
        RestoreConversions = "RESTORE_CONVERSIONS",
        /// Take back a part of the next conversions of a run, or give them other amounts.
        ReckonConversions = "RECKON_CONVERSIONS",
        /// Rate the conversions of a period anew, whose tier was reached or lost.
        RerateTier = "RERATE_TIER",
        /// Work off the next page of a payout batch.
        AdvancePayoutBatch = "ADVANCE_PAYOUT_BATCH",
        /// Ask the processor to make a payout, or what became of it.
        DrivePayout = "DRIVE_PAYOUT",
    }
}
