//! Coupons: codes that lead a sale to an affiliate without a click.

use serde::Serialize;
use tributary_entity::{
    ids::{AffiliateId, CampaignId},
    kinds::CouponStatus,
};

use super::{problem::Problem, text, transition};

/// The longest code; people type them.
pub const CODE_MAX: usize = 64;

/// A new coupon as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewCoupon {
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub code: String,
}

/// Which coupons a list holds.
#[derive(Clone, Debug, Default)]
pub struct CouponFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub statuses: Option<Vec<CouponStatus>>,
    /// In upper case.
    pub codes: Option<Vec<String>>,
}

impl NewCoupon {
    /// Checks the code and brings it into its one form.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT`.
    pub fn check(mut self) -> Result<Self, Problem> {
        self.code = canonical(&text::required(&["code"], &self.code, CODE_MAX)?);
        Ok(self)
    }
}

/// The one form of a code: customers do not mind its case, nor the spaces around it.
pub fn canonical(code: &str) -> String {
    code.trim().to_uppercase()
}

/// The moves of a coupon's status.
const TRANSITIONS: &[(CouponStatus, CouponStatus)] =
    &[(CouponStatus::Active, CouponStatus::Disabled), (CouponStatus::Disabled, CouponStatus::Active)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: CouponStatus, to: CouponStatus) -> Result<CouponStatus, Problem> {
    transition::step(TRANSITIONS, "a coupon", from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::problem::ProblemCode;

    #[test]
    fn code_has_one_form_and_is_needed() {
        let coupon = |code: &str| {
            let new = NewCoupon {
                campaign_id: CampaignId::default(),
                affiliate_id: AffiliateId::default(),
                code: code.to_owned(),
            };
            new.check().map(|coupon| coupon.code).map_err(|problem| problem.code)
        };
        assert_eq!(coupon(" ada-10 "), Ok("ADA-10".to_owned()));
        assert_eq!(coupon("  "), Err(ProblemCode::Required));
        assert_eq!(coupon(&"a".repeat(CODE_MAX + 1)), Err(ProblemCode::InvalidText));
    }

    #[test]
    fn transitions_go_both_ways_but_never_nowhere() {
        assert!(transition(CouponStatus::Active, CouponStatus::Disabled).is_ok());
        assert!(transition(CouponStatus::Disabled, CouponStatus::Active).is_ok());
        for status in CouponStatus::ALL {
            assert!(transition(*status, *status).is_err(), "{status}");
        }
    }
}
