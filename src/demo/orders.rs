//! The demo's data: 69,659 real orders of a CD shop, read strictly. See `CREDITS.md`.

use std::io::Read;

use chrono::NaiveDate;
use flate2::read::GzDecoder;

const FILE: &[u8] = include_bytes!("cdnow_master.txt.gz");
const HEADER: &str = "customer_id date number_of_cds dollar_value";
/// Bytes of a line without its end.
const WIDTH: usize = 26;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its place in the file, from 1.
    pub number: u32,
    pub customer: u32,
    pub date: NaiveDate,
    /// How many CDs.
    pub discs: u32,
    pub cents: i64,
}

/// The file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    #[error("the shipped orders cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    #[error("the shipped orders, line {line}: {why}")]
    Line { line: usize, why: &'static str },
}

/// Every order, in the order of the file: by customer, then by date.
///
/// # Errors
/// [`OrdersError`] when the shipped file is damaged.
pub fn all() -> Result<Vec<Order>, OrdersError> {
    let mut text = String::new();
    GzDecoder::new(FILE).read_to_string(&mut text)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Order>, OrdersError> {
    let text = text.strip_suffix("\r\n").ok_or(OrdersError::Line { line: 0, why: "the last line has no end" })?;
    let mut lines = text.split("\r\n").enumerate();
    // The header is padded to the columns' names, not to their widths.
    let header = lines.next().map(|(_, header)| header.split_whitespace().collect::<Vec<_>>().join(" "));
    if header.as_deref() != Some(HEADER) {
        return Err(OrdersError::Line { line: 1, why: "another header is expected" });
    }
    lines
        .map(|(index, line)| {
            let bad = |why| OrdersError::Line { line: index + 1, why };
            let number = u32::try_from(index).map_err(|_| bad("too many lines"))?;
            order(number, line).map_err(bad)
        })
        .collect()
}

/// Columns, by byte: 1-5 customer, 7-14 date, 16-17 CDs, 19-25 dollars; a blank before each.
fn order(number: u32, line: &str) -> Result<Order, &'static str> {
    if line.len() != WIDTH || !line.is_ascii() {
        return Err("a line has 26 characters");
    }
    if [0, 6, 15, 18].iter().any(|at| line.as_bytes()[*at] != b' ') {
        return Err("columns are parted by a blank");
    }
    let (dollars, cents) = line[19..26].split_once('.').ok_or("an amount has a point")?;
    if cents.len() != 2 {
        return Err("an amount has two digits after the point");
    }
    Ok(Order {
        number,
        customer: whole(&line[1..6]).ok_or("the customer is not a number")?,
        date: date(&line[7..15]).ok_or("the date is not one")?,
        discs: whole(&line[16..18]).ok_or("the number of CDs is not one")?,
        cents: i64::from(whole(dollars).ok_or("the dollars are not a number")?) * 100
            + i64::from(digits(cents).ok_or("the cents are not a number")?),
    })
}

/// A number flush right in its column.
fn whole(column: &str) -> Option<u32> {
    digits(column.trim_start_matches(' '))
}

fn digits(text: &str) -> Option<u32> {
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn date(text: &str) -> Option<NaiveDate> {
    let part = |range| digits(text.get(range)?);
    NaiveDate::from_ymd_opt(i32::try_from(part(0..4)?).ok()?, part(4..6)?, part(6..8)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LINE: &str = " 00003 19970402  2   19.54";

    #[test]
    fn shipped_file_is_the_published_one() {
        let orders = all().expect("undamaged");
        assert_eq!(orders.len(), 69_659);
        assert_eq!(orders.iter().map(|order| order.customer).collect::<BTreeSet<_>>().len(), 23_570);
        assert_eq!(orders.iter().map(|order| order.cents).sum::<i64>(), 250_031_563);
        assert_eq!(orders.iter().filter(|order| order.cents == 0).count(), 80);
        assert_eq!(orders.iter().map(|order| order.date).min(), NaiveDate::from_ymd_opt(1997, 1, 1));
        assert_eq!(orders.iter().map(|order| order.date).max(), NaiveDate::from_ymd_opt(1998, 6, 30));
        assert!(orders.iter().zip(1..).all(|(order, number)| order.number == number));
    }

    #[test]
    fn line_reads_by_its_columns() {
        let read = order(7, LINE).expect("well formed");
        let date = NaiveDate::from_ymd_opt(1997, 4, 2).expect("a date");
        assert_eq!(read, Order { number: 7, customer: 3, date, discs: 2, cents: 1_954 });
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            &LINE[1..],
            " 00003 19970402  2   19.5 ",
            " 00003 19970402  2   195.4",
            " 00003 19970402  2   -9.54",
            " 00003 19970402  2   +9.54",
            " 00003 19970402  2    1954",
            " 00003 19970402  2       .",
            " 00003 19970231  2   19.54",
            " 00003 1997 402  2   19.54",
            " 0000x 19970402  2   19.54",
            " 00003 19970402      19.54",
            " 00003x19970402  2   19.54",
            " 00003 19970402 2    19.5\u{e9}",
        ] {
            assert!(order(1, line).is_err(), "{line:?}");
        }
        assert!(parse("customer date\r\n").is_err());
        assert!(parse(&format!("customer_id date number_of_cds dollar_value\r\n{LINE}")).is_err());
        assert!(parse(&format!("customer_id date number_of_cds dollar_value\r\n{LINE}\n{LINE}\r\n")).is_err());
    }
}
