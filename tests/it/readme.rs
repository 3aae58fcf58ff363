//! The README names every code of a top-level error. (Its settings are held to `config`, the codes of refusals to
//! `graphql::error`, beside the code.)

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_top_level_code_is_in_the_readme() {
    let readme = read(Path::new("README.md"));
    let missing: Vec<String> =
        top_level_codes().into_iter().filter(|code| !readme.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "README.md says nothing of {missing:?}");
}

/// The texts in capitals in the places that answer errors.
fn top_level_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        ["error", "execution", "persisted"].map(|name| root.join(format!("src/graphql/{name}.rs"))).into();
    for folder in ["src/graphql/guard", "src/http", "src/http/ws"] {
        let entries = fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|path| path.is_file()));
    }
    for file in files {
        // Every other piece between quotes is a literal, as long as no literal holds a quote: one may, and then pieces
        // of code are looked at too, which holds nothing in capitals between quotes.
        for pieces in [0, 1] {
            codes
                .extend(read(&file).split('"').skip(pieces).step_by(2).filter(|text| is_code(text)).map(str::to_owned));
        }
    }
    for known in
        ["UNAUTHENTICATED", "FORBIDDEN", "INTERNAL", "GRAPHQL_VALIDATION_FAILED", "RATE_LIMITED", "QUERY_TOO_COMPLEX"]
    {
        assert!(codes.contains(known), "{known} is found in {codes:?}");
    }
    codes
}

fn is_code(text: &str) -> bool {
    text.len() > 4 && !text.starts_with('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}
