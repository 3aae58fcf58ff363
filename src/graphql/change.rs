//! Update inputs tell absent from null: absent keeps, null clears.

use async_graphql::MaybeUndefined;

use crate::domain::change::Change;

/// What an input field does to an optional value.
pub(super) fn change<T>(input: MaybeUndefined<T>) -> Change<T> {
    match input {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(value) => Change::Set(value),
    }
}
