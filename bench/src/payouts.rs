//! Payout batches: how long the drafting of one takes for very many affiliates, and how much memory; and whether two that
//! are asked for at once pay each affiliate once.
//!
//! PostgreSQL only, as a superuser: on the server that `DATABASE_URL` names, or one of its own. One commission is earned
//! through the API, and multiplied in the database, with its conversion, journal and entries, for affiliates that are made
//! there.

use std::time::{Duration, Instant};

use clap::Args;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;
use tokio::time::sleep;
use tributary_entity::ids::{AffiliateId, TenantId};
use uuid::Uuid;

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::Api,
    figures::{Demand, Figure},
    process,
    server::{self, Server},
    sql::{self, one},
};

#[derive(Args)]
pub struct Options {
    /// Affiliates with something to be paid.
    #[arg(long, default_value_t = 100_000)]
    affiliates: usize,
    /// Payable commissions of each.
    #[arg(long, default_value_t = 10)]
    commissions: usize,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.affiliates = scaled(self.affiliates, scale);
    }
}

/// What a node's memory may grow by, however many there are.
const ROOM: u64 = 64 * 1024 * 1024;

/// Seeds, drafts two batches at once, and prints what that took.
///
/// # Errors
/// When the server does not start or refuses, or when an affiliate is paid twice or not at all.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let server = server::Database::postgres().await?;
    let node = Server::tributary(&server).await?;
    let api = Api::new(&node.url, &node.token);
    let conversion = api.sell(&api.click().await?, "one").await?;
    let (database, _) = sql::connect(&server).await?;
    let seeding = Instant::now();
    let amount = seed(&database, &conversion, options).await?;
    let commissions = options.affiliates * options.commissions;
    println!(
        "{} affiliates with {commissions} payable commissions seeded in {:.0} s",
        options.affiliates,
        seeding.elapsed().as_secs_f64()
    );
    let before = process::resident(node.pid())?;
    let started = Instant::now();
    let (first, second) = tokio::try_join!(api.draft(), api.draft())?;
    let mut peak = before;
    while !(api.is_drafted(&first).await? && api.is_drafted(&second).await?) {
        peak = peak.max(process::resident(node.pid())?);
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    peak = peak.max(process::resident(node.pid())?);
    let (payouts, gross) = drafted(&database).await?;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    println!(
        "two batches drafted at once in {seconds:.1} s: {payouts} payouts of {gross} minor units; \
         resident {} MiB before, {} MiB at most",
        mib(before),
        mib(peak)
    );
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (expected, sum) = (whole(options.affiliates), whole(commissions).saturating_mul(amount));
    if (payouts, gross) != (expected, sum) {
        return Err(BenchError::Failed(format!("{expected} affiliates are to be paid once each, {sum} together")));
    }
    if peak.saturating_sub(before) > ROOM {
        return Err(BenchError::Failed(format!("memory grew by more than {} MiB", mib(ROOM))));
    }
    let what =
        |what: &str| format!("two batches of {} affiliates, {commissions} commissions: {what}", options.affiliates);
    Ok(vec![
        Figure::new("payouts", what("time"), seconds, "s").demand(Demand::AtMost(60.0)),
        Figure::new("payouts", what("growth of memory"), mib(peak.saturating_sub(before)) as f64, "MiB")
            .demand(Demand::AtMost(mib(ROOM) as f64)),
    ])
}

/// Payouts, whose affiliates are all different, and their sum.
async fn drafted(database: &DatabaseConnection) -> Result<(i64, i64), BenchError> {
    let sql = "SELECT COUNT(*) AS payouts, COUNT(DISTINCT affiliate_id) AS paid, \
               CAST(SUM(gross_minor) AS bigint) AS gross FROM payout \
               JOIN affiliate ON affiliate.tenant_id = payout.tenant_id AND affiliate.id = payout.affiliate_id \
               AND affiliate.name = 'Many'";
    let row = one(database, sql).await?;
    let (payouts, paid): (i64, i64) = (row.try_get("", "payouts")?, row.try_get("", "paid")?);
    if payouts != paid {
        return Err(BenchError::Failed(format!("{payouts} payouts of {paid} affiliates")));
    }
    Ok((payouts, row.try_get("", "gross")?))
}

/// Multiplies the commission of a conversion. Answers its amount in minor units.
async fn seed(database: &DatabaseConnection, conversion: &str, options: &Options) -> Result<i64, BenchError> {
    let conversion: tributary_entity::ids::ConversionId =
        conversion.parse().map_err(|_| BenchError::Failed(format!("{conversion} is no conversion")))?;
    let conversion = conversion.uuid();
    let row = one(
        database,
        &format!(
            "SELECT tenant_id, amount_minor, currency FROM commission WHERE conversion_id = '{conversion}' LIMIT 1"
        ),
    )
    .await?;
    let tenant: Uuid = row.try_get("", "tenant_id")?;
    let amount: i64 = row.try_get("", "amount_minor")?;
    let currency: String = row.try_get("", "currency")?;
    let affiliates: Vec<Uuid> = (0..options.affiliates).map(|_| Uuid::new_v4()).collect();
    for chunk in affiliates.chunks(5_000) {
        let people: Vec<String> = chunk
            .iter()
            .map(|id| format!("('{tenant}', '{id}', 'Many', '{id}@many.example', 'ACTIVE', now(), now())"))
            .collect();
        let accounts: Vec<String> = chunk
            .iter()
            .map(|id| {
                let account = account(tenant, *id, &currency);
                format!("('{tenant}', '{account}', 2010, '{id}', '{currency}', now())")
            })
            .collect();
        let sql = format!(
            "INSERT INTO affiliate (tenant_id, id, name, email, status, created_at, updated_at) VALUES {};
             INSERT INTO account (tenant_id, id, code, affiliate_id, currency, created_at) VALUES {}",
            people.join(", "),
            accounts.join(", ")
        );
        database.execute_unprepared(&sql).await?;
    }
    let count = options.commissions;
    let commissions = options.affiliates * count;
    for sql in [
        format!(
            "INSERT INTO conversion SELECT copy.* FROM conversion one \
             JOIN affiliate ON affiliate.tenant_id = one.tenant_id AND affiliate.name = 'Many' \
             CROSS JOIN generate_series(1, {count}) copies \
             CROSS JOIN LATERAL jsonb_populate_record(one, jsonb_build_object( \
             'id', md5(affiliate.id::text || copies)::uuid, \
             'affiliate_id', affiliate.id, 'order_id', NULL, 'unique_order_id', NULL, 'unique_click_id', NULL)) copy \
             WHERE one.id = '{conversion}'"
        ),
        format!(
            "INSERT INTO commission SELECT copy.* FROM commission one \
             JOIN conversion ON conversion.tenant_id = one.tenant_id AND conversion.id <> one.conversion_id \
             CROSS JOIN LATERAL jsonb_populate_record(one, jsonb_build_object('id', gen_random_uuid(), \
             'conversion_id', conversion.id, 'affiliate_id', conversion.affiliate_id, 'status', 'AVAILABLE')) copy \
             WHERE one.conversion_id = '{conversion}'"
        ),
        // What two journals post of a commission, in one.
        format!(
            "INSERT INTO journal (tenant_id, id, kind, business_key, conversion_id, posted_at) \
             SELECT tenant_id, gen_random_uuid(), 'HOLD_RELEASED', id::text, id, now() FROM conversion \
             WHERE tenant_id = '{tenant}' AND id <> '{conversion}'"
        ),
        format!(
            "INSERT INTO entry (tenant_id, journal_id, line, seq, account_id, amount_minor, currency) \
             SELECT journal.tenant_id, journal.id, line, journal.seq, CASE line WHEN 0 THEN spent.id ELSE own.id END, \
             CASE line WHEN 0 THEN {amount} ELSE -{amount} END, '{currency}' \
             FROM (SELECT j.*, c.journal_seq + ROW_NUMBER() OVER (ORDER BY j.id) AS seq FROM journal j \
             JOIN tenant_counter c ON c.tenant_id = j.tenant_id \
             WHERE j.tenant_id = '{tenant}' AND j.conversion_id <> '{conversion}') journal \
             JOIN conversion ON conversion.tenant_id = journal.tenant_id AND conversion.id = journal.conversion_id \
             JOIN account own ON own.tenant_id = journal.tenant_id AND own.affiliate_id = conversion.affiliate_id \
             AND own.code = 2010 JOIN account spent ON spent.tenant_id = journal.tenant_id AND spent.code = 5000 \
             CROSS JOIN generate_series(0, 1) line"
        ),
        format!(
            "UPDATE tenant_counter SET journal_seq = (SELECT MAX(seq) FROM entry WHERE tenant_id = '{tenant}') \
             WHERE tenant_id = '{tenant}'"
        ),
        format!(
            "INSERT INTO balance (tenant_id, account_id, amount_minor, version) \
             SELECT account.tenant_id, account.id, {amount} * {count}, {count} FROM account \
             JOIN affiliate ON affiliate.tenant_id = account.tenant_id AND affiliate.id = account.affiliate_id \
             AND affiliate.name = 'Many' WHERE account.tenant_id = '{tenant}' AND account.code = 2010"
        ),
        format!(
            "UPDATE balance SET amount_minor = amount_minor + {amount} * {commissions} FROM account \
             WHERE account.tenant_id = balance.tenant_id AND account.id = balance.account_id AND account.code = 5000 \
             AND account.tenant_id = '{tenant}'"
        ),
        "ANALYZE".to_owned(),
    ] {
        database.execute_unprepared(&sql).await?;
    }
    Ok(amount)
}

/// The id of an affiliate's available account, as the ledger names it.
fn account(tenant: Uuid, affiliate: Uuid, currency: &str) -> Uuid {
    let name = format!("2010/{}/{currency}", AffiliateId::from_uuid(affiliate));
    Uuid::new_v5(&TenantId::from_uuid(tenant).uuid(), name.as_bytes())
}

impl Api {
    /// A batch of everybody. Answers its id.
    async fn draft(&self) -> Result<String, BenchError> {
        self.make("createPayoutBatch", "payoutBatch", json!({ "currency": "EUR" })).await
    }

    async fn is_drafted(&self, batch: &str) -> Result<bool, BenchError> {
        let query = "query($id: ID!) { result: payoutBatch(id: $id) { status } }";
        Ok(self.send(query, json!({ "id": batch })).await?["status"] == "DRAFT")
    }
}
