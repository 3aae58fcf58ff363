//! By which method each affiliate of a batch is paid, to where, what is taken off, and how much of its balance that can pay.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    ids::{AffiliateId, PayoutDestinationId},
    kinds::{PayoutMethod, PayoutSkipReason},
    money::{Currency, Money},
    payout_terms,
};

use crate::{
    domain::{
        payout_deductions::{Amounts, Deductions},
        payout_terms::{Candidate, Choice},
    },
    processors::{is_processor, unit},
    store::{error::StoreError, payout_destinations, payout_terms as store, processors, scope::Tx},
};

/// How an affiliate is paid in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub method: PayoutMethod,
    /// None where nothing was set: a person finds out.
    pub destination_id: Option<PayoutDestinationId>,
    pub deductions: Deductions,
}

impl Route {
    /// What of an available amount is paid; the rest stays. None when it is too little to pay.
    pub fn payable(self, available: Money) -> Option<Amounts> {
        let unit = unit(self.method, available.currency);
        let floor = |net| match unit {
            Some(unit) => unit.floor(Money::new(net, available.currency)),
            None => Some(net),
        };
        self.deductions.cut(available.amount_minor, floor)
    }

    /// What somebody is paid of what it has in a currency.
    ///
    /// # Errors
    /// Why it is passed over.
    pub fn amounts(
        self,
        choice: &Choice,
        candidate: &Candidate,
        currency: Currency,
    ) -> Result<Amounts, PayoutSkipReason> {
        let available = Money::new(choice.amount(candidate)?, currency);
        self.payable(available).ok_or(PayoutSkipReason::BelowMinimum)
    }
}

/// The routes of affiliates in a currency.
pub(super) struct Routes {
    destinations: BTreeMap<AffiliateId, (PayoutDestinationId, PayoutMethod)>,
    terms: BTreeMap<AffiliateId, payout_terms::Model>,
    default_terms: Option<payout_terms::Model>,
}

impl Routes {
    /// Reads them: the affiliate's destination, whether the tenant has set up its processor (otherwise a person pays), and the
    /// terms.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn read(tx: &Tx, currency: Currency, ids: &[AffiliateId]) -> Result<Self, StoreError> {
        let set_up: BTreeSet<PayoutMethod> = processors::methods(tx).await?;
        let destinations = payout_destinations::live(tx, currency, ids).await?;
        let by = |method: PayoutMethod| {
            let is_missing = is_processor(method) && !(set_up.contains(&method) && unit(method, currency).is_some());
            if is_missing { PayoutMethod::Manual } else { method }
        };
        let destinations = destinations.into_iter().map(|(id, (to, method))| (id, (to, by(method)))).collect();
        let (mut terms, mut default_terms) = (BTreeMap::new(), None);
        for row in store::of_affiliates(tx, currency, ids).await? {
            match row.affiliate_id {
                Some(id) => drop(terms.insert(id, row)),
                None => default_terms = Some(row),
            }
        }
        Ok(Self { destinations, terms, default_terms })
    }

    pub fn of(&self, id: AffiliateId) -> Route {
        let found = self.destinations.get(&id);
        Route {
            method: found.map_or(PayoutMethod::Manual, |(_, method)| *method),
            destination_id: found.map(|(destination_id, _)| *destination_id),
            deductions: Deductions::of_terms(self.terms.get(&id), self.default_terms.as_ref()),
        }
    }
}
