//! What may happen: events that proptest generates, for a program that one does step by step and for those that several do
//! at once.
//!
//! # Adding an event
//! A variant of [`Step`] with its weight in [`changes`], what it does in `model.rs` (three to ten lines), and what calls it
//! in `alone.rs` and `at_once.rs`. One that the model does not know goes into [`beyond`].

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::markets::{MARKETS, Market, PEOPLE};
use crate::support::double::Fate;

/// An event. Amounts are minor units; what an [`Index`] chooses from is what there is at that moment.
#[derive(Clone, Debug)]
pub enum Step {
    Sell {
        market: &'static Market,
        who: usize,
        sale: i64,
    },
    Approve(Index),
    Reject(Index),
    Reopen(Index),
    /// The hold of all that is approved ends.
    Release,
    /// So many millionths of what is left of a sale, or all.
    Refund {
        deal: Index,
        part: i64,
        is_chargeback: bool,
    },
    Undo(Index),
    /// Another sale amount.
    Adjust(Index, i64),
    /// A batch for everybody is drafted, approved and submitted.
    Pay(&'static Market),
    Settle(Index),
    Fail(Index),
    Return(Index),
    Deposit {
        amount: i64,
    },
    /// So many millionths of what is available, or more than that, become dollars, or dollars euro.
    Convert {
        who: usize,
        part: i64,
        is_back: bool,
    },
    WriteOff {
        market: &'static Market,
        who: usize,
        amount: i64,
    },
    Bonus {
        market: &'static Market,
        who: usize,
        amount: i64,
        is_held: bool,
    },
    /// Negative where it takes.
    Award {
        market: &'static Market,
        who: usize,
        amount: i64,
    },
    /// What must be refused, or change nothing.
    Wrong(Wrong, Index),
    /// A sale whose rule has tiers.
    SellTiered {
        who: usize,
        sale: i64,
    },
    /// A click that earns.
    Click {
        who: usize,
    },
    /// What a customer brought: gross gaming revenue.
    Play {
        who: usize,
        ggr: i64,
    },
    DayOver,
    /// Conversions of the last hours are credited by another model.
    Credit(&'static str),
    /// A payment arrives at its processor, or is lost there.
    Arrive {
        payment: Index,
        is_lost: bool,
    },
    /// What becomes of the next payment that a processor is asked for.
    Fate(Fate),
}

/// What nobody may do.
#[derive(Clone, Copy, Debug)]
pub enum Wrong {
    Approve,
    RefundTooMuch,
    RefundRejected,
    UndoAgain,
    SettleAgain,
    BonusOfNothing,
}

fn who() -> impl Strategy<Value = usize> {
    0..PEOPLE
}

fn market() -> impl Strategy<Value = &'static Market> {
    prop_oneof![3 => Just(&MARKETS[0]), 2 => Just(&MARKETS[1]), 2 => Just(&MARKETS[2])]
}

/// What is sent in batches: sales and what reviewers say of them.
fn reviews() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        8 => (market(), who(), 1..60_000_i64).prop_map(|(market, who, sale)| Step::Sell { market, who, sale }),
        7 => index().prop_map(Step::Approve),
        2 => index().prop_map(Step::Reject),
        1 => index().prop_map(Step::Reopen),
    ]
}

/// What is sent one by one.
fn changes() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let wrong = prop_oneof![
        Just(Wrong::Approve),
        Just(Wrong::RefundTooMuch),
        Just(Wrong::RefundRejected),
        Just(Wrong::UndoAgain),
        Just(Wrong::SettleAgain),
        Just(Wrong::BonusOfNothing),
    ];
    prop_oneof![
        3 => Just(Step::Release),
        5 => (index(), prop_oneof![2 => 1..=1_000_000_i64, 1 => Just(1_000_000)], any::<bool>())
            .prop_map(|(deal, part, is_chargeback)| Step::Refund { deal, part, is_chargeback }),
        3 => index().prop_map(Step::Undo),
        3 => (index(), 1..60_000_i64).prop_map(|(deal, sale)| Step::Adjust(deal, sale)),
        3 => market().prop_map(Step::Pay),
        3 => index().prop_map(Step::Settle),
        2 => index().prop_map(Step::Fail),
        2 => index().prop_map(Step::Return),
        1 => (1..100_000_i64).prop_map(|amount| Step::Deposit { amount }),
        3 => (who(), 1..1_200_000_i64, any::<bool>())
            .prop_map(|(who, part, is_back)| Step::Convert { who, part, is_back }),
        2 => (market(), who(), 1..4_000_i64).prop_map(|(market, who, amount)| Step::WriteOff { market, who, amount }),
        2 => (market(), who(), 1..4_000_i64, any::<bool>())
            .prop_map(|(market, who, amount, is_held)| Step::Bonus { market, who, amount, is_held }),
        3 => (market(), who(), prop_oneof![-6_000..0_i64, 1..3_000_i64])
            .prop_map(|(market, who, amount)| Step::Award { market, who, amount }),
        2 => (wrong, index()).prop_map(|(wrong, index)| Step::Wrong(wrong, index)),
    ]
}

/// What the model does not know.
fn beyond() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        Just(Fate::FailsBefore),
        Just(Fate::FailsAfter),
        Just(Fate::Hangs),
        Just(Fate::Busy),
        Just(Fate::Refused),
        Just(Fate::LostThenRefused),
    ];
    let model = prop_oneof![Just("LINEAR"), Just("FIRST_CLICK"), Just("LAST_CLICK"), Just("POSITION_BASED")];
    prop_oneof![
        16 => who().prop_map(|who| Step::Click { who }),
        12 => (who(), 1..5_000_i64).prop_map(|(who, sale)| Step::SellTiered { who, sale }),
        6 => (who(), -40_000..60_000_i64).prop_map(|(who, ggr)| Step::Play { who, ggr }),
        1 => Just(Step::DayOver),
        1 => model.prop_map(Step::Credit),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(payment, is_lost)| Step::Arrive { payment, is_lost }),
        1 => fate.prop_map(Step::Fate),
    ]
}

/// What the model knows, for a program that one does.
pub fn modelled() -> impl Strategy<Value = Step> {
    prop_oneof![18 => reviews(), 37 => changes()]
}

/// Everything, for those who act at once: more of what is sent in batches.
pub fn all() -> impl Strategy<Value = Step> {
    prop_oneof![6 => reviews(), 2 => changes(), 2 => beyond()]
}

/// So many steps, the same for the same seed.
pub fn generated(strategy: impl Strategy<Value = Step>, seed: u64, count: usize) -> Vec<Step> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    vec(strategy, count).new_tree(&mut runner).expect("steps").current()
}

/// Takes one of what there is.
pub fn take<T>(from: &mut Vec<T>, index: &Index) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(index.index(from.len())))
}
