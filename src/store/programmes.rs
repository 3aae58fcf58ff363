//! What conversions ask of the programme that they are by, in one journey to the server.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, QueryTrait};
use tributary_entity::{
    affiliate, affiliate_group, affiliate_group_member, campaign, cap, enrollment, goal,
    ids::{AffiliateId, CampaignId},
};

use super::{
    caps, enrollments,
    error::StoreError,
    override_plans,
    reading::Selects,
    rules,
    scope::{Tx, any_of},
};
use crate::domain::{override_plan::Plan, rule::Rule};

/// At most so many pairs are read at once.
pub const PAIRS: usize = enrollments::PAIRS;

/// The part of a programme that some pairs are in.
pub struct Part {
    pub campaigns: Vec<campaign::Model>,
    pub affiliates: Vec<affiliate::Model>,
    pub enrollments: Vec<enrollment::Model>,
    pub goals: Vec<goal::Model>,
    /// The active ones.
    pub rules: Vec<Rule>,
    /// The active ones.
    pub caps: Vec<cap::Model>,
    pub groups: BTreeMap<AffiliateId, affiliate_group::Model>,
    /// The active ones of the campaigns, and the tenant's default if it is active.
    pub plans: Vec<Plan>,
}

/// Reads what at most [`PAIRS`] pairs are in, whatever the ring: for deciding.
///
/// # Errors
/// As the database answers.
pub async fn read(tx: &Tx, pairs: &[(CampaignId, AffiliateId)]) -> Result<Part, StoreError> {
    use affiliate_group_member::Column as OfMember;
    let campaign_ids: BTreeSet<CampaignId> = pairs.iter().map(|(id, _)| *id).collect();
    let campaign_ids: Vec<CampaignId> = campaign_ids.into_iter().collect();
    let affiliate_ids: BTreeSet<AffiliateId> = pairs.iter().map(|(_, id)| *id).collect();
    let of_affiliates = || any_of(OfMember::AffiliateId, affiliate_ids.iter().copied());
    let members = || tx.find::<affiliate_group_member::Entity>().filter(of_affiliates());
    let their_groups = members().select_only().column(OfMember::GroupId).into_query();
    let (rules, rule_versions) = rules::parts_for_campaigns(tx, &campaign_ids);
    let (plans, plan_versions) = override_plans::parts_in_force(tx, &campaign_ids);
    let selects = (
        tx.find::<campaign::Entity>().filter(any_of(campaign::Column::Id, campaign_ids.iter().copied())),
        tx.find::<affiliate::Entity>().filter(any_of(affiliate::Column::Id, affiliate_ids.iter().copied())),
        enrollments::some_for_pairs(tx, pairs),
        tx.find::<goal::Entity>().filter(any_of(goal::Column::CampaignId, campaign_ids.iter().copied())),
        rules,
        rule_versions,
        caps::select_for_campaigns(tx, &campaign_ids),
        members(),
        tx.find::<affiliate_group::Entity>().filter(affiliate_group::Column::Id.in_subquery(their_groups)),
        plans,
        plan_versions,
    );
    let (campaigns, affiliates, enrollments, goals, rules, rule_versions, caps, members, groups, plans, plan_versions) =
        selects.read(tx).await?;
    let group = |id| groups.iter().find(|group| group.id == id).cloned();
    Ok(Part {
        campaigns,
        affiliates,
        enrollments,
        goals,
        rules: rules::of_parts(rules, rule_versions)?,
        caps,
        groups: members.into_iter().filter_map(|member| Some((member.affiliate_id, group(member.group_id)?))).collect(),
        plans: override_plans::of_parts(plans, plan_versions),
    })
}
