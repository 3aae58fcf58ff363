//! Sessions: log in, refresh, log out. The only fields that need no credential: what they are given is one.
//!
//! # Decisions
//! - No `idempotencyKey`: keys belong to a tenant, and the caller's is not known before the call has succeeded; and a
//!   stored answer would be a stored credential. A log-in that is repeated makes a session more, which ends by itself; a
//!   log-out can be repeated; a refresh must not be, which is its point.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use super::{
    context::RequestData,
    error::{self, UserError},
};
use crate::services::{
    self, ServiceError,
    sessions::{self, SessionTokens},
};

/// Who wants in.
#[derive(Clone, InputObject)]
pub(super) struct LoginInput {
    /// The tenant's short name.
    tenant: String,
    /// The user's address.
    email: String,
    /// The user's password.
    #[graphql(secret)]
    password: String,
}

/// Names a session by the token that renews it.
#[derive(Clone, InputObject)]
pub(super) struct RefreshTokenInput {
    /// From `login`, or from the last `refreshSession`.
    #[graphql(secret)]
    refresh_token: String,
}

/// What a session goes on with.
#[derive(SimpleObject)]
pub(super) struct SessionPayload {
    /// To be sent as `Authorization: Bearer`. Null when the call was refused.
    access_token: Option<String>,
    /// When the access token ends: refresh before. Null when the call was refused.
    access_token_expires_at: Option<tributary_entity::Instant>,
    /// Good for one refresh: keep the newest. Null when the call was refused.
    refresh_token: Option<String>,
    /// Why nothing was done; empty when it was.
    user_errors: Vec<UserError>,
}

impl SessionPayload {
    fn answer(result: Result<SessionTokens, ServiceError>) -> Result<Self> {
        match result {
            Ok(tokens) => Ok(Self {
                access_token: Some(tokens.access_token),
                access_token_expires_at: Some(tokens.access_token_expires_at),
                refresh_token: Some(tokens.refresh_token),
                user_errors: Vec::new(),
            }),
            Err(ServiceError::Refused(problems)) => Ok(Self {
                access_token: None,
                access_token_expires_at: None,
                refresh_token: None,
                user_errors: problems.into_iter().map(Into::into).collect(),
            }),
            Err(error) => Err(error::to_graphql(error)),
        }
    }
}

/// Whether a session was ended.
#[derive(SimpleObject)]
pub(super) struct LogoutPayload {
    /// The session has ended, now or before. Access tokens that it was given run out by themselves.
    logged_out: bool,
    /// Why nothing was done; empty when it was.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub(super) struct SessionMutation;

#[Object]
impl SessionMutation {
    /// Begins a session. Needs no credential; takes no idempotency key, because each call makes a session of its own.
    async fn login(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who wants in.")] input: LoginInput,
    ) -> Result<SessionPayload> {
        let request = ctx.request();
        let input = sessions::LoginInput { tenant: input.tenant, email: input.email, password: input.password };
        SessionPayload::answer(services::sessions::login(&request.services, &request.client, input).await)
    }

    /// Renews a session. Needs no credential but the refresh token, which it replaces; takes no idempotency key: a refresh
    /// token that is used twice ends its session, because the second use may be a thief's.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session.")] input: RefreshTokenInput,
    ) -> Result<SessionPayload> {
        SessionPayload::answer(services::sessions::refresh(&ctx.request().services, &input.refresh_token).await)
    }

    /// Ends a session. Needs no credential but the refresh token, so that it works when the access token has run out;
    /// takes no idempotency key: ending it again changes nothing.
    async fn logout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session.")] input: RefreshTokenInput,
    ) -> Result<LogoutPayload> {
        match services::sessions::logout(&ctx.request().services, &input.refresh_token).await {
            Ok(()) => Ok(LogoutPayload { logged_out: true, user_errors: Vec::new() }),
            Err(ServiceError::Refused(problems)) => {
                Ok(LogoutPayload { logged_out: false, user_errors: problems.into_iter().map(Into::into).collect() })
            }
            Err(error) => Err(error::to_graphql(error)),
        }
    }
}
