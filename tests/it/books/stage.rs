//! A tenant on which a program runs: its campaigns and affiliates, and what each event asks of the API.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{
    ambient::Clock,
    domain::tenancy::TenantScope,
    services::{ServiceError, audit, holds},
};
use tributary_entity::ids::{AffiliateId, TenantId};

use super::{
    asked::{self, Asked, Outcome},
    markets::{DOLLAR, EURO, MARKETS, Market, PEOPLE, minor, money, percent},
    model::{Account, Model},
};
use crate::{
    isolation,
    support::{
        Backend, Client, Programme, Terms, TestApp,
        client::mutation,
        programme::{enroll, id, merge, new_affiliate, sale},
    },
};

/// A campaign with manual approval, and the click that each affiliate's sales come from.
pub struct Shop {
    pub campaign: String,
    pub rule: String,
    links: Vec<String>,
    clicks: Vec<String>,
}

/// A payout that was submitted.
pub struct Submitted {
    pub id: String,
    pub who: usize,
    pub gross: i64,
    pub method: String,
}

pub struct Stage<'a> {
    pub app: &'a TestApp,
    pub tenant: TenantId,
    pub owner: Client,
    pub people: Vec<String>,
    /// As the markets.
    pub shops: Vec<Shop>,
    /// Others act meanwhile, and move the clock: what was too slow is done again until it is done.
    pub is_patient: bool,
    /// What is asked for, where it is looked for afterwards.
    pub asked: Option<Asked>,
}

impl<'a> Stage<'a> {
    /// Sets a tenant's; holds are so many seconds.
    pub async fn set(app: &'a TestApp, tenant: TenantId, owner: Client, hold_seconds: i64) -> Self {
        let mut people = Vec::new();
        for who in 0..PEOPLE {
            people.push(new_affiliate(&owner).await);
            if let Some(below) = who.checked_sub(1) {
                owner.done("setAffiliateParent", json!({ "id": people[below], "parentId": people[who] }), "").await;
            }
        }
        let mut stage = Self { app, tenant, owner, people, shops: Vec::new(), is_patient: false, asked: None };
        stage.set_rate().await;
        for market in &MARKETS {
            let shop = stage.open(market.currency, json!({ "percent": percent(market.rate) }), hold_seconds).await;
            let plan = json!({ "campaignId": shop.campaign, "levels": market.plan() });
            stage.owner.done("setOverridePlan", plan, "").await;
            let terms = json!({ "currency": market.currency, "withholdingPercent": percent(market.withholding),
                "fee": market.money(market.fee) });
            stage.owner.done("setPayoutTerms", terms, "").await;
            stage.shops.push(shop);
        }
        stage
    }

    /// A campaign in which everybody is enrolled. The customers of each affiliate came by everybody's links before.
    pub async fn open(&self, currency: &'static str, rule: Value, hold_seconds: i64) -> Shop {
        let owner = &self.owner;
        let terms = Terms { hold_seconds, currency, rule, window_seconds: 366 * 86_400, ..Terms::manual() };
        let programme = Programme::build(owner, &terms).await;
        let mut links = Vec::new();
        for affiliate in &self.people {
            links.push(enroll(owner, &programme.campaign, affiliate).await.1);
        }
        let begin = self.app.clock.now() - TimeDelta::hours(1);
        let mut clicks = Vec::new();
        for who in 0..PEOPLE {
            let last = links[who].clone();
            let way = links.iter().filter(|link| **link != last).chain([&last]);
            let click = |(minute, link): (i64, &String)| {
                let at = begin + TimeDelta::minutes(minute);
                json!({ "linkId": link, "visitorId": format!("{currency}-{who}"), "occurredAt": at })
            };
            let items: Vec<Value> = (0..).zip(way).map(click).collect();
            let recorded = owner.done("recordClicks", json!({ "items": items }), "items { click { id } }").await;
            clicks.push(id(&recorded["items"][PEOPLE - 1], "click"));
        }
        Shop { campaign: programme.campaign, rule: programme.rule, links, clicks }
    }

    pub fn scope(&self) -> TenantScope {
        TenantScope::tenant(self.tenant)
    }

    /// A rate for dollars that is good today.
    pub async fn set_rate(&self) {
        let today = self.app.clock.now().date_naive();
        let rate = json!({ "base": EURO, "quote": DOLLAR, "rate": "1.25", "validOn": today });
        self.attempt("setFxRate", rate, "").await;
    }

    fn shop(&self, market: &Market) -> &Shop {
        let place = MARKETS.iter().position(|known| known.currency == market.currency);
        &self.shops[place.expect("one of the markets")]
    }

    pub fn sale_in(&self, shop: &Shop, currency: &str, who: usize, amount: i64) -> Value {
        let mut input = sale(&shop.clicks[who], &uuid::Uuid::new_v4().to_string(), "0");
        merge(&mut input, json!({ "saleAmount": money(amount, currency) }));
        input
    }

    pub fn sale(&self, market: &Market, who: usize, amount: i64) -> Value {
        self.sale_in(self.shop(market), market.currency, who, amount)
    }

    pub fn click(&self, who: usize) -> Value {
        json!({ "linkId": self.shops[0].links[who] })
    }

    /// The payload, where it is done. Refusals are answers here, and so is that somebody was faster, but nothing else.
    pub async fn attempt(&self, name: &str, mut input: Value, selection: &str) -> Option<Value> {
        let marks = if self.asked.is_some() { asked::mark(name, &mut input) } else { Vec::new() };
        let (outcome, payload) = self.answer(name, &input, selection).await;
        if let Some(asked) = &self.asked {
            asked.note(name, marks, input, outcome, &payload).await;
        }
        (outcome == Outcome::Done).then_some(payload)
    }

    async fn answer(&self, name: &str, input: &Value, selection: &str) -> (Outcome, Value) {
        for _ in 0..500 {
            let (_, mut body) = self.owner.send(&mutation(name, selection), json!({ "input": input })).await;
            let code = &body["errors"][0]["extensions"]["code"];
            assert!(code.is_null() || code == "CONFLICT" || code == "UNAVAILABLE", "{name}: {body}");
            if !code.is_null() {
                if self.is_patient {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                return (Outcome::Unknown, Value::Null);
            }
            let payload = body["data"]["result"].take();
            let outcome = if payload["userErrors"] == json!([]) { Outcome::Done } else { Outcome::Refused };
            return (outcome, payload);
        }
        panic!("{name} is never done");
    }

    /// Sells; the conversion's id.
    pub async fn sell(&self, market: &Market, who: usize, amount: i64) -> String {
        let sold = self.attempt("recordConversion", self.sale(market, who, amount), "conversion { id }").await;
        id(&sold.expect("is recorded"), "conversion")
    }

    pub async fn review(&self, name: &str, ids: &[String]) -> bool {
        let mut input = json!({ "ids": ids });
        if name == "rejectConversions" {
            merge(&mut input, json!({ "reason": "FRAUD" }));
        }
        self.attempt(name, input, asked::selected(name)).await.is_some()
    }

    /// The refund's id.
    pub async fn refund(&self, conversion: &str, amount: Option<Value>, is_chargeback: bool) -> Option<String> {
        let reason = if is_chargeback { "CHARGEBACK" } else { "REFUND" };
        let input = json!({ "id": conversion, "amount": amount, "reason": reason });
        self.attempt("refundConversion", input, "conversionChange { id }").await.map(|one| id(&one, "conversionChange"))
    }

    pub async fn undo(&self, change: &str) -> bool {
        self.attempt("undoReversal", json!({ "id": change }), "").await.is_some()
    }

    pub async fn adjust(&self, conversion: &str, amount: Value) -> bool {
        self.attempt("adjustConversion", json!({ "id": conversion, "saleAmount": amount }), "").await.is_some()
    }

    pub async fn convert(&self, who: usize, amount: i64, is_back: bool) -> bool {
        let (from, to) = if is_back { (DOLLAR, EURO) } else { (EURO, DOLLAR) };
        let input = json!({ "affiliateId": self.people[who], "from": money(amount, from), "to": to });
        self.attempt("convertBalance", input, "").await.is_some()
    }

    /// The payouts of a batch for everybody, as they are when it is submitted.
    pub async fn pay(&self, market: &Market) -> Vec<Submitted> {
        const BATCH: &str = "payoutBatch { id payouts(first: 100) { edges { node { id status method \
            affiliate { id } gross { amount } } } } }";
        let draft = json!({ "currency": market.currency });
        let Some(drafted) = self.attempt("createPayoutBatch", draft, BATCH).await else { return Vec::new() };
        let batch = json!({ "id": drafted["payoutBatch"]["id"] });
        if drafted["payoutBatch"]["payouts"]["edges"] == json!([]) {
            return Vec::new();
        }
        self.attempt("approvePayoutBatch", batch.clone(), "").await;
        let Some(submitted) = self.attempt("submitPayoutBatch", batch, BATCH).await else { return Vec::new() };
        let edges = submitted["payoutBatch"]["payouts"]["edges"].as_array().cloned().unwrap_or_default();
        let nodes = edges.iter().map(|edge| &edge["node"]).filter(|node| node["status"] != "CANCELLED");
        nodes.map(|node| self.submitted(node)).collect()
    }

    fn submitted(&self, node: &Value) -> Submitted {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let affiliate = text(&node["affiliate"]["id"]);
        let who = self.people.iter().position(|id| *id == affiliate).expect("one of them");
        let (id, method) = (text(&node["id"]), text(&node["method"]));
        Submitted { id, who, gross: minor(&node["gross"]["amount"]), method }
    }

    pub async fn mark(&self, name: &str, payout: &str) -> bool {
        let mut input = json!({ "id": payout });
        let more = match name {
            "markPayoutPaid" => json!({ "reference": "r" }),
            "markPayoutFailed" => json!({ "reason": "closed" }),
            _ => json!({ "reference": "b", "reason": "closed" }),
        };
        merge(&mut input, more);
        self.attempt(name, input, "").await.is_some()
    }

    pub async fn write_off(&self, market: &Market, who: usize, amount: i64) -> bool {
        let input = json!({ "affiliateId": self.people[who], "amount": market.money(amount), "reason": "gone" });
        self.attempt("writeOffDebt", input, "").await.is_some()
    }

    pub async fn deposit(&self, amount: i64) -> bool {
        let reference = uuid::Uuid::new_v4().to_string();
        let input = json!({ "processor": "MANUAL", "amount": money(amount, EURO), "reference": reference });
        self.attempt("recordDeposit", input, "").await.is_some()
    }

    pub async fn bonus(&self, market: &Market, who: usize, amount: i64, is_held: bool) -> bool {
        // As long as a step takes, where the clock is others'.
        let hold = if is_held && !self.is_patient { 3_600 } else { 0 };
        let input = json!({ "affiliateId": self.people[who], "amount": market.money(amount), "reason": "a good month",
            "holdSeconds": hold });
        self.attempt("postBonus", input, "").await.is_some()
    }

    pub async fn award(&self, market: &Market, who: usize, amount: i64) -> bool {
        let direction = if amount > 0 { "GIVE" } else { "TAKE" };
        let input = json!({ "affiliateId": self.people[who], "amount": market.money(amount.abs()),
            "direction": direction, "reason": "a mistake" });
        self.attempt("postAdjustment", input, "").await.is_some()
    }

    /// Makes payable what is due. Others may be first with some.
    pub async fn release(&self) {
        for _ in 0..500 {
            match holds::release_due(&self.app.services, &self.scope()).await {
                Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(20)).await,
                released => {
                    released.expect("holds are released");
                    return;
                }
            }
        }
        panic!("holds are never released");
    }

    /// Demands that `verify` finds nothing.
    pub async fn verify(&self) {
        let terms = audit::Terms { trusted: self.app.services.trusted_seals(), ..audit::Terms::default() };
        let report = audit::verify(&self.app.services.db, &self.scope(), &terms).await;
        let report = report.map_err(ServiceError::from).expect("is audited");
        assert!(report.differences.is_empty(), "verify finds {:#?}", report.differences);
    }

    /// What the database says.
    pub async fn balances(&self) -> BTreeMap<Account, i64> {
        let sql = "SELECT a.tenant_id AS tenant_id, a.code AS code, a.affiliate_id AS affiliate_id, \
            a.currency AS currency, CAST(SUM(e.amount_minor) AS bigint) AS amount FROM entry e \
            JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
            GROUP BY a.tenant_id, a.code, a.affiliate_id, a.currency";
        let mut balances = BTreeMap::new();
        for row in self.app.auditor.rows(sql).await {
            let tenant: TenantId = row.try_get("", "tenant_id").expect("an id");
            if tenant != self.tenant {
                continue;
            }
            let affiliate: Option<AffiliateId> = row.try_get("", "affiliate_id").expect("an id");
            let place = |id: AffiliateId| self.people.iter().position(|known| *known == id.to_string());
            let who = affiliate.map(|id| place(id).expect("one of them"));
            let code: i32 = row.try_get("", "code").expect("a code");
            let currency: String = row.try_get("", "currency").expect("a currency");
            // An account for each processor.
            *balances.entry((code, who, Model::known(&currency))).or_default() +=
                row.try_get::<i64>("", "amount").expect("an amount");
        }
        balances.retain(|_, amount| *amount != 0);
        balances
    }
}

/// Rows of a table that are looked at.
pub struct Rows {
    pub table: String,
    /// All, where none is named.
    pub columns: Vec<&'static str>,
    /// A condition.
    pub which: &'static str,
}

/// All tables but those of work in the background and the seal, which come by the clock.
pub async fn everything(app: &TestApp) -> Vec<Rows> {
    let tables = isolation::catalogue::tables(&app.auditor).await;
    let by_the_clock = ["outbox", "ledger_block", "address_key"];
    let tables = tables.into_iter().filter(|table| !by_the_clock.contains(&table.as_str()));
    tables.map(|table| Rows { table, columns: Vec::new(), which: "1 = 1" }).collect()
}

/// What tables hold, a text for each.
pub async fn dump(app: &TestApp, what: &[Rows]) -> Vec<(String, Option<String>)> {
    let mut dump = Vec::new();
    for Rows { table, columns, which } in what {
        let sql = if app.backend == Backend::Postgres {
            let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
            let rows = format!("SELECT {columns} FROM {table} WHERE {which}");
            format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS rows FROM ({rows}) t")
        } else {
            let named = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
            let all = isolation::catalogue::texts(&app.auditor, &named).await;
            let columns =
                if columns.is_empty() { all } else { columns.iter().map(|&column| column.to_owned()).collect() };
            let columns: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
            let rows = format!("SELECT {} AS row FROM {table} WHERE {which} ORDER BY 1", columns.join(" || "));
            format!("SELECT group_concat(row, '|') AS rows FROM ({rows})")
        };
        let rows: Option<String> = app.auditor.rows(&sql).await[0].try_get("", "rows").expect("a text");
        dump.push((table.clone(), rows));
    }
    dump
}
