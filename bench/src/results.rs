//! The results of a run as one JSON document, with what they depend on: the machine, the programs, and how much.

use std::{ffi::OsString, fs, path::Path, process::Command};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use crate::{BenchError, all::Outcome, figures::Figure, postgres, server};

/// What stood before anything was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    date: String,
    /// What was asked for.
    arguments: Vec<String>,
    /// None where the amounts are a measurement's own.
    scale: Option<f64>,
    machine: Machine,
    versions: Versions,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    cores: usize,
    processor: Option<String>,
    kernel: Option<String>,
    /// Of the last minute, five and fifteen, before anything was started.
    load_before: Vec<f64>,
}

/// As the programs themselves say; none where one is not there.
#[derive(Clone, Debug, Serialize)]
struct Versions {
    tributary: Option<String>,
    postgresql: Option<String>,
    redis: Option<String>,
    rustc: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    setting: &'a Setting,
    figures: Vec<Row<'a>>,
    failed: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    met: Option<bool>,
}

#[derive(Serialize)]
struct Failure<'a> {
    name: &'a str,
    error: &'a str,
}

impl Setting {
    /// As it is now.
    #[expect(clippy::disallowed_methods, reason = "a run has its date from the machine that it tells of")]
    pub fn now(scale: Option<f64>) -> Self {
        Self {
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            arguments: std::env::args().skip(1).collect(),
            scale,
            machine: Machine::now(),
            versions: Versions::now(),
        }
    }

    /// Writes what came out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, outcome: &Outcome, path: &Path) -> Result<(), BenchError> {
        let text = self.document(outcome).map_err(|error| BenchError::Failed(error.to_string()))?;
        Ok(fs::write(path, text + "\n")?)
    }

    fn document(&self, outcome: &Outcome) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&Document {
            setting: self,
            figures: outcome.figures.iter().map(|figure| Row { figure, met: figure.is_met() }).collect(),
            failed: outcome.failed.iter().map(|(name, error)| Failure { name, error }).collect(),
        })
    }
}

impl Machine {
    fn now() -> Self {
        let read = |path| fs::read_to_string(path).ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: read("/proc/cpuinfo").and_then(|text| processor(&text)),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            load_before: read("/proc/loadavg").map(|text| load(&text)).unwrap_or_default(),
        }
    }
}

fn processor(cpuinfo: &str) -> Option<String> {
    let (_, name) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}

fn load(loadavg: &str) -> Vec<f64> {
    loadavg.split_whitespace().take(3).filter_map(|number| number.parse().ok()).collect()
}

impl Versions {
    fn now() -> Self {
        let redis = std::env::var_os("TRIBUTARY_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let postgres = postgres::programs().map(|folder| folder.join("postgres").into_os_string());
        Self {
            tributary: server::program("tributary").ok().and_then(|path| version(path.into_os_string())),
            postgresql: postgres.ok().and_then(version),
            redis: version(redis),
            rustc: version("rustc".into()),
        }
    }
}

fn version(program: OsString) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().filter(|_| output.status.success()).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::figures::Demand;

    #[test]
    fn document_has_the_setting_all_figures_and_what_failed() {
        let setting = Setting {
            date: "2026-11-27T12:00:00Z".to_owned(),
            arguments: vec!["all".to_owned()],
            scale: Some(0.25),
            machine: Machine {
                cores: 2,
                processor: Some("A processor".to_owned()),
                kernel: Some("6.1.0".to_owned()),
                load_before: vec![0.5, 0.25, 0.0],
            },
            versions: Versions {
                tributary: Some("tributary 0.1.0".to_owned()),
                postgresql: None,
                redis: None,
                rustc: Some("rustc 1.95.0".to_owned()),
            },
        };
        let figure = Figure::new("pages", "first", 3_500.0, "pages/s").demand(Demand::AtLeast(3_000.0));
        let outcome = Outcome { figures: vec![figure], failed: vec![("report", "it differs".to_owned())] };
        let text = setting.document(&outcome).expect("it is JSON");
        let expected = json!({
            "date": "2026-11-27T12:00:00Z", "arguments": ["all"], "scale": 0.25,
            "machine": { "cores": 2, "processor": "A processor", "kernel": "6.1.0", "loadBefore": [0.5, 0.25, 0.0] },
            "versions": {
                "tributary": "tributary 0.1.0", "postgresql": null, "redis": null, "rustc": "rustc 1.95.0",
            },
            "figures": [{
                "name": "pages", "what": "first", "value": 3_500.0, "unit": "pages/s", "floor": null, "ratio": null,
                "demanded": { "of": "value", "atLeast": 3_000.0 }, "met": true,
            }],
            "failed": [{ "name": "report", "error": "it differs" }],
        });
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), expected);
    }

    #[test]
    fn machine_is_told_by_the_kernel() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: A  fast: one\n"), Some("A  fast: one".to_owned()));
        assert_eq!(processor("processor\t: 0\n"), None);
        assert_eq!(load("0.52 1.10 2.00 1/234 5678\n"), [0.52, 1.1, 2.0]);
    }
}
