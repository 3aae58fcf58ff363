//! Affiliate groups.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::affiliate_group;

use super::{
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    scalars::Decimal,
};
use crate::{
    auth::Permission,
    domain::{
        affiliate_group::{GroupChange, NewGroup},
        rule::{format_percent, parse_percent},
    },
    services,
};

/// Affiliates who are paid alike: with a percentage on top, or by rules of their own.
#[derive(Description)]
pub(super) struct AffiliateGroup(pub affiliate_group::Model);

impl From<affiliate_group::Model> for AffiliateGroup {
    fn from(row: affiliate_group::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl AffiliateGroup {
    /// Begins with `agr_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// For people; unique.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Percent on top of whatever a rule pays its affiliates.
    async fn modifier_percent(&self) -> Decimal {
        Decimal(format_percent(self.0.modifier_ppm))
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

/// A new affiliate group.
#[derive(Clone, InputObject)]
pub(super) struct CreateAffiliateGroupInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// For people; unique, at most 200 characters.
    name: String,
    /// Percent on top of whatever a rule pays: 0 to 100, at most 4 digits after the point.
    modifier_percent: Option<Decimal>,
}

/// Changes to an affiliate group. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateAffiliateGroupInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `agr_`.
    id: ID,
    /// For people; unique, at most 200 characters.
    name: Option<String>,
    /// Percent on top of whatever a rule pays, from now on: 0 to 100, at most 4 digits after the point.
    modifier_percent: Option<Decimal>,
}

payload! {
    /// The affiliate group after the call.
    AffiliateGroupPayload {
        /// Null when the call was refused.
        affiliate_group: AffiliateGroup
    }
}

#[derive(Default)]
pub(super) struct AffiliateGroupQuery;

#[Object]
impl AffiliateGroupQuery {
    /// The tenant's affiliate groups, oldest first; at most 100.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn affiliate_groups(&self, ctx: &Context<'_>) -> Result<Vec<AffiliateGroup>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::affiliate_groups::all(services, viewer).await.or_graphql()?;
        Ok(rows.into_iter().map(AffiliateGroup).collect())
    }
}

#[derive(Default)]
pub(super) struct AffiliateGroupMutation;

#[Object]
impl AffiliateGroupMutation {
    /// Makes an affiliate group; at most 100.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn create_affiliate_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The group.")] input: CreateAffiliateGroupInput,
    ) -> Result<AffiliateGroupPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async {
            let modifier =
                input.modifier_percent.as_ref().map(|percent| parse_percent(&["modifierPercent"], &percent.0));
            let new = NewGroup { name: input.name.clone(), modifier_ppm: modifier.transpose()?.unwrap_or(0) };
            services::affiliate_groups::create(services, viewer, key, new).await
        };
        AffiliateGroupPayload::answer(result.await)
    }

    /// Changes an affiliate group. Past commissions keep what they were reckoned with.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn update_affiliate_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateAffiliateGroupInput,
    ) -> Result<AffiliateGroupPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let modifier =
                input.modifier_percent.as_ref().map(|percent| parse_percent(&["modifierPercent"], &percent.0));
            let change = GroupChange { name: input.name.clone(), modifier_ppm: modifier.transpose()? };
            services::affiliate_groups::update(services, viewer, key, id, change).await
        };
        AffiliateGroupPayload::answer(result.await)
    }
}
