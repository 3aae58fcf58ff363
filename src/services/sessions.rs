//! Sessions: log in, refresh, log out.
//!
//! # Decisions
//! - One answer for whatever is wrong with a log-in, after the same work: it tells nobody who exists.
//! - Refresh tokens rotate. A generation that was used before ends the session: either a thief or the owner holds the
//!   newer one, and which of them cannot be told (RFC 9700, 4.14). That holds for two that come at the same moment, too.
//! - What may end a session is read in the transaction that renews it: status of user, affiliate and tenant, and roles.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tributary_entity::{
    Instant,
    ids::{SessionId, TenantId, UserId},
    kinds::EventKind,
    session, user,
};

use super::{ServiceError, Services, users::with_roles};
use crate::{
    ambient,
    auth::{
        Passwords, Tokens,
        refresh_tokens::RefreshToken,
        tokens::{Grant, Subject},
    },
    domain::{
        event::{Committed, NewEvent},
        problem::{Problem, ProblemCode},
        tenancy::TenantScope,
        tenant, text,
        user::{self as rules, User},
    },
    limits::Limit,
    store::{
        database::Db,
        directory,
        scope::Tx,
        sessions::{self, Rotation},
        tenants, users,
    },
};

/// Log-ins per tenant and address.
const PER_ACCOUNT: Limit = Limit { count: 10, window: Duration::from_secs(300) };
/// Log-ins per client address, which may be a whole office's.
const PER_CLIENT: Limit = Limit { count: 100, window: Duration::from_secs(300) };

/// Who wants in. No `Debug`: it holds a password.
pub struct LoginInput {
    /// The tenant's slug.
    pub tenant: String,
    pub email: String,
    pub password: String,
}

/// What a client goes on with. No `Debug`: these are credentials.
pub struct SessionTokens {
    pub access_token: String,
    pub access_token_expires_at: Instant,
    pub refresh_token: String,
}

/// Begins a session. `client` is the caller's address, for the limits alone.
///
/// # Errors
/// `INVALID_CREDENTIALS`, whatever is wrong; rate limit.
pub async fn login(services: &Services, client: &str, input: LoginInput) -> Result<SessionTokens, ServiceError> {
    // Addresses of people are hashed before they become names of counters, and slugs and addresses of any length short.
    let account = Sha256::digest(format!("{}\0{}", input.tenant.trim(), input.email.trim()).to_lowercase());
    let account = data_encoding::HEXLOWER.encode(&account[..16]);
    for (name, limit) in
        [(format!("login:client:{client}"), PER_CLIENT), (format!("login:account:{account}"), PER_ACCOUNT)]
    {
        let hit = services.limits.hit(&name, limit).await;
        hit.map_err(|retry_after| ServiceError::RateLimited { retry_after })?;
    }
    Desk::of(services, &|tenant_id, committed| services.announce(tenant_id, committed)).login(input).await
}

/// Renews a session: answers new tokens and makes the presented one worthless.
///
/// # Errors
/// `INVALID_CREDENTIALS` for a token that is not (or no longer) good; the session ends when the token was used before.
pub async fn refresh(services: &Services, refresh_token: &str) -> Result<SessionTokens, ServiceError> {
    Desk::of(services, &|tenant_id, committed| services.announce(tenant_id, committed)).refresh(refresh_token).await
}

/// Ends the session of a refresh token, in whichever generation. Ending it again changes nothing.
///
/// # Errors
/// `INVALID_CREDENTIALS` for a text that is no refresh token of ours.
pub async fn logout(services: &Services, refresh_token: &str) -> Result<(), ServiceError> {
    Desk::of(services, &|tenant_id, committed| services.announce(tenant_id, committed)).logout(refresh_token).await
}

/// Who is told what a commit of a tenant did.
type Announce<'a> = &'a (dyn Fn(TenantId, Committed) + Sync);

/// The part of the services that sessions need.
struct Desk<'a> {
    db: &'a Db,
    tokens: &'a Tokens,
    passwords: &'a Passwords,
    /// Told what was logged, once it is committed.
    announce: Announce<'a>,
    now: Instant,
    access_token_secs: i64,
    refresh_token_secs: i64,
}

impl<'a> Desk<'a> {
    fn of(services: &'a Services, announce: Announce<'a>) -> Self {
        Self {
            db: &services.db,
            tokens: &services.tokens,
            passwords: &services.passwords,
            announce,
            now: services.now(),
            access_token_secs: services.settings.access_token_secs,
            refresh_token_secs: services.settings.refresh_token_secs,
        }
    }

    async fn login(&self, input: LoginInput) -> Result<SessionTokens, ServiceError> {
        let claimed = self.find(&input).await?;
        let hash = claimed.as_ref().and_then(|(_, user)| user.password_hash.as_deref());
        let verified = self.passwords.verify(&input.password, hash).await;
        let Some((scope, claimed)) = claimed.filter(|_| verified) else {
            return Err(refused_login());
        };

        let mut tx = self.db.begin(&scope).await?;
        // Whoever disables the user or changes the password ends its sessions, and must find this one among them.
        let user = users::lock(&tx, claimed.id).await?.filter(|user| user.password_hash == claimed.password_hash);
        let user = match user {
            Some(user) => entitled(&tx, user).await?,
            None => None,
        };
        let user = user.ok_or_else(refused_login)?;
        let token = self.tokens.issue_refresh(scope.tenant_id(), SessionId::from_uuid(ambient::new_uuid()), 0);
        let row = session::Model {
            tenant_id: token.tenant_id,
            id: token.session_id,
            user_id: user.row.id,
            token_hash: token.hash().to_vec(),
            generation: token.generation,
            created_at: self.now,
            rotated_at: self.now,
            expires_at: self.refresh_until(),
            revoked_at: None,
        };
        sessions::insert(&mut tx, row).await?;
        tx.commit().await?;
        Ok(self.answer(user, &token))
    }

    /// The user whom a log-in names, with a scope to change things in.
    async fn find(&self, input: &LoginInput) -> Result<Option<(TenantScope, user::Model)>, ServiceError> {
        let (Ok(slug), Ok(email)) = (tenant::slug(&[], &input.tenant), text::email(&[], &input.email)) else {
            return Ok(None);
        };
        let Some((scope, _)) = directory::tenant_by_slug(self.db, &slug).await? else {
            return Ok(None);
        };
        let tx = self.db.snapshot(&scope).await?;
        Ok(users::get_by_email(&tx, &email).await?.map(|user| (scope, user)))
    }

    async fn refresh(&self, text: &str) -> Result<SessionTokens, ServiceError> {
        let presented = self.tokens.verify_refresh(text).map_err(|_| refused_token())?;
        let mut tx = self.db.begin(&presented.scope()).await?;
        let row = sessions::lock(&tx, presented.session_id).await?;
        let row = row.filter(|row| row.revoked_at.is_none() && row.expires_at > self.now).ok_or_else(refused_token)?;
        if presented.generation < row.generation {
            tracing::warn!(session.id = %row.id, "a refresh token came up again: its session is ended");
            return self.refuse(tx, &row).await;
        }
        if presented.generation != row.generation || !bool::from(presented.hash().ct_eq(row.token_hash.as_slice())) {
            return Err(refused_token());
        }
        let user = match users::get(&tx, row.user_id).await? {
            Some(user) => entitled(&tx, user).await?,
            None => None,
        };
        let Some(user) = user else {
            return self.refuse(tx, &row).await;
        };
        // A generation per refresh: at one each second, 68 years.
        let next = self.tokens.issue_refresh(row.tenant_id, row.id, row.generation.saturating_add(1));
        let rotation = Rotation {
            from: row.generation,
            token_hash: next.hash(),
            rotated_at: self.now,
            expires_at: self.refresh_until(),
        };
        if !sessions::rotate(&mut tx, row.id, rotation).await? {
            return Err(refused_token());
        }
        tx.commit().await?;
        Ok(self.answer(user, &next))
    }

    /// Ends a session and refuses the token that led to it.
    async fn refuse(&self, tx: Tx, row: &session::Model) -> Result<SessionTokens, ServiceError> {
        self.end(tx, row).await?;
        Err(refused_token())
    }

    async fn logout(&self, text: &str) -> Result<(), ServiceError> {
        let presented = self.tokens.verify_refresh(text).map_err(|_| refused_token())?;
        let tx = self.db.begin(&presented.scope()).await?;
        match sessions::lock(&tx, presented.session_id).await? {
            Some(row) if row.revoked_at.is_none() => self.end(tx, &row).await,
            _ => Ok(()),
        }
    }

    /// Ends a session that has not ended, and with it every access token of it.
    async fn end(&self, mut tx: Tx, row: &session::Model) -> Result<(), ServiceError> {
        sessions::revoke(&mut tx, row.id, self.now).await?;
        let ended = Ended { id: row.id, user_id: row.user_id };
        tx.record(NewEvent::new(EventKind::SessionEnded, row.id.uuid(), &ended, self.now));
        (self.announce)(tx.scope().tenant_id(), tx.commit().await?);
        Ok(())
    }

    fn refresh_until(&self) -> Instant {
        self.now + chrono::TimeDelta::seconds(self.refresh_token_secs)
    }

    fn answer(&self, user: User, refresh: &RefreshToken) -> SessionTokens {
        let grant = Grant {
            subject: Subject::User(user.row.id),
            tenant_id: refresh.tenant_id,
            session_id: Some(refresh.session_id),
            roles: user.roles,
            affiliate_id: user.row.affiliate_id,
        };
        let (access_token, access_token_expires_at) = self.tokens.issue(&grant, self.now, self.access_token_secs);
        SessionTokens { access_token, access_token_expires_at, refresh_token: refresh.text().to_owned() }
    }
}

/// What the log says of a session that was ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    id: SessionId,
    user_id: UserId,
}

/// The user with its roles, if user, affiliate and tenant are all such that it may be logged in.
async fn entitled(tx: &Tx, user: user::Model) -> Result<Option<User>, ServiceError> {
    let affiliate = match user.affiliate_id {
        Some(id) => Some(users::get_affiliate_status(tx, id).await?),
        None => None,
    };
    if !rules::may_enter(user.status, affiliate, tenants::get(tx).await?.status) {
        return Ok(None);
    }
    Ok(with_roles(tx, vec![user]).await?.into_iter().next())
}

fn refused_login() -> ServiceError {
    let message = "tenant, address or password is wrong, or the account is not active";
    Problem::new(ProblemCode::InvalidCredentials, &[], message).into()
}

fn refused_token() -> ServiceError {
    let message = "this refresh token is not, or no longer, good: log in again";
    Problem::new(ProblemCode::InvalidCredentials, &["refreshToken"], message).into()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use tributary_entity::{
        ids::AffiliateId,
        kinds::{Role, TenantStatus, UserStatus},
    };

    use super::*;
    use crate::{
        ambient::{Clock, SystemClock},
        auth::{Actor, passwords::Cost},
        store::database::Location,
    };

    const PASSWORD: &str = "correct horse";

    /// A tenant `acme` in a database of its own, with an owner and an affiliate's user.
    struct House {
        db: Db,
        tokens: Tokens,
        passwords: Passwords,
        scope: TenantScope,
        owner: user::Model,
        now: Instant,
        _folder: tempfile::TempDir,
    }

    impl House {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let db = Db::open(&Location::File(&folder.path().join("test.db"))).await.expect("a database");
            let passwords = Passwords::new(Cost::Trivial);
            let scope = directory::new_tenant();
            let now = SystemClock.now();
            let tenant = tributary_entity::tenant::Model {
                tenant_id: scope.tenant_id(),
                slug: "acme".to_owned(),
                name: "Acme".to_owned(),
                currency: "EUR".parse().expect("a currency"),
                time_zone: "UTC".to_owned(),
                epoch: ambient::new_uuid(),
                status: TenantStatus::Active,
                payout_four_eyes: false,
                click_wait_secs: 0,
                created_at: now,
            };
            let owner = user::Model {
                tenant_id: scope.tenant_id(),
                id: UserId::from_uuid(ambient::new_uuid()),
                email: "owner@acme.example".to_owned(),
                name: "Owner".to_owned(),
                password_hash: Some(passwords.hash(PASSWORD).await.expect("long enough")),
                affiliate_id: None,
                status: UserStatus::Active,
                created_at: now,
                updated_at: now,
            };
            let mut tx = db.begin(&scope).await.expect("a transaction");
            tenants::insert(&mut tx, tenant).await.expect("inserted");
            users::insert(&mut tx, owner.clone(), &[Role::Owner]).await.expect("inserted");
            tx.commit().await.expect("committed");
            let tokens = Tokens::new("a secret of at least thirty-two characters", "tributary");
            Self { db, tokens, passwords, scope, owner, now, _folder: folder }
        }

        fn at(&self, secs: i64) -> Desk<'_> {
            Desk {
                db: &self.db,
                tokens: &self.tokens,
                passwords: &self.passwords,
                announce: &|_, _| {},
                now: self.now + TimeDelta::seconds(secs),
                access_token_secs: 900,
                refresh_token_secs: 3_600,
            }
        }

        async fn login(&self, tenant: &str, email: &str, password: &str) -> Result<SessionTokens, ServiceError> {
            let input =
                LoginInput { tenant: tenant.to_owned(), email: email.to_owned(), password: password.to_owned() };
            self.at(0).login(input).await
        }

        async fn owner_session(&self) -> SessionTokens {
            self.login(" Acme", "OWNER@acme.example ", PASSWORD).await.expect("logged in")
        }
    }

    fn is_refused<T>(result: Result<T, ServiceError>) -> bool {
        result.is_err_and(|error| error.code() == Some(ProblemCode::InvalidCredentials))
    }

    #[tokio::test]
    async fn login_answers_a_token_of_the_user() {
        let house = House::new().await;
        let session = house.owner_session().await;
        let viewer = house.tokens.verify(&session.access_token, house.now).expect("good");
        assert_eq!(viewer.actor, Actor::User(house.owner.id));
        assert_eq!((viewer.scope, viewer.roles), (house.scope, vec![Role::Owner]));
    }

    #[tokio::test]
    async fn every_wrong_login_is_answered_alike() {
        let house = House::new().await;
        for (tenant, email, password) in [
            ("acme", "owner@acme.example", "correct horsf"),
            ("acme", "nobody@acme.example", PASSWORD),
            ("other", "owner@acme.example", PASSWORD),
            ("", "", ""),
        ] {
            assert!(is_refused(house.login(tenant, email, password).await), "{tenant} {email}");
        }
    }

    #[tokio::test]
    async fn refresh_rotates_and_a_used_token_ends_the_session() {
        let house = House::new().await;
        let first = house.owner_session().await;
        let second = house.at(60).refresh(&first.refresh_token).await.expect("refreshed");
        assert!(house.tokens.verify(&second.access_token, house.now + TimeDelta::seconds(900)).is_ok());
        let third = house.at(120).refresh(&second.refresh_token).await.expect("refreshed");
        assert!(is_refused(house.at(121).refresh(&first.refresh_token).await), "used before");
        assert!(is_refused(house.at(122).refresh(&third.refresh_token).await), "the thief's or the owner's: ended");
        let another = house.owner_session().await;
        assert!(house.at(123).refresh(&another.refresh_token).await.is_ok(), "other sessions go on");
    }

    #[tokio::test]
    async fn of_two_refreshes_at_once_one_wins() {
        let house = House::new().await;
        let session = house.owner_session().await;
        let (one, two) = (house.at(1), house.at(1));
        let (one, two) = tokio::join!(one.refresh(&session.refresh_token), two.refresh(&session.refresh_token));
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    }

    #[tokio::test]
    async fn rotation_from_an_older_generation_changes_nothing() {
        let house = House::new().await;
        let session = house.owner_session().await;
        let token = house.tokens.verify_refresh(&session.refresh_token).expect("ours");
        let rotation = || Rotation { from: 0, token_hash: [1; 32], rotated_at: house.now, expires_at: house.now };
        let mut tx = house.db.begin(&house.scope).await.expect("a transaction");
        assert!(sessions::rotate(&mut tx, token.session_id, rotation()).await.expect("asked"));
        assert!(!sessions::rotate(&mut tx, token.session_id, rotation()).await.expect("asked"));
    }

    #[tokio::test]
    async fn session_ends_with_time_log_out_and_the_user() {
        let house = House::new().await;
        let session = house.owner_session().await;
        assert!(is_refused(house.at(3_600).refresh(&session.refresh_token).await), "unused for its whole life");

        let session = house.owner_session().await;
        house.at(1).logout(&session.refresh_token).await.expect("logged out");
        house.at(2).logout(&session.refresh_token).await.expect("again");
        assert!(is_refused(house.at(3).refresh(&session.refresh_token).await), "logged out");
        assert!(is_refused(house.at(3).logout("trb_refresh_").await), "no token of ours");

        let session = house.owner_session().await;
        let mut tx = house.db.begin(&house.scope).await.expect("a transaction");
        let disabled = user::Model { status: UserStatus::Disabled, ..house.owner.clone() };
        users::update(&mut tx, disabled).await.expect("updated");
        tx.commit().await.expect("committed");
        assert!(is_refused(house.at(1).refresh(&session.refresh_token).await), "disabled");
        assert!(is_refused(house.login("acme", "owner@acme.example", PASSWORD).await), "disabled");
    }

    #[tokio::test]
    async fn affiliates_user_needs_an_active_affiliate() {
        let house = House::new().await;
        let user = user::Model {
            id: UserId::from_uuid(ambient::new_uuid()),
            email: "ann@blog.example".to_owned(),
            affiliate_id: Some(AffiliateId::from_uuid(ambient::new_uuid())),
            ..house.owner.clone()
        };
        let mut tx = house.db.begin(&house.scope).await.expect("a transaction");
        users::insert(&mut tx, user, &[Role::Affiliate]).await.expect("inserted");
        tx.commit().await.expect("committed");
        assert!(is_refused(house.login("acme", "ann@blog.example", PASSWORD).await));
    }
}
