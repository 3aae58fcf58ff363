//! Seals what ledgers have got since they were sealed last.

use crate::{
    services::{ServiceError, Services, ledger_blocks},
    store::directory,
};

/// Seals the ledgers of all tenants. Answers how many blocks were made. One tenant's fault does not keep the others'
/// ledgers open: it is logged, and `verify` names it.
///
/// # Errors
/// As the database answers before the first tenant.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let mut sealed = 0;
    for scope in directory::tenants(&services.db).await? {
        match ledger_blocks::seal_due(services, &scope).await {
            Ok(blocks) => sealed += blocks,
            Err(error) => tracing::error!(tenant.id = %scope.tenant_id(), ?error, "a ledger was not sealed"),
        }
    }
    Ok(sealed)
}
