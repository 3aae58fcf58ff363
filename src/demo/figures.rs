//! The proof: what the API says of the demo's orders, beside what the file says. Any difference fails the demo.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use tributary_entity::money::{Currency, Money};

use super::{
    DemoError,
    client::{Client, ClientError},
    ingest::{Amount, PageInfo},
    plan::{CAMPAIGNS, Plan, Sale},
    programme::Programme,
    progress::say,
};

/// What is compared, per campaign and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub conversions: i64,
    pub sale_cents: i64,
    pub commission_cents: i64,
}

impl Totals {
    fn add(&mut self, more: Self) {
        self.conversions += more.conversions;
        self.sale_cents += more.sale_cents;
        self.commission_cents += more.commission_cents;
    }

    fn sum(all: &[Self]) -> Self {
        let mut sum = Self::default();
        all.iter().for_each(|totals| sum.add(*totals));
        sum
    }
}

/// What the file says of these sales, by campaign.
fn of_file<'a>(sales: impl Iterator<Item = &'a Sale>) -> [Totals; CAMPAIGNS.len()] {
    let mut totals = [Totals::default(); CAMPAIGNS.len()];
    for sale in sales {
        totals[sale.campaign].add(Totals {
            conversions: 1,
            sale_cents: sale.order.cents,
            commission_cents: sale.commission_cents(),
        });
    }
    totals
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    report: Vec<ReportRow>,
    counted: Count,
    approved: Count,
    pending: Count,
    trial_balance: TrialBalance,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportRow {
    campaign: Id,
    currency: String,
    conversions: i64,
    sale_amount: Amount,
    commission: Amount,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    total_count: i64,
}

#[derive(Deserialize)]
struct TrialBalance {
    balanced: bool,
    totals: Vec<TrialTotal>,
}

#[derive(Deserialize)]
struct TrialTotal {
    currency: String,
    debit: Amount,
    credit: Amount,
}

const FIGURES: &str = "query($report: ReportInput!, $all: ConversionFilterInput!, $approved: ConversionFilterInput!, \
     $pending: ConversionFilterInput!) { \
     report(input: $report) { campaign { id } currency conversions saleAmount { amount } commission { amount } } \
     counted: conversions(filter: $all, first: 1) { totalCount } \
     approved: conversions(filter: $approved, first: 1) { totalCount } \
     pending: conversions(filter: $pending, first: 1) { totalCount } \
     trialBalance { balanced totals { currency debit { amount } credit { amount } } } }";

/// Reads the figures from the API, prints them, and holds them against the file.
///
/// `sent` names the live orders that have been sent; the history is taken to be there.
///
/// # Errors
/// [`DemoError::Figures`] when anything differs.
pub async fn check(
    client: &Client,
    programme: &Programme,
    plan: &Plan,
    sent: &HashSet<String>,
) -> Result<(), DemoError> {
    let Some((from, until)) = plan.period() else { return Ok(()) };
    // What is recorded besides the demo's orders happened later, and is not counted here.
    let filter =
        |statuses: Option<Value>| json!({ "occurredFrom": from, "occurredBefore": until, "statuses": statuses });
    let answer: Answer = client
        .call(
            FIGURES,
            json!({
                "report": { "from": from, "until": until, "groupBy": ["CAMPAIGN"] },
                "all": filter(None),
                "approved": filter(Some(json!(["APPROVED"]))),
                "pending": filter(Some(json!(["PENDING"]))),
            }),
        )
        .await?;
    let mut counted = [Totals::default(); CAMPAIGNS.len()];
    for row in &answer.report {
        let campaign = campaign_index(programme, &row.campaign.id)?;
        if row.currency != "USD" {
            return Err(DemoError::Figures(format!("a row of the report is in {}", row.currency)));
        }
        counted[campaign].add(Totals {
            conversions: row.conversions,
            sale_cents: cents(&row.sale_amount)?,
            commission_cents: cents(&row.commission)?,
        });
    }
    // Conversions that a reviewer has rejected count nowhere in reports; they are still in the file.
    let rejected = rejected(client, programme, &filter(Some(json!(["REJECTED"])))).await?;
    let mut found = counted;
    for (totals, more) in found.iter_mut().zip(rejected) {
        totals.add(more);
    }
    let expected =
        of_file(plan.history().iter().chain(plan.live().iter().filter(|sale| sent.contains(&sale.order_id()))));
    print_table(&counted, &answer, Totals::sum(&rejected));
    compare(&found, &expected, &answer)
}

fn print_table(counted: &[Totals], answer: &Answer, rejected: Totals) {
    say(format_args!("{:<16}{:>12}{:>18}{:>16}", "Campaign", "conversions", "sales, USD", "commission"));
    let row = |name: &str, totals: &Totals| {
        let Totals { conversions, sale_cents, commission_cents } = *totals;
        say(format_args!("{name:<16}{conversions:>12}{:>18}{:>16}", usd(sale_cents), usd(commission_cents)));
    };
    for (plan, totals) in CAMPAIGNS.iter().zip(counted) {
        row(plan.name, totals);
    }
    row("All", &Totals::sum(counted));
    if rejected != Totals::default() {
        row("(rejected)", &rejected);
    }
    say(format_args!("approved {}, pending {}", answer.approved.total_count, answer.pending.total_count));
    for TrialTotal { currency, debit, credit } in &answer.trial_balance.totals {
        say(format_args!("ledger: debits {} {currency}, credits {} {currency}", debit.amount, credit.amount));
    }
}

fn compare(found: &[Totals], expected: &[Totals], answer: &Answer) -> Result<(), DemoError> {
    let mut differences = Vec::new();
    for ((plan, found), expected) in CAMPAIGNS.iter().zip(found).zip(expected) {
        if found != expected {
            differences.push(format!("{}: the API has {found:?}, the file gives {expected:?}", plan.name));
        }
    }
    let orders = Totals::sum(expected).conversions;
    if answer.counted.total_count != orders {
        differences.push(format!("{} conversions for {orders} orders", answer.counted.total_count));
    }
    if !answer.trial_balance.balanced {
        differences.push("debits do not equal credits".to_owned());
    }
    if differences.is_empty() {
        say(format_args!(
            "ok: {orders} orders, each exactly once; commissions equal those reckoned from the file; ledger balanced\n"
        ));
        Ok(())
    } else {
        Err(DemoError::Figures(differences.join("\n")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rejected {
    nodes: Vec<RejectedNode>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RejectedNode {
    campaign: Option<Id>,
    sale_amount: Amount,
    commission_total: Amount,
}

async fn rejected(
    client: &Client,
    programme: &Programme,
    filter: &Value,
) -> Result<[Totals; CAMPAIGNS.len()], DemoError> {
    let document = "query($filter: ConversionFilterInput!, $after: String) { \
         answer: conversions(filter: $filter, first: 100, after: $after) { \
         nodes { campaign { id } saleAmount { amount } commissionTotal { amount } } \
         pageInfo { hasNextPage endCursor } } }";
    let mut totals = [Totals::default(); CAMPAIGNS.len()];
    let mut after = None;
    loop {
        let page: Rejected = client.query(document, json!({ "filter": filter, "after": after })).await?;
        for node in page.nodes {
            let Some(campaign) = node.campaign else { continue };
            totals[campaign_index(programme, &campaign.id)?].add(Totals {
                conversions: 1,
                sale_cents: cents(&node.sale_amount)?,
                commission_cents: cents(&node.commission_total)?,
            });
        }
        if !page.page_info.has_next_page {
            return Ok(totals);
        }
        after = page.page_info.end_cursor;
    }
}

fn campaign_index(programme: &Programme, id: &str) -> Result<usize, DemoError> {
    let found = programme.campaign_ids.iter().position(|known| known == id);
    found.ok_or_else(|| DemoError::Figures(format!("the campaign {id} has conversions in the period of the file")))
}

fn cents(amount: &Amount) -> Result<i64, DemoError> {
    let unreadable = || ClientError::Refused(format!("`{}` is no amount", amount.amount));
    let usd: Currency = "USD".parse().map_err(|_| unreadable())?;
    Ok(Money::parse(&amount.amount, usd).map_err(|_| unreadable())?.amount_minor)
}

/// Cents as the API writes dollars.
pub fn usd(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{orders, plan::LIVE_ORDERS};

    #[test]
    fn file_sums_to_its_published_total() {
        let plan = Plan::new(orders::all().expect("undamaged"), LIVE_ORDERS);
        let all = Totals::sum(&of_file(plan.all().iter()));
        assert_eq!((all.conversions, all.sale_cents), (69_659, 250_031_563));
    }

    #[test]
    fn amounts_are_written_with_two_digits() {
        assert_eq!([0, 5, 1_177, 100].map(usd), ["0.00", "0.05", "11.77", "1.00"]);
    }
}
