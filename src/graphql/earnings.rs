//! Earnings.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::{
    affiliates::Affiliate,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    scalars::{CurrencyCode, Cursor, Money},
};
use crate::{
    auth::{Permission, Viewer},
    domain,
    services::{self, Services, earnings::EarningsSnapshot},
};

/// An affiliate's commissions summed, at one moment.
#[derive(SimpleObject)]
pub(super) struct Earnings {
    /// The moment's place in the event log.
    cursor: Cursor,
    /// Whose.
    affiliate: Affiliate,
    /// One per currency in which the affiliate ever earned.
    balances: Vec<EarningsBalance>,
}

/// Earnings in one currency.
#[derive(SimpleObject)]
pub(super) struct EarningsBalance {
    /// The currency of all amounts.
    currency: CurrencyCode,
    /// Of conversions that nobody approved so far: a projection, not in the ledger.
    unapproved: Money,
    /// Approved and in the hold period (account 2000).
    pending: Money,
    /// Payable (account 2010).
    available: Money,
    /// Owed back (account 1200).
    debt: Money,
}

impl From<domain::earnings::Earnings> for EarningsBalance {
    fn from(earnings: domain::earnings::Earnings) -> Self {
        Self {
            currency: earnings.unapproved.currency.into(),
            unapproved: earnings.unapproved.into(),
            pending: earnings.pending.into(),
            available: earnings.available.into(),
            debt: earnings.debt.into(),
        }
    }
}

impl Earnings {
    /// A snapshot with the cursor that the subscription takes.
    pub fn of(services: &Services, viewer: &Viewer, snapshot: EarningsSnapshot) -> Self {
        let binding = services.cursors.bind(&viewer.scope, "earnings", &snapshot.affiliate.id);
        Self {
            cursor: Cursor(binding.encode(&snapshot.position)),
            affiliate: Affiliate(snapshot.affiliate),
            balances: snapshot.earnings.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Default)]
pub(super) struct EarningsQuery;

#[Object]
impl EarningsQuery {
    /// What an affiliate has earned.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn earnings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose; begins with `aff_`. Affiliates see their own.")] affiliate_id: ID,
    ) -> Result<Option<Earnings>> {
        let (services, viewer) = ctx.caller()?;
        let id = ids::parse(&["affiliateId"], &affiliate_id).or_graphql()?;
        match services::earnings::of_affiliate(services, viewer, id).await {
            Ok(snapshot) => Ok(Some(Earnings::of(services, viewer, snapshot))),
            // A query answers null for what is not there, like every other.
            Err(error) if error.code() == Some(domain::problem::ProblemCode::NotFound) => Ok(None),
            Err(error) => Err(super::error::to_graphql(error)),
        }
    }
}
