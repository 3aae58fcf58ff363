//! Attribution once more, from its definitions, in integers of any size: what the tests hold the engine against.
//!
//! Shares nothing with it: no fixed-point roots of a half but the series of the exponential, no sorting by remainder but
//! one search per missing millionth, plain numbers for touches.

use num_bigint::BigInt;
use tributary_entity::kinds::AttributionModel;

/// Behind the point of a weight: bits enough for any ratio of weights in a year of one-second half-lives.
const BITS: u32 = 512;

/// A touch: microseconds before the conversion, and a number by which touches of one moment are told apart.
pub(super) type Touch = (i64, u128);

/// The shares of touches in millionths, each beside its touch, oldest first; those of nothing are left out.
pub(super) fn shares(model: AttributionModel, window: i64, half_life: i64, touches: &[Touch]) -> Vec<(Touch, i32)> {
    let mut inside: Vec<Touch> = Vec::new();
    for touch in touches {
        if touch.0 >= 0 && touch.0 <= window && !inside.contains(touch) {
            inside.push(*touch);
        }
    }
    inside.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    while inside.len() > 100 {
        inside.remove(0);
    }
    let weights: Vec<BigInt> = (0..inside.len()).map(|place| weight(model, half_life, &inside, place)).collect();
    let sum: BigInt = weights.iter().sum();
    if sum == BigInt::ZERO {
        return Vec::new();
    }
    let scaled = weights.iter().map(|weight| weight * 1_000_000);
    let mut parts: Vec<(BigInt, BigInt)> = scaled.map(|scaled| (&scaled / &sum, scaled % &sum)).collect();
    while parts.iter().map(|(whole, _)| whole).sum::<BigInt>() < BigInt::from(1_000_000) {
        let most = parts.iter().map(|(_, rest)| rest).max().expect("touches").clone();
        let first = parts.iter_mut().find(|(_, rest)| *rest == most).expect("the most is one of them");
        first.0 += 1;
        first.1 = BigInt::from(-1);
    }
    let parts = parts.into_iter().map(|(whole, _)| i32::try_from(whole).expect("at most a million"));
    inside.into_iter().zip(parts).filter(|(_, part)| *part > 0).collect()
}

fn weight(model: AttributionModel, half_life: i64, touches: &[Touch], place: usize) -> BigInt {
    let count = touches.len();
    let (first, last) = (place == 0, place == count - 1);
    match model {
        AttributionModel::LastClick => i32::from(last).into(),
        AttributionModel::FirstClick => i32::from(first).into(),
        AttributionModel::Linear => 1.into(),
        // In units of 1 / (10 (n - 2)).
        AttributionModel::PositionBased if count > 2 && (first || last) => (4 * (count - 2)).into(),
        AttributionModel::PositionBased if count > 2 => 2.into(),
        AttributionModel::PositionBased => 1.into(),
        AttributionModel::TimeDecay => two_to_minus(touches[place].0, half_life),
    }
}

/// `2^(-a/b)` in units of 2^-[`BITS`]: `exp(-(a/b) ln 2)`, the whole part of the quotient by division.
fn two_to_minus(a: i64, b: i64) -> BigInt {
    let one = BigInt::from(1) << BITS;
    let x = &one * (a % b) / b;
    // ln 2 = sum of 1 / (k 2^k).
    let ln2: BigInt = (1..BITS).map(|k| (&one >> k) / k).sum();
    let y = x * ln2 / &one;
    let (mut term, mut sum) = (one.clone(), one.clone());
    for k in 1..150 {
        term = -(term * &y / &one) / k;
        sum += &term;
    }
    sum >> u32::try_from(a / b).unwrap_or(u32::MAX).min(BITS)
}
