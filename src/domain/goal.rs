//! Goals: what their codes may be, and how their status moves.

use serde::Serialize;
use tributary_entity::{goal, ids::CampaignId, kinds::GoalStatus};

use super::{
    problem::{Problem, ProblemCode},
    text, transition,
};

/// Goals of one campaign, archived ones too: they are answered in one list.
pub const GOALS_MAX: usize = 100;
/// Characters in a code.
pub const CODE_MAX: usize = 40;

/// A new goal as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewGoal {
    pub campaign_id: CampaignId,
    pub code: String,
    pub name: String,
    pub once_per_click: bool,
}

/// Changes to a goal; none leaves a setting as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GoalChange {
    pub name: Option<String>,
    pub once_per_click: Option<bool>,
}

impl NewGoal {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        match (code(&["code"], &self.code), text::required(&["name"], &self.name, text::NAME_MAX)) {
            (Ok(code), Ok(name)) => Ok(Self { code, name, ..self }),
            (code, name) => Err(code.err().into_iter().chain(name.err()).collect()),
        }
    }
}

impl GoalChange {
    /// The goal with the changes applied.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT`.
    pub fn apply(&self, mut goal: goal::Model) -> Result<goal::Model, Problem> {
        if let Some(name) = &self.name {
            goal.name = text::required(&["name"], name, text::NAME_MAX)?;
        }
        goal.once_per_click = self.once_per_click.unwrap_or(goal.once_per_click);
        Ok(goal)
    }
}

/// What senders of conversions name a goal by: 1 to [`CODE_MAX`] of `a-z`, `0-9`, `_` and `-`.
///
/// # Errors
/// `REQUIRED` or `INVALID_TEXT`.
pub fn code(field: &[&str], code: &str) -> Result<String, Problem> {
    let code = text::required(field, code, CODE_MAX)?;
    if code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')) {
        Ok(code)
    } else {
        Err(Problem::new(ProblemCode::InvalidText, field, "only a-z, 0-9, `_` and `-`"))
    }
}

/// An archived goal stays so: conversions that name it must mean the same for ever.
const TRANSITIONS: &[(GoalStatus, GoalStatus)] = &[(GoalStatus::Active, GoalStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: GoalStatus, to: GoalStatus) -> Result<GoalStatus, Problem> {
    transition::step(TRANSITIONS, "a goal", from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short_lower_case_tokens() {
        for good in ["sale", "a", "first-deposit_2", &"x".repeat(40)] {
            assert_eq!(code(&["code"], good).as_deref(), Ok(good));
        }
        for (bad, expected) in [
            ("", ProblemCode::Required),
            ("Sale", ProblemCode::InvalidText),
            ("a b", ProblemCode::InvalidText),
            ("ä", ProblemCode::InvalidText),
            ("a.b", ProblemCode::InvalidText),
            (&*"x".repeat(41), ProblemCode::InvalidText),
        ] {
            assert_eq!(code(&["code"], bad).map_err(|problem| problem.code), Err(expected), "{bad}");
        }
    }

    #[test]
    fn new_goal_tells_all_problems_at_once() {
        let goal = NewGoal {
            campaign_id: CampaignId::default(),
            code: "NO".to_owned(),
            name: " ".to_owned(),
            once_per_click: false,
        };
        let fields: Vec<_> = goal.check().expect_err("wrong").into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, [["code"], ["name"]]);
    }

    #[test]
    fn archived_is_final() {
        assert_eq!(transition(GoalStatus::Active, GoalStatus::Archived), Ok(GoalStatus::Archived));
        for to in GoalStatus::ALL {
            assert!(transition(GoalStatus::Archived, *to).is_err(), "{to}");
        }
    }
}
