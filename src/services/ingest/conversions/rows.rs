//! A decision as rows: the conversion, its attribution, its commissions.

use chrono::TimeDelta;
use tributary_entity::{
    Instant, attribution_decision, attribution_touch, campaign, commission, conversion,
    ids::CommissionId,
    kinds::{CommissionStatus, ConversionStatus},
    money::{Currency, Money},
};

use super::{Case, traces::Trace};
use crate::{
    ambient,
    domain::{
        attribution::{Means, Share},
        click::labels_json,
        conversion::{Credit, Decision, Snapshot},
    },
    store::{
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// A conversion's row with all that does not depend on whom it credits.
pub(super) fn conversion(
    tx: &Tx,
    case: &Case<'_>,
    decision: &Decision,
    sale: Money,
    commission_currency: Currency,
    now: Instant,
) -> conversion::Model {
    let input = &case.input;
    let before = case.before.as_ref();
    conversion::Model {
        tenant_id: tx.scope().tenant_id(),
        id: case.id,
        // As sent: a conversion that waits must not forget it.
        campaign_id: input.campaign_id,
        goal_id: None,
        goal_code: input.goal.clone(),
        affiliate_id: None,
        click_id: None,
        sent_click_id: input.click_id,
        visitor_id: input.visitor_id.clone(),
        coupon_code: input.coupon_code.clone(),
        held_until: None,
        kept_back: input.needs_review,
        order_id: input.order_id.clone(),
        unique_order_id: None,
        unique_click_id: None,
        customer_id: input.customer_id.clone(),
        product_id: input.product_id.clone(),
        status: decision.status,
        reason: decision.reason,
        // What was sent stays; what was changed since is beside it.
        sale_minor: before.map_or(sale.amount_minor, |row| row.sale_minor),
        sale_currency: sale.currency,
        sale_adjusted_minor: before.map_or(0, |row| row.sale_adjusted_minor),
        refunded_minor: before.map_or(0, |row| row.refunded_minor),
        commission_minor: 0,
        commission_currency,
        rated_sale_minor: None,
        fx: None,
        labels: labels_json(&input.labels),
        occurred_at: case.occurred_at(now),
        recorded_at: before.map_or(now, |row| row.recorded_at),
        approved_at: None,
        payable_at: None,
        version: before.map_or(1, |row| row.version + 1),
        updated_at: now,
    }
}

/// The conversion with what was decided about it.
pub(super) fn snapshot(
    mut row: conversion::Model,
    trace: &Trace,
    decision: &Decision,
    campaign: &campaign::Model,
    now: Instant,
) -> Result<Snapshot, StoreError> {
    let view = trace.view();
    let presumed = view.click.known().map(|click| click.affiliate_id);
    let presumed = presumed.or(view.coupon.known().map(|coupon| coupon.affiliate_id));
    row.click_id = view.click.known().map(|click| click.id);
    row.affiliate_id = presumed;
    row.approved_at = (decision.status == ConversionStatus::Approved).then_some(now);
    row.payable_at = row.approved_at.map(|at| at + TimeDelta::seconds(campaign.hold_secs));
    let (mut decided, mut touches) = (None, Vec::new());
    if let Some(credit) = &decision.credit {
        row.affiliate_id = credit.affiliates().first().copied().or(presumed);
        row.click_id = row.affiliate_id.and_then(|id| credit.last_click_of(id)).or(row.click_id);
        (decided, touches) = attribution(&row, credit, now);
    }
    let commissions = commissions(&row, decision, now)?;
    row.commission_minor = commissions
        .iter()
        .try_fold(0_i64, |sum, row| sum.checked_add(row.amount_minor))
        .ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    Ok(Snapshot { conversion: row, decision: decided, touches, commissions })
}

fn commissions(
    row: &conversion::Model,
    decision: &Decision,
    now: Instant,
) -> Result<Vec<commission::Model>, StoreError> {
    let status = match decision.status {
        ConversionStatus::Approved => CommissionStatus::Pending,
        _ => CommissionStatus::Unapproved,
    };
    let lines = decision.commissions.iter().map(|(affiliate_id, explanation)| {
        Ok(commission::Model {
            tenant_id: row.tenant_id,
            id: CommissionId::from_uuid(ambient::new_uuid()),
            conversion_id: row.id,
            affiliate_id: *affiliate_id,
            level: 0,
            base_affiliate_id: None,
            status,
            amount_minor: explanation.amount.amount_minor,
            currency: explanation.amount.currency,
            adjusted_minor: 0,
            reversed_minor: 0,
            rule_id: explanation.rule_id,
            rule_version: explanation.rule_version,
            explanation: serde_json::to_string(explanation)
                .map_err(|error| StoreError::inconsistent("commission", error))?,
            clamp: None,
            payable_at: row.payable_at,
            released_at: None,
            created_at: now,
        })
    });
    lines.collect()
}

fn attribution(
    row: &conversion::Model,
    credit: &Credit,
    now: Instant,
) -> (Option<attribution_decision::Model>, Vec<attribution_touch::Model>) {
    let decided = attribution_decision::Model {
        tenant_id: row.tenant_id,
        conversion_id: row.id,
        version: 1,
        model: credit.rules.model,
        window_secs: credit.rules.window_secs,
        half_life_secs: credit.rules.half_life_secs,
        min_secs: credit.rules.min_secs,
        source: credit.source,
        decided_at: now,
    };
    let touches = (0..).zip(&credit.shares).map(|(position, share)| touch(row, position, share)).collect();
    (Some(decided), touches)
}

fn touch(row: &conversion::Model, position: i32, share: &Share) -> attribution_touch::Model {
    let Share { touch, millionths } = share;
    let (click_id, coupon_id, occurred_at) = match touch.means {
        Means::Click(id) => (Some(id), None, Some(touch.occurred_at)),
        Means::Coupon(id) => (None, Some(id), None),
    };
    attribution_touch::Model {
        tenant_id: row.tenant_id,
        conversion_id: row.id,
        version: 1,
        position,
        click_id,
        affiliate_id: touch.affiliate_id,
        share_millionths: *millionths,
        coupon_id,
        occurred_at,
    }
}
