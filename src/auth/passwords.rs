//! Passwords: argon2id in PHC strings, reckoned away from the async threads and never too many at once.
//!
//! # Decisions
//! - 19 MiB, two passes, one lane: the first choice of OWASP's password storage cheat sheet. The parameters are in each
//!   hash, so that raising them later leaves old hashes readable.
//! - As many at once as there are cores: more would not be faster, and each takes 19 MiB. The rest wait.

use std::{num::NonZero, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use tokio::{sync::Semaphore, task};

use crate::{
    ambient,
    domain::{problem::Problem, user},
};

/// How hard a guess is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cost {
    #[default]
    Production,
    /// For tests only: protects nothing.
    Trivial,
}

impl Cost {
    fn argon2(self) -> Argon2<'static> {
        let (memory_kib, passes) = match self {
            Self::Production => (19_456, 2),
            Self::Trivial => (Params::MIN_M_COST, 1),
        };
        let params = Params::new(memory_kib, passes, 1, None).expect("both costs are inside argon2's ranges");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("weak password")]
    Weak(Problem),
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes and checks passwords; cheap to clone, all clones share one bound.
#[derive(Clone)]
pub struct Passwords {
    cost: Cost,
    permits: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new(Cost::Production)
    }
}

impl Passwords {
    pub fn new(cost: Cost) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { cost, permits: Arc::new(Semaphore::new(cores)) }
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// [`HashError::Weak`], at `password`, when it is too short or too long.
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        user::password(&["password"], password).map_err(HashError::Weak)?;
        let (cost, password) = (self.cost, password.to_owned());
        let hash = self.reckon(move || {
            let salt = ambient::random_bytes::<16>();
            cost.argon2().hash_password_with_salt(password.as_bytes(), &salt).map(|hash| hash.to_string()).ok()
        });
        hash.await.flatten().ok_or(HashError::Failed)
    }

    /// Whether the password is the one behind the PHC string. Without a string (no such user, no password set) the
    /// answer is no, after the same time: how long it takes tells nobody who exists.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> bool {
        // None so long was ever hashed; its length is no secret either.
        if password.chars().count() > user::PASSWORD_MAX {
            return false;
        }
        let (cost, password, hash) = (self.cost, password.to_owned(), hash.map(ToOwned::to_owned));
        let verified = self.reckon(move || {
            let argon2 = cost.argon2();
            match hash {
                Some(hash) => argon2.verify_password(password.as_bytes(), hash.as_str()).is_ok(),
                None => {
                    let mut burnt = [0; Params::DEFAULT_OUTPUT_LEN];
                    let done = argon2.hash_password_into(password.as_bytes(), b"nobody's own salt", &mut burnt);
                    std::hint::black_box((done.is_ok(), burnt));
                    false
                }
            }
        });
        verified.await.unwrap_or(false)
    }

    /// Runs one reckoning on a blocking thread when there is room. None when it panicked or the process is ending.
    async fn reckon<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        // The permit goes along: a caller who hangs up frees the thread no sooner than the work is done.
        let work = move || {
            let _permit = permit;
            work()
        };
        task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::problem::ProblemCode;

    const PASSWORD: &str = "correct horse";

    #[tokio::test]
    async fn password_matches_its_own_hash_only() {
        let passwords = Passwords::new(Cost::Trivial);
        let hash = passwords.hash(PASSWORD).await.expect("long enough");
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert_ne!(hash, passwords.hash(PASSWORD).await.expect("long enough"), "salted");
        assert!(passwords.verify(PASSWORD, Some(&hash)).await);
        assert!(!passwords.verify("correct horsf", Some(&hash)).await);
        assert!(!passwords.verify(PASSWORD, Some("no PHC string")).await);
    }

    #[tokio::test]
    async fn absent_user_is_refused_after_the_same_work() {
        let passwords = Passwords::new(Cost::Trivial);
        assert!(!passwords.verify(PASSWORD, None).await);
        assert!(!passwords.verify("", None).await);
    }

    #[test]
    fn production_cost_is_what_owasp_names() {
        let argon2 = Cost::default().argon2();
        let params = argon2.params();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19_456, 2, 1));
    }

    #[tokio::test]
    async fn short_and_long_passwords_are_refused() {
        let passwords = Passwords::new(Cost::Trivial);
        for password in ["", "123456789", &"x".repeat(129)] {
            match passwords.hash(password).await {
                Err(HashError::Weak(problem)) => assert_eq!(problem.code, ProblemCode::WeakPassword),
                other => panic!("{other:?}"),
            }
        }
        assert!(passwords.hash(&"ü".repeat(128)).await.is_ok());
        assert!(!passwords.verify(&"x".repeat(129), None).await);
    }
}
