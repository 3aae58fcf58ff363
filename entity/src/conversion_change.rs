//! Changes of recorded conversions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionChangeId, ConversionId, JournalId, TenantId},
    kinds::{ConversionChangeKind, ConversionReason},
    money::Currency,
};

table! {
    /// Something that happened to a conversion's money after it was recorded: never edited, undone by another one.
    "conversion_change" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ConversionChangeId,
        conversion_id: ConversionId,
        /// The step of the conversion's history that it was.
        version: i32,
        kind: ConversionChangeKind,
        reason: ConversionReason,
        /// What it did to the sale: negative where it took.
        sale_minor: i64,
        /// The sale's.
        currency: Currency,
        /// The reversal that it undid.
        undoes_id: Option<ConversionChangeId>,
        /// The caller's own.
        reference: Option<String>,
        /// None where nothing had to be posted.
        journal_id: Option<JournalId>,
        /// Who, in `kind:id` form.
        actor: String,
        note: Option<String>,
        recorded_at: Instant,
    }
    id ConversionChangeId;
}
