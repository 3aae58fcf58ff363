//! The bus of a single process.

use super::{EventBatch, EventBus, Listener, Topics};
use crate::domain::tenancy::TenantScope;

/// Delivers inside the process.
#[derive(Default)]
pub struct MemoryBus {
    topics: Topics,
}

impl EventBus for MemoryBus {
    fn publish(&self, batch: EventBatch) {
        self.topics.deliver(batch);
    }

    fn listen(&self, scope: &TenantScope) -> Listener {
        self.topics.listen(scope)
    }
}
