//! Changes of recorded conversions: refunds and the like, their undoing, other sale amounts.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result};
use tributary_entity::{Instant, conversion_change_line, kinds, money};

use super::Conversion;
use crate::{
    auth::Permission,
    domain::conversion::Snapshot,
    graphql::{
        affiliates::Affiliate,
        context::{Needs, RequestData},
        error::IntoGraphql,
        ids,
        kinds::{ConversionChangeKind, ConversionReason},
        scalars::{Money, MoneyInput},
    },
    services::{
        self, ServiceError,
        conversions::{AdjustInput, Change, Changed, RefundInput, UndoInput},
    },
};

/// Something that happened to a conversion's money after it was recorded. Never edited: a reversal is undone by another
/// change.
#[derive(Description)]
pub(in crate::graphql) struct ConversionChange {
    change: Change,
    /// Known already when it was just made.
    snapshot: Option<Snapshot>,
}

impl From<Change> for ConversionChange {
    fn from(change: Change) -> Self {
        Self { change, snapshot: None }
    }
}

impl From<Changed> for ConversionChange {
    fn from(Changed { snapshot, change }: Changed) -> Self {
        Self { change, snapshot: Some(snapshot) }
    }
}

#[Object(use_type_description)]
impl ConversionChange {
    /// Begins with `chg_`.
    async fn id(&self) -> ID {
        self.change.row.id.into()
    }

    /// What it is.
    async fn kind(&self) -> ConversionChangeKind {
        self.change.row.kind.into()
    }

    /// Why; of an undoing, the reversal's.
    async fn reason(&self) -> ConversionReason {
        self.change.row.reason.into()
    }

    /// The conversion's version after it: the step of its history that it was.
    async fn version(&self) -> i32 {
        self.change.row.version
    }

    /// What it did to the sale; negative where it took.
    async fn sale_amount(&self) -> Money {
        money::Money::new(self.change.row.sale_minor, self.change.row.currency).into()
    }

    /// What it did to commissions, those that it left alone aside; at most 1,100.
    async fn commissions(&self) -> Vec<CommissionChange> {
        self.change.lines.iter().cloned().map(CommissionChange).collect()
    }

    /// The reversal that it undid; begins with `chg_`. Null for anything else.
    async fn undoes_id(&self) -> Option<ID> {
        self.change.row.undoes_id.map(Into::into)
    }

    /// Whether it was undone.
    async fn undone(&self) -> bool {
        self.change.is_undone
    }

    /// The caller's own.
    async fn reference(&self) -> Option<&str> {
        self.change.row.reference.as_deref()
    }

    /// Who: `user:usr_..`, `key:key_..`, `ext:` with provider and subject, `operator` or `system`.
    async fn actor(&self) -> &str {
        &self.change.row.actor
    }

    /// For the history.
    async fn note(&self) -> Option<&str> {
        self.change.row.note.as_deref()
    }

    /// When.
    async fn recorded_at(&self) -> Instant {
        self.change.row.recorded_at
    }

    /// The conversion as it is now.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion(&self, ctx: &Context<'_>) -> Result<Option<Conversion>> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(Some(snapshot.clone().into()));
        }
        let row = ctx.loaders()?.conversion().load_one(self.change.row.conversion_id).await.or_graphql()?;
        Ok(row.map(Into::into))
    }
}

/// What a change did to one commission.
#[derive(Description)]
pub(in crate::graphql) struct CommissionChange(conversion_change_line::Model);

#[Object(use_type_description)]
impl CommissionChange {
    /// Which commission; begins with `com_`.
    async fn commission_id(&self) -> ID {
        self.0.commission_id.into()
    }

    /// Whose.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// Negative where it took.
    async fn amount(&self) -> Money {
        money::Money::new(self.0.amount_minor, self.0.currency).into()
    }
}

/// Why a conversion is taken back.
#[derive(Clone, Copy, Default, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum RefundReason {
    /// The customer was given money back.
    #[default]
    Refund,
    /// The goods came back.
    ReturnedGoods,
    /// The payment was charged back.
    Chargeback,
    /// The customer did not pay.
    BadDebt,
    /// Found to be fraud.
    Fraud,
    /// The advertiser's server declined it later.
    Declined,
    /// No other reason fits.
    Manual,
}

impl From<RefundReason> for kinds::ConversionReason {
    fn from(reason: RefundReason) -> Self {
        match reason {
            RefundReason::Refund => Self::Refund,
            RefundReason::ReturnedGoods => Self::ReturnedGoods,
            RefundReason::Chargeback => Self::Chargeback,
            RefundReason::BadDebt => Self::BadDebt,
            RefundReason::Fraud => Self::Fraud,
            RefundReason::Declined => Self::Declined,
            RefundReason::Manual => Self::Manual,
        }
    }
}

/// A conversion to take back, in part or whole.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RefundConversionInput {
    /// Makes the call repeatable: the same key and input answers the first call's change.
    idempotency_key: Option<String>,
    /// Begins with `cnv_`.
    id: ID,
    /// How much of the sale, in its currency; with earlier refunds together at most the sale. Absent, all that is left.
    amount: Option<MoneyInput>,
    /// Why.
    #[graphql(default)]
    reason: RefundReason,
    /// Your own reference of the refund: the same again for this conversion is the same refund. At most 255 characters.
    reference: Option<String>,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

/// A reversal to undo.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct UndoReversalInput {
    /// Makes the call repeatable: the same key and input answers the first call's change.
    idempotency_key: Option<String>,
    /// The reversal; begins with `chg_`.
    id: ID,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

/// A conversion whose sale gets another amount.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct AdjustConversionInput {
    /// Makes the call repeatable: the same key and input answers the first call's change.
    idempotency_key: Option<String>,
    /// Begins with `cnv_`.
    id: ID,
    /// What the sale is to be, in its currency: more than what was refunded of it.
    sale_amount: MoneyInput,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

payload! {
    /// The change.
    ConversionChangePayload {
        /// Null when it was refused.
        conversion_change: ConversionChange
    }
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionChangeMutation;

#[Object]
impl ConversionChangeMutation {
    /// Takes a conversion back, in part or whole: a refund, a chargeback, returned goods, a customer who does not pay. Of
    /// each commission the same part is taken: from what is in hold or available, the rest as a debt. Taken back whole it is
    /// REVERSED and counts nowhere.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn refund_conversion(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to take back.")] input: RefundConversionInput,
    ) -> Result<ConversionChangePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let refund = RefundInput {
                id: ids::parse(&["id"], &input.id)?,
                amount: input.amount.map(|amount| amount.money(&["amount"])).transpose()?,
                reason: input.reason.into(),
                reference: input.reference,
                note: input.note,
            };
            services::conversions::refund(services, viewer, key.as_deref(), refund).await
        };
        ConversionChangePayload::answer(result.await)
    }

    /// Undoes a reversal, such as a chargeback that was won: gives again exactly what it took, once. A conversion that it
    /// had taken back whole stands again where it stood.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn undo_reversal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which reversal.")] input: UndoReversalInput,
    ) -> Result<ConversionChangePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let undo = UndoInput { id: ids::parse(&["id"], &input.id).map_err(ServiceError::from)?, note: input.note };
            services::conversions::undo(services, viewer, key.as_deref(), undo).await
        };
        ConversionChangePayload::answer(result.await)
    }

    /// Gives a conversion's sale another amount. Its commissions are reckoned anew by the rules in the versions that they
    /// were reckoned by, and the difference is posted; what was sent stays visible.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn adjust_conversion(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversion and its amount.")] input: AdjustConversionInput,
    ) -> Result<ConversionChangePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let adjust = AdjustInput {
                id: ids::parse(&["id"], &input.id)?,
                sale: input.sale_amount.money(&["saleAmount"])?,
                note: input.note,
            };
            services::conversions::adjust(services, viewer, key.as_deref(), adjust).await
        };
        ConversionChangePayload::answer(result.await)
    }
}
