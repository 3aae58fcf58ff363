//! Caps on commission: what is earned is cut to what is left, `max(0, min(earned, cap - used))`.
//!
//! # Decisions
//! - A commission that rises later, at another step of a tier or by another sale amount, is cut likewise: it rises by what
//!   is left, in the period that its conversion is counted in. One that falls gives back what it took.
//! - What was cut when it was earned stays as it was cut: there was nothing left for it, and others may have come since.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    cap,
    ids::{AffiliateId, CapId},
    kinds::CapMetric,
};

use super::Explanation;
use crate::domain::cap::{Demand, fits};

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

impl Clamp {
    /// What the cap cut off.
    pub const fn cut_minor(&self) -> i64 {
        self.earned_minor - self.left_minor
    }
}

/// What a commission is to become whose terms give something else than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It changes by so much, not upwards; what a cap cut off it is then this.
    Falls(i64, Option<Clamp>),
    /// It is to have so much, if caps have room for it.
    Rises(i64),
}

/// The course of a commission that has `has_minor`, of which a cap cut something before, when its terms give
/// `difference_minor` more or less than they did. What was cut off is lost first.
pub fn course(has_minor: i64, clamp: Option<Clamp>, difference_minor: i64) -> Course {
    let cut_minor = clamp.map_or(0, |clamp| clamp.cut_minor());
    let earned_minor = has_minor.saturating_add(cut_minor).saturating_add(difference_minor).max(0);
    if difference_minor > 0 {
        return Course::Rises(earned_minor);
    }
    let clamp = clamp.map(|clamp| Clamp { earned_minor, left_minor: has_minor, ..clamp });
    Course::Falls((earned_minor - has_minor).min(0), clamp.filter(|clamp| clamp.cut_minor() > 0))
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
    /// Whether it is a cap on the commissions of an affiliate.
    pub fn limits(&self, affiliate_id: AffiliateId) -> bool {
        self.cap.metric == CapMetric::Commission && self.cap.affiliate_id.is_none_or(|own| own == affiliate_id)
    }

    /// Nothing where more is used than there is.
    fn left(&self) -> i64 {
        self.cap.amount.saturating_sub(self.used).saturating_sub(self.taken).max(0)
    }
}

/// Cuts the lines of a conversion to what caps have left. False where that refuses it: nothing is left of what it earned, or
/// it does not fit whole into a cap of conversions or sales.
pub fn admit(
    lines: &mut [(AffiliateId, Explanation)],
    rooms: &mut [Room<'_>],
    affiliate_id: AffiliateId,
    sale_minor: i64,
) -> bool {
    if !clamp(lines, rooms) {
        return false;
    }
    let granted = amounts(lines);
    let demand = Demand { affiliate_id, sale_minor, commissions: &granted };
    rooms.iter().all(|room| fits(room.cap, room.used, demand.of(room.cap)))
}

/// What each line of a conversion earns.
pub fn amounts(lines: &[(AffiliateId, Explanation)]) -> Vec<(AffiliateId, i64)> {
    lines.iter().map(|(id, line)| (*id, line.amount.amount_minor)).collect()
}

/// How much a commission rises that is to rise by so much, by the caps that limit it; and the one that has least left, where
/// that cuts it.
pub fn granted(rooms: &[Room<'_>], wanted_minor: i64) -> (i64, Option<CapId>) {
    match rooms.iter().min_by_key(|room| room.left()) {
        Some(room) if room.left() < wanted_minor => (room.left(), Some(room.cap.id)),
        _ => (wanted_minor, None),
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
