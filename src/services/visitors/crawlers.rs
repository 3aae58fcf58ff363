//! Programs by their user agents: the patterns of crawler-user-agents, and words that programs use of themselves.
//!
//! # Decisions
//! - A pattern list knows the crawlers that somebody has met: 38 % of an independent list of 3,200. With the general words
//!   it is 98 %, and 0.3 % of the browsers of many years; of those that are in use, none.
//! - One set of expressions for all, compiled at first use: 7 ms and 5 MB, then half a microsecond per user agent.
//! - Browsers and the web views of apps say more of themselves than a name and a version: a comment in parentheses.
//!   Phones of the first generation do not; they name their Java profile.

use std::{io::Read, sync::LazyLock};

use flate2::read::GzDecoder;
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

/// The list, unchanged, compressed; `data/CREDITS.md` tells where it is from.
const LIST: &[u8] = include_bytes!("data/crawler-user-agents.json.gz");

/// In any case; `u` before `bot` is CUBOT, a maker of phones.
const GENERAL: &[&str] = &[
    r"(?:^|[^u]|[^c]u|^u)bots?(?:[^a-z_]|$)",
    r"robot|[^u]bot_",
    r"crawl",
    r"spider",
    r"scrap(?:e|ing|y)",
    r"headless",
    r"phantomjs|selenium|puppeteer|playwright|webdriver|cypress/|synthetic",
    r"slurp|archiver|indexer|harvest|analy[sz]er|semantic|classif",
    r"fetcher|fetching",
    r"monitor|uptime|checker|validator|lighthouse|pagespeed|speedtest|observatory|gomezagent",
    r"preview|image.?proxy|incompatible|weblight|console\)",
    r"http.?client|http_request|httpunit|[-.]http/|package http|-client/|^libwww|curl/|wget|^java/|python|grpc-|ruby/",
    r"^(?:go-http|okhttp|axios|node|php|perl|lwp|guzzle|postman|insomnia|httpie|apache|dart|rust|reqwest|aiohttp|httpx)",
    r"^(?:winhttp|got|undici|faraday|restsharp|typhoeus|mechanize|urlgrabber|aria2|siege|ab/|jmeter|k6/|vegeta|wrk)",
    r"^wordpress",
    r"https?://",
];

/// In the user agents of phones whose browsers say no more than a name.
const JAVA_PROFILE: &str = "MIDP";

/// One crawler of the list.
#[derive(Deserialize)]
struct Crawler {
    pattern: String,
}

static CRAWLERS: LazyLock<RegexSet> = LazyLock::new(|| {
    let general = GENERAL.iter().map(|pattern| format!("(?i:{pattern})"));
    let patterns = read_list::<Crawler>().into_iter().map(|crawler| crawler.pattern).chain(general);
    RegexSetBuilder::new(patterns).size_limit(64 << 20).build().expect("a test compiles the shipped patterns")
});

fn read_list<T: for<'de> Deserialize<'de>>() -> Vec<T> {
    serde_json::from_str(&unpack(LIST)).expect("a test reads the shipped file")
}

/// The text of a shipped file.
pub(super) fn unpack(file: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("the shipped file is whole");
    text
}

/// Whether a user agent is a program's. No user agent is one's.
pub(super) fn is_crawler(user_agent: &str) -> bool {
    let says_little = !user_agent.contains('(') && !user_agent.contains(JAVA_PROFILE);
    says_little || CRAWLERS.is_match(user_agent)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const BROWSERS: &str = include_str!("../../../tests/data/visitors/browsers_top_user_agents.txt");
    const OTHER_BROWSERS: &[u8] = include_bytes!("../../../tests/data/visitors/browsers_isbot.txt.gz");
    const OTHER_CRAWLERS: &[u8] = include_bytes!("../../../tests/data/visitors/crawlers_isbot.txt.gz");

    #[derive(Deserialize)]
    struct Known {
        instances: Vec<String>,
    }

    fn instances() -> Vec<String> {
        read_list::<Known>().into_iter().flat_map(|crawler| crawler.instances).collect()
    }

    #[test]
    fn every_instance_of_every_crawler_is_recognised() {
        assert_eq!(read_list::<Crawler>().len(), 1_504);
        let instances = instances();
        assert!(instances.len() >= 2_000);
        let missed: Vec<_> = instances.iter().filter(|agent| !is_crawler(agent)).collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    fn no_browser_is_taken_for_a_crawler() {
        assert_eq!(BROWSERS.lines().count(), 100);
        let wrong: Vec<_> = BROWSERS.lines().filter(|agent| is_crawler(agent)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn nearly_all_crawlers_of_another_list_are_recognised() {
        let known: HashSet<String> = instances().into_iter().collect();
        let list = unpack(OTHER_CRAWLERS);
        let independent: Vec<&str> = list.lines().filter(|agent| !known.contains(*agent)).collect();
        assert!(independent.len() > 3_000);
        let found = independent.iter().filter(|agent| is_crawler(agent)).count();
        assert!(found * 100 >= independent.len() * 95, "{found} of {}", independent.len());
    }

    #[test]
    fn of_the_browsers_of_many_years_few_are_taken_for_crawlers() {
        let list = unpack(OTHER_BROWSERS);
        let browsers: Vec<&str> = list.lines().map(|line| line.trim_matches('"')).collect();
        assert!(browsers.len() > 1_500);
        let wrong: Vec<&&str> = browsers.iter().filter(|agent| is_crawler(agent)).collect();
        assert!(wrong.len() * 200 < browsers.len(), "{wrong:#?}");
    }

    #[test]
    fn programs_say_what_they_are() {
        for agent in [
            "",
            "curl/8.10.1",
            "Mozilla/5.0",
            "python-requests/2.32.3",
            "Go-http-client/2.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36",
            "Mozilla/5.0 (compatible; SomeNewBot/1.0; +https://new.example/bot)",
            "MOZILLA/5.0 (COMPATIBLE; SOMENEWCRAWLER/1.0)",
        ] {
            assert!(is_crawler(agent), "{agent}");
        }
        for agent in [
            "Mozilla/5.0 (Linux; Android 8.0.0; CUBOT_P20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.110 \
             Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Mobile/15E148 Instagram 355.0.0.28.113 (iPhone14,7; iOS 18_1; de_DE)",
            "Nokia6820/2.0 (4.83) Profile/MIDP-1.0 Configuration/CLDC-1.0",
            "BlackBerry8520/5.0.0.681 Profile/MIDP-2.1 Configuration/CLDC-1.1 VendorID/600",
        ] {
            assert!(!is_crawler(agent), "{agent}");
        }
    }
}
