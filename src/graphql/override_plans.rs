//! Override plans: what those above an affiliate earn on its commissions.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, OneofObject, Result};
use tributary_entity::override_plan_version;

use super::{
    campaigns::Campaign,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::RuleStatus,
    scalars::{Decimal, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        override_plan::{self as rules, Level, NewPlan, Override, Plan},
        problem::Problem,
        rule,
    },
    services::{self, ServiceError},
};

/// What those above an affiliate earn on its commissions, on top of them: in one campaign, or in all that have no plan of
/// their own. Its levels are versioned: past conversions keep theirs.
#[derive(Description)]
pub(super) struct OverridePlan(pub Plan);

impl From<Plan> for OverridePlan {
    fn from(plan: Plan) -> Self {
        Self(plan)
    }
}

#[Object(use_type_description)]
impl OverridePlan {
    /// Begins with `ovp_`.
    pub(super) async fn id(&self) -> ID {
        self.0.head.id.into()
    }

    /// The campaign that it is for; null is the tenant's default.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.0.head.campaign_id else { return Ok(None) };
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// The version that new conversions are decided by; counts from 1.
    async fn version(&self) -> i32 {
        self.0.terms.version
    }

    /// What each level earns: the parent's first, then the parent's parent's, and so on; at most 10.
    async fn levels(&self) -> Vec<OverrideLevel> {
        levels(&self.0.terms)
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

    /// Its versions, newest first; at most the newest 100.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn versions(&self, ctx: &Context<'_>) -> Result<Vec<OverridePlanVersion>> {
        let head = &self.0.head;
        let rows = ctx.loaders()?.versions_of_override_plan().load_one((head.id, head.current_version)).await;
        Ok(rows.or_graphql()?.unwrap_or_default().into_iter().map(OverridePlanVersion).collect())
    }
}

/// The levels of an override plan from one moment until the next version.
#[derive(Description)]
pub(super) struct OverridePlanVersion(override_plan_version::Model);

#[Object(use_type_description)]
impl OverridePlanVersion {
    /// Counts from 1.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// What each level earns: the parent's first; at most 10.
    async fn levels(&self) -> Vec<OverrideLevel> {
        levels(&self.0)
    }

    /// From when on it holds.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }
}

fn levels(terms: &override_plan_version::Model) -> Vec<OverrideLevel> {
    (1..).zip(rules::levels(terms)).map(|(level, terms)| OverrideLevel { level, terms }).collect()
}

/// What a level earns of.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum OverrideBasis {
    /// A percentage of the commission below.
    Commission,
    /// A percentage of the affiliate's part of the sale.
    Sale,
    /// A fixed amount per conversion; of a shared one, the affiliate's part of it.
    Flat,
}

impl OverrideBasis {
    const fn of(level: Level) -> Self {
        match level {
            Level::OfCommission(_) => Self::Commission,
            Level::OfSale(_) => Self::Sale,
            Level::Flat(_) => Self::Flat,
        }
    }
}

/// What one level of a plan earns.
#[derive(Description)]
pub(super) struct OverrideLevel {
    level: i32,
    terms: Level,
}

#[Object(use_type_description)]
impl OverrideLevel {
    /// 1 is the parent of who earned the commission.
    async fn level(&self) -> i32 {
        self.level
    }

    /// What it earns of.
    async fn basis(&self) -> OverrideBasis {
        OverrideBasis::of(self.terms)
    }

    /// Percent of the commission or of the sale, such as `"12.5"`; null for a fixed amount.
    async fn percent(&self) -> Option<Decimal> {
        match self.terms {
            Level::OfCommission(rate_ppm) | Level::OfSale(rate_ppm) => Some(Decimal(rule::format_percent(rate_ppm))),
            Level::Flat(_) => None,
        }
    }

    /// Per conversion; null for a percentage.
    async fn flat(&self) -> Option<Money> {
        match self.terms {
            Level::Flat(money) => Some(money.into()),
            Level::OfCommission(_) | Level::OfSale(_) => None,
        }
    }
}

/// What an override is on.
#[derive(Description)]
pub(super) struct OverrideExplanation(pub Override);

#[Object(use_type_description)]
impl OverrideExplanation {
    /// By which plan; begins with `ovp_`.
    async fn plan_id(&self) -> ID {
        self.0.plan_id.into()
    }

    /// The version that applied.
    async fn plan_version(&self) -> i32 {
        self.0.plan_version
    }

    /// 1 is the parent of who earned the commission.
    async fn level(&self) -> i32 {
        self.0.level
    }

    /// What the level earns of.
    async fn basis(&self) -> OverrideBasis {
        OverrideBasis::of(self.0.terms)
    }
}

/// What a level earns: exactly one of these.
#[derive(Clone, OneofObject)]
pub(super) enum OverrideLevelInput {
    /// Percent of the commission below: 0 to 100, at most 4 digits after the point, such as `"12.5"`.
    PercentOfCommission(Decimal),
    /// Percent of the affiliate's part of the sale: 0 to 100, at most 4 digits after the point.
    PercentOfSale(Decimal),
    /// A fixed amount per conversion, in the campaign's currency; not in the tenant's default.
    Flat(MoneyInput),
}

impl OverrideLevelInput {
    pub fn parse(&self) -> Result<Level, Problem> {
        let percent = |field, percent: &Decimal| rule::parse_percent(&["levels", field], &percent.0);
        Ok(match self {
            Self::PercentOfCommission(rate) => Level::OfCommission(percent("percentOfCommission", rate)?),
            Self::PercentOfSale(rate) => Level::OfSale(percent("percentOfSale", rate)?),
            Self::Flat(flat) => Level::Flat(flat.money(&["levels", "flat"])?),
        })
    }
}

/// The levels of a campaign, or of all without a plan of their own.
#[derive(Clone, InputObject)]
pub(super) struct SetOverridePlanInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`. Absent sets the tenant's default.
    campaign_id: Option<ID>,
    /// What each level earns: the parent's first, then the parent's parent's, and so on; at most 10. None means that
    /// nobody above earns anything, also where there is a default.
    levels: Vec<OverrideLevelInput>,
}

impl SetOverridePlanInput {
    fn parse(self) -> Result<NewPlan, Problem> {
        Ok(NewPlan {
            campaign_id: self.campaign_id.map(|id| ids::parse(&["campaignId"], &id)).transpose()?,
            levels: self.levels.iter().map(OverrideLevelInput::parse).collect::<Result<_, _>>()?,
        })
    }
}

/// Names an override plan that is to end.
#[derive(Clone, InputObject)]
pub(super) struct ArchiveOverridePlanInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `ovp_`.
    id: ID,
}

payload! {
    /// The override plan after the call.
    OverridePlanPayload {
        /// Null when the call was refused.
        override_plan: OverridePlan
    }
}

#[derive(Default)]
pub(super) struct OverridePlanMutation;

#[Object]
impl OverridePlanMutation {
    /// Says what those above an affiliate earn on its commissions, from the next conversion on.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn set_override_plan(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The levels.")] input: SetOverridePlanInput,
    ) -> Result<OverridePlanPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::override_plans::set(services, viewer, key.as_deref(), input.parse()?).await };
        OverridePlanPayload::answer(result.await)
    }

    /// Ends a plan until it is set again: a campaign falls back to the tenant's default.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_override_plan(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which plan.")] input: ArchiveOverridePlanInput,
    ) -> Result<OverridePlanPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::override_plans::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        OverridePlanPayload::answer(result.await)
    }
}
