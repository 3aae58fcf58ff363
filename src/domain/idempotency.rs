//! Idempotency keys: the same key and input is the same call; the same key and another input is a conflict.

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    problem::{Problem, ProblemCode},
    tenancy::{Ring, TenantScope},
    text,
};

/// A caller's key, checked, with the hash of what it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// As stored: the key behind the name of its ring.
    pub key: String,
    pub input_hash: [u8; 32],
}

impl Claim {
    /// The claim of one call, or none when the caller gave no key. `input` is the operation's canonical input: parsed
    /// values, so that `49.0` and `49.00` are the same.
    ///
    /// # Errors
    /// `INVALID_TEXT` for a key that is too long or holds control characters.
    pub fn new(
        scope: &TenantScope,
        key: Option<&str>,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<Option<Self>, Problem> {
        let Some(key) = text::optional(&["idempotencyKey"], key, text::REFERENCE_MAX)? else {
            return Ok(None);
        };
        let mut hash = Sha256::new();
        hash.update(operation.as_bytes());
        hash.update([0]);
        hash.update(serde_json::to_vec(input).expect("inputs serialize: string keys, no floats"));
        let ring = match scope.ring() {
            Ring::Tenant => "tenant".to_owned(),
            Ring::Affiliate(id) => id.to_string(),
        };
        Ok(Some(Self { key: format!("{ring}:{key}"), input_hash: hash.finalize().into() }))
    }

    /// The claim of a caller without a credential, in a key space of its own for each `who`: strangers can neither take
    /// nor probe the keys of the tenant's own callers, nor each other's. `who` is stored as a hash only.
    ///
    /// # Errors
    /// As [`Claim::new`].
    pub fn public(
        scope: &TenantScope,
        who: &str,
        key: Option<&str>,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<Option<Self>, Problem> {
        let claim = Self::new(scope, key, operation, input)?;
        let who = HEXLOWER.encode(&Sha256::digest(who.as_bytes()));
        Ok(claim.map(|claim| Self { key: format!("public:{who}:{}", claim.key), ..claim }))
    }

    /// What a key that was used before with another input is answered.
    pub fn conflict() -> Problem {
        Problem::new(
            ProblemCode::IdempotencyConflict,
            &["idempotencyKey"],
            "this key was used before with another input; use a new key for a new call",
        )
    }
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::{AffiliateId, TenantId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn claim_tells_inputs_operations_and_rings_apart() {
        let tenant_id = TenantId::from_uuid(Uuid::nil());
        let tenant = TenantScope::tenant(tenant_id);
        let affiliate = TenantScope::affiliate(tenant_id, AffiliateId::from_uuid(Uuid::nil()));
        let claim = |scope: &TenantScope, operation: &str, input: &str| {
            Claim::new(scope, Some("k"), operation, &input).expect("valid").expect("given")
        };
        assert_eq!(claim(&tenant, "a", "x"), claim(&tenant, "a", "x"));
        assert_ne!(claim(&tenant, "a", "x").input_hash, claim(&tenant, "a", "y").input_hash);
        assert_ne!(claim(&tenant, "a", "x").input_hash, claim(&tenant, "b", "x").input_hash);
        assert_ne!(claim(&tenant, "a", "x").key, claim(&affiliate, "a", "x").key);
        let public = |who: &str| Claim::public(&tenant, who, Some("k"), "a", &"x").expect("valid").expect("given").key;
        assert!(public("ada") != public("bob") && public("ada") != claim(&tenant, "a", "x").key);
        assert!(!public("ada").contains("ada"));
        assert_eq!(Claim::new(&tenant, None, "a", &"x"), Ok(None));
        assert!(Claim::new(&tenant, Some("a\nb"), "a", &"x").is_err());
    }
}
