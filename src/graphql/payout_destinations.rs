//! Payout destinations.

use async_graphql::{Context, Description, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::{Instant, payout_destination};

use super::{
    affiliates::Affiliate,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::{PayoutMethod, UsAccountType},
    scalars::CurrencyCode,
};
use crate::{
    auth::Permission,
    domain::{
        payout_destination::{self as rules, Account, NewDestination},
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// Where an affiliate is paid in one currency. Never changed: another one takes its place.
#[derive(Description)]
pub(super) struct PayoutDestination(pub payout_destination::Model);

impl From<payout_destination::Model> for PayoutDestination {
    fn from(row: payout_destination::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PayoutDestination {
    /// Begins with `pde_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Who is paid.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// What it takes.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// Of which kind the account is.
    async fn method(&self) -> PayoutMethod {
        self.0.method.into()
    }

    /// Whose account it is, as the bank knows the name.
    async fn holder(&self) -> &str {
        &self.0.holder
    }

    /// The account as far as its owner needs to know it again, such as `DE89…3000`.
    async fn mask(&self) -> &str {
        &self.0.mask
    }

    /// The whole account, for who pays.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn account(&self) -> Result<PayoutAccount> {
        let account = rules::account(&self.0).ok_or(ServiceError::Internal("a stored account cannot be read"));
        Ok(account.or_graphql()?.into())
    }

    /// When it was set.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When another one took its place, or it was removed; null while it is in use.
    async fn ended_at(&self) -> Option<Instant> {
        self.0.ended_at
    }
}

/// An account to pay to. The fields of its kind are set.
#[derive(Default, SimpleObject)]
pub(super) struct PayoutAccount {
    /// MANUAL: how to pay.
    instructions: Option<String>,
    /// SEPA: the account's number, without spaces.
    iban: Option<String>,
    /// SEPA: the bank's code, where it was given.
    bic: Option<String>,
    /// ACH: the bank's number.
    routing_number: Option<String>,
    /// ACH: the account's number.
    account_number: Option<String>,
    /// ACH: of which type the account is.
    account_type: Option<UsAccountType>,
    /// PAYPAL: the account's address.
    email: Option<String>,
    /// WISE: the recipient.
    recipient_id: Option<String>,
    /// STRIPE: the connected account.
    account_id: Option<String>,
}

impl From<Account> for PayoutAccount {
    fn from(account: Account) -> Self {
        let none = Self::default();
        match account {
            Account::Manual { instructions } => Self { instructions: Some(instructions), ..none },
            Account::Sepa { iban, bic } => Self { iban: Some(iban), bic, ..none },
            Account::Ach { routing_number, account_number, is_savings } => Self {
                routing_number: Some(routing_number),
                account_number: Some(account_number),
                account_type: Some(if is_savings { UsAccountType::Savings } else { UsAccountType::Checking }),
                ..none
            },
            Account::Paypal { email } => Self { email: Some(email), ..none },
            Account::Wise { recipient_id } => Self { recipient_id: Some(recipient_id), ..none },
            Account::Stripe { account_id } => Self { account_id: Some(account_id), ..none },
        }
    }
}

#[derive(Default)]
pub(super) struct PayoutDestinationQuery;

#[Object]
impl PayoutDestinationQuery {
    /// One payout destination, in use or not, or null.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout_destination(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `pde_`.")] id: ID,
    ) -> Result<Option<PayoutDestination>> {
        let id = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.payout_destination().load_one(id).await.or_graphql()?.map(PayoutDestination))
    }
}

/// Where an affiliate wants to be paid.
#[derive(Clone, InputObject)]
pub(super) struct SetPayoutDestinationInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `aff_`. An affiliate can leave it out: it sets its own.
    affiliate_id: Option<ID>,
    /// What the account is to take.
    currency: CurrencyCode,
    /// Whose account it is, as the bank knows the name; at most 70 characters.
    holder: String,
    /// The account.
    account: PayoutAccountInput,
}

/// An account to pay to: exactly one of these.
#[derive(Clone, OneofObject)]
pub(super) enum PayoutAccountInput {
    /// A person reads how to pay.
    Manual(ManualAccountInput),
    /// A bank account in the Single Euro Payments Area; takes EUR.
    Sepa(SepaAccountInput),
    /// A bank account in the United States; takes USD.
    Ach(AchAccountInput),
    /// An account at PayPal.
    Paypal(PaypalAccountInput),
    /// A recipient at Wise.
    Wise(WiseAccountInput),
    /// A connected account at Stripe.
    Stripe(StripeAccountInput),
}

/// How to pay by hand.
#[derive(Clone, InputObject)]
pub(super) struct ManualAccountInput {
    /// For people; at most 2,000 characters.
    instructions: String,
}

/// A bank account in the Single Euro Payments Area.
#[derive(Clone, InputObject)]
pub(super) struct SepaAccountInput {
    /// The account's number, with or without spaces; its form and check digits are verified.
    iban: String,
    /// The bank's code; not needed inside the area.
    bic: Option<String>,
}

/// A bank account in the United States.
#[derive(Clone, InputObject)]
pub(super) struct AchAccountInput {
    /// The bank's number (ABA): nine digits, the last of which is verified.
    routing_number: String,
    /// The account's number: at most 17 characters.
    account_number: String,
    /// Of which type the account is.
    account_type: UsAccountType,
}

/// An account at PayPal.
#[derive(Clone, InputObject)]
pub(super) struct PaypalAccountInput {
    /// The account's address.
    email: String,
}

/// A recipient at Wise.
#[derive(Clone, InputObject)]
pub(super) struct WiseAccountInput {
    /// The recipient's number or UUID there.
    recipient_id: String,
}

/// A connected account at Stripe.
#[derive(Clone, InputObject)]
pub(super) struct StripeAccountInput {
    /// Begins with `acct_`.
    account_id: String,
}

impl From<PayoutAccountInput> for Account {
    fn from(input: PayoutAccountInput) -> Self {
        use PayoutAccountInput as Input;
        match input {
            Input::Manual(ManualAccountInput { instructions }) => Self::Manual { instructions },
            Input::Sepa(SepaAccountInput { iban, bic }) => Self::Sepa { iban, bic },
            Input::Ach(AchAccountInput { routing_number, account_number, account_type }) => {
                Self::Ach { routing_number, account_number, is_savings: account_type == UsAccountType::Savings }
            }
            Input::Paypal(PaypalAccountInput { email }) => Self::Paypal { email },
            Input::Wise(WiseAccountInput { recipient_id }) => Self::Wise { recipient_id },
            Input::Stripe(StripeAccountInput { account_id }) => Self::Stripe { account_id },
        }
    }
}

impl SetPayoutDestinationInput {
    fn parse(self) -> Result<NewDestination, Problem> {
        Ok(NewDestination {
            affiliate_id: ids::parse_optional(&["affiliateId"], self.affiliate_id.as_ref())?,
            currency: self.currency.currency(&[])?,
            holder: self.holder,
            account: self.account.into(),
        })
    }
}

/// Names a payout destination to remove.
#[derive(Clone, InputObject)]
pub(super) struct RemovePayoutDestinationInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pde_`.
    id: ID,
}

payload! {
    /// The payout destination after the call.
    PayoutDestinationPayload {
        /// Null when the call was refused.
        payout_destination: PayoutDestination
    }
}

#[derive(Default)]
pub(super) struct PayoutDestinationMutation;

#[Object]
impl PayoutDestinationMutation {
    /// Sets where an affiliate is paid in a currency, in place of what was set before. Payouts that are drafted already
    /// keep theirs. An affiliate sets its own.
    #[graphql(guard = "Needs(Permission::ManageDestinations)")]
    async fn set_payout_destination(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The destination.")] input: SetPayoutDestinationInput,
    ) -> Result<PayoutDestinationPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result =
            async { services::payout_destinations::set(services, viewer, key.as_deref(), input.parse()?).await };
        PayoutDestinationPayload::answer(result.await)
    }

    /// Removes a payout destination: the affiliate has none in its currency then.
    #[graphql(guard = "Needs(Permission::ManageDestinations)")]
    async fn remove_payout_destination(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: RemovePayoutDestinationInput,
    ) -> Result<PayoutDestinationPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            services::payout_destinations::remove(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PayoutDestinationPayload::answer(result.await)
    }
}
