//! Conversions: recorded actions of customers.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, ClickId, ConversionId, GoalId, TenantId},
    kinds::{ConversionReason, ConversionStatus},
    money::Currency,
};

table! {
    /// One recorded action of a customer. What was sent never changes; status and its reason do, with history.
    "conversion" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ConversionId,
        /// None while the click is unknown.
        campaign_id: Option<CampaignId>,
        goal_id: Option<GoalId>,
        /// As sent.
        goal_code: String,
        /// Who is credited, with the largest share where there are several.
        affiliate_id: Option<AffiliateId>,
        /// The click it was attributed to or refused for, when there is one.
        click_id: Option<ClickId>,
        /// As sent.
        sent_click_id: Option<ClickId>,
        /// The sender's own mark for the visitor, as sent.
        visitor_id: Option<String>,
        /// In upper case.
        coupon_code: Option<String>,
        /// While it waits for its click: until when.
        held_until: Option<Instant>,
        /// Its sender wants a person to decide about it, or keeps it back itself: it is not approved of itself.
        // Events of before do not have it.
        #[serde(default)]
        kept_back: bool,
        /// The advertiser's own reference, as sent.
        order_id: Option<String>,
        /// Same as `order_id` on the first conversion of a campaign, goal and order, null on its duplicates: the natural key.
        unique_order_id: Option<String>,
        /// The click, on the first conversion of a once-per-click goal: the other natural key.
        unique_click_id: Option<ClickId>,
        /// The tenant's own customer reference.
        customer_id: Option<String>,
        /// What was bought, such as a SKU, as sent.
        #[serde(default)]
        product_id: Option<String>,
        status: ConversionStatus,
        reason: Option<ConversionReason>,
        /// In `sale_currency`, as sent, kept for ever.
        sale_minor: i64,
        sale_currency: Currency,
        /// What was added to the sale since, or taken where it is negative.
        #[serde(default)]
        sale_adjusted_minor: i64,
        /// What was taken back of both together.
        #[serde(default)]
        refunded_minor: i64,
        /// Sum of its commissions in `commission_currency`, as they are now.
        commission_minor: i64,
        /// The campaign's; the sale's while the campaign is unknown.
        commission_currency: Currency,
        /// The sale as it came in `commission_currency`, by the rate in `fx`; none where it is in that currency, or no rate is known yet.
        rated_sale_minor: Option<i64>,
        /// The exchange rate that was used, as JSON of `domain::fx_rate::Quote`.
        fx: Option<String>,
        /// `adv1`..`adv10` as a JSON object of the labels that are set.
        labels: Option<String>,
        /// When the customer acted.
        occurred_at: Instant,
        recorded_at: Instant,
        approved_at: Option<Instant>,
        /// `approved_at` + hold.
        payable_at: Option<Instant>,
        /// Grows by one with each change; names the row of `conversion_history`.
        version: i32,
        updated_at: Instant,
    }
    id ConversionId;
    affiliate AffiliateId;
}
