//! The demo's campaigns, affiliates and links, made through the API unless they are there.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    client::{Client, ClientError},
    plan::{AFFILIATES, CAMPAIGNS, CampaignPlan, Special, Terms, enrolled},
};

/// Requests in flight.
const AT_ONCE: usize = 8;

/// The ids of what the plan names.
pub struct Programme {
    /// As in [`CAMPAIGNS`].
    pub campaign_ids: Vec<String>,
    /// By campaign and affiliate.
    links: HashMap<(usize, usize), String>,
}

#[derive(Clone, Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Nodes<T> {
    nodes: Vec<T>,
}

#[derive(Deserialize)]
struct Link {
    id: String,
    campaign: Id,
    affiliate: Id,
}

impl Programme {
    /// Finds everything, or makes what is missing: each creation has a key of its own, so that a start that was
    /// interrupted is taken up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn establish(client: &Client) -> Result<Self, ClientError> {
        match Self::find(client).await? {
            Some(programme) => Ok(programme),
            None => Self::make(client).await,
        }
    }

    /// The link of an affiliate in a campaign.
    pub fn link(&self, campaign: usize, affiliate: usize) -> Result<&str, ClientError> {
        let link = self.links.get(&(campaign, affiliate)).map(String::as_str);
        link.ok_or_else(|| ClientError::Refused(format!("no link for {}", AFFILIATES[affiliate])))
    }

    /// The programme of an earlier start; none unless all of it is there.
    async fn find(client: &Client) -> Result<Option<Self>, ClientError> {
        // What the demo makes is the oldest, whatever was added since.
        let campaigns: Nodes<Named> = client
            .query("{ answer: campaigns(order: CREATED_ASC, first: 100) { nodes { id name } } }", json!({}))
            .await?;
        let affiliates: Nodes<Named> = client
            .query("{ answer: affiliates(order: CREATED_ASC, first: 100) { nodes { id name } } }", json!({}))
            .await?;
        let id = |nodes: &[Named], name: &str| nodes.iter().find(|node| node.name == name).map(|node| node.id.clone());
        let campaign_ids: Option<Vec<String>> = CAMPAIGNS.iter().map(|plan| id(&campaigns.nodes, plan.name)).collect();
        let affiliate_ids: Option<Vec<String>> = AFFILIATES.iter().map(|name| id(&affiliates.nodes, name)).collect();
        let (Some(campaign_ids), Some(affiliate_ids)) = (campaign_ids, affiliate_ids) else { return Ok(None) };
        let mut links = HashMap::new();
        for (campaign, campaign_id) in campaign_ids.iter().enumerate() {
            let document = "query($id: ID!) { answer: links(filter: { campaignIds: [$id] }, order: CREATED_ASC, first: 100) { nodes { id campaign { id } affiliate { id } } } }";
            let found: Nodes<Link> = client.query(document, json!({ "id": campaign_id })).await?;
            for link in found.nodes {
                let affiliate = affiliate_ids.iter().position(|id| *id == link.affiliate.id);
                if let Some(affiliate) = affiliate.filter(|_| link.campaign.id == *campaign_id) {
                    links.entry((campaign, affiliate)).or_insert(link.id);
                }
            }
        }
        let complete = (0..CAMPAIGNS.len())
            .all(|campaign| enrolled(campaign).all(|affiliate| links.contains_key(&(campaign, affiliate))));
        Ok(complete.then_some(Self { campaign_ids, links }))
    }

    async fn make(client: &Client) -> Result<Self, ClientError> {
        let mut campaign_ids = Vec::new();
        let mut special_rules = Vec::new();
        for plan in &CAMPAIGNS {
            let (campaign_id, special_rule) = make_campaign(client, plan).await?;
            campaign_ids.push(campaign_id);
            special_rules.push(special_rule);
        }
        let affiliates = stream::iter(AFFILIATES).map(|name| make_affiliate(client, name)).buffered(AT_ONCE);
        let affiliate_ids: Vec<String> = affiliates.try_collect().await?;
        let pairs = (0..CAMPAIGNS.len()).flat_map(|campaign| {
            enrolled(campaign).enumerate().map(move |(place, affiliate)| (campaign, place, affiliate))
        });
        let links = stream::iter(pairs).map(|(campaign, place, affiliate)| {
            let special = CAMPAIGNS[campaign].special.as_ref().filter(|special| special.places.contains(&place));
            let pair = Pair {
                key: format!("{}-{}", CAMPAIGNS[campaign].key, slug(AFFILIATES[affiliate])),
                campaign_id: &campaign_ids[campaign],
                affiliate_id: &affiliate_ids[affiliate],
                rule_id: special.and(special_rules[campaign].as_deref()),
            };
            async move { Ok::<_, ClientError>(((campaign, affiliate), make_link(client, pair).await?)) }
        });
        let links = links.buffered(AT_ONCE).try_collect().await?;
        Ok(Self { campaign_ids, links })
    }
}

/// Makes a campaign with its goal and rules and starts it. Answers its id and that of the rule for a few.
async fn make_campaign(client: &Client, plan: &CampaignPlan) -> Result<(String, Option<String>), ClientError> {
    let key = |what: &str| format!("demo-{what}-{}", plan.key);
    let campaign = json!({
        "idempotencyKey": key("campaign"),
        "name": plan.name,
        "currency": "USD",
        "destinationUrl": plan.destination_url,
        "approval": plan.approval,
        "holdSeconds": plan.hold_days * 86_400,
        "attributionWindowSeconds": plan.window_days * 86_400,
        "isPublic": true,
    });
    let document = "mutation($input: CreateCampaignInput!) { answer: createCampaign(input: $input) { object: campaign { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, campaign).await?;
    let goal = json!({ "idempotencyKey": key("goal"), "campaignId": id, "code": "sale", "name": "Sale" });
    let document = "mutation($input: CreateGoalInput!) { answer: createGoal(input: $input) { object: goal { id } replayed userErrors { code field message } } }";
    client.mutate::<IgnoredAny>(document, goal).await?;
    make_rule(client, key("rule"), &id, plan.rule_name, plan.terms, true).await?;
    let special = match &plan.special {
        Some(Special { rule_name, terms, .. }) => {
            Some(make_rule(client, key("special-rule"), &id, rule_name, *terms, false).await?)
        }
        None => None,
    };
    let activate = json!({ "idempotencyKey": key("activate"), "id": id });
    let document = "mutation($input: CampaignStatusInput!) { answer: activateCampaign(input: $input) { object: campaign { id } replayed userErrors { code field message } } }";
    client.mutate::<IgnoredAny>(document, activate).await?;
    Ok((id, special))
}

async fn make_rule(
    client: &Client,
    key: String,
    campaign_id: &str,
    name: &str,
    terms: Terms,
    is_default: bool,
) -> Result<String, ClientError> {
    let rule = json!({
        "idempotencyKey": key,
        "campaignId": campaign_id,
        "name": name,
        "isDefault": is_default,
        "terms": terms_input(terms),
    });
    let document = "mutation($input: CreateCommissionRuleInput!) { answer: createCommissionRule(input: $input) { object: commissionRule { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, rule).await?;
    Ok(id)
}

fn terms_input(terms: Terms) -> Value {
    let hundredths = |value: i64| format!("{}.{:02}", value / 100, value % 100);
    let flat = |cents| json!({ "amount": hundredths(cents), "currency": "USD" });
    match terms {
        Terms::Flat { cents } => json!({ "flat": flat(cents) }),
        Terms::Percent { hundredths: rate } => json!({ "percent": hundredths(rate) }),
        Terms::FlatPlusPercent { cents, hundredths: rate } => {
            json!({ "flatPlusPercent": { "flat": flat(cents), "percent": hundredths(rate) } })
        }
    }
}

async fn make_affiliate(client: &Client, name: &str) -> Result<String, ClientError> {
    let slug = slug(name);
    let affiliate = json!({
        "idempotencyKey": format!("demo-affiliate-{slug}"),
        "name": name,
        "email": format!("{slug}@partners.test"),
    });
    let document = "mutation($input: CreateAffiliateInput!) { answer: createAffiliate(input: $input) { object: affiliate { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, affiliate).await?;
    Ok(id)
}

/// An affiliate in a campaign.
struct Pair<'a> {
    key: String,
    campaign_id: &'a str,
    affiliate_id: &'a str,
    rule_id: Option<&'a str>,
}

/// Enrolls an affiliate and makes its link, last: who has the link is enrolled.
async fn make_link(client: &Client, pair: Pair<'_>) -> Result<String, ClientError> {
    let Pair { key, campaign_id, affiliate_id, rule_id } = pair;
    let enrollment = json!({
        "idempotencyKey": format!("demo-enrollment-{key}"),
        "campaignId": campaign_id,
        "affiliateId": affiliate_id,
        "ruleId": rule_id,
    });
    let document = "mutation($input: CreateEnrollmentInput!) { answer: createEnrollment(input: $input) { object: enrollment { id } replayed userErrors { code field message } } }";
    client.mutate::<IgnoredAny>(document, enrollment).await?;
    let link = json!({
        "idempotencyKey": format!("demo-link-{key}"),
        "campaignId": campaign_id,
        "affiliateId": affiliate_id,
        "label": "main placement",
    });
    let document = "mutation($input: CreateLinkInput!) { answer: createLink(input: $input) { object: link { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, link).await?;
    Ok(id)
}

/// A name as it stands in keys and addresses.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_written_as_the_api_reads_them() {
        assert_eq!(terms_input(Terms::Percent { hundredths: 1_250 }), json!({ "percent": "12.50" }));
        let flat = json!({ "flat": { "amount": "2.50", "currency": "USD" } });
        assert_eq!(terms_input(Terms::Flat { cents: 250 }), flat);
    }

    #[test]
    fn slugs_tell_affiliates_apart() {
        assert_eq!(slug("Needle & Notes"), "needle-notes");
        let slugs: std::collections::BTreeSet<_> = AFFILIATES.iter().map(|name| slug(name)).collect();
        assert_eq!(slugs.len(), AFFILIATES.len());
    }
}
