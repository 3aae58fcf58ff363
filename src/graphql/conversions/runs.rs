//! Runs that approve, reject, take back, adjust, re-open or give again many conversions in the background, and their progress.

use std::time::Duration;

use async_graphql::{
    Context, Description, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject, Subscription,
};
use futures_util::Stream;
use tributary_entity::{
    Instant, conversion_run, conversion_run_refusal,
    ids::ConversionRunId,
    kinds::{ConversionReason as Reason, EventKind},
};

use super::ConversionFilterInput;
use crate::{
    auth::Permission,
    domain::{
        conversion_run::{NewConversionRun, PART_MAX_PPM, Selection},
        event::Interest,
        problem::Problem,
        rule::{format_percent, parse_percent_up_to},
    },
    graphql::{
        connection::{self, CreationOrder, Paged, TotalCount},
        context::{Needs, RequestData},
        error::IntoGraphql,
        ids,
        kinds::{ConversionReason, ConversionRunAction, ConversionRunStatus},
        live::source::{self, Topic},
        scalars::{Cursor, Decimal},
    },
    services::{self, ServiceError, conversions::runs},
};

/// How long the steps of a run gather before its newest state is sent.
const RUN_PACE: Duration = Duration::from_millis(100);

/// A run that approves, rejects, takes back, adjusts, re-opens or gives again many conversions.
#[derive(Description)]
pub(in crate::graphql) struct ConversionRun(conversion_run::Model);

impl From<conversion_run::Model> for ConversionRun {
    fn from(row: conversion_run::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl ConversionRun {
    /// Begins with `crn_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Where it stands.
    async fn status(&self) -> ConversionRunStatus {
        self.0.status.into()
    }

    /// What it does.
    async fn action(&self) -> ConversionRunAction {
        self.0.action.into()
    }

    /// Why it rejects or takes back; null for the other actions.
    async fn reason(&self) -> Option<ConversionReason> {
        self.0.reason.map(Into::into)
    }

    /// Of each sale, where it takes back a part or gives another amount; null for the other actions.
    async fn percent(&self) -> Option<Decimal> {
        self.0.part_ppm.map(|part| Decimal(format_percent(part)))
    }

    /// For the history of each conversion.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Who asked for it: `user:usr_..`, `key:key_..`, `ext:` with provider and subject, or `operator`.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// Conversions to look at, counted when it was asked for.
    async fn conversions_total(&self) -> i64 {
        self.0.conversions_total
    }

    /// Conversions that were looked at so far.
    async fn conversions_seen(&self) -> i64 {
        self.0.conversions_seen
    }

    /// Of those, how many it did.
    async fn conversions_changed(&self) -> i64 {
        self.0.conversions_changed
    }

    /// Of those, how many could not be.
    async fn conversions_refused(&self) -> i64 {
        self.0.conversions_seen - self.0.conversions_changed
    }

    /// Which could not be, and why, by their ids; at most 1,000.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn refusals(&self, ctx: &Context<'_>) -> Result<Vec<ConversionRefusal>> {
        let (services, viewer) = ctx.caller()?;
        let rows = runs::refusals(services, viewer, self.0.id).await.or_graphql()?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// When it was asked for.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When it last went on.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at
    }

    /// When it was done, cancelled or given up; null before.
    async fn finished_at(&self) -> Option<Instant> {
        self.0.finished_at
    }
}

/// A conversion that a run could not do.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ConversionRefusal {
    /// As named; begins with `cnv_`.
    conversion_id: ID,
    /// Why, as in `userErrors`.
    code: String,
    /// For people.
    message: String,
    /// When it was looked at.
    recorded_at: Instant,
}

impl From<conversion_run_refusal::Model> for ConversionRefusal {
    fn from(row: conversion_run_refusal::Model) -> Self {
        Self {
            conversion_id: row.conversion_id.into(),
            code: row.code,
            message: row.message,
            recorded_at: row.recorded_at,
        }
    }
}

/// Which conversions: exactly one of these.
#[derive(Clone, OneofObject)]
pub(in crate::graphql) enum ConversionSelectionInput {
    /// 1 to 10,000; each begins with `cnv_`.
    Ids(Vec<ID>),
    /// All that are in this list when the run is asked for, and still when their turn comes.
    Filter(ConversionFilterInput),
}

/// Why a run rejects or takes back.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum ConversionRunReason {
    /// No other reason fits.
    Manual,
    /// The customer was given money back.
    Refund,
    /// The goods came back.
    ReturnedGoods,
    /// The payment was charged back.
    Chargeback,
    /// The customer did not pay.
    BadDebt,
    /// Found to be fraud.
    Fraud,
    /// A test.
    Test,
}

impl From<ConversionRunReason> for Reason {
    fn from(reason: ConversionRunReason) -> Self {
        match reason {
            ConversionRunReason::Manual => Self::Manual,
            ConversionRunReason::Refund => Self::Refund,
            ConversionRunReason::ReturnedGoods => Self::ReturnedGoods,
            ConversionRunReason::Chargeback => Self::Chargeback,
            ConversionRunReason::BadDebt => Self::BadDebt,
            ConversionRunReason::Fraud => Self::Fraud,
            ConversionRunReason::Test => Self::Test,
        }
    }
}

/// A run to ask for.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct StartConversionRunInput {
    /// Makes the call repeatable: the same key and input answers the first call's run.
    idempotency_key: Option<String>,
    /// What to do.
    action: ConversionRunAction,
    /// With which conversions.
    selection: ConversionSelectionInput,
    /// Why; needed to reject and to take back, not used otherwise.
    reason: Option<ConversionRunReason>,
    /// Of the sale that each has, at most 4 digits after the point; needed by `REFUND`, less than 100, and by `ADJUST`, at
    /// most 1,000, and only by those.
    percent: Option<Decimal>,
    /// For the history of each conversion. At most 2,000 characters.
    note: Option<String>,
}

impl StartConversionRunInput {
    fn parse(self) -> Result<NewConversionRun, Problem> {
        let selection = match self.selection {
            ConversionSelectionInput::Ids(named) => {
                Selection::Ids(named.iter().map(|id| ids::parse(&["selection", "ids"], id)).collect::<Result<_, _>>()?)
            }
            ConversionSelectionInput::Filter(filter) => {
                Selection::Filter(filter.parse().map_err(|problem| problem.within("selection"))?)
            }
        };
        Ok(NewConversionRun {
            action: self.action.into(),
            reason: self.reason.map(Into::into),
            part_ppm: self.percent.map(|part| parse_percent_up_to(&["percent"], &part.0, PART_MAX_PPM)).transpose()?,
            selection,
            note: self.note,
        })
    }
}

/// Names a run to end.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct CancelConversionRunInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `crn_`.
    id: ID,
}

payload! {
    /// The run.
    ConversionRunPayload {
        /// Null when it was refused.
        conversion_run: ConversionRun
    }
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionRunQuery;

#[Object]
impl ConversionRunQuery {
    /// One run over conversions, or null.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn conversion_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `crn_`.")] id: ID,
    ) -> Result<Option<ConversionRun>> {
        let (services, viewer) = ctx.caller()?;
        let id: ConversionRunId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(runs::get_many(services, viewer, &[id]).await.or_graphql()?.pop().map(Into::into))
    }

    /// The runs over conversions.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn conversion_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<ConversionRun>> {
        let (services, viewer) = ctx.caller()?;
        let order = order.unwrap_or_default().into();
        let request = connection::request("ConversionRun", order, first, after, last, before)?;
        let page = runs::list(services, viewer, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| async move { runs::count(&services, &viewer).await });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Into::into))
    }
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionRunMutation;

#[Object]
impl ConversionRunMutation {
    /// Approves, rejects, takes back, adjusts, re-opens or gives again many conversions in the background, each that may be,
    /// once; the others are listed with why. What is recorded after the call is not meant.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn start_conversion_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do, with which conversions.")] input: StartConversionRunInput,
    ) -> Result<ConversionRunPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { runs::create(services, viewer, key.as_deref(), input.parse()?).await };
        ConversionRunPayload::answer(result.await)
    }

    /// Ends a run where it stands. What it did stays.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn cancel_conversion_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which run.")] input: CancelConversionRunInput,
    ) -> Result<ConversionRunPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            runs::cancel(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        ConversionRunPayload::answer(result.await)
    }
}

/// How far a run has come.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ConversionRunProgress {
    /// Its place in the event log.
    cursor: Cursor,
    /// The run as it stands, all of it.
    run: ConversionRun,
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionRunSubscription;

#[Subscription]
impl ConversionRunSubscription {
    /// How far a run over conversions has come: first as it is, then as it goes on. Steps that come close together are told
    /// as one.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn conversion_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `crn_`.")] id: ID,
        #[graphql(desc = "The last cursor that you have. The first answer is the state as it is, in any case.")]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<ConversionRunProgress>> + use<>> {
        let (services, viewer) = ctx.caller()?;
        let id: ConversionRunId = ids::parse(&["id"], &id).or_graphql()?;
        let interest = Interest::in_kinds(&[EventKind::ConversionRunChanged]);
        let topic = Topic::bind(ctx, "conversionRun", &id, interest, after)?;
        let (services, viewer) = (services.clone(), viewer.clone());
        let read = move || {
            let (services, viewer) = (services.clone(), viewer.clone());
            async move { services::conversions::runs::state(&services, &viewer, id).await }
        };
        source::state(ctx, topic, RUN_PACE, read, |run, place| ConversionRunProgress {
            cursor: place.cursor(),
            run: run.into(),
        })
        .await
    }
}
