//! Rates in files: the reference rates of the European Central Bank as it publishes them (XML, and its two tables), and a
//! plain table of pairs.
//!
//! A file is taken whole or not at all: the first line that cannot be read refuses it, by its number.

use chrono::NaiveDate;
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use serde::Serialize;
use tributary_entity::{kinds::FxSource, money::Currency};

use super::{NewRate, RATES_MAX, parse_rate};
use crate::domain::problem::{Problem, ProblemCode};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Format {
    /// `eurofxref-daily.xml`, `eurofxref-hist-90d.xml`, or some years of `eurofxref-hist.xml`.
    EcbXml,
    /// `eurofxref.csv`, or some years of `eurofxref-hist.csv`; or a table of our own with the columns `date,base,quote,rate`.
    Csv,
}

impl Format {
    /// What a document is that came with a media type (a `Content-Type`): XML or CSV where the type says one of them, else by
    /// its first character.
    pub fn of(media_type: Option<&str>, content: &str) -> Self {
        let essence =
            media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        let starts_as_xml = unmarked(content).trim_start().starts_with('<');
        match essence.split_once('/') {
            Some((_, "xml")) => Self::EcbXml,
            Some((_, kind)) if kind.ends_with("+xml") => Self::EcbXml,
            Some((_, "csv")) => Self::Csv,
            _ if starts_as_xml => Self::EcbXml,
            _ => Self::Csv,
        }
    }
}

/// A text without the byte order mark that spreadsheets put first.
fn unmarked(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content)
}

/// Bytes of one file.
pub const FILE_MAX_BYTES: usize = 4 << 20;

/// The rates of a file. Currencies that are none of ours (the ECB's history has those that the euro replaced) are left
/// out; so are days without a rate.
///
/// # Errors
/// `INVALID_TEXT` for what cannot be read, `BATCH_SIZE` past [`RATES_MAX`] rates and where there is none.
pub fn read(format: Format, content: &str) -> Result<Vec<NewRate>, Problem> {
    if content.len() > FILE_MAX_BYTES {
        return Err(Problem::new(ProblemCode::BatchSize, FIELD, format!("at most {FILE_MAX_BYTES} bytes")));
    }
    let content = unmarked(content);
    let rates = match format {
        Format::EcbXml => ecb_xml(content)?,
        Format::Csv => table(content)?,
    };
    Problem::batch_size(FIELD, rates.len(), RATES_MAX).map_or(Ok(rates), Err)
}

const FIELD: &[&str] = &["content"];
const EURO: &str = "EUR";

fn unreadable(place: impl std::fmt::Display, why: &str) -> Problem {
    Problem::new(ProblemCode::InvalidText, FIELD, format!("{place}: {why}"))
}

fn euro() -> Result<Currency, Problem> {
    EURO.parse().map_err(|_| unreadable(EURO, "no currency"))
}

/// `<Cube time="..">` with `<Cube currency=".." rate=".."/>` in it. Of a document type nothing is read: entities stay
/// what they are, and are in no attribute of ours.
fn ecb_xml(content: &str) -> Result<Vec<NewRate>, Problem> {
    let base = euro()?;
    let mut reader = Reader::from_str(content);
    let mut day: Option<NaiveDate> = None;
    let mut rates = Vec::new();
    loop {
        let place = format!("byte {}", reader.buffer_position());
        let element = match reader.read_event() {
            Err(error) => return Err(unreadable(place, &error.to_string())),
            Ok(Event::Eof) => return Ok(rates),
            Ok(Event::Start(element) | Event::Empty(element)) if element.local_name().as_ref() == "Cube" => element,
            Ok(_) => continue,
        };
        if let Some(time) = attribute(&element, "time", &place)? {
            day = Some(time.parse().map_err(|_| unreadable(&place, "no day such as 2026-11-20"))?);
        }
        let Some(code) = attribute(&element, "currency", &place)? else { continue };
        let valid_on = day.ok_or_else(|| unreadable(&place, "a rate without its day"))?;
        let rate = attribute(&element, "rate", &place)?.ok_or_else(|| unreadable(&place, "no rate"))?;
        let rate_e12 = parse_rate(FIELD, &rate).map_err(|problem| unreadable(&place, &problem.message))?;
        if let Ok(quote) = code.parse::<Currency>()
            && quote != base
        {
            rates.push(NewRate { source: FxSource::Ecb, base, quote, rate_e12, valid_on });
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str, place: &str) -> Result<Option<String>, Problem> {
    let found = element.try_get_attribute(name).map_err(|error| unreadable(place, &error.to_string()))?;
    let text = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0).map(|text| text.trim().to_owned()));
    text.transpose().map_err(|error| unreadable(place, &error.to_string()))
}

/// A table, by its first line.
fn table(content: &str) -> Result<Vec<NewRate>, Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(content.as_bytes());
    let head = reader.headers().map_err(|error| unreadable("line 1", &error.to_string()))?.clone();
    let names: Vec<String> = head.iter().map(str::to_lowercase).collect();
    let pairs = names == ["date", "base", "quote", "rate"];
    if !pairs && names.first().map(String::as_str) != Some("date") {
        return Err(unreadable("line 1", "the columns are `date,base,quote,rate`, or those of the ECB"));
    }
    let mut rates = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable("table", &error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        let day = record.get(0).and_then(day).ok_or_else(|| unreadable(&place, "no day such as 2026-11-20"))?;
        if pairs {
            rates.push(pair(&record, day, &place)?);
        } else {
            ecb_line(&head, &record, day, &place, &mut rates)?;
        }
    }
    Ok(rates)
}

/// `2026-11-20`, or `20 November 2026` as the ECB's daily table has it.
fn day(text: &str) -> Option<NaiveDate> {
    text.parse().ok().or_else(|| NaiveDate::parse_from_str(text, "%d %B %Y").ok())
}

fn pair(record: &csv::StringRecord, valid_on: NaiveDate, place: &str) -> Result<NewRate, Problem> {
    let text = |column| record.get(column).unwrap_or_default();
    let currency = |column| text(column).parse().map_err(|_| unreadable(place, "no currency such as EUR"));
    let rate_e12 = parse_rate(FIELD, text(3)).map_err(|problem| unreadable(place, &problem.message))?;
    let rate = NewRate { source: FxSource::File, base: currency(1)?, quote: currency(2)?, rate_e12, valid_on };
    if rate.base == rate.quote { Err(unreadable(place, "a currency against itself")) } else { Ok(rate) }
}

/// One day of the ECB's tables: a rate per column, `N/A` where there is none.
fn ecb_line(
    head: &csv::StringRecord,
    record: &csv::StringRecord,
    valid_on: NaiveDate,
    place: &str,
    rates: &mut Vec<NewRate>,
) -> Result<(), Problem> {
    let base = euro()?;
    for (code, text) in head.iter().zip(record).skip(1) {
        if text.is_empty() || text == "N/A" {
            continue;
        }
        let rate_e12 = parse_rate(FIELD, text).map_err(|problem| unreadable(place, &problem.message))?;
        if let Ok(quote) = code.parse::<Currency>()
            && quote != base
        {
            rates.push(NewRate { source: FxSource::Ecb, base, quote, rate_e12, valid_on });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::fx_rate::format_rate;

    const DAILY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
	<gesmes:subject>Reference rates</gesmes:subject>
	<gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>
	<Cube>
		<Cube time='2026-11-20'>
			<Cube currency='USD' rate='1.0842'/>
			<Cube currency='JPY' rate='163.50'/>
			<Cube currency='LTL' rate='3.4528'/>
		</Cube>
		<Cube time="2026-11-19"><Cube currency="USD" rate="1.0801"/></Cube>
	</Cube>
</gesmes:Envelope>"#;

    fn lines(format: Format, content: &str) -> Result<Vec<String>, String> {
        let rates = read(format, content).map_err(|problem| problem.message)?;
        let line = |rate: NewRate| {
            let NewRate { source, base, quote, rate_e12, valid_on } = rate;
            format!("{valid_on} {base} {quote} {} {source}", format_rate(rate_e12))
        };
        Ok(rates.into_iter().map(line).collect())
    }

    #[test]
    fn ecb_files_read_as_they_are_published() {
        let known = ["2026-11-20 EUR USD 1.0842 ECB", "2026-11-20 EUR JPY 163.5 ECB", "2026-11-19 EUR USD 1.0801 ECB"];
        assert_eq!(lines(Format::EcbXml, DAILY), Ok(known.map(str::to_owned).to_vec()));
        let daily = "Date, USD, JPY, BGN, \n20 November 2026, 1.0842, 163.50, 1.9558, \n";
        let daily = lines(Format::Csv, daily).expect("readable");
        assert_eq!(daily[..2], known[..2].iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let history = "Date,USD,JPY,CYP,\n2026-11-20,1.0842,N/A,N/A,\n2026-11-19,1.0801,163.1,,\n";
        let history = lines(Format::Csv, history).expect("readable");
        assert_eq!(history, [known[0], known[2], "2026-11-19 EUR JPY 163.1 ECB"]);
    }

    #[test]
    fn table_of_pairs_reads_in_its_own_words() {
        let table = "date,base,quote,rate\n2026-11-20,USD,KES,129.25\n2026-11-20, GBP ,USD,1.31\n";
        let known = ["2026-11-20 USD KES 129.25 FILE", "2026-11-20 GBP USD 1.31 FILE"];
        assert_eq!(lines(Format::Csv, table), Ok(known.map(str::to_owned).to_vec()));
    }

    #[test]
    fn file_that_cannot_be_read_is_refused_by_its_place() {
        for (format, content, expected) in [
            (Format::Csv, "date,base,quote,rate\n2026-11-20,USD,EUR,0.9\n2026-11-31,USD,EUR,0.9\n", "line 3: no day"),
            (Format::Csv, "date,base,quote,rate\n2026-11-20,USD,XYZ,0.9\n", "line 2: no currency"),
            (Format::Csv, "date,base,quote,rate\n2026-11-20,USD,USD,1\n", "line 2: a currency against itself"),
            (Format::Csv, "date,base,quote,rate\n2026-11-20,USD,EUR,zero\n", "line 2: a number above 0"),
            (Format::Csv, "day,from,to\n", "line 1: the columns are"),
            (Format::Csv, "date,base,quote,rate\n", "from 1 to"),
            (Format::EcbXml, "<Cube currency='USD' rate='1'/>", "a rate without its day"),
            (Format::EcbXml, "<Cube time='2026-11-20'><Cube currency='USD'/></Cube>", "no rate"),
            (Format::EcbXml, "<Cube time='2026-11-20'", "byte"),
            (Format::EcbXml, "", "from 1 to"),
        ] {
            let refusal = lines(format, content).expect_err(content);
            assert!(refusal.contains(expected), "{content}: {refusal}");
        }
        let large = "x".repeat(FILE_MAX_BYTES + 1);
        assert!(read(Format::Csv, &large).is_err());
    }

    #[test]
    fn document_is_what_its_media_type_says_or_what_it_begins_with() {
        for (media_type, content, expected) in [
            (Some("text/xml"), "date", Format::EcbXml),
            (Some("Application/XML; charset=utf-8"), "date", Format::EcbXml),
            (Some("application/rates+xml"), "date", Format::EcbXml),
            (Some("text/csv; header=present"), "<", Format::Csv),
            (Some("application/octet-stream"), "\u{feff}\n <?xml", Format::EcbXml),
            (Some("text/plain"), "Date, USD", Format::Csv),
            (Some("xml"), "Date, USD", Format::Csv),
            (None, "<Cube", Format::EcbXml),
            (None, "date,base", Format::Csv),
            (None, "", Format::Csv),
        ] {
            assert_eq!(Format::of(media_type, content), expected, "{media_type:?} {content}");
        }
        let marked = format!("\u{feff}{DAILY}");
        assert_eq!(lines(Format::EcbXml, &marked), lines(Format::EcbXml, DAILY));
        assert!(lines(Format::Csv, "\u{feff}Date, USD\n2026-11-20, 1.0842\n").is_ok());
    }

    #[test]
    fn entities_are_not_expanded() {
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "1"><!ENTITY b "&a;&a;">]>
            <Cube time="2026-11-20"><Cube currency="USD" rate="&b;"/></Cube>"#;
        assert!(read(Format::EcbXml, bomb).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}", cut in any::<prop::sample::Index>()) {
            let _ = read(Format::EcbXml, &text);
            let _ = read(Format::Csv, &format!("date,base,quote,rate\n{text}"));
            let cut = (0..=cut.index(DAILY.len())).rev().find(|at| DAILY.is_char_boundary(*at)).unwrap_or(0);
            let _ = read(Format::EcbXml, &DAILY[..cut]);
        }
    }
}
