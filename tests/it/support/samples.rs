//! The whole surface as calls: a sample call of every root field over a world's objects.
//!
//! # Adding a root field
//! A line in [`samples`] with arguments that are good in a [`World`], every argument of type ID among them. The tests of
//! isolation and of permissions fail until it is there.

use std::collections::BTreeMap;

use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};

use super::{
    app::PASSWORD,
    double::Kind,
    programme,
    surface::{NODES, World, status_report},
};

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
    let preview = json!({
        "currency": "EUR", "affiliateIds": [id("aff")], "minimumAmount": { "amount": "1.00", "currency": "EUR" },
        "schedule": { "kind": "WEEKLY", "day": 1 },
    });
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
        ("Query.affiliateGroups", vec![json!({})]),
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
        (
            "Query.revenueDealPreview",
            input(json!({ "currency": "EUR", "share": "35", "from": world.now.date_naive(), "periods": [
                { "records": [{ "customerId": "ada", "ggr": { "amount": "1.00", "currency": "EUR" } }] },
            ] })),
        ),
        (
            "Query.revenueRecords",
            page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")], "customerIds": ["ada"] })),
        ),
        ("Query.revenueSettlements", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        ("Query.bonusRules", page(json!({ "campaignIds": [id("cmp")] }))),
        ("Query.campaign", by_id("cmp")),
        ("Query.campaigns", page(json!({}))),
        ("Query.click", by_id("clk")),
        (
            "Query.clicks",
            page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")], "linkIds": [id("lnk")] })),
        ),
        (
            "Query.commissionPreview",
            input(json!({ "campaignId": id("cmp"), "events": [
                { "affiliate": "ada", "occurredAt": until, "saleAmount": { "amount": "1.00", "currency": "EUR" } },
            ] })),
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
        ("Query.fxConversions", vec![json!({ "first": 20, "affiliateIds": [id("aff")] })]),
        ("Query.fxQuote", vec![json!({ "from": "EUR", "to": "USD", "on": world.now.date_naive() })]),
        ("Query.fxRates", page(json!({ "bases": ["EUR"] }))),
        ("Query.enrollments", page(json!({ "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] }))),
        (
            "Query.invalidClicks",
            input(json!({ "from": from, "until": until, "campaignIds": [id("cmp")], "affiliateIds": [id("aff")] })),
        ),
        ("Query.journals", page(json!({ "accountIds": [id("acc")], "conversionIds": [id("cnv")] }))),
        ("Query.conversionRun", by_id("crn")),
        ("Query.conversionRuns", vec![json!({ "first": 20 })]),
        ("Query.ledgerAccount", by_id("acc")),
        ("Query.ledgerAccounts", page(json!({ "affiliateIds": [id("aff")] }))),
        ("Query.ledgerCheckpoint", vec![json!({})]),
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
        ("Query.payingAccounts", vec![json!({})]),
        ("Query.payoutFile", by_id("pfl")),
        ("Query.payoutFiles", page(json!({ "formats": ["PAYMENT_STATUS_REPORT"] }))),
        ("Query.payoutNotices", page(json!({ "fileIds": [id("pfl")] }))),
        ("Query.payoutPreview", vec![json!({ "filter": preview })]),
        ("Query.payoutPreviewLines", page(preview.clone())),
        ("Query.payoutTerms", page(json!({ "affiliateIds": [id("aff")] }))),
        ("Query.effectivePayoutTerms", vec![json!({ "affiliateId": id("aff"), "currency": "EUR" })]),
        ("Query.payoutCursor", vec![json!({ "filter": { "affiliateIds": [id("aff")], "batchIds": [id("pbt")] } })]),
        ("Query.payouts", page(json!({ "affiliateIds": [id("aff")], "batchIds": [id("pbt")] }))),
        ("Query.postbackCalls", page(json!({ "endpointIds": [id("pbe")] }))),
        ("Query.postbackEndpoints", vec![json!({ "first": 20 })]),
        ("Query.processorCalls", vec![json!({ "first": 20 })]),
        ("Query.processors", vec![json!({})]),
        ("Query.reconciliationItems", page(json!({ "status": "OPEN" }))),
        ("Query.report", vec![report(json!([])), report(json!(["CAMPAIGN", "AFFILIATE"]))]),
        ("Query.statement", vec![json!({ "affiliateId": id("aff"), "currency": "EUR", "from": from, "until": until })]),
        ("Query.tenant", vec![json!({})]),
        ("Query.trialBalance", vec![json!({})]),
        ("Query.users", page(json!({}))),
        ("Query.viewer", vec![json!({})]),
        ("Mutation.activateCampaign", named("cmp")),
        (
            "Mutation.adjustConversion",
            input(json!({ "id": id("cnv"), "saleAmount": { "amount": "100.50", "currency": "EUR" } })),
        ),
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
        (
            "Mutation.recordDeposit",
            input(json!({
                "processor": "MANUAL", "amount": { "amount": "1.00", "currency": "EUR" }, "reference": "$UNIQUE",
            })),
        ),
        (
            "Mutation.writeOffDebt",
            input(json!({
                "affiliateId": id("aff"), "amount": { "amount": "1.00", "currency": "EUR" }, "reason": "$UNIQUE",
            })),
        ),
        ("Mutation.archiveBonusRule", named("bnr")),
        ("Mutation.archiveCampaign", named("cmp")),
        ("Mutation.archiveCap", named("cap")),
        ("Mutation.archiveCommissionRule", named("rul")),
        ("Mutation.archiveClickRate", named("crt")),
        ("Mutation.archiveRevenueDeal", named("rvd")),
        ("Mutation.archiveOverridePlan", named("ovp")),
        ("Mutation.archiveGoal", named("gol")),
        ("Mutation.cancelPayout", named("pay")),
        ("Mutation.cancelPayoutBatch", named("pbt")),
        // A wrong one: the right one would end the session of who calls.
        ("Mutation.changePassword", input(json!({ "currentPassword": "not it", "newPassword": "another long one" }))),
        (
            "Mutation.convertBalance",
            input(json!({ "affiliateId": id("aff"), "from": { "amount": "0.10", "currency": "EUR" }, "to": "USD" })),
        ),
        (
            "Mutation.importFxRates",
            input(json!({ "format": "CSV", "content": "date,base,quote,rate\n2026-01-05,EUR,SEK,11.2\n" })),
        ),
        (
            "Mutation.setFxRate",
            input(json!({ "base": "EUR", "quote": "NOK", "rate": "11.7", "validOn": world.now.date_naive() })),
        ),
        ("Mutation.createAffiliate", input(json!({ "name": "$UNIQUE", "email": "$UNIQUE@new.example" }))),
        ("Mutation.createAffiliateGroup", input(json!({ "name": "$UNIQUE", "modifierPercent": "10" }))),
        ("Mutation.createApiKey", input(json!({ "name": "key", "scopes": ["READ"] }))),
        (
            "Mutation.createBonusRule",
            input(json!({
                "campaignId": id("cmp"), "name": "$UNIQUE", "threshold": { "conversions": 1_000_000 }, "period": "WEEK",
                "amount": { "amount": "1.00", "currency": "EUR" },
            })),
        ),
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
                "groupId": id("agr"), "position": 1,
            })),
        ),
        (
            "Mutation.createEnrollment",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "ruleId": id("rul") })),
        ),
        ("Mutation.cancelConversionRun", named("crn")),
        ("Mutation.createGoal", input(json!({ "campaignId": id("cmp"), "code": "c$UNIQUE", "name": "Lead" }))),
        (
            "Mutation.createCoupon",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "code": "$UNIQUE" })),
        ),
        ("Mutation.createLink", input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff") }))),
        ("Mutation.createPayoutBatch", input(json!({ "currency": "EUR", "affiliateIds": [id("aff")] }))),
        (
            "Mutation.createPostbackEndpoint",
            input(json!({ "name": "endpoint", "campaigns": [{ "external": "26", "campaignId": id("cmp") }] })),
        ),
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
        (
            "Mutation.refundConversion",
            input(json!({ "id": id("cnv"), "amount": { "amount": "0.01", "currency": "EUR" } })),
        ),
        ("Mutation.rejectAffiliate", named("aff")),
        ("Mutation.rejectConversions", input(json!({ "ids": [id("cnv")], "reason": "TEST" }))),
        ("Mutation.rejectEnrollment", named("enr")),
        ("Mutation.removePayoutDestination", named("pde")),
        ("Mutation.removeProcessor", named("prc")),
        ("Mutation.reopenConversions", input(json!({ "ids": [id("cnv")] }))),
        ("Mutation.resolveReconciliationItem", input(json!({ "id": id("rec"), "note": "$UNIQUE" }))),
        ("Mutation.retryPayout", named("pay")),
        ("Mutation.revokeApiKey", named("key")),
        ("Mutation.rotatePostbackToken", named("pbe")),
        ("Mutation.setAffiliateParent", input(json!({ "id": id("aff"), "parentId": id("aff") }))),
        (
            "Mutation.setOverridePlan",
            input(json!({ "campaignId": id("cmp"), "levels": [{ "percentOfCommission": "10" }] })),
        ),
        (
            "Mutation.setRevenueDeal",
            input(json!({ "campaignId": id("cmp"), "affiliateId": id("aff"), "share": "12.5" })),
        ),
        (
            "Mutation.recordRevenue",
            input(json!({ "items": [{
                "campaignId": id("cmp"), "affiliateId": id("aff"), "customerId": "ada", "reference": "$UNIQUE",
                "day": world.now.date_naive(), "ggr": { "amount": "1.00", "currency": "EUR" },
            }] })),
        ),
        (
            "Mutation.setClickRate",
            [json!({ "affiliateId": id("aff") }), json!({ "groupId": id("agr") })]
                .into_iter()
                .map(|mut rate| {
                    programme::merge(&mut rate, json!({ "campaignId": id("cmp"), "terms": { "perMille": "1" } }));
                    json!({ "input": rate })
                })
                .collect(),
        ),
        ("Mutation.setAffiliateGroup", input(json!({ "affiliateId": id("aff"), "groupId": id("agr") }))),
        (
            "Mutation.setPayoutDestination",
            input(json!({
                "affiliateId": id("aff"), "currency": "EUR", "holder": "$UNIQUE",
                "account": { "manual": { "instructions": "$UNIQUE" } },
            })),
        ),
        ("Mutation.exportPayoutFile", input(json!({ "batchId": id("pbt"), "format": "CSV" }))),
        (
            "Mutation.importPayoutFile",
            input(json!({ "format": "PAYMENT_STATUS_REPORT", "content": status_report("$UNIQUE", "$UNIQUE", "ACSC") })),
        ),
        (
            "Mutation.setPayingAccount",
            input(json!({ "account": { "sepa": {
                "name": "Shop", "iban": "DE89370400440532013000", "address": { "town": "Berlin", "country": "DE" },
            } } })),
        ),
        (
            "Mutation.setPayoutTerms",
            input(json!({
                "affiliateId": id("aff"), "currency": "EUR", "threshold": { "amount": "1.00", "currency": "EUR" },
                "schedule": { "kind": "WEEKLY", "day": 1 },
            })),
        ),
        ("Mutation.setProcessor", input(Kind::Wise.credentials())),
        ("Mutation.setUserRoles", input(json!({ "id": id("usr"), "roles": ["AFFILIATE"] }))),
        (
            "Mutation.startConversionRun",
            [
                json!({ "ids": [id("cnv")] }),
                json!({ "filter": { "affiliateIds": [id("aff")], "campaignIds": [id("cmp")] } }),
            ]
            .into_iter()
            .map(|selection| json!({ "input": { "action": "APPROVE", "selection": selection } }))
            .collect(),
        ),
        ("Mutation.submitPayoutBatch", named("pbt")),
        ("Mutation.suspendAffiliate", named("aff")),
        ("Mutation.suspendEnrollment", named("enr")),
        ("Mutation.undoReversal", named("chg")),
        ("Mutation.updateAffiliate", input(json!({ "id": id("aff"), "company": "Ltd" }))),
        ("Mutation.updateAffiliateGroup", input(json!({ "id": id("agr"), "name": "$UNIQUE" }))),
        ("Mutation.updateCap", input(json!({ "id": id("cap"), "amount": count }))),
        ("Mutation.updateCampaign", input(json!({ "id": id("cmp"), "name": "Boots" }))),
        ("Mutation.updateCommissionRule", input(json!({ "id": id("rul"), "name": "Other" }))),
        ("Mutation.updateEnrollment", input(json!({ "id": id("enr"), "ruleId": id("rul") }))),
        ("Mutation.updateGoal", input(json!({ "id": id("gol"), "name": "Other" }))),
        ("Mutation.updateLink", input(json!({ "id": id("lnk"), "label": "Other" }))),
        ("Mutation.updateTenant", input(json!({ "payoutFourEyes": false, "clickWaitSeconds": 0 }))),
        (
            "Mutation.updatePostbackEndpoint",
            input(json!({ "id": id("pbe"), "campaigns": [{ "external": "26", "campaignId": id("cmp") }] })),
        ),
        ("Subscription.attributionRun", by_id("run")),
        ("Subscription.conversionRun", by_id("crn")),
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
