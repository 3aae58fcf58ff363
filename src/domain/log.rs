//! The event log as a list, cut into pages.
//!
//! # Decisions
//! - A page is a stretch of the log with all that matches in it, and its ends are the ends of the stretch. What matches
//!   may be rare (one affiliate's rows, one type of many): a page that looked for a fixed number of matches would read
//!   the whole log, or every commit would have to keep indexes by type and by affiliate. So a page looks at a bounded
//!   stretch, may be short or empty, and still tells where to go on; numbers without gaps make the bound exact.

use tributary_entity::event;

use super::page::PageSize;

/// The most events that one page looks at.
const STRETCH_MAX: i64 = 10_000;

/// Consecutive numbers of the log, both ends among them; none when the first is behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub first: i64,
    pub last: i64,
}

impl Stretch {
    /// What a page of a log that ends at `tip` looks at: between `after` and `before`, from the end that it is read from.
    pub fn of(tip: i64, after: Option<i64>, before: Option<i64>, backward: bool) -> Self {
        let first = after.unwrap_or(0) + 1;
        let last = before.map_or(tip, |before| tip.min(before - 1)).max(first - 1);
        if backward {
            Self { first: first.max(last - STRETCH_MAX + 1), last }
        } else {
            Self { first, last: last.min(first + STRETCH_MAX - 1) }
        }
    }
}

/// A page of the log: all that matches in a stretch of it, in the log's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    pub rows: Vec<event::Model>,
    pub stretch: Stretch,
    /// The log goes on behind the stretch.
    pub has_next: bool,
    /// The log begins before the stretch.
    pub has_previous: bool,
}

impl LogPage {
    /// From up to `size + 1` matching rows of a stretch, read in the direction of the page: with one more than fits, the
    /// stretch ends at the last that does.
    pub fn cut(mut rows: Vec<event::Model>, size: PageSize, mut stretch: Stretch, tip: i64) -> Self {
        let fits = usize::try_from(size.rows).unwrap_or(usize::MAX);
        if rows.len() > fits {
            rows.truncate(fits);
            if let Some(row) = rows.last() {
                let end = if size.backward { &mut stretch.first } else { &mut stretch.last };
                *end = row.seq;
            }
        }
        if size.backward {
            rows.reverse();
        }
        Self { rows, stretch, has_next: stretch.last < tip, has_previous: stretch.first > 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tributary_entity::{Instant, ids::TenantId, kinds::EventKind};
    use uuid::Uuid;

    use super::*;

    fn row(seq: i64) -> event::Model {
        event::Model {
            tenant_id: TenantId::default(),
            seq,
            kind: EventKind::LinkChanged,
            subject_id: Uuid::nil(),
            campaign_id: None,
            affiliate_id: None,
            further_affiliates: None,
            payload: String::new(),
            recorded_at: Instant::default(),
        }
    }

    /// What the store would read of a log whose events `matching` are wanted.
    fn read(matching: &BTreeSet<i64>, stretch: Stretch, size: PageSize) -> Vec<event::Model> {
        let all = matching.iter().copied().filter(|seq| (stretch.first..=stretch.last).contains(seq));
        let mut rows: Vec<_> = all.map(row).collect();
        if size.backward {
            rows.reverse();
        }
        rows.truncate(usize::try_from(size.rows).expect("small") + 1);
        rows
    }

    proptest! {
        #[test]
        fn pages_hold_every_match_once_whichever_way(
            tip in 0_i64..45_000,
            numbers in proptest::collection::btree_set(1_i64..45_000, 0..40),
            rows in 1_u64..=20,
            backward: bool,
        ) {
            let matching: BTreeSet<i64> = numbers.into_iter().filter(|seq| *seq <= tip).collect();
            let size = PageSize { rows, backward };
            let (mut after, mut before, mut seen) = (None, None, Vec::new());
            loop {
                let stretch = Stretch::of(tip, after, before, backward);
                let page = LogPage::cut(read(&matching, stretch, size), size, stretch, tip);
                prop_assert!(page.rows.len() as u64 <= rows);
                let told = page.rows.iter().map(|row| row.seq);
                if backward {
                    seen.splice(0..0, told);
                    before = Some(page.stretch.first);
                } else {
                    seen.extend(told);
                    after = Some(page.stretch.last);
                }
                if !(if backward { page.has_previous } else { page.has_next }) {
                    break;
                }
            }
            prop_assert_eq!(seen, matching.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_lies_between_neighbours() {
        assert_eq!(Stretch::of(10, Some(4), Some(5), false), Stretch { first: 5, last: 4 });
        assert_eq!(Stretch::of(10, Some(10), None, false), Stretch { first: 11, last: 10 });
        assert_eq!(Stretch::of(10, None, Some(1), true), Stretch { first: 1, last: 0 });
        assert_eq!(Stretch::of(0, None, None, true), Stretch { first: 1, last: 0 });
    }
}
