//! A change to a value that may be missing: leaving it, clearing it and setting it are three things.

use serde::Serialize;

/// What an update does to an optional value. Not an `Option<Option<T>>`: that serializes keeping and clearing alike, and
/// an idempotency key must tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none from now on.
    Clear,
    /// It is this from now on.
    Set(T),
}

impl<T> Change<T> {
    /// Checks a new value; one that comes to nothing clears.
    ///
    /// # Errors
    /// As `check` answers.
    pub fn check<E>(&self, check: impl FnOnce(&T) -> Result<Option<T>, E>) -> Result<Self, E>
    where
        T: Clone,
    {
        Ok(match self {
            Self::Keep => Self::Keep,
            Self::Clear => Self::Clear,
            Self::Set(value) => check(value)?.map_or(Self::Clear, Self::Set),
        })
    }

    /// The change with its new value as something else.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(with(value)),
        }
    }

    /// The value after the change.
    pub fn apply(self, slot: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *slot = None,
            Self::Set(value) => *slot = Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_clear_and_set_differ_also_when_serialized() {
        let all = [Change::Keep, Change::Clear, Change::Set(1)];
        let applied = all.clone().map(|change| {
            let mut slot = Some(0);
            change.apply(&mut slot);
            slot
        });
        assert_eq!(applied, [Some(0), None, Some(1)]);
        let texts = all.map(|change| serde_json::to_string(&change).expect("serializes"));
        assert!(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2], "{texts:?}");
    }

    #[test]
    fn value_that_comes_to_nothing_clears() {
        let check = |text: &&'static str| Ok::<_, ()>((!text.is_empty()).then_some(*text));
        assert_eq!(Change::Set("").check(check), Ok(Change::Clear));
        assert_eq!(Change::Set("a").check(check), Ok(Change::Set("a")));
        assert_eq!(Change::Keep.check(check), Ok(Change::Keep));
        assert_eq!(Change::<&str>::Clear.check(|_| Err(())), Ok(Change::Clear));
    }
}
