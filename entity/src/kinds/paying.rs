//! How payouts are made: the files of banks and what is in them, the calls and the books of processors.

use super::{DbErr, DeriveValueType, FromStr, TryFromU64, UnknownKind, fmt};

text_enums! {
    /// What a file of payments, or of a bank's answers, is.
    PayoutFileFormat {
        /// pain.001.001.09.
        SepaCreditTransfer = "SEPA_CREDIT_TRANSFER",
        /// ACH credits.
        Nacha = "NACHA",
        /// A table for people.
        Csv = "CSV",
        /// pain.002.
        PaymentStatusReport = "PAYMENT_STATUS_REPORT",
        /// camt.054.
        DebitCreditNotification = "DEBIT_CREDIT_NOTIFICATION",
        /// Returns and notices of change.
        NachaReturn = "NACHA_RETURN",
    }

    /// What a bank says became of a payment.
    PayoutNoticeStatus {
        Accepted = "ACCEPTED",
        Paid = "PAID",
        Rejected = "REJECTED",
        Returned = "RETURNED",
        /// Paid, to an account that is to be corrected.
        Corrected = "CORRECTED",
        Other = "OTHER",
    }

    /// What was done about a bank's line.
    PayoutNoticeOutcome {
        /// The payout was moved.
        Applied = "APPLIED",
        /// Nothing was to be done.
        Noted = "NOTED",
        /// It was done before.
        Repeated = "REPEATED",
        /// No payout is known by the reference.
        Unknown = "UNKNOWN",
        /// It contradicts the payout.
        Refused = "REFUSED",
    }

    /// What became of a call that came to a processor's address.
    ProcessorCallOutcome {
        /// It was about a payout, which is now where it says, or further.
        Applied = "APPLIED",
        /// It was about nothing of ours.
        Unmatched = "UNMATCHED",
        /// It says the contrary of what was settled: see the reconciliation items.
        Contradicted = "CONTRADICTED",
        /// It was not the processor's, or could not be read.
        Refused = "REFUSED",
    }

    /// How two books differ.
    ReconciliationKind {
        /// The processor has a transaction of which we know nothing.
        TheirsOnly = "THEIRS_ONLY",
        /// We have a payment of which the processor knows nothing.
        OursOnly = "OURS_ONLY",
        /// Both have it, with different amounts.
        Amount = "AMOUNT",
        /// Both have it, and one says that it was paid and the other that it was not.
        State = "STATE",
        /// The processor charged another fee than was posted.
        Fee = "FEE",
        /// The clearing account got another sum in a day than the payouts that came under way in it, less those that ended.
        Clearing = "CLEARING",
        /// The cash account got another sum in a day than what was paid, came back and was charged in it; or a payout's
        /// journals are not what it says.
        Ledger = "LEDGER",
    }

    ReconciliationStatus {
        Open = "OPEN",
        Resolved = "RESOLVED",
    }
}
