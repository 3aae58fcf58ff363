//! Loaders: the relations of a page are read in one query each. Made per request, for one viewer; never shared.
//!
//! # Adding one
//! A line in `loaders!`: the field, the key, the value, and the use case that answers many keys at once.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::{
    dataloader::{DataLoader, Loader},
    runtime::{TokioSpawner, TokioTimer},
};
use tributary_entity::{campaign, ids::CampaignId};

use crate::{
    auth::Viewer,
    services::{self, ServiceError, Services},
};

/// A load that failed, shared by all who waited for it.
#[derive(Clone, Debug)]
pub(super) struct LoadError(Arc<ServiceError>);

impl From<LoadError> for ServiceError {
    fn from(error: LoadError) -> Self {
        tracing::error!(error = %error.0, "a loader failed");
        Self::Internal("loader")
    }
}

macro_rules! loaders {
    ($($(#[$doc:meta])* $field:ident, $by:ident: $key:ty => $value:ty = $load:expr;)*) => {
        /// The loaders of one request.
        pub(in crate::graphql) struct Loaders {
            $($(#[$doc])* pub $field: DataLoader<$by>,)*
        }

        impl Loaders {
            pub fn new(services: &Services, viewer: &Viewer) -> Self {
                Self {
                    $($field: DataLoader::new($by(services.clone(), viewer.clone()), TokioSpawner::current(), TokioTimer::default()),)*
                }
            }
        }

        $(
            pub(in crate::graphql) struct $by(Services, Viewer);

            impl Loader<$key> for $by {
                type Value = $value;
                type Error = LoadError;

                async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $value>, LoadError> {
                    $load(&self.0, &self.1, keys).await.map_err(|error| LoadError(Arc::new(error)))
                }
            }
        )*
    };
}

loaders! {
    campaign, CampaignById: CampaignId => campaign::Model = async |services, viewer, ids| {
        by_key(services::campaigns::get_many(services, viewer, ids).await, |row| row.id)
    };
}

fn by_key<K: Eq + Hash, R>(
    rows: Result<Vec<R>, ServiceError>,
    key: impl Fn(&R) -> K,
) -> Result<HashMap<K, R>, ServiceError> {
    Ok(rows?.into_iter().map(|row| (key(&row), row)).collect())
}

fn grouped<K: Eq + Hash, R>(
    rows: Result<Vec<R>, ServiceError>,
    key: impl Fn(&R) -> K,
) -> Result<HashMap<K, Vec<R>>, ServiceError> {
    let mut groups: HashMap<K, Vec<R>> = HashMap::new();
    for row in rows? {
        groups.entry(key(&row)).or_default().push(row);
    }
    Ok(groups)
}
