//! What measurements come to, in one form for all of them: rows of figures, as a table for people and as JSON for machines.

use std::fmt::Write as _;

use serde::{Serialize, Serializer, ser::SerializeMap};

/// One figure of one measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Of the measurement.
    pub name: &'static str,
    /// What was measured, and under which load.
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    /// The same of the least that has to be done, in the same run.
    pub floor: Option<f64>,
    /// Of the value to its floor.
    pub ratio: Option<f64>,
    pub demanded: Option<Demand>,
}

/// What a figure is to be at the full scale.
#[derive(Clone, Copy, Debug)]
pub enum Demand {
    AtLeast(f64),
    AtMost(f64),
    RatioAtLeast(f64),
    RatioAtMost(f64),
}

impl Figure {
    pub fn new(name: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name, what: what.into(), value, unit, floor: None, ratio: None, demanded: None }
    }

    /// Beside its floor, where there is one.
    pub fn beside(self, floor: Option<f64>) -> Self {
        let ratio = floor.filter(|floor| *floor > 0.0).map(|floor| self.value / floor);
        Self { floor, ratio, ..self }
    }

    pub fn demand(self, demanded: Demand) -> Self {
        Self { demanded: Some(demanded), ..self }
    }

    /// Whether it is as demanded; none where nothing is, or where the floor is missing of which a ratio is demanded.
    pub fn is_met(&self) -> Option<bool> {
        Some(match self.demanded? {
            Demand::AtLeast(bound) => self.value >= bound,
            Demand::AtMost(bound) => self.value <= bound,
            Demand::RatioAtLeast(bound) => self.ratio? >= bound,
            Demand::RatioAtMost(bound) => self.ratio? <= bound,
        })
    }
}

impl Demand {
    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {}", number(bound)),
            Self::AtMost(bound) => format!("<= {}", number(bound)),
            Self::RatioAtLeast(bound) => format!("ratio >= {bound}"),
            Self::RatioAtMost(bound) => format!("ratio <= {bound}"),
        }
    }
}

impl Serialize for Demand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (of, least, bound) = match self {
            Self::AtLeast(bound) => ("value", true, bound),
            Self::AtMost(bound) => ("value", false, bound),
            Self::RatioAtLeast(bound) => ("ratio", true, bound),
            Self::RatioAtMost(bound) => ("ratio", false, bound),
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("of", of)?;
        map.serialize_entry(if least { "atLeast" } else { "atMost" }, bound)?;
        map.end()
    }
}

/// The figures as a table.
pub fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0).max(10);
    let mut text = format!(
        "{:<12} {:<width$}{:>12} {:<15}{:>12}{:>8}  {:<14}{}\n",
        "measurement", "what", "value", "unit", "floor", "ratio", "demanded", "met"
    );
    for figure in figures {
        let optional = |value: Option<f64>| value.map(number).unwrap_or_default();
        let met = figure.is_met().map_or("", |met| if met { "yes" } else { "NO" });
        let line = format!(
            "{:<12} {:<width$}{:>12} {:<15}{:>12}{:>8}  {:<14}{met}",
            figure.name,
            figure.what,
            number(figure.value),
            figure.unit,
            optional(figure.floor),
            figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            figure.demanded.map(Demand::text).unwrap_or_default(),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// With as many decimals as tell something.
fn number(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 || size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn demands_are_of_the_value_or_of_the_ratio() {
        let figure = |floor| Figure::new("pages", "first", 3_000.0, "pages/s").beside(floor);
        assert_eq!(figure(None).is_met(), None);
        assert_eq!(figure(None).demand(Demand::AtLeast(3_000.0)).is_met(), Some(true));
        assert_eq!(figure(None).demand(Demand::AtMost(2_999.0)).is_met(), Some(false));
        assert_eq!(figure(Some(6_000.0)).demand(Demand::RatioAtLeast(0.5)).is_met(), Some(true));
        assert_eq!(figure(Some(6_000.0)).demand(Demand::RatioAtMost(0.4)).is_met(), Some(false));
        assert_eq!(figure(None).demand(Demand::RatioAtMost(0.4)).is_met(), None);
        // Of nothing there is no ratio.
        assert_eq!(figure(Some(0.0)).ratio, None);
    }

    #[test]
    fn json_has_all_of_a_figure() {
        let figure = Figure::new("report", "p99", 12.5, "ms").beside(Some(10.0)).demand(Demand::AtMost(20.0));
        let expected = json!({
            "name": "report", "what": "p99", "value": 12.5, "unit": "ms", "floor": 10.0, "ratio": 1.25,
            "demanded": { "of": "value", "atMost": 20.0 },
        });
        assert_eq!(serde_json::to_value(figure).expect("it is JSON"), expected);
        let bare = serde_json::to_value(Figure::new("idle", "memory", 9.3, "kiB")).expect("it is JSON");
        assert_eq!(bare["floor"], json!(null));
        assert_eq!(bare["demanded"], json!(null));
    }

    #[test]
    fn table_says_what_is_not_met() {
        let figures = [
            Figure::new("pages", "first", 1_234.6, "pages/s").beside(Some(4_000.0)).demand(Demand::AtLeast(3_000.0)),
            Figure::new("idle", "memory of a socket", 9.34, "kiB"),
        ];
        let text = table(&figures);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[1]), ["pages", "first", "1235", "pages/s", "4000", "0.31", ">=", "3000", "NO"]);
        assert_eq!(words(lines[2]), ["idle", "memory", "of", "a", "socket", "9.34", "kiB"]);
    }
}
