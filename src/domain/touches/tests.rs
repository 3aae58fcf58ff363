//! Which source decides, and what it finds.

use chrono::TimeDelta;
use tributary_entity::{
    click,
    ids::{CouponId, LinkId, TenantId},
    kinds::{ApprovalMode, CampaignStatus, ClickInvalidReason, CouponStatus},
};
use uuid::Uuid;

use super::*;

const WINDOW_SECS: i64 = 100;

fn at(secs: i64) -> Instant {
    Instant::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + secs)
}

fn affiliate(number: u128) -> AffiliateId {
    AffiliateId::from_uuid(Uuid::from_u128(number))
}

fn campaign(sources: &str, model: AttributionModel) -> campaign::Model {
    campaign::Model {
        tenant_id: TenantId::default(),
        id: CampaignId::default(),
        name: "Shoes".to_owned(),
        status: CampaignStatus::Active,
        currency: "EUR".parse().expect("known"),
        destination_url: "https://shop.example/".to_owned(),
        attribution_model: model,
        attribution_window_secs: WINDOW_SECS,
        attribution_half_life_secs: 604_800,
        attribution_min_secs: 0,
        attribution_sources: sources.to_owned(),
        click_wait_secs: 0,
        deep_link_hosts: None,
        fallback_url: None,
        countries: None,
        devices: None,
        approval: ApprovalMode::Auto,
        hold_secs: 0,
        is_public: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

fn click(number: u128, secs: i64, invalid_reason: Option<ClickInvalidReason>) -> click::Model {
    click::Model {
        tenant_id: TenantId::default(),
        id: ClickId::from_uuid(Uuid::from_u128(number)),
        link_id: LinkId::default(),
        campaign_id: CampaignId::default(),
        affiliate_id: affiliate(number),
        occurred_at: at(secs),
        recorded_at: at(secs),
        visitor_id: None,
        source: None,
        labels: None,
        is_unique: true,
        invalid_reason,
        country: None,
        device: None,
        os: None,
        browser: None,
        referrer_host: None,
        address_prefix: None,
        address_hash: None,
    }
}

fn past(number: u128, secs: i64) -> PastClick {
    PastClick {
        id: ClickId::from_uuid(Uuid::from_u128(number)),
        campaign_id: CampaignId::default(),
        affiliate_id: affiliate(number),
        occurred_at: at(secs),
    }
}

fn coupon() -> coupon::Model {
    coupon::Model {
        tenant_id: TenantId::default(),
        id: CouponId::from_uuid(Uuid::from_u128(9)),
        campaign_id: CampaignId::default(),
        affiliate_id: affiliate(9),
        code: "C".to_owned(),
        status: CouponStatus::Active,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// The source that decides at second 0, with the affiliates of its touches; or why none does.
fn found(
    campaign: &campaign::Model,
    traces: &Traces<'_>,
    scrutiny: Scrutiny,
) -> Result<(TouchSource, Vec<AffiliateId>), ConversionReason> {
    let found = find(campaign, traces, at(0), scrutiny)?;
    Ok((found.source, found.touches.iter().map(|touch| touch.affiliate_id).collect()))
}

const ALL: &str = "CLICK_ID,COUPON,HISTORY";

#[test]
fn first_source_with_a_touch_decides() {
    let (named, coupon, history) = (click(1, -10, None), coupon(), [past(2, -20), past(3, -5)]);
    let traces = Traces { click: Named::Known(&named), coupon: Named::Known(&coupon), history: &history };
    for (sources, expected) in [
        (ALL, (TouchSource::ClickId, vec![affiliate(1)])),
        ("COUPON,CLICK_ID", (TouchSource::Coupon, vec![affiliate(9)])),
        ("HISTORY,CLICK_ID", (TouchSource::History, vec![affiliate(3), affiliate(2)])),
    ] {
        let campaign = campaign(sources, AttributionModel::LastClick);
        assert_eq!(found(&campaign, &traces, Scrutiny::Full), Ok(expected), "{sources}");
    }
}

#[test]
fn named_click_is_joined_by_the_past_where_several_are_credited() {
    let (named, history) = (click(1, -10, None), [past(1, -10), past(2, -20), past(3, -101), past(4, 1)]);
    let traces = Traces { click: Named::Known(&named), history: &history, ..Traces::default() };
    let several = found(&campaign(ALL, AttributionModel::Linear), &traces, Scrutiny::Full);
    assert_eq!(several, Ok((TouchSource::ClickId, vec![affiliate(1), affiliate(2)])));
    let alone = found(&campaign(ALL, AttributionModel::LastClick), &traces, Scrutiny::Full);
    assert_eq!(alone, Ok((TouchSource::ClickId, vec![affiliate(1)])));
}

#[test]
fn refusal_is_that_of_the_first_source_with_something_to_say() {
    let campaign = campaign(ALL, AttributionModel::LastClick);
    let (bad, old) = (click(1, -10, Some(ClickInvalidReason::LinkDisabled)), click(1, -101, None));
    let old_past = [past(2, -101)];
    for (traces, reason) in [
        (Traces::default(), ConversionReason::NoTouch),
        (Traces { click: Named::Unknown, coupon: Named::Unknown, history: &[] }, ConversionReason::UnknownClick),
        (Traces { click: Named::Known(&bad), coupon: Named::Unknown, history: &[] }, ConversionReason::InvalidClick),
        (Traces { click: Named::Known(&old), ..Traces::default() }, ConversionReason::OutsideWindow),
        (Traces { coupon: Named::Unknown, history: &old_past, ..Traces::default() }, ConversionReason::UnknownCoupon),
        (Traces { history: &old_past, ..Traces::default() }, ConversionReason::OutsideWindow),
    ] {
        assert_eq!(found(&campaign, &traces, Scrutiny::Full), Err(reason), "{traces:?}");
    }
    // What is named and does not count lets the next one speak.
    let traces = Traces { click: Named::Known(&bad), history: &[past(2, -1)], ..Traces::default() };
    assert_eq!(found(&campaign, &traces, Scrutiny::Full), Ok((TouchSource::History, vec![affiliate(2)])));
}

#[test]
fn waived_are_window_and_validity_but_not_the_order_of_time() {
    let campaign = campaign(ALL, AttributionModel::LastClick);
    let (bad, later) = (click(1, -5_000, Some(ClickInvalidReason::LinkDisabled)), click(1, 1, None));
    let traces = Traces { click: Named::Known(&bad), ..Traces::default() };
    let touches = find(&campaign, &traces, at(0), Scrutiny::Waived).expect("found").touches;
    assert_eq!(rules(&campaign, &touches, at(0), Scrutiny::Waived).window_secs, 5_001);
    let traces = Traces { click: Named::Known(&later), ..Traces::default() };
    assert_eq!(found(&campaign, &traces, Scrutiny::Waived), Err(ConversionReason::OutsideWindow));
}

#[test]
fn past_is_asked_for_only_where_it_matters() {
    let (named, coupon) = (click(1, -10, None), coupon());
    let by_click = Traces { click: Named::Known(&named), ..Traces::default() };
    let by_coupon = Traces { coupon: Named::Known(&coupon), ..Traces::default() };
    for (sources, model, traces, needed) in [
        (ALL, AttributionModel::LastClick, &by_click, false),
        (ALL, AttributionModel::Linear, &by_click, true),
        (ALL, AttributionModel::Linear, &by_coupon, false),
        ("HISTORY,COUPON", AttributionModel::LastClick, &by_coupon, true),
        ("HISTORY,CLICK_ID", AttributionModel::LastClick, &by_click, true),
        (ALL, AttributionModel::LastClick, &Traces::default(), true),
        ("CLICK_ID,COUPON", AttributionModel::LastClick, &Traces::default(), false),
    ] {
        let campaign = campaign(sources, model);
        assert_eq!(needs_history(&campaign, traces, at(0), Scrutiny::Full), needed, "{sources} {model} {traces:?}");
    }
}
