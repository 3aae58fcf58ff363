//! Revenue records: what customers brought, as the tenant's servers tell.
//!
//! # Decisions
//! - A record belongs to whom the customer's first conversion in the campaign is credited to, of several the one with the
//!   largest share, as it is when it is recorded. A sender who knows better says so. What nobody is credited with is kept,
//!   and found again by the next settlement: a conversion may come later.
//! - A record that comes while its affiliate may not earn is kept with the reason and counts for nothing, then and later, as
//!   a conversion that is rejected. One that was nobody's when it came counts for whom a later conversion is credited to,
//!   who could earn when that was.
//! - What was sent is put right by another record, which may be negative: a period that is settled stays as it is, and the
//!   next one has the difference.

use chrono::NaiveDate;
use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, RevenueRecordId, TenantId},
    money::{Currency, Money},
    revenue_record,
};

use super::{
    problem::{Problem, ProblemCode},
    revenue_deal::minor_of,
    text,
};

/// A record as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewRecord {
    pub campaign_id: CampaignId,
    /// None finds it by the customer.
    pub affiliate_id: Option<AffiliateId>,
    pub customer_id: String,
    pub reference: String,
    pub day: NaiveDate,
    pub amounts: Amounts,
}

/// What a customer brought; each as sent, nothing where it is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Amounts {
    pub ggr: Option<Money>,
    pub bonuses: Option<Money>,
    pub chargebacks: Option<Money>,
    pub deposits: Option<Money>,
    pub stakes: Option<Money>,
}

impl NewRecord {
    /// Checks every field, and makes the row of it. `today` is the tenant's.
    ///
    /// # Errors
    /// All problems at once.
    pub fn row(
        &self,
        tenant_id: TenantId,
        id: RevenueRecordId,
        currency: Currency,
        today: NaiveDate,
        at: Instant,
    ) -> Result<revenue_record::Model, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut text = |field: &str, text: &str| {
            let checked = text::required(&[field], text, text::REFERENCE_MAX);
            checked.map_err(|problem| problems.push(problem)).unwrap_or_default()
        };
        let (customer_id, reference) = (text("customerId", &self.customer_id), text("reference", &self.reference));
        let mut minor = |field: &str, money: Option<Money>| {
            let minor = money.map_or(Ok(0), |money| minor_of(&[field], money, currency));
            minor.map_err(|problem| problems.push(problem)).unwrap_or_default()
        };
        let Amounts { ggr, bonuses, chargebacks, deposits, stakes } = self.amounts;
        let row = revenue_record::Model {
            tenant_id,
            id,
            campaign_id: self.campaign_id,
            affiliate_id: self.affiliate_id,
            customer_id,
            reference,
            day: self.day,
            ggr_minor: minor("ggr", ggr),
            bonuses_minor: minor("bonuses", bonuses),
            chargebacks_minor: minor("chargebacks", chargebacks),
            deposits_minor: minor("deposits", deposits),
            stakes_minor: minor("stakes", stakes),
            currency,
            reason: None,
            settlement_id: None,
            recorded_at: at,
        };
        if self.day > today {
            problems.push(Problem::new(
                ProblemCode::TimeInFuture,
                &["day"],
                format!("after {today}, the tenant's day"),
            ));
        }
        if problems.is_empty() { Ok(row) } else { Err(problems) }
    }
}

/// Whether a record that is there says what another one with its reference does. Who recorded the first may have left it
/// open whose customer it is.
pub fn is_same(one: &revenue_record::Model, sent: &revenue_record::Model) -> bool {
    let amounts = |row: &revenue_record::Model| {
        [row.ggr_minor, row.bonuses_minor, row.chargebacks_minor, row.deposits_minor, row.stakes_minor]
    };
    one.customer_id == sent.customer_id
        && one.day == sent.day
        && amounts(one) == amounts(sent)
        && sent.affiliate_id.is_none_or(|id| one.affiliate_id == Some(id))
}

/// Which records a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub customer_ids: Option<Vec<String>>,
    pub is_settled: Option<bool>,
    /// Whether it counts for nothing.
    pub is_refused: Option<bool>,
}
