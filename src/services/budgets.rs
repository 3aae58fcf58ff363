//! What requests may cost: each caller spends from its own budget and from its tenant's.
//!
//! A request is charged what it may cost before it runs, and settled by what its answer held.

use std::{sync::Arc, time::Duration};

use crate::{
    auth::Viewer,
    config::Settings,
    limits::budget::{Budgets, Rate},
};

/// The budgets of all callers; cheap to clone.
#[derive(Clone)]
pub struct Spending {
    budgets: Arc<dyn Budgets>,
    settings: Arc<Settings>,
}

/// What a request was charged.
pub struct Charge {
    spending: Spending,
    /// The caller's own, then its tenant's; those without a limit are not here.
    accounts: Vec<Account>,
    requested: u64,
}

#[derive(Clone)]
struct Account {
    owner: Owner,
    key: String,
    rate: Rate,
    remaining: i64,
}

/// Whose a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A user, a key, or whoever calls from an address without a credential.
    Caller,
    Tenant,
}

/// What is left of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub owner: Owner,
    /// As far as this node knows; negative when the last answer cost more than there was.
    pub remaining: i64,
    pub limit: u64,
    pub per_second: u64,
}

impl Spending {
    pub fn new(budgets: Arc<dyn Budgets>, settings: Arc<Settings>) -> Self {
        Self { budgets, settings }
    }

    /// Charges a caller; `client` is the address of one without a credential.
    ///
    /// # Errors
    /// When to come back, when a budget does not have so much.
    pub async fn charge(&self, viewer: Option<&Viewer>, client: &str, requested: u64) -> Result<Charge, Duration> {
        let mut charge = Charge { spending: self.clone(), accounts: Vec::new(), requested };
        for mut account in self.accounts(viewer, client) {
            match self.budgets.take(&account.key, account.rate, requested).await {
                Ok(remaining) => {
                    account.remaining = remaining;
                    charge.accounts.push(account);
                }
                Err(retry_after) => {
                    charge.settle(0);
                    return Err(retry_after);
                }
            }
        }
        Ok(charge)
    }

    fn accounts(&self, viewer: Option<&Viewer>, client: &str) -> impl Iterator<Item = Account> {
        let settings = &self.settings;
        let account = |owner, key, per_second: u64| {
            // A budget that could not hold the largest request would refuse it for ever.
            let burst = per_second.saturating_mul(settings.budget_burst_secs).max(settings.largest_cost);
            (per_second > 0).then_some(Account { owner, key, rate: Rate { per_second, burst }, remaining: 0 })
        };
        let accounts = match viewer {
            None => [account(Owner::Caller, format!("client:{client}"), settings.anonymous_points_per_second), None],
            Some(viewer) => {
                let tenant = viewer.scope.tenant_id();
                [
                    account(Owner::Caller, format!("{tenant}:{}", viewer.actor), settings.user_points_per_second),
                    account(Owner::Tenant, tenant.to_string(), settings.tenant_points_per_second),
                ]
            }
        };
        accounts.into_iter().flatten()
    }
}

impl Charge {
    /// Points that were charged.
    pub const fn requested(&self) -> u64 {
        self.requested
    }

    /// Gives back or charges the difference to what it really cost.
    pub fn settle(&mut self, actual: u64) {
        let signed = |points: u64| i64::try_from(points).unwrap_or(i64::MAX);
        let difference = signed(self.requested) - signed(actual);
        for account in &mut self.accounts {
            account.remaining = self.spending.budgets.settle(&account.key, account.rate, difference);
        }
        self.requested = actual;
    }

    /// What is left.
    pub fn balances(&self) -> impl Iterator<Item = Balance> {
        self.accounts.iter().map(|account| Balance {
            owner: account.owner,
            remaining: account.remaining,
            limit: account.rate.burst,
            per_second: account.rate.per_second,
        })
    }
}
