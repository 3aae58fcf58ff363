//! What affiliates earn by which terms, and the journals it is entered in.

use super::{DbErr, DeriveValueType, FromStr, TryFromU64, UnknownKind, fmt};

text_enums! {
    RuleStatus {
        Active = "ACTIVE",
        Archived = "ARCHIVED",
    }

    RuleKind {
        /// A fixed amount per conversion (CPA, CPL).
        Flat = "FLAT",
        /// A share of the sale amount (CPS, RevShare).
        Percent = "PERCENT",
        /// Both.
        FlatPlusPercent = "FLAT_PLUS_PERCENT",
    }

    /// For how many clicks a rate is.
    ClickRateKind {
        PerClick = "PER_CLICK",
        PerMille = "PER_MILLE",
    }

    /// What an award is for.
    AwardKind {
        Bonus = "BONUS",
        /// By a person, to put something right.
        Adjustment = "ADJUSTMENT",
        /// What clicks earned in a period.
        Clicks = "CLICKS",
        /// What customers' net revenue came to in a period.
        Revenue = "REVENUE",
    }

    /// How often net revenue is settled.
    SettlementPeriod {
        /// From Monday.
        Week = "WEEK",
        Month = "MONTH",
    }

    AwardStatus {
        /// In the hold period.
        Pending = "PENDING",
        /// Payable, or taken.
        Available = "AVAILABLE",
    }

    /// What a tier counts.
    TierBasis {
        Conversions = "CONVERSIONS",
        SaleAmount = "SALE_AMOUNT",
    }

    /// What a reached tier pays for.
    TierMode {
        /// All conversions of the period, earlier ones too.
        Whole = "WHOLE",
        /// What is past the threshold.
        Marginal = "MARGINAL",
        /// The conversions after the one that reached it.
        Prospective = "PROSPECTIVE",
    }

    CommissionStatus {
        /// Its conversion is not approved: a projection, not in the ledger.
        Unapproved = "UNAPPROVED",
        /// Approved and in the hold period.
        Pending = "PENDING",
        /// Hold over: payable.
        Available = "AVAILABLE",
        /// Its conversion was rejected.
        Rejected = "REJECTED",
        /// Taken back.
        Reversed = "REVERSED",
    }

    JournalKind {
        ConversionApproved = "CONVERSION_APPROVED",
        HoldReleased = "HOLD_RELEASED",
        PayoutInitiated = "PAYOUT_INITIATED",
        PayoutSettled = "PAYOUT_SETTLED",
        /// Failed, or cancelled after it was initiated.
        PayoutFailed = "PAYOUT_FAILED",
        PayoutReturned = "PAYOUT_RETURNED",
        /// What an affiliate earns was changed later: by an attribution run, or by a person.
        Adjustment = "ADJUSTMENT",
        /// A conversion was taken back, in part or whole, or a reversal was.
        Reversal = "REVERSAL",
        Bonus = "BONUS",
        /// What was earned apart from conversions, such as by clicks.
        Commission = "COMMISSION",
        /// A processor's charge.
        ProcessorFee = "PROCESSOR_FEE",
        /// A balance was converted into another currency.
        FxConversion = "FX_CONVERSION",
        /// An affiliate's debt was given up.
        WriteOff = "WRITE_OFF",
        /// The tenant paid in.
        Deposit = "DEPOSIT",
    }

    /// Which precedence level chose the rule.
    RuleSource {
        CampaignDefault = "CAMPAIGN_DEFAULT",
        AffiliateGroup = "AFFILIATE_GROUP",
        EnrollmentOverride = "ENROLLMENT_OVERRIDE",
        /// None: it is an override, which a plan gives to those above.
        OverridePlan = "OVERRIDE_PLAN",
    }
}
