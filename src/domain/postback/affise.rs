//! Affise: `/postback?clickid=&status=1|2|3|5&sum=&goal=`, with `action_id`, `user_id`, `promo_code` and
//! custom fields.

use super::{Names, Standing};

pub(super) const NAMES: Names = Names {
    marks: &[
        ("clickid", &[]),
        ("click_id", &["action_id", "sum", "status", "secure", "promo_code"]),
        ("promo_code", &["action_id"]),
    ],
    click: &["clickid", "click_id"],
    goal: &["goal"],
    order: &["action_id"],
    customer: &["user_id"],
    coupon: &["promo_code"],
    campaign: &["offer_id"],
    product: &[],
    amount: &["sum"],
    labels: &[
        ("custom_field1", "adv1"),
        ("custom_field2", "adv2"),
        ("custom_field3", "adv3"),
        ("custom_field4", "adv4"),
        ("custom_field5", "adv5"),
        ("custom_field6", "adv6"),
        ("custom_field7", "adv7"),
        ("custom_field8", "adv8"),
        ("custom_field9", "adv9"),
        ("custom_field10", "adv10"),
    ],
    standing: Some(("status", standing)),
    key: &[],
};

/// 1 approved, 2 pending, 3 declined, 5 on hold.
fn standing(status: &str) -> Option<Standing> {
    match status {
        "1" => Some(Standing::Approved),
        "2" | "5" => Some(Standing::Waiting),
        "3" => Some(Standing::Declined),
        _ => None,
    }
}
