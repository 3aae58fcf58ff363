//! Awards: what affiliates get or lose apart from conversions.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, award, ids::CampaignId, kinds, money};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    ledger::Journal,
    scalars::{Decimal, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        award::{AwardFilter, Direction, NewAdjustment, NewBonus, Step},
        page::Order,
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// What an award is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::AwardKind")]
pub(super) enum AwardKind {
    /// A bonus.
    Bonus,
    /// Something put right by a person.
    Adjustment,
    /// What clicks earned in a period.
    Clicks,
    /// What an affiliate has of its customers' net revenue in a period, and for those who qualified.
    Revenue,
}

/// Where an award stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::AwardStatus")]
pub(super) enum AwardStatus {
    /// In its hold period.
    Pending,
    /// Payable; of one that takes, taken.
    Available,
}

/// What an affiliate got or lost apart from conversions. Never changed: what was wrong is put right by another.
#[derive(Description)]
pub(super) struct Award(pub award::Model);

impl From<award::Model> for Award {
    fn from(row: award::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Award {
    /// Begins with `awd_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What it is for.
    async fn kind(&self) -> AwardKind {
        self.0.kind.into()
    }

    /// Whose.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// The campaign it is for, if it is for one.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.0.campaign_id else { return Ok(None) };
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// In the affiliate's favour; negative where it takes.
    async fn amount(&self) -> Money {
        money::Money::new(self.0.amount_minor, self.0.currency).into()
    }

    /// Where it stands.
    async fn status(&self) -> AwardStatus {
        self.0.status.into()
    }

    /// Why, for the affiliate to read.
    async fn reason(&self) -> &str {
        &self.0.reason
    }

    /// How the amount came about, in at most 10 steps; empty where a person said it.
    async fn explanation(&self) -> Result<Vec<AwardStep>> {
        let Some(json) = &self.0.explanation else { return Ok(Vec::new()) };
        let steps: std::result::Result<Vec<Step>, _> = serde_json::from_str(json);
        let steps = steps.map_err(|_| ServiceError::Internal("a stored explanation cannot be read")).or_graphql()?;
        Ok(steps.into_iter().map(|step| AwardStep { name: step.name, value: Decimal(step.value) }).collect())
    }

    /// Who posted it.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// What it posted.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn journal(&self, ctx: &Context<'_>) -> Result<Option<Journal>> {
        Ok(ctx.loaders()?.journal().load_one(self.0.journal_id).await.or_graphql()?.map(Journal))
    }

    /// From when it is payable.
    async fn payable_at(&self) -> Instant {
        self.0.payable_at
    }

    /// When the hold ended; null before.
    async fn released_at(&self) -> Option<Instant> {
        self.0.released_at
    }

    /// When it was posted.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

/// A step of how an amount came about.
#[derive(SimpleObject)]
pub(super) struct AwardStep {
    /// What it is.
    name: String,
    /// How much.
    value: Decimal,
}

/// Which awards. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct AwardFilterInput {
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// For one of these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these kinds.
    kinds: Option<Vec<AwardKind>>,
    /// In one of these states.
    statuses: Option<Vec<AwardStatus>>,
}

impl AwardFilterInput {
    fn parse(self) -> Result<AwardFilter, Problem> {
        Ok(AwardFilter {
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            campaign_ids: ids::parse_list::<CampaignId>(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            kinds: self.kinds.map(|kinds| kinds.into_iter().map(Into::into).collect()),
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
        })
    }
}

#[derive(Default)]
pub(super) struct AwardQuery;

#[Object]
impl AwardQuery {
    /// The awards that the viewer may see, newest first. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn awards(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which awards.")] filter: Option<AwardFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Award>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Award", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::awards::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::awards::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Award))
    }
}

/// A bonus.
#[derive(Clone, InputObject)]
pub(super) struct PostBonusInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    affiliate_id: ID,
    /// Begins with `cmp_`. The campaign it is for, if it is for one.
    campaign_id: Option<ID>,
    /// More than nothing.
    amount: MoneyInput,
    /// For the affiliate to read; at most 2,000 characters.
    reason: String,
    /// From now to payable; 0 makes it payable at once. At most 366 days.
    #[graphql(default = 0)]
    hold_seconds: i64,
}

impl PostBonusInput {
    fn parse(self) -> Result<NewBonus, Problem> {
        Ok(NewBonus {
            affiliate_id: ids::parse(&["affiliateId"], &self.affiliate_id)?,
            campaign_id: self.campaign_id.map(|id| ids::parse(&["campaignId"], &id)).transpose()?,
            amount: self.amount.money(&["amount"])?,
            reason: self.reason,
            hold_secs: self.hold_seconds,
        })
    }
}

/// Which way an adjustment goes.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum AdjustmentDirection {
    /// To the affiliate, payable at once.
    Give,
    /// From the affiliate: what is available, and the rest becomes a debt.
    Take,
}

/// Something put right by a person.
#[derive(Clone, InputObject)]
pub(super) struct PostAdjustmentInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    affiliate_id: ID,
    /// Which way.
    direction: AdjustmentDirection,
    /// More than nothing.
    amount: MoneyInput,
    /// For the affiliate to read; at most 2,000 characters.
    reason: String,
}

impl PostAdjustmentInput {
    fn parse(self) -> Result<NewAdjustment, Problem> {
        Ok(NewAdjustment {
            affiliate_id: ids::parse(&["affiliateId"], &self.affiliate_id)?,
            direction: match self.direction {
                AdjustmentDirection::Give => Direction::Give,
                AdjustmentDirection::Take => Direction::Take,
            },
            amount: self.amount.money(&["amount"])?,
            reason: self.reason,
        })
    }
}

payload! {
    /// The award that was posted.
    AwardPayload {
        /// Null when the call was refused.
        award: Award
    }
}

#[derive(Default)]
pub(super) struct AwardMutation;

#[Object]
impl AwardMutation {
    /// Gives an affiliate a bonus.
    #[graphql(guard = "Needs(Permission::PostAwards)")]
    async fn post_bonus(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The bonus.")] input: PostBonusInput,
    ) -> Result<AwardPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::awards::post_bonus(services, viewer, key.as_deref(), input.parse()?).await };
        AwardPayload::answer(result.await)
    }

    /// Gives an affiliate an amount, or takes one, to put something right.
    #[graphql(guard = "Needs(Permission::PostAwards)")]
    async fn post_adjustment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The adjustment.")] input: PostAdjustmentInput,
    ) -> Result<AwardPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result =
            async { services::awards::post_adjustment(services, viewer, key.as_deref(), input.parse()?).await };
        AwardPayload::answer(result.await)
    }
}
