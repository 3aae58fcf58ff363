//! A call of an endpoint: from whom it is, what it says, what became of it.
//!
//! What the API records, a call records: through the same lanes, exactly once, with the endpoint as its actor. A call
//! that is not answered with [`Receipt`] has a status that says so, and is listed for the tenant.

use std::{net::IpAddr, time::Duration};

use tributary_entity::{
    conversion,
    ids::{CampaignId, ConversionId},
    kinds::{
        ApprovalMode, ConversionReason, ConversionStatus, GoalStatus, PostbackDialect, PostbackEndpointStatus,
        TenantStatus,
    },
    money::Currency,
    postback_endpoint, tenant,
};

use crate::{
    auth::{Viewer, postbacks as tokens},
    domain::{
        conversion::{NewConversion, Review, Snapshot},
        postback::{self, Said, Standing, endpoint as rules},
        problem::{Problem, ProblemCode},
        tenancy::TenantScope,
    },
    limits::Limit,
    services::{
        Outcome, ServiceError, Services,
        conversions::{self, RefundInput, ReviewInput},
    },
    store::{campaigns, clicks, directory, goals},
};

pub use crate::domain::postback::Parameters;

/// A call as it came.
pub struct Call {
    pub token: String,
    /// GET or POST.
    pub method: &'static str,
    pub address: IpAddr,
    pub parameters: Parameters,
    /// Why its body could not be read.
    pub unreadable: Option<Refusal>,
    /// From a header; parameters may hold it, too.
    pub secret: Option<String>,
    pub from: Sender,
}

/// Who sends calls of a kind.
pub enum Sender {
    Server,
    /// A browser, for an image, perhaps with the click id that a page left in a cookie.
    Image {
        cookie: Option<String>,
    },
}

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub conversion_id: ConversionId,
    pub status: ConversionStatus,
    pub reason: Option<ConversionReason>,
    /// The same call came before; nothing was done now.
    pub replayed: bool,
}

/// Why a call did not do what its sender wanted.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Of HTTP.
    pub status: u16,
    /// Senders may switch on it.
    pub code: String,
    pub message: String,
    /// The parameter at fault.
    pub field: Option<String>,
    pub retry_after: Option<Duration>,
    /// What was recorded all the same.
    pub recorded: Option<Receipt>,
}

/// An endpoint that a call found.
pub(super) struct Found {
    pub scope: TenantScope,
    pub endpoint: postback_endpoint::Model,
    tenant: tenant::Model,
}

/// Takes a call.
///
/// # Errors
/// [`Refusal`]; it is listed when this answers, unless nobody's endpoint was called or the database is away.
pub async fn receive(services: &Services, call: Call) -> Result<Receipt, Refusal> {
    let found = find(services, &call.token).await?.ok_or_else(Refusal::unknown)?;
    let answer = answer(services, &found, &call).await;
    if let Err(refusal) = &answer {
        super::refusals::list(services, &found, &call, refusal).await;
    }
    answer
}

/// None also for an endpoint whose tenant is suspended.
async fn find(services: &Services, token: &str) -> Result<Option<Found>, ServiceError> {
    let Some(hash) = tokens::stored_hash(token) else { return Ok(None) };
    let found = directory::postback_endpoint_by_hash(&services.db, &hash).await?;
    let found = found.filter(|(_, _, tenant)| tenant.status == TenantStatus::Active);
    Ok(found.map(|(scope, endpoint, tenant)| Found { scope, endpoint, tenant }))
}

async fn answer(services: &Services, found: &Found, call: &Call) -> Result<Receipt, Refusal> {
    admit(services, &found.endpoint, call).await?;
    if let Some(unreadable) = &call.unreadable {
        return Err(unreadable.clone());
    }
    let cookie = match &call.from {
        Sender::Image { cookie } => cookie.as_deref(),
        Sender::Server => None,
    };
    let said = postback::read(found.endpoint.dialect, &call.parameters, cookie)?;
    let (snapshot, replayed) = record(services, found, &said).await.map_err(|error| as_called(error, &said))?;
    judge(&snapshot.conversion, said.standing, replayed)
}

/// Whether the endpoint takes calls of this sender now.
async fn admit(services: &Services, endpoint: &postback_endpoint::Model, call: &Call) -> Result<(), Refusal> {
    let per_minute = services.settings.postbacks_per_minute;
    if per_minute > 0 {
        let limit = Limit { count: per_minute, window: Duration::from_secs(60) };
        let hit = services.limits.hit(&format!("postback:{}", endpoint.id), limit).await;
        hit.map_err(|retry_after| ServiceError::RateLimited { retry_after })?;
    }
    let forbidden = |code, message| Err(Refusal::new(403, code, message));
    if endpoint.status == PostbackEndpointStatus::Disabled {
        forbidden("ENDPOINT_DISABLED", "the endpoint is disabled")
    } else if matches!(call.from, Sender::Image { .. }) && endpoint.dialect != PostbackDialect::Pixel {
        forbidden("NOT_A_PIXEL", "this endpoint is for servers; its token must not stand in a page")
    } else if !rules::admits(endpoint, call.address) {
        forbidden("ADDRESS_NOT_ALLOWED", "calls from this address are not taken")
    } else if !rules::trusts(endpoint, call.secret.as_deref().or_else(|| call.parameters.secret())) {
        forbidden("SECRET_WRONG", "the endpoint's secret is needed")
    } else {
        Ok(())
    }
}

/// Records what a call says, and moves the conversion on where it says how that stands.
async fn record(services: &Services, found: &Found, said: &Said) -> Result<(Snapshot, bool), ServiceError> {
    let viewer = tokens::viewer(found.scope, &found.endpoint);
    let goals = rules::parse_goals(&found.endpoint.goals)
        .map_err(|_| ServiceError::Internal("an endpoint's goals cannot be read"))?;
    let campaigns = rules::parse_campaigns(&found.endpoint.campaigns)
        .map_err(|_| ServiceError::Internal("an endpoint's campaigns cannot be read"))?;
    let goal = said.goal_code(&goals, found.endpoint.default_goal.as_deref())?;
    let campaign_id = said.campaign_id(&campaigns);
    let lacks_currency = said.amount.as_ref().is_some_and(|amount| amount.currency.is_none());
    let background = if !said.is_told_apart() || (lacks_currency && found.endpoint.default_currency.is_none()) {
        Background::of(services, &viewer, said, campaign_id, &goal).await?
    } else {
        Background::default()
    };
    let currency = found.endpoint.default_currency.or(background.currency).unwrap_or(found.tenant.currency);
    let key = said.idempotency_key(found.endpoint.id, &goal);
    // A call that nothing tells from the next one of its goal is refused, by the lane.
    let repeatable = said.is_told_apart() || !background.counts_often;
    let new = NewConversion {
        click_id: said.click_id,
        visitor_id: None,
        coupon_code: said.coupon_code.clone(),
        campaign_id,
        goal,
        order_id: said.order_id.clone(),
        customer_id: said.customer_id.clone(),
        product_id: said.product_id.clone(),
        sale: said.amount.as_ref().map(|amount| amount.money(currency)).transpose()?,
        occurred_at: None,
        labels: said.labels.clone(),
        needs_review: matches!(said.standing, Standing::Waiting | Standing::Declined),
    };
    let inputs = vec![Ok((repeatable.then(|| key.clone()), new))];
    let recorded = conversions::record(services, &viewer, inputs).await?.pop();
    let Outcome { value, replayed } = recorded.unwrap_or(Err(ServiceError::Internal("no answer")))?;
    let snapshot = follow(services, &viewer, said.standing, &key, value).await?;
    Ok((snapshot, replayed))
}

/// A problem with the campaign, by the caller's own name for it.
fn as_called(error: ServiceError, said: &Said) -> ServiceError {
    match (error, said.campaign_parameter) {
        (ServiceError::Refused(mut problems), Some(name)) => {
            for problem in problems.iter_mut().filter(|problem| problem.field == ["campaignId"]) {
                problem.field = vec![name.to_owned()];
            }
            ServiceError::Refused(problems)
        }
        (error, _) => error,
    }
}

/// What a call leaves to its click, or to the campaign that it names.
#[derive(Default)]
struct Background {
    /// The campaign's.
    currency: Option<Currency>,
    /// The goal is known to count any number of times per click.
    counts_often: bool,
}

impl Background {
    async fn of(
        services: &Services,
        viewer: &Viewer,
        said: &Said,
        named: Option<CampaignId>,
        goal: &str,
    ) -> Result<Self, ServiceError> {
        let tx = services.snapshot(viewer).await?;
        let click = match said.click_id {
            Some(id) => clicks::get_many(&tx, &[id]).await?.pop(),
            None => None,
        };
        let Some(campaign_id) = click.map(|click| click.campaign_id).or(named) else { return Ok(Self::default()) };
        let campaign = campaigns::get_many(&tx, &[campaign_id]).await?.pop();
        let goals = goals::of_campaigns(&tx, &[campaign_id]).await?;
        let goal = goals.iter().find(|row| row.code == goal && row.status == GoalStatus::Active);
        Ok(Self {
            currency: campaign.map(|campaign| campaign.currency),
            counts_often: goal.is_some_and(|goal| !goal.once_per_click),
        })
    }
}

/// Declines what the advertiser declines, takes back what it had approved before, and lets go what only it kept back: where
/// a person decides, it waits for that.
async fn follow(
    services: &Services,
    viewer: &Viewer,
    standing: Standing,
    key: &str,
    snapshot: Snapshot,
) -> Result<Snapshot, ServiceError> {
    let row = &snapshot.conversion;
    let is_kept = row.status == ConversionStatus::Held && row.kept_back;
    let snapshot = match standing {
        // What waits for a fact is not let go by a word; but it is kept back by the fact alone from now on.
        Standing::Approved if is_kept => conversions::let_go(services, viewer, row.id).await?,
        _ => snapshot,
    };
    let row = &snapshot.conversion;
    if standing == Standing::Declined && row.status == ConversionStatus::Approved {
        return take_back(services, viewer, key, row.id).await;
    }
    let is_open = matches!(row.status, ConversionStatus::Pending | ConversionStatus::Held);
    let review = match standing {
        Standing::Declined if is_open => Review::Reject(ConversionReason::Declined),
        Standing::Approved if is_open && approves_itself(services, viewer, row).await? => Review::Approve,
        _ => return Ok(snapshot),
    };
    let input = ReviewInput { ids: vec![row.id], review, note: None };
    // Of two such calls at once the second finds what the first did.
    let key = format!("{key}:{}", if review == Review::Approve { "approve" } else { "decline" });
    let reviewed = conversions::review(services, viewer, Some(&key), input).await?.value.pop();
    Ok(reviewed.ok_or(ServiceError::Internal("no answer"))??)
}

/// What is approved is not rejected any more: it is taken back, whole.
async fn take_back(
    services: &Services,
    viewer: &Viewer,
    key: &str,
    id: ConversionId,
) -> Result<Snapshot, ServiceError> {
    let reason = ConversionReason::Declined;
    let input = RefundInput { id, amount: None, reason, reference: None, note: None };
    let key = format!("{key}:take-back");
    Ok(conversions::refund(services, viewer, Some(&key), input).await?.value.snapshot)
}

async fn approves_itself(services: &Services, viewer: &Viewer, row: &conversion::Model) -> Result<bool, ServiceError> {
    let Some(campaign_id) = row.campaign_id else { return Ok(false) };
    if row.status == ConversionStatus::Held {
        return Ok(false);
    }
    let tx = services.snapshot(viewer).await?;
    let campaign = campaigns::get_many(&tx, &[campaign_id]).await?.pop();
    Ok(campaign.is_some_and(|campaign| campaign.approval == ApprovalMode::Auto))
}

/// A conversion that was recorded as rejected is no success, but for one that was sent to be declined.
fn judge(row: &conversion::Model, standing: Standing, replayed: bool) -> Result<Receipt, Refusal> {
    let receipt = Receipt { conversion_id: row.id, status: row.status, reason: row.reason, replayed };
    match row.reason {
        Some(ConversionReason::Declined) if standing == Standing::Declined => Ok(receipt),
        Some(reason) if row.status == ConversionStatus::Rejected => {
            let is_duplicate = matches!(reason, ConversionReason::DuplicateOrder | ConversionReason::DuplicateClick);
            let status = if is_duplicate { 409 } else { 422 };
            let message = format!("the conversion is recorded, and rejected: {reason}");
            Err(Refusal { recorded: Some(receipt), ..Refusal::new(status, reason.as_str(), message) })
        }
        _ => Ok(receipt),
    }
}

impl Refusal {
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { status, code, message, field: None, retry_after: None, recorded: None }
    }

    fn unknown() -> Self {
        Self::new(404, "NOT_FOUND", "there is no such endpoint")
    }

    fn later(status: u16, code: &str, message: &str, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(status, code, message) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let is_conflict = matches!(problem.code, ProblemCode::IdempotencyConflict | ProblemCode::InvalidTransition);
        let message = match problem.code {
            ProblemCode::IdempotencyConflict => "this transaction came before, and said something else".to_owned(),
            _ => problem.message,
        };
        let status = if is_conflict { 409 } else { 400 };
        Self { field: problem.field.into_iter().next(), ..Self::new(status, problem.code.to_string(), message) }
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(problems) => match problems.into_iter().next() {
                Some(problem) => problem.into(),
                None => Self::new(500, "INTERNAL", "internal error"),
            },
            ServiceError::RateLimited { retry_after } => {
                Self::later(429, "RATE_LIMITED", "too many calls of this endpoint", retry_after)
            }
            ServiceError::Overloaded { retry_after } => {
                Self::later(503, "OVERLOADED", "too much work at the moment; nothing was stored", retry_after)
            }
            transient if transient.is_transient() => {
                tracing::warn!(error = %transient, "the database did not do a postback");
                let message = "the database is away; the same call later is taken once";
                Self::later(503, "UNAVAILABLE", message, Duration::from_secs(1))
            }
            fault => {
                tracing::error!(error = ?fault, "a postback failed");
                Self::new(500, "INTERNAL", "internal error")
            }
        }
    }
}
