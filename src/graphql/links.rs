//! Links.

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, Result};
use tributary_entity::{ids::LinkId, kinds, link};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    change::change,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::LinkStatus,
    scalars::Url,
};
use crate::{
    auth::Permission,
    domain::{
        link::{LinkChange, LinkFilter, NewLink},
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// A tracking link of one affiliate in one campaign.
#[derive(Description)]
pub(super) struct Link(pub link::Model);

impl From<link::Model> for Link {
    fn from(row: link::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Link {
    /// Begins with `lnk_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The random public token at the end of `url`.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// The address that visitors click. It takes `sub1`..`sub10`, `source` and `to`, a deep link.
    async fn url(&self, ctx: &Context<'_>) -> Result<Url> {
        let (services, _) = ctx.caller()?;
        Ok(Url(format!("{}/c/{}", services.settings.base_url(), self.0.code)))
    }

    /// What is promoted. Null for an affiliate that was rejected and no longer sees the campaign.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Who promotes.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Affiliate> {
        let row = ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?;
        Ok(Affiliate(row.ok_or(ServiceError::Internal("a link without its affiliate")).or_graphql()?))
    }

    /// Where it leads instead of the campaign's destination; null when it leads there.
    async fn destination_url(&self) -> Option<Url> {
        self.0.destination_url.clone().map(Url)
    }

    /// The owner's note.
    async fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// Whether its clicks count.
    async fn status(&self) -> LinkStatus {
        self.0.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.updated_at
    }
}

/// Which links. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct LinkFilterInput {
    /// In one of these campaigns; each begins with `cmp_`.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these affiliates; each begins with `aff_`.
    affiliate_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<LinkStatus>>,
}

impl LinkFilterInput {
    fn parse(self) -> Result<LinkFilter, Problem> {
        Ok(LinkFilter {
            campaign_ids: ids::parse_list(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
        })
    }
}

#[derive(Default)]
pub(super) struct LinkQuery;

#[Object]
impl LinkQuery {
    /// The links that the viewer may see. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn links(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which links.")] filter: Option<LinkFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Link>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Link", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::links::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::links::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Link))
    }

    /// One link, or null.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    async fn link(&self, ctx: &Context<'_>, #[graphql(desc = "Begins with `lnk_`.")] id: ID) -> Result<Option<Link>> {
        let id: LinkId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.link().load_one(id).await.or_graphql()?.map(Link))
    }
}

/// A new link.
#[derive(Clone, InputObject)]
pub(super) struct CreateLinkInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `aff_`. An affiliate can leave it out: its links are its own.
    affiliate_id: Option<ID>,
    /// Where it leads instead of the campaign's destination. Macros in braces may stand behind the host: `click_id`,
    /// `campaign_id`, `affiliate_id`, `link_id`, `source`, `sub1` to `sub10`.
    destination_url: Option<Url>,
    /// The owner's note; at most 255 characters.
    label: Option<String>,
}

impl CreateLinkInput {
    fn parse(self) -> Result<NewLink, Problem> {
        Ok(NewLink {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: ids::parse_optional(&["affiliateId"], self.affiliate_id.as_ref())?,
            destination_url: self.destination_url.map(|url| url.0),
            label: self.label,
        })
    }
}

/// Changes to a link. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateLinkInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `lnk_`.
    id: ID,
    /// Where it leads instead of the campaign's destination; null lets it lead there again.
    destination_url: MaybeUndefined<Url>,
    /// The owner's note; null clears it.
    label: MaybeUndefined<String>,
}

/// Names a link whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct LinkStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `lnk_`.
    id: ID,
}

payload! {
    /// The link after the call.
    LinkPayload {
        /// Null when the call was refused.
        link: Link
    }
}

#[derive(Default)]
pub(super) struct LinkMutation;

#[Object]
impl LinkMutation {
    /// Makes a tracking link. An affiliate makes its own, in campaigns that it is approved for.
    #[graphql(guard = "Needs(Permission::ManageLinks)")]
    async fn create_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link.")] input: CreateLinkInput,
    ) -> Result<LinkPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::links::create(services, viewer, key.as_deref(), input.parse()?).await };
        LinkPayload::answer(result.await)
    }

    /// Changes where a link leads or what it is called. Past clicks keep where they led.
    #[graphql(guard = "Needs(Permission::ManageLinks)")]
    async fn update_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateLinkInput,
    ) -> Result<LinkPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let destination_url = change(input.destination_url.map_value(|url| url.0));
            let change = LinkChange { destination_url, label: change(input.label) };
            services::links::update(services, viewer, input.idempotency_key.as_deref(), id, change).await
        };
        LinkPayload::answer(result.await)
    }

    /// Stops counting a link's clicks: they are recorded as invalid.
    #[graphql(guard = "Needs(Permission::ManageLinks)")]
    async fn disable_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which link.")] input: LinkStatusInput,
    ) -> Result<LinkPayload> {
        set_status(ctx, input, kinds::LinkStatus::Disabled).await
    }

    /// Counts a link's clicks again.
    #[graphql(guard = "Needs(Permission::ManageLinks)")]
    async fn enable_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which link.")] input: LinkStatusInput,
    ) -> Result<LinkPayload> {
        set_status(ctx, input, kinds::LinkStatus::Active).await
    }
}

async fn set_status(ctx: &Context<'_>, input: LinkStatusInput, status: kinds::LinkStatus) -> Result<LinkPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::links::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    LinkPayload::answer(result.await)
}
