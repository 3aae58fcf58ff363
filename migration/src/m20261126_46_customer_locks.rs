//! Customers of rules that end are rows to be held while a conversion is decided: what they counted was asked by nobody, as
//! the first commission is found in the commissions themselves.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE customer_commission DROP COLUMN conversions";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
