//! Balances converted into another currency.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::{Instant, fx_conversion, ids::AffiliateId, money};

use super::{
    affiliates::Affiliate,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    fx_rates::FxQuote,
    ids,
    scalars::{CurrencyCode, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::problem::Problem,
    services::{self, ServiceError, fx_conversions::ConvertInput},
};

/// A part of an affiliate's available balance that became one of another currency.
#[derive(Description)]
pub(super) struct FxConversion(pub fx_conversion::Model);

impl From<fx_conversion::Model> for FxConversion {
    fn from(row: fx_conversion::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl FxConversion {
    /// Begins with `fxc_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Whose balance.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Affiliate> {
        let row = ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?;
        Ok(Affiliate(row.ok_or(ServiceError::Internal("a conversion without its affiliate")).or_graphql()?))
    }

    /// What was taken.
    async fn from(&self) -> Money {
        money::Money::new(self.0.from_minor, self.0.from_currency).into()
    }

    /// What was given for it, rounded down; debts in this currency were paid off first.
    async fn to(&self) -> Money {
        money::Money::new(self.0.to_minor, self.0.to_currency).into()
    }

    /// By which rate.
    async fn fx(&self) -> Result<FxQuote> {
        FxQuote::read(&self.0.fx).ok_or(ServiceError::Internal("a stored quote cannot be read")).or_graphql()
    }

    /// Why.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// When.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

#[derive(Default)]
pub(super) struct FxConversionQuery;

#[Object]
impl FxConversionQuery {
    /// Balances that were converted into another currency. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn fx_conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one of these affiliates; each begins with `aff_`.")] affiliate_ids: Option<Vec<ID>>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<FxConversion>> {
        let (services, viewer) = ctx.caller()?;
        let order = order.unwrap_or_default().into();
        let request = connection::request("FxConversion", order, first, after, last, before)?;
        let ids: Option<Vec<AffiliateId>> =
            ids::parse_list(&["affiliateIds"], affiliate_ids.as_deref()).or_graphql()?;
        let page = services::fx_conversions::list(services, viewer, ids.as_deref(), &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let ids = ids.clone();
            async move { services::fx_conversions::count(&services, &viewer, ids.as_deref()).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), FxConversion))
    }
}

/// A balance to convert.
#[derive(Clone, InputObject)]
pub(super) struct ConvertBalanceInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Whose; begins with `aff_`.
    affiliate_id: ID,
    /// How much of what is available.
    from: MoneyInput,
    /// Into which currency.
    to: CurrencyCode,
    /// Why; at most 2,000 characters.
    note: Option<String>,
}

impl ConvertBalanceInput {
    fn parse(self) -> Result<ConvertInput, Problem> {
        let to = self.to.currency(&[]).map_err(|problem| Problem { field: vec!["to".to_owned()], ..problem })?;
        Ok(ConvertInput {
            affiliate_id: ids::parse(&["affiliateId"], &self.affiliate_id)?,
            from: self.from.money(&["from"])?,
            to,
            note: self.note,
        })
    }
}

payload! {
    /// The conversion after the call.
    FxConversionPayload {
        /// Null when the call was refused.
        fx_conversion: FxConversion
    }
}

#[derive(Default)]
pub(super) struct FxConversionMutation;

#[Object]
impl FxConversionMutation {
    /// Converts a part of an affiliate's available balance into another currency, by the rate of today.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn convert_balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to convert.")] input: ConvertBalanceInput,
    ) -> Result<FxConversionPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result =
            async { services::fx_conversions::convert(services, viewer, key.as_deref(), input.parse()?).await };
        FxConversionPayload::answer(result.await)
    }
}
