//! What is deployed names nothing that is not there: metrics that nodes export, settings that the README lists. And a
//! rolling restart of it loses nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::support::{database, say};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The names in a text that begin so, and are longer than that.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .map(str::to_owned)
        .collect()
}

/// A metric's name, without what Prometheus adds to the series of a histogram.
fn metric(series: &str) -> &str {
    ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| series.strip_suffix(suffix)).unwrap_or(series)
}

/// Those that are explained at `/metrics`, which are all: `metrics.rs` sees to that. Some are told only once they counted,
/// so the list is read where it is written.
fn exported() -> BTreeSet<String> {
    let source = read(&root().join("src/telemetry.rs"));
    // Every other piece between quotes is a literal, whichever it begins with.
    let exported: BTreeSet<String> = source
        .split('"')
        .filter(|text| text.starts_with("tributary_") && names(text, "tributary_").contains(*text))
        .map(str::to_owned)
        .collect();
    for known in ["tributary_live_subscribers", "tributary_redirects_total", "tributary_redirect_seconds"] {
        assert!(exported.contains(known), "{known} is found in {exported:?}");
    }
    exported
}

#[test]
fn alerts_and_dashboard_name_metrics_that_nodes_export() {
    let exported = exported();
    for file in ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts.test.yml", "deploy/grafana/tributary.json"] {
        let named = names(&read(&root().join(file)), "tributary_");
        assert!(!named.is_empty(), "{file} names metrics");
        let unknown: Vec<&String> = named.iter().filter(|name| !exported.contains(metric(name))).collect();
        assert!(unknown.is_empty(), "{file}: nodes do not export {unknown:?}");
    }
}

#[test]
fn deployed_settings_are_in_the_readme() {
    let readme = read(&root().join("README.md"));
    let files = files(&root().join("deploy"));
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = read(&file);
        let unknown: Vec<String> = names(&text, "TRIBUTARY_")
            .into_iter()
            // What belongs to the tests is no setting.
            .filter(|name| !name.starts_with("TRIBUTARY_TEST_"))
            .filter(|name| !readme.contains(&format!("`{name}`")))
            .collect();
        assert!(unknown.is_empty(), "{}: README.md has no setting {unknown:?}", file.display());
    }
}

/// Whether nginx is where `deploy/local` looks for it.
fn has_nginx() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]).any(|folder| Path::new(folder).join("nginx").is_file())
}

/// Two nodes behind nginx are restarted one after the other while conversions are recorded: no mutation fails once it was
/// sent again under its key, nothing is stored or told twice, nothing is missing, and the ledger verifies. The script
/// compares.
async fn rolling_restart_loses_nothing(signal: &str) {
    assert!(has_nginx(), "there is no nginx: tests/with-servers installs it where it may");
    let check = Command::new(root().join("deploy/check-rolling-restart"))
        .args(["--program", env!("CARGO_BIN_EXE_tributary"), "--rounds", "1", "--workers", "8", "--signal", signal])
        .env("TRIBUTARY_TEST_DATABASE_URL", database::new_postgres().await)
        .env("TRIBUTARY_TEST_REDIS_URL", database::new_redis().await)
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(300), check).await.expect("it ends").expect("it runs");
    let (said, words) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("nothing lost, nothing doubled"), "{said}\n{words}");
    say(said.trim());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_loses_nothing_by_asking() {
    rolling_restart_loses_nothing("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_loses_nothing_by_killing() {
    rolling_restart_loses_nothing("KILL").await;
}
