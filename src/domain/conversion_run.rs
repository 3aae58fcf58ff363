//! Runs over many conversions: what is done with which of them, and how a run's state moves.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    conversion_run,
    ids::ConversionId,
    kinds::{ConversionReason, ConversionRunAction, ConversionRunStatus},
};

use super::{
    conversion::ConversionFilter,
    problem::{Problem, ProblemCode},
    text, transition,
};

/// The most ids that one run is given; a filter may find any number.
pub const IDS_MAX: usize = 10_000;

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
    pub selection: Selection,
    pub note: Option<String>,
}

impl NewConversionRun {
    /// Checks ids, reason and note.
    ///
    /// # Errors
    /// `BATCH_SIZE`; `REQUIRED` without a reason to refuse or take back; `INVALID_TEXT`.
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
            (ConversionRunAction::Approve | ConversionRunAction::Reopen | ConversionRunAction::Undo, _) => None,
            (ConversionRunAction::Reject | ConversionRunAction::Reverse, Some(reason)) => Some(reason),
            (ConversionRunAction::Reject | ConversionRunAction::Reverse, None) => {
                return Err(Problem::new(ProblemCode::Required, &["reason"], "why they are refused or taken back"));
            }
        };
        self.note = text::optional(&["note"], self.note.as_deref(), text::NOTE_MAX)?;
        Ok(self)
    }
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
        NewConversionRun { action, reason, selection: Selection::Ids(ids.collect()), note: None }
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
        for action in [ConversionRunAction::Reject, ConversionRunAction::Reverse] {
            assert_eq!(
                new(action, None, &[1]).check().map_err(|problem| problem.code).err(),
                Some(ProblemCode::Required)
            );
        }
        let fraud = Some(ConversionReason::Fraud);
        for action in [ConversionRunAction::Approve, ConversionRunAction::Reopen, ConversionRunAction::Undo] {
            assert_eq!(new(action, fraud, &[1]).check().expect("good").reason, None, "{action}");
        }
        assert_eq!(new(ConversionRunAction::Reject, fraud, &[1]).check().expect("good").reason, fraud);
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
