//! Users: which roles go together, who may hand them out, what a password must be.

use serde::Serialize;
use tributary_entity::{
    ids::AffiliateId,
    kinds::{AffiliateStatus, Role, TenantStatus, UserStatus},
    user,
};

use super::{
    problem::{Problem, ProblemCode},
    text,
};

/// Characters in a password.
pub const PASSWORD_MIN: usize = 10;
/// Characters in a password.
pub const PASSWORD_MAX: usize = 128;

/// A user with its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub row: user::Model,
    pub roles: Vec<Role>,
}

/// A new user as a caller describes it. No `Debug`: it holds a password.
#[derive(Clone, Serialize)]
pub struct NewUser {
    pub email: String,
    pub name: String,
    /// Not part of what an idempotency key stands for: the stored hash of the input is a fast one.
    #[serde(skip)]
    pub password: String,
    pub roles: Vec<Role>,
    pub affiliate_id: Option<AffiliateId>,
}

/// Which users a list holds.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    pub statuses: Option<Vec<UserStatus>>,
    /// Part of the name, in any case.
    pub name_contains: Option<String>,
}

impl NewUser {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(mut self) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |slot: &mut String, checked: Result<String, Problem>| match checked {
            Ok(text) => *slot = text,
            Err(problem) => problems.push(problem),
        };
        let (email, name) = (self.email.clone(), self.name.clone());
        keep(&mut self.email, text::email(&["email"], &email));
        keep(&mut self.name, text::required(&["name"], &name, text::NAME_MAX));
        problems.extend(password(&["password"], &self.password).err());
        match roles(self.roles.clone(), self.affiliate_id) {
            Ok(roles) => self.roles = roles,
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

/// Checks a new password. Length is all that is asked: rules on characters make passwords worse.
///
/// # Errors
/// `WEAK_PASSWORD`.
pub fn password(field: &[&str], password: &str) -> Result<(), Problem> {
    if (PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        Ok(())
    } else {
        let message = format!("from {PASSWORD_MIN} to {PASSWORD_MAX} characters");
        Err(Problem::new(ProblemCode::WeakPassword, field, message))
    }
}

/// The roles of a user, in order and each once. A user of an affiliate is exactly that.
///
/// # Errors
/// `REQUIRED` for none, `OUT_OF_RANGE` for roles that do not go together.
pub fn roles(mut roles: Vec<Role>, affiliate_id: Option<AffiliateId>) -> Result<Vec<Role>, Problem> {
    roles.sort_unstable();
    roles.dedup();
    let refuse = |message| Err(Problem::new(ProblemCode::OutOfRange, &["roles"], message));
    if roles.is_empty() {
        return Err(Problem::required(&["roles"]));
    }
    if roles.contains(&Role::Integration) {
        return refuse("INTEGRATION belongs to API keys");
    }
    match affiliate_id {
        Some(_) if roles != [Role::Affiliate] => refuse("a user of an affiliate has the role AFFILIATE and no other"),
        None if roles.contains(&Role::Affiliate) => refuse("the role AFFILIATE belongs to users of an affiliate"),
        _ => Ok(roles),
    }
}

/// Whether a user may be logged in: it, its tenant and, where it belongs to one, its affiliate are all active. An
/// affiliate that is not there has no status.
pub fn may_enter(user: UserStatus, affiliate: Option<Option<AffiliateStatus>>, tenant: TenantStatus) -> bool {
    user == UserStatus::Active
        && affiliate.is_none_or(|status| status == Some(AffiliateStatus::Active))
        && tenant == TenantStatus::Active
}

/// Whether somebody with `own` roles may give, take or change what somebody with `others` roles has: an owner's are the
/// owners' business.
pub fn may_manage(own: &[Role], others: &[Role]) -> bool {
    own.contains(&Role::Owner) || !others.contains(&Role::Owner)
}

/// What a change that would leave a tenant without an owner is answered.
pub fn last_owner() -> Problem {
    Problem::new(ProblemCode::InvalidTransition, &["id"], "the last active owner stays: make another owner first")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn affiliate_users_are_exactly_that() {
        let affiliate = Some(AffiliateId::from_uuid(Uuid::nil()));
        let code = |asked: &[Role], affiliate| roles(asked.to_vec(), affiliate).map_err(|problem| problem.code);
        assert_eq!(code(&[Role::Affiliate], affiliate), Ok(vec![Role::Affiliate]));
        assert_eq!(
            code(&[Role::Finance, Role::Admin, Role::Finance], None),
            Ok(vec![Role::Admin, Role::Finance]),
            "in order, each once"
        );
        assert_eq!(code(&[], None), Err(ProblemCode::Required));
        for (asked, affiliate) in [
            (&[Role::Affiliate][..], None),
            (&[Role::Owner], affiliate),
            (&[Role::Affiliate, Role::Owner], affiliate),
            (&[Role::Affiliate, Role::Owner], None),
            (&[Role::Integration], None),
        ] {
            assert_eq!(code(asked, affiliate), Err(ProblemCode::OutOfRange), "{asked:?}");
        }
    }

    #[test]
    fn who_enters_is_active_with_all_it_belongs_to() {
        let (user, tenant) = (UserStatus::Active, TenantStatus::Active);
        assert!(may_enter(user, None, tenant) && may_enter(user, Some(Some(AffiliateStatus::Active)), tenant));
        assert!(!may_enter(UserStatus::Disabled, None, tenant) && !may_enter(user, None, TenantStatus::Suspended));
        for affiliate in [None, Some(AffiliateStatus::Pending), Some(AffiliateStatus::Suspended)] {
            assert!(!may_enter(user, Some(affiliate), tenant), "{affiliate:?}");
        }
    }

    #[test]
    fn only_owners_manage_owners() {
        assert!(may_manage(&[Role::Owner], &[Role::Owner]));
        assert!(may_manage(&[Role::Admin], &[Role::Admin, Role::Manager]));
        assert!(!may_manage(&[Role::Admin], &[Role::Manager, Role::Owner]));
    }

    #[test]
    fn every_problem_of_a_new_user_is_told_at_once() {
        let wrong = NewUser {
            email: "nobody".to_owned(),
            name: " ".to_owned(),
            password: "short".to_owned(),
            roles: Vec::new(),
            affiliate_id: None,
        };
        let fields: Vec<_> =
            wrong.check().err().expect("refused").into_iter().flat_map(|problem| problem.field).collect();
        assert_eq!(fields, ["email", "name", "password", "roles"]);
    }
}
