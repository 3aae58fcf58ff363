//! Policies that read the transaction's settings once for a statement, not for each of its rows.

use sea_orm_migration::prelude::*;

use crate::protect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        protect::renew_policies(manager).await
    }
}
