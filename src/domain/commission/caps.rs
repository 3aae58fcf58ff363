//! Caps on commission: what is earned is cut to what is left, `max(0, min(earned, cap - used))`.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    cap,
    ids::{AffiliateId, CapId},
    kinds::CapMetric,
};

use super::Explanation;

/// What a cap cut off a commission; stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamp {
    /// The one that had least left.
    pub cap_id: CapId,
    /// What the rule gave.
    pub earned_minor: i64,
    /// What the cap had left.
    pub left_minor: i64,
}

/// What is left of a cap in its period.
#[derive(Clone, Debug)]
pub struct Room<'a> {
    pub cap: &'a cap::Model,
    pub used: i64,
    /// What the lines that were cut take of it.
    pub taken: i64,
}

impl Room<'_> {
    fn limits(&self, affiliate_id: AffiliateId) -> bool {
        self.cap.metric == CapMetric::Commission && self.cap.affiliate_id.is_none_or(|own| own == affiliate_id)
    }

    fn left(&self) -> i64 {
        self.cap.amount.saturating_sub(self.used).saturating_sub(self.taken).max(0)
    }
}

/// Cuts the lines of a conversion, one after the other, and counts what each takes. False when something was earned and
/// nothing is left of it.
pub fn clamp(lines: &mut [(AffiliateId, Explanation)], rooms: &mut [Room<'_>]) -> bool {
    let sum = |lines: &[(AffiliateId, Explanation)]| {
        lines.iter().map(|(_, line)| i128::from(line.amount.amount_minor)).sum::<i128>()
    };
    let earned = sum(lines);
    for (affiliate_id, line) in lines.iter_mut() {
        let tightest = rooms.iter().filter(|room| room.limits(*affiliate_id)).min_by_key(|room| room.left());
        let earned_minor = line.amount.amount_minor;
        if let Some(room) = tightest
            && room.left() < earned_minor
        {
            let left_minor = room.left();
            line.clamp = Some(Clamp { cap_id: room.cap.id, earned_minor, left_minor });
            line.amount.amount_minor = left_minor;
        }
        let granted = line.amount.amount_minor;
        rooms.iter_mut().filter(|room| room.limits(*affiliate_id)).for_each(|room| room.taken += granted);
    }
    earned == 0 || sum(lines) > 0
}
