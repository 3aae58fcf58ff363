//! Postbacks: what a call of another server, or of a page, says of a conversion, whatever names it goes by.
//!
//! A dialect is a table of parameter names, one file each; reading is the same for all. Nothing here knows whose call it
//! is: [`endpoint`] says what a call that leaves something out means.
//!
//! # Decisions
//! - E-mail addresses, which Everflow's parameters include, are not read: nothing here needs them, and a hash of one is
//!   found by trying. Whoever wants customers told apart sends a customer id.
//! - The amount is the sale, also where a vendor calls it payout or sum: it is what commissions are reckoned from.
//! - A call may hold its conversion back or decline it; it cannot approve one that a person has to decide about.
//! - What a call says of the campaign (vendors' offer ids) counts where it names one here, by our id or by a name that
//!   the endpoint knows; else it is passed over, as those ids are another system's.
//!
//! # Adding a dialect
//! A file with its [`Names`], a line in [`DIALECTS`] at the place where its marks are looked for, a kind.

mod affise;
pub mod endpoint;
mod everflow;
mod parameters;
mod tributary;
mod tune;
mod voluum;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tributary_entity::{
    ids::{CampaignId, ClickId, PostbackEndpointId},
    kinds::PostbackDialect,
    money::{Currency, Money, MoneyError},
};

use self::endpoint::{CampaignName, GoalName};
pub use self::parameters::Parameters;
use super::{
    click::Labels,
    goal,
    problem::{Problem, ProblemCode},
};

/// What a dialect calls things; of several names the first that has a value is meant.
struct Names {
    /// How [`PostbackDialect::Auto`] knows it: a click's or coupon's name, and other names of which one must be there, if
    /// any are said.
    marks: &'static [(&'static str, &'static [&'static str])],
    click: &'static [&'static str],
    goal: &'static [&'static str],
    /// The advertiser's reference of the transaction.
    order: &'static [&'static str],
    customer: &'static [&'static str],
    coupon: &'static [&'static str],
    campaign: &'static [&'static str],
    /// What was bought.
    product: &'static [&'static str],
    amount: &'static [&'static str],
    /// A label each.
    labels: &'static [(&'static str, &'static str)],
    /// Where it says how the conversion stands at the advertiser.
    standing: Option<StandingIn>,
    /// What makes a call repeatable that has no transaction of its own.
    key: &'static [&'static str],
}

/// A parameter, and what its values mean.
type StandingIn = (&'static str, fn(&str) -> Option<Standing>);

/// In the order in which marks are looked for: the more particular before what has the same click's name.
const DIALECTS: &[(PostbackDialect, &Names)] = &[
    (PostbackDialect::Everflow, &everflow::NAMES),
    (PostbackDialect::Tune, &tune::NAMES),
    (PostbackDialect::Voluum, &voluum::NAMES),
    (PostbackDialect::Affise, &affise::NAMES),
    (PostbackDialect::Tributary, &tributary::NAMES),
];

/// How a conversion stands at the advertiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not said.
    #[default]
    Unsaid,
    /// Good, as far as the advertiser is concerned.
    Approved,
    /// Not decided there.
    Waiting,
    Declined,
}

/// What a call says, in our terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// None where a coupon is named instead.
    pub click_id: Option<ClickId>,
    pub coupon_code: Option<String>,
    /// As the caller calls it, of one that says which it is.
    pub campaign: Option<String>,
    /// By what name the dialect asks for it, if it does.
    pub campaign_parameter: Option<&'static str>,
    /// As the caller calls it.
    pub goal: Option<String>,
    pub order_id: Option<String>,
    pub customer_id: Option<String>,
    pub product_id: Option<String>,
    pub amount: Option<Amount>,
    pub labels: Labels,
    pub standing: Standing,
    pub key: Option<String>,
}

/// An amount as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    name: &'static str,
    text: String,
    pub currency: Option<Currency>,
}

/// Reads a call. `cookie` is the click id that a page's cookie holds, for a pixel that names none.
///
/// # Errors
/// The first problem; its field is the caller's own name for it.
pub fn read(dialect: PostbackDialect, parameters: &Parameters, cookie: Option<&str>) -> Result<Said, Problem> {
    parameters.check()?;
    let names = names_of(dialect, parameters)?;
    let text = |names: &[&'static str]| parameters.first(names).map(|(_, text)| text.to_owned());
    let coupon_code = text(names.coupon);
    let click_id = match (parameters.first(names.click), cookie) {
        (Some((name, id)), _) => Some(id.parse().map_err(|error| Problem::id(&[name], &error))?),
        (None, Some(id)) if dialect == PostbackDialect::Pixel => {
            Some(id.parse().map_err(|error| Problem::id(&["click_id"], &error))?)
        }
        (None, _) if coupon_code.is_some() => None,
        (None, _) => return Err(Problem::required(&names.click[..1])),
    };
    let (order_id, key) = (text(names.order), text(names.key));
    if click_id.is_none() && order_id.is_none() && key.is_none() {
        // Nothing would tell one use of the coupon from the next.
        return Err(Problem::required(&names.order[..1]));
    }
    let standing = match names.standing.and_then(|(name, read)| Some((name, parameters.get(name)?, read))) {
        None => Standing::Unsaid,
        Some((name, text, read)) => read(text)
            .ok_or_else(|| Problem::new(ProblemCode::OutOfRange, &[name], format!("`{}` is no status", short(text))))?,
    };
    Ok(Said {
        click_id,
        coupon_code,
        campaign: text(names.campaign),
        campaign_parameter: names.campaign.first().copied(),
        goal: text(names.goal),
        order_id,
        customer_id: text(names.customer),
        product_id: text(names.product),
        amount: amount(names, parameters)?,
        labels: names
            .labels
            .iter()
            .filter_map(|(name, label)| Some(((*label).to_owned(), parameters.get(name)?.to_owned())))
            .collect(),
        standing,
        key,
    })
}

fn names_of(dialect: PostbackDialect, parameters: &Parameters) -> Result<&'static Names, Problem> {
    let is_meant = |names: &Names| {
        names.marks.iter().any(|(click, marks)| {
            parameters.get(click).is_some()
                && (marks.is_empty() || marks.iter().any(|mark| parameters.get(mark).is_some()))
        })
    };
    match dialect {
        PostbackDialect::Auto => {
            DIALECTS.iter().find(|(_, names)| is_meant(names)).map(|(_, names)| *names).ok_or_else(|| {
                Problem::new(ProblemCode::Required, &["click_id"], "no click id under any name that is known")
            })
        }
        PostbackDialect::Pixel => Ok(&tributary::NAMES),
        of_vendor => {
            let (_, names) =
                DIALECTS.iter().find(|(known, _)| *known == of_vendor).expect("every vendor has its names");
            Ok(names)
        }
    }
}

/// All dialects say the currency alike.
fn amount(names: &Names, parameters: &Parameters) -> Result<Option<Amount>, Problem> {
    let Some((name, text)) = parameters.first(names.amount) else { return Ok(None) };
    let currency = parameters.get("currency").map(|code| code.to_ascii_uppercase().parse::<Currency>()).transpose();
    let currency = currency.map_err(|error| money_problem("currency", &error))?;
    Ok(Some(Amount { name, text: text.to_owned(), currency }))
}

impl Amount {
    /// The amount, in its own currency or else in this one.
    ///
    /// # Errors
    /// `INVALID_AMOUNT`, also for more digits than the currency has; `AMOUNT_OUT_OF_RANGE`.
    pub fn money(&self, otherwise: Currency) -> Result<Money, Problem> {
        let currency = self.currency.unwrap_or(otherwise);
        Money::parse(&self.text, currency).map_err(|error| money_problem(self.name, &error))
    }
}

fn money_problem(name: &str, error: &MoneyError) -> Problem {
    Problem { field: vec![name.to_owned()], ..Problem::money(&[], error) }
}

impl Said {
    /// The code of the goal that is meant.
    ///
    /// # Errors
    /// `REQUIRED` where none is named and the endpoint has none for such calls; `INVALID_TEXT`.
    pub fn goal_code(&self, known: &[GoalName], default: Option<&str>) -> Result<String, Problem> {
        match (&self.goal, default) {
            (Some(external), _) => match known.iter().find(|name| name.external == *external) {
                Some(name) => Ok(name.goal.clone()),
                None => goal::code(&["goal"], external),
            },
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(Problem::new(
                ProblemCode::Required,
                &["goal"],
                "the call names no goal, and the endpoint has no default for such calls",
            )),
        }
    }

    /// The campaign that is meant, where the caller names one by its id here or by a name that the endpoint knows.
    pub fn campaign_id(&self, known: &[CampaignName]) -> Option<CampaignId> {
        let external = self.campaign.as_deref()?;
        let named = known.iter().find(|name| name.external == external).map(|name| name.campaign);
        named.or_else(|| external.parse().ok())
    }

    /// The idempotency key of a call at an endpoint: of its own key; else of the click, the goal and the advertiser's
    /// reference. Without a reference that is once per click and goal: not for goals that may count more often.
    pub fn idempotency_key(&self, endpoint: PostbackEndpointId, goal: &str) -> String {
        let click = self.click_id.map(|id| id.to_string());
        let click = click.or_else(|| self.coupon_code.clone()).unwrap_or_default();
        let parts = match (&self.key, &self.order_id) {
            (Some(key), _) => vec!["key", key],
            (None, Some(order_id)) => vec!["order", &click, goal, order_id],
            (None, None) => vec!["click", &click, goal],
        };
        let parts = serde_json::to_vec(&parts).expect("texts serialize");
        format!("postback:{endpoint}:{}", HEXLOWER.encode(&Sha256::digest(parts)))
    }

    /// Whether the call can be told from another of the same click and goal.
    pub const fn is_told_apart(&self) -> bool {
        self.key.is_some() || self.order_id.is_some()
    }
}

/// As much of a text as a message shows.
fn short(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLICK: &str = "clk_01h455vb4pex5vsknk084sn02q";

    fn said(dialect: PostbackDialect, query: &str) -> Result<Said, Problem> {
        read(dialect, &Parameters::of_query(&query.replace("CLICK", CLICK)), None)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn plain() -> Said {
        Said {
            click_id: Some(CLICK.parse().expect("an id")),
            coupon_code: None,
            campaign: None,
            campaign_parameter: None,
            goal: None,
            order_id: None,
            customer_id: None,
            product_id: None,
            amount: None,
            labels: Labels::new(),
            standing: Standing::Unsaid,
            key: None,
        }
    }

    fn amount_of(name: &'static str, text: &str, currency: Option<&str>) -> Option<Amount> {
        let currency = currency.map(|code| code.parse().expect("known"));
        Some(Amount { name, text: text.to_owned(), currency })
    }

    #[test]
    fn every_vendor_is_read_by_its_own_names_and_known_by_them() {
        let text = |text: &str| Some(text.to_owned());
        for (dialect, query, expected) in [
            (
                PostbackDialect::Tune,
                "offer_id=26&transaction_id=CLICK&amount=49.00&adv_sub=1001&adv_sub2=b&adv_sub5=e&adv_unique1=x&adv_unique5=y&goal_id=7",
                Said {
                    campaign: text("26"),
                    goal: text("7"),
                    order_id: text("1001"),
                    amount: amount_of("amount", "49.00", None),
                    labels: labels(&[("adv2", "b"), ("adv5", "e"), ("adv6", "x"), ("adv10", "y")]),
                    ..plain()
                },
            ),
            (
                PostbackDialect::Everflow,
                "nid=1&transaction_id=CLICK&amount=49&event_id=3&adv1=a&adv10=j&order_id=1001&coupon_code=ADA&email=a%40b.example&currency=usd",
                Said {
                    coupon_code: text("ADA"),
                    goal: text("3"),
                    order_id: text("1001"),
                    amount: amount_of("amount", "49", Some("USD")),
                    labels: labels(&[("adv1", "a"), ("adv10", "j")]),
                    ..plain()
                },
            ),
            (
                PostbackDialect::Everflow,
                "nid=1&oid=9&coupon_code=ADA&order_id=1001",
                Said {
                    click_id: None,
                    coupon_code: text("ADA"),
                    campaign: text("9"),
                    order_id: text("1001"),
                    ..plain()
                },
            ),
            (
                PostbackDialect::Affise,
                "promo_code=ADA&action_id=a-1&offer_id=3&status=1",
                Said {
                    click_id: None,
                    coupon_code: text("ADA"),
                    campaign: text("3"),
                    order_id: text("a-1"),
                    standing: Standing::Approved,
                    ..plain()
                },
            ),
            (
                PostbackDialect::Everflow,
                "nid=1&transaction_id=CLICK&adv_event_id=deposit",
                Said { goal: text("deposit"), ..plain() },
            ),
            (
                PostbackDialect::Voluum,
                "cid=CLICK&payout=4.5&txid=t-1&currency=EUR&et=reg&param1=a&param5=e",
                Said {
                    goal: text("reg"),
                    order_id: text("t-1"),
                    amount: amount_of("payout", "4.5", Some("EUR")),
                    labels: labels(&[("adv1", "a"), ("adv5", "e")]),
                    ..plain()
                },
            ),
            (
                PostbackDialect::Affise,
                "clickid=CLICK&status=2&sum=9.99&goal=1&action_id=a-1&user_id=ada&custom_field3=c&promo_code=ADA",
                Said {
                    coupon_code: text("ADA"),
                    goal: text("1"),
                    order_id: text("a-1"),
                    customer_id: text("ada"),
                    amount: amount_of("sum", "9.99", None),
                    labels: labels(&[("adv3", "c")]),
                    standing: Standing::Waiting,
                    ..plain()
                },
            ),
            (
                PostbackDialect::Tributary,
                "clickId=CLICK&goal=sale&orderId=1001&amount=1&customerId=ada&idempotencyKey=k&adv2=b&campaignId=cmp_1",
                Said {
                    campaign: text("cmp_1"),
                    goal: text("sale"),
                    order_id: text("1001"),
                    customer_id: text("ada"),
                    amount: amount_of("amount", "1", None),
                    labels: labels(&[("adv2", "b")]),
                    key: text("k"),
                    ..plain()
                },
            ),
        ] {
            let read = |dialect| said(dialect, query).map(|said| Said { campaign_parameter: None, ..said });
            assert_eq!(read(dialect), Ok(expected.clone()), "{dialect}: {query}");
            assert_eq!(read(PostbackDialect::Auto), Ok(expected), "auto: {query}");
        }
        assert_eq!(
            said(PostbackDialect::Auto, "click_id=CLICK&status=3").map(|said| said.standing),
            Ok(Standing::Declined)
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_as_the_caller_names_it() {
        use PostbackDialect::{Affise, Auto, Everflow, Tune, Voluum};
        for (dialect, query, code, field) in [
            (Tune, "offer_id=26", ProblemCode::Required, "transaction_id"),
            (Tune, "transaction_id=%7Btransaction_id%7D", ProblemCode::InvalidId, "transaction_id"),
            (Voluum, "cid=cmp_01h455vb4pex5vsknk084sn02q", ProblemCode::InvalidId, "cid"),
            (Affise, "clickid=CLICK&status=4", ProblemCode::OutOfRange, "status"),
            (Everflow, "transaction_id=CLICK&amount=1&currency=EURO", ProblemCode::UnknownCurrency, "currency"),
            (Auto, "amount=1", ProblemCode::Required, "click_id"),
            (Tune, "transaction_id=CLICK&amount=1&amount=2", ProblemCode::InvalidText, "amount"),
        ] {
            let problem = said(dialect, query).expect_err(query);
            assert_eq!((problem.code, problem.field), (code, vec![field.to_owned()]), "{query}");
        }
    }

    #[test]
    fn amount_is_the_currency_s_to_the_digit() {
        let amount = said(PostbackDialect::Voluum, "cid=CLICK&payout=4.999").expect("read").amount.expect("an amount");
        let (eur, kwd) = ("EUR".parse().expect("known"), "KWD".parse().expect("known"));
        assert_eq!(amount.money(kwd).map(|money| money.amount_minor), Ok(4_999));
        let problem = amount.money(eur).expect_err("too many digits");
        assert_eq!((problem.code, problem.field), (ProblemCode::InvalidAmount, vec!["payout".to_owned()]));
    }

    #[test]
    fn goal_is_looked_up_then_taken_as_it_is_then_the_default() {
        let known = [GoalName { external: "7".to_owned(), goal: "deposit".to_owned() }];
        let goal = |query: &str, default| said(PostbackDialect::Tune, query).expect("read").goal_code(&known, default);
        assert_eq!(goal("transaction_id=CLICK&goal_id=7", None), Ok("deposit".to_owned()));
        assert_eq!(goal("transaction_id=CLICK&goal_id=lead", Some("sale")), Ok("lead".to_owned()));
        assert_eq!(goal("transaction_id=CLICK", Some("sale")), Ok("sale".to_owned()));
        assert_eq!(goal("transaction_id=CLICK", None).map_err(|problem| problem.code), Err(ProblemCode::Required));
    }

    #[test]
    fn campaign_is_meant_by_the_endpoint_s_name_or_our_id_and_by_no_other() {
        let ours: CampaignId = "cmp_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        let known = [CampaignName { external: "26".to_owned(), campaign: CampaignId::default() }];
        for (dialect, query, expected) in [
            (PostbackDialect::Tune, "transaction_id=CLICK&offer_id=26", Some(CampaignId::default())),
            (PostbackDialect::Tune, "transaction_id=CLICK&offer_id=27", None),
            (PostbackDialect::Tune, "transaction_id=CLICK", None),
            (PostbackDialect::Everflow, "transaction_id=CLICK&oid=26&offer_id=1", Some(CampaignId::default())),
            (PostbackDialect::Everflow, "transaction_id=CLICK&offer_id=26", Some(CampaignId::default())),
            (PostbackDialect::Affise, "clickid=CLICK&offer_id=cmp_01h455vb4pex5vsknk084sn02q", Some(ours)),
            (PostbackDialect::Voluum, "cid=CLICK&offer_id=26", None),
            (PostbackDialect::Tributary, "click_id=CLICK&campaign_id=cmp_01h455vb4pex5vsknk084sn02q", Some(ours)),
            (PostbackDialect::Tributary, "click_id=CLICK&campaign_id=lnk_01h455vb4pex5vsknk084sn02q", None),
        ] {
            assert_eq!(said(dialect, query).expect("read").campaign_id(&known), expected, "{query}");
        }
    }

    #[test]
    fn key_is_of_the_transaction_at_the_endpoint() {
        let endpoint = PostbackEndpointId::from_uuid(uuid::Uuid::nil());
        let key = |query: &str| said(PostbackDialect::Auto, query).expect("read").idempotency_key(endpoint, "sale");
        let voluum = key("cid=CLICK&txid=1&payout=1.00");
        assert_eq!(voluum, key("cid=CLICK&txid=1&payout=2.00"), "another amount is a conflict, not another conversion");
        assert_ne!(voluum, key("cid=CLICK&txid=2&payout=1.00"));
        assert_ne!(key("cid=CLICK"), voluum);
        assert_eq!(key("click_id=CLICK&idempotency_key=k"), key("click_id=CLICK&idempotency_key=k&order_id=1"));
        assert!(voluum.len() < 200 && voluum.starts_with("postback:pbe_"), "{voluum}");
    }

    #[test]
    fn cookie_speaks_for_a_pixel_alone_and_only_where_it_names_no_click() {
        let read = |dialect, query: &str| read(dialect, &Parameters::of_query(query), Some(CLICK));
        assert!(read(PostbackDialect::Pixel, "goal=sale").is_ok());
        assert!(read(PostbackDialect::Pixel, "goal=sale&click_id=none").is_err());
        assert!(read(PostbackDialect::Tributary, "goal=sale").is_err());
    }
}
