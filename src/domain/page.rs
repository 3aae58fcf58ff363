//! Pages of lists: keyset positions, never offsets, so that a page stays the same while rows are added before it.

use data_encoding::BASE64URL_NOPAD;
use tributary_entity::Instant;
use uuid::Uuid;

use super::problem::{Problem, ProblemCode};

/// The most rows of one page.
pub const PAGE_MAX: i32 = 100;

/// How a list is ordered. The id breaks ties, and alone orders by creation (ids are time-ordered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    CreatedAsc,
    CreatedDesc,
    OccurredAsc,
    OccurredDesc,
}

impl Order {
    pub const fn is_descending(self) -> bool {
        matches!(self, Self::CreatedDesc | Self::OccurredDesc)
    }

    /// Whether the position holds an instant beside the id.
    pub const fn by_occurrence(self) -> bool {
        matches!(self, Self::OccurredAsc | Self::OccurredDesc)
    }

    const fn tag(self) -> u8 {
        match self {
            Self::CreatedAsc => b'a',
            Self::CreatedDesc => b'd',
            Self::OccurredAsc => b'o',
            Self::OccurredDesc => b'p',
        }
    }
}

/// Where a row stands in an ordered list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Set exactly for orders by occurrence.
    pub occurred_at: Option<Instant>,
    pub id: Uuid,
}

/// The list and order a cursor was made for; a cursor of another list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The node type's name.
    pub name: &'static str,
    pub order: Order,
}

impl List {
    pub const fn new(name: &'static str, order: Order) -> Self {
        Self { name, order }
    }

    /// The opaque text for a position in this list.
    pub fn encode(&self, position: &Position) -> String {
        let mut bytes = Vec::with_capacity(40);
        bytes.push(self.order.tag());
        bytes.extend_from_slice(position.id.as_bytes());
        if let Some(at) = position.occurred_at {
            bytes.extend_from_slice(&at.timestamp_micros().to_be_bytes());
        }
        bytes.extend_from_slice(self.name.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    fn decode(&self, field: &str, text: &str) -> Result<Position, Problem> {
        let refuse = || Problem::new(ProblemCode::OutOfRange, &[field], "not a cursor of this list and order");
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refuse())?;
        let (tag, rest) = bytes.split_first().ok_or_else(refuse)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or_else(refuse)?;
        let (occurred_at, name) = if self.order.by_occurrence() {
            let (micros, name) = rest.split_first_chunk::<8>().ok_or_else(refuse)?;
            let at = Instant::from_timestamp_micros(i64::from_be_bytes(*micros)).ok_or_else(refuse)?;
            (Some(at), name)
        } else {
            (None, rest)
        };
        if *tag != self.order.tag() || name != self.name.as_bytes() {
            return Err(refuse());
        }
        Ok(Position { occurred_at, id: Uuid::from_bytes(*id) })
    }
}

/// Which part of a list is wanted, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub list: List,
    pub size: u64,
    /// From the list's end (`last`).
    pub backward: bool,
    pub after: Option<Position>,
    pub before: Option<Position>,
}

/// What a client asked for, as it came.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl PageRequest {
    /// Checks what a client asked for.
    ///
    /// # Errors
    /// `REQUIRED` unless exactly one of `first` and `last` is given, `OUT_OF_RANGE` outside 1..=[`PAGE_MAX`] and for
    /// cursors of other lists.
    pub fn parse(list: List, args: &PageArgs) -> Result<Self, Problem> {
        let (field, size, backward) = match (args.first, args.last) {
            (Some(first), None) => ("first", first, false),
            (None, Some(last)) => ("last", last, true),
            _ => {
                return Err(Problem::new(ProblemCode::Required, &["first"], "give exactly one of `first` and `last`"));
            }
        };
        if !(1..=PAGE_MAX).contains(&size) {
            return Err(Problem::new(ProblemCode::OutOfRange, &[field], format!("from 1 to {PAGE_MAX}")));
        }
        let position = |field, text: &Option<String>| text.as_deref().map(|text| list.decode(field, text)).transpose();
        Ok(Self {
            list,
            size: size.unsigned_abs().into(),
            backward,
            after: position("after", &args.after)?,
            before: position("before", &args.before)?,
        })
    }
}

/// A page of rows, in the list's order.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub has_next: bool,
    pub has_previous: bool,
}

impl<T> Page<T> {
    /// From up to `size + 1` rows fetched in the direction of the request.
    pub fn from_fetched(request: &PageRequest, mut rows: Vec<T>) -> Self {
        let more = rows.len() as u64 > request.size;
        rows.truncate(usize::try_from(request.size).unwrap_or(usize::MAX));
        if request.backward {
            rows.reverse();
            Self { rows, has_next: request.before.is_some(), has_previous: more }
        } else {
            Self { rows, has_next: more, has_previous: request.after.is_some() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(order: Order) -> List {
        List::new("Campaign", order)
    }

    #[test]
    fn cursor_round_trips_and_is_bound_to_list_and_order() {
        let at = Instant::from_timestamp_micros(1_234_567_890_123).expect("in range");
        for (order, occurred_at) in [(Order::CreatedDesc, None), (Order::OccurredAsc, Some(at))] {
            let position = Position { occurred_at, id: Uuid::from_u128(7) };
            let text = list(order).encode(&position);
            assert_eq!(list(order).decode("after", &text), Ok(position));
            assert!(List::new("Affiliate", order).decode("after", &text).is_err());
            assert!(list(Order::CreatedAsc).decode("after", &text).is_err());
        }
        for text in ["", "!", "AAAA"] {
            assert!(list(Order::CreatedDesc).decode("after", text).is_err());
        }
    }

    #[test]
    fn exactly_one_of_first_and_last_within_bounds() {
        let parse = |first, last| {
            PageRequest::parse(list(Order::CreatedDesc), &PageArgs { first, last, ..PageArgs::default() })
                .map(|request| (request.size, request.backward))
                .map_err(|problem| problem.code)
        };
        assert_eq!(parse(Some(1), None), Ok((1, false)));
        assert_eq!(parse(None, Some(100)), Ok((100, true)));
        assert_eq!(parse(None, None), Err(ProblemCode::Required));
        assert_eq!(parse(Some(1), Some(1)), Err(ProblemCode::Required));
        for size in [0, -1, 101, i32::MAX, i32::MIN] {
            assert_eq!(parse(Some(size), None), Err(ProblemCode::OutOfRange), "{size}");
        }
    }
}
