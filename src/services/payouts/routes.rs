//! By which method each affiliate of a batch is paid, to where, and how much of its balance that can pay.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    ids::{AffiliateId, PayoutDestinationId},
    kinds::PayoutMethod,
    money::{Currency, Money},
};

use crate::{
    processors::{is_processor, unit},
    store::{error::StoreError, payout_destinations, processors, scope::Tx},
};

/// How an affiliate is paid in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub method: PayoutMethod,
    /// None where nothing was set: a person finds out.
    pub destination_id: Option<PayoutDestinationId>,
}

impl Route {
    const BY_HAND: Self = Self { method: PayoutMethod::Manual, destination_id: None };

    /// What of an available amount is paid; the rest stays. None when it is too little to pay.
    pub fn payable(self, available: Money) -> Option<i64> {
        match unit(self.method, available.currency) {
            Some(unit) => unit.floor(available),
            None => Some(available.amount_minor),
        }
    }
}

/// The routes of affiliates in a currency.
pub(super) struct Routes(BTreeMap<AffiliateId, Route>);

impl Routes {
    /// Reads them: the affiliate's destination, and whether the tenant has set up its processor. Otherwise a person pays.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn read(tx: &Tx, currency: Currency, ids: &[AffiliateId]) -> Result<Self, StoreError> {
        let set_up: BTreeSet<PayoutMethod> = processors::methods(tx).await?;
        let destinations = payout_destinations::live(tx, currency, ids).await?;
        let route = |id: AffiliateId, (destination_id, method): (PayoutDestinationId, PayoutMethod)| {
            let is_missing = is_processor(method) && !(set_up.contains(&method) && unit(method, currency).is_some());
            let method = if is_missing { PayoutMethod::Manual } else { method };
            (id, Route { method, destination_id: Some(destination_id) })
        };
        Ok(Self(destinations.into_iter().map(|(id, found)| route(id, found)).collect()))
    }

    pub fn of(&self, id: AffiliateId) -> Route {
        self.0.get(&id).copied().unwrap_or(Route::BY_HAND)
    }
}
