//! Commission rules: terms in versions, chosen by precedence.

use tributary_entity::{commission_rule, commission_rule_version};

/// A rule in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub head: commission_rule::Model,
    pub terms: commission_rule_version::Model,
}
