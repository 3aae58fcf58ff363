//! Affiliate groups: affiliates who are paid alike.
//!
//! # Decisions
//! - An affiliate is in one group or in none: of two modifiers none could be said to be the right one.
//! - A group's modifier comes on top of whatever rate was chosen, an enrollment's own too; it is not versioned, as each
//!   commission keeps the one that it was reckoned with.

use serde::Serialize;
use tributary_entity::affiliate_group;

use super::{problem::Problem, text};

/// Groups of a tenant: they are answered in one list.
pub const GROUPS_MAX: usize = 100;

/// A new group as a manager describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewGroup {
    pub name: String,
    /// Millionths on top of the rate.
    pub modifier_ppm: i64,
}

/// Changes to a group; none leaves a part as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupChange {
    pub name: Option<String>,
    pub modifier_ppm: Option<i64>,
}

impl NewGroup {
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT`.
    pub fn check(self) -> Result<Self, Problem> {
        let name = text::required(&["name"], &self.name, text::NAME_MAX)?;
        Ok(Self { name, ..self })
    }
}

impl GroupChange {
    /// The group with the changes applied.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT`.
    pub fn apply(&self, mut row: affiliate_group::Model) -> Result<affiliate_group::Model, Problem> {
        if let Some(name) = &self.name {
            row.name = text::required(&["name"], name, text::NAME_MAX)?;
        }
        row.modifier_ppm = self.modifier_ppm.unwrap_or(row.modifier_ppm);
        Ok(row)
    }
}
