//! Commission rules.

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, OneofObject, Result};
use tributary_entity::{commission_rule_version, ids::CampaignId, money, money::Currency};

use super::{
    affiliate_groups::AffiliateGroup,
    change::change,
    context::{Needs, RequestData},
    error::IntoGraphql,
    goals::Goal,
    ids,
    kinds::{RuleKind, RuleStatus},
    plans::{CommissionTiers, CommissionTiersInput, RuleCriteria, RuleCriteriaInput},
    scalars::{Decimal, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        change::Change,
        commission::Plan,
        problem::Problem,
        rule::{self, NewRule, Rule, RuleChange, Terms},
    },
    services::{self, ServiceError},
};

/// What affiliates earn from conversions of a campaign. Its terms are versioned: past conversions keep theirs.
#[derive(Description)]
pub(super) struct CommissionRule(pub Rule);

impl From<Rule> for CommissionRule {
    fn from(rule: Rule) -> Self {
        Self(rule)
    }
}

#[Object(use_type_description)]
impl CommissionRule {
    /// Begins with `rul_`.
    pub(super) async fn id(&self) -> ID {
        self.0.head.id.into()
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.head.name
    }

    /// How a commission is reckoned.
    async fn kind(&self) -> RuleKind {
        self.0.terms.kind.into()
    }

    /// Its place among the rules of its level: the first that fits applies. Null comes last.
    async fn position(&self) -> Option<i32> {
        self.0.head.position
    }

    /// The group of affiliates that it is for; null means that it is for no group.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn group(&self, ctx: &Context<'_>) -> Result<Option<AffiliateGroup>> {
        let Some(id) = self.0.head.group_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate_group().load_one(id).await.or_graphql()?.map(AffiliateGroup))
    }

    /// For which conversions it is.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn criteria(&self) -> RuleCriteria {
        (&self.0.plan.criteria).into()
    }

    /// For how many whole months after a customer's first commission it pays: 0 is the first alone, null for life.
    async fn max_months(&self) -> Option<i32> {
        self.0.plan.max_months
    }

    /// The steps above its own terms; null where it has none.
    async fn tiers(&self, ctx: &Context<'_>) -> Result<Option<CommissionTiers>> {
        tiers(ctx, self.0.head.campaign_id, &self.0.plan).await
    }

    /// The version that new conversions are decided by; counts from 1.
    async fn version(&self) -> i32 {
        self.0.terms.version
    }

    /// Per conversion, in the campaign's currency; null where the kind has no flat part.
    async fn flat(&self, ctx: &Context<'_>) -> Result<Option<Money>> {
        flat(ctx, self.0.head.campaign_id, &self.0.terms).await
    }

    /// Percent of the sale amount, such as `"12.5"`; null where the kind has no share.
    async fn percent(&self) -> Option<Decimal> {
        percent(&self.0.terms)
    }

    /// Whether refunds of a part of the sale take that part of the flat amount, too; else it goes with the whole sale only.
    async fn flat_refunded_in_part(&self) -> bool {
        self.0.terms.is_flat_refunded_in_part
    }

    /// Whether it applies to every enrollment that names no rule of its own.
    async fn is_default(&self) -> bool {
        self.0.head.is_default
    }

    /// The goal it is for; null means every goal without a rule of its own.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn goal(&self, ctx: &Context<'_>) -> Result<Option<Goal>> {
        let Some(id) = self.0.head.goal_id else { return Ok(None) };
        Ok(ctx.loaders()?.goal().load_one(id).await.or_graphql()?.map(Goal))
    }

    /// Whether it is in use.
    async fn status(&self) -> RuleStatus {
        self.0.head.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.head.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.head.updated_at
    }

    /// The versions of the terms, newest first; at most the newest 100.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn versions(&self, ctx: &Context<'_>) -> Result<Vec<CommissionRuleVersion>> {
        let head = &self.0.head;
        let rows = ctx.loaders()?.versions_of_rule().load_one((head.id, head.current_version)).await.or_graphql()?;
        let version = |terms| CommissionRuleVersion { campaign_id: head.campaign_id, terms };
        Ok(rows.unwrap_or_default().into_iter().map(version).collect())
    }
}

/// The terms of a commission rule from one moment until the next version.
#[derive(Description)]
pub(super) struct CommissionRuleVersion {
    campaign_id: CampaignId,
    terms: commission_rule_version::Model,
}

#[Object(use_type_description)]
impl CommissionRuleVersion {
    /// Counts from 1.
    async fn version(&self) -> i32 {
        self.terms.version
    }

    /// How a commission is reckoned.
    async fn kind(&self) -> RuleKind {
        self.terms.kind.into()
    }

    /// For which conversions it is.
    async fn criteria(&self) -> Result<RuleCriteria> {
        Ok((&self.plan()?.criteria).into())
    }

    /// For how many whole months after a customer's first commission it pays: 0 is the first alone, null for life.
    async fn max_months(&self) -> Result<Option<i32>> {
        Ok(self.plan()?.max_months)
    }

    /// The steps above its own terms; null where it has none.
    async fn tiers(&self, ctx: &Context<'_>) -> Result<Option<CommissionTiers>> {
        tiers(ctx, self.campaign_id, &self.plan()?).await
    }

    /// Per conversion, in the campaign's currency; null where the kind has no flat part.
    async fn flat(&self, ctx: &Context<'_>) -> Result<Option<Money>> {
        flat(ctx, self.campaign_id, &self.terms).await
    }

    /// Percent of the sale amount, such as `"12.5"`; null where the kind has no share.
    async fn percent(&self) -> Option<Decimal> {
        percent(&self.terms)
    }

    /// Whether refunds of a part of the sale take that part of the flat amount, too; else it goes with the whole sale only.
    async fn flat_refunded_in_part(&self) -> bool {
        self.terms.is_flat_refunded_in_part
    }

    /// From when on it holds.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.terms.created_at
    }
}

impl CommissionRuleVersion {
    fn plan(&self) -> Result<Plan> {
        let read = Plan::read(self.terms.plan.as_deref());
        read.map_err(|_| ServiceError::Internal("a stored plan cannot be read")).or_graphql()
    }
}

async fn tiers(ctx: &Context<'_>, campaign_id: CampaignId, plan: &Plan) -> Result<Option<CommissionTiers>> {
    let Some(tiers) = &plan.tiers else { return Ok(None) };
    Ok(Some(CommissionTiers::of(tiers, currency(ctx, campaign_id).await?)))
}

async fn flat(
    ctx: &Context<'_>,
    campaign_id: CampaignId,
    terms: &commission_rule_version::Model,
) -> Result<Option<Money>> {
    if !rule::has_flat(terms.kind) {
        return Ok(None);
    }
    Ok(Some(money::Money::new(terms.flat_minor, currency(ctx, campaign_id).await?).into()))
}

async fn currency(ctx: &Context<'_>, campaign_id: CampaignId) -> Result<Currency> {
    let campaign = ctx.loaders()?.campaign().load_one(campaign_id).await.or_graphql()?;
    Ok(campaign.ok_or(ServiceError::Internal("a rule without its campaign")).or_graphql()?.currency)
}

fn percent(terms: &commission_rule_version::Model) -> Option<Decimal> {
    rule::has_percent(terms.kind).then(|| Decimal(rule::format_percent(terms.rate_ppm)))
}

/// What a rule pays: exactly one of these.
#[derive(Clone, OneofObject)]
pub(super) enum CommissionTermsInput {
    /// A fixed amount per conversion, in the campaign's currency.
    Flat(MoneyInput),
    /// Percent of the sale amount: 0 to 100, at most 4 digits after the point, such as `"12.5"`.
    Percent(Decimal),
    /// Both.
    FlatPlusPercent(FlatPlusPercentInput),
}

/// A fixed amount and a share.
#[derive(Clone, InputObject)]
pub(super) struct FlatPlusPercentInput {
    /// Per conversion, in the campaign's currency.
    flat: MoneyInput,
    /// Percent of the sale amount: 0 to 100, at most 4 digits after the point.
    percent: Decimal,
}

impl CommissionTermsInput {
    pub fn parse(&self) -> Result<Terms, Problem> {
        self.parse_at(&[])
    }

    /// `field` is where what has these `terms` stands.
    pub fn parse_at(&self, field: &[&str]) -> Result<Terms, Problem> {
        let at = |parts: &[&'static str]| [field, &["terms"], parts].concat();
        Ok(match self {
            Self::Flat(flat) => Terms::Flat(flat.money(&at(&["flat"]))?),
            Self::Percent(percent) => Terms::Percent(rule::parse_percent(&at(&["percent"]), &percent.0)?),
            Self::FlatPlusPercent(both) => Terms::FlatPlusPercent {
                flat: both.flat.money(&at(&["flatPlusPercent", "flat"]))?,
                rate_ppm: rule::parse_percent(&at(&["flatPlusPercent", "percent"]), &both.percent.0)?,
            },
        })
    }
}

/// A new commission rule.
#[derive(Clone, InputObject)]
pub(super) struct CreateCommissionRuleInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `gol_`. Absent means every goal without a rule of its own.
    goal_id: Option<ID>,
    /// For people; at most 200 characters.
    name: String,
    /// Whether it applies to every enrollment that names no rule of its own. One for each goal, and one for all others.
    #[graphql(default = true)]
    is_default: bool,
    /// What it pays.
    terms: CommissionTermsInput,
    /// Whether refunds of a part of the sale take that part of the flat amount, too; else it goes with the whole sale only.
    #[graphql(default = false)]
    flat_refunded_in_part: bool,
    /// For the affiliates of this group, before the campaign's defaults; begins with `agr_`. It is no default then.
    group_id: Option<ID>,
    /// Its place among the rules of its level, 1 to 10,000: the first that fits applies. Those without come last, and of
    /// them one is active for each goal, and one for all others.
    position: Option<i32>,
    /// For which conversions it is; all where it is absent.
    criteria: Option<RuleCriteriaInput>,
    /// For how many whole months after a customer's first commission it pays, 0 to 1,200: 0 is the first alone. Absent pays
    /// for life.
    max_months: Option<i32>,
    /// Steps above its own terms.
    tiers: Option<CommissionTiersInput>,
}

impl CreateCommissionRuleInput {
    fn parse(self) -> Result<NewRule, Problem> {
        Ok(NewRule {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            goal_id: ids::parse_optional(&["goalId"], self.goal_id.as_ref())?,
            name: self.name,
            is_default: self.is_default,
            terms: self.terms.parse()?,
            is_flat_refunded_in_part: self.flat_refunded_in_part,
            group_id: ids::parse_optional(&["groupId"], self.group_id.as_ref())?,
            position: self.position,
            criteria: self.criteria.unwrap_or_default().parse(&["criteria"])?,
            max_months: self.max_months,
            tiers: self.tiers.map(|tiers| tiers.parse(&["tiers"])).transpose()?,
        })
    }
}

/// Changes to a commission rule. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateCommissionRuleInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `rul_`.
    id: ID,
    /// For people; at most 200 characters.
    name: Option<String>,
    /// Become a new version, which holds for conversions from now on.
    terms: Option<CommissionTermsInput>,
    /// Whether refunds of a part of the sale take that part of the flat amount, too. Becomes a new version, as terms do.
    flat_refunded_in_part: Option<bool>,
    /// Its place among the rules of its level; null puts it last.
    position: MaybeUndefined<i32>,
    /// Become a new version; an empty one is met by all conversions.
    criteria: Option<RuleCriteriaInput>,
    /// Becomes a new version; null pays for life.
    max_months: MaybeUndefined<i32>,
    /// Become a new version; null takes them away. Conversions of earlier versions stay as they are rated.
    tiers: MaybeUndefined<CommissionTiersInput>,
}

impl UpdateCommissionRuleInput {
    fn parse(self) -> Result<RuleChange, Problem> {
        let tiers = match change(self.tiers) {
            Change::Set(tiers) => Change::Set(tiers.parse(&["tiers"])?),
            Change::Clear => Change::Clear,
            Change::Keep => Change::Keep,
        };
        Ok(RuleChange {
            name: self.name,
            terms: self.terms.as_ref().map(CommissionTermsInput::parse).transpose()?,
            position: change(self.position),
            criteria: self.criteria.map(|criteria| criteria.parse(&["criteria"])).transpose()?,
            max_months: change(self.max_months),
            tiers,
            is_flat_refunded_in_part: self.flat_refunded_in_part,
        })
    }
}

/// Names a commission rule whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct CommissionRuleStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `rul_`.
    id: ID,
}

payload! {
    /// The commission rule after the call.
    CommissionRulePayload {
        /// Null when the call was refused.
        commission_rule: CommissionRule
    }
}

#[derive(Default)]
pub(super) struct RuleMutation;

#[Object]
impl RuleMutation {
    /// Adds a commission rule to a campaign; at most 100 in each.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn create_commission_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rule.")] input: CreateCommissionRuleInput,
    ) -> Result<CommissionRulePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::rules::create(services, viewer, key.as_deref(), input.parse()?).await };
        CommissionRulePayload::answer(result.await)
    }

    /// Changes a commission rule. New terms become a new version; past conversions keep theirs.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn update_commission_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateCommissionRuleInput,
    ) -> Result<CommissionRulePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let key = input.idempotency_key.clone();
            services::rules::update(services, viewer, key.as_deref(), id, input.parse()?).await
        };
        CommissionRulePayload::answer(result.await)
    }

    /// Ends a commission rule for good. Enrollments that it overrides the default for fall back to the default.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_commission_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rule.")] input: CommissionRuleStatusInput,
    ) -> Result<CommissionRulePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::rules::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        CommissionRulePayload::answer(result.await)
    }
}
