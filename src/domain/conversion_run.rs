//! Runs over many conversions: what is done with which of them, and how a run's state moves.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    conversion, conversion_run,
    ids::ConversionId,
    kinds::{ConversionReason, ConversionRunAction, ConversionRunStatus},
    money::{MAX_INPUT_MINOR, Money},
};

use super::{
    commission::round_half_even,
    conversion::{ConversionFilter, sale_now},
    problem::{Problem, ProblemCode},
    text, transition,
};

/// The most ids that one run is given; a filter may find any number.
pub const IDS_MAX: usize = 10_000;
/// The most that a sale becomes of what it was: ten times as much.
pub const PART_MAX_PPM: i64 = 10 * WHOLE_PPM;
const WHOLE_PPM: i64 = 1_000_000;

/// Which conversions a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// In id order, each once.
    Ids(Vec<ConversionId>),
    /// Those that are in the list when the run is asked for, and still when their turn comes.
    Filter(ConversionFilter),
}

/// A run as a caller asks for it.
#[derive(Clone, Debug, Serialize)]
pub struct NewConversionRun {
    pub action: ConversionRunAction,
    pub reason: Option<ConversionReason>,
    /// Of each sale, in millionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_ppm: Option<i64>,
    pub selection: Selection,
    pub note: Option<String>,
}

impl NewConversionRun {
    /// Checks ids, reason, part and note.
    ///
    /// # Errors
    /// `BATCH_SIZE`; `REQUIRED` without a reason to refuse or take back, and without the part that some actions need;
    /// `OUT_OF_RANGE` for a part that is none, the whole or too much, or of another action; `INVALID_TEXT`.
    pub fn check(mut self) -> Result<Self, Problem> {
        if let Selection::Ids(ids) = &mut self.selection {
            ids.sort_unstable();
            ids.dedup();
            if let Some(problem) = Problem::batch_size(&["ids"], ids.len(), IDS_MAX) {
                return Err(problem);
            }
        }
        self.reason = match (self.action, self.reason) {
            // What is given again keeps the reason that it was taken for.
            (
                ConversionRunAction::Approve
                | ConversionRunAction::Reopen
                | ConversionRunAction::Undo
                | ConversionRunAction::Adjust,
                _,
            ) => None,
            (
                ConversionRunAction::Reject | ConversionRunAction::Reverse | ConversionRunAction::Refund,
                Some(reason),
            ) => Some(reason),
            (ConversionRunAction::Reject | ConversionRunAction::Reverse | ConversionRunAction::Refund, None) => {
                return Err(Problem::new(ProblemCode::Required, &["reason"], "why they are refused or taken back"));
            }
        };
        self.check_part()?;
        self.note = text::optional(&["note"], self.note.as_deref(), text::NOTE_MAX)?;
        Ok(self)
    }
}

impl NewConversionRun {
    fn check_part(&self) -> Result<(), Problem> {
        let out_of_range = |message: &str| Err(Problem::new(ProblemCode::OutOfRange, &["percent"], message));
        match (self.action, self.part_ppm) {
            (ConversionRunAction::Refund | ConversionRunAction::Adjust, None) => {
                Err(Problem::new(ProblemCode::Required, &["percent"], "of each sale"))
            }
            (ConversionRunAction::Refund, Some(part)) if !(1..WHOLE_PPM).contains(&part) => {
                out_of_range("a part: more than 0 and less than 100; `REVERSE` takes back the whole")
            }
            (ConversionRunAction::Adjust, Some(part)) if !(1..=PART_MAX_PPM).contains(&part) || part == WHOLE_PPM => {
                out_of_range("more than 0, at most 1,000, and not 100, which changes nothing")
            }
            (ConversionRunAction::Refund | ConversionRunAction::Adjust, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => out_of_range("only to take back a part or to give another amount"),
        }
    }
}

/// So much of what a conversion's sale is now, rounded half to even.
///
/// # Errors
/// `OUT_OF_RANGE` past what a sale may be, and where nothing is left of it.
pub fn part_of_sale(row: &conversion::Model, part_ppm: i64) -> Result<Money, Problem> {
    let exact = i128::from(sale_now(row)) * i128::from(part_ppm);
    let minor = i64::try_from(round_half_even(exact, WHOLE_PPM.into())).ok();
    let minor = minor.filter(|minor| (1..=MAX_INPUT_MINOR).contains(minor)).ok_or_else(|| {
        Problem::new(ProblemCode::OutOfRange, &["percent"], "nothing of its sale, or more than a sale may be")
    })?;
    Ok(Money::new(minor, row.sale_currency))
}

/// Which conversions a stored run is about; none for what another version wrote.
pub fn selection(run: &conversion_run::Model) -> Option<Selection> {
    serde_json::from_str(&run.selection).ok()
}

/// Whether a run has more to do.
pub const fn is_open(status: ConversionRunStatus) -> bool {
    matches!(status, ConversionRunStatus::Queued | ConversionRunStatus::Running)
}

const TRANSITIONS: &[(ConversionRunStatus, ConversionRunStatus)] = &[
    (ConversionRunStatus::Queued, ConversionRunStatus::Cancelled),
    (ConversionRunStatus::Running, ConversionRunStatus::Cancelled),
];

/// Cancels a run.
///
/// # Errors
/// `INVALID_TRANSITION` for one that is over.
pub fn cancel(status: ConversionRunStatus) -> Result<ConversionRunStatus, Problem> {
    transition::step(TRANSITIONS, "a run", status, ConversionRunStatus::Cancelled)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn new(action: ConversionRunAction, reason: Option<ConversionReason>, ids: &[u128]) -> NewConversionRun {
        let ids = ids.iter().map(|number| ConversionId::from_uuid(Uuid::from_u128(*number)));
        let part_ppm =
            matches!(action, ConversionRunAction::Refund | ConversionRunAction::Adjust).then_some(WHOLE_PPM / 4);
        NewConversionRun { action, reason, part_ppm, selection: Selection::Ids(ids.collect()), note: None }
    }

    #[test]
    fn ids_are_in_order_and_each_once_and_some() {
        let checked = new(ConversionRunAction::Approve, None, &[3, 1, 3, 2]).check().expect("good");
        let ids = [1, 2, 3].map(|number| ConversionId::from_uuid(Uuid::from_u128(number)));
        assert_eq!(checked.selection, Selection::Ids(ids.to_vec()));
        let none = new(ConversionRunAction::Approve, None, &[]).check().map_err(|problem| problem.code);
        assert!(matches!(none, Err(ProblemCode::BatchSize)), "{none:?}");
    }

    #[test]
    fn refusing_and_taking_back_need_a_reason_and_the_others_have_none() {
        for action in [ConversionRunAction::Reject, ConversionRunAction::Reverse, ConversionRunAction::Refund] {
            assert_eq!(
                new(action, None, &[1]).check().map_err(|problem| problem.code).err(),
                Some(ProblemCode::Required)
            );
        }
        let fraud = Some(ConversionReason::Fraud);
        for action in [
            ConversionRunAction::Approve,
            ConversionRunAction::Reopen,
            ConversionRunAction::Undo,
            ConversionRunAction::Adjust,
        ] {
            assert_eq!(new(action, fraud, &[1]).check().expect("good").reason, None, "{action}");
        }
        assert_eq!(new(ConversionRunAction::Reject, fraud, &[1]).check().expect("good").reason, fraud);
    }

    #[test]
    fn part_is_one_and_of_the_actions_that_need_it() {
        let code = |action, part_ppm| {
            let new = NewConversionRun { part_ppm, ..new(action, Some(ConversionReason::Refund), &[1]) };
            new.check().map(drop).map_err(|problem| problem.code)
        };
        for action in ConversionRunAction::ALL {
            let is_of = matches!(action, ConversionRunAction::Refund | ConversionRunAction::Adjust);
            assert_eq!(code(*action, Some(500_000)).is_ok(), is_of, "{action}");
            assert_eq!(code(*action, None).is_ok(), !is_of, "{action}");
        }
        for (action, part, is_good) in [
            (ConversionRunAction::Refund, 0, false),
            (ConversionRunAction::Refund, 1, true),
            (ConversionRunAction::Refund, 999_999, true),
            (ConversionRunAction::Refund, 1_000_000, false),
            (ConversionRunAction::Adjust, 0, false),
            (ConversionRunAction::Adjust, 1_000_000, false),
            (ConversionRunAction::Adjust, PART_MAX_PPM, true),
            (ConversionRunAction::Adjust, PART_MAX_PPM + 1, false),
        ] {
            assert_eq!(code(action, Some(part)).is_ok(), is_good, "{action} {part}");
        }
    }

    #[test]
    fn what_is_over_is_not_cancelled() {
        for status in ConversionRunStatus::ALL {
            assert_eq!(cancel(*status).is_ok(), is_open(*status), "{status}");
        }
    }

    #[test]
    fn selection_is_read_as_it_was_written() {
        let filter = ConversionFilter { goals: Some(vec!["sale".to_owned()]), ..ConversionFilter::default() };
        for selection in [new(ConversionRunAction::Approve, None, &[1, 2]).selection, Selection::Filter(filter)] {
            let text = serde_json::to_string(&selection).expect("serializes");
            assert_eq!(serde_json::from_str::<Selection>(&text).expect("reads"), selection);
        }
    }
}
