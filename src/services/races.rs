//! Steps of long work, done again when they lose a race for locks.

use super::ServiceError;

/// Races that a step may lose before its work waits for its next turn.
const RACES: usize = 5;

/// Does a step, which is one transaction, until it loses no race. Answers what it answers.
///
/// # Errors
/// As the step; a conflict when it lost too many.
pub(super) async fn outlast<F, T>(step: impl Fn() -> F) -> Result<T, ServiceError>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    for _ in 0..RACES {
        match step().await {
            Err(ServiceError::Store(error)) if error.is_conflict() => {}
            result => return result,
        }
    }
    step().await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;
    use crate::store::error::StoreError;

    /// How often a step is done that loses its first races, and what comes of it.
    async fn done(lost: usize) -> (usize, Result<(), ServiceError>) {
        let count = Cell::new(0);
        let result = outlast(|| {
            count.set(count.get() + 1);
            ready(if count.get() > lost { Ok(()) } else { Err(StoreError::raced("a row").into()) })
        });
        let result = result.await;
        (count.get(), result)
    }

    #[tokio::test]
    async fn step_is_done_until_it_loses_no_race_or_too_many() {
        assert!(matches!(done(0).await, (1, Ok(()))));
        assert!(matches!(done(RACES).await, (6, Ok(()))));
        assert!(matches!(done(RACES + 1).await, (6, Err(error)) if error.is_transient()));
        let failed = outlast(|| ready(Err::<(), _>(ServiceError::Internal("a defect")))).await;
        assert!(matches!(failed, Err(ServiceError::Internal(_))));
    }
}
