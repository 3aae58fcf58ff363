//! Attribution in campaigns' settings and in previews: what another model would pay, from the clicks that are stored.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::kinds::Role;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{enroll, id, merge, new_affiliate, sale},
};

const PREVIEW: &str = "query($input: AttributionPreviewInput!) { attributionPreview(input: $input) { conversions changed \
    affiliateCount totals { currency conversions conversionsProposed commission { amount } commissionProposed { amount } \
    difference { amount } } affiliates { affiliate { id } effect { conversions conversionsProposed commission { amount } \
    commissionProposed { amount } difference { amount } } } } }";

/// A campaign of which three affiliates have a link each.
pub struct Race {
    pub programme: Programme,
    pub affiliates: [String; 3],
    links: [String; 3],
}

impl Race {
    pub async fn begin(owner: &Client, terms: &Terms) -> Self {
        let programme = Programme::build(owner, terms).await;
        let (second, third) = (new_affiliate(owner).await, new_affiliate(owner).await);
        let (_, second_link) = enroll(owner, &programme.campaign, &second).await;
        let (_, third_link) = enroll(owner, &programme.campaign, &third).await;
        Self {
            affiliates: [programme.affiliate.clone(), second, third],
            links: [programme.link.clone(), second_link, third_link],
            programme,
        }
    }

    /// Has a visitor click the links of affiliates, each an hour after the one before, and buy an hour after the last, which
    /// the sale names. The conversion's id.
    pub async fn journey(&self, app: &TestApp, owner: &Client, affiliates: &[usize], amount: &str) -> String {
        let visitor = uuid::Uuid::new_v4().to_string();
        let hours = affiliates.len() as i64;
        let now = app.clock.now();
        let at = |hour: i64| now - TimeDelta::hours(hours - hour + 1);
        let mut last = String::new();
        for (hour, affiliate) in (0..).zip(affiliates) {
            let click = json!({ "linkId": self.links[*affiliate], "visitorId": visitor, "occurredAt": at(hour) });
            last = id(&owner.done("recordClick", click, "click { id }").await, "click");
        }
        let mut sold = sale(&last, &visitor, amount);
        merge(&mut sold, json!({ "occurredAt": at(hours) }));
        id(&owner.done("recordConversion", sold, "conversion { id }").await, "conversion")
    }

    /// A click of an affiliate's link.
    pub async fn click(&self, owner: &Client, affiliate: usize) -> String {
        let click = json!({ "linkId": self.links[affiliate] });
        id(&owner.done("recordClick", click, "click { id }").await, "click")
    }

    /// A trial of a model over the last days.
    pub fn trial(&self, app: &TestApp, model: &str) -> Value {
        let (from, until) = (app.clock.now() - TimeDelta::days(9), app.clock.now() + TimeDelta::days(1));
        json!({ "campaignId": self.programme.campaign, "from": from, "until": until, "model": model })
    }

    /// Each affiliate's commission now and under a trial, in cents.
    pub async fn previewed(&self, client: &Client, trial: &Value) -> [(i64, i64); 3] {
        let data = client.data(PREVIEW, json!({ "input": trial })).await;
        self.affiliates.each_ref().map(|affiliate| {
            let lines = data["attributionPreview"]["affiliates"].as_array().expect("a list");
            let line = lines.iter().find(|line| line["affiliate"]["id"] == **affiliate);
            line.map_or((0, 0), |line| {
                (cents(&line["effect"]["commission"]), cents(&line["effect"]["commissionProposed"]))
            })
        })
    }
}

/// An amount with two digits behind the point.
pub fn cents(money: &Value) -> i64 {
    let amount = money["amount"].as_str().unwrap_or_else(|| panic!("money, not {money}"));
    amount.replace('.', "").parse().expect("cents")
}

on_both! {
    async fn campaign_keeps_its_attribution_settings(app) {
        let owner = app.owner();
        let settings = json!({
            "attributionModel": "TIME_DECAY", "attributionWindowSeconds": 86_400, "attributionHalfLifeSeconds": 3_600,
            "attributionMinimumSeconds": 15, "attributionSources": ["COUPON", "CLICK_ID"], "clickWaitSeconds": 600,
        });
        let selection = "campaign { id attributionModel attributionWindowSeconds attributionHalfLifeSeconds \
            attributionMinimumSeconds attributionSources clickWaitSeconds }";
        let plain = json!({ "name": "Boots", "currency": "EUR", "destinationUrl": "https://shop.example/" });
        let created = owner.done("createCampaign", plain.clone(), selection).await["campaign"].take();
        assert_eq!(created, json!({
            "id": created["id"], "attributionModel": "LAST_CLICK", "attributionWindowSeconds": 2_592_000,
            "attributionHalfLifeSeconds": 604_800, "attributionMinimumSeconds": 0,
            "attributionSources": ["CLICK_ID", "COUPON", "HISTORY"], "clickWaitSeconds": 0,
        }));
        let mut change = settings.clone();
        merge(&mut change, json!({ "id": created["id"] }));
        let changed = owner.done("updateCampaign", change, selection).await["campaign"].take();
        let mut expected = settings.clone();
        merge(&mut expected, json!({ "id": created["id"] }));
        assert_eq!(changed, expected);
        let mut input = plain;
        merge(&mut input, settings);
        let created = owner.done("createCampaign", input.clone(), selection).await["campaign"].take();
        merge(&mut expected, json!({ "id": created["id"] }));
        assert_eq!(created, expected);

        for (field, value, code) in [
            ("attributionWindowSeconds", json!(0), "OUT_OF_RANGE"),
            ("attributionHalfLifeSeconds", json!(0), "OUT_OF_RANGE"),
            ("attributionHalfLifeSeconds", json!(366 * 86_400 + 1), "OUT_OF_RANGE"),
            ("attributionMinimumSeconds", json!(-1), "OUT_OF_RANGE"),
            ("attributionSources", json!([]), "REQUIRED"),
            ("attributionSources", json!(["COUPON", "COUPON"]), "ALREADY_EXISTS"),
            ("clickWaitSeconds", json!(30 * 86_400 + 1), "OUT_OF_RANGE"),
        ] {
            let mut wrong = input.clone();
            wrong[field] = value.clone();
            assert_eq!(owner.refusal("createCampaign", wrong).await, code, "{field}: {value}");
            let change = json!({ "id": created["id"], field: value });
            assert_eq!(owner.refusal("updateCampaign", change).await, code, "{field}: {value}");
        }
    }

    async fn preview_divides_a_journey_by_every_model(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        race.journey(app, &owner, &[0, 1, 2], "100.00").await;
        race.journey(app, &owner, &[1, 0], "50.00").await;
        race.journey(app, &owner, &[2], "10.00").await;
        // As it was decided: each the last click's.
        let now = [500, 0, 1_100];
        for (model, proposed) in [
            ("LAST_CLICK", [500, 0, 1_100]),
            ("FIRST_CLICK", [1_000, 500, 100]),
            // 3.34, 3.33, 3.33; a half each; all.
            ("LINEAR", [334 + 250, 333 + 250, 333 + 100]),
            ("POSITION_BASED", [400 + 250, 200 + 250, 400 + 100]),
        ] {
            let previewed = race.previewed(&owner, &race.trial(app, model)).await;
            assert_eq!(previewed.map(|line| line.0), now, "{model}");
            assert_eq!(previewed.map(|line| line.1), proposed, "{model}");
        }
        // An hour's half-life: 1, 2, 4 of 7; 1, 2 of 3.
        let mut decay = race.trial(app, "TIME_DECAY");
        decay["halfLifeSeconds"] = json!(3_600);
        let previewed = race.previewed(&owner, &decay).await;
        assert_eq!(previewed.map(|line| line.1), [143 + 333, 286 + 167, 571 + 100]);
        // A window of two hours ends exactly at the click before the last.
        let mut narrow = race.trial(app, "FIRST_CLICK");
        narrow["windowSeconds"] = json!(7_200);
        assert_eq!(race.previewed(&owner, &narrow).await.map(|line| line.1), [0, 1_500, 100]);
        narrow["windowSeconds"] = json!(7_199);
        assert_eq!(race.previewed(&owner, &narrow).await.map(|line| line.1), [500, 0, 1_100]);
        // Nobody may buy within an hour and a second.
        let mut late = race.trial(app, "LINEAR");
        late["minimumSeconds"] = json!(3_601);
        assert_eq!(race.previewed(&owner, &late).await.map(|line| line.1), [0, 0, 0]);
        // A preview changes nothing.
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM attribution_decision WHERE version > 1").await, 0);
    }

    async fn preview_tells_totals_and_who_gains_and_loses_most(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::manual()).await;
        race.journey(app, &owner, &[0, 1], "100.00").await;
        race.journey(app, &owner, &[0, 1], "0.01").await;
        race.journey(app, &owner, &[1], "1.00").await;
        let data = owner.data(PREVIEW, json!({ "input": race.trial(app, "FIRST_CLICK") })).await;
        let line = |conversions: [i64; 2], [commission, proposed, difference]: [&str; 3]| json!({
            "conversions": conversions[0], "conversionsProposed": conversions[1], "commission": { "amount": commission },
            "commissionProposed": { "amount": proposed }, "difference": { "amount": difference },
        });
        let mut totals = line([3, 3], ["10.10", "10.10", "0.00"]);
        merge(&mut totals, json!({ "currency": "EUR" }));
        let mut affiliates = vec![
            json!({ "affiliate": { "id": race.affiliates[0] }, "effect": line([0, 2], ["0.00", "10.00", "10.00"]) }),
            json!({ "affiliate": { "id": race.affiliates[1] }, "effect": line([3, 1], ["10.10", "0.10", "-10.00"]) }),
        ];
        affiliates.sort_by_key(|line| line["affiliate"]["id"].as_str().expect("an id").to_owned());
        assert_eq!(data["attributionPreview"], json!({
            // The decision of a single click differs by its model alone.
            "conversions": 3, "changed": 3, "affiliateCount": 2, "totals": [totals], "affiliates": affiliates,
        }));
    }

    async fn only_valid_clicks_of_those_who_may_earn_count(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        race.journey(app, &owner, &[0, 1, 2], "90.00").await;
        let suspended = json!({ "id": race.affiliates[0] });
        owner.done("suspendAffiliate", suspended, "").await;
        let previewed = race.previewed(&owner, &race.trial(app, "LINEAR")).await;
        assert_eq!(previewed, [(0, 0), (0, 450), (900, 450)]);
        // Clicks of a suspended affiliate are not valid from the start.
        race.journey(app, &owner, &[0, 2], "10.00").await;
        assert_eq!(race.previewed(&owner, &race.trial(app, "FIRST_CLICK")).await, [(0, 0), (0, 900), (1_000, 100)]);
        // What is earned stays with who earned it, suspended or not.
        owner.done("suspendAffiliate", json!({ "id": race.affiliates[2] }), "").await;
        assert_eq!(race.previewed(&owner, &race.trial(app, "LINEAR")).await, [(0, 0), (0, 450), (1_000, 550)]);
    }

    async fn commissions_are_split_by_the_terms_that_they_were_reckoned_by(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        race.journey(app, &owner, &[0, 1], "100.00").await;
        let doubled = json!({ "id": race.programme.rule, "terms": { "percent": "20" } });
        owner.done("updateCommissionRule", doubled, "").await;
        // The first has no commission yet, and the rule of now; the second keeps the version of then.
        assert_eq!(race.previewed(&owner, &race.trial(app, "LINEAR")).await, [(0, 1_000), (1_000, 500), (0, 0)]);
    }

    async fn preview_is_of_its_campaign_period_and_tenant(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let (race, other) = (Race::begin(&owner, &Terms::default()).await, Race::begin(&owner, &Terms::default()).await);
        let away = Race::begin(&stranger, &Terms::default()).await;
        race.journey(app, &owner, &[0, 1], "100.00").await;
        other.journey(app, &owner, &[0, 1], "10.00").await;
        away.journey(app, &stranger, &[0, 1], "1.00").await;
        let count = async |client: &Client, trial: &Value| {
            client.data(PREVIEW, json!({ "input": trial })).await["attributionPreview"]["conversions"].take()
        };
        let mut trial = race.trial(app, "LINEAR");
        assert_eq!(count(&owner, &trial).await, 1);
        trial["campaignId"] = Value::Null;
        assert_eq!(count(&owner, &trial).await, 2);
        assert_eq!(count(&stranger, &trial).await, 1);
        trial["campaignId"] = json!(away.programme.campaign);
        assert_eq!(count(&owner, &trial).await, 0);
        trial["campaignId"] = Value::Null;
        trial["until"] = json!(app.clock.now() - TimeDelta::days(1));
        assert_eq!(count(&owner, &trial).await, 0);

        let refused = async |change: Value| {
            let mut wrong = race.trial(app, "LINEAR");
            merge(&mut wrong, change);
            owner.error_code(PREVIEW, json!({ "input": wrong })).await
        };
        let now = app.clock.now().with_timezone(&Utc);
        assert_eq!(refused(json!({ "until": now - TimeDelta::days(9) })).await, "OUT_OF_RANGE");
        assert_eq!(refused(json!({ "from": now - TimeDelta::days(400) })).await, "OUT_OF_RANGE");
        assert_eq!(refused(json!({ "windowSeconds": 0 })).await, "OUT_OF_RANGE");
        for role in [Role::Integration, Role::Analyst] {
            assert_eq!(count(&app.role(role), &race.trial(app, "LINEAR")).await, 1, "{role}");
        }
        let affiliate = app.affiliate(&race.affiliates[0]);
        let input = json!({ "input": race.trial(app, "LINEAR") });
        assert_eq!(affiliate.error_code(PREVIEW, input).await, "FORBIDDEN");
    }
}
