//! Click rates: what clicks of a campaign, or of a group or one affiliate in it, earn.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::{click_accrual, kinds};

use super::{
    affiliate_groups::AffiliateGroup,
    affiliates::Affiliate,
    campaigns::Campaign,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::RuleStatus,
    scalars::Decimal,
};
use crate::{
    auth::Permission,
    domain::{
        click_rate::{self as rules, NewRate, Rate},
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// For how many clicks a rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ClickRateKind")]
pub(super) enum ClickRateKind {
    /// For each unique valid click (CPC).
    PerClick,
    /// For a thousand unique valid clicks (CPM of clicks: impressions are not recorded).
    PerMille,
}

/// What unique valid clicks earn. Its terms are versioned: clicks earn by the version of their moment. The modifier of the
/// affiliate's group comes on top.
#[derive(Description)]
pub(super) struct ClickRate(pub Rate);

impl From<Rate> for ClickRate {
    fn from(rate: Rate) -> Self {
        Self(rate)
    }
}

#[Object(use_type_description)]
impl ClickRate {
    /// Begins with `crt_`.
    pub(super) async fn id(&self) -> ID {
        self.0.head.id.into()
    }

    /// Whose clicks.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.head.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// The affiliate whose clicks earn it. With `group` null as well, it is for all others of the campaign.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.head.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// The group whose affiliates' clicks earn it, of those without a rate of their own.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn group(&self, ctx: &Context<'_>) -> Result<Option<AffiliateGroup>> {
        let Some(id) = self.0.head.group_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate_group().load_one(id).await.or_graphql()?.map(AffiliateGroup))
    }

    /// For how many clicks it is.
    async fn kind(&self) -> ClickRateKind {
        self.0.terms.kind.into()
    }

    /// In the campaign's currency; it may be less than the currency's smallest unit.
    async fn rate(&self) -> Decimal {
        Decimal(rules::format_micros(self.0.terms.rate_micros))
    }

    /// The version that new clicks earn by; counts from 1.
    async fn version(&self) -> i32 {
        self.0.terms.version
    }

    /// Whether it is in use.
    async fn status(&self) -> RuleStatus {
        self.0.head.status.into()
    }

    /// When it was set first.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.head.created_at
    }

    /// When it was last set, or archived.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.head.updated_at
    }
}

/// What clicks of an affiliate in a campaign earned that is not posted yet: its whole units are, when the tenant's day is
/// over.
#[derive(SimpleObject)]
pub(super) struct ClickAccrual {
    /// Unique valid clicks that earned, since it was posted last.
    clicks: i64,
    /// In the campaign's currency, to a millionth, with what remained when it was posted last.
    accrued: Decimal,
}

impl From<click_accrual::Model> for ClickAccrual {
    fn from(row: click_accrual::Model) -> Self {
        Self { clicks: row.clicks, accrued: Decimal(rules::format_micros(row.accrued_micros)) }
    }
}

/// What clicks earn: exactly one of these, in the campaign's currency.
#[derive(Clone, OneofObject)]
pub(super) enum ClickRateTermsInput {
    /// For each unique valid click; at most 6 digits after the point, such as `"0.015"`.
    PerClick(Decimal),
    /// For a thousand unique valid clicks; at most 3 digits after the point, such as `"2.5"`.
    PerMille(Decimal),
}

impl ClickRateTermsInput {
    /// The kind, and the rate in millionths of the currency's unit. Problems name fields of `terms`.
    pub(super) fn parse(&self) -> Result<(kinds::ClickRateKind, i64), Problem> {
        let (kind, text, field) = match self {
            Self::PerClick(text) => (kinds::ClickRateKind::PerClick, text, "perClick"),
            Self::PerMille(text) => (kinds::ClickRateKind::PerMille, text, "perMille"),
        };
        Ok((kind, rules::parse_rate(&["terms", field], kind, &text.0)?))
    }
}

/// What clicks of a campaign, or of a group or one affiliate in it, are to earn.
#[derive(Clone, InputObject)]
pub(super) struct SetClickRateInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `aff_`. Absent, with `groupId` too, sets the rate of all affiliates without one of their own or of their
    /// group.
    affiliate_id: Option<ID>,
    /// For the affiliates of this group without a rate of their own; begins with `agr_`. Not with `affiliateId`.
    group_id: Option<ID>,
    /// The rate.
    terms: ClickRateTermsInput,
}

impl SetClickRateInput {
    fn parse(self) -> Result<NewRate, Problem> {
        let (kind, rate_micros) = self.terms.parse()?;
        Ok(NewRate {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: self.affiliate_id.map(|id| ids::parse(&["affiliateId"], &id)).transpose()?,
            group_id: ids::parse_optional(&["groupId"], self.group_id.as_ref())?,
            kind,
            rate_micros,
        })
    }
}

/// Names a click rate that is to end.
#[derive(Clone, InputObject)]
pub(super) struct ArchiveClickRateInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `crt_`.
    id: ID,
}

payload! {
    /// The click rate after the call.
    ClickRatePayload {
        /// Null when the call was refused.
        click_rate: ClickRate
    }
}

#[derive(Default)]
pub(super) struct ClickRateMutation;

#[Object]
impl ClickRateMutation {
    /// Says what unique valid clicks earn, from the next one on.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn set_click_rate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rate.")] input: SetClickRateInput,
    ) -> Result<ClickRatePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::click_rates::set(services, viewer, key.as_deref(), input.parse()?).await };
        ClickRatePayload::answer(result.await)
    }

    /// Ends a click rate until it is set again. What has accrued is posted all the same.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_click_rate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rate.")] input: ArchiveClickRateInput,
    ) -> Result<ClickRatePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::click_rates::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        ClickRatePayload::answer(result.await)
    }
}
