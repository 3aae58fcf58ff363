//! Goals.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::goal;

use super::{
    context::{Needs, RequestData},
    ids,
    kinds::GoalStatus,
};
use crate::{
    auth::Permission,
    domain::{
        goal::{GoalChange, NewGoal},
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// An action type inside a campaign, such as a sale or a sign-up.
#[derive(Description)]
pub(super) struct Goal(pub goal::Model);

impl From<goal::Model> for Goal {
    fn from(row: goal::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Goal {
    /// Begins with `gol_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What senders of conversions name; unique in the campaign.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether a click converts at most once for this goal.
    async fn once_per_click(&self) -> bool {
        self.0.once_per_click
    }

    /// Whether it takes conversions.
    async fn status(&self) -> GoalStatus {
        self.0.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }
}

/// A new goal.
#[derive(Clone, InputObject)]
pub(super) struct CreateGoalInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// What senders of conversions will name; 1 to 40 of a-z, 0-9, `_` and `-`, unique in the campaign for ever.
    code: String,
    /// For people; at most 200 characters.
    name: String,
    /// Whether a click converts at most once for this goal.
    #[graphql(default = false)]
    once_per_click: bool,
}

impl CreateGoalInput {
    fn parse(self) -> Result<NewGoal, Problem> {
        Ok(NewGoal {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            code: self.code,
            name: self.name,
            once_per_click: self.once_per_click,
        })
    }
}

/// Changes to a goal. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateGoalInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `gol_`.
    id: ID,
    /// For people; at most 200 characters.
    name: Option<String>,
    /// Holds for conversions from now on.
    once_per_click: Option<bool>,
}

/// Names a goal whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct GoalStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `gol_`.
    id: ID,
}

payload! {
    /// The goal after the call.
    GoalPayload {
        /// Null when the call was refused.
        goal: Goal
    }
}

#[derive(Default)]
pub(super) struct GoalMutation;

#[Object]
impl GoalMutation {
    /// Adds a goal to a campaign; at most 100 in each.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn create_goal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The goal.")] input: CreateGoalInput,
    ) -> Result<GoalPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::goals::create(services, viewer, key.as_deref(), input.parse()?).await };
        GoalPayload::answer(result.await)
    }

    /// Changes a goal. Past conversions keep what they were decided by.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn update_goal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateGoalInput,
    ) -> Result<GoalPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let change = GoalChange { name: input.name, once_per_click: input.once_per_click };
            services::goals::update(services, viewer, input.idempotency_key.as_deref(), id, change).await
        };
        GoalPayload::answer(result.await)
    }

    /// Ends a goal for good: it takes no more conversions, and its code stays taken.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_goal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which goal.")] input: GoalStatusInput,
    ) -> Result<GoalPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::goals::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        GoalPayload::answer(result.await)
    }
}
