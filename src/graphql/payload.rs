//! The shape that every mutation answers: the object, whether it is an earlier call's, and the refusals.

/// Declares a payload type and its conversion from a use case's result.
macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $(#[$field_doc:meta])* $field:ident : $node:ty }) => {
        $(#[$doc])*
        #[derive(::async_graphql::SimpleObject)]
        pub(super) struct $name {
            $(#[$field_doc])*
            $field: Option<$node>,
            /// The idempotency key was used before with the same input: this is that call's result, nothing was done now.
            replayed: bool,
            /// Why nothing was done; empty when it was.
            user_errors: Vec<$crate::graphql::error::UserError>,
        }

        impl $name {
            /// From a use case's result: refusals become `userErrors`, faults top-level errors.
            fn answer<T>(
                result: Result<$crate::services::Outcome<T>, $crate::services::ServiceError>,
            ) -> ::async_graphql::Result<Self>
            where
                T: Into<$node>,
            {
                match result {
                    Ok(outcome) => Ok(Self {
                        $field: Some(outcome.value.into()),
                        replayed: outcome.replayed,
                        user_errors: Vec::new(),
                    }),
                    Err($crate::services::ServiceError::Refused(problems)) => Ok(Self {
                        $field: None,
                        replayed: false,
                        user_errors: problems.into_iter().map(Into::into).collect(),
                    }),
                    Err(error) => Err($crate::graphql::error::to_graphql(error)),
                }
            }

            /// As `answer`, for one item of a batch: a fault is told in the item and leaves the others alone.
            #[allow(dead_code, reason = "only batches have items")]
            fn answer_item<T>(
                result: Result<$crate::services::Outcome<T>, $crate::services::ServiceError>,
            ) -> Self
            where
                T: Into<$node>,
            {
                let result = result.map_err(|error| match error {
                    refused @ $crate::services::ServiceError::Refused(_) => refused,
                    fault => $crate::graphql::error::item_problem(fault).into(),
                });
                Self::answer(result).unwrap_or_else(|_| Self {
                    $field: None,
                    replayed: false,
                    user_errors: Vec::new(),
                })
            }
        }
    };
}
