//! Bonus rules: what affiliates who bring enough in a period are given.

use async_graphql::{Context, Description, ID, InputObject, Object, OneofObject, Result};
use tributary_entity::{Instant, bonus_rule, ids::CampaignId, money};

use super::{
    campaigns::Campaign,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::{CapPeriod, RuleStatus},
    scalars::{Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        bonus_rule::{BonusRuleFilter, NewBonusRule, Threshold},
        page::Order,
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// What affiliates who bring enough in a period are given once it is over: an award of kind BONUS, one for each affiliate
/// and period. What is approved counts, in the period in which the customer acted. The terms never change.
#[derive(Description)]
pub(super) struct BonusRule(pub bonus_rule::Model);

impl From<bonus_rule::Model> for BonusRule {
    fn from(row: bonus_rule::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl BonusRule {
    /// Begins with `bnr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What is brought in this campaign counts; null counts that of all campaigns.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.0.campaign_id else { return Ok(None) };
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// The reason of what it gives.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The threshold, inclusive, where conversions are counted.
    async fn conversions(&self) -> Option<i64> {
        match Threshold::of(&self.0) {
            Threshold::Conversions(count) => Some(count),
            Threshold::SaleAmount(_) => None,
        }
    }

    /// The threshold, inclusive, where sales are counted; those in its currency count.
    async fn sale_amount(&self) -> Option<Money> {
        match Threshold::of(&self.0) {
            Threshold::SaleAmount(sale) => Some(sale.into()),
            Threshold::Conversions(_) => None,
        }
    }

    /// What is counted together, in the tenant's time zone. LIFETIME is a milestone: all that an affiliate ever brought,
    /// looked at when a day is over, and given once.
    async fn period(&self) -> CapPeriod {
        self.0.period.into()
    }

    /// What is given.
    async fn amount(&self) -> Money {
        money::Money::new(self.0.amount_minor, self.0.currency).into()
    }

    /// From when it is given to when it is payable.
    async fn hold_seconds(&self) -> i64 {
        self.0.hold_secs
    }

    /// Days from the end of a period until it is decided.
    async fn wait_days(&self) -> i32 {
        self.0.wait_days
    }

    /// Whether it gives anything.
    async fn status(&self) -> RuleStatus {
        self.0.status.into()
    }

    /// What was until then is decided; before the first time, when the period began that it was made in.
    async fn decided_until(&self) -> Instant {
        self.0.decided_until
    }

    /// When it was made.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When it was made, or archived.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at
    }
}

/// Which bonus rules. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct BonusRuleFilterInput {
    /// For one of these campaigns; leaves out rules for all campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<RuleStatus>>,
}

impl BonusRuleFilterInput {
    fn parse(self) -> Result<BonusRuleFilter, Problem> {
        Ok(BonusRuleFilter {
            campaign_ids: ids::parse_list::<CampaignId>(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
        })
    }
}

#[derive(Default)]
pub(super) struct BonusRuleQuery;

#[Object]
impl BonusRuleQuery {
    /// The tenant's bonus rules, archived ones too, newest first.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn bonus_rules(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rules.")] filter: Option<BonusRuleFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<BonusRule>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("BonusRule", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::bonus_rules::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::bonus_rules::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), BonusRule))
    }
}

/// How much an affiliate has to bring in a period: exactly one of these.
#[derive(Clone, OneofObject)]
pub(super) enum BonusThresholdInput {
    /// So many conversions; at least 1.
    Conversions(i64),
    /// Sales of so much; more than nothing, in the currency of the bonus. Sales in other currencies do not count.
    SaleAmount(MoneyInput),
}

impl BonusThresholdInput {
    /// Problems name fields of `threshold`.
    pub(super) fn parse(self) -> Result<Threshold, Problem> {
        Ok(match self {
            Self::Conversions(count) => Threshold::Conversions(count),
            Self::SaleAmount(sale) => Threshold::SaleAmount(sale.money(&["threshold", "saleAmount"])?),
        })
    }
}

/// A bonus rule.
#[derive(Clone, InputObject)]
pub(super) struct CreateBonusRuleInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`. Absent counts what is brought in all campaigns.
    campaign_id: Option<ID>,
    /// The reason of what it gives, for affiliates to read; at most 200 characters.
    name: String,
    /// How much an affiliate has to bring, inclusive.
    threshold: BonusThresholdInput,
    /// What is counted together, in the tenant's time zone, from the current period on. LIFETIME is a milestone: it counts
    /// all that an affiliate ever brought, and is given once.
    period: CapPeriod,
    /// What is given; more than nothing.
    amount: MoneyInput,
    /// From when it is given to when it is payable; 0 makes it payable at once. At most 366 days.
    #[graphql(default = 0)]
    hold_seconds: i64,
    /// Days from the end of a period until it is decided, for approvals that come late: 0 to 31.
    #[graphql(default = 0)]
    wait_days: i32,
}

impl CreateBonusRuleInput {
    fn parse(self) -> Result<NewBonusRule, Problem> {
        Ok(NewBonusRule {
            campaign_id: self.campaign_id.map(|id| ids::parse(&["campaignId"], &id)).transpose()?,
            name: self.name,
            threshold: self.threshold.parse()?,
            period: self.period.into(),
            amount: self.amount.money(&["amount"])?,
            hold_secs: self.hold_seconds,
            wait_days: self.wait_days,
        })
    }
}

/// Names a bonus rule that is to end.
#[derive(Clone, InputObject)]
pub(super) struct ArchiveBonusRuleInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `bnr_`.
    id: ID,
}

payload! {
    /// The bonus rule after the call.
    BonusRulePayload {
        /// Null when the call was refused.
        bonus_rule: BonusRule
    }
}

#[derive(Default)]
pub(super) struct BonusRuleMutation;

#[Object]
impl BonusRuleMutation {
    /// Says what affiliates who bring enough in a period are given, from the current period on.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn create_bonus_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rule.")] input: CreateBonusRuleInput,
    ) -> Result<BonusRulePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::bonus_rules::create(services, viewer, key.as_deref(), input.parse()?).await };
        BonusRulePayload::answer(result.await)
    }

    /// Ends a bonus rule: it gives nothing more, also not for periods that are over and not decided yet.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_bonus_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rule.")] input: ArchiveBonusRuleInput,
    ) -> Result<BonusRulePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::bonus_rules::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        BonusRulePayload::answer(result.await)
    }
}
