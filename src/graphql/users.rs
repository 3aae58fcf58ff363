//! Users: people who log in.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::ids::UserId;

use super::{
    connection::{self, Paged, TotalCount},
    context::{Authenticated, Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::{Role, UserStatus},
};
use crate::{
    auth::Permission,
    domain::{
        page::Order,
        problem::Problem,
        text,
        user::{self, NewUser, UserFilter},
    },
    services::{self, ServiceError},
};

/// A person who logs in.
#[derive(Description)]
pub(super) struct User(pub user::User);

impl From<user::User> for User {
    fn from(user: user::User) -> Self {
        Self(user)
    }
}

#[Object(use_type_description)]
impl User {
    /// Begins with `usr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.row.id.into()
    }

    /// What the person logs in with; in lower case.
    async fn email(&self) -> &str {
        &self.0.row.email
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.row.name
    }

    /// What the person may do, by job.
    async fn roles(&self) -> Vec<Role> {
        self.0.roles.iter().map(|role| (*role).into()).collect()
    }

    /// Whether the person can log in.
    async fn status(&self) -> UserStatus {
        self.0.row.status.into()
    }

    /// The affiliate that the person belongs to, whose rows are all that it sees; begins with `aff_`.
    async fn affiliate_id(&self) -> Option<ID> {
        self.0.row.affiliate_id.map(Into::into)
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.row.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.row.updated_at
    }
}

/// Which users. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct UserFilterInput {
    /// In one of these states.
    statuses: Option<Vec<UserStatus>>,
    /// Part of the name, in any case.
    name_contains: Option<String>,
}

impl UserFilterInput {
    fn parse(self) -> Result<UserFilter, Problem> {
        Ok(UserFilter {
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            name_contains: text::optional(&["filter", "nameContains"], self.name_contains.as_deref(), text::NAME_MAX)?,
        })
    }
}

#[derive(Default)]
pub(super) struct UserQuery;

#[Object]
impl UserQuery {
    /// The tenant's users, newest first.
    #[graphql(guard = "Needs(Permission::ReadUsers)")]
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which users.")] filter: Option<UserFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<User>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("User", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::users::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::users::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |user| connection::created(user.row.id.uuid()), User))
    }
}

/// A new user.
#[derive(Clone, InputObject)]
pub(super) struct CreateUserInput {
    /// Makes the call repeatable: the same key and input answers the first call's result. The password is not compared.
    idempotency_key: Option<String>,
    /// What the person logs in with; unique in the tenant.
    email: String,
    /// For people; at most 200 characters.
    name: String,
    /// From 10 to 128 characters; the person can change it.
    #[graphql(secret)]
    password: String,
    /// At least one. AFFILIATE goes with an affiliate and with no other role; INTEGRATION belongs to API keys.
    roles: Vec<Role>,
    /// The affiliate that the person belongs to; begins with `aff_`.
    affiliate_id: Option<ID>,
}

/// What a user may do from now on.
#[derive(Clone, InputObject)]
pub(super) struct SetUserRolesInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `usr_`.
    id: ID,
    /// Instead of the roles that the user has.
    roles: Vec<Role>,
}

/// Names a user whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct UserStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `usr_`.
    id: ID,
}

/// The own password, old and new.
#[derive(Clone, InputObject)]
pub(super) struct ChangePasswordInput {
    /// Makes the call repeatable. The passwords are not compared.
    idempotency_key: Option<String>,
    /// The one that is good now.
    #[graphql(secret)]
    current_password: String,
    /// From 10 to 128 characters.
    #[graphql(secret)]
    new_password: String,
}

payload! {
    /// The user after the call.
    UserPayload {
        /// Null when the call was refused.
        user: User
    }
}

#[derive(Default)]
pub(super) struct UserMutation;

#[Object]
impl UserMutation {
    /// Makes a user. Only an owner makes an owner.
    #[graphql(guard = "Needs(Permission::ManageUsers)")]
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user.")] input: CreateUserInput,
    ) -> Result<UserPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let new = NewUser {
                email: input.email,
                name: input.name,
                password: input.password,
                roles: input.roles.into_iter().map(Into::into).collect(),
                affiliate_id: ids::parse_optional(&["affiliateId"], input.affiliate_id.as_ref())?,
            };
            services::users::create(services, viewer, input.idempotency_key.as_deref(), new).await
        };
        UserPayload::answer(result.await)
    }

    /// Gives a user other roles; they hold within two seconds, whatever access tokens it has. Only an owner makes or changes an
    /// owner, and the last active one stays.
    #[graphql(guard = "Needs(Permission::ManageUsers)")]
    async fn set_user_roles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which user, which roles.")] input: SetUserRolesInput,
    ) -> Result<UserPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id: UserId = ids::parse(&["id"], &input.id)?;
            let roles = input.roles.into_iter().map(Into::into).collect();
            services::users::set_roles(services, viewer, input.idempotency_key.as_deref(), id, roles).await
        };
        UserPayload::answer(result.await)
    }

    /// Ends a user's sessions and lets it log in no more. Only an owner disables an owner, and the last active one stays.
    #[graphql(guard = "Needs(Permission::ManageUsers)")]
    async fn disable_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which user.")] input: UserStatusInput,
    ) -> Result<UserPayload> {
        set_status(ctx, input, tributary_entity::kinds::UserStatus::Disabled).await
    }

    /// Lets a disabled user log in again.
    #[graphql(guard = "Needs(Permission::ManageUsers)")]
    async fn enable_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which user.")] input: UserStatusInput,
    ) -> Result<UserPayload> {
        set_status(ctx, input, tributary_entity::kinds::UserStatus::Active).await
    }

    /// Changes the caller's own password and ends all of the caller's sessions: log in again with the new one.
    #[graphql(guard = "Authenticated")]
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old and the new one.")] input: ChangePasswordInput,
    ) -> Result<UserPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let (current, new) = (&input.current_password, &input.new_password);
        UserPayload::answer(services::users::change_password(services, viewer, key, current, new).await)
    }
}

async fn set_status(
    ctx: &Context<'_>,
    input: UserStatusInput,
    status: tributary_entity::kinds::UserStatus,
) -> Result<UserPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::users::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    UserPayload::answer(result.await)
}
