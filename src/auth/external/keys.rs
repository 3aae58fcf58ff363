//! A provider's keys as this node knows them: fetched when first needed, refreshed before they run out, kept for a while
//! when the provider is away.
//!
//! One task fetches, so that there is never more than one request to the provider under way. Who needs a key that is not
//! there asks the task, once for all who ask, and not again for [`ASK_AGAIN`]: made-up key ids do not hammer the provider.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jsonwebtoken::Algorithm;
use std::sync::Arc;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    fetch::{FetchError, KeySet},
    key::VerifyingKey,
};
use crate::auth::AuthError;

/// How long after an unknown key id made the set be fetched another one may.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long a set is used after it should have been renewed, while the provider is away.
const GRACE: Duration = Duration::from_secs(3_600);
/// Of one fetch, discovery included.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between fetches that fail: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Fetches the set.
pub(super) type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<KeySet, FetchError>> + Send + Sync>;

#[derive(Default)]
struct Known {
    keys: Vec<Arc<VerifyingKey>>,
    usable_until: Option<Instant>,
    /// Fetches that have ended, well or not.
    fetches: u64,
}

impl Known {
    fn is_usable(&self) -> bool {
        self.usable_until.is_some_and(|end| Instant::now() < end)
    }

    /// The key that a token names; without a name, the only one of its kind.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<VerifyingKey>> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(kid, algorithm));
        let key = fitting.next().filter(|_| self.is_usable())?;
        (kid.is_some() || fitting.next().is_none()).then(|| Arc::clone(key))
    }
}

/// What made the task fetch out of turn.
#[derive(Default)]
struct Asked {
    /// After so many fetches.
    after: Option<u64>,
    at: Option<Instant>,
}

/// See the module.
pub(super) struct Keys {
    known: watch::Receiver<Known>,
    demand: Arc<Notify>,
    asked: Mutex<Asked>,
    task: AbortHandle,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keys {
    /// Nothing is fetched before the first token of the provider comes. `name` is for the log.
    pub(super) fn new(name: String, fetch: Fetch) -> Self {
        let (sender, known) = watch::channel(Known::default());
        let demand = Arc::new(Notify::new());
        let task = tokio::spawn(keep(name, fetch, sender, Arc::clone(&demand))).abort_handle();
        Self { known, demand, asked: Mutex::default(), task }
    }

    /// The key for a token.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] for one that the provider does not have; [`AuthError::Unavailable`] while its keys are not
    /// known.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<VerifyingKey>, AuthError> {
        let mut known = self.known.clone();
        let fetches = {
            let known = known.borrow();
            if let Some(key) = known.find(kid, algorithm) {
                return Ok(key);
            }
            known.fetches
        };
        if self.ask(fetches) {
            // The task outlives this, and a fetch has its own time limit.
            let _ = known.wait_for(|known| known.fetches > fetches).await;
        }
        let known = known.borrow();
        let absent = if known.is_usable() { AuthError::Invalid } else { AuthError::Unavailable };
        known.find(kid, algorithm).ok_or(absent)
    }

    /// Asks for a fetch. Whether there will be one soon, asked for now or by somebody before.
    fn ask(&self, fetches: u64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.after == Some(fetches) {
            return true;
        }
        if asked.at.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return false;
        }
        asked.after = Some(fetches);
        // The first fetch was nobody's guess: the next unknown key may be one that was made just after it.
        asked.at = (fetches > 0).then(Instant::now);
        self.demand.notify_one();
        true
    }
}

/// Fetches when first asked, before the set runs out, and whenever asked.
async fn keep(name: String, fetch: Fetch, known: watch::Sender<Known>, demand: Arc<Notify>) {
    demand.notified().await;
    let mut retry = RETRY.0;
    loop {
        let fetched = timeout(PATIENCE, fetch()).await.unwrap_or(Err(FetchError::TimedOut));
        let pause = match fetched {
            Ok(set) => {
                retry = RETRY.0;
                known.send_modify(|known| {
                    known.keys = set.keys.into_iter().map(Arc::new).collect();
                    known.usable_until = Some(Instant::now() + set.life + GRACE);
                    known.fetches += 1;
                });
                set.life * 4 / 5
            }
            Err(error) => {
                tracing::warn!(provider = name, %error, "the keys of an identity provider cannot be fetched");
                known.send_modify(|known| known.fetches += 1);
                let pause = retry;
                retry = (retry * 2).min(RETRY.1);
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = demand.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    const LIFE: Duration = Duration::from_secs(600);

    /// A provider that has what the test says.
    #[derive(Clone, Default)]
    struct Provider {
        kids: Arc<Mutex<Option<Vec<&'static str>>>>,
        fetches: Arc<AtomicUsize>,
    }

    impl Provider {
        fn with(kids: &[&'static str]) -> Self {
            let provider = Self::default();
            provider.has(Some(kids));
            provider
        }

        fn has(&self, kids: Option<&[&'static str]>) {
            *self.kids.lock().expect("not poisoned") = kids.map(<[_]>::to_vec);
        }

        fn keys(&self) -> Keys {
            let provider = self.clone();
            Keys::new("test".to_owned(), Box::new(move || Box::pin(provider.clone().answer())))
        }

        async fn answer(self) -> Result<KeySet, FetchError> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(100)).await;
            let kids = self.kids.lock().expect("not poisoned").clone().ok_or(FetchError::NoKeys)?;
            let key = |kid| {
                let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
                VerifyingKey::read(json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid })).expect("a key")
            };
            Ok(KeySet { keys: kids.into_iter().map(key).collect(), life: LIFE })
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    async fn find(keys: &Keys, kid: &str) -> Result<(), AuthError> {
        keys.find(Some(kid), Algorithm::EdDSA).await.map(drop)
    }

    fn is_invalid(result: Result<(), AuthError>) -> bool {
        matches!(result, Err(AuthError::Invalid))
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_need_the_first_set_fetch_it_once() {
        let provider = Provider::with(&["a"]);
        let keys = provider.keys();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(provider.fetches(), 0, "nobody asked");
        let all = futures_util::future::join_all((0..50).map(|_| find(&keys, "a"))).await;
        assert!(all.into_iter().all(|found| found.is_ok()));
        assert_eq!(provider.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_key_fetches_once_and_then_not_for_a_while() {
        let provider = Provider::with(&["a"]);
        let keys = provider.keys();
        find(&keys, "a").await.expect("known");
        provider.has(Some(&["a", "b"]));
        let all = futures_util::future::join_all((0..50).map(|_| find(&keys, "b"))).await;
        assert!(all.into_iter().all(|found| found.is_ok()), "a new key is found by all who wait for it");
        assert_eq!(provider.fetches(), 2);
        for kid in ["c", "d", "e"] {
            assert!(is_invalid(find(&keys, kid).await));
        }
        assert_eq!(provider.fetches(), 2, "made-up ids are not looked up");
        sleep(ASK_AGAIN).await;
        assert!(is_invalid(find(&keys, "c").await) && is_invalid(find(&keys, "d").await));
        assert_eq!(provider.fetches(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn set_is_renewed_before_it_runs_out_and_withdrawn_keys_go() {
        let provider = Provider::with(&["a"]);
        let keys = provider.keys();
        find(&keys, "a").await.expect("known");
        provider.has(Some(&["b"]));
        find(&keys, "a").await.expect("still used");
        sleep(LIFE).await;
        assert_eq!(provider.fetches(), 2);
        find(&keys, "b").await.expect("known");
        assert!(is_invalid(find(&keys, "a").await));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_kept_while_the_provider_is_away_but_not_for_ever() {
        let provider = Provider::with(&["a"]);
        let keys = provider.keys();
        find(&keys, "a").await.expect("known");
        provider.has(None);
        sleep(LIFE + GRACE / 2).await;
        find(&keys, "a").await.expect("kept");
        sleep(GRACE).await;
        assert!(matches!(find(&keys, "a").await, Err(AuthError::Unavailable)));
        provider.has(Some(&["a"]));
        sleep(RETRY.1 * 2).await;
        find(&keys, "a").await.expect("back");
    }

    #[tokio::test(start_paused = true)]
    async fn provider_that_is_away_from_the_start_is_tried_ever_more_rarely() {
        let provider = Provider::default();
        let keys = provider.keys();
        assert!(matches!(find(&keys, "a").await, Err(AuthError::Unavailable)));
        sleep(Duration::from_secs(300)).await;
        assert!((8..=20).contains(&provider.fetches()), "{}", provider.fetches());
        provider.has(Some(&["a"]));
        sleep(RETRY.1 * 2).await;
        find(&keys, "a").await.expect("known");
    }
}
