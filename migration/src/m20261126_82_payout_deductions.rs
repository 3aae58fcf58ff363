//! What is taken off payouts: tax that is withheld, and what affiliates bear of the cost of payments. And who gave a batch up.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: &str = "
ALTER TABLE payout_terms ADD COLUMN withholding_ppm bigint CHECK (withholding_ppm BETWEEN 0 AND 1000000);
ALTER TABLE payout_terms ADD COLUMN fee_minor bigint CHECK (fee_minor >= 0);
-- Parts of the gross amount; what was drafted before has none.
ALTER TABLE payout ADD COLUMN tax_minor bigint NOT NULL DEFAULT 0 CHECK (tax_minor >= 0);
ALTER TABLE payout ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0);

ALTER TABLE payout_batch ADD COLUMN canceller text;
ALTER TABLE payout_batch ADD COLUMN cancelled_at timestamptz;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMNS).await?;
        Ok(())
    }
}
