//! TUNE: `/aff_lsr?offer_id=&transaction_id=&amount=&adv_sub=..adv_sub5=&adv_unique1..5=&goal_id=`.
//!
//! `adv_sub` is the advertiser's own reference. The uniques are not: TUNE asks for values there that repeat.

use super::Names;

pub(super) const NAMES: Names = Names {
    marks: &[("transaction_id", &[])],
    click: &["transaction_id"],
    goal: &["goal_id"],
    order: &["adv_sub"],
    customer: &[],
    coupon: &[],
    campaign: &["offer_id"],
    product: &[],
    amount: &["amount"],
    labels: &[
        ("adv_sub2", "adv2"),
        ("adv_sub3", "adv3"),
        ("adv_sub4", "adv4"),
        ("adv_sub5", "adv5"),
        ("adv_unique1", "adv6"),
        ("adv_unique2", "adv7"),
        ("adv_unique3", "adv8"),
        ("adv_unique4", "adv9"),
        ("adv_unique5", "adv10"),
    ],
    standing: None,
    key: &[],
};
