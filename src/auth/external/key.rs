//! A key of a provider's set, and what it may verify.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};

/// Bytes of an RSA modulus: shorter ones can be factored, longer ones cost a second each.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// A public key for signatures.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
}

impl VerifyingKey {
    /// A key as the set describes it. None for keys of other kinds and uses: shared secrets above all.
    pub(super) fn read(key: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let common = &jwk.common;
        let verifies = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !verifies {
            return None;
        }
        let algorithms: Vec<Algorithm> = by_type(&jwk.algorithm)
            .iter()
            .filter(|algorithm| common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(**algorithm)))
            .copied()
            .collect();
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithms, decoding })
    }

    /// Whether it is the key that a token names, and of a kind for the token's algorithm.
    pub(super) fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        (kid.is_none() || self.kid.as_deref() == kid) && self.algorithms.contains(&algorithm)
    }
}

/// What keys of a type may be used with.
fn by_type(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(rsa) if modulus_bytes(&rsa.n).is_some_and(|count| MODULUS_BYTES.contains(&count)) => {
            &[Algorithm::RS256, Algorithm::PS256]
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => &[],
    }
}

fn modulus_bytes(n: &str) -> Option<usize> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(n.as_bytes()).ok()?;
    Some(bytes.iter().skip_while(|byte| **byte == 0).count())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // RFC 8037, appendix A.2, and RFC 7515, appendix A.3.
    fn ed25519() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a" })
    }

    fn p256() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" })
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "e": "AQAB", "n": data_encoding::BASE64URL_NOPAD.encode(&vec![0xff; bytes]) })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn key_verifies_what_its_type_and_its_alg_allow() {
        let fits = |key: Value, algorithm| VerifyingKey::read(key).expect("a key").fits(None, algorithm);
        assert!(fits(ed25519(), Algorithm::EdDSA) && !fits(ed25519(), Algorithm::RS256));
        assert!(fits(p256(), Algorithm::ES256) && !fits(p256(), Algorithm::ES384));
        assert!(fits(rsa(256), Algorithm::RS256) && fits(rsa(256), Algorithm::PS256));
        let named = with(rsa(256), "alg", json!("PS256"));
        assert!(fits(named.clone(), Algorithm::PS256) && !fits(named, Algorithm::RS256));
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert!(!fits(rsa(256), algorithm) && !fits(p256(), algorithm), "{algorithm:?}");
        }
    }

    #[test]
    fn key_is_found_by_its_id() {
        let key = VerifyingKey::read(ed25519()).expect("a key");
        assert!(key.fits(Some("a"), Algorithm::EdDSA) && !key.fits(Some("b"), Algorithm::EdDSA));
        let nameless = VerifyingKey::read(p256()).expect("a key");
        assert!(nameless.fits(None, Algorithm::ES256) && !nameless.fits(Some("a"), Algorithm::ES256));
    }

    #[test]
    fn keys_of_other_kinds_and_uses_are_passed_over() {
        for key in [
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "a" }),
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
            with(rsa(256), "use", json!("enc")),
            with(rsa(256), "key_ops", json!(["encrypt"])),
            with(rsa(256), "alg", json!("HS256")),
            with(rsa(256), "alg", json!("RSA-OAEP")),
            with(p256(), "alg", json!("EdDSA")),
            with(p256(), "crv", json!("P-521")),
            rsa(128),
            rsa(2_048),
            with(rsa(256), "n", json!("!")),
            json!({ "kty": "PQC" }),
            json!("key"),
            json!(null),
        ] {
            assert!(VerifyingKey::read(key.clone()).is_none(), "{key}");
        }
        assert!(VerifyingKey::read(with(p256(), "key_ops", json!(["verify"]))).is_some());
    }
}
