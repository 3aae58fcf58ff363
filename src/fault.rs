//! Points at which a test ends the process, as if it were killed just there. Nothing without the feature `failpoints`,
//! which the tests' builds alone have.

/// Aborts the process the nth time that a step of this name is reached, where `TRIBUTARY_TEST_FAIL` is `name:n`.
#[cfg(feature = "failpoints")]
pub fn point(name: &str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("TRIBUTARY_TEST_FAIL").ok()?;
        let (name, number) = wanted.rsplit_once(':')?;
        Some((name.to_owned(), number.parse().ok()?))
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    if let Some((wanted, number)) = &*WANTED
        && wanted == name
        && REACHED.fetch_add(1, Relaxed) + 1 == *number
    {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn point(_name: &str) {}
