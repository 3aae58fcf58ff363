//! Loaders: the relations of a page are read in one query each. Made per request, for one viewer; never shared.
//!
//! # Adding one
//! A line in `loaders!`: the field, the key, the value, and the use case that answers many keys at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use async_graphql::{
    dataloader::{DataLoader, Loader},
    runtime::TokioTimer,
};
use futures_util::task::{FutureObj, Spawn, SpawnError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tributary_entity::{
    affiliate, affiliate_group, affiliate_parent, attribution_run, award, bonus_rule, campaign, click, click_accrual,
    commission, commission_rule_version, conversion, coupon, enrollment, fx_conversion, fx_rate, goal,
    ids::{
        AffiliateGroupId, AffiliateId, AttributionRunId, AwardId, BonusRuleId, CampaignId, CapId, ClickId, ClickRateId,
        CommissionId, CommissionRuleId, ConversionId, CouponId, EnrollmentId, FxConversionId, FxRateId, GoalId,
        JournalId, LinkId, OverridePlanId, PayoutBatchId, PayoutDestinationId, PayoutId, PostbackEndpointId,
        RevenueDealId, RevenueRecordId, RevenueSettlementId,
    },
    link, override_plan_version, payout, payout_batch, payout_destination, payout_transfer, postback_endpoint,
    revenue_record, revenue_settlement,
};

use crate::{
    auth::Viewer,
    domain::{click_rate::Rate, override_plan::Plan, payout::StatusTotal, revenue_deal::Deal, rule::Rule},
    services::{self, ServiceError, Services, caps::CapState, ledger::PostedJournal},
};

/// A load that failed, shared by all who waited for it.
#[derive(Clone, Debug)]
pub(super) struct LoadError(Arc<ServiceError>);

impl From<LoadError> for ServiceError {
    fn from(error: LoadError) -> Self {
        if error.0.is_transient() {
            return Self::Unavailable;
        }
        tracing::error!(error = %error.0, "a loader failed");
        Self::Internal("loader")
    }
}

/// Spawns loads that are dropped with their request: one that was given up must not keep the database busy.
struct WithRequest(CancellationToken);

impl Spawn for WithRequest {
    fn spawn_obj(&self, load: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(load));
        Ok(())
    }
}

macro_rules! loaders {
    ($($(#[$doc:meta])* $field:ident, $by:ident: $key:ty => $value:ty = $load:expr;)*) => {
        /// The loaders of one request, each made when it is first asked for: a request needs few of them.
        pub(in crate::graphql) struct Loaders {
            services: Services,
            viewer: Viewer,
            $($field: OnceLock<DataLoader<$by>>,)*
            /// Ends the loads under way with their request.
            end: CancellationToken,
            _end: DropGuard,
        }

        impl Loaders {
            pub fn new(services: &Services, viewer: &Viewer) -> Self {
                let end = CancellationToken::new();
                Self {
                    services: services.clone(),
                    viewer: viewer.clone(),
                    $($field: OnceLock::new(),)*
                    _end: end.clone().drop_guard(),
                    end,
                }
            }

            $($(#[$doc])* pub fn $field(&self) -> &DataLoader<$by> {
                self.$field.get_or_init(|| {
                    let loader = $by(self.services.clone(), self.viewer.clone());
                    DataLoader::new(loader, WithRequest(self.end.clone()), TokioTimer::default())
                })
            })*
        }

        $(
            pub(in crate::graphql) struct $by(Services, Viewer);

            impl Loader<$key> for $by {
                type Value = $value;
                type Error = LoadError;

                async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $value>, LoadError> {
                    $load(&self.0, &self.1, keys).await.map_err(|error| LoadError(Arc::new(error)))
                }
            }
        )*
    };
}

loaders! {
    campaign, CampaignById: CampaignId => campaign::Model = async |services, viewer, ids| {
        by_key(services::campaigns::get_many(services, viewer, ids).await, |row| row.id)
    };
    goal, GoalById: GoalId => goal::Model = async |services, viewer, ids| {
        by_key(services::goals::get_many(services, viewer, ids).await, |row| row.id)
    };
    goals_of_campaign, GoalsOfCampaign: CampaignId => Vec<goal::Model> = async |services, viewer, ids| {
        grouped(services::goals::of_campaigns(services, viewer, ids).await, |row| row.campaign_id)
    };
    cap, CapById: CapId => CapState = async |services, viewer, ids| {
        by_key(services::caps::get_many(services, viewer, ids).await, |state| state.cap.id)
    };
    caps_of_campaign, CapsOfCampaign: CampaignId => Vec<CapState> = async |services, viewer, ids| {
        grouped(services::caps::of_campaigns(services, viewer, ids).await, |state| state.cap.campaign_id)
    };
    rule, RuleById: CommissionRuleId => Rule = async |services, viewer, ids| {
        by_key(services::rules::get_many(services, viewer, ids).await, |rule| rule.head.id)
    };
    rules_of_campaign, RulesOfCampaign: CampaignId => Vec<Rule> = async |services, viewer, ids| {
        grouped(services::rules::of_campaigns(services, viewer, ids).await, |rule| rule.head.campaign_id)
    };
    /// By rule and its current version.
    versions_of_rule, VersionsOfRule: (CommissionRuleId, i32) => Vec<commission_rule_version::Model> =
        async |services, viewer, rules: &[(CommissionRuleId, i32)]| {
            let rows = services::rules::versions(services, viewer, rules).await;
            let of_rule = grouped(rows, |row| row.rule_id)?;
            Ok(rules.iter().filter_map(|key| Some((*key, of_rule.get(&key.0)?.clone()))).collect())
        };
    affiliate, AffiliateById: AffiliateId => affiliate::Model = async |services, viewer, ids| {
        by_key(services::affiliates::get_many(services, viewer, ids).await, |row| row.id)
    };
    affiliate_group, AffiliateGroupById: AffiliateGroupId => affiliate_group::Model = async |services, viewer, ids| {
        by_key(services::affiliate_groups::get_many(services, viewer, ids).await, |row| row.id)
    };
    group_of_affiliate, GroupOfAffiliate: AffiliateId => affiliate_group::Model = async |services, viewer, ids| {
        Ok(services::affiliate_groups::of_affiliates(services, viewer, ids).await?.into_iter().collect())
    };
    click_rate, ClickRateById: ClickRateId => Rate = async |services, viewer, ids| {
        by_key(services::click_rates::get_many(services, viewer, ids).await, |rate| rate.head.id)
    };
    click_rates_of_campaign, ClickRatesOfCampaign: CampaignId => Vec<Rate> = async |services, viewer, ids| {
        grouped(services::click_rates::of_campaigns(services, viewer, ids).await, |rate| rate.head.campaign_id)
    };
    revenue_deal, RevenueDealById: RevenueDealId => Deal = async |services, viewer, ids| {
        by_key(services::revenue_deals::get_many(services, viewer, ids).await, |deal| deal.head.id)
    };
    revenue_deals_of_campaign, RevenueDealsOfCampaign: CampaignId => Vec<Deal> = async |services, viewer, ids| {
        grouped(services::revenue_deals::of_campaigns(services, viewer, ids).await, |deal| deal.head.campaign_id)
    };
    revenue_record, RevenueRecordById: RevenueRecordId => revenue_record::Model = async |services, viewer, ids| {
        by_key(services::revenue_records::get_many(services, viewer, ids).await, |row| row.id)
    };
    revenue_settlement, RevenueSettlementById: RevenueSettlementId => revenue_settlement::Model =
        async |services, viewer, ids| {
            by_key(services::revenue_settlements::get_many(services, viewer, ids).await, |row| row.id)
        };
    revenue_so_far, RevenueSoFar: (CampaignId, AffiliateId) => revenue_settlement::Model =
        async |services, viewer, pairs: &[(CampaignId, AffiliateId)]| {
            let rows = services::revenue_settlements::so_far(services, viewer, pairs).await;
            by_key(rows, |row| (row.campaign_id, row.affiliate_id))
        };
    bonus_rule, BonusRuleById: BonusRuleId => bonus_rule::Model = async |services, viewer, ids| {
        by_key(services::bonus_rules::get_many(services, viewer, ids).await, |row| row.id)
    };
    bonus_rules_of_campaign, BonusRulesOfCampaign: CampaignId => Vec<bonus_rule::Model> =
        async |services, viewer, ids| {
            let rows = services::bonus_rules::of_campaigns(services, viewer, ids).await?;
            let mut of_campaign: HashMap<CampaignId, Vec<bonus_rule::Model>> = HashMap::new();
            for row in rows {
                // Each has one: they were found by it.
                if let Some(id) = row.campaign_id {
                    of_campaign.entry(id).or_default().push(row);
                }
            }
            Ok(of_campaign)
        };
    click_accrual, ClickAccrualOf: (CampaignId, AffiliateId) => click_accrual::Model =
        async |services, viewer, pairs: &[(CampaignId, AffiliateId)]| {
            let rows = services::click_accruals::of(services, viewer, pairs).await;
            by_key(rows, |row| (row.campaign_id, row.affiliate_id))
        };
    parent_of_affiliate, ParentOfAffiliate: AffiliateId => affiliate_parent::Model = async |services, viewer, ids| {
        by_key(services::affiliate_parents::of(services, viewer, ids).await, |row| row.affiliate_id)
    };
    override_plan, OverridePlanById: OverridePlanId => Plan = async |services, viewer, ids| {
        by_key(services::override_plans::get_many(services, viewer, ids).await, |plan| plan.head.id)
    };
    override_plan_of_campaign, OverridePlanOfCampaign: CampaignId => Plan = async |services, viewer, ids| {
        let plans = services::override_plans::of_campaigns(services, viewer, ids).await?;
        Ok(plans.into_iter().filter_map(|plan| Some((plan.head.campaign_id?, plan))).collect::<HashMap<_, _>>())
    };
    /// By plan and its current version.
    versions_of_override_plan, VersionsOfOverridePlan: (OverridePlanId, i32) => Vec<override_plan_version::Model> =
        async |services, viewer, plans: &[(OverridePlanId, i32)]| {
            let rows = services::override_plans::versions(services, viewer, plans).await;
            let of_plan = grouped(rows, |row| row.plan_id)?;
            Ok(plans.iter().filter_map(|key| Some((*key, of_plan.get(&key.0)?.clone()))).collect())
        };
    enrollment, EnrollmentById: EnrollmentId => enrollment::Model = async |services, viewer, ids| {
        by_key(services::enrollments::get_many(services, viewer, ids).await, |row| row.id)
    };
    link, LinkById: LinkId => link::Model = async |services, viewer, ids| {
        by_key(services::links::get_many(services, viewer, ids).await, |row| row.id)
    };
    coupon, CouponById: CouponId => coupon::Model = async |services, viewer, ids| {
        by_key(services::coupons::get_many(services, viewer, ids).await, |row| row.id)
    };
    click, ClickById: ClickId => click::Model = async |services, viewer, ids| {
        by_key(services::clicks::get_many(services, viewer, ids).await, |row| row.id)
    };
    conversion, ConversionById: ConversionId => conversion::Model = async |services, viewer, ids| {
        by_key(services::conversions::get_many(services, viewer, ids).await, |row| row.id)
    };
    commission, CommissionById: CommissionId => commission::Model = async |services, viewer, ids| {
        by_key(services::commissions::get_many(services, viewer, ids).await, |row| row.id)
    };
    award, AwardById: AwardId => award::Model = async |services, viewer, ids| {
        by_key(services::awards::get_many(services, viewer, ids).await, |row| row.id)
    };
    journal, JournalById: JournalId => PostedJournal = async |services, viewer, ids| {
        by_key(services::ledger::get_many(services, viewer, ids).await, |journal| journal.head.id)
    };
    payout, PayoutById: PayoutId => payout::Model = async |services, viewer, ids| {
        by_key(services::payouts::get_many(services, viewer, ids).await, |row| row.id)
    };
    payout_transfer, TransferOfPayout: PayoutId => payout_transfer::Model = async |services, viewer, ids| {
        by_key(services::payouts::transfers(services, viewer, ids).await, |row| row.payout_id)
    };
    payout_batch, PayoutBatchById: PayoutBatchId => payout_batch::Model = async |services, viewer, ids| {
        by_key(services::payouts::batches::get_many(services, viewer, ids).await, |row| row.id)
    };
    postback_endpoint, PostbackEndpointById: PostbackEndpointId => postback_endpoint::Model =
        async |services, viewer, ids| {
            by_key(services::postbacks::get_many(services, viewer, ids).await, |row| row.id)
        };
    payout_destination, PayoutDestinationById: PayoutDestinationId => payout_destination::Model =
        async |services, viewer, ids| {
            by_key(services::payout_destinations::get_many(services, viewer, ids).await, |row| row.id)
        };
    destinations_of_affiliate, DestinationsOfAffiliate: AffiliateId => Vec<payout_destination::Model> =
        async |services, viewer, ids| {
            grouped(services::payout_destinations::of_affiliates(services, viewer, ids).await, |row| row.affiliate_id)
        };
    totals_of_payout_batch, TotalsOfPayoutBatch: PayoutBatchId => Vec<StatusTotal> = async |services, viewer, ids| {
        grouped(services::payouts::batches::totals(services, viewer, ids).await, |total| total.batch_id)
    };
    fx_rate, FxRateById: FxRateId => fx_rate::Model = async |services, viewer, ids| {
        by_key(services::fx_rates::get_many(services, viewer, ids).await, |row| row.id)
    };
    fx_conversion, FxConversionById: FxConversionId => fx_conversion::Model = async |services, viewer, ids| {
        by_key(services::fx_conversions::get_many(services, viewer, ids).await, |row| row.id)
    };
    attribution_run, AttributionRunById: AttributionRunId => attribution_run::Model = async |services, viewer, ids| {
        by_key(services::attribution::runs::get_many(services, viewer, ids).await, |row| row.id)
    };
    commissions_of_conversion, CommissionsOfConversion: ConversionId => Vec<commission::Model> =
        async |services, viewer, ids| {
            grouped(services::commissions::of_conversions(services, viewer, ids).await, |row| row.conversion_id)
        };
    attribution_of_conversion, AttributionOfConversion: ConversionId => services::conversions::Attribution =
        async |services, viewer, ids| {
            let rows = services::conversions::attributions_of(services, viewer, ids).await;
            by_key(rows, |(decision, _)| decision.conversion_id)
        };
}

fn by_key<K: Eq + Hash, R>(
    rows: Result<Vec<R>, ServiceError>,
    key: impl Fn(&R) -> K,
) -> Result<HashMap<K, R>, ServiceError> {
    Ok(rows?.into_iter().map(|row| (key(&row), row)).collect())
}

fn grouped<K: Eq + Hash, R>(
    rows: Result<Vec<R>, ServiceError>,
    key: impl Fn(&R) -> K,
) -> Result<HashMap<K, Vec<R>>, ServiceError> {
    let mut groups: HashMap<K, Vec<R>> = HashMap::new();
    for row in rows? {
        groups.entry(key(&row)).or_default().push(row);
    }
    Ok(groups)
}
