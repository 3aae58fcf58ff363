//! Postback endpoints: made and changed.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};
use tributary_entity::kinds;

use super::PostbackEndpoint;
use crate::{
    auth::Permission,
    domain::{
        postback::endpoint::{CampaignName, EndpointChange, GoalName, NewEndpoint},
        problem::Problem,
    },
    graphql::{
        change::change,
        context::{Needs, RequestData},
        error::{self, UserError},
        ids,
        kinds::PostbackDialect,
        scalars::CurrencyCode,
    },
    services::{self, Outcome, ServiceError, Services, postbacks::EndpointWithToken},
};

/// What callers of an endpoint call a goal.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct PostbackGoalInput {
    /// As it comes in the parameter, such as TUNE's `goal_id`; at most 255 characters.
    external: String,
    /// The goal's code.
    goal: String,
}

fn goal_names(goals: Vec<PostbackGoalInput>) -> Vec<GoalName> {
    goals.into_iter().map(|name| GoalName { external: name.external, goal: name.goal }).collect()
}

/// What callers of an endpoint call a campaign.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct PostbackCampaignInput {
    /// As it comes in the parameter, such as TUNE's `offer_id`; at most 255 characters.
    external: String,
    /// Begins with `cmp_`.
    campaign_id: ID,
}

fn campaign_names(campaigns: Vec<PostbackCampaignInput>) -> Result<Vec<CampaignName>, Problem> {
    let name = |PostbackCampaignInput { external, campaign_id }| {
        Ok(CampaignName { external, campaign: ids::parse(&["campaigns", "campaignId"], &campaign_id)? })
    };
    campaigns.into_iter().map(name).collect()
}

/// A new postback endpoint.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct CreatePostbackEndpointInput {
    /// Makes the call repeatable; a repeated call does not answer the token again.
    idempotency_key: Option<String>,
    /// For people; at most 200 characters.
    name: String,
    /// By which names parameters go.
    #[graphql(default_with = "kinds::PostbackDialect::Auto.into()")]
    dialect: PostbackDialect,
    /// The code of the goal that a call means which names none.
    default_goal: Option<String>,
    /// What callers call goals, at most 100; other names are taken for codes.
    #[graphql(default)]
    goals: Vec<PostbackGoalInput>,
    /// What callers call campaigns, at most 100; other names than these and our ids are passed over.
    #[graphql(default)]
    campaigns: Vec<PostbackCampaignInput>,
    /// The currency of amounts that come without one; that of the click's campaign if absent.
    default_currency: Option<CurrencyCode>,
    /// What a call has to know besides the token: 16 to 255 characters, in the parameter `secret`, `security_token`,
    /// `secure` or `verification_token`, or in the header `X-Postback-Secret`. Not for pixels.
    secret: Option<String>,
    /// Networks that calls may come from, such as `192.0.2.0/24`, at most 50; from anywhere if there are none. Not for
    /// pixels.
    #[graphql(default)]
    networks: Vec<String>,
}

impl CreatePostbackEndpointInput {
    fn parse(self) -> Result<NewEndpoint, Problem> {
        let currency = self.default_currency.map(|code| code.currency(&["defaultCurrency"]));
        Ok(NewEndpoint {
            name: self.name,
            dialect: self.dialect.into(),
            default_goal: self.default_goal,
            goals: goal_names(self.goals),
            campaigns: campaign_names(self.campaigns)?,
            default_currency: currency.transpose()?,
            secret: self.secret,
            networks: self.networks,
        })
    }
}

/// Changes to a postback endpoint. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct UpdatePostbackEndpointInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pbe_`.
    id: ID,
    /// For people; at most 200 characters.
    name: Option<String>,
    /// By which names parameters go.
    dialect: Option<PostbackDialect>,
    /// The code of the goal that a call means which names none; null: each has to.
    default_goal: MaybeUndefined<String>,
    /// What callers call goals, in place of all that was said before; at most 100.
    goals: Option<Vec<PostbackGoalInput>>,
    /// What callers call campaigns, in place of all that was said before; at most 100.
    campaigns: Option<Vec<PostbackCampaignInput>>,
    /// The currency of amounts that come without one; null: that of the click's campaign.
    default_currency: MaybeUndefined<CurrencyCode>,
    /// What a call has to know besides the token, 16 to 255 characters; null: nothing.
    secret: MaybeUndefined<String>,
    /// Networks that calls may come from, in place of all that was said before; at most 50, from anywhere if there are
    /// none.
    networks: Option<Vec<String>>,
}

impl UpdatePostbackEndpointInput {
    fn parse(self) -> Result<EndpointChange, Problem> {
        let currency = match self.default_currency {
            MaybeUndefined::Value(code) => MaybeUndefined::Value(code.currency(&["defaultCurrency"])?),
            MaybeUndefined::Null => MaybeUndefined::Null,
            MaybeUndefined::Undefined => MaybeUndefined::Undefined,
        };
        Ok(EndpointChange {
            name: self.name,
            dialect: self.dialect.map(Into::into),
            default_goal: change(self.default_goal),
            goals: self.goals.map(goal_names),
            campaigns: self.campaigns.map(campaign_names).transpose()?,
            default_currency: change(currency),
            secret: change(self.secret),
            networks: self.networks,
        })
    }
}

/// Names a postback endpoint whose state is to change.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct PostbackEndpointStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pbe_`.
    id: ID,
}

/// Names a postback endpoint that gets another token.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RotatePostbackTokenInput {
    /// Makes the call repeatable; a repeated call does not answer the token again.
    idempotency_key: Option<String>,
    /// Begins with `pbe_`.
    id: ID,
}

/// The endpoint after the call, and the one sight of its token.
#[derive(SimpleObject)]
pub(in crate::graphql) struct PostbackTokenPayload {
    /// Null when the call was refused.
    postback_endpoint: Option<PostbackEndpoint>,
    /// Told this once: null when the call is replayed. Lost, it is replaced by `rotatePostbackToken`.
    token: Option<String>,
    /// Where calls are sent: the address with the token in it. Null when there is no token to tell.
    url: Option<String>,
    /// The idempotency key was used before with the same input: this is that call's result, nothing was done now.
    replayed: bool,
    /// Why nothing was done; empty when it was.
    user_errors: Vec<UserError>,
}

impl PostbackTokenPayload {
    fn answer(services: &Services, result: Result<Outcome<EndpointWithToken>, ServiceError>) -> Result<Self> {
        match result {
            Ok(Outcome { value: EndpointWithToken { row, token }, replayed }) => {
                let kind = if row.dialect == kinds::PostbackDialect::Pixel { "pixel" } else { "postback" };
                Ok(Self {
                    url: token.as_ref().map(|token| format!("{}/{kind}/{token}", services.settings.base_url())),
                    postback_endpoint: Some(row.into()),
                    token,
                    replayed,
                    user_errors: Vec::new(),
                })
            }
            Err(ServiceError::Refused(problems)) => Ok(Self {
                postback_endpoint: None,
                token: None,
                url: None,
                replayed: false,
                user_errors: problems.into_iter().map(Into::into).collect(),
            }),
            Err(error) => Err(error::to_graphql(error)),
        }
    }
}

payload! {
    /// The endpoint after the call.
    PostbackEndpointPayload {
        /// Null when the call was refused.
        postback_endpoint: PostbackEndpoint
    }
}

#[derive(Default)]
pub(in crate::graphql) struct PostbackMutation;

#[Object]
impl PostbackMutation {
    /// Makes a postback endpoint. Its token records conversions, and no more.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn create_postback_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: CreatePostbackEndpointInput,
    ) -> Result<PostbackTokenPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::postbacks::create(services, viewer, key.as_deref(), input.parse()?).await };
        PostbackTokenPayload::answer(services, result.await)
    }

    /// Changes how an endpoint's calls are read, and from whom they are taken.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn update_postback_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdatePostbackEndpointInput,
    ) -> Result<PostbackEndpointPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            services::postbacks::update(services, viewer, key.as_deref(), id, input.parse()?).await
        };
        PostbackEndpointPayload::answer(result.await)
    }

    /// Refuses an endpoint's calls from now on.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn disable_postback_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: PostbackEndpointStatusInput,
    ) -> Result<PostbackEndpointPayload> {
        set_status(ctx, input, kinds::PostbackEndpointStatus::Disabled).await
    }

    /// Takes an endpoint's calls again.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn enable_postback_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: PostbackEndpointStatusInput,
    ) -> Result<PostbackEndpointPayload> {
        set_status(ctx, input, kinds::PostbackEndpointStatus::Active).await
    }

    /// Gives an endpoint another token. The one before opens nothing from then on: for a change without a pause make
    /// another endpoint.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn rotate_postback_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: RotatePostbackTokenInput,
    ) -> Result<PostbackTokenPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::postbacks::rotate(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PostbackTokenPayload::answer(services, result.await)
    }
}

async fn set_status(
    ctx: &Context<'_>,
    input: PostbackEndpointStatusInput,
    status: kinds::PostbackEndpointStatus,
) -> Result<PostbackEndpointPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::postbacks::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    PostbackEndpointPayload::answer(result.await)
}
