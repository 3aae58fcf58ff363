//! A failed nullable field is null; its siblings stand.
//!
//! async-graphql 8.0.0-rc.5 catches errors where the *value* of a nullable field fails, but hands the error of its
//! resolver or guard to the parent, so that one forbidden field would take a whole page with it. The specification wants
//! the field alone to be null. This extension does that; drop it when the crate does.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{
    Response, ServerError, ServerResult, Value,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo},
};

/// Makes failed nullable fields null.
pub(super) struct NullableFields;

impl ExtensionFactory for NullableFields {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Caught::default())
    }
}

/// The errors caught in one execution.
#[derive(Default)]
struct Caught(Mutex<Vec<ServerError>>);

impl Caught {
    fn errors(&self) -> std::sync::MutexGuard<'_, Vec<ServerError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Extension for Caught {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        response.errors.append(&mut self.errors());
        response
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let is_nullable = !info.return_type.ends_with('!');
        match next.run(ctx, info).await {
            Err(error) if is_nullable => {
                self.errors().push(error);
                Ok(None)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Result, Schema, value};

    use super::*;

    struct Query;

    #[Object]
    impl Query {
        async fn good(&self) -> i32 {
            1
        }

        async fn nullable(&self) -> Result<Option<i32>> {
            Err("no".into())
        }

        async fn children(&self) -> Vec<Query> {
            vec![Query, Query]
        }

        async fn needed(&self) -> Result<i32> {
            Err("no".into())
        }

        async fn child(&self) -> Option<Query> {
            Some(Query)
        }
    }

    async fn execute(document: &str) -> (Value, Vec<String>) {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).extension(NullableFields).finish();
        let response = schema.execute(document).await;
        (response.data, response.errors.iter().map(|error| format!("{:?}", error.path)).collect())
    }

    #[tokio::test]
    async fn failed_nullable_field_is_null_and_its_siblings_stand() {
        let (data, paths) = execute("{ good nullable children { good nullable } }").await;
        assert_eq!(
            data,
            value!({
                "good": 1, "nullable": null,
                "children": [{ "good": 1, "nullable": null }, { "good": 1, "nullable": null }],
            })
        );
        assert_eq!(paths.len(), 3);
        assert!(
            paths
                .iter()
                .any(|path| path.contains("children") && path.contains("Index(1)") && path.contains("nullable")),
            "{paths:?}"
        );
    }

    #[tokio::test]
    async fn failed_non_null_field_nulls_the_nearest_nullable_parent() {
        let (data, paths) = execute("{ good child { good needed } }").await;
        assert_eq!(data, value!({ "good": 1, "child": null }));
        assert_eq!(paths.len(), 1);
        let (data, _) = execute("{ good needed }").await;
        assert_eq!(data, Value::Null);
    }
}
