//! Destinations against those who would lead a click elsewhere.

use proptest::{collection::btree_map, option, prelude::*, sample::select};
use uuid::Uuid;

use super::*;

const CLICK: ClickId = ClickId::from_uuid(Uuid::from_u128(1));

fn expand(template: &str, labels: &[(&str, &str)]) -> String {
    let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let template = Template::compile(template).expect("a destination");
    template.expand(&values(&labels, Some("mail"), Some("DE")))
}

fn values<'a>(labels: &'a Labels, source: Option<&'a str>, country: Option<&'a str>) -> Values<'a> {
    Values {
        click_id: CLICK,
        campaign_id: CampaignId::default(),
        affiliate_id: AffiliateId::default(),
        link_id: LinkId::default(),
        source,
        labels,
        country,
        device: Some(Device::Mobile),
    }
}

#[test]
fn known_macros_stand_behind_the_host() {
    for url in [
        "https://shop.example/",
        "https://shop.example/{affiliate_id}/p?c={click_id}&s={sub10}#{source}",
        "http://shop.example?x={sub1}{sub2}",
        "https://shop.example:8443/?t={transaction_id}&c={clickid}&a={aff_sub5}&g={country}&d={device}",
    ] {
        assert_eq!(check(&["u"], url).as_deref(), Ok(url));
    }
}

#[test]
fn unknown_macros_and_stray_braces_are_refused() {
    for url in [
        "https://shop.example/?a={click}",
        "https://shop.example/?a={}",
        "https://shop.example/?a={sub11}",
        "https://shop.example/?a={CLICK_ID}",
        "https://shop.example/?a={click_id",
        "https://shop.example/?a=click_id}",
        "https://shop.example/?a={{click_id}}",
        "https://{source}/",
        "https://shop.{sub1}.example/",
        "https://shop.example:{sub1}/",
        "https://shop.example{sub1}/",
        "ftp://shop.example/",
    ] {
        let problem = check(&["u"], url).expect_err(url);
        assert_eq!(problem.code, ProblemCode::InvalidUrl, "{url}");
    }
    let problem = check(&["u"], "https://shop.example/?a={click}").expect_err("unknown");
    assert!(problem.message.contains("{click}") && problem.message.contains("click_id, "), "{problem:?}");
}

#[test]
fn click_id_is_added_where_the_template_gives_it_no_place() {
    for (template, expected) in [
        ("https://shop.example", "https://shop.example/?clickId=CLICK"),
        ("https://shop.example/a", "https://shop.example/a?clickId=CLICK"),
        ("https://shop.example?", "https://shop.example/?clickId=CLICK"),
        ("https://shop.example/?a=1", "https://shop.example/?a=1&clickId=CLICK"),
        ("https://shop.example/?a=1&", "https://shop.example/?a=1&clickId=CLICK"),
        ("https://shop.example/?a=1#top", "https://shop.example/?a=1&clickId=CLICK#top"),
        ("https://shop.example#top?", "https://shop.example/?clickId=CLICK#top?"),
        ("https://shop.example/?c={click_id}", "https://shop.example/?c=CLICK"),
        ("https://shop.example/{transaction_id}#{clickid}", "https://shop.example/CLICK#CLICK"),
    ] {
        assert_eq!(expand(template, &[]), expected.replace("CLICK", &CLICK.to_string()), "{template}");
    }
}

#[test]
fn values_are_encoded_and_missing_ones_are_nothing() {
    let out = expand(
        "https://shop.example/{sub1}?s={source}&g={country}&d={device}&x={sub2}&y={aff_sub3}&c={click_id}",
        &[("sub1", "a b/ä~"), ("sub3", "1&c=2#%")],
    );
    let expected = "https://shop.example/a%20b%2F%C3%A4~?s=mail&g=DE&d=mobile&x=&y=1%26c%3D2%23%25&c=";
    assert_eq!(out, format!("{expected}{CLICK}"));
}

#[test]
fn value_that_looks_like_a_macro_is_text() {
    let out =
        expand("https://shop.example/?a={sub1}&b={sub2}&c={click_id}", &[("sub1", "{sub2}"), ("sub2", "{click_id}")]);
    assert_eq!(out, format!("https://shop.example/?a=%7Bsub2%7D&b=%7Bclick_id%7D&c={CLICK}"));
}

#[test]
fn value_is_no_way_up_in_a_path() {
    for dots in [".", "..", "..."] {
        let out = expand("https://shop.example/partners/{sub1}/x?c={click_id}&d={sub1}", &[("sub1", dots)]);
        assert_eq!(out, format!("https://shop.example/partners//x?c={CLICK}&d={dots}"));
    }
}

#[test]
fn address_does_not_grow_without_bound() {
    let long = "é".repeat(255);
    let template = format!("https://shop.example/?{}", "a={sub1}&".repeat(200));
    let out = expand(&template, &[("sub1", &long)]);
    assert!(out.len() < LENGTH_MAX + 2_048, "{}", out.len());
    assert!(out.ends_with(&format!("clickId={CLICK}")));
}

#[test]
fn old_destinations_go_out_as_browsers_read_them() {
    for (template, expected) in [
        ("https://bücher.example/ä\\b?q=ö\"", "https://xn--bcher-kva.example/%C3%A4%5Cb?q=%C3%B6%22&clickId=CLICK"),
        ("HTTPS://Shop.Example:443/", "https://shop.example/?clickId=CLICK"),
        ("https://user:pass@shop.example/", "https://shop.example/?clickId=CLICK"),
    ] {
        assert_eq!(expand(template, &[]), expected.replace("CLICK", &CLICK.to_string()), "{template}");
    }
    for template in ["javascript:alert(1)", "ftp://a.b/", "https://", "https://a.b:99999/", "//a.b", ""] {
        assert_eq!(Template::compile(template), None, "{template}");
    }
}

#[test]
fn hosts_are_plain_names() {
    let good = ["shop.example", "*.shop.example", "xn--bcher-kva.example", "Shop.Example"].map(str::to_owned);
    let kept = hosts(&["h"], &good).expect("good");
    assert_eq!(kept, ["shop.example", "*.shop.example", "xn--bcher-kva.example", "shop.example"]);
    for text in [
        "",
        "*",
        "*.",
        "example",
        "*.com.",
        "shop.example.",
        "https://shop.example",
        "shop.example:80",
        "shop.example/x",
        "a@shop.example",
        "127.0.0.1",
        "0x7f.1",
        "[::1]",
        "bücher.example",
        "shop%2eexample",
        "*.*.example",
        "a b.example",
        "shop。example",
    ] {
        assert!(hosts(&["h"], &[text.to_owned()]).is_err(), "{text}");
    }
    assert!(hosts(&["h"], &vec!["a.b".to_owned(); 101]).is_err());
}

#[test]
fn deep_links_lead_to_allowed_hosts_alone() {
    let allowed = ["shop.example".to_owned(), "*.brand.example".to_owned()];
    for (to, expected) in [
        ("https://shop.example/p/1?a=b#c", "https://shop.example/p/1?a=b&clickId=CLICK#c"),
        ("http://SHOP.example", "http://shop.example/?clickId=CLICK"),
        ("https://a.brand.example/{sub1}", "https://a.brand.example/%7Bsub1%7D?clickId=CLICK"),
        ("https://b.a.brand.example:443/", "https://b.a.brand.example/?clickId=CLICK"),
        // Browsers end the host at the backslash, and so do we.
        ("https://shop.example\\@evil.example/", "https://shop.example/@evil.example/?clickId=CLICK"),
        ("https://shop.example/\r\nset-cookie: a=b", "https://shop.example/set-cookie:%20a=b?clickId=CLICK"),
    ] {
        let out = deep_link(&allowed, to, CLICK);
        assert_eq!(out, Some(expected.replace("CLICK", &CLICK.to_string())), "{to}");
    }
    let long = format!("https://shop.example/{}", "a".repeat(DEEP_LINK_MAX));
    for to in [
        "https://brand.example/",
        "https://evilbrand.example/",
        "https://.brand.example/",
        "https://shop.example.evil.example/",
        "https://evil.example/shop.example",
        "https://shop.example@evil.example/",
        "https://evil.example\\.shop.example/",
        "https://evil.example#.shop.example",
        "https://user@shop.example/",
        "https://shop.example:8080/",
        "https://shop.example./",
        "//shop.example/",
        "/relative",
        "javascript://shop.example/%0aalert(1)",
        "data:text/html,shop.example",
        "ftp://shop.example/",
        "https://127.0.0.1/",
        "",
        &long,
    ] {
        assert_eq!(deep_link(&allowed, to, CLICK), None, "{to}");
    }
    assert_eq!(deep_link(&[], "https://shop.example/", CLICK), None);
}

/// Templates as tenants may save them: values in path, query and fragment.
fn templates() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        select(MACROS.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>()),
        "[a-z/?#&=:@.%é;,+]{0,6}",
    ];
    let host = select(vec!["https://shop.example", "http://a.b.example:8080", "https://xn--bcher-kva.example"]);
    (host, select(vec!["", "/", "?", "#"]), proptest::collection::vec(piece, 0..8)).prop_map(|(host, begin, pieces)| {
        format!("{host}{begin}{}", if begin.is_empty() { String::new() } else { pieces.concat() })
    })
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        select(vec![
            "@evil.example",
            "//evil.example",
            "\\evil.example",
            "\r\nlocation: x",
            "{sub1}",
            "..",
            "%0d%0a",
            "\u{0}",
            "\u{202e}"
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn check_never_panics(text in "https://a\\.b/[{}a-z0-9_é]{0,20}") {
        let _ = check(&["u"], &text);
    }

    #[test]
    fn what_goes_out_is_at_the_template_s_host_whatever_comes_in(
        template in templates(),
        labels in btree_map(select(SUBS.to_vec()).prop_map(str::to_owned), hostile(), 0..10),
        source in option::of(hostile()),
        country in option::of(hostile()),
    ) {
        prop_assume!(check(&["u"], &template).is_ok());
        let expected = Url::parse(&template).expect("checked");
        let out = Template::compile(&template).expect("checked").expand(&values(&labels, source.as_deref(), country.as_deref()));
        prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()), "{out}");
        let read = Url::parse(&out).expect("an address");
        prop_assert_eq!(read.origin(), expected.origin());
        prop_assert!(read.username().is_empty() && read.password().is_none());
        prop_assert!(out.contains(&CLICK.to_string()));
        prop_assert!(axum::http::HeaderValue::from_str(&out).is_ok());
    }

    #[test]
    fn deep_link_stays_at_its_host_whatever_is_asked(
        to in prop_oneof![any::<String>(), "https?:[/\\\\]{0,3}(shop\\.example|evil\\.example)[@:/\\\\.#?]?(shop\\.example|evil\\.example)?"],
    ) {
        if let Some(out) = deep_link(&["shop.example".to_owned()], &to, CLICK) {
            let read = Url::parse(&out).expect("an address");
            prop_assert_eq!(read.host_str(), Some("shop.example"));
            prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()), "{out}");
        }
    }
}
