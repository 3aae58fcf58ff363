//! Postback endpoints: how calls at one are to be read, and from whom they are taken.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tributary_entity::{
    ids::PostbackEndpointId,
    kinds::{PostbackDialect, PostbackEndpointStatus},
    money::Currency,
    postback_endpoint,
};

use crate::domain::{
    change::Change,
    goal,
    problem::{Problem, ProblemCode},
    text, transition,
};

/// Goals with names of their own at an endpoint.
pub const GOALS_MAX: usize = 100;
/// Networks of an allow-list.
pub const NETWORKS_MAX: usize = 50;
/// Characters of a secret: one that is guessed is none.
const SECRET_MIN: usize = 16;

/// What callers call one of our goals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalName {
    pub external: String,
    pub goal: String,
}

/// A new endpoint as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewEndpoint {
    pub name: String,
    pub dialect: PostbackDialect,
    pub default_goal: Option<String>,
    pub goals: Vec<GoalName>,
    pub default_currency: Option<Currency>,
    pub secret: Option<String>,
    pub networks: Vec<String>,
}

/// Changes to an endpoint.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EndpointChange {
    pub name: Option<String>,
    pub dialect: Option<PostbackDialect>,
    pub default_goal: Change<String>,
    pub goals: Option<Vec<GoalName>>,
    pub default_currency: Change<Currency>,
    pub secret: Change<String>,
    pub networks: Option<Vec<String>>,
}

/// Which refused calls a list holds.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    pub endpoint_ids: Option<Vec<PostbackEndpointId>>,
}

impl NewEndpoint {
    /// The settings of a new endpoint, put into its row.
    ///
    /// # Errors
    /// The first problem.
    pub fn apply(&self, row: postback_endpoint::Model) -> Result<postback_endpoint::Model, Problem> {
        let set = |text: &Option<String>| text.clone().map_or(Change::Keep, Change::Set);
        let change = EndpointChange {
            name: Some(self.name.clone()),
            dialect: Some(self.dialect),
            default_goal: set(&self.default_goal),
            goals: Some(self.goals.clone()),
            default_currency: self.default_currency.map_or(Change::Keep, Change::Set),
            secret: set(&self.secret),
            networks: Some(self.networks.clone()),
        };
        change.apply(row)
    }
}

impl EndpointChange {
    /// The endpoint with the changes applied.
    ///
    /// # Errors
    /// The first problem.
    pub fn apply(&self, mut row: postback_endpoint::Model) -> Result<postback_endpoint::Model, Problem> {
        if let Some(name) = &self.name {
            row.name = text::required(&["name"], name, text::NAME_MAX)?;
        }
        row.dialect = self.dialect.unwrap_or(row.dialect);
        self.default_goal.check(|code| goal::code(&["defaultGoal"], code).map(Some))?.apply(&mut row.default_goal);
        if let Some(goals) = &self.goals {
            row.goals = goals_json(goals)?;
        }
        self.default_currency.clone().apply(&mut row.default_currency);
        match &self.secret {
            Change::Keep => {}
            Change::Clear => row.secret_hash = None,
            Change::Set(secret) => row.secret_hash = Some(secret_hash(secret)?.to_vec()),
        }
        if let Some(networks) = &self.networks {
            row.networks = networks_text(networks)?;
        }
        for (field, is_set) in [("secret", row.secret_hash.is_some()), ("networks", row.networks.is_some())] {
            if is_set && row.dialect == PostbackDialect::Pixel {
                let message = "pixels are sent by visitors' browsers, which keep no secret and come from anywhere";
                return Err(Problem::new(ProblemCode::OutOfRange, &[field], message));
            }
        }
        Ok(row)
    }
}

fn goals_json(goals: &[GoalName]) -> Result<String, Problem> {
    if goals.len() > GOALS_MAX {
        return Err(Problem::new(ProblemCode::BatchSize, &["goals"], format!("at most {GOALS_MAX} goals")));
    }
    let mut checked: Vec<GoalName> = Vec::with_capacity(goals.len());
    for name in goals {
        let external = text::required(&["goals", "external"], &name.external, text::REFERENCE_MAX)?;
        if checked.iter().any(|earlier| earlier.external == external) {
            let message = format!("`{external}` stands for two goals");
            return Err(Problem::new(ProblemCode::AlreadyExists, &["goals", "external"], message));
        }
        checked.push(GoalName { external, goal: goal::code(&["goals", "goal"], &name.goal)? });
    }
    Ok(serde_json::to_string(&checked).expect("texts serialize"))
}

/// Names of goals from what the row holds.
///
/// # Errors
/// Another version wrote the row.
pub fn parse_goals(json: &str) -> serde_json::Result<Vec<GoalName>> {
    serde_json::from_str(json)
}

/// A network, or one address of it.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn networks_text(networks: &[String]) -> Result<Option<String>, Problem> {
    if networks.len() > NETWORKS_MAX {
        let message = format!("at most {NETWORKS_MAX} networks");
        return Err(Problem::new(ProblemCode::BatchSize, &["networks"], message));
    }
    let parsed = networks.iter().map(|text| {
        network(text.trim()).map(|network| network.to_string()).ok_or_else(|| {
            Problem::new(ProblemCode::InvalidText, &["networks"], format!("`{}` is no network", super::short(text)))
        })
    });
    let parsed: Vec<String> = parsed.collect::<Result<_, _>>()?;
    Ok((!parsed.is_empty()).then(|| parsed.join(",")))
}

/// The networks of a row.
pub fn networks(row: &postback_endpoint::Model) -> impl Iterator<Item = &str> {
    row.networks.as_deref().unwrap_or_default().split(',').filter(|text| !text.is_empty())
}

/// Whether calls may come from an address.
pub fn admits(row: &postback_endpoint::Model, address: IpAddr) -> bool {
    row.networks.is_none() || networks(row).filter_map(network).any(|network| network.contains(&address))
}

fn secret_hash(secret: &str) -> Result<[u8; 32], Problem> {
    let secret = text::required(&["secret"], secret, text::REFERENCE_MAX)?;
    if secret.chars().count() < SECRET_MIN {
        return Err(Problem::new(ProblemCode::OutOfRange, &["secret"], format!("at least {SECRET_MIN} characters")));
    }
    Ok(Sha256::digest(secret).into())
}

/// Whether a call knows what it has to know. Takes the same time however much of it is right.
pub fn trusts(row: &postback_endpoint::Model, offered: Option<&str>) -> bool {
    let Some(hash) = &row.secret_hash else { return true };
    offered.is_some_and(|offered| Sha256::digest(offered.trim()).as_slice().ct_eq(hash).into())
}

const TRANSITIONS: &[(PostbackEndpointStatus, PostbackEndpointStatus)] = &[
    (PostbackEndpointStatus::Active, PostbackEndpointStatus::Disabled),
    (PostbackEndpointStatus::Disabled, PostbackEndpointStatus::Active),
];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: PostbackEndpointStatus, to: PostbackEndpointStatus) -> Result<PostbackEndpointStatus, Problem> {
    transition::step(TRANSITIONS, "an endpoint", from, to)
}

#[cfg(test)]
mod tests {
    use tributary_entity::{Instant, ids::TenantId};

    use super::*;

    fn row() -> postback_endpoint::Model {
        let at = Instant::from_timestamp(1_800_000_000, 0).expect("in range");
        postback_endpoint::Model {
            tenant_id: TenantId::default(),
            id: PostbackEndpointId::default(),
            name: String::new(),
            token_hash: Vec::new(),
            hint: String::new(),
            dialect: PostbackDialect::Auto,
            default_goal: None,
            goals: "[]".to_owned(),
            default_currency: None,
            secret_hash: None,
            networks: None,
            status: PostbackEndpointStatus::Active,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn networks_admit_their_addresses_and_no_others() {
        let networks = Some(vec!["192.0.2.0/24".to_owned(), " 2001:db8::7 ".to_owned()]);
        let listed = EndpointChange { networks, ..EndpointChange::default() }.apply(row()).expect("good");
        for (address, admitted) in
            [("192.0.2.9", true), ("192.0.3.9", false), ("2001:db8::7", true), ("2001:db8::8", false)]
        {
            let address = address.parse().expect("an address");
            assert_eq!(admits(&listed, address), admitted, "{address}");
            assert!(admits(&row(), address));
        }
        let wrong = EndpointChange { networks: Some(vec!["everywhere".to_owned()]), ..EndpointChange::default() };
        assert!(wrong.apply(row()).is_err());
        let none = EndpointChange { networks: Some(Vec::new()), ..EndpointChange::default() };
        assert_eq!(none.apply(listed).expect("good").networks, None);
    }

    #[test]
    fn secret_is_known_or_not_and_long() {
        let with =
            |secret: &str| EndpointChange { secret: Change::Set(secret.to_owned()), ..EndpointChange::default() };
        let row_with = with("0123456789abcdef").apply(row()).expect("good");
        assert!(trusts(&row_with, Some("0123456789abcdef")) && trusts(&row(), None));
        assert!(
            !trusts(&row_with, Some("0123456789abcdeF")) && !trusts(&row_with, None) && !trusts(&row_with, Some(""))
        );
        assert!(with("short").apply(row()).is_err());
    }

    #[test]
    fn pixel_has_neither_secret_nor_networks() {
        let to_pixel = EndpointChange { dialect: Some(PostbackDialect::Pixel), ..EndpointChange::default() };
        assert!(to_pixel.apply(row()).is_ok());
        let secret = EndpointChange { secret: Change::Set("0123456789abcdef".to_owned()), ..to_pixel.clone() };
        assert!(secret.apply(row()).is_err());
        let networks = EndpointChange { networks: Some(vec!["192.0.2.1".to_owned()]), ..to_pixel };
        assert!(networks.apply(row()).is_err());
    }

    #[test]
    fn name_stands_for_one_goal() {
        let name = |external: &str, goal: &str| GoalName { external: external.to_owned(), goal: goal.to_owned() };
        let goals = |goals: &[GoalName]| EndpointChange { goals: Some(goals.to_vec()), ..EndpointChange::default() };
        let good = [name("7", "sale"), name("8", "sale")];
        let stored = goals(&good).apply(row()).expect("good").goals;
        assert_eq!(parse_goals(&stored).expect("reads"), good);
        for wrong in [&[name("7", "sale"), name("7", "lead")][..], &[name("", "sale")], &[name("7", "SALE")]] {
            assert!(goals(wrong).apply(row()).is_err(), "{wrong:?}");
        }
    }
}
