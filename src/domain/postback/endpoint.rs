//! Postback endpoints: how calls at one are to be read, and from whom they are taken.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tributary_entity::{
    ids::{CampaignId, PostbackEndpointId},
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
/// Campaigns with names of their own at an endpoint.
pub const CAMPAIGNS_MAX: usize = 100;
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

/// What callers call one of our campaigns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignName {
    pub external: String,
    pub campaign: CampaignId,
}

/// A new endpoint as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewEndpoint {
    pub name: String,
    pub dialect: PostbackDialect,
    pub default_goal: Option<String>,
    pub goals: Vec<GoalName>,
    // Left out where there are none, so that the hash of an older call's input stays what it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub campaigns: Vec<CampaignName>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaigns: Option<Vec<CampaignName>>,
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
            campaigns: Some(self.campaigns.clone()),
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
        if let Some(campaigns) = &self.campaigns {
            row.campaigns = campaigns_json(campaigns)?;
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
    names_json("goals", goals, GOALS_MAX, |name, earlier| {
        let external = external("goals", &name.external, earlier.iter().map(|name: &GoalName| &*name.external))?;
        Ok(GoalName { external, goal: goal::code(&["goals", "goal"], &name.goal)? })
    })
}

fn campaigns_json(campaigns: &[CampaignName]) -> Result<String, Problem> {
    names_json("campaigns", campaigns, CAMPAIGNS_MAX, |name, earlier| {
        let known = earlier.iter().map(|name: &CampaignName| &*name.external);
        Ok(CampaignName { external: external("campaigns", &name.external, known)?, ..name.clone() })
    })
}

/// Names as the row holds them; each is checked beside those before it.
fn names_json<N: Serialize>(
    field: &str,
    names: &[N],
    max: usize,
    check: impl Fn(&N, &[N]) -> Result<N, Problem>,
) -> Result<String, Problem> {
    if names.len() > max {
        return Err(Problem::new(ProblemCode::BatchSize, &[field], format!("at most {max} {field}")));
    }
    let mut checked: Vec<N> = Vec::with_capacity(names.len());
    for name in names {
        let name = check(name, &checked)?;
        checked.push(name);
    }
    Ok(serde_json::to_string(&checked).expect("texts serialize"))
}

/// A caller's name for one thing alone.
fn external<'a>(field: &str, text: &str, mut earlier: impl Iterator<Item = &'a str>) -> Result<String, Problem> {
    let field = [field, "external"];
    let external = text::required(&field, text, text::REFERENCE_MAX)?;
    if earlier.any(|known| known == external) {
        let message = format!("`{external}` comes twice");
        return Err(Problem::new(ProblemCode::AlreadyExists, &field, message));
    }
    Ok(external)
}

/// Names of goals from what the row holds.
///
/// # Errors
/// Another version wrote the row.
pub fn parse_goals(json: &str) -> serde_json::Result<Vec<GoalName>> {
    serde_json::from_str(json)
}

/// Names of campaigns from what the row holds.
///
/// # Errors
/// Another version wrote the row.
pub fn parse_campaigns(json: &str) -> serde_json::Result<Vec<CampaignName>> {
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
            campaigns: "[]".to_owned(),
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

    #[test]
    fn name_stands_for_one_campaign() {
        let name = |external: &str, id: u128| CampaignName {
            external: external.to_owned(),
            campaign: CampaignId::from_uuid(uuid::Uuid::from_u128(id)),
        };
        let campaigns = |campaigns: &[CampaignName]| EndpointChange {
            campaigns: Some(campaigns.to_vec()),
            ..EndpointChange::default()
        };
        let good = [name("26", 1), name("27", 1)];
        let stored = campaigns(&good).apply(row()).expect("good").campaigns;
        assert_eq!(parse_campaigns(&stored).expect("reads"), good);
        let many: Vec<_> = (0..=CAMPAIGNS_MAX).map(|number| name(&number.to_string(), 1)).collect();
        for wrong in [&[name("26", 1), name("26", 2)][..], &[name("", 1)], &many] {
            assert!(campaigns(wrong).apply(row()).is_err(), "{wrong:?}");
        }
    }
}
