//! Compares the books of processors, once for each day that is over.

use chrono::{Days, TimeDelta};

use crate::{
    services::{ServiceError, Services, processors::reconcile},
    store::directory,
};

/// How long after a day's end its books are compared: what was paid late in it is known here by then.
const SETTLES: TimeDelta = TimeDelta::hours(2);

/// Compares the books of every tenant's processors up to yesterday's, where that was not done yet. Answers how many days.
/// Books that cannot be had now are asked for again at the next turn.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let yesterday = (services.now() - SETTLES).date_naive() - Days::new(1);
    let mut compared = 0;
    for scope in directory::tenants(&services.db).await? {
        compared += reconcile::up_to(services, &scope, yesterday).await?;
    }
    Ok(compared)
}
