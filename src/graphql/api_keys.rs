//! API keys: how programs authenticate.

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{api_key, ids::ApiKeyId};

use super::{
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::{self, IntoGraphql, UserError},
    ids,
    kinds::ApiKeyScope,
};
use crate::{
    auth::Permission,
    domain::{
        api_key::{NewApiKey, parse_scopes},
        page::Order,
    },
    services::{self, Outcome, ServiceError, api_keys::CreatedApiKey},
};

/// A key that a program of the tenant authenticates with.
#[derive(Description)]
pub(super) struct ApiKey(api_key::Model);

impl From<api_key::Model> for ApiKey {
    fn from(row: api_key::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl ApiKey {
    /// Begins with `key_`. Not the key itself.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The key's last four characters.
    async fn hint(&self) -> &str {
        &self.0.hint
    }

    /// What it may be used for.
    async fn scopes(&self) -> Result<Vec<ApiKeyScope>> {
        match parse_scopes(&self.0.scopes) {
            Ok(scopes) => Ok(scopes.into_iter().map(Into::into).collect()),
            Err(_) => Err(error::to_graphql(ServiceError::Internal("an API key holds an unknown scope"))),
        }
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it ends by itself; null when it does not.
    async fn expires_at(&self) -> Option<tributary_entity::Instant> {
        self.0.expires_at
    }

    /// When it was last used, to the minute; null when it never was.
    async fn last_used_at(&self) -> Option<tributary_entity::Instant> {
        self.0.last_used_at
    }

    /// When it was revoked; null when it was not.
    async fn revoked_at(&self) -> Option<tributary_entity::Instant> {
        self.0.revoked_at
    }
}

#[derive(Default)]
pub(super) struct ApiKeyQuery;

#[Object]
impl ApiKeyQuery {
    /// The tenant's API keys, newest first, revoked ones included.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<ApiKey>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("ApiKey", Order::CreatedDesc, first, after, last, before)?;
        let page = services::api_keys::list(services, viewer, &request).await.or_graphql()?;
        let count = TotalCount::by(async |services, viewer| services::api_keys::count(&services, &viewer).await);
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), ApiKey))
    }
}

/// A new API key.
#[derive(Clone, InputObject)]
pub(super) struct CreateApiKeyInput {
    /// Makes the call repeatable; a repeated call does not answer the secret again.
    idempotency_key: Option<String>,
    /// For people; at most 200 characters.
    name: String,
    /// What it may be used for; at least one.
    scopes: Vec<ApiKeyScope>,
    /// When it ends by itself; by default it does not.
    expires_at: Option<tributary_entity::Instant>,
}

/// Names an API key to be revoked.
#[derive(Clone, InputObject)]
pub(super) struct RevokeApiKeyInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `key_`.
    id: ID,
}

/// The API key after the call, and the one sight of its secret.
#[derive(SimpleObject)]
pub(super) struct CreateApiKeyPayload {
    /// Null when the call was refused.
    api_key: Option<ApiKey>,
    /// The key itself, to be sent as `Authorization: Bearer`. Told this once: null when the call is replayed, for then
    /// nobody knows it but whoever took the first answer. Lost, it is revoked and another is made.
    secret: Option<String>,
    /// The idempotency key was used before with the same input: this is that call's result, nothing was done now.
    replayed: bool,
    /// Why nothing was done; empty when it was.
    user_errors: Vec<UserError>,
}

impl CreateApiKeyPayload {
    fn answer(result: Result<Outcome<CreatedApiKey>, ServiceError>) -> Result<Self> {
        match result {
            Ok(Outcome { value, replayed }) => {
                Ok(Self { api_key: Some(value.row.into()), secret: value.secret, replayed, user_errors: Vec::new() })
            }
            Err(ServiceError::Refused(problems)) => Ok(Self {
                api_key: None,
                secret: None,
                replayed: false,
                user_errors: problems.into_iter().map(Into::into).collect(),
            }),
            Err(error) => Err(error::to_graphql(error)),
        }
    }
}

payload! {
    /// The API key after the call.
    ApiKeyPayload {
        /// Null when the call was refused.
        api_key: ApiKey
    }
}

#[derive(Default)]
pub(super) struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// Makes an API key. To change keys without a pause, make the new one, move the programs, revoke the old one.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyPayload> {
        let (services, viewer) = ctx.caller()?;
        let new = NewApiKey {
            name: input.name,
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            expires_at: input.expires_at,
        };
        let key = input.idempotency_key.as_deref();
        CreateApiKeyPayload::answer(services::api_keys::create(services, viewer, key, new).await)
    }

    /// Ends an API key, at once and for good.
    #[graphql(guard = "Needs(Permission::ManageApiKeys)")]
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key.")] input: RevokeApiKeyInput,
    ) -> Result<ApiKeyPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id: ApiKeyId = ids::parse(&["id"], &input.id)?;
            services::api_keys::revoke(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        ApiKeyPayload::answer(result.await)
    }
}
