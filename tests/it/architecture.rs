//! The rules of the source itself: which layer may name which, who makes scopes, what does not belong into the code.
//!
//! The source is read as text, without comments and string literals; what is under `#[cfg(test)]` is set apart.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Each layer of `src`, and the layers that it may name. Nothing may name what stands below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("ambient", &[]),
    ("config", &[]),
    // `ambient` for the ids of traces that begin here.
    ("trace", &["ambient", "config"]),
    // Logging begins before anything else, as the settings say.
    ("telemetry", &["config", "trace"]),
    ("domain", &[]),
    ("fault", &[]),
    // `ambient` for the ids of rows that the store makes itself: a new tenant, a missing account.
    ("store", &["ambient", "domain"]),
    // Calls the outside, and knows neither the database nor what becomes of a payout.
    ("processors", &["domain"]),
    ("redis_client", &[]),
    ("bus", &["domain", "redis_client"]),
    ("limits", &["redis_client"]),
    ("spool", &[]),
    // `config` for the identity providers, which are as the settings describe them.
    ("auth", &["ambient", "config", "domain", "store"]),
    (
        "services",
        &[
            "ambient",
            "config",
            "domain",
            "fault",
            "store",
            "processors",
            "redis_client",
            "bus",
            "limits",
            "spool",
            "auth",
        ],
    ),
    // Not the store: a resolver that could open a transaction would not stay a translation.
    ("graphql", &["domain", "auth", "services"]),
    // The transports carry documents to the schema, and make a request's context; telemetry for its metrics.
    ("http", &["ambient", "trace", "telemetry", "auth", "services", "graphql"]),
    // Jobs belong to no request, so their scopes come from the directory, and their work from the outbox: see STORE_OF_JOBS.
    ("jobs", &["trace", "domain", "store", "services"]),
    // Puts everything together.
    (
        "app",
        &[
            "ambient",
            "config",
            "telemetry",
            "domain",
            "store",
            "processors",
            "redis_client",
            "bus",
            "limits",
            "spool",
            "auth",
            "services",
            "graphql",
            "http",
            "jobs",
        ],
    ),
    // Makes its tenant and token as the command line does; all the rest is done as a client of the public API.
    ("demo", &["ambient", "config", "auth", "services", "app"]),
    ("cli", &["config", "trace", "telemetry", "domain", "auth", "services", "graphql", "app", "demo"]),
    ("lib", &[]),
    // By the crate's name.
    ("main", &["cli"]),
];

/// What of the store jobs may name: due work and its tenants are found before there is a scope, leased and deleted by
/// the runner. Everything else they do through services.
const STORE_OF_JOBS: &[&str] = &["directory", "outbox"];

/// Where a scope is made: from a credential, or from what the directory found.
const SCOPE_MAKERS: &[&str] = &["src/auth/", "src/store/directory.rs", "src/domain/tenancy.rs"];
/// Where a scope is widened to its tenant: the machine that decides for everybody.
const SCOPE_WIDENERS: &[&str] = &["src/services/feed/mod.rs", "src/services/ingest/mod.rs", "src/domain/tenancy.rs"];

/// Files that are longer than one sitting, each looked at.
const LONG: &[(&str, &str)] = &[];
const LONG_LINES: usize = 600;

/// A source file: all of its code, and the part that is not for tests alone.
struct Source {
    path: String,
    text: String,
    code: String,
    shipped: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The layer of a file of `src`.
    fn layer(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        path.split(['/', '.']).next()
    }

    /// A finding with its line.
    fn at(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.code[..offset].matches('\n').count() + 1)
    }

    /// Where a text stands in the code that is not for tests alone.
    fn shipped_at(&self, what: &str) -> Vec<String> {
        self.shipped.match_indices(what).map(|(offset, _)| self.at(offset, what)).collect()
    }
}

/// All Rust files of the workspace.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "entity/src", "migration/src", "tests/it"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    let mut only_tests = BTreeSet::new();
    let mut sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(file).expect("readable");
            let code = code(&text);
            let shipped = if path.starts_with("tests/") { " ".repeat(code.len()) } else { without_tests(&code) };
            for module in test_modules(&code) {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                only_tests.insert(format!("{folder}/{module}.rs"));
            }
            Source { path, text, code, shipped }
        })
        .collect();
    for source in sources.iter_mut().filter(|source| only_tests.contains(&source.path)) {
        source.shipped = " ".repeat(source.code.len());
    }
    assert!(sources.len() > 100, "the sources are found");
    sources
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The text with comments and the insides of literals blanked out; offsets and lines stay.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    let blank = |out: &mut Vec<u8>, from: usize, to: usize| {
        for byte in &mut out[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let find = |from: usize, what: &str| text[from..].find(what).map_or(text.len(), |found| from + found);
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            let end = find(at, "\n");
            blank(&mut out, at, end);
            at = end;
        } else if rest.starts_with(b"/*") {
            let end = (find(at, "*/") + 2).min(text.len());
            blank(&mut out, at, end);
            at = end;
        } else if let Some(hashes) = raw_string(bytes, at) {
            let start = at + hashes + 2;
            let end = find(start, &format!("\"{}", "#".repeat(hashes)));
            blank(&mut out, start, end);
            at = end + 1 + hashes;
        } else if rest[0] == b'"' {
            let start = at + 1;
            at = start;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            blank(&mut out, start, at.min(bytes.len()));
            at += 1;
        } else if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'')) {
            // A character, not a lifetime.
            let start = at + 1;
            at = start + if bytes[start] == b'\\' { 2 } else { 1 };
            while at < bytes.len() && bytes[at] != b'\'' {
                at += 1;
            }
            blank(&mut out, start, at);
            at += 1;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).expect("blanks in place of whole characters")
}

/// The number of `#` of a raw string that begins here.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|at| bytes[at]);
    if bytes[at] != b'r' || before.is_some_and(|byte| byte.is_ascii_alphanumeric() && byte != b'b') {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

const TEST_ONLY: &str = "#[cfg(test)]";

/// The code with every item under `#[cfg(test)]` blanked out.
fn without_tests(code: &str) -> String {
    let mut shipped = code.as_bytes().to_vec();
    for (start, _) in code.match_indices(TEST_ONLY) {
        let mut depth = 0;
        for (offset, byte) in code.bytes().enumerate().skip(start) {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if byte != b'\n' {
                shipped[offset] = b' ';
            }
            if depth == 0 && (byte == b'}' || byte == b';') {
                break;
            }
        }
    }
    String::from_utf8(shipped).expect("still text")
}

/// Modules with files of their own under `#[cfg(test)]`.
fn test_modules(code: &str) -> Vec<String> {
    code.match_indices(TEST_ONLY)
        .filter_map(|(start, _)| {
            let item = code[start + TEST_ONLY.len()..].trim_start();
            let item = item.strip_prefix("pub(crate) ").unwrap_or(item).strip_prefix("mod ")?;
            let name = &item[..item.find(|c: char| !c.is_alphanumeric() && c != '_')?];
            item[name.len()..].starts_with(';').then(|| name.to_owned())
        })
        .collect()
}

/// The paths behind each `crate::`, trees of a `use` unfolded: `crate::{a::b, c}` is `a::b` and `c`.
fn crate_paths(code: &str, root: &str) -> Vec<(usize, String)> {
    let begin = format!("{root}::");
    let mut paths = Vec::new();
    for (offset, _) in code.match_indices(&begin) {
        let before = code[..offset].chars().next_back().unwrap_or(' ');
        if !before.is_alphanumeric() && before != '_' && before != ':' {
            unfold(code[offset + begin.len()..].trim_start(), "", &mut |path| paths.push((offset, path)));
        }
    }
    paths
}

/// Tells every path of a `use` tree (or of a path in code) that the text begins with; answers what is behind it.
fn unfold<'a>(text: &'a str, prefix: &str, tell: &mut dyn FnMut(String)) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            let behind = unfold(rest, prefix, tell).trim_start();
            let behind = behind
                .strip_prefix("as ")
                .map_or(behind, |renamed| renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
            rest = behind.trim_start().trim_start_matches(',');
            assert!(rest.len() < text.len(), "a tree ends");
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let path = if prefix.is_empty() { text[..end].to_owned() } else { format!("{prefix}::{}", &text[..end]) };
    match text[end..].strip_prefix("::") {
        Some(rest) => unfold(rest, &path, tell),
        None => {
            tell(path);
            &text[end..]
        }
    }
}

fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n{}", findings.join("\n"));
}

#[test]
fn every_layer_names_only_those_before_it() {
    let mut rule = "A layer may name (entity and) these; see LAYERS in tests/it/architecture.rs:\n".to_owned();
    for (layer, may) in LAYERS {
        let _ = writeln!(rule, "  {layer:<9} {}", may.join(", "));
    }
    let mut findings = Vec::new();
    for source in sources() {
        let Some(layer) = source.layer() else { continue };
        let Some((_, may)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            findings.push(format!("{}: `{layer}` is no layer; give it a place in LAYERS", source.path));
            continue;
        };
        let mut paths = crate_paths(&source.code, "crate");
        if layer == "main" {
            paths.extend(crate_paths(&source.code, "tributary"));
        }
        for (offset, path) in paths {
            let mut segments = path.split("::");
            let named = segments.next().unwrap_or_default();
            // A macro of the crate is named like a module; it has no path.
            if named != layer && !may.contains(&named) {
                findings.push(source.at(offset, &format!("{layer} names {path}")));
            }
            let of_store = segments.next().unwrap_or_default();
            if layer == "jobs" && named == "store" && !STORE_OF_JOBS.contains(&of_store) {
                findings.push(source.at(offset, &format!("jobs name {path}; of the store only {STORE_OF_JOBS:?}")));
            }
        }
        // The way around the rule: from a file of a layer, that is outside it.
        if source.path.matches('/').count() < 3 {
            findings.extend(source.shipped_at("super::super"));
        }
    }
    none(&rule, findings);
}

#[test]
fn layers_stand_in_their_order() {
    let order: Vec<&str> = LAYERS.iter().map(|(layer, _)| *layer).collect();
    for (index, (layer, may)) in LAYERS.iter().enumerate() {
        for named in *may {
            assert!(
                order[..index].contains(named),
                "{layer} may name {named}, which does not stand before it: a cycle"
            );
        }
    }
}

#[test]
fn workspace_crates_name_no_later_one() {
    let mut findings = Vec::new();
    for source in sources() {
        let inner = source.is_in(&["entity/", "migration/"]);
        let migrates = source.is_in(&["src/store/database.rs", "src/store/migrations.rs"]);
        for (name, allowed) in [("tributary_entity", !inner), ("tributary_migration", migrates)] {
            if !allowed && !source.is_in(&["tests/"]) {
                findings.extend(source.code.match_indices(name).map(|(offset, _)| source.at(offset, name)));
            }
        }
    }
    none("entity and migration stand alone, and only the store's opening migrates", findings);
}

#[test]
fn only_the_store_names_the_database_library() {
    let findings = sources()
        .iter()
        .filter(|source| source.is_in(&["src/"]) && !source.is_in(&["src/store/"]))
        .flat_map(|source| ["sea_orm", "sqlx"].map(|name| source.shipped_at(name)).concat())
        .collect();
    none("a query outside store would not be scoped: only store (and entity, migration) name sea_orm", findings);
}

#[test]
fn domain_is_pure() {
    let findings = sources()
        .iter()
        .filter(|source| source.is_in(&["src/domain/"]))
        .flat_map(|source| {
            ["async ", ".await", "Utc::now", "SystemTime", "Instant::now", "rand::", "tokio", "std::env", "std::fs"]
                .map(|name| source.shipped_at(name))
                .concat()
        })
        .collect();
    none("domain decides from its arguments: no waiting, no clock, no randomness, no surroundings", findings);
}

#[test]
fn scopes_are_made_from_credentials_and_by_the_directory_alone() {
    let mut findings = Vec::new();
    for source in sources() {
        for (makers, call) in [
            (SCOPE_MAKERS, "TenantScope::tenant"),
            (SCOPE_MAKERS, "TenantScope::affiliate"),
            (SCOPE_WIDENERS, ".whole_tenant("),
            (SCOPE_WIDENERS, "::whole_tenant"),
        ] {
            if !source.is_in(makers) {
                findings.extend(source.shipped_at(call));
            }
        }
        // Under another name it would not be found above.
        findings.extend(source.shipped_at("TenantScope as "));
    }
    none("whose rows a piece of work sees comes from a credential or a token, never from an argument", findings);
}

#[test]
fn every_file_begins_with_its_purpose() {
    let findings =
        sources().iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path.clone()).collect();
    none("every file begins with `//!` and its purpose in a sentence", findings);
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut findings = Vec::new();
    for source in sources() {
        let (lines, reviewed) = (source.text.lines().count(), LONG.iter().any(|(path, _)| *path == source.path));
        if (lines > LONG_LINES) != reviewed {
            findings.push(format!("{}: {lines} lines{}", source.path, if reviewed { "; off the list" } else { "" }));
        }
    }
    none("split where a second idea begins, or give the reason in LONG", findings);
}

#[test]
fn unfinished_work_is_not_kept() {
    let mut findings = Vec::new();
    for source in sources() {
        for name in ["todo!", "unimplemented!", "dbg!", "#[ignore"] {
            findings.extend(source.code.match_indices(name).map(|(offset, _)| source.at(offset, name)));
        }
        for name in [".unwrap()", ".unwrap_unchecked("] {
            findings.extend(source.shipped_at(name));
        }
    }
    none("no unfinished code, no ignored tests; outside tests `expect` says why it cannot fail", findings);
}

#[test]
fn lints_are_silenced_with_a_reason() {
    let mut findings = Vec::new();
    for source in sources() {
        for name in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for (offset, _) in source.code.match_indices(name) {
                let end = source.code[offset..].find(")]").map_or(source.code.len(), |end| offset + end);
                if !source.code[offset..end].contains("reason") {
                    findings.push(source.at(offset, name));
                }
            }
        }
    }
    none("`#[expect(lint, reason = ..)]`; `allow`, with a reason, only where a macro expands both ways", findings);
}

#[test]
fn use_trees_are_unfolded() {
    let paths = |code: &str| crate_paths(code, "crate").into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    assert_eq!(paths("use crate::{a::{self, b}, c as d, e::*};"), ["a::self", "a::b", "c", "e::*"]);
    assert_eq!(paths("let x = crate::store::scope::Tx::new(); tributary_crate::x"), ["store::scope::Tx::new"]);
    assert_eq!(paths(&code("// crate::a\n\"crate::b\" r#\"crate::c\"# 'c' crate::d")), ["d"]);
}
