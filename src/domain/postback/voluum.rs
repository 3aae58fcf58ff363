//! Voluum: `/postback?cid=&payout=&txid=&currency=&et=&param1..param5=`.
//!
//! The same `cid` and `txid` is the same conversion, a new `txid` a new one.

use super::Names;

pub(super) const NAMES: Names = Names {
    marks: &[("cid", &[])],
    click: &["cid"],
    goal: &["et"],
    order: &["txid"],
    customer: &[],
    coupon: &[],
    campaign: &[],
    product: &[],
    amount: &["payout"],
    labels: &[("param1", "adv1"), ("param2", "adv2"), ("param3", "adv3"), ("param4", "adv4"), ("param5", "adv5")],
    standing: None,
    key: &[],
};
