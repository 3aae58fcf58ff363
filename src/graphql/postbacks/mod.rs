//! Postback endpoints, and the calls that they refused.

mod mutations;

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{postback_call, postback_endpoint};

pub(super) use self::mutations::PostbackMutation;
use super::{
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    conversions::Conversion,
    error::IntoGraphql,
    ids,
    kinds::{PostbackDialect, PostbackEndpointStatus},
    scalars::CurrencyCode,
};
use crate::{
    auth::Permission,
    domain::{
        page::Order,
        postback::endpoint::{self, CallFilter, CampaignName},
        problem::Problem,
    },
    services::{self, ServiceError, postbacks::refusals},
};

/// An address with a token in it, at which other servers, or pages, send conversions.
#[derive(Description)]
pub(super) struct PostbackEndpoint(pub postback_endpoint::Model);

impl From<postback_endpoint::Model> for PostbackEndpoint {
    fn from(row: postback_endpoint::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PostbackEndpoint {
    /// Begins with `pbe_`. Not the token.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The token's last four characters.
    async fn hint(&self) -> &str {
        &self.0.hint
    }

    /// By which names parameters go.
    async fn dialect(&self) -> PostbackDialect {
        self.0.dialect.into()
    }

    /// The code of the goal that a call means which names none; null where each has to.
    async fn default_goal(&self) -> Option<&str> {
        self.0.default_goal.as_deref()
    }

    /// What callers call goals; at most 100. Other names are taken for codes.
    async fn goals(&self) -> Result<Vec<PostbackGoal>> {
        let goals = endpoint::parse_goals(&self.0.goals)
            .map_err(|_| ServiceError::Internal("an endpoint's goals cannot be read"))
            .or_graphql()?;
        Ok(goals.into_iter().map(|name| PostbackGoal { external: name.external, goal: name.goal }).collect())
    }

    /// What callers call campaigns; at most 100. Other names than these and our ids are passed over.
    async fn campaigns(&self) -> Result<Vec<PostbackCampaign>> {
        let campaigns = endpoint::parse_campaigns(&self.0.campaigns)
            .map_err(|_| ServiceError::Internal("an endpoint's campaigns cannot be read"))
            .or_graphql()?;
        let campaign =
            |name: CampaignName| PostbackCampaign { external: name.external, campaign_id: name.campaign.into() };
        Ok(campaigns.into_iter().map(campaign).collect())
    }

    /// The currency of amounts that come without one; null: that of the click's campaign.
    async fn default_currency(&self) -> Option<CurrencyCode> {
        self.0.default_currency.map(Into::into)
    }

    /// Whether a call has to know a secret besides the token.
    async fn has_secret(&self) -> bool {
        self.0.secret_hash.is_some()
    }

    /// Networks that calls may come from, at most 50; none: from anywhere.
    async fn networks(&self) -> Vec<String> {
        endpoint::networks(&self.0).map(str::to_owned).collect()
    }

    /// Whether it takes calls.
    async fn status(&self) -> PostbackEndpointStatus {
        self.0.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.updated_at
    }
}

/// What callers of an endpoint call a goal.
#[derive(SimpleObject)]
pub(super) struct PostbackGoal {
    /// As it comes in the parameter.
    external: String,
    /// The goal's code.
    goal: String,
}

/// What callers of an endpoint call a campaign.
#[derive(SimpleObject)]
pub(super) struct PostbackCampaign {
    /// As it comes in the parameter.
    external: String,
    /// Begins with `cmp_`.
    campaign_id: ID,
}

/// A call that an endpoint refused. A minute has a hundred at most, per endpoint and node; they are kept for
/// `TRIBUTARY_POSTBACK_CALL_DAYS`.
#[derive(Description)]
pub(super) struct PostbackCall(postback_call::Model);

/// A parameter of a call.
#[derive(SimpleObject)]
pub(super) struct PostbackParameter {
    /// As sent, cut at 255 characters.
    name: String,
    /// As sent, cut at 255 characters; `***` for secrets and what tells of persons.
    value: String,
}

#[Object(use_type_description)]
impl PostbackCall {
    /// Begins with `pbc_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The endpoint that refused it.
    async fn endpoint(&self, ctx: &Context<'_>) -> Result<PostbackEndpoint> {
        let row = ctx.loaders()?.postback_endpoint().load_one(self.0.endpoint_id).await.or_graphql()?;
        row.map(PostbackEndpoint).ok_or(ServiceError::Internal("a call without its endpoint")).or_graphql()
    }

    /// When it came.
    async fn received_at(&self) -> tributary_entity::Instant {
        self.0.received_at
    }

    /// `GET` or `POST`.
    async fn method(&self) -> &str {
        &self.0.method
    }

    /// Of address and body, in the order they came; at most 50.
    async fn parameters(&self) -> Result<Vec<PostbackParameter>> {
        let pairs: Vec<(String, String)> = serde_json::from_str(&self.0.parameters)
            .map_err(|_| ServiceError::Internal("stored parameters cannot be read"))
            .or_graphql()?;
        Ok(pairs.into_iter().map(|(name, value)| PostbackParameter { name, value }).collect())
    }

    /// The status that it was answered with.
    async fn http_status(&self) -> i32 {
        self.0.http_status
    }

    /// Why: a code of `userErrors`, a reason of conversions, or `ADDRESS_NOT_ALLOWED`, `SECRET_WRONG`, `NOT_A_PIXEL`,
    /// `ENDPOINT_DISABLED`, `RATE_LIMITED`.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// For people.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// The conversion, where one was recorded as `REJECTED`.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion(&self, ctx: &Context<'_>) -> Result<Option<Conversion>> {
        let Some(id) = self.0.conversion_id else { return Ok(None) };
        Ok(ctx.loaders()?.conversion().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// Refused calls before this one that are not listed, as there were too many.
    async fn unlisted_before(&self) -> i64 {
        self.0.unlisted_before
    }
}

/// Which refused calls. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct PostbackCallFilterInput {
    /// Of one of these endpoints; each begins with `pbe_`.
    endpoint_ids: Option<Vec<ID>>,
}

impl PostbackCallFilterInput {
    fn parse(&self) -> Result<CallFilter, Problem> {
        let endpoint_ids = ids::parse_list(&["filter", "endpointIds"], self.endpoint_ids.as_deref())?;
        Ok(CallFilter { endpoint_ids })
    }
}

#[derive(Default)]
pub(super) struct PostbackQuery;

#[Object]
impl PostbackQuery {
    /// The tenant's postback endpoints, newest first, disabled ones included.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn postback_endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PostbackEndpoint>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("PostbackEndpoint", Order::CreatedDesc, first, after, last, before)?;
        let page = services::postbacks::list(services, viewer, &request).await.or_graphql()?;
        let count = TotalCount::by(async |services, viewer| services::postbacks::count(&services, &viewer).await);
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), PostbackEndpoint))
    }

    /// Calls that were refused, newest first: what was wrong with them.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn postback_calls(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which calls.")] filter: Option<PostbackCallFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PostbackCall>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("PostbackCall", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = refusals::page(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { refusals::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), PostbackCall))
    }
}
