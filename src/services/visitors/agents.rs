//! User agents: device, operating system and browser, and whether it is a program.
//!
//! # Decisions
//! - What a user agent says is remembered by its text, for a bounded number of them: a redirect costs a hash look-up.
//!   The tenth of the user agents that makes up nearly all traffic stays; what random ones cost is some microseconds each.
//! - Families by uap-core's expressions and their official implementation. Its devices are makes and models, and the
//!   larger part of the data: which kind of device it is, a few words tell.
//! - Names only, no versions: that is what reports and targeting want, and a version tells visitors apart.

use std::sync::{Arc, LazyLock};

use moka::sync::Cache;
use tributary_entity::kinds::Device;
use ua_parser::{Regexes, os, user_agent};

use super::crawlers;

/// Bytes of a user agent that are looked at.
const LENGTH_MAX: usize = 1_024;
/// User agents that are remembered; one takes some 400 bytes, 1.2 kB at most.
const REMEMBERED: u64 = 20_000;

/// The expressions for browsers and systems, as JSON, compressed; `data/CREDITS.md` tells where they are from.
const EXPRESSIONS: &[u8] = include_bytes!("data/uap-core.json.gz");

struct Families {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

/// Takes 33 ms and 12 MB.
static FAMILIES: LazyLock<Families> = LazyLock::new(|| {
    // The expressions are borrowed from their text, and stay for as long as the program.
    let text = crawlers::unpack(EXPRESSIONS).leak();
    let Regexes { user_agent_parsers, os_parsers, .. } =
        serde_json::from_str(text).expect("a test reads the shipped file");
    let shipped = "a test compiles the shipped expressions";
    let browsers = user_agent_parsers.into_iter().try_fold(user_agent::Builder::new(), user_agent::Builder::push);
    let systems = os_parsers.into_iter().try_fold(os::Builder::new(), os::Builder::push);
    Families {
        browsers: browsers.expect(shipped).build().expect(shipped),
        systems: systems.expect(shipped).build().expect(shipped),
    }
});

/// What a user agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub device: Option<Device>,
    pub os: Option<String>,
    pub browser: Option<String>,
    pub is_crawler: bool,
}

/// Reads user agents, and remembers what they said.
pub(super) struct Agents(Cache<String, Arc<Agent>>);

impl Default for Agents {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Agents {
    pub fn describe(&self, user_agent: &str) -> Arc<Agent> {
        let user_agent = cut(user_agent.trim());
        self.0.get_with_by_ref(user_agent, || Arc::new(read(user_agent)))
    }

    /// Compiles the expressions, wherever they are not yet.
    pub fn warm_up(&self) {
        LazyLock::force(&FAMILIES);
        crawlers::is_crawler("()");
    }
}

/// The beginning of a user agent, whole characters.
fn cut(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(LENGTH_MAX)]
}

fn read(user_agent: &str) -> Agent {
    let family = |name: String| (!name.is_empty() && name != "Other").then_some(name);
    let browser = FAMILIES.browsers.extract(user_agent).and_then(|found| family(found.family.into_owned()));
    let os = FAMILIES.systems.extract(user_agent).and_then(|found| family(found.os.into_owned()));
    Agent { device: device(user_agent), os, browser, is_crawler: crawlers::is_crawler(user_agent) }
}

/// Of which kind a device is, by words that user agents have used for long. The first that fits.
const DEVICES: &[(Device, &[&str])] = &[
    (
        Device::Other,
        &[
            "smart-tv",
            "smarttv",
            "smart tv",
            "appletv",
            "apple tv",
            "googletv",
            "google tv",
            "hbbtv",
            "web0s",
            "netcast",
            "roku",
            "bravia",
            "crkey",
            "aftb",
            "aftm",
            "afts",
            "aftt",
            "android tv",
            "playstation",
            "xbox",
            "nintendo",
            "watch",
        ],
    ),
    (Device::Tablet, &["ipad", "tablet", "kindle", "silk/", "playbook", "nexus 7", "nexus 9", "nexus 10", "sm-t"]),
    (Device::Mobile, &["iphone", "ipod", "mobi", "phone", "blackberry", "opera mini", "midp", "symbian"]),
    // Tablets say Android, and phones Mobile as well.
    (Device::Tablet, &["android"]),
    (Device::Desktop, &["windows", "macintosh", "x11", "cros", "linux"]),
];

fn device(user_agent: &str) -> Option<Device> {
    let text = user_agent.to_ascii_lowercase();
    DEVICES.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(device, _)| *device)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSERS: &str = include_str!("../../../tests/data/visitors/browsers_top_user_agents.txt");

    #[test]
    fn device_system_and_browser_are_told() {
        use Device::{Desktop, Mobile, Other, Tablet};
        for (agent, device, os, browser) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 \
                 Safari/537.36",
                Desktop,
                "Windows",
                "Chrome",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 \
                 Safari/537.36 Edg/153.0.0.0",
                Desktop,
                "Windows",
                "Edge",
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                Desktop,
                "Ubuntu",
                "Firefox",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.1 Mobile/15E148 Safari/604.1",
                Mobile,
                "iOS",
                "Mobile Safari",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Mobile/15E148 Safari/604.1",
                Tablet,
                "iOS",
                "Mobile Safari",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                 Mobile Safari/537.36",
                Mobile,
                "Android",
                "Chrome Mobile",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                 Safari/537.36",
                Tablet,
                "Android",
                "Chrome",
            ),
            (
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) \
                 SamsungBrowser/4.0 Chrome/94.0.4606.31 TV Safari/537.36",
                Other,
                "Tizen",
                "Samsung Internet",
            ),
        ] {
            let agent = Agents::default().describe(agent);
            assert_eq!((agent.device, agent.os.as_deref()), (Some(device), Some(os)), "{agent:?}");
            assert_eq!((agent.browser.as_deref(), agent.is_crawler), (Some(browser), false), "{agent:?}");
        }
    }

    #[test]
    fn top_browsers_are_known_in_all_respects() {
        let agents = Agents::default();
        let told: Vec<_> = BROWSERS.lines().map(|agent| (agent, agents.describe(agent))).collect();
        assert!(told.iter().all(|(_, told)| told.device.is_some() && told.os.is_some()), "{told:#?}");
        // Some say no more than their system and engine.
        let nameless: Vec<_> = told.iter().filter(|(_, told)| told.browser.is_none()).collect();
        assert!(nameless.len() <= 2, "{nameless:#?}");
    }

    #[test]
    fn what_says_nothing_is_unknown() {
        for agent in ["", " ", "()", "\u{0}", "🦀"] {
            let told = Agents::default().describe(agent);
            assert_eq!((told.device, &told.os, &told.browser), (None, &None, &None), "{agent:?}");
        }
    }

    #[test]
    fn long_user_agents_are_cut_between_characters() {
        let agents = Agents::default();
        let long = format!("Mozilla/5.0 (Windows NT 10.0) {}Firefox/140.0", "é".repeat(1_000));
        let told = agents.describe(&long);
        assert_eq!((told.os.as_deref(), &told.browser), (Some("Windows"), &None));
        assert_eq!(agents.describe(&format!("{long} and more")), told);
        agents.0.run_pending_tasks();
        assert_eq!(agents.0.entry_count(), 1);
    }
}
