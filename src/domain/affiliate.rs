//! Affiliates: what they may be called, and how their status moves.

use serde::Serialize;
use tributary_entity::{affiliate, ids::AffiliateId, kinds::AffiliateStatus};

use super::{change::Change, problem::Problem, text, transition};

/// A new affiliate as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewAffiliate {
    pub name: String,
    pub email: String,
    pub company: Option<String>,
}

/// An application by somebody without a credential. Has neither `Debug` nor `Serialize`, because it holds a password.
#[derive(Clone)]
pub struct Application {
    /// The tenant's slug.
    pub tenant: String,
    pub affiliate: NewAffiliate,
    pub password: String,
}

/// Changes to an affiliate; none leaves a part as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AffiliateChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub company: Change<String>,
}

/// Which affiliates a list holds.
#[derive(Clone, Debug, Default)]
pub struct AffiliateFilter {
    pub statuses: Option<Vec<AffiliateStatus>>,
    /// Part of the name, in any case.
    pub name_contains: Option<String>,
    pub ids: Option<Vec<AffiliateId>>,
    /// Directly under one of these.
    pub parent_ids: Option<Vec<AffiliateId>>,
}

impl NewAffiliate {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        match (
            text::required(&["name"], &self.name, text::NAME_MAX),
            text::email(&["email"], &self.email),
            text::optional(&["company"], self.company.as_deref(), text::NAME_MAX),
        ) {
            (Ok(name), Ok(email), Ok(company)) => Ok(Self { name, email, company }),
            (name, email, company) => Err(name.err().into_iter().chain(email.err()).chain(company.err()).collect()),
        }
    }
}

impl AffiliateChange {
    /// The affiliate with the changes applied.
    ///
    /// # Errors
    /// All problems at once.
    pub fn apply(&self, mut affiliate: affiliate::Model) -> Result<affiliate::Model, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(name) = &self.name {
            match text::required(&["name"], name, text::NAME_MAX) {
                Ok(name) => affiliate.name = name,
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(email) = &self.email {
            match text::email(&["email"], email) {
                Ok(email) => affiliate.email = email,
                Err(problem) => problems.push(problem),
            }
        }
        match self.company.check(|company| text::optional(&["company"], Some(company), text::NAME_MAX)) {
            Ok(company) => company.apply(&mut affiliate.company),
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() { Ok(affiliate) } else { Err(problems) }
    }
}

/// The moves of an affiliate's status; anything else is refused. A rejection can be thought better of.
const TRANSITIONS: &[(AffiliateStatus, AffiliateStatus)] = &[
    (AffiliateStatus::Pending, AffiliateStatus::Active),
    (AffiliateStatus::Pending, AffiliateStatus::Rejected),
    (AffiliateStatus::Active, AffiliateStatus::Suspended),
    (AffiliateStatus::Suspended, AffiliateStatus::Active),
    (AffiliateStatus::Rejected, AffiliateStatus::Active),
];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: AffiliateStatus, to: AffiliateStatus) -> Result<AffiliateStatus, Problem> {
    transition::step(TRANSITIONS, "an affiliate", from, to)
}

#[cfg(test)]
mod tests {
    use tributary_entity::{Instant, ids::TenantId};

    use super::*;

    fn affiliate() -> affiliate::Model {
        affiliate::Model {
            tenant_id: TenantId::default(),
            id: AffiliateId::default(),
            name: "Ada".to_owned(),
            email: "ada@site.example".to_owned(),
            company: Some("Ada Ltd".to_owned()),
            status: AffiliateStatus::Active,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        }
    }

    #[test]
    fn transitions_are_exactly_the_table() {
        use AffiliateStatus::{Active, Pending, Rejected, Suspended};
        let allowed =
            [(Pending, Active), (Pending, Rejected), (Active, Suspended), (Suspended, Active), (Rejected, Active)];
        for from in AffiliateStatus::ALL {
            for to in AffiliateStatus::ALL {
                assert_eq!(transition(*from, *to).is_ok(), allowed.contains(&(*from, *to)), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn new_affiliate_is_trimmed_and_tells_all_problems_at_once() {
        let new = |name: &str, email: &str, company: &str| {
            NewAffiliate { name: name.to_owned(), email: email.to_owned(), company: Some(company.to_owned()) }.check()
        };
        let good = new(" Ada ", "Ada@Site.example", " ").expect("valid");
        assert_eq!((good.name.as_str(), good.email.as_str(), good.company), ("Ada", "ada@site.example", None));
        let fields: Vec<_> =
            new("", "x", "a\nb").expect_err("wrong").into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, [["name"], ["email"], ["company"]]);
    }

    #[test]
    fn change_tells_absent_from_cleared() {
        let apply = |company| AffiliateChange { company, ..AffiliateChange::default() }.apply(affiliate());
        assert_eq!(apply(Change::Keep).map(|row| row.company), Ok(Some("Ada Ltd".to_owned())));
        assert_eq!(apply(Change::Clear).map(|row| row.company), Ok(None));
        assert_eq!(apply(Change::Set(" B ".to_owned())).map(|row| row.company), Ok(Some("B".to_owned())));
    }
}
