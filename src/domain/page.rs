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

    /// The position of a text; none for any text that [`List::encode`] of another list made, or nobody.
    fn decode(&self, text: &str) -> Option<Position> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (tag, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (occurred_at, name) = if self.order.by_occurrence() {
            let (micros, name) = rest.split_first_chunk::<8>()?;
            (Some(Instant::from_timestamp_micros(i64::from_be_bytes(*micros))?), name)
        } else {
            (None, rest)
        };
        let is_own = *tag == self.order.tag() && name == self.name.as_bytes();
        is_own.then(|| Position { occurred_at, id: Uuid::from_bytes(*id) })
    }
}

/// Why a page cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Its size.
    Size(Problem),
    /// A cursor that is none of this list and order.
    Cursor,
}

/// How much of a list is wanted, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    pub rows: u64,
    /// From the list's end (`last`).
    pub backward: bool,
}

impl PageSize {
    /// Checks what a client asked for.
    ///
    /// # Errors
    /// `REQUIRED` unless exactly one of the two is given, `OUT_OF_RANGE` outside 1..=[`PAGE_MAX`].
    pub fn parse(first: Option<i32>, last: Option<i32>) -> Result<Self, Problem> {
        let (field, size, backward) = match (first, last) {
            (Some(first), None) => ("first", first, false),
            (None, Some(last)) => ("last", last, true),
            _ => {
                return Err(Problem::new(ProblemCode::Required, &["first"], "give exactly one of `first` and `last`"));
            }
        };
        if !(1..=PAGE_MAX).contains(&size) {
            return Err(Problem::new(ProblemCode::OutOfRange, &[field], format!("from 1 to {PAGE_MAX}")));
        }
        Ok(Self { rows: size.unsigned_abs().into(), backward })
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
    /// As [`PageSize::parse`]; [`PageError::Cursor`] for cursors of other lists.
    pub fn parse(list: List, args: &PageArgs) -> Result<Self, PageError> {
        let PageSize { rows, backward } = PageSize::parse(args.first, args.last).map_err(PageError::Size)?;
        let position = |text: &Option<String>| match text {
            Some(text) => list.decode(text).map(Some).ok_or(PageError::Cursor),
            None => Ok(None),
        };
        Ok(Self { list, size: rows, backward, after: position(&args.after)?, before: position(&args.before)? })
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
            assert_eq!(list(order).decode(&text), Some(position));
            assert_eq!(List::new("Affiliate", order).decode(&text), None);
            assert_eq!(list(Order::CreatedAsc).decode(&text), None);
        }
        for text in ["", "!", "AAAA"] {
            let args = PageArgs { first: Some(1), after: Some(text.to_owned()), ..PageArgs::default() };
            assert_eq!(PageRequest::parse(list(Order::CreatedDesc), &args), Err(PageError::Cursor));
        }
    }

    #[test]
    fn exactly_one_of_first_and_last_within_bounds() {
        let parse = |first, last| {
            PageSize::parse(first, last).map(|size| (size.rows, size.backward)).map_err(|problem| problem.code)
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
