//! Exchange rates.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, fx_rate, money::Currency};

use super::{
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    kinds::FxSource,
    scalars::{CurrencyCode, Date, Decimal},
};
use crate::{
    auth::Permission,
    domain::{
        fx_rate::{FxRateFilter, NewRate, Quote, file::Format, format_rate, parse_rate},
        problem::Problem,
    },
    services::{
        self,
        fx_rates::{FileInput, Imported},
    },
};

/// What one currency was worth in another on a day. Never changed: a correction is another rate of the same day, and the
/// newest of one source counts.
#[derive(Description)]
pub(super) struct FxRate(pub fx_rate::Model);

impl From<fx_rate::Model> for FxRate {
    fn from(row: fx_rate::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl FxRate {
    /// Begins with `fxr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Where it is from.
    async fn source(&self) -> FxSource {
        self.0.source.into()
    }

    /// One unit of this currency
    async fn base(&self) -> CurrencyCode {
        self.0.base.into()
    }

    /// is worth `rate` units of this one.
    async fn quote(&self) -> CurrencyCode {
        self.0.quote.into()
    }

    /// How much of `quote` one unit of `base` is worth.
    async fn rate(&self) -> Decimal {
        Decimal(format_rate(self.0.rate_e12))
    }

    /// The day from which it holds, for a week at most.
    async fn valid_on(&self) -> Date {
        Date(self.0.valid_on)
    }

    /// Who recorded it.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// When it was recorded.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

/// The rate by which something is reckoned.
#[derive(Clone, SimpleObject)]
pub(super) struct FxQuote {
    /// One unit of this currency
    from: CurrencyCode,
    /// is worth `rate` units of this one.
    to: CurrencyCode,
    /// To twelve digits; amounts are reckoned by the exact quotient of the rates that it stands on.
    rate: Decimal,
    /// Where it is from.
    source: FxSource,
    /// The day of the rates that it stands on.
    valid_on: Date,
}

impl From<Quote> for FxQuote {
    fn from(quote: Quote) -> Self {
        Self {
            from: quote.from.into(),
            to: quote.to.into(),
            rate: Decimal(quote.decimal()),
            source: quote.source.into(),
            valid_on: Date(quote.valid_on),
        }
    }
}

impl FxQuote {
    /// From what the database keeps.
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str::<Quote>(json).ok().map(<Self as From<Quote>>::from)
    }
}

/// Which exchange rates. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct FxRateFilterInput {
    /// From one of these sources.
    sources: Option<Vec<FxSource>>,
    /// Of one of these currencies.
    bases: Option<Vec<CurrencyCode>>,
    /// In one of these currencies.
    quotes: Option<Vec<CurrencyCode>>,
    /// Of this day or later.
    from: Option<Date>,
    /// Of this day or earlier.
    until: Option<Date>,
}

impl FxRateFilterInput {
    fn parse(self) -> Result<FxRateFilter, Problem> {
        let currencies = |field: &str, codes: Option<Vec<CurrencyCode>>| {
            let read = |code: CurrencyCode| code.currency(&["filter", field]);
            codes.map(|codes| codes.into_iter().map(read).collect::<Result<Vec<Currency>, _>>()).transpose()
        };
        Ok(FxRateFilter {
            sources: self.sources.map(|sources| sources.into_iter().map(Into::into).collect()),
            bases: currencies("bases", self.bases)?,
            quotes: currencies("quotes", self.quotes)?,
            from: self.from.map(|day| day.0),
            until: self.until.map(|day| day.0),
        })
    }
}

#[derive(Default)]
pub(super) struct FxRateQuery;

#[Object]
impl FxRateQuery {
    /// The tenant's exchange rates.
    #[graphql(guard = "Needs(Permission::ReadFxRates)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn fx_rates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rates.")] filter: Option<FxRateFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<FxRate>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("FxRate", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::fx_rates::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::fx_rates::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), FxRate))
    }

    /// The rate by which a sale of a day would be reckoned; null where none is known, and the sale would wait.
    #[graphql(guard = "Needs(Permission::ReadFxRates)")]
    async fn fx_quote(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is sold.")] from: CurrencyCode,
        #[graphql(desc = "What is bought.")] to: CurrencyCode,
        #[graphql(desc = "The day, in UTC; today if absent.")] on: Option<Date>,
    ) -> Result<Option<FxQuote>> {
        let (services, viewer) = ctx.caller()?;
        let (from, to) = (from.currency(&["from"]).or_graphql()?, to.currency(&["to"]).or_graphql()?);
        let on = on.map_or_else(|| services.now().date_naive(), |day| day.0);
        let quote = services::fx_rates::quote(services, viewer, from, to, on).await.or_graphql()?;
        Ok(quote.map(Into::into))
    }
}

/// A rate to set.
#[derive(Clone, InputObject)]
pub(super) struct SetFxRateInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// One unit of this currency
    base: CurrencyCode,
    /// is worth `rate` units of this one.
    quote: CurrencyCode,
    /// More than 0, at most twelve digits after the point.
    rate: Decimal,
    /// The day from which it holds, in UTC.
    valid_on: Date,
}

impl SetFxRateInput {
    fn parse(&self) -> Result<NewRate, Problem> {
        // The code's own field is named, not a part of it.
        let currency = |field: &str, code: &CurrencyCode| {
            code.currency(&[]).map_err(|problem| Problem { field: vec![field.to_owned()], ..problem })
        };
        Ok(NewRate {
            source: tributary_entity::kinds::FxSource::Manual,
            base: currency("base", &self.base)?,
            quote: currency("quote", &self.quote)?,
            rate_e12: parse_rate(&["rate"], &self.rate.0)?,
            valid_on: self.valid_on.0,
        })
    }
}

/// What a file of rates is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum FxFileFormat {
    /// The ECB's `eurofxref-daily.xml` or `eurofxref-hist-90d.xml`, or some years of `eurofxref-hist.xml`.
    EcbXml,
    /// The ECB's `eurofxref.csv` or some years of `eurofxref-hist.csv`, or a table with the columns `date,base,quote,rate`.
    Csv,
}

/// A file of rates.
#[derive(Clone, InputObject)]
pub(super) struct ImportFxRatesInput {
    /// Makes the call repeatable. Without it a repetition adds nothing either.
    idempotency_key: Option<String>,
    /// What it is.
    format: FxFileFormat,
    /// Its text, at most 4 MiB and 20,000 rates.
    content: String,
}

impl From<ImportFxRatesInput> for FileInput {
    fn from(input: ImportFxRatesInput) -> Self {
        let format = match input.format {
            FxFileFormat::EcbXml => Format::EcbXml,
            FxFileFormat::Csv => Format::Csv,
        };
        Self { format, content: input.content }
    }
}

/// What an import did.
#[derive(SimpleObject)]
pub(super) struct FxImport {
    /// Rates in the file.
    read: u64,
    /// Those that were not known.
    added: u64,
    /// The first day that the file speaks of.
    first_day: Date,
    /// The last one.
    last_day: Date,
}

impl From<Imported> for FxImport {
    fn from(imported: Imported) -> Self {
        let Imported { read, added, first_day, last_day } = imported;
        Self { read: read as u64, added: added as u64, first_day: Date(first_day), last_day: Date(last_day) }
    }
}

payload! {
    /// The rate after the call.
    FxRatePayload {
        /// Null when the call was refused.
        fx_rate: FxRate
    }
}

payload! {
    /// The import after the call.
    FxImportPayload {
        /// Null when the call was refused.
        fx_import: FxImport
    }
}

#[derive(Default)]
pub(super) struct FxRateMutation;

#[Object]
impl FxRateMutation {
    /// Sets an exchange rate of a day. Conversions that waited for it are decided; what was reckoned by another one stays.
    #[graphql(guard = "Needs(Permission::ManageFxRates)")]
    async fn set_fx_rate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rate.")] input: SetFxRateInput,
    ) -> Result<FxRatePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async { services::fx_rates::set(services, viewer, key, input.parse()?).await };
        FxRatePayload::answer(result.await)
    }

    /// Imports a file of exchange rates, whole or not at all; rates that are known already are not added again.
    #[graphql(guard = "Needs(Permission::ManageFxRates)")]
    async fn import_fx_rates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file.")] input: ImportFxRatesInput,
    ) -> Result<FxImportPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let file = input.into();
        FxImportPayload::answer(services::fx_rates::import(services, viewer, key.as_deref(), &file).await)
    }
}
