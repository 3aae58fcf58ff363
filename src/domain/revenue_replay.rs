//! A settlement of net revenue reckoned again, and held against what is kept of it.

use std::collections::HashSet;

use tributary_entity::{revenue_qualification, revenue_settlement};

use super::{
    audit::Difference,
    revenue_settlement::{Carried, Line, Settled},
};

/// How many customers a difference names.
const NAMED_MAX: usize = 5;

/// What is kept of a settlement.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub row: &'a revenue_settlement::Model,
    /// JSON of what it left to the next one; empty where nothing is there.
    pub carried: &'a str,
    /// Who qualified in it, by reference.
    pub qualified: &'a [revenue_qualification::Model],
}

impl Kept<'_> {
    /// What is not as it comes to when it is reckoned again; `customers` are those who qualify then, by reference. None
    /// reckoned again is past what can be held.
    pub fn differences(&self, again: Option<&Settled>, customers: &[String]) -> Vec<Difference> {
        let difference = |check, (expected, found): (String, String)| {
            Difference::new(check, format!("revenue settlement {}", self.row.id), expected, found)
        };
        let Some(again) = again else {
            let sides = ("sums that can be held".to_owned(), "records past them".to_owned());
            return vec![difference("REVENUE_RECKONING", sides)];
        };
        let reckoning = self.amounts(again).or_else(|| self.lines(again));
        [
            reckoning.map(|sides| difference("REVENUE_RECKONING", sides)),
            self.carried(again).map(|sides| difference("REVENUE_CARRIED", sides)),
            self.customers(customers).map(|sides| difference("REVENUE_CUSTOMERS", sides)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The amounts that differ, as they must be and as they are.
    fn amounts(&self, again: &Settled) -> Option<(String, String)> {
        let row = self.row;
        let amounts = [
            ("GGR", again.ggr_minor, row.ggr_minor),
            ("NGR", again.ngr_minor, row.ngr_minor),
            ("shared", again.shared_minor, row.shared_minor),
            ("share", again.share_minor, row.share_minor),
            ("qualified", again.qualified, row.qualified),
            ("for them", again.qualified_minor, row.qualified_minor),
        ];
        let differing: Vec<_> = amounts.iter().filter(|(_, must, is)| must != is).collect();
        let told = |which: fn(&(&str, i64, i64)) -> i64| {
            let texts: Vec<String> = differing.iter().map(|one| format!("{} {}", one.0, which(one))).collect();
            texts.join(", ")
        };
        (!differing.is_empty()).then(|| (told(|one| one.1), told(|one| one.2)))
    }

    fn lines(&self, again: &Settled) -> Option<(String, String)> {
        let lines: Option<Vec<Line>> = serde_json::from_str(&self.row.lines).ok();
        let is_same = lines.is_some_and(|lines| {
            lines.len() == again.lines.len() && lines.iter().zip(&again.lines).all(|(kept, line)| is_same(kept, line))
        });
        (!is_same).then(|| (json(&again.lines), self.row.lines.clone()))
    }

    fn carried(&self, again: &Settled) -> Option<(String, String)> {
        let is_same = read_carried(self.carried).is_some_and(|carried| carried == again.carried);
        if !is_same {
            return Some((json(&again.carried), self.carried.to_owned()));
        }
        let (must, is) = (again.carried.sum_minor(), self.row.carried_minor);
        (must != is).then(|| (format!("{must} in all"), format!("{is} in all")))
    }

    fn customers(&self, customers: &[String]) -> Option<(String, String)> {
        let kept: Vec<&str> = self.qualified.iter().map(|row| row.customer_id.as_str()).collect();
        let again: Vec<&str> = customers.iter().map(String::as_str).collect();
        let told = |ones: &[&str], others: &[&str]| {
            let others: HashSet<&str> = others.iter().copied().collect();
            let alone: Vec<&str> = ones.iter().filter(|one| !others.contains(*one)).copied().take(NAMED_MAX).collect();
            format!("{} customers {}", ones.len(), alone.join(", ")).trim_end().to_owned()
        };
        (kept != again).then(|| (told(&again, &kept), told(&kept, &again)))
    }
}

/// What a settlement left to the next one; none of what cannot be read.
pub fn read_carried(json: &str) -> Option<Carried> {
    serde_json::from_str(json).ok()
}

/// An old line does not say of what a deduction was taken.
fn is_same(kept: &Line, line: &Line) -> bool {
    kept.name == line.name
        && kept.amount_minor == line.amount_minor
        && (kept.taken.is_none() || kept.taken == line.taken)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tributary_entity::{
        Instant,
        ids::{AffiliateId, CampaignId, RevenueDealId, RevenueSettlementId, TenantId},
        kinds::SettlementPeriod,
    };

    use super::*;
    use crate::domain::{
        revenue_deal::{Basis, Carryover, Deduction, Terms},
        revenue_settlement::{Activity, settle},
    };

    fn settled() -> Settled {
        let deductions = vec![Deduction { name: "duty".to_owned(), rate_ppm: 150_000, basis: Basis::Ggr }];
        let (carryover, period) = (Carryover::Full, SettlementPeriod::Month);
        let terms = Terms { share_ppm: 300_000, deductions, carryover, period, wait_days: 0, qualified: None };
        let activity = Activity { ggr_minor: 1_000, bonuses_minor: 1_200, chargebacks_minor: 0 };
        let activities = BTreeMap::from([("ada".to_owned(), activity)]);
        settle(&terms, &activities, &Carried::default(), 0).expect("in range")
    }

    fn row(settled: &Settled) -> revenue_settlement::Model {
        revenue_settlement::Model {
            tenant_id: TenantId::default(),
            id: RevenueSettlementId::default(),
            campaign_id: CampaignId::default(),
            affiliate_id: AffiliateId::default(),
            deal_id: RevenueDealId::default(),
            deal_version: 1,
            period_start: "2026-01-01".parse().expect("a day"),
            period_end: "2026-02-01".parse().expect("a day"),
            currency: "EUR".parse().expect("known"),
            records: 1,
            ggr_minor: settled.ggr_minor,
            ngr_minor: settled.ngr_minor,
            shared_minor: settled.shared_minor,
            share_minor: settled.share_minor,
            qualified: settled.qualified,
            qualified_minor: settled.qualified_minor,
            lines: json(&settled.lines),
            carried_minor: settled.carried.sum_minor(),
            award_id: None,
            created_at: Instant::default(),
        }
    }

    #[test]
    fn what_is_reckoned_again_is_what_is_kept() {
        let settled = settled();
        let (kept, carried) = (row(&settled), json(&settled.carried));
        let checks = |row: &revenue_settlement::Model, carried: &str, customers: &[String]| -> Vec<&str> {
            let kept = Kept { row, carried, qualified: &[] };
            kept.differences(Some(&settled), customers).iter().map(|difference| difference.check).collect()
        };
        assert_eq!(checks(&kept, &carried, &[]), [""; 0]);
        let before_it_was_kept = settled.lines.iter().map(|line| Line { taken: None, ..line.clone() });
        let older = revenue_settlement::Model { lines: json(&Vec::from_iter(before_it_was_kept)), ..kept.clone() };
        assert_eq!(checks(&older, &carried, &[]), [""; 0]);
        let changed = revenue_settlement::Model { ngr_minor: kept.ngr_minor + 1, ..kept.clone() };
        assert_eq!(checks(&changed, &carried, &[]), ["REVENUE_RECKONING"]);
        let changed = revenue_settlement::Model { lines: "[]".to_owned(), ..kept.clone() };
        assert_eq!(checks(&changed, &carried, &[]), ["REVENUE_RECKONING"]);
        for wrong in ["", "{", "{}"] {
            assert_eq!(checks(&kept, wrong, &[]), ["REVENUE_CARRIED"], "{wrong}");
        }
        let changed = revenue_settlement::Model { carried_minor: 0, ..kept.clone() };
        assert_eq!(checks(&changed, &carried, &[]), ["REVENUE_CARRIED"]);
        assert_eq!(checks(&kept, &carried, &["ada".to_owned()]), ["REVENUE_CUSTOMERS"]);
        let kept = Kept { row: &kept, carried: &carried, qualified: &[] };
        assert_eq!(kept.differences(None, &[]).len(), 1);
    }
}
