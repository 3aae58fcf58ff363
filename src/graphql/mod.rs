//! The GraphQL API: one file per noun, thin: parse the input, call the use case, translate the answer.
//!
//! # Adding a noun
//! A file with its types, a `XQuery` and a `XMutation` object, merged below; every field described, every root field
//! guarded by a permission. `make schema` regenerates `schema.graphql`; the tests that walk the schema then demand a
//! sample call for each ID argument and a row in the role matrix.

#[macro_use]
mod payload;

mod accounts;
mod affiliate_groups;
mod affiliates;
mod api_keys;
mod attribution;
mod awards;
mod bonus_rules;
mod campaigns;
mod caps;
mod change;
mod click_rates;
mod clicks;
mod commission_preview;
mod commissions;
mod connection;
pub mod context;
mod conversions;
mod coupons;
mod dashboard;
mod downloads;
mod earnings;
mod enrollments;
pub mod error;
mod events;
pub mod execution;
mod explanation;
mod fx_conversions;
mod fx_rates;
mod goals;
mod guard;
mod ids;
mod kinds;
mod labels;
mod ledger;
mod links;
pub mod live;
mod loaders;
mod node;
mod nullable;
mod override_plans;
mod payout_destinations;
mod payout_terms;
mod payouts;
mod persisted;
mod plans;
mod postbacks;
mod postings;
mod processors;
mod reports;
mod revenue_deals;
mod revenue_records;
mod revenue_settlements;
mod rules;
mod run;
mod scalars;
mod sessions;
mod statements;
mod subscriptions;
mod users;
mod variables;
mod viewer;

use async_graphql::{MergedObject, MergedSubscription, SDLExportOptions, Schema};

use connection::Paged;

/// Read everything.
#[derive(MergedObject, Default)]
pub struct Query(
    node::NodeQuery,
    viewer::ViewerQuery,
    campaigns::CampaignQuery,
    affiliates::AffiliateQuery,
    affiliate_groups::AffiliateGroupQuery,
    enrollments::EnrollmentQuery,
    links::LinkQuery,
    coupons::CouponQuery,
    clicks::ClickQuery,
    conversions::ConversionQuery,
    conversions::ConversionRunQuery,
    commissions::CommissionQuery,
    commission_preview::CommissionPreviewQuery,
    earnings::EarningsQuery,
    awards::AwardQuery,
    revenue_deals::RevenueDealQuery,
    revenue_records::RevenueRecordQuery,
    revenue_settlements::RevenueSettlementQuery,
    bonus_rules::BonusRuleQuery,
    ledger::LedgerQuery,
    accounts::AccountQuery,
    statements::StatementQuery,
    payouts::PayoutQuery,
    fx_rates::FxRateQuery,
    fx_conversions::FxConversionQuery,
    payouts::PayoutPreviewQuery,
    payouts::PayoutFileQuery,
    payout_destinations::PayoutDestinationQuery,
    payout_terms::PayoutTermsQuery,
    reports::ReportQuery,
    attribution::AttributionQuery,
    events::EventQuery,
    users::UserQuery,
    api_keys::ApiKeyQuery,
    postbacks::PostbackQuery,
    processors::ProcessorQuery,
);

/// Change something. Every input, or each of its items, takes an `idempotencyKey`; records of revenue have a reference instead.
#[derive(MergedObject, Default)]
pub struct Mutation(
    sessions::SessionMutation,
    users::UserMutation,
    api_keys::ApiKeyMutation,
    campaigns::CampaignMutation,
    goals::GoalMutation,
    caps::CapMutation,
    rules::RuleMutation,
    click_rates::ClickRateMutation,
    revenue_deals::RevenueDealMutation,
    override_plans::OverridePlanMutation,
    bonus_rules::BonusRuleMutation,
    affiliates::AffiliateMutation,
    affiliate_groups::AffiliateGroupMutation,
    enrollments::EnrollmentMutation,
    links::LinkMutation,
    coupons::CouponMutation,
    clicks::ClickMutation,
    conversions::ConversionMutation,
    awards::AwardMutation,
    revenue_records::RevenueRecordMutation,
    conversions::ConversionChangeMutation,
    conversions::ConversionRunMutation,
    payouts::PayoutMutation,
    payouts::PayoutFileMutation,
    postings::PostingMutation,
    postbacks::PostbackMutation,
    processors::ProcessorMutation,
    payout_destinations::PayoutDestinationMutation,
    payout_terms::PayoutTermsMutation,
    attribution::AttributionMutation,
    fx_rates::FxRateMutation,
    fx_conversions::FxConversionMutation,
    viewer::TenantMutation,
);

/// Watch.
#[derive(MergedSubscription, Default)]
pub struct Subscription(
    subscriptions::FeedSubscription,
    events::EventSubscription,
    dashboard::DashboardSubscription,
    attribution::AttributionSubscription,
    conversions::ConversionRunSubscription,
);

/// The whole schema.
pub type ApiSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema. Services and viewer come with each request (see [`context::RequestContext`]). In production its
/// errors suggest no names.
pub fn schema(is_production: bool) -> ApiSchema {
    let schema = Schema::build(Query::default(), Mutation::default(), Subscription::default());
    let schema = if is_production { schema.disable_suggestions() } else { schema };
    schema
        .extension(nullable::NullableFields)
        // The guard's own cap; the crate's is lower. What else bounds a document is the guard's, too.
        .limit_recursive_depth(guard::LEVELS)
        // The types that come from elsewhere, in our words.
        .override_output_type_description::<tributary_entity::Instant>(
            "An instant in RFC 3339, such as `2026-11-20T08:30:00Z`; answered in UTC, kept to the microsecond.",
        )
        .override_output_type_description::<Paged<affiliates::Affiliate>>("A page of affiliates.")
        .override_output_type_description::<Paged<api_keys::ApiKey>>("A page of API keys.")
        .override_output_type_description::<Paged<attribution::AttributionRun>>("A page of attribution runs.")
        .override_output_type_description::<Paged<awards::Award>>("A page of awards.")
        .override_output_type_description::<Paged<bonus_rules::BonusRule>>("A page of bonus rules.")
        .override_output_type_description::<Paged<campaigns::Campaign>>("A page of campaigns.")
        .override_output_type_description::<Paged<clicks::Click>>("A page of clicks.")
        .override_output_type_description::<Paged<commissions::Commission>>("A page of commissions.")
        .override_output_type_description::<Paged<conversions::Conversion>>("A page of conversions.")
        .override_output_type_description::<Paged<conversions::ConversionRun>>("A page of runs over conversions.")
        .override_output_type_description::<Paged<coupons::Coupon>>("A page of coupons.")
        .override_output_type_description::<Paged<enrollments::Enrollment>>("A page of enrollments.")
        .override_output_type_description::<Paged<fx_conversions::FxConversion>>("A page of converted balances.")
        .override_output_type_description::<Paged<fx_rates::FxRate>>("A page of exchange rates.")
        .override_output_type_description::<Paged<ledger::Journal>>("A page of journals.")
        .override_output_type_description::<Paged<links::Link>>("A page of links.")
        .override_output_type_description::<Paged<payouts::Payout>>("A page of payouts.")
        .override_output_type_description::<Paged<ledger::LedgerAccount>>("A page of accounts.")
        .override_output_type_description::<accounts::Entries>("A page of an account's entries.")
        .override_output_type_description::<Paged<payouts::PayoutBatch>>("A page of payout batches.")
        .override_output_type_description::<Paged<payouts::PayoutFile>>("A page of payout files.")
        .override_output_type_description::<Paged<payouts::PayoutNotice>>("A page of lines of banks' answers.")
        .override_output_type_description::<Paged<payouts::PayoutPreviewLine>>("A page of what a batch would do.")
        .override_output_type_description::<Paged<payout_terms::PayoutTerms>>("A page of payout terms.")
        .override_output_type_description::<Paged<postbacks::PostbackCall>>("A page of refused calls.")
        .override_output_type_description::<Paged<postbacks::PostbackEndpoint>>("A page of postback endpoints.")
        .override_output_type_description::<Paged<processors::ProcessorCall>>("A page of calls of processors.")
        .override_output_type_description::<Paged<processors::ReconciliationItem>>("A page of differences.")
        .override_output_type_description::<Paged<revenue_records::RevenueRecord>>("A page of revenue records.")
        .override_output_type_description::<Paged<revenue_settlements::RevenueSettlement>>(
            "A page of revenue settlements.",
        )
        .override_output_type_description::<Paged<users::User>>("A page of users.")
        .finish()
}

/// The schema in SDL, in a stable order: what `schema.graphql` holds.
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .use_space_ident();
    schema(false).sdl_with_options(options)
}
