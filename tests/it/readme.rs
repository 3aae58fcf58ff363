//! The README is the reference: it names every setting, and every code that a client may switch on.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tributary::config::Settings;

use crate::support::Sdl;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a text names something as code.
fn names(text: &str, name: &str) -> bool {
    text.contains(&format!("`{name}`"))
}

#[test]
fn every_setting_is_in_the_readme_by_its_variable() {
    let readme = read("README.md");
    let Value::Object(settings) = serde_json::to_value(Settings::default()).expect("settings are data") else {
        panic!("settings are a table");
    };
    let missing: Vec<String> = settings
        .keys()
        .map(|field| match field.as_str() {
            "database_url" | "redis_url" => field.to_uppercase(),
            _ => format!("TRIBUTARY_{}", field.to_uppercase()),
        })
        .filter(|variable| !names(&readme, variable))
        .collect();
    assert!(missing.is_empty(), "README.md says nothing of {missing:?}");
}

#[test]
fn every_code_is_in_the_readme() {
    let readme = read("README.md");
    let sdl = Sdl::of_this_build();
    let mut codes: BTreeSet<String> = sdl.fields("UserErrorCode").iter().map(|value| value.name.clone()).collect();
    assert!(codes.len() > 10, "user error codes are found");
    codes.extend(top_level_codes());
    let missing: Vec<&String> = codes.iter().filter(|code| !names(&readme, code)).collect();
    assert!(missing.is_empty(), "README.md says nothing of {missing:?}");
}

/// The codes of top-level errors: the texts in capitals in the places that answer them.
fn top_level_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut files: Vec<String> = vec!["src/graphql/error.rs".to_owned()];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    for entry in fs::read_dir(folder).expect("a folder") {
        files.push(format!("src/http/{}", entry.expect("an entry").file_name().to_string_lossy()));
    }
    for file in files {
        let source = read(&file);
        // Every other piece between quotes is a literal: none of these files holds an escaped or raw one with a quote.
        for literal in source.split('"').skip(1).step_by(2) {
            let is_code = literal.len() > 4
                && literal.contains(|c: char| c.is_ascii_uppercase())
                && literal.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if is_code {
                codes.insert(literal.to_owned());
            }
        }
    }
    for known in ["UNAUTHENTICATED", "FORBIDDEN", "INTERNAL", "GRAPHQL_VALIDATION_FAILED", "RATE_LIMITED"] {
        assert!(codes.contains(known), "{known} is found in {codes:?}");
    }
    codes
}
