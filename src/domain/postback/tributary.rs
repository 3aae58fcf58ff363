//! Our own names, in both ways of writing them; pixels and the snippet use them, too.

use super::Names;

pub(super) const NAMES: Names = Names {
    marks: &[("click_id", &[]), ("clickId", &[])],
    click: &["click_id", "clickId"],
    goal: &["goal"],
    order: &["order_id", "orderId"],
    customer: &["customer_id", "customerId"],
    coupon: &["coupon_code", "couponCode"],
    campaign: &["campaign_id", "campaignId"],
    product: &["product_id", "productId", "sku"],
    amount: &["amount"],
    labels: &[
        ("adv1", "adv1"),
        ("adv2", "adv2"),
        ("adv3", "adv3"),
        ("adv4", "adv4"),
        ("adv5", "adv5"),
        ("adv6", "adv6"),
        ("adv7", "adv7"),
        ("adv8", "adv8"),
        ("adv9", "adv9"),
        ("adv10", "adv10"),
    ],
    standing: None,
    key: &["idempotency_key", "idempotencyKey"],
};
