//! The models: how much a touch weighs beside the others. Shares are weights divided by their sum.

use tributary_entity::kinds::AttributionModel;

use super::{Rules, decay};

/// Of touches of these ages in microseconds, oldest first and at least one. The sum is more than zero.
pub(super) fn of(rules: &Rules, ages: &[u64]) -> Vec<i128> {
    let last = ages.len() - 1;
    let only = |chosen| (0..ages.len()).map(|place| i128::from(place == chosen)).collect();
    match rules.model {
        AttributionModel::LastClick => only(last),
        AttributionModel::FirstClick => only(0),
        AttributionModel::Linear => vec![1; ages.len()],
        AttributionModel::PositionBased => position_based(ages.len()),
        AttributionModel::TimeDecay => {
            // Reckoned from the newest touch, which leaves the quotients as they are: the sum cannot vanish, however old
            // all of them are.
            let newest = ages[last];
            ages.iter().map(|age| decay::remaining(age - newest, half_life_micros(rules)).into()).collect()
        }
    }
}

/// 40 % to the first and to the last, 20 % spread over those between; of two a half each.
fn position_based(touches: usize) -> Vec<i128> {
    let middle = touches.saturating_sub(2);
    if middle == 0 {
        return vec![1; touches];
    }
    // Twice all of the middle at either end: 2 + 1 + 2 fifths.
    let end = 2 * middle as i128;
    let mut weights = vec![1; touches];
    weights[0] = end;
    weights[touches - 1] = end;
    weights
}

fn half_life_micros(rules: &Rules) -> u64 {
    u64::try_from(rules.half_life_secs).unwrap_or_default().max(1).saturating_mul(1_000_000)
}
