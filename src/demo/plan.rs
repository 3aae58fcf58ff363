//! What the demo makes of the orders: campaigns, affiliates, who is credited for which order, when, and what that earns.
//! Pure, and the same at every start.
//!
//! # Decisions
//! - What orders earn is reckoned here a second time, on purpose by other code than `domain::commission`: the two must
//!   agree to the cent.
//! - All orders of a customer belong to one affiliate in one campaign. Some affiliates get more customers than others,
//!   as in life.
//! - The file has dates only. A day's orders are spread over the day evenly; a click comes some minutes before its order.

use std::collections::BTreeMap;

use chrono::{NaiveTime, TimeDelta};
use tributary_entity::Instant;

use super::orders::Order;

/// Orders that are not loaded but replayed before your eyes.
pub const LIVE_ORDERS: usize = 1_000;
/// Conversions of the loaded history that wait for a reviewer.
pub const LEFT_PENDING: usize = 200;

/// What a rule pays. The unit of the share is a hundredth of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    Flat { cents: i64 },
    Percent { hundredths: i64 },
    FlatPlusPercent { cents: i64, hundredths: i64 },
}

impl Terms {
    /// What an order earns, rounded half to even.
    pub fn commission_cents(self, sale_cents: i64) -> i64 {
        let (cents, hundredths) = match self {
            Self::Flat { cents } => (cents, 0),
            Self::Percent { hundredths } => (0, hundredths),
            Self::FlatPlusPercent { cents, hundredths } => (cents, hundredths),
        };
        let exact = cents * 10_000 + sale_cents * hundredths;
        let (whole, rest) = (exact / 10_000, exact % 10_000);
        let up = rest > 5_000 || (rest == 5_000 && whole % 2 == 1);
        whole + i64::from(up)
    }
}

/// A campaign of the demo.
pub struct CampaignPlan {
    /// Names it in idempotency keys.
    pub key: &'static str,
    pub name: &'static str,
    pub destination_url: &'static str,
    /// `AUTO` or `MANUAL`.
    pub approval: &'static str,
    pub hold_days: i64,
    pub window_days: i64,
    pub rule_name: &'static str,
    pub terms: Terms,
    /// A rule that some enrollments have instead, by the places of their affiliates in [`enrolled`].
    pub special: Option<Special>,
    /// Customers of a hundred.
    percent_of_customers: u64,
}

/// A rule for a few.
pub struct Special {
    pub rule_name: &'static str,
    pub terms: Terms,
    pub places: &'static [usize],
}

/// The campaign whose conversions a person approves.
pub const REVIEWED: usize = 2;

pub const CAMPAIGNS: [CampaignPlan; 3] = [
    CampaignPlan {
        key: "cd-club",
        name: "CD Club",
        destination_url: "https://shop.test/cd-club",
        approval: "AUTO",
        hold_days: 0,
        window_days: 30,
        rule_name: "Standard share",
        terms: Terms::Percent { hundredths: 1_000 },
        special: Some(Special {
            rule_name: "Founding partners",
            terms: Terms::Percent { hundredths: 1_250 },
            places: &[0, 5, 11],
        }),
        percent_of_customers: 50,
    },
    CampaignPlan {
        key: "new-listeners",
        name: "New Listeners",
        destination_url: "https://shop.test/welcome",
        approval: "AUTO",
        hold_days: 30,
        window_days: 7,
        rule_name: "Per order",
        terms: Terms::Flat { cents: 250 },
        special: None,
        percent_of_customers: 30,
    },
    CampaignPlan {
        key: "collectors",
        name: "Collectors",
        destination_url: "https://shop.test/rarities",
        approval: "MANUAL",
        hold_days: 14,
        window_days: 60,
        rule_name: "Order and share",
        terms: Terms::FlatPlusPercent { cents: 100, hundredths: 500 },
        special: Some(Special {
            rule_name: "Specialist press",
            terms: Terms::FlatPlusPercent { cents: 150, hundredths: 625 },
            places: &[1, 7],
        }),
        percent_of_customers: 20,
    },
];

/// The affiliates: invented programmes, no persons.
pub const AFFILIATES: [&str; 36] = [
    "Vinyl Weekly",
    "The Groove Digest",
    "Backbeat Bulletin",
    "Needle & Notes",
    "Sleeve Notes Daily",
    "The B-Side Almanac",
    "Crate Diggers Post",
    "Treble Clef Times",
    "Sunday Side Two",
    "Night Shift Jazz Pages",
    "Chorus and Verse",
    "The Liner Letter",
    "Riff Report",
    "Harbour Town Radio Guide",
    "Encore Coupons",
    "Second Movement Review",
    "Lo-Fi Lookout",
    "The Opus Index",
    "Garage Days Gazette",
    "Disc Deal Finder",
    "Blue Hour Paper Club",
    "Quarter Tone Journal",
    "Roots & Reels",
    "Metronome Mailing List",
    "Festival Field Guide",
    "The Hidden Track",
    "Sixty Minute Mix",
    "Overture Offers",
    "Campus Charts",
    "The Slow Fade",
    "Brass Section Bulletin",
    "Downtempo Desk",
    "Strings Attached Weekly",
    "Refrain Rewards",
    "Amplified Atlas",
    "Last Call Lyrics",
];

/// The affiliates of a campaign, as indexes into [`AFFILIATES`]: two thirds, each campaign others.
pub fn enrolled(campaign: usize) -> impl Iterator<Item = usize> {
    (0..AFFILIATES.len()).filter(move |affiliate| affiliate % CAMPAIGNS.len() != campaign)
}

/// The terms of an affiliate in a campaign.
pub fn terms(campaign: usize, affiliate: usize) -> Terms {
    let plan = &CAMPAIGNS[campaign];
    let place = enrolled(campaign).position(|enrolled| enrolled == affiliate);
    match &plan.special {
        Some(special) if place.is_some_and(|place| special.places.contains(&place)) => special.terms,
        _ => plan.terms,
    }
}

/// An order with its place in the programme.
#[derive(Clone, Debug)]
pub struct Sale {
    pub order: Order,
    /// Index into [`CAMPAIGNS`].
    pub campaign: usize,
    /// Index into [`AFFILIATES`].
    pub affiliate: usize,
    pub clicked_at: Instant,
    pub converted_at: Instant,
}

impl Sale {
    pub fn commission_cents(&self) -> i64 {
        terms(self.campaign, self.affiliate).commission_cents(self.order.cents)
    }

    pub fn order_id(&self) -> String {
        format!("cdnow-{:05}", self.order.number)
    }
}

/// All sales by the time of their clicks.
pub struct Plan {
    sales: Vec<Sale>,
    live: usize,
}

impl Plan {
    /// Places orders; the last `live` of them are for the replay.
    pub fn new(mut orders: Vec<Order>, live: usize) -> Self {
        orders.sort_by_key(|order| (order.date, order.number));
        let live = live.min(orders.len());
        let mut per_day: BTreeMap<_, i64> = BTreeMap::new();
        for order in &orders {
            *per_day.entry(order.date).or_default() += 1;
        }
        let mut today = (None, 0);
        let sales = orders.into_iter().map(|order| {
            let place = if today.0 == Some(order.date) { today.1 + 1 } else { 0 };
            today = (Some(order.date), place);
            let orders_of_day = per_day[&order.date];
            sale(order, place, orders_of_day)
        });
        Self { sales: sales.collect(), live }
    }

    #[cfg(test)]
    pub fn all(&self) -> &[Sale] {
        &self.sales
    }

    /// What is loaded.
    pub fn history(&self) -> &[Sale] {
        &self.sales[..self.sales.len() - self.live]
    }

    /// What is replayed.
    pub fn live(&self) -> &[Sale] {
        &self.sales[self.sales.len() - self.live..]
    }

    /// Reviewed conversions of the history before this instant are approved; none when there are too few.
    pub fn approved_before(&self) -> Option<Instant> {
        let mut reviewed: Vec<Instant> =
            self.history().iter().filter(|sale| sale.campaign == REVIEWED).map(|sale| sale.converted_at).collect();
        reviewed.sort_unstable();
        reviewed.len().checked_sub(LEFT_PENDING).and_then(|kept| reviewed.get(kept)).copied()
    }

    /// The period that holds every sale, in whole days.
    pub fn period(&self) -> Option<(Instant, Instant)> {
        let midnight = |sale: &Sale| sale.order.date.and_time(NaiveTime::MIN).and_utc();
        Some((midnight(self.sales.first()?), midnight(self.sales.last()?) + TimeDelta::days(1)))
    }
}

/// The latest a click may come, so that its order is on the same day.
const LAST_CLICK_SECS: i64 = 86_000;

fn sale(order: Order, place: i64, orders_of_day: i64) -> Sale {
    let customer = u64::from(order.customer);
    let lot = mix(customer) % 100;
    let mut below = 0;
    let campaign = CAMPAIGNS
        .iter()
        .position(|plan| {
            below += plan.percent_of_customers;
            lot < below
        })
        .unwrap_or(0);
    let affiliates: Vec<usize> = enrolled(campaign).collect();
    let count = affiliates.len() as u64;
    // The lower of two draws: the first affiliates are the large ones.
    let drawn = (mix(customer ^ 0xA5A5) % count).min(mix(customer ^ 0x5A5A) % count);
    let affiliate = affiliates.into_iter().nth(usize::try_from(drawn).unwrap_or(0)).unwrap_or(0);
    let midnight = order.date.and_time(NaiveTime::MIN).and_utc();
    let clicked_at = midnight + TimeDelta::seconds(place * LAST_CLICK_SECS / orders_of_day);
    let minutes = 1 + i64::from(order.number % 5);
    Sale { campaign, affiliate, clicked_at, converted_at: clicked_at + TimeDelta::minutes(minutes), order }
}

/// SplitMix64's finaliser: neighbours become strangers.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::orders;

    #[test]
    fn commission_rounds_half_to_even_once() {
        let percent = Terms::Percent { hundredths: 1_000 };
        assert_eq!([5, 15, 25, 35, 26, 24].map(|sale| percent.commission_cents(sale)), [0, 2, 2, 4, 3, 2]);
        assert_eq!(Terms::Percent { hundredths: 1_250 }.commission_cents(1_177), 147);
        assert_eq!(Terms::Flat { cents: 250 }.commission_cents(0), 250);
        assert_eq!(Terms::FlatPlusPercent { cents: 100, hundredths: 500 }.commission_cents(2_000), 200);
        // 101 + 0.5 is as near to 101 as to 102: the even one.
        assert_eq!(Terms::FlatPlusPercent { cents: 101, hundredths: 500 }.commission_cents(10), 102);
    }

    #[test]
    fn shares_of_customers_are_whole() {
        assert_eq!(CAMPAIGNS.iter().map(|plan| plan.percent_of_customers).sum::<u64>(), 100);
        assert_eq!(CAMPAIGNS[REVIEWED].approval, "MANUAL");
        assert_eq!(AFFILIATES.iter().collect::<BTreeSet<_>>().len(), AFFILIATES.len());
        for (campaign, plan) in CAMPAIGNS.iter().enumerate() {
            let places = plan.special.as_ref().map_or(&[][..], |special| special.places);
            assert!(places.iter().all(|place| *place < enrolled(campaign).count()));
        }
    }

    #[test]
    fn plan_places_every_order_on_its_day_with_its_customer_s_affiliate() {
        let plan = Plan::new(orders::all().expect("undamaged"), LIVE_ORDERS);
        assert_eq!((plan.history().len(), plan.live().len()), (68_659, 1_000));
        assert!(plan.all().is_sorted_by_key(|sale| sale.clicked_at));
        let mut homes = BTreeMap::new();
        for sale in plan.all() {
            assert!(sale.clicked_at < sale.converted_at);
            assert_eq!(sale.clicked_at.date_naive(), sale.order.date);
            assert_eq!(sale.converted_at.date_naive(), sale.order.date);
            assert!(enrolled(sale.campaign).any(|affiliate| affiliate == sale.affiliate));
            let home = (sale.campaign, sale.affiliate);
            assert_eq!(*homes.entry(sale.order.customer).or_insert(home), home);
        }
        let used: BTreeSet<_> = homes.into_values().collect();
        assert_eq!(used.len(), (0..CAMPAIGNS.len()).map(|campaign| enrolled(campaign).count()).sum::<usize>());
    }

    #[test]
    fn all_but_the_last_reviewed_conversions_are_to_be_approved() {
        let plan = Plan::new(orders::all().expect("undamaged"), LIVE_ORDERS);
        let before = plan.approved_before().expect("enough of them");
        let left = plan.history().iter().filter(|sale| sale.campaign == REVIEWED && sale.converted_at >= before);
        let left = left.count();
        assert!((LEFT_PENDING..LEFT_PENDING + 5).contains(&left), "{left}");
        assert!(Plan::new(Vec::new(), LIVE_ORDERS).approved_before().is_none());
    }
}
