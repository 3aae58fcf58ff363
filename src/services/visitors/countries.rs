//! Countries by address, from a database file in MaxMind's format: GeoLite2 Country or City, DB-IP, or any with
//! `country.iso_code`.
//!
//! # Decisions
//! - The file is read into memory, not mapped: a mapped file that is cut while it is read ends the process, and the
//!   country databases have some megabytes.
//! - It is looked at each minute and read again when it has changed: the tools that keep such files replace them and can
//!   signal nobody, least of all several nodes. A new file that cannot be used leaves the old one in place.
//! - No database is shipped: those that are worth having have licences of their own.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use maxminddb::{MaxMindDbError, PathElement, Reader};

/// Why a country database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountryError {
    #[error("it cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("it is no country database in MaxMind's format: {0}")]
    Format(#[from] MaxMindDbError),
}

/// What tells a file from its successor.
type Stamp = (SystemTime, u64);

struct Opened {
    reader: Reader<Vec<u8>>,
    stamp: Stamp,
}

/// The country database, if there is one.
pub(super) struct Countries {
    path: Option<PathBuf>,
    opened: RwLock<Option<Arc<Opened>>>,
}

impl Countries {
    pub fn open(path: Option<&Path>) -> Result<Self, CountryError> {
        let opened = path.map(open).transpose()?.map(Arc::new);
        Ok(Self { path: path.map(Path::to_owned), opened: RwLock::new(opened) })
    }

    fn opened(&self) -> Option<Arc<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// ISO 3166-1 alpha-2.
    pub fn of(&self, address: IpAddr) -> Option<String> {
        let opened = self.opened()?;
        let found = opened.reader.lookup(address).ok()?;
        let code: &str = found.decode_path(&[PathElement::Key("country"), PathElement::Key("iso_code")]).ok()??;
        is_code(code).then(|| code.to_owned())
    }

    /// Reads the file again if it is another one. Answers whether it did.
    pub fn reload(&self) -> bool {
        let (Some(path), Some(opened)) = (&self.path, self.opened()) else { return false };
        match stamp(path) {
            Ok(stamp) if stamp == opened.stamp => false,
            _ => match open(path) {
                Ok(new) => {
                    *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
                    tracing::info!(path = %path.display(), "country database read anew");
                    true
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the new country database is not used");
                    false
                }
            },
        }
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The stamp is taken first: a file that changes while it is read is read again.
fn open(path: &Path) -> Result<Opened, CountryError> {
    let stamp = stamp(path)?;
    let reader = Reader::from_source(fs::read(path)?)?;
    reader.verify()?;
    Ok(Opened { reader, stamp })
}

fn stamp(path: &Path) -> Result<Stamp, std::io::Error> {
    let file = fs::metadata(path)?;
    Ok((file.modified()?, file.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST_DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/visitors/GeoIP2-Country-Test.mmdb");

    #[test]
    fn country_is_that_of_the_test_database() {
        let countries = Countries::open(Some(Path::new(TEST_DATABASE))).expect("opens");
        for (address, expected) in [
            ("81.2.69.160", Some("GB")),
            ("::ffff:81.2.69.160", Some("GB")),
            ("2001:218::1", Some("JP")),
            ("89.160.20.112", Some("SE")),
            ("127.0.0.1", None),
            ("::1", None),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(countries.of(address.to_canonical()).as_deref(), expected, "{address}");
        }
        let none = Countries::open(None).expect("nothing to open");
        assert_eq!(none.of("81.2.69.160".parse().expect("an address")), None);
        assert!(!none.reload());
    }

    #[test]
    fn file_that_changes_is_read_again_and_a_bad_one_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("countries.mmdb");
        assert!(matches!(Countries::open(Some(&path)), Err(CountryError::File(_))));
        fs::write(&path, "not a database").expect("writes");
        assert!(matches!(Countries::open(Some(&path)), Err(CountryError::Format(_))));
        fs::copy(TEST_DATABASE, &path).expect("copies");
        let countries = Countries::open(Some(&path)).expect("opens");
        assert!(!countries.reload(), "the same file");
        let british = "81.2.69.160".parse().expect("an address");
        fs::write(&path, "not a database").expect("writes");
        assert!(!countries.reload());
        assert_eq!(countries.of(british).as_deref(), Some("GB"), "the old one stays");
        fs::remove_file(&path).expect("removes");
        assert!(!countries.reload());
        fs::copy(TEST_DATABASE, &path).expect("copies");
        let file = fs::File::options().write(true).open(&path).expect("opens");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("is older now");
        assert!(countries.reload());
        assert_eq!(countries.of(british).as_deref(), Some("GB"));
    }
}
