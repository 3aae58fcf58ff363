//! Settings: defaults, then a TOML file, then the environment; validated before anything starts.
//!
//! # Decisions
//! - `DATABASE_URL` and `REDIS_URL` are the two that make it production: with a database server configured, `serve`
//!   refuses to start without a signing secret. The embedded default makes its own and keeps it beside the data.
//! - An unknown name in the file or under `TRIBUTARY_` is an error: a misspelt setting must not be a silent default.

pub mod identity;
mod list;

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use identity::IdentityProvider;

/// The settings file that is read when it exists and `TRIBUTARY_CONFIG` names no other.
pub const DEFAULT_FILE: &str = "tributary.toml";

const REDIS_SCHEMES: [&str; 4] = ["redis", "rediss", "redis-cluster", "rediss-cluster"];

/// Everything that can be set. The README lists them; a test holds the list to this struct.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of the embedded database and of the signing secret that the embedded default makes.
    pub data_dir: PathBuf,
    /// `postgres://user:password@host/database`; none means the embedded database.
    pub database_url: Option<String>,
    /// The same database as a user who may change the schema, when `database_url`'s may not.
    pub database_admin_url: Option<String>,
    /// Connections to PostgreSQL per process; as many to the replica.
    pub database_connections: u32,
    /// A streaming standby of the database, which answers queries; none: the database does.
    pub database_replica_url: Option<String>,
    /// How old the state of the replica may be, in milliseconds.
    pub database_replica_max_lag_ms: u64,
    /// `redis://host`, or `redis-cluster://host,host` of a cluster, `rediss` for TLS; none means the in-process bus and
    /// counters.
    pub redis_url: Option<String>,
    /// `production` or `development`; by default production when `database_url` is set.
    pub mode: Option<Mode>,
    /// Signs access tokens and cursors; at least 32 characters, the same on every node.
    pub secret: Option<String>,
    /// `iss` of our own tokens.
    pub issuer: String,
    /// Who else may issue access tokens, each for tenants that are named.
    pub identity_providers: Vec<IdentityProvider>,
    /// Life of an access token.
    pub access_token_secs: i64,
    /// Life of a refresh token since its last use.
    pub refresh_token_secs: i64,
    /// How long idempotency keys are kept; at least 7 days.
    pub idempotency_days: i64,
    /// How old a conversion may be when it is recorded.
    pub conversion_max_age_days: i64,
    /// Calls of one postback endpoint in a minute; 0 is without limit.
    pub postbacks_per_minute: u32,
    /// How long refused calls of postback endpoints are kept.
    pub postback_call_days: i64,
    /// Items that may wait in one tenant's ingest lane; more are refused with OVERLOADED.
    pub ingest_queue_items: usize,
    /// Items of one ingest transaction.
    pub ingest_batch_items: usize,
    /// Folder of clicks that wait for the database, of this node alone; none means `spool` in `data_dir`.
    pub spool_dir: Option<PathBuf>,
    /// Bytes of clicks that may wait in it; past them a click is refused with OVERLOADED.
    pub spool_max_bytes: u64,
    /// How many months of clicks are kept, the current one not counted; 0 keeps all.
    pub click_retention_months: u32,
    /// Links that a node remembers, to redirect without the database.
    pub link_cache_entries: u64,
    /// The most points that one request may cost.
    pub largest_cost: u64,
    /// Points per second of all a tenant's requests together; 0 is without limit.
    pub tenant_points_per_second: u64,
    /// Points per second of one user or API key; 0 is without limit.
    pub user_points_per_second: u64,
    /// Points per second of one client address without a credential; 0 is without limit.
    pub anonymous_points_per_second: u64,
    /// Seconds of points that a budget holds at most.
    pub budget_burst_secs: u64,
    /// How long a query or mutation may run.
    pub request_timeout_secs: u64,
    /// A JSON file of hashes and documents: only these are executed, but for operators.
    pub trusted_documents: Option<PathBuf>,
    /// The address that clients reach this server by, for printed links; by default made from `listen`.
    pub public_url: Option<String>,
    /// Where Stripe's API is.
    pub stripe_url: String,
    /// Where PayPal's API is.
    pub paypal_url: String,
    /// Where Wise's API is.
    pub wise_url: String,
    /// A PEM file with the public key that Wise signs its calls with; none: they are all refused.
    pub wise_public_key: Option<PathBuf>,
    /// How long a call to a processor may take.
    pub processor_timeout_secs: u64,
    /// What a scraper of `/metrics` has to send as bearer token; none: open in development, not there in production.
    pub metrics_token: Option<String>,
    /// Origins of web pages, besides our own, that may use the API: `https://app.example.com`.
    #[serde(deserialize_with = "list::deserialize")]
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed: `10.0.0.0/8`.
    #[serde(deserialize_with = "list::deserialize")]
    pub trusted_proxies: Vec<IpNet>,
    /// Public keys of earlier secrets, whose seals on ledgers still count: 64 hexadecimal digits each.
    #[serde(deserialize_with = "list::deserialize")]
    pub ledger_keys: Vec<LedgerKey>,
    /// How long what is posted to ledgers stays unsealed, in seconds.
    pub ledger_seal_secs: u64,
    /// A country database in MaxMind's format; none: countries are not known.
    pub geoip_database: Option<PathBuf>,
    /// Where the ECB's reference rates are fetched from, XML or CSV; none: rates are set and imported through the API.
    pub fx_feed_url: Option<String>,
    /// How long visitors' address hashes can be compared: their keys are destroyed after this.
    pub address_key_days: u64,
    /// Open sockets and streams of one user or key, per node.
    pub sockets_per_user: usize,
    /// Open sockets and streams of one tenant, per node.
    pub sockets_per_tenant: usize,
    /// How long a socket or stream may stand before its client has to come back.
    pub connection_max_secs: u64,
    /// How long a node that ends says so at `/readyz` before it closes anything.
    pub drain_notice_secs: u64,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// Where traces are collected, by OTLP over HTTP: `http://collector:4318`; none: nowhere.
    pub otlp_endpoint: Option<String>,
    /// `service.name` of our traces.
    pub otlp_service_name: String,
    /// The share of traces that are exported, of those that begin here.
    pub otlp_sample_ratio: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Development,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: PathBuf::from(".tributary"),
            database_url: None,
            database_admin_url: None,
            database_connections: 10,
            database_replica_url: None,
            database_replica_max_lag_ms: 1_000,
            redis_url: None,
            mode: None,
            secret: None,
            issuer: "tributary".to_owned(),
            identity_providers: Vec::new(),
            access_token_secs: 900,
            refresh_token_secs: 30 * 86_400,
            idempotency_days: 30,
            // Old books can be imported; what a broken clock calls 1970 cannot.
            conversion_max_age_days: 50 * 365,
            postbacks_per_minute: 60_000,
            postback_call_days: 14,
            ingest_queue_items: 20_000,
            ingest_batch_items: 1_000,
            spool_dir: None,
            spool_max_bytes: 1 << 30,
            click_retention_months: 0,
            link_cache_entries: 100_000,
            largest_cost: 50_000,
            tenant_points_per_second: 500_000,
            user_points_per_second: 500_000,
            anonymous_points_per_second: 10_000,
            budget_burst_secs: 10,
            request_timeout_secs: 30,
            trusted_documents: None,
            public_url: None,
            stripe_url: "https://api.stripe.com".to_owned(),
            paypal_url: "https://api-m.paypal.com".to_owned(),
            wise_url: "https://api.wise.com".to_owned(),
            wise_public_key: None,
            processor_timeout_secs: 30,
            metrics_token: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            ledger_keys: Vec::new(),
            ledger_seal_secs: 10,
            geoip_database: None,
            fx_feed_url: None,
            address_key_days: 30,
            sockets_per_user: 1_000,
            sockets_per_tenant: 20_000,
            connection_max_secs: 4 * 3_600,
            drain_notice_secs: 0,
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            otlp_service_name: "tributary".to_owned(),
            otlp_sample_ratio: 1.0,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Unreadable(Box<figment::Error>),
    #[error("{name}: {why}")]
    Invalid { name: &'static str, why: &'static str },
    #[error("TRIBUTARY_IDENTITY_PROVIDERS: {0}")]
    IdentityProviders(String),
}

impl Settings {
    /// Reads file and environment over the defaults, and validates.
    ///
    /// # Errors
    /// [`ConfigError`], naming the setting.
    pub fn load() -> Result<Self, ConfigError> {
        let file = std::env::var("TRIBUTARY_CONFIG");
        let toml = match &file {
            Ok(path) => Toml::file_exact(path),
            Err(_) => Toml::file(DEFAULT_FILE),
        };
        let figment = Figment::from(Serialized::defaults(Self::default()))
            .merge(toml)
            .merge(Env::raw().only(&["DATABASE_URL", "REDIS_URL"]))
            // CONFIG is the file's own name, TEST_ belongs to the test command, and the list is JSON.
            .merge(
                Env::prefixed("TRIBUTARY_")
                    .filter(|name| name != "CONFIG" && name != "IDENTITY_PROVIDERS" && !name.starts_with("TEST_")),
            );
        Self::from_figment(figment, std::env::var("TRIBUTARY_IDENTITY_PROVIDERS").ok().as_deref())
    }

    /// `identity_providers` is JSON that takes the place of the file's list.
    fn from_figment(figment: Figment, identity_providers: Option<&str>) -> Result<Self, ConfigError> {
        let mut settings: Self = figment.extract().map_err(|error| ConfigError::Unreadable(Box::new(error)))?;
        if let Some(json) = identity_providers {
            settings.identity_providers =
                serde_json::from_str(json).map_err(|error| ConfigError::IdentityProviders(error.to_string()))?;
        }
        settings.validate()?;
        Ok(settings)
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |name, why| Err(ConfigError::Invalid { name, why });
        let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if self.database_url.as_deref().is_some_and(|url| !is_postgres(url)) {
            return invalid("DATABASE_URL", "must begin with postgres://");
        }
        if self.database_admin_url.as_deref().is_some_and(|url| !is_postgres(url)) {
            return invalid("TRIBUTARY_DATABASE_ADMIN_URL", "must begin with postgres://");
        }
        if self.database_replica_url.as_deref().is_some_and(|url| !is_postgres(url)) {
            return invalid("TRIBUTARY_DATABASE_REPLICA_URL", "must begin with postgres://");
        }
        if self.database_replica_url.is_some() && self.database_url.is_none() {
            return invalid(
                "TRIBUTARY_DATABASE_REPLICA_URL",
                "is of the database that DATABASE_URL names, and none is named",
            );
        }
        if !(200..=60_000).contains(&self.database_replica_max_lag_ms) {
            return invalid("TRIBUTARY_DATABASE_REPLICA_MAX_LAG_MS", "from 200 to 60000");
        }
        let is_redis = |url: &str| url.split_once("://").is_some_and(|(scheme, _)| REDIS_SCHEMES.contains(&scheme));
        if self.redis_url.as_deref().is_some_and(|url| !is_redis(url)) {
            return invalid("REDIS_URL", "must begin with redis://, rediss://, redis-cluster:// or rediss-cluster://");
        }
        if self.secret.as_deref().is_some_and(|secret| secret.len() < 32) {
            return invalid("TRIBUTARY_SECRET", "must have at least 32 characters");
        }
        if self.metrics_token.as_deref().is_some_and(|token| token.len() < 16) {
            return invalid("TRIBUTARY_METRICS_TOKEN", "must have at least 16 characters");
        }
        if !(2..=200).contains(&self.database_connections) {
            return invalid("TRIBUTARY_DATABASE_CONNECTIONS", "from 2 to 200");
        }
        if !(60..=86_400).contains(&self.access_token_secs) {
            return invalid("TRIBUTARY_ACCESS_TOKEN_SECS", "from a minute to a day");
        }
        if !(3_600..=366 * 86_400).contains(&self.refresh_token_secs) {
            return invalid("TRIBUTARY_REFRESH_TOKEN_SECS", "from an hour to a year");
        }
        if self.idempotency_days < 7 {
            return invalid("TRIBUTARY_IDEMPOTENCY_DAYS", "at least 7");
        }
        if !(1..=100_000).contains(&self.conversion_max_age_days) {
            return invalid("TRIBUTARY_CONVERSION_MAX_AGE_DAYS", "from 1 to 100000");
        }
        if !(1..=366).contains(&self.postback_call_days) {
            return invalid("TRIBUTARY_POSTBACK_CALL_DAYS", "from 1 to 366");
        }
        if !(1..=10_000).contains(&self.ingest_batch_items) {
            return invalid("TRIBUTARY_INGEST_BATCH_ITEMS", "from 1 to 10000");
        }
        if self.ingest_queue_items < 1_000 {
            return invalid("TRIBUTARY_INGEST_QUEUE_ITEMS", "at least 1000, the size of one call's batch");
        }
        if self.spool_max_bytes < 1 << 20 {
            return invalid("TRIBUTARY_SPOOL_MAX_BYTES", "at least 1048576");
        }
        if self.click_retention_months > 1_200 {
            return invalid("TRIBUTARY_CLICK_RETENTION_MONTHS", "at most 1200; 0 keeps all clicks");
        }
        // A key that is sent again answers the click that it recorded.
        if self.click_retention_months > 0 && i64::from(self.click_retention_months) * 28 < self.idempotency_days {
            return invalid(
                "TRIBUTARY_CLICK_RETENTION_MONTHS",
                "at least as long as TRIBUTARY_IDEMPOTENCY_DAYS; 0 keeps all",
            );
        }
        if !(100..=100_000_000).contains(&self.link_cache_entries) {
            return invalid("TRIBUTARY_LINK_CACHE_ENTRIES", "from 100 to 100000000");
        }
        if !(1_000..=1_000_000_000).contains(&self.largest_cost) {
            return invalid("TRIBUTARY_LARGEST_COST", "from 1000 to 1000000000");
        }
        if !(1..=3_600).contains(&self.budget_burst_secs) {
            return invalid("TRIBUTARY_BUDGET_BURST_SECS", "from 1 to 3600");
        }
        for (name, rate) in [
            ("TRIBUTARY_TENANT_POINTS_PER_SECOND", self.tenant_points_per_second),
            ("TRIBUTARY_USER_POINTS_PER_SECOND", self.user_points_per_second),
            ("TRIBUTARY_ANONYMOUS_POINTS_PER_SECOND", self.anonymous_points_per_second),
        ] {
            if rate > 1_000_000_000 {
                return invalid(name, "at most 1000000000; 0 is without limit");
            }
        }
        if !(1..=600).contains(&self.request_timeout_secs) {
            return invalid("TRIBUTARY_REQUEST_TIMEOUT_SECS", "from a second to ten minutes");
        }
        for (name, url) in [
            ("TRIBUTARY_STRIPE_URL", &self.stripe_url),
            ("TRIBUTARY_PAYPAL_URL", &self.paypal_url),
            ("TRIBUTARY_WISE_URL", &self.wise_url),
        ] {
            if !identity::may_fetch(url, !self.is_production()) {
                return invalid(name, "must be https, or on this machine");
            }
        }
        if !(1..=120).contains(&self.processor_timeout_secs) {
            return invalid("TRIBUTARY_PROCESSOR_TIMEOUT_SECS", "from 1 to 120");
        }
        if !self.allowed_origins.iter().all(|origin| is_origin(origin)) {
            return invalid(
                "TRIBUTARY_ALLOWED_ORIGINS",
                "must be origins: http:// or https://, a host, nothing behind",
            );
        }
        let may_fetch = |url: &String| identity::may_fetch(url, !self.is_production());
        if !self.fx_feed_url.as_ref().is_none_or(may_fetch) {
            return invalid("TRIBUTARY_FX_FEED_URL", "must begin with https://");
        }
        if !(1..=86_400).contains(&self.ledger_seal_secs) {
            return invalid("TRIBUTARY_LEDGER_SEAL_SECS", "from a second to a day");
        }
        if !(1..=400).contains(&self.address_key_days) {
            return invalid("TRIBUTARY_ADDRESS_KEY_DAYS", "from 1 to 400");
        }
        if self.sockets_per_user == 0 {
            return invalid("TRIBUTARY_SOCKETS_PER_USER", "at least 1");
        }
        if self.sockets_per_tenant == 0 {
            return invalid("TRIBUTARY_SOCKETS_PER_TENANT", "at least 1");
        }
        if !(1..=30 * 86_400).contains(&self.connection_max_secs) {
            return invalid("TRIBUTARY_CONNECTION_MAX_SECS", "from a second to 30 days");
        }
        if self.drain_notice_secs > 300 {
            return invalid("TRIBUTARY_DRAIN_NOTICE_SECS", "at most 300");
        }
        if !self.otlp_endpoint.as_ref().is_none_or(|url| is_endpoint(url)) {
            return invalid("TRIBUTARY_OTLP_ENDPOINT", "must begin with http:// or https://, without a query");
        }
        if self.otlp_service_name.is_empty() {
            return invalid("TRIBUTARY_OTLP_SERVICE_NAME", "must not be empty");
        }
        if !(0.0..=1.0).contains(&self.otlp_sample_ratio) {
            return invalid("TRIBUTARY_OTLP_SAMPLE_RATIO", "from 0 to 1");
        }
        identity::validate(&self.identity_providers, &self.issuer, !self.is_production())
            .map_err(ConfigError::IdentityProviders)
    }

    /// Whether nothing may be taken for granted: explicit, or implied by a database server.
    pub fn is_production(&self) -> bool {
        self.mode.map_or(self.database_url.is_some(), |mode| mode == Mode::Production)
    }

    /// The address for printed links, without a slash at the end.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }

    /// Where clicks wait for the database.
    pub fn spool_folder(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(|| self.data_dir.join("spool"))
    }

    /// The embedded database's file.
    pub fn database_file(&self) -> PathBuf {
        self.data_dir.join("tributary.db")
    }
}

/// A public key of the seal on ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerKey(pub [u8; 32]);

impl Serialize for LedgerKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// An address that a path can be put behind.
fn is_endpoint(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none())
}

/// As browsers write it: scheme and host, perhaps a port.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_with_commas_and_as_lists() {
        let read = |toml: &str| {
            let defaults = Figment::from(Serialized::defaults(Settings::default()));
            Settings::from_figment(defaults.merge(Toml::string(toml)), None)
        };
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"].map(|net| net.parse().expect("good")).into();
        let inline = read("trusted_proxies = \"10.0.0.0/8, 192.0.2.7,fd00::/8\"").expect("good");
        assert_eq!(inline.trusted_proxies, proxies);
        let list = read("trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"fd00::/8\"]").expect("good");
        assert_eq!(list.trusted_proxies, proxies);
        assert!(read("trusted_proxies = \"\"").expect("good").trusted_proxies.is_empty());
        assert!(read("trusted_proxies = \"somewhere\"").is_err());
        let origins = read("allowed_origins = \"https://a.test,http://localhost:3000\"").expect("good").allowed_origins;
        assert_eq!(origins, ["https://a.test", "http://localhost:3000"]);
        for origin in ["*", "a.test", "https://", "https://a.test/", "https://a.test/x", "null"] {
            assert!(read(&format!("allowed_origins = [\"{origin}\"]")).is_err(), "{origin}");
        }
    }

    #[test]
    fn defaults_are_valid_and_not_production() {
        let settings = Settings::default();
        settings.validate().expect("valid");
        assert!(!settings.is_production());
    }

    #[test]
    fn unknown_names_are_refused() {
        let figment =
            Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string("lissten = \"127.0.0.1:1\""));
        assert!(Settings::from_figment(figment, None).is_err());
    }

    #[test]
    fn identity_providers_come_from_the_file_and_the_environment_replaces_them() {
        let file = "[[identity_providers]]\nname = \"okta\"\nissuer = \"https://id.example\"\naudience = \"tributary\"\n\
            tenants = [\"acme\"]\nroles_claim = \"groups\"\nrequired_claims = { email_verified = true }\n\
            [identity_providers.roles]\nadmins = \"ADMIN\"\n";
        let figment = || Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string(file));
        let names = |settings: Settings| {
            settings.identity_providers.into_iter().map(|provider| provider.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Settings::from_figment(figment(), None).expect("valid")), ["okta"]);
        let json = r#"[{"name": "auth0", "issuer": "https://id.example/", "audience": "x", "tenants": ["acme"],
            "roles_claim": "/realm/roles", "roles": {"a": "ANALYST"}}]"#;
        assert_eq!(names(Settings::from_figment(figment(), Some(json)).expect("valid")), ["auth0"]);
        for wrong in ["", "{}", "[{}]", r#"[{"nmae": "x"}]"#] {
            let error = Settings::from_figment(figment(), Some(wrong)).expect_err(wrong).to_string();
            assert!(error.starts_with("TRIBUTARY_IDENTITY_PROVIDERS: "), "{error}");
        }
    }

    #[test]
    fn wrong_values_name_their_setting() {
        let wrong = Settings { secret: Some("short".to_owned()), ..Settings::default() };
        assert!(wrong.validate().expect_err("short").to_string().starts_with("TRIBUTARY_SECRET"));
        let wrong = Settings { database_url: Some("mysql://x".to_owned()), ..Settings::default() };
        assert!(wrong.validate().expect_err("mysql").to_string().starts_with("DATABASE_URL"));
    }

    #[test]
    fn readme_s_identity_provider_is_taken() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```toml\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("an end");
        let figment = Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string(example));
        let settings = Settings::from_figment(figment, None).expect("valid");
        assert_eq!(settings.identity_providers[0].name, "okta");
    }

    #[test]
    fn readme_lists_every_setting_with_its_default() {
        let readme = include_str!("../../README.md");
        let defaults = serde_json::to_value(Settings::default()).expect("settings serialize");
        for (name, default) in defaults.as_object().expect("a struct") {
            let default = match default {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => format!("`{text}` "),
                other => format!("`{other}` "),
            };
            let cell = format!("`TRIBUTARY_{}` | {default}|", name.to_uppercase());
            assert!(readme.contains(&cell), "README.md lacks {cell}");
        }
    }
}
