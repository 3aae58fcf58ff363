//! Enrollments: how an affiliate's place in a campaign moves, and which rule may override the campaign's.

use serde::Serialize;
use tributary_entity::{
    commission_rule,
    ids::{AffiliateId, CampaignId, CommissionRuleId},
    kinds::{EnrollmentStatus, RuleStatus},
};

use super::{problem::Problem, transition};

/// A new enrollment as a manager describes it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NewEnrollment {
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    /// Overrides the campaign's default rules.
    pub rule_id: Option<CommissionRuleId>,
}

/// Which enrollments a list holds.
#[derive(Clone, Debug, Default)]
pub struct EnrollmentFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub statuses: Option<Vec<EnrollmentStatus>>,
}

/// Whether a rule (or none, when its id names nothing) may override the default of a campaign.
///
/// # Errors
/// `NOT_FOUND` for a rule of another campaign, just as for none; `INVALID_TRANSITION` for an archived one.
pub fn check_override(campaign_id: CampaignId, rule: Option<&commission_rule::Model>) -> Result<(), Problem> {
    match rule.filter(|rule| rule.campaign_id == campaign_id) {
        None => Err(Problem::not_found(&["ruleId"])),
        Some(rule) if rule.status == RuleStatus::Archived => {
            Err(transition::refused(&["ruleId"], "the commission rule is archived"))
        }
        Some(_) => Ok(()),
    }
}

/// The moves of an enrollment's status; anything else is refused. A rejection can be thought better of.
const TRANSITIONS: &[(EnrollmentStatus, EnrollmentStatus)] = &[
    (EnrollmentStatus::Pending, EnrollmentStatus::Approved),
    (EnrollmentStatus::Pending, EnrollmentStatus::Rejected),
    (EnrollmentStatus::Approved, EnrollmentStatus::Suspended),
    (EnrollmentStatus::Suspended, EnrollmentStatus::Approved),
    (EnrollmentStatus::Rejected, EnrollmentStatus::Approved),
];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: EnrollmentStatus, to: EnrollmentStatus) -> Result<EnrollmentStatus, Problem> {
    transition::step(TRANSITIONS, "an enrollment", from, to)
}

#[cfg(test)]
mod tests {
    use tributary_entity::{Instant, ids::TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::problem::ProblemCode;

    #[test]
    fn transitions_are_exactly_the_table() {
        use EnrollmentStatus::{Approved, Pending, Rejected, Suspended};
        let allowed = [
            (Pending, Approved),
            (Pending, Rejected),
            (Approved, Suspended),
            (Suspended, Approved),
            (Rejected, Approved),
        ];
        for from in EnrollmentStatus::ALL {
            for to in EnrollmentStatus::ALL {
                assert_eq!(transition(*from, *to).is_ok(), allowed.contains(&(*from, *to)), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn override_is_an_active_rule_of_the_same_campaign() {
        let [here, there] = [1, 2].map(|n| CampaignId::from_uuid(Uuid::from_u128(n)));
        let rule = |campaign_id, status| commission_rule::Model {
            tenant_id: TenantId::default(),
            id: CommissionRuleId::default(),
            campaign_id,
            goal_id: None,
            name: "VIP".to_owned(),
            is_default: false,
            group_id: None,
            position: None,
            current_version: 1,
            status,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        };
        assert_eq!(check_override(here, Some(&rule(here, RuleStatus::Active))), Ok(()));
        let absent = check_override(here, None);
        assert_eq!(absent, Err(Problem::not_found(&["ruleId"])));
        assert_eq!(check_override(here, Some(&rule(there, RuleStatus::Active))), absent);
        let archived = check_override(here, Some(&rule(here, RuleStatus::Archived)));
        assert_eq!(archived.map_err(|problem| problem.code), Err(ProblemCode::InvalidTransition));
    }
}
