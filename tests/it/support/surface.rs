//! The whole surface as calls: a tenant's (or an affiliate's) objects, and a sample call of every root field over them.
//!
//! # Adding a root field
//! A line in [`samples`] with arguments that are good in a [`World`], every argument of type ID among them. The tests of
//! isolation and of permissions fail until it is there.

use std::collections::BTreeMap;

use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::Instant;

use super::{Client, Programme, Terms, TestApp, app::PASSWORD, programme};

/// Ids by their prefix: one object of every kind, all of one affiliate's.
#[derive(Clone, Debug)]
pub struct World {
    pub ids: BTreeMap<&'static str, String>,
    /// A click without a conversion.
    pub free_click: String,
    /// The affiliate's name, which nobody else may read anywhere.
    pub name: String,
    now: Instant,
}

impl World {
    /// Makes objects of every kind as the owner of a tenant: approved and waiting conversions, a user, a key.
    pub async fn seed(app: &TestApp, owner: &Client) -> Self {
        let programme = Programme::build(owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let waiting = Programme::build(owner, &Terms::manual()).await;
        let click = programme.click(owner).await;
        let sale = |click: &str| programme::sale(click, &uuid::Uuid::new_v4().to_string(), "100.00");
        let conversion =
            programme::id(&owner.done("recordConversion", sale(&click), "conversion { id }").await, "conversion");
        let (_, link) = programme::enroll(owner, &waiting.campaign, &programme.affiliate).await;
        let on_waiting = json!({ "linkId": link });
        let later = programme::id(&owner.done("recordClick", on_waiting, "click { id }").await, "click");
        owner.done("recordConversion", sale(&later), "conversion { id }").await;
        let found = owner
            .data(
                "query($cnv: [ID!], $aff: ID!) { affiliate(id: $aff) { name } \
                 commissions(first: 1, filter: { conversionIds: $cnv }) { edges { node { id } } } \
                 journals(first: 1, filter: { conversionIds: $cnv }) { edges { node { id entries { account { id code } } } } } }",
                json!({ "cnv": [conversion], "aff": programme.affiliate }),
            )
            .await;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text in {found}")).to_owned();
        let journal = &found["journals"]["edges"][0]["node"];
        let accounts = journal["entries"].as_array().expect("entries");
        let own_account =
            accounts.iter().find(|entry| entry["account"]["code"] != 5000).expect("the affiliate's account");
        let user = json!({
            "email": format!("{}@people.example", uuid::Uuid::new_v4().simple()), "name": "Ann", "password": PASSWORD,
            "roles": ["AFFILIATE"], "affiliateId": programme.affiliate,
        });
        let user = programme::id(&owner.done("createUser", user, "user { id }").await, "user");
        let key = json!({ "name": "shop", "scopes": ["READ"] });
        let key = programme::id(&owner.done("createApiKey", key, "apiKey { id }").await, "apiKey");
        let endpoint = json!({ "name": "shop" });
        let endpoint = owner.done("createPostbackEndpoint", endpoint, "token postbackEndpoint { id }").await;
        // It says nothing, and so it is refused and listed.
        let token = text(&endpoint["token"]);
        reqwest::get(format!("{}/postback/{token}", app.url)).await.expect("an answer");
        let calls = "{ postbackCalls(first: 1) { edges { node { id } } } }";
        let call = text(&owner.data(calls, json!({})).await["postbackCalls"]["edges"][0]["node"]["id"]);
        let free_click = programme.click(owner).await;
        let cap = json!({
            "enrollmentId": programme.enrollment, "metric": "CONVERSIONS", "period": "DAY", "amount": { "count": 1000 },
        });
        let cap = programme::id(&owner.done("createCap", cap, "cap { id }").await, "cap");
        let coupon = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": "ADA10" });
        let coupon = programme::id(&owner.done("createCoupon", coupon, "coupon { id }").await, "coupon");
        app.release_holds().await;
        let destination = json!({
            "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ann",
            "account": { "sepa": { "iban": "DE89370400440532013000" } },
        });
        let destination = owner.done("setPayoutDestination", destination, "payoutDestination { id }").await;
        // The second finds nothing late enough: what waits for a review is credited to nobody, the difference taken back.
        let mut runs = Vec::new();
        for (campaign, minimum) in [(&programme.campaign, 0), (&waiting.campaign, 86_400)] {
            let run = json!({
                "campaignId": campaign, "from": app.clock.now() - TimeDelta::days(1), "minimumSeconds": minimum,
                "until": app.clock.now() + TimeDelta::days(1), "model": "LINEAR", "reason": "trial",
            });
            let run = owner.done("applyAttribution", run, "attributionRun { id }").await;
            runs.push(programme::id(&run, "attributionRun"));
        }
        app.run_jobs().await;
        let plan = json!({ "campaignId": programme.campaign, "levels": [{ "percentOfSale": "1" }] });
        let plan = programme::id(&owner.done("setOverridePlan", plan, "overridePlan { id }").await, "overridePlan");
        let parent = json!({ "id": programme::new_affiliate(owner).await, "parentId": programme.affiliate });
        owner.done("setAffiliateParent", parent, "").await;
        let rate = json!({ "campaignId": programme.campaign, "terms": { "perClick": "0.01" } });
        let rate = programme::id(&owner.done("setClickRate", rate, "clickRate { id }").await, "clickRate");
        programme.click(owner).await;
        let bonus = json!({
            "affiliateId": programme.affiliate, "amount": { "amount": "1.00", "currency": "EUR" }, "reason": "thanks",
            "campaignId": programme.campaign,
        });
        let award = programme::id(&owner.done("postBonus", bonus, "award { id }").await, "award");
        let batch = json!({ "currency": "EUR", "affiliateIds": [programme.affiliate] });
        let drafted = "payoutBatch { id payouts(first: 1) { edges { node { id } } } }";
        let drafted = owner.done("createPayoutBatch", batch.clone(), drafted).await;
        // Passed over: the first is open.
        owner.done("createPayoutBatch", batch, "").await;
        Self {
            ids: BTreeMap::from([
                ("cmp", programme.campaign),
                ("gol", programme.goal),
                ("rul", programme.rule),
                ("cap", cap),
                ("ovp", plan),
                ("crt", rate),
                ("aff", programme.affiliate),
                ("enr", programme.enrollment),
                ("lnk", programme.link),
                ("cpn", coupon),
                ("clk", click),
                ("cnv", conversion),
                ("com", text(&found["commissions"]["edges"][0]["node"]["id"])),
                ("awd", award),
                ("jrn", text(&journal["id"])),
                ("acc", text(&own_account["account"]["id"])),
                ("pbt", programme::id(&drafted, "payoutBatch")),
                ("pde", programme::id(&destination, "payoutDestination")),
                ("pay", text(&drafted["payoutBatch"]["payouts"]["edges"][0]["node"]["id"])),
                ("run", runs.remove(0)),
                ("usr", user),
                ("key", key),
                ("pbe", programme::id(&endpoint, "postbackEndpoint")),
                ("pbc", call),
            ]),
            free_click,
            name: text(&found["affiliate"]["name"]),
            now: app.clock.now(),
        }
    }

    /// Ids of the right kinds that name nothing.
    pub fn of_nothing(&self) -> Self {
        let ids = self.ids.keys().map(|prefix| (*prefix, random_id(prefix))).collect();
        Self { ids, free_click: random_id("clk"), ..self.clone() }
    }

    /// The id of the same kind as another world's.
    pub fn like(&self, id: &str) -> String {
        let prefix = id.split('_').next().unwrap_or_default();
        self.ids.get(prefix).unwrap_or_else(|| panic!("a world has objects like {id}")).clone()
    }
}

/// An id that names nothing.
pub fn random_id(prefix: &str) -> String {
    let id = tributary_entity::ids::TenantId::from_uuid(uuid::Uuid::new_v4()).to_string();
    id.replacen("ten", prefix, 1)
}

/// Whether a text has the form of an id.
pub fn is_id(text: &str) -> bool {
    text.split_once('_').is_some_and(|(prefix, rest)| {
        prefix.len() == 3
            && rest.len() == 26
            && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// In a sample's texts: replaced by another text at each call.
const UNIQUE: &str = "$UNIQUE";

/// A sample as it is sent, with texts of its own.
pub fn fresh(sample: &Value) -> Value {
    let text = sample.to_string().replace(UNIQUE, &uuid::Uuid::new_v4().simple().to_string());
    serde_json::from_str(&text).expect("still JSON")
}

/// The arguments of every root field, as `Query.name`: good calls over a world's objects. Where one call cannot name
/// every argument of type ID, several.
#[expect(clippy::too_many_lines, reason = "one list, a line or two per field")]
pub fn samples(world: &World) -> BTreeMap<&'static str, Vec<Value>> {
    let id = |prefix: &str| world.ids[prefix].clone();
    let by_id = |prefix: &str| vec![json!({ "id": id(prefix) })];
    let input = |input: Value| vec![json!({ "input": input })];
    let named = |prefix: &str| input(json!({ "id": id(prefix) }));
    let page = |filter: Value| vec![json!({ "first": 20, "filter": filter })];
    let hour = world.now.duration_trunc(TimeDelta::hours(1)).expect("in range");
    let (from, until) = (hour - TimeDelta::hours(1), hour + TimeDelta::hours(2));
    let report = |groups: Value| {
        json!({ "input": {
            "from": from, "until": until, "groupBy": groups,
            "campaignIds": [id("cmp")], "affiliateIds": [id("aff")],
        } })
    };
    let terms = json!({ "percent": "10" });
    let click = json!({ "linkId": id("lnk"), "visitorId": "$UNIQUE" });
    let conversion = json!({
        "clickId": world.free_click, "campaignId": id("cmp"), "goal": "sale", "orderId": "$UNIQUE",
        "saleAmount": { "amount": "1.00", "currency": "EUR" },
    });
    let count = json!({ "count": 1_000_000 });
    let cap = |target: Value| {
        let mut input = json!({ "metric": "CLICKS", "period": "LIFETIME", "amount": count });
        programme::merge(&mut input, target);
        json!({ "input": input })
    };
    BTreeMap::from([
        ("Query.affiliate", by_id("aff")),
        (
            "Query.affiliates",
            vec![
                json!({ "first": 20, "filter": { "ids": [id("aff")] } }),
                json!({ "first": 20, "filter": { "parentIds": [id("aff")] } }),
            ],
        ),
        ("Query.apiKeys", vec![json!({ "first": 20 })]),
        (
            "Query.attributionPreview",
            input(json!({ "campaignId": id("cmp"), "from": from, "until": until, "model": "LINEAR" })),
        ),
        ("Query.attributionRun", by_id("run")),
        ("Query.attributionRuns", page(json!({ "campaignIds": [id("cmp")] }))),
        ("Query.awards", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        ("Query.campaign", by_id("cmp")),
        ("Query.campaigns", page(json!({}))),
        ("Query.click", by_id("clk")),
        (
            "Query.clicks",
            page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")], "linkIds": [id("lnk")] })),
        ),
        ("Query.commissions", page(json!({ "affiliateIds": [id("aff")], "conversionIds": [id("cnv")] }))),
        ("Query.conversion", vec![json!({ "by": { "id": id("cnv") } })]),
        (
            "Query.conversionCursor",
            vec![json!({ "filter": { "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] } })],
        ),
        ("Query.conversions", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        ("Query.earnings", vec![json!({ "affiliateId": id("aff") })]),
        ("Query.events", vec![json!({ "first": 20 })]),
        ("Query.enrollments", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        (
            "Query.invalidClicks",
            input(json!({ "from": from, "until": until, "campaignIds": [id("cmp")], "affiliateIds": [id("aff")] })),
        ),
        ("Query.journals", page(json!({ "accountIds": [id("acc")], "conversionIds": [id("cnv")] }))),
        ("Query.coupon", by_id("cpn")),
        ("Query.coupons", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        ("Query.link", by_id("lnk")),
        ("Query.links", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        ("Query.node", NODES.iter().flat_map(|prefix| by_id(prefix)).collect()),
        ("Query.nodes", NODES.iter().map(|prefix| json!({ "ids": [id(prefix)] })).collect()),
        ("Query.payout", by_id("pay")),
        ("Query.payoutBatch", by_id("pbt")),
        ("Query.payoutBatches", page(json!({ "statuses": ["DRAFT"] }))),
        ("Query.payoutDestination", by_id("pde")),
        ("Query.payoutCursor", vec![json!({ "filter": { "affiliateIds": [id("aff")], "batchIds": [id("pbt")] } })]),
        ("Query.payouts", page(json!({ "affiliateIds": [id("aff")], "batchIds": [id("pbt")] }))),
        ("Query.postbackCalls", page(json!({ "endpointIds": [id("pbe")] }))),
        ("Query.postbackEndpoints", vec![json!({ "first": 20 })]),
        ("Query.report", vec![report(json!([])), report(json!(["CAMPAIGN", "AFFILIATE"]))]),
        ("Query.statement", vec![json!({ "affiliateId": id("aff"), "currency": "EUR", "from": from, "until": until })]),
        ("Query.tenant", vec![json!({})]),
        ("Query.trialBalance", vec![json!({})]),
        ("Query.users", page(json!({}))),
        ("Query.viewer", vec![json!({})]),
        ("Mutation.activateCampaign", named("cmp")),
        (
            "Mutation.applyAffiliate",
            input(json!({ "tenant": "home", "name": "$UNIQUE", "email": "$UNIQUE@new.example", "password": PASSWORD })),
        ),
        ("Mutation.applyToCampaign", input(json!({ "campaignId": id("cmp") }))),
        (
            "Mutation.applyAttribution",
            input(json!({
                "campaignId": id("cmp"), "from": from, "until": until, "model": "LINEAR", "reason": "$UNIQUE",
            })),
        ),
        ("Mutation.approveAffiliate", named("aff")),
        ("Mutation.approveConversions", input(json!({ "ids": [id("cnv")] }))),
        ("Mutation.approveEnrollment", named("enr")),
        ("Mutation.approvePayoutBatch", named("pbt")),
        ("Mutation.archiveCampaign", named("cmp")),
        ("Mutation.archiveCap", named("cap")),
        ("Mutation.archiveCommissionRule", named("rul")),
        ("Mutation.archiveClickRate", named("crt")),
        ("Mutation.archiveGoal", named("gol")),
        ("Mutation.archiveOverridePlan", named("ovp")),
        ("Mutation.cancelPayout", named("pay")),
        // A wrong one: the right one would end the session of who calls.
        ("Mutation.changePassword", input(json!({ "currentPassword": "not it", "newPassword": "another long one" }))),
        ("Mutation.createAffiliate", input(json!({ "name": "$UNIQUE", "email": "$UNIQUE@new.example" }))),
        ("Mutation.createApiKey", input(json!({ "name": "key", "scopes": ["READ"] }))),
        (
            "Mutation.createCampaign",
            input(json!({ "name": "Boots", "currency": "EUR", "destinationUrl": "https://shop.example/" })),
        ),
        (
            "Mutation.createCap",
            vec![cap(json!({ "campaignId": id("cmp") })), cap(json!({ "enrollmentId": id("enr") }))],
        ),
        (
            "Mutation.createCommissionRule",
            input(json!({
                "campaignId": id("cmp"), "goalId": id("gol"), "name": "Other", "terms": terms, "isDefault": false,
            })),
        ),
        (
            "Mutation.createEnrollment",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "ruleId": id("rul") })),
        ),
        ("Mutation.createGoal", input(json!({ "campaignId": id("cmp"), "code": "c$UNIQUE", "name": "Lead" }))),
        (
            "Mutation.createCoupon",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "code": "$UNIQUE" })),
        ),
        ("Mutation.createLink", input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff") }))),
        ("Mutation.createPayoutBatch", input(json!({ "currency": "EUR", "affiliateIds": [id("aff")] }))),
        ("Mutation.createPostbackEndpoint", input(json!({ "name": "endpoint" }))),
        (
            "Mutation.createUser",
            input(json!({
                "email": "$UNIQUE@new.example", "name": "Bea", "password": PASSWORD, "roles": ["AFFILIATE"],
                "affiliateId": id("aff"),
            })),
        ),
        ("Mutation.disableCoupon", named("cpn")),
        ("Mutation.disableLink", named("lnk")),
        ("Mutation.disablePostbackEndpoint", named("pbe")),
        ("Mutation.disableUser", named("usr")),
        ("Mutation.enableCoupon", named("cpn")),
        ("Mutation.enableLink", named("lnk")),
        ("Mutation.enablePostbackEndpoint", named("pbe")),
        ("Mutation.enableUser", named("usr")),
        ("Mutation.login", input(json!({ "tenant": "home", "email": "nobody@new.example", "password": PASSWORD }))),
        ("Mutation.logout", input(json!({ "refreshToken": "none" }))),
        ("Mutation.markPayoutFailed", input(json!({ "id": id("pay"), "reason": "$UNIQUE" }))),
        ("Mutation.markPayoutPaid", input(json!({ "id": id("pay"), "reference": "$UNIQUE" }))),
        ("Mutation.markPayoutReturned", input(json!({ "id": id("pay"), "reference": "$UNIQUE", "reason": "$UNIQUE" }))),
        ("Mutation.pauseCampaign", named("cmp")),
        (
            "Mutation.postAdjustment",
            input(json!({
                "affiliateId": id("aff"), "direction": "GIVE", "amount": { "amount": "1.00", "currency": "EUR" },
                "reason": "$UNIQUE",
            })),
        ),
        (
            "Mutation.postBonus",
            input(json!({
                "affiliateId": id("aff"), "campaignId": id("cmp"), "amount": { "amount": "1.00", "currency": "EUR" },
                "reason": "$UNIQUE",
            })),
        ),
        ("Mutation.recordClick", input(click.clone())),
        ("Mutation.recordClicks", input(json!({ "items": [click] }))),
        ("Mutation.recordConversion", input(conversion.clone())),
        ("Mutation.recordConversions", input(json!({ "items": [conversion] }))),
        ("Mutation.refreshSession", input(json!({ "refreshToken": "none" }))),
        ("Mutation.rejectAffiliate", named("aff")),
        ("Mutation.rejectConversions", input(json!({ "ids": [id("cnv")], "reason": "TEST" }))),
        ("Mutation.rejectEnrollment", named("enr")),
        ("Mutation.removePayoutDestination", named("pde")),
        ("Mutation.reopenConversions", input(json!({ "ids": [id("cnv")] }))),
        ("Mutation.retryPayout", named("pay")),
        ("Mutation.revokeApiKey", named("key")),
        ("Mutation.rotatePostbackToken", named("pbe")),
        ("Mutation.setAffiliateParent", input(json!({ "id": id("aff"), "parentId": id("aff") }))),
        (
            "Mutation.setClickRate",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "terms": { "perMille": "1" } })),
        ),
        (
            "Mutation.setOverridePlan",
            input(json!({ "campaignId": id("cmp"), "levels": [{ "percentOfCommission": "10" }] })),
        ),
        (
            "Mutation.setPayoutDestination",
            input(json!({
                "affiliateId": id("aff"), "currency": "EUR", "holder": "$UNIQUE",
                "account": { "paypal": { "email": "$UNIQUE@new.example" } },
            })),
        ),
        ("Mutation.setUserRoles", input(json!({ "id": id("usr"), "roles": ["AFFILIATE"] }))),
        ("Mutation.submitPayoutBatch", named("pbt")),
        ("Mutation.suspendAffiliate", named("aff")),
        ("Mutation.suspendEnrollment", named("enr")),
        ("Mutation.updateAffiliate", input(json!({ "id": id("aff"), "company": "Ltd" }))),
        ("Mutation.updateCap", input(json!({ "id": id("cap"), "amount": count }))),
        ("Mutation.updateCampaign", input(json!({ "id": id("cmp"), "name": "Boots" }))),
        ("Mutation.updateCommissionRule", input(json!({ "id": id("rul"), "name": "Other" }))),
        ("Mutation.updateEnrollment", input(json!({ "id": id("enr"), "ruleId": id("rul") }))),
        ("Mutation.updateGoal", input(json!({ "id": id("gol"), "name": "Other" }))),
        ("Mutation.updateLink", input(json!({ "id": id("lnk"), "label": "Other" }))),
        ("Mutation.updateTenant", input(json!({ "payoutFourEyes": false, "clickWaitSeconds": 0 }))),
        ("Mutation.updatePostbackEndpoint", input(json!({ "id": id("pbe"), "name": "Other" }))),
        ("Subscription.attributionRun", by_id("run")),
        (
            "Subscription.conversions",
            vec![json!({ "filter": { "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] } })],
        ),
        (
            "Subscription.dashboard",
            input(json!({
                "period": { "lastDays": 1 }, "groupBy": ["CAMPAIGN", "AFFILIATE"],
                "campaignIds": [id("cmp")], "affiliateIds": [id("aff")],
            })),
        ),
        ("Subscription.earnings", vec![json!({ "affiliateId": id("aff") })]),
        ("Subscription.events", vec![json!({})]),
        ("Subscription.payouts", vec![json!({ "filter": { "affiliateIds": [id("aff")], "batchIds": [id("pbt")] } })]),
    ])
}

/// The prefixes that `node` takes, one per type that implements `Node`.
pub const NODES: &[&str] = &[
    "cmp", "gol", "cap", "rul", "ovp", "crt", "aff", "enr", "lnk", "cpn", "clk", "cnv", "com", "awd", "jrn", "pay",
    "pbt", "pde", "run",
];
