//! A real database for unit tests of the store: a SQLite file of its own, with rows to begin from.

use tempfile::TempDir;
use tributary_entity::{
    Instant, affiliate, campaign, enrollment, goal,
    ids::{AffiliateId, CampaignId, EnrollmentId, GoalId, LinkId, TenantId},
    kinds::{
        AffiliateStatus, ApprovalMode, AttributionModel, CampaignStatus, EnrollmentStatus, GoalStatus, LinkStatus,
        TenantStatus,
    },
    link, tenant,
};

use super::{
    affiliates, campaigns,
    database::{Db, Location},
    enrollments, goals, links,
    scope::Tx,
    tenants,
};
use crate::{ambient, domain::tenancy::TenantScope};

/// A database in a folder that goes with it.
pub(super) struct TestDb {
    db: Db,
    _dir: TempDir,
}

impl TestDb {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&Location::File(&dir.path().join("test.db"))).await.expect("opens");
        Self { db, _dir: dir }
    }

    pub const fn db(&self) -> &Db {
        &self.db
    }

    pub async fn begin(&self, scope: TenantScope) -> Tx {
        self.db.begin(&scope).await.expect("begins")
    }

    pub async fn read(&self, scope: TenantScope) -> Tx {
        self.db.snapshot(&scope).await.expect("begins")
    }

    /// A new tenant.
    pub async fn tenant(&self, slug: &str) -> TenantScope {
        let tenant_id = TenantId::from_uuid(ambient::new_uuid());
        let scope = TenantScope::tenant(tenant_id);
        let mut tx = self.begin(scope).await;
        let row = tenant::Model {
            tenant_id,
            slug: slug.to_owned(),
            name: slug.to_owned(),
            currency: "EUR".parse().expect("known"),
            time_zone: "UTC".to_owned(),
            epoch: ambient::new_uuid(),
            status: TenantStatus::Active,
            payout_four_eyes: false,
            click_wait_secs: 0,
            created_at: Instant::default(),
        };
        tenants::insert(&mut tx, row).await.expect("inserts");
        tx.commit().await.expect("commits");
        scope
    }
}

/// An active campaign that only enrolled affiliates see.
pub(super) async fn campaign(tx: &mut Tx) -> campaign::Model {
    let row = campaign::Model {
        tenant_id: tx.scope().tenant_id(),
        id: CampaignId::from_uuid(ambient::new_uuid()),
        name: "Shoes".to_owned(),
        status: CampaignStatus::Active,
        currency: "EUR".parse().expect("known"),
        destination_url: "https://shop.example/".to_owned(),
        attribution_model: AttributionModel::LastClick,
        attribution_window_secs: 1,
        attribution_half_life_secs: 604_800,
        attribution_min_secs: 0,
        attribution_sources: "CLICK_ID".to_owned(),
        click_wait_secs: 0,
        deep_link_hosts: None,
        fallback_url: None,
        countries: None,
        devices: None,
        approval: ApprovalMode::Manual,
        hold_secs: 0,
        is_public: false,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    };
    campaigns::insert(tx, row.clone()).await.expect("inserts");
    row
}

/// An active goal.
pub(super) async fn goal(tx: &mut Tx, campaign_id: CampaignId, code: &str) -> goal::Model {
    let row = goal::Model {
        tenant_id: tx.scope().tenant_id(),
        id: GoalId::from_uuid(ambient::new_uuid()),
        campaign_id,
        code: code.to_owned(),
        name: code.to_owned(),
        once_per_click: false,
        status: GoalStatus::Active,
        created_at: Instant::default(),
    };
    goals::insert(tx, row.clone()).await.expect("inserts");
    row
}

/// An active affiliate with an address made from its name.
pub(super) async fn affiliate(tx: &mut Tx, name: &str) -> affiliate::Model {
    let row = affiliate::Model {
        tenant_id: tx.scope().tenant_id(),
        id: AffiliateId::from_uuid(ambient::new_uuid()),
        name: name.to_owned(),
        email: format!("{name}@site.example"),
        company: None,
        status: AffiliateStatus::Active,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    };
    affiliates::insert(tx, row.clone()).await.expect("inserts");
    row
}

/// An approved enrollment.
pub(super) async fn enrollment(tx: &mut Tx, campaign_id: CampaignId, affiliate_id: AffiliateId) -> enrollment::Model {
    let row = enrollment::Model {
        tenant_id: tx.scope().tenant_id(),
        id: EnrollmentId::from_uuid(ambient::new_uuid()),
        campaign_id,
        affiliate_id,
        status: EnrollmentStatus::Approved,
        rule_id: None,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    };
    enrollments::insert(tx, row.clone()).await.expect("inserts");
    row
}

/// An active link.
pub(super) async fn link(tx: &mut Tx, campaign_id: CampaignId, affiliate_id: AffiliateId) -> link::Model {
    let row = link::Model {
        tenant_id: tx.scope().tenant_id(),
        id: LinkId::from_uuid(ambient::new_uuid()),
        code: crate::domain::link::code(ambient::random_bytes()),
        campaign_id,
        affiliate_id,
        destination_url: None,
        label: None,
        status: LinkStatus::Active,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    };
    links::insert(tx, row.clone()).await.expect("inserts");
    row
}
