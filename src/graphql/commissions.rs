//! Commissions.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::{Instant, affiliate, commission, ids::ConversionId, money};

use super::{
    affiliates::Affiliate,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    conversions::Conversion,
    error::IntoGraphql,
    explanation::{CommissionClamp, CommissionExplanation},
    ids,
    kinds::CommissionStatus,
    scalars::Money,
};
use crate::{
    auth::Permission,
    domain::{
        commission::{CommissionFilter, net},
        page::Order,
        problem::Problem,
    },
    services,
};

/// What one affiliate earns from one conversion, or on what another below it earns.
#[derive(Description)]
pub(super) struct Commission {
    pub row: commission::Model,
    /// Loaded before, in subscriptions.
    pub affiliate: Option<affiliate::Model>,
    /// Whose own commission it is on. Loaded before, in subscriptions of who is told.
    pub base: Option<affiliate::Model>,
}

impl From<commission::Model> for Commission {
    fn from(row: commission::Model) -> Self {
        Self { row, affiliate: None, base: None }
    }
}

#[Object(use_type_description)]
impl Commission {
    /// Begins with `com_`.
    pub(super) async fn id(&self) -> ID {
        self.row.id.into()
    }

    /// The conversion that earned it. Null for an affiliate where it is an override: that conversion is another's.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion(&self, ctx: &Context<'_>) -> Result<Option<Conversion>> {
        let row = ctx.loaders()?.conversion().load_one(self.row.conversion_id).await.or_graphql()?;
        Ok(row.map(Into::into))
    }

    /// Who earned it.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        match &self.affiliate {
            Some(row) => Ok(Some(Affiliate(row.clone()))),
            None => Ok(ctx.loaders()?.affiliate().load_one(self.row.affiliate_id).await.or_graphql()?.map(Affiliate)),
        }
    }

    /// 0 is the affiliate's own. 1 is an override: earned as the parent of who earned that; 2 as the parent's parent, and so
    /// on.
    async fn level(&self) -> i32 {
        self.row.level
    }

    /// Of an override, whose own commission it is on. Null otherwise, and for an affiliate, who is not told.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn base_affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        if let Some(row) = &self.base {
            return Ok(Some(Affiliate(row.clone())));
        }
        let Some(id) = self.row.base_affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// Where it stands.
    async fn status(&self) -> CommissionStatus {
        self.row.status.into()
    }

    /// What was reckoned first, in the campaign's currency.
    async fn amount(&self) -> Money {
        money::Money::new(self.row.amount_minor, self.row.currency).into()
    }

    /// What attribution runs, tiers and adjusted sales added since; negative where they took.
    async fn adjustment(&self) -> Money {
        money::Money::new(self.row.adjusted_minor, self.row.currency).into()
    }

    /// What a cap cut it to when a tier or another sale amount raised it last, with what it had before; null where none did.
    async fn adjustment_clamp(&self) -> Result<Option<CommissionClamp>> {
        let clamp = self.row.clamp.as_deref().map(|text| CommissionClamp::read(text, self.row.currency)).transpose()?;
        Ok(clamp)
    }

    /// What was taken back of both together, as a positive amount.
    async fn reversed(&self) -> Money {
        money::Money::new(self.row.reversed_minor, self.row.currency).into()
    }

    /// What it is now: `amount` and `adjustment` less `reversed`.
    async fn total(&self) -> Money {
        net(&self.row).into()
    }

    /// Why this amount.
    async fn explanation(&self) -> Result<CommissionExplanation> {
        CommissionExplanation::read(&self.row.explanation)
    }

    /// From when it is payable; null while its conversion is not approved.
    async fn payable_at(&self) -> Option<Instant> {
        self.row.payable_at
    }

    /// When the hold ended; null before.
    async fn released_at(&self) -> Option<Instant> {
        self.row.released_at
    }

    /// When it was reckoned.
    async fn created_at(&self) -> Instant {
        self.row.created_at
    }
}

/// Which commissions. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct CommissionFilterInput {
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// Of one of these conversions.
    conversion_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<CommissionStatus>>,
    /// On one of these levels: 0 is an affiliate's own, the others are overrides.
    levels: Option<Vec<i32>>,
}

impl CommissionFilterInput {
    fn parse(self) -> Result<CommissionFilter, Problem> {
        Ok(CommissionFilter {
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            conversion_ids: ids::parse_list::<ConversionId>(
                &["filter", "conversionIds"],
                self.conversion_ids.as_deref(),
            )?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            levels: self.levels,
        })
    }
}

#[derive(Default)]
pub(super) struct CommissionQuery;

#[Object]
impl CommissionQuery {
    /// The commissions that the viewer may see, newest first.
    #[graphql(guard = "Needs(Permission::ReadCommissions)")]
    async fn commissions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which commissions.")] filter: Option<CommissionFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Commission>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Commission", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::commissions::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::commissions::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Into::into))
    }
}
