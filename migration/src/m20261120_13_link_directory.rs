//! Links are found before their tenant is known: by the code in an address, or by campaign and affiliate.

use sea_orm_migration::prelude::*;

use crate::protect;

#[derive(DeriveMigrationName)]
pub struct Migration;

// The keys that begin with the tenant cannot answer for one that is not known.
const INDEXES: &str = "
CREATE INDEX link_code_idx ON link (code);
CREATE INDEX link_pair_idx ON link (campaign_id, affiliate_id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(INDEXES).await?;
        protect::directory(manager, "link").await
    }
}
