//! Everflow: `/?nid=&transaction_id=&amount=&event_id=&adv1..&order_id=&coupon_code=&email=&currency=`.
//!
//! `amount` is the sale. `revenue_amount` is not read: what the advertiser owes is not told by the advertiser here.

use super::Names;

pub(super) const NAMES: Names = Names {
    marks: &[
        ("coupon_code", &["nid"]),
        (
            "transaction_id",
            &[
                "nid",
                "event_id",
                "adv_event_id",
                "order_id",
                "coupon_code",
                "email",
                "revenue_amount",
                "adv1",
                "adv2",
                "adv3",
                "adv4",
                "adv5",
            ],
        ),
    ],
    click: &["transaction_id"],
    goal: &["event_id", "adv_event_id"],
    order: &["order_id"],
    customer: &[],
    coupon: &["coupon_code"],
    campaign: &["oid", "offer_id"],
    product: &[],
    amount: &["amount"],
    labels: super::tributary::NAMES.labels,
    standing: None,
    key: &[],
};
