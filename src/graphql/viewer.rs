//! The viewer: who the caller is, of which tenant, with which rights.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::tenant;

use super::{
    context::{Authenticated, Needs, RequestData},
    error::IntoGraphql,
    kinds::Role,
    override_plans::OverridePlan,
    scalars::CurrencyCode,
    users::User,
};
use crate::{
    auth::{self, Actor},
    domain::tenant::TenantChange,
    services,
};

/// One customer of the platform, isolated from all others.
#[derive(Description)]
pub(super) struct Tenant(tenant::Model);

#[Object(use_type_description)]
impl Tenant {
    /// Begins with `ten_`.
    async fn id(&self) -> ID {
        self.0.tenant_id.into()
    }

    /// Short name, as in the log-in form.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Default currency of new campaigns.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// IANA name. Reports are by UTC.
    async fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    /// Whether a payout batch must be approved by another than its author, and one that came by its schedule submitted by
    /// another than its approver.
    async fn payout_four_eyes(&self) -> bool {
        self.0.payout_four_eyes
    }

    /// What those above affiliates earn in campaigns without a plan of their own; null where it was never set.
    #[graphql(guard = "Needs(auth::Permission::ReadRules)")]
    async fn override_plan(&self, ctx: &Context<'_>) -> Result<Option<OverridePlan>> {
        let (services, viewer) = ctx.caller()?;
        Ok(services::override_plans::default(services, viewer).await.or_graphql()?.map(OverridePlan))
    }

    /// How long a conversion waits for a click that is not recorded yet, where it names no campaign; 0 refuses it at once.
    async fn click_wait_seconds(&self) -> i64 {
        self.0.click_wait_secs
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self(row)
    }
}

/// One thing that somebody may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "auth::Permission")]
pub(super) enum Permission {
    /// Read the tenant's settings.
    ReadTenant,
    /// Change the tenant's settings.
    ManageTenant,
    /// List users.
    ReadUsers,
    /// Make and disable users, give roles.
    ManageUsers,
    /// List, make and revoke API keys.
    ManageApiKeys,
    /// Read campaigns.
    ReadCampaigns,
    /// Create and change campaigns and goals.
    ManageCampaigns,
    /// Read commission rules and their terms.
    ReadRules,
    /// Read affiliates.
    ReadAffiliates,
    /// Create, decide on and change affiliates and enrollments.
    ManageAffiliates,
    /// Read links.
    ReadLinks,
    /// Create and change links.
    ManageLinks,
    /// Read clicks.
    ReadClicks,
    /// From which networks visitors came.
    ReadVisitors,
    /// Record clicks.
    RecordClicks,
    /// Read conversions.
    ReadConversions,
    /// Record conversions.
    RecordConversions,
    /// Approve and reject conversions.
    ReviewConversions,
    /// Read commissions.
    ReadCommissions,
    /// Read earnings.
    ReadEarnings,
    /// Read reports.
    ReadReports,
    /// Read journals, accounts and the trial balance.
    ReadLedger,
    /// Post deposits, and write debts off.
    ManageLedger,
    /// See what another attribution would pay, and what attribution runs did.
    ReadAttribution,
    /// Post what another attribution pays.
    ApplyAttribution,
    /// Read exchange rates.
    ReadFxRates,
    /// Set and import exchange rates.
    ManageFxRates,
    /// Read payouts.
    ReadPayouts,
    /// Draft and submit payout batches, read them, and tell what became of their payouts.
    ManagePayouts,
    /// Approve payout batches.
    ApprovePayouts,
    /// Set the accounts that payouts are paid from.
    ManagePayingAccounts,
    /// Give affiliates bonuses, and put right what they have.
    PostAwards,
    /// Say where affiliates are paid.
    ManageDestinations,
    /// Say through whose accounts is paid, and with which credentials.
    ManageProcessors,
    /// Apply to campaigns as the affiliate that one is.
    ActAsAffiliate,
}

/// Somebody whom an identity provider vouches for.
#[derive(SimpleObject)]
pub(super) struct ExternalIdentity {
    /// The provider's name in the platform's settings.
    provider: String,
    /// What the provider calls the person or program: the claim `sub`.
    subject: String,
}

/// Who the caller is.
#[derive(Description)]
pub(super) struct Viewer(auth::Viewer);

#[Object(use_type_description)]
impl Viewer {
    /// The tenant that the credential belongs to.
    async fn tenant(&self, ctx: &Context<'_>) -> Result<Tenant> {
        let (services, viewer) = ctx.caller()?;
        services::tenants::get(services, viewer).await.or_graphql().map(Tenant)
    }

    /// The user who is logged in; null for API keys, identities from outside and operators.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let (services, viewer) = ctx.caller()?;
        Ok(services::users::get_own(services, viewer).await.or_graphql()?.map(User))
    }

    /// The API key's id, which begins with `key_`; null for everybody else.
    async fn api_key_id(&self) -> Option<ID> {
        match self.0.actor {
            Actor::ApiKey(id) => Some(id.into()),
            Actor::User(_) | Actor::Postback(_) | Actor::External(_) | Actor::Operator | Actor::System => None,
        }
    }

    /// Who the caller is to an identity provider of the tenant; null for everybody else.
    async fn external_identity(&self) -> Option<ExternalIdentity> {
        match &self.0.actor {
            Actor::External(who) => {
                Some(ExternalIdentity { provider: who.provider.clone(), subject: who.subject.clone() })
            }
            Actor::User(_) | Actor::ApiKey(_) | Actor::Postback(_) | Actor::Operator | Actor::System => None,
        }
    }

    /// The roles that the caller has now.
    async fn roles(&self) -> Vec<Role> {
        self.0.roles.iter().map(|role| (*role).into()).collect()
    }

    /// What the roles, and an API key's scopes, come to.
    async fn permissions(&self) -> Vec<Permission> {
        let held = auth::Permission::ALL.iter().filter(|permission| self.0.may(**permission));
        held.map(|permission| (*permission).into()).collect()
    }

    /// When the credential ends, and every subscription with it; null for an API key that does not.
    async fn expires_at(&self) -> Option<tributary_entity::Instant> {
        self.0.expires_at
    }
}

#[derive(Default)]
pub(super) struct ViewerQuery;

#[Object]
impl ViewerQuery {
    /// Who the caller is and what it may do.
    #[graphql(guard = "Authenticated")]
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        let (_, viewer) = ctx.caller()?;
        Ok(Viewer(viewer.clone()))
    }

    /// The tenant's settings.
    #[graphql(guard = "Needs(auth::Permission::ReadTenant)")]
    async fn tenant(&self, ctx: &Context<'_>) -> Result<Tenant> {
        let (services, viewer) = ctx.caller()?;
        services::tenants::get(services, viewer).await.or_graphql().map(Tenant)
    }
}

/// Changes to the tenant's settings. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateTenantInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Whether a payout batch must be approved by another than its author, and one that came by its schedule submitted by
    /// another than its approver.
    payout_four_eyes: Option<bool>,
    /// IANA name, such as `Europe/Berlin`: where the days, weeks and months of caps begin. What has been counted stays
    /// in the period that it was counted in.
    time_zone: Option<String>,
    /// How long a conversion waits for a click that is not recorded yet, where it names no campaign; at most 30 days, 0
    /// refuses it at once.
    click_wait_seconds: Option<i64>,
}

payload! {
    /// The changed tenant.
    UpdateTenantPayload {
        /// Null when the change was refused.
        tenant: Tenant
    }
}

#[derive(Default)]
pub(super) struct TenantMutation;

#[Object]
impl TenantMutation {
    /// Changes the tenant's settings.
    #[graphql(guard = "Needs(auth::Permission::ManageTenant)")]
    async fn update_tenant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The changes.")] input: UpdateTenantInput,
    ) -> Result<UpdateTenantPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let change = TenantChange {
            payout_four_eyes: input.payout_four_eyes,
            time_zone: input.time_zone,
            click_wait_secs: input.click_wait_seconds,
        };
        UpdateTenantPayload::answer(services::tenants::update(services, viewer, key, change).await)
    }
}
