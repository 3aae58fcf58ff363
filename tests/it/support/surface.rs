//! A tenant's (or an affiliate's) objects, one of every kind, for the calls of [`super::samples`].

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::Instant;

use super::{Client, Programme, Terms, TestApp, app::PASSWORD, double::Kind, programme};

/// Ids by their prefix: one object of every kind, all of one affiliate's.
#[derive(Clone, Debug)]
pub struct World {
    pub ids: BTreeMap<&'static str, String>,
    /// A click without a conversion.
    pub free_click: String,
    /// The affiliate's name, which nobody else may read anywhere.
    pub name: String,
    pub now: Instant,
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
        let group = json!({ "name": uuid::Uuid::new_v4().simple().to_string(), "modifierPercent": "10" });
        let group = owner.done("createAffiliateGroup", group, "affiliateGroup { id }").await;
        let group = programme::id(&group, "affiliateGroup");
        let member = json!({ "affiliateId": programme.affiliate, "groupId": group });
        owner.done("setAffiliateGroup", member, "").await;
        reach_tier(owner).await;
        app.release_holds().await;
        let destination = json!({
            "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ann",
            "account": { "sepa": { "iban": "DE89370400440532013000" } },
        });
        let destination = owner.done("setPayoutDestination", destination, "payoutDestination { id }").await;
        let (processor, processor_call, difference) = books(app, owner).await;
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
        let rate = json!({ "base": "EUR", "quote": "USD", "rate": "1.25", "validOn": app.clock.now().date_naive() });
        let rate = owner.done("setFxRate", rate, "fxRate { id }").await;
        let convert = json!({
            "affiliateId": programme.affiliate, "from": { "amount": "1.00", "currency": "EUR" }, "to": "USD",
        });
        let converted = owner.done("convertBalance", convert, "fxConversion { id }").await;
        let account = json!({ "ach": {
            "companyName": "Shop", "companyId": "1234567890", "bankRoutingNumber": "021000021", "bankName": "First",
        } });
        owner.done("setPayingAccount", json!({ "account": account }), "").await;
        // About a payment that nobody knows.
        let content = status_report(&uuid::Uuid::new_v4().to_string(), "nothing", "RJCT");
        let file = json!({ "format": "PAYMENT_STATUS_REPORT", "content": content });
        let file = owner.done("importPayoutFile", file, "payoutFile { id }").await;
        let content = "INSERT INTO payout_file_content (tenant_id, file_id, content) \
            SELECT tenant_id, id, '' FROM payout_file WHERE id NOT IN (SELECT file_id FROM payout_file_content)";
        app.auditor.run(content).await.expect("known columns");
        let terms = json!({ "affiliateId": programme.affiliate, "currency": "EUR" });
        owner.done("setPayoutTerms", terms, "").await;
        let terms = json!({ "campaignId": programme.campaign, "terms": { "perClick": "0.01" } });
        let click_rate = programme::id(&owner.done("setClickRate", terms, "clickRate { id }").await, "clickRate");
        programme.click(owner).await;
        let deal = json!({
            "campaignId": programme.campaign, "share": "30",
            "qualified": { "amount": { "amount": "1.00", "currency": "EUR" } },
        });
        let deal = programme::id(&owner.done("setRevenueDeal", deal, "revenueDeal { id }").await, "revenueDeal");
        let [settled, open] = [40, 0].map(|days| (app.clock.now() - TimeDelta::days(days)).date_naive());
        let record = |day: chrono::NaiveDate| {
            json!({
                "campaignId": programme.campaign, "affiliateId": programme.affiliate, "customerId": "ada",
                "reference": day, "day": day, "ggr": { "amount": "10.00", "currency": "EUR" },
            })
        };
        let records = json!({ "items": [record(settled), record(open)] });
        let records = owner.done("recordRevenue", records, "items { revenueRecord { id } }").await;
        let record = text(&records["items"][0]["revenueRecord"]["id"]);
        app.settle_revenue().await;
        let settlements = "{ revenueSettlements(first: 1) { edges { node { id } } } }";
        let settlements = owner.data(settlements, json!({})).await;
        let settlement = text(&settlements["revenueSettlements"]["edges"][0]["node"]["id"]);
        let plan = json!({ "campaignId": programme.campaign, "levels": [{ "percentOfSale": "1" }] });
        let plan = programme::id(&owner.done("setOverridePlan", plan, "overridePlan { id }").await, "overridePlan");
        let parent = json!({ "id": programme::new_affiliate(owner).await, "parentId": programme.affiliate });
        owner.done("setAffiliateParent", parent, "").await;
        let bonus = json!({
            "affiliateId": programme.affiliate, "amount": { "amount": "1.00", "currency": "EUR" }, "reason": "thanks",
            "campaignId": programme.campaign,
        });
        let award = programme::id(&owner.done("postBonus", bonus, "award { id }").await, "award");
        let rule = json!({
            "campaignId": programme.campaign, "name": "many", "threshold": { "conversions": 1_000_000 }, "period": "MONTH",
            "amount": { "amount": "1.00", "currency": "EUR" },
        });
        let bonus_rule = programme::id(&owner.done("createBonusRule", rule, "bonusRule { id }").await, "bonusRule");
        let batch = json!({ "currency": "EUR", "affiliateIds": [programme.affiliate] });
        let drafted = "payoutBatch { id payouts(first: 1) { edges { node { id } } } }";
        let drafted = owner.done("createPayoutBatch", batch.clone(), drafted).await;
        // Passed over: the first is open.
        owner.done("createPayoutBatch", batch, "").await;
        // Of a conversion of its own, so that what the others are worth stays.
        let spare = programme.click(owner).await;
        let spare =
            programme::id(&owner.done("recordConversion", sale(&spare), "conversion { id }").await, "conversion");
        let refund = json!({ "id": spare, "amount": { "amount": "1.00", "currency": "EUR" } });
        let refund = owner.done("refundConversion", refund, "conversionChange { id }").await;
        // It refuses what is approved.
        let run = json!({ "action": "APPROVE", "selection": { "ids": [conversion] } });
        let run = owner.done("startConversionRun", run, "conversionRun { id }").await;
        app.run_jobs().await;
        // What is payable is released now, and not while somebody compares before and after.
        app.release_holds().await;
        // As if a processor made them: nobody is asked for what is drafted.
        let sql = "INSERT INTO payout_transfer (tenant_id, payout_id, method, calls, updated_at) \
            SELECT tenant_id, id, method, 0, created_at FROM payout WHERE NOT EXISTS (SELECT 1 FROM payout_transfer \
            WHERE payout_transfer.tenant_id = payout.tenant_id AND payout_transfer.payout_id = payout.id)";
        app.auditor.run(sql).await.expect("known columns");
        // As if the rule gave it: no period is over yet.
        let sql = "INSERT INTO bonus_grant (tenant_id, rule_id, affiliate_id, period_start, award_id, created_at) \
            SELECT award.tenant_id, bonus_rule.id, award.affiliate_id, decided_until, award.id, award.created_at \
            FROM award JOIN bonus_rule ON bonus_rule.tenant_id = award.tenant_id WHERE award.kind = 'BONUS' AND NOT EXISTS \
            (SELECT 1 FROM bonus_grant WHERE bonus_grant.tenant_id = award.tenant_id)";
        app.auditor.run(sql).await.expect("known columns");
        app.seal().await;
        Self {
            ids: BTreeMap::from([
                ("chg", programme::id(&refund, "conversionChange")),
                ("crn", programme::id(&run, "conversionRun")),
                ("prc", processor),
                ("prw", processor_call),
                ("rec", difference),
                ("cmp", programme.campaign),
                ("gol", programme.goal),
                ("rul", programme.rule),
                ("cap", cap),
                ("agr", group),
                ("ovp", plan),
                ("crt", click_rate),
                ("bnr", bonus_rule),
                ("awd", award),
                ("rvd", deal),
                ("rvr", record),
                ("rvs", settlement),
                ("aff", programme.affiliate),
                ("enr", programme.enrollment),
                ("lnk", programme.link),
                ("cpn", coupon),
                ("clk", click),
                ("cnv", conversion),
                ("com", text(&found["commissions"]["edges"][0]["node"]["id"])),
                ("jrn", text(&journal["id"])),
                ("acc", text(&own_account["account"]["id"])),
                ("pbt", programme::id(&drafted, "payoutBatch")),
                ("pfl", programme::id(&file, "payoutFile")),
                ("pde", programme::id(&destination, "payoutDestination")),
                ("pay", text(&drafted["payoutBatch"]["payouts"]["edges"][0]["node"]["id"])),
                ("run", runs.remove(0)),
                ("fxr", programme::id(&rate, "fxRate")),
                ("fxc", programme::id(&converted, "fxConversion")),
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

/// A customer's conversions that reach a tier, so that the first is rated anew with the next jobs.
async fn reach_tier(owner: &Client) {
    let programme = Programme::build(owner, &Terms::default()).await;
    let tiers = json!({ "basis": "CONVERSIONS", "period": "MONTH", "mode": "WHOLE", "steps": [
        { "conversions": 2, "terms": { "percent": "20" } },
    ] });
    let update = json!({ "id": programme.rule, "tiers": tiers, "maxMonths": 12 });
    owner.done("updateCommissionRule", update, "").await;
    for _ in 0..2 {
        let click = programme.click(owner).await;
        let mut sale = programme::sale(&click, &uuid::Uuid::new_v4().to_string(), "10.00");
        programme::merge(&mut sale, json!({ "customerId": "tier" }));
        owner.done("recordConversion", sale, "").await;
    }
}

/// A bank's status report about one payment.
pub fn status_report(message: &str, reference: &str, status: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.10\"><CstmrPmtStsRpt>\
         <GrpHdr><MsgId>{message}</MsgId><CreDtTm>2026-11-26T10:00:00Z</CreDtTm></GrpHdr>\
         <OrgnlGrpInfAndSts><OrgnlMsgId>M</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId></OrgnlGrpInfAndSts>\
         <OrgnlPmtInfAndSts><OrgnlPmtInfId>P</OrgnlPmtInfId><TxInfAndSts><OrgnlEndToEndId>{reference}</OrgnlEndToEndId>\
         <TxSts>{status}</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts></OrgnlPmtInfAndSts>\
         </CstmrPmtStsRpt></Document>"
    )
}

/// An account at a processor, a call to its address that nobody signed, and a difference in its books; their ids.
async fn books(app: &TestApp, owner: &Client) -> (String, String, String) {
    let payload = owner.done("setProcessor", Kind::Stripe.credentials(), "processor { id } webhookUrl").await;
    let processor = programme::id(&payload, "processor");
    if let Some((_, path)) = payload["webhookUrl"].as_str().and_then(|url| url.split_once("/processors/")) {
        let url = format!("{}/processors/{path}", app.url);
        let answer = reqwest::Client::new().post(url).body("{}").send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
    for sql in [
        "INSERT INTO reconciliation_item (tenant_id, id, method, kind, subject, status, detail, found_at) \
         SELECT tenant_id, id, method, 'CLEARING', 'EUR', 'OPEN', 'a trial', created_at FROM processor \
         WHERE NOT EXISTS (SELECT 1 FROM reconciliation_item WHERE reconciliation_item.id = processor.id)",
        "INSERT INTO reconciliation_run (tenant_id, method, day, transactions, differences, finished_at) \
         SELECT tenant_id, method, '2000-01-01', 0, 0, created_at FROM processor \
         WHERE NOT EXISTS (SELECT 1 FROM reconciliation_run WHERE reconciliation_run.tenant_id = processor.tenant_id)",
    ] {
        app.auditor.run(sql).await.expect("known columns");
    }
    let data = owner.data("{ processorCalls(first: 1) { edges { node { id } } } }", json!({})).await;
    let call = data["processorCalls"]["edges"][0]["node"]["id"].as_str().expect("a call").to_owned();
    // It has the account's UUID.
    let difference = processor.replacen("prc", "rec", 1);
    (processor, call, difference)
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

/// The prefixes that `node` takes, one per type that implements `Node`.
pub const NODES: &[&str] = &[
    "cmp", "gol", "cap", "rul", "ovp", "aff", "enr", "lnk", "cpn", "clk", "cnv", "com", "crt", "rvd", "rvr", "rvs",
    "bnr", "awd", "jrn", "pay", "pbt", "pde", "run", "fxr", "fxc",
];
