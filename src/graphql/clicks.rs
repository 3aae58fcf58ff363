//! Clicks.

use std::net::IpAddr;

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, click, ids::ClickId};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::{IntoGraphql, UserError},
    ids,
    kinds::{ClickInvalidReason, Device},
    labels::{Label, SubLabelsInput},
    links::Link,
};
use crate::{
    auth::Permission,
    domain::{
        click::{ClickFilter, NewClick, Visit},
        instant,
        page::Order,
        problem::{Problem, ProblemCode},
    },
    services::{self, clicks::BATCH_MAX, visitors::Told},
};

/// One recorded visit through a link; never changed.
#[derive(Description)]
pub(super) struct Click(pub click::Model);

impl From<click::Model> for Click {
    fn from(row: click::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Click {
    /// Begins with `clk_`; hand it to the landing page and send it back with the conversion.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The link that was clicked.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    async fn link(&self, ctx: &Context<'_>) -> Result<Option<Link>> {
        Ok(ctx.loaders()?.link().load_one(self.0.link_id).await.or_graphql()?.map(Link))
    }

    /// The campaign of the link.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Who promoted.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// When the visitor clicked.
    async fn occurred_at(&self) -> Instant {
        self.0.occurred_at
    }

    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at
    }

    /// The sender's own mark for the visitor.
    async fn visitor_id(&self) -> Option<&str> {
        self.0.visitor_id.as_deref()
    }

    /// Placement label.
    async fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// `sub1`..`sub10`, those that are set.
    async fn labels(&self) -> Result<Vec<Label>> {
        Label::list(self.0.labels.as_deref())
    }

    /// Whether it is valid and the first such of its link and visitor inside the campaign's window.
    async fn is_unique(&self) -> bool {
        self.0.is_unique
    }

    /// Why it does not count; null for a valid click.
    async fn invalid_reason(&self) -> Option<ClickInvalidReason> {
        self.0.invalid_reason.map(Into::into)
    }

    /// Where the visitor's address is at home, by ISO 3166-1 alpha-2; null when that is not known.
    async fn country(&self) -> Option<&str> {
        self.0.country.as_deref()
    }

    /// What the visitor used; null when that is not known.
    async fn device(&self) -> Option<Device> {
        self.0.device.map(Into::into)
    }

    /// The family of the visitor's operating system, such as `Android`.
    async fn os(&self) -> Option<&str> {
        self.0.os.as_deref()
    }

    /// The family of the visitor's browser, such as `Firefox`.
    async fn browser(&self) -> Option<&str> {
        self.0.browser.as_deref()
    }

    /// The host of the page that held the link.
    async fn referrer_host(&self) -> Option<&str> {
        self.0.referrer_host.as_deref()
    }

    /// The visitor's network, /24 or /48; the address itself is not kept. Not for affiliates.
    #[graphql(guard = "Needs(Permission::ReadVisitors)")]
    async fn address_prefix(&self) -> Option<&str> {
        self.0.address_prefix.as_deref()
    }
}

/// Which clicks. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct ClickFilterInput {
    /// Of one of these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// Through one of these links.
    link_ids: Option<Vec<ID>>,
    /// Clicked at or after.
    occurred_from: Option<Instant>,
    /// Clicked before.
    occurred_before: Option<Instant>,
    /// Only valid clicks, or only invalid ones.
    valid: Option<bool>,
}

impl ClickFilterInput {
    fn parse(self) -> Result<ClickFilter, Problem> {
        Ok(ClickFilter {
            campaign_ids: ids::parse_list(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            link_ids: ids::parse_list(&["filter", "linkIds"], self.link_ids.as_deref())?,
            occurred_from: instant::optional(&["filter", "occurredFrom"], self.occurred_from)?,
            occurred_before: instant::optional(&["filter", "occurredBefore"], self.occurred_before)?,
            valid: self.valid,
        })
    }
}

#[derive(Default)]
pub(super) struct ClickQuery;

#[Object]
impl ClickQuery {
    /// The clicks that the viewer may see, newest first.
    #[graphql(guard = "Needs(Permission::ReadClicks)")]
    async fn clicks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which clicks.")] filter: Option<ClickFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Click>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Click", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::clicks::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::clicks::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Click))
    }

    /// One click, or null.
    #[graphql(guard = "Needs(Permission::ReadClicks)")]
    async fn click(&self, ctx: &Context<'_>, #[graphql(desc = "Begins with `clk_`.")] id: ID) -> Result<Option<Click>> {
        let id: ClickId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.click().load_one(id).await.or_graphql()?.map(Click))
    }
}

/// A click, recorded by a tenant that redirects its visitors itself.
#[derive(Clone, InputObject)]
pub(super) struct RecordClickInput {
    /// Makes the call repeatable: the same key and input answers the first call's click.
    idempotency_key: Option<String>,
    /// The link that was clicked; begins with `lnk_`.
    link_id: ID,
    /// When; now if absent. Not in the future.
    occurred_at: Option<Instant>,
    /// Your own mark for the visitor; tells unique clicks from repeated ones. At most 255 characters.
    visitor_id: Option<String>,
    /// Placement label. At most 255 characters.
    source: Option<String>,
    /// The affiliate's labels.
    labels: Option<SubLabelsInput>,
    /// What the visitor's browser called itself. Read for device, system and browser, and not kept; a crawler's click
    /// is invalid as BOT.
    user_agent: Option<String>,
    /// The visitor's address, IPv4 or IPv6. Kept are its network (/24, /48), its country, and a hash under a key that
    /// changes daily.
    ip_address: Option<String>,
    /// The page that the visitor came from. Its host is kept.
    referrer: Option<String>,
}

impl RecordClickInput {
    fn parse(self) -> services::clicks::ToldClick {
        let told = Told {
            address: self.ip_address.as_deref().map(ip_address).transpose()?,
            user_agent: self.user_agent,
            referrer: self.referrer,
        };
        let new = NewClick {
            id: None,
            link_id: ids::parse(&["linkId"], &self.link_id)?,
            facts: None,
            occurred_at: self.occurred_at,
            visitor_id: self.visitor_id,
            is_new_visitor: false,
            source: self.source,
            labels: self.labels.map(SubLabelsInput::into_labels).unwrap_or_default(),
            visit: Visit::default(),
            invalid_reason: None,
        };
        Ok((self.idempotency_key, new, told))
    }
}

fn ip_address(text: &str) -> Result<IpAddr, Problem> {
    let message = "an IPv4 or IPv6 address";
    text.trim().parse().map_err(|_| Problem::new(ProblemCode::InvalidText, &["ipAddress"], message))
}

/// Clicks to record together.
#[derive(Clone, InputObject)]
pub(super) struct RecordClicksInput {
    /// 1 to 1,000; each may carry its own idempotency key.
    items: Vec<RecordClickInput>,
}

payload! {
    /// The recorded click.
    RecordClickPayload {
        /// Null when it was refused.
        click: Click
    }
}

/// The recorded clicks.
#[derive(SimpleObject)]
pub(super) struct RecordClicksPayload {
    /// One answer per item, in order; a refused item does not touch the others.
    items: Vec<RecordClickPayload>,
    /// Why the call as a whole was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub(super) struct ClickMutation;

#[Object]
impl ClickMutation {
    /// Records a click. Answered when it is durable.
    #[graphql(guard = "Needs(Permission::RecordClicks)")]
    async fn record_click(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The click.")] input: RecordClickInput,
    ) -> Result<RecordClickPayload> {
        let (services, viewer) = ctx.caller()?;
        let mut answers = services::clicks::record_told(services, viewer, vec![input.parse()]).await.or_graphql()?;
        RecordClickPayload::answer(answers.pop().unwrap_or(Err(services::ServiceError::Internal("no answer"))))
    }

    /// Records up to 1,000 clicks. Answered when they are durable.
    #[graphql(guard = "Needs(Permission::RecordClicks)")]
    async fn record_clicks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The clicks.")] input: RecordClicksInput,
    ) -> Result<RecordClicksPayload> {
        let (services, viewer) = ctx.caller()?;
        if let Some(problem) = Problem::batch_size(&["items"], input.items.len(), BATCH_MAX) {
            return Ok(RecordClicksPayload { items: Vec::new(), user_errors: vec![problem.into()] });
        }
        let inputs = input.items.into_iter().map(RecordClickInput::parse).collect();
        let answers = services::clicks::record_told(services, viewer, inputs).await.or_graphql()?;
        let items = answers.into_iter().map(RecordClickPayload::answer_item).collect();
        Ok(RecordClicksPayload { items, user_errors: Vec::new() })
    }
}
