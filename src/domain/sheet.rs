//! Sheets for people: a statement, or what a payout pays, as CSV and as one page of PDF.
//!
//! # Decisions
//! - The page is set in Helvetica, which every reader has, and in the characters of Western Europe; names in other scripts
//!   are spelled in them. Nothing on it says when it was made: the same sheet is the same bytes.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::bank::{ascii, table::csv};

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Two columns: names and values.
    Csv,
    /// One page.
    Pdf,
}

/// All that a sheet says: a title, and pairs of a name and a value, in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub title: &'static str,
    /// The tenant that pays.
    pub payer: String,
    /// What it is about: names, whom and where.
    pub about: Vec<(&'static str, String)>,
    /// How an amount came about; the last is the amount itself.
    pub amounts: Vec<(&'static str, String)>,
}

impl Sheet {
    /// The same bytes each time.
    pub fn written(&self, form: Form) -> Vec<u8> {
        match form {
            Form::Csv => to_csv(self).into_bytes(),
            Form::Pdf => to_pdf(self),
        }
    }
}

fn to_csv(sheet: &Sheet) -> String {
    let pairs = sheet.about.iter().chain(&sheet.amounts);
    let first = [["field".to_owned(), "value".to_owned()], ["payer".to_owned(), sheet.payer.clone()]];
    csv(first.into_iter().chain(pairs.map(|(name, value)| [name.to_lowercase(), value.clone()])))
}

/// A4, in points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 64.0;
const VALUES: f32 = 210.0;
const LINE: f32 = 20.0;
/// Characters of a value that fit its line.
const VALUE_MAX: usize = 58;

fn to_pdf(sheet: &Sheet) -> Vec<u8> {
    let [catalog, pages, page, contents, regular, bold] = [1, 2, 3, 4, 5, 6].map(Ref::new);
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let mut leaf = pdf.page(page);
    leaf.parent(pages).media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).contents(contents);
    let mut resources = leaf.resources();
    resources.fonts().pair(Name(b"R"), regular).pair(Name(b"B"), bold);
    resources.finish();
    leaf.finish();
    for (font, name) in [(regular, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        pdf.type1_font(font).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.stream(contents, &content(sheet));
    pdf.document_info(Ref::new(7)).title(TextStr(sheet.title));
    pdf.finish()
}

fn content(sheet: &Sheet) -> Vec<u8> {
    let mut content = Content::new();
    let mut y = HEIGHT - MARGIN - 20.0;
    let mut text = |font: &[u8], size: f32, x: f32, y: f32, value: &str| {
        let value: String = value.chars().take(VALUE_MAX).collect();
        content.begin_text().set_font(Name(font), size).next_line(x, y).show(Str(&win_ansi(&value))).end_text();
    };
    text(b"B", 20.0, MARGIN, y, sheet.title);
    y -= 28.0;
    text(b"R", 11.0, MARGIN, y, &sheet.payer);
    y -= 2.0 * LINE;
    for (name, value) in &sheet.about {
        for (place, part) in parts(value).iter().enumerate() {
            if place == 0 {
                text(b"B", 10.0, MARGIN, y, name);
            }
            text(b"R", 10.0, VALUES, y, part);
            y -= LINE;
        }
    }
    y -= LINE;
    let last = sheet.amounts.len().saturating_sub(1);
    let mut total = None;
    for (place, (name, value)) in sheet.amounts.iter().enumerate() {
        if place == last {
            total = Some(y + LINE - 6.0);
            y -= 4.0;
        }
        let (font, size): (&[u8], f32) = if place == last { (b"B", 12.0) } else { (b"R", 10.0) };
        text(font, size, MARGIN, y, name);
        // Figures are 556 thousandths of the size wide in both weights, so that a right margin can be kept.
        #[expect(clippy::cast_precision_loss, reason = "a line has few characters")]
        let width = value.chars().filter(|char| *char != '.' && *char != ',').count() as f32 * size * 0.6;
        text(font, size, WIDTH - MARGIN - width, y, value);
        y -= LINE;
    }
    if let Some(y) = total {
        content.set_line_width(0.8).move_to(MARGIN, y).line_to(WIDTH - MARGIN, y).stroke();
    }
    content.finish().to_vec()
}

/// A value in lines that fit.
fn parts(value: &str) -> Vec<String> {
    let chars: Vec<char> = value.chars().collect();
    if chars.is_empty() {
        return vec![String::new()];
    }
    chars.chunks(VALUE_MAX).map(|part| part.iter().collect()).collect()
}

/// A text in the characters of Windows-1252, other scripts spelled in them.
fn win_ansi(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|char| match char {
            ' '..='~' => vec![char as u8],
            '\u{a1}'..='\u{ff}' => vec![u8::try_from(u32::from(char)).unwrap_or(b'?')],
            '€' => vec![0x80],
            '…' => vec![0x85],
            char if char.is_whitespace() => vec![b' '],
            char => ascii(&char.to_string()).unwrap_or_else(|| "?".to_owned()).into_bytes(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        Sheet {
            title: "Remittance advice",
            payer: "Müller & Söhne".to_owned(),
            about: vec![
                ("Payout", "pay_00000000000000000000000001".to_owned()),
                ("Payee", "Иван Ångström".to_owned()),
                ("Account", "DE89…3000".to_owned()),
            ],
            amounts: vec![("Earned", "12.00 EUR".to_owned()), ("Paid", "12.00 EUR".to_owned())],
        }
    }

    #[test]
    fn page_is_the_same_bytes_and_spells_every_name() {
        let pdf = to_pdf(&sheet());
        assert_eq!(pdf, to_pdf(&sheet()));
        assert!(pdf.starts_with(b"%PDF-1."));
        // What is not ASCII stands in hexadecimal digits.
        let holds = |text: &[u8]| {
            let digits = data_encoding::HEXUPPER.encode(text);
            pdf.windows(digits.len()).any(|window| window == digits.as_bytes())
        };
        assert!(holds(b"Ivan \xc5ngstr\xf6m"));
        assert!(holds(b"DE89\x853000"));
    }

    #[test]
    fn csv_names_every_value() {
        let csv = to_csv(&sheet());
        assert!(csv.starts_with("field,value\r\npayer,Müller & Söhne\r\npayout,pay_"), "{csv}");
        assert!(csv.ends_with("earned,12.00 EUR\r\npaid,12.00 EUR\r\n"), "{csv}");
    }
}
