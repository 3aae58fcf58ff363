//! Statements.

use async_graphql::{ComplexObject, Context, ID, Object, Result, SimpleObject};
use tributary_entity::Instant;

use super::{
    affiliates::Affiliate,
    context::{Needs, RequestData},
    downloads::{Download, DownloadForm},
    error::IntoGraphql,
    ids,
    scalars::{CurrencyCode, Money},
};
use crate::{
    auth::Permission,
    domain::statement::{self, Period},
    services,
};

/// How an affiliate's balance came from one moment to another, as the ledger has it. The balance is pending and available
/// earnings less debt; `opening + earned - reversed + adjusted - paid = closing`, to the minor unit.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Statement {
    /// Whose.
    affiliate: Affiliate,
    /// The currency of all amounts.
    currency: CurrencyCode,
    /// From this instant on.
    from: Instant,
    /// Up to before this instant.
    until: Instant,
    /// The balance at the beginning; negative for a debt.
    opening: Money,
    /// Commissions of conversions that were approved in the period, and bonuses.
    earned: Money,
    /// What was taken back of them in the period because conversions were reversed, less what was given again.
    reversed: Money,
    /// What was adjusted in the period, such as by another attribution; negative where it was taken back.
    adjusted: Money,
    /// What left for payouts in the period, less what came back of payouts that failed, were cancelled or returned.
    paid: Money,
    /// The balance at the end; negative for a debt.
    closing: Money,
    #[graphql(skip)]
    read: statement::Statement,
}

#[ComplexObject]
impl Statement {
    /// The statement as a file; of a period that is over, and under the same names, the same bytes each time.
    async fn download(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In which form; PDF if absent.")] form: Option<DownloadForm>,
    ) -> Result<Download> {
        let (services, viewer) = ctx.caller()?;
        let form = form.unwrap_or(DownloadForm::Pdf).into();
        let Self { affiliate: Affiliate(affiliate), from, until, read, .. } = self;
        let period = (Period { from: *from, until: *until }, read);
        let bytes = services::statements::written(services, viewer, affiliate, period, form).await.or_graphql()?;
        let stem = format!("{}-{}-{}", affiliate.id, read.closing.currency, from.format("%Y-%m-%d"));
        Ok(Download::new(&stem, form, &bytes))
    }
}

#[derive(Default)]
pub(super) struct StatementQuery;

#[Object]
impl StatementQuery {
    /// An affiliate's statement in one currency; null when there is no such affiliate.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn statement(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose; begins with `aff_`. Affiliates see their own.")] affiliate_id: ID,
        #[graphql(desc = "In which currency.")] currency: CurrencyCode,
        #[graphql(desc = "From this instant on.")] from: Instant,
        #[graphql(desc = "Up to before this instant.")] until: Instant,
    ) -> Result<Option<Statement>> {
        let (services, viewer) = ctx.caller()?;
        let id = ids::parse(&["affiliateId"], &affiliate_id).or_graphql()?;
        let in_currency = currency.currency(&[]).or_graphql()?;
        let period = Period { from, until };
        let found = services::statements::of_affiliate(services, viewer, id, in_currency, period).await.or_graphql()?;
        Ok(found.map(|(affiliate, statement)| Statement {
            affiliate: Affiliate(affiliate),
            currency,
            from,
            until,
            opening: statement.opening.into(),
            earned: statement.earned.into(),
            reversed: statement.reversed.into(),
            adjusted: statement.adjusted.into(),
            paid: statement.paid.into(),
            closing: statement.closing.into(),
            read: statement,
        }))
    }
}
