//! Tracking links: visitors are sent where the tenant wants them, whatever an address says, and every click is recorded.

use reqwest::Method;
use serde_json::{Value, json};
use tributary::services::tenants;
use tributary_entity::kinds::TenantStatus;

use crate::support::{
    Client, Programme, Terms, Visitor,
    app::Tuning,
    on_both, on_both_tuned,
    programme::{enroll, id, merge, new_affiliate},
    visitor::{click, path},
};

/// A programme with more settings on its campaign; the path of its link.
async fn programme(client: &Client, settings: Value) -> (Programme, String) {
    let programme = Programme::build(client, &Terms::default()).await;
    let mut input = json!({ "id": programme.campaign });
    merge(&mut input, settings);
    client.done("updateCampaign", input, "").await;
    let path = path(client, &programme.link).await;
    (programme, path)
}

const FALLBACK: &str = "https://other.example/?c={click_id}&why={sub1}";

on_both! {
    async fn click_is_recorded_before_its_visitor_is_sent_on(app) {
        let owner = app.owner();
        let (programme, path) = programme(&owner, json!({})).await;
        let visitor = Visitor::new(&app.url);
        let headers = [("referer", "https://Blog.example/post?secret=1"), ("accept-encoding", "gzip")];
        let answer = visitor.get_with(&format!("{path}?sub1=a%20b&sub10=%C3%A4&source=mail&x=y"), &headers).await;
        let first = answer.click();
        assert_eq!(answer.location().as_str(), format!("https://shop.example/?clickId={first}"));
        assert_eq!(answer.text, "");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
        let recorded = click(&owner, &first).await;
        assert_eq!(recorded, json!({
            "isUnique": true, "invalidReason": null, "source": "mail", "visitorId": recorded["visitorId"],
            "occurredAt": recorded["occurredAt"], "referrerHost": "blog.example",
            "labels": [{ "name": "sub1", "value": "a b" }, { "name": "sub10", "value": "ä" }],
            "link": { "id": programme.link }, "campaign": { "id": programme.campaign },
            "affiliate": { "id": programme.affiliate },
        }));

        let cookie = answer.cookie().expect("a cookie").to_owned();
        let again = visitor.get_with(&path, &[("cookie", &cookie)]).await;
        assert_eq!(again.cookie(), None, "the visitor has one");
        let again = click(&owner, &again.click()).await;
        assert_eq!((&again["isUnique"], &again["visitorId"]), (&json!(false), &recorded["visitorId"]));
        let other = click(&owner, &visitor.get(&path).await.click()).await;
        assert_eq!(other["isUnique"], true);
        assert_ne!(other["visitorId"], recorded["visitorId"]);
    }

    async fn conversion_finds_the_click_that_the_landing_page_was_told(app) {
        let owner = app.owner();
        let (_, path) = programme(&owner, json!({})).await;
        let told = Visitor::new(&app.url).get(&path).await.click();
        let sale = crate::support::programme::sale(&told, "o-1", "10.00");
        let answer = owner.done("recordConversion", sale, "conversion { status click { id } }").await;
        assert_eq!(answer["conversion"], json!({ "status": "APPROVED", "click": { "id": told } }));
    }

    async fn address_of_a_link_leads_to_it(app) {
        let owner = app.owner();
        let (programme, path) = programme(&owner, json!({})).await;
        let query = "query($id: ID!) { link(id: $id) { url code } }";
        let link = owner.data(query, json!({ "id": programme.link })).await["link"].take();
        assert_eq!(link["url"], format!("{}{path}", app.settings.base_url()));
        assert!(path.ends_with(link["code"].as_str().expect("a code")));
    }

    async fn macros_are_filled(app) {
        let owner = app.owner();
        let (programme, path) = programme(&owner, json!({})).await;
        let url = "https://shop.example/{sub1}?c={clickid}&p={campaign_id}&a={affiliate_id}&l={link_id}&s={source_id}&n={sub2}#{aff_sub3}";
        owner.done("updateLink", json!({ "id": programme.link, "destinationUrl": url }), "").await;
        let answer = Visitor::new(&app.url).get(&format!("{path}?sub1=a/b&source=m%26m&sub3=%23")).await;
        let expected = format!(
            "https://shop.example/a%2Fb?c={}&p={}&a={}&l={}&s=m%26m&n=#%23",
            answer.parameter("c"), programme.campaign, programme.affiliate, programme.link,
        );
        assert_eq!(answer.header("location"), Some(expected.as_str()));
        assert!(click(&owner, &answer.parameter("c")).await["invalidReason"].is_null());
    }

    async fn visitor_is_another_one_at_another_tenant(app) {
        let (home, away) = (app.owner(), app.stranger());
        let ((_, here), (_, there)) = (programme(&home, json!({})).await, programme(&away, json!({})).await);
        let visitor = Visitor::new(&app.url);
        let first = visitor.get(&here).await;
        let cookie = first.cookie().expect("a cookie").to_owned();
        let second = visitor.get_with(&there, &[("cookie", &cookie)]).await;
        assert_eq!(second.cookie(), None, "one cookie for both");
        let (of_home, of_away) = (click(&home, &first.click()).await, click(&away, &second.click()).await);
        let ids = [&of_home["visitorId"], &of_away["visitorId"]].map(|id| id.as_str().expect("an id").to_owned());
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| !cookie.contains(id)), "nor does the cookie tell: {cookie} {ids:?}");
        assert_eq!(click(&home, &second.click()).await, Value::Null, "a click is its tenant's");
    }

    async fn cookie_is_ours_alone_and_no_other_value_is_taken(app) {
        let owner = app.owner();
        let (_, path) = programme(&owner, json!({})).await;
        let visitor = Visitor::new(&app.url);
        let set = visitor.get(&path).await;
        let set = set.header("set-cookie").expect("a cookie");
        assert!(set.ends_with("; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"), "{set}");
        for cookie in ["trb_v=", "trb_v=ada", "trb_v=ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", "x=1"] {
            assert!(visitor.get_with(&path, &[("cookie", cookie)]).await.cookie().is_some(), "{cookie}");
        }
        let secure = visitor.get_with(&path, &[("x-forwarded-proto", "https")]).await;
        assert!(!secure.header("set-cookie").expect("a cookie").contains("Secure"), "nobody trusts the sender");
    }

    async fn who_only_looks_is_sent_on_and_does_not_count(app) {
        let owner = app.owner();
        let (_, path) = programme(&owner, json!({})).await;
        let visitor = Visitor::new(&app.url);
        let cookie = visitor.get(&path).await.cookie().expect("a cookie").to_owned();
        for (method, header, reason) in [
            (Method::HEAD, ("cookie", cookie.as_str()), "HEAD"),
            (Method::HEAD, ("sec-purpose", "prefetch"), "HEAD"),
            (Method::GET, ("sec-purpose", "prefetch;prerender"), "PREFETCH"),
            (Method::GET, ("purpose", "prefetch"), "PREFETCH"),
            (Method::GET, ("x-moz", "prefetch"), "PREFETCH"),
            (Method::GET, ("x-purpose", "preview"), "PREFETCH"),
            (Method::GET, ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), "BOT"),
        ] {
            let answer = visitor.send(method, &path, &[header]).await;
            assert_eq!(answer.cookie(), None, "{header:?}");
            let recorded = click(&owner, &answer.click()).await;
            assert_eq!(
                (&recorded["invalidReason"], &recorded["isUnique"], &recorded["visitorId"]),
                (&json!(reason), &json!(false), &Value::Null), "{header:?}",
            );
            let sale = crate::support::programme::sale(&answer.click(), &answer.click(), "1.00");
            let sale = owner.done("recordConversion", sale, "conversion { status reason }").await;
            assert_eq!(sale["conversion"], json!({ "status": "REJECTED", "reason": "INVALID_CLICK" }));
        }
    }

    async fn link_that_takes_nobody_leads_to_the_fallback_or_says_so(app) {
        let owner = app.owner();
        let visitor = Visitor::new(&app.url);
        for (mutation, reason) in [
            ("disableLink", "LINK_DISABLED"),
            ("pauseCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("archiveCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("suspendAffiliate", "AFFILIATE_NOT_ACTIVE"),
            ("suspendEnrollment", "ENROLLMENT_NOT_APPROVED"),
        ] {
            let (programme, path) = programme(&owner, json!({ "fallbackUrl": FALLBACK })).await;
            let path = format!("{path}?sub1=x%26y");
            assert_eq!(visitor.get(&path).await.location().host_str(), Some("shop.example"));
            let id = match mutation {
                "disableLink" => &programme.link,
                "suspendAffiliate" => &programme.affiliate,
                "suspendEnrollment" => &programme.enrollment,
                _ => &programme.campaign,
            };
            owner.done(mutation, json!({ "id": id }), "").await;
            // At once, on the node that was told.
            let answer = visitor.get(&path).await;
            let clicked = answer.parameter("c");
            let expected = format!("https://other.example/?c={clicked}&why=x%26y");
            assert_eq!(answer.header("location"), Some(expected.as_str()), "{mutation}");
            assert_eq!(click(&owner, &clicked).await["invalidReason"], reason);

            owner.done("updateCampaign", json!({ "id": programme.campaign, "fallbackUrl": null }), "").await;
            let before = app.auditor.number("SELECT count(*) FROM click").await;
            let answer = visitor.get(&path).await;
            assert_eq!((answer.status, answer.header("cache-control")), (404, Some("no-store")), "{mutation}");
            assert_eq!(answer.text, "This offer is not available at the moment.\n");
            assert_eq!(app.auditor.number("SELECT count(*) FROM click").await, before + 1, "recorded all the same");
        }
    }

    async fn visitor_with_another_device_goes_to_the_fallback(app) {
        let owner = app.owner();
        let (_, path) = programme(&owner, json!({ "fallbackUrl": FALLBACK, "devices": ["MOBILE"] })).await;
        let visitor = Visitor::new(&app.url);
        let answer = visitor.get(&path).await;
        assert_eq!(answer.location().host_str(), Some("other.example"));
        let recorded = click(&owner, &answer.parameter("c")).await;
        assert_eq!(recorded["invalidReason"], "DEVICE_NOT_ALLOWED");
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/18.0 Mobile/15E148 Safari/604.1";
        let answer = visitor.get_with(&path, &[("user-agent", phone)]).await;
        assert_eq!(answer.location().host_str(), Some("shop.example"));
    }

    async fn visitors_over_a_cap_go_to_the_fallback_where_there_is_one(app) {
        let owner = app.owner();
        let visitor = Visitor::new(&app.url);
        let (capped, path) = programme(&owner, json!({ "fallbackUrl": FALLBACK })).await;
        let (bare, bare_path) = programme(&owner, json!({})).await;
        for campaign in [&capped.campaign, &bare.campaign] {
            let cap = json!({
                "campaignId": campaign, "metric": "CONVERSIONS", "period": "LIFETIME", "amount": { "count": 1 },
            });
            owner.done("createCap", cap, "").await;
        }
        for path in [&path, &bare_path] {
            let click = visitor.get(path).await.click();
            let sale = crate::support::programme::sale(&click, &click, "1.00");
            owner.done("recordConversion", sale, "").await;
        }
        // What is used is asked for again after a second of the node's clock.
        app.clock.advance(chrono::TimeDelta::seconds(2));
        let patience = std::time::Duration::from_secs(10);
        visitor.until(&path, patience, |answer| answer.location().host_str() == Some("other.example")).await;
        let refused = visitor.get(&path).await.parameter("c");
        assert_eq!(click(&owner, &refused).await["invalidReason"], "OVER_CAP");
        assert_eq!(visitor.get(&bare_path).await.location().host_str(), Some("shop.example"));
    }

    async fn link_of_a_suspended_tenant_leads_nowhere(app) {
        let (owner, visitor) = (app.owner(), Visitor::new(&app.url));
        let ((_, here), (_, there)) =
            (programme(&owner, json!({ "fallbackUrl": FALLBACK })).await, programme(&app.stranger(), json!({})).await);
        assert_eq!((visitor.get(&here).await.status, visitor.get(&there).await.status), (302, 302));
        let clicks = app.auditor.number("SELECT count(*) FROM click").await;
        tenants::set_status(&app.services, "home", TenantStatus::Suspended).await.expect("suspended");
        assert_eq!((visitor.get(&here).await.status, visitor.get(&there).await.status), (404, 302));
        assert_eq!(app.auditor.number("SELECT count(*) FROM click").await, clicks + 1, "the other tenant's");
        tenants::set_status(&app.services, "home", TenantStatus::Active).await.expect("resumed");
        assert_eq!(visitor.get(&here).await.status, 302);
    }

    async fn deep_links_lead_to_allowed_hosts_and_nowhere_else(app) {
        let owner = app.owner();
        let hosts = json!({ "deepLinkHosts": ["shop.example", "*.brand.example"] });
        let (_, path) = programme(&owner, hosts).await;
        let visitor = Visitor::new(&app.url);
        let follow = async |to: &str| {
            let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
            visitor.get(&format!("{path}?to={to}")).await
        };
        let answer = follow("https://shop.example/p/1?a=b#c").await;
        let expected = format!("https://shop.example/p/1?a=b&clickId={}#c", answer.click());
        assert_eq!((answer.header("location"), answer.header("x-deep-link")), (Some(expected.as_str()), None));
        assert_eq!(follow("https://eu.brand.example/").await.location().host_str(), Some("eu.brand.example"));
        for to in [
            "https://evil.example/",
            "//evil.example/",
            "https://shop.example@evil.example/",
            "https://evil.example\\@shop.example/",
            "https://shop.example.evil.example/",
            "https://shop.example:81/",
            "javascript:alert(1)//shop.example",
            "https://brand.example/",
            "",
        ] {
            let answer = follow(to).await;
            let home = format!("https://shop.example/?clickId={}", answer.click());
            assert_eq!((answer.header("location"), answer.header("x-deep-link")), (Some(home.as_str()), Some("refused")), "{to}");
        }
    }

    async fn addresses_of_others_lead_to_the_affiliate_s_first_active_link(app) {
        let owner = app.owner();
        let (programme, _) = programme(&owner, json!({})).await;
        let visitor = Visitor::new(&app.url);
        let (campaign, affiliate) = (&programme.campaign, &programme.affiliate);
        let pair = json!({ "campaignId": campaign, "affiliateId": affiliate });
        let second = id(&owner.done("createLink", pair, "link { id }").await, "link");
        for (address, labels) in [
            (
                format!("/aff_c?offer_id={campaign}&aff_id={affiliate}&aff_sub=a&aff_sub2=b&aff_click_id=t"),
                json!([{ "name": "sub1", "value": "a" }, { "name": "sub10", "value": "t" }, { "name": "sub2", "value": "b" }]),
            ),
            (format!("/click?pid={affiliate}&offer_id={campaign}&sub8=h"), json!([{ "name": "sub8", "value": "h" }])),
            (
                format!("/c?oid={campaign}&affid={affiliate}&_ef_transaction_id=e&source_id=web"),
                json!([{ "name": "sub10", "value": "e" }]),
            ),
        ] {
            let recorded = click(&owner, &visitor.get(&address).await.click()).await;
            assert_eq!(recorded["link"]["id"], programme.link, "{address}");
            assert_eq!(recorded["labels"], labels, "{address}");
        }
        let address = format!("/aff_c?offer_id={campaign}&aff_id={affiliate}");
        owner.done("disableLink", json!({ "id": programme.link }), "").await;
        assert_eq!(click(&owner, &visitor.get(&address).await.click()).await["link"]["id"], second);
        owner.done("disableLink", json!({ "id": second }), "").await;
        assert_eq!(visitor.get(&address).await.status, 404);

        let stranger = new_affiliate(&app.stranger()).await;
        for (campaign, affiliate) in [(campaign.as_str(), stranger.as_str()), (affiliate, campaign), ("17", "4"), ("", "")] {
            assert_eq!(visitor.get(&format!("/aff_c?offer_id={campaign}&aff_id={affiliate}")).await.status, 404);
        }
    }

    async fn what_is_no_link_is_told_in_a_sentence(app) {
        let (_, path) = programme(&app.owner(), json!({})).await;
        let visitor = Visitor::new(&app.url);
        for path in ["/c/0000000000", "/c/0000000000", "/c/x", "/c/%00%0d%0a000000", "/c/ääääääääää", "/c", "/aff_c", "/click"] {
            let answer = visitor.get(path).await;
            assert_eq!((answer.status, answer.text.as_str()), (404, "This link does not exist.\n"), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
        for path in [format!("{path}/x"), format!("{path}x")] {
            assert_eq!(visitor.get(&path).await.status, 404);
        }
        assert_eq!(visitor.send(Method::POST, &path, &[]).await.status, 405);
    }

    async fn nothing_in_an_address_chooses_another_host_or_writes_a_header(app) {
        let owner = app.owner();
        let (programme, path) = programme(&owner, json!({ "fallbackUrl": FALLBACK })).await;
        let url = "https://shop.example/{sub1}/{sub2}?a={sub1}&s={source}&c={click_id}#{sub1}";
        owner.done("updateLink", json!({ "id": programme.link, "destinationUrl": url }), "").await;
        let visitor = Visitor::new(&app.url);
        let values = [
            "%0d%0alocation:%20https://evil.example/", "%0D%0A%0D%0A%3Cscript%3E", "//evil.example/", "%5C%5Cevil.example",
            "@evil.example", "..%2f..%2f", "..", "{sub2}", "%7Bclick_id%7D", "%00", "%E2%80%AE", "%FF%FE", "%EF%BC%8F", "a%09b",
            "javascript:alert(1)", "%23%3F%26%3D", "&s=evil&source=evil", "%25%30%64",
        ];
        for value in values {
            for query in [format!("sub1={value}&sub2=x"), format!("aff_sub={value}&source={value}"), value.to_owned()] {
                let answer = visitor.get(&format!("{path}?{query}")).await;
                let location = answer.location();
                assert_eq!(location.origin().ascii_serialization(), "https://shop.example", "{query}");
                assert_eq!((location.username(), location.password()), ("", None));
                assert_eq!(answer.headers.get_all("location").iter().count(), 1);
                assert_eq!(click(&owner, &answer.parameter("c")).await["link"]["id"], programme.link, "{query}");
            }
        }
        let long = visitor.get(&format!("{path}?sub1={}&to={}", "%C3%A4".repeat(3_000), "a".repeat(5_000))).await;
        assert!(long.header("location").expect("a location").len() < 9_000);
        let recorded = click(&owner, &long.parameter("c")).await;
        assert_eq!(recorded["labels"][0]["value"], "ä".repeat(255), "cut off, not refused");
    }

    async fn campaign_s_rules_for_visitors_are_kept_changed_and_checked(app) {
        let owner = app.owner();
        let selection = "campaign { id deepLinkHosts fallbackUrl countries devices }";
        let plain = json!({ "name": "Plain", "currency": "EUR", "destinationUrl": "https://shop.example/" });
        let mut chosen = plain.clone();
        merge(&mut chosen, json!({
            "deepLinkHosts": ["Shop.example", "*.brand.example", "shop.example"], "fallbackUrl": FALLBACK,
            "countries": ["de", "AT", "DE"], "devices": ["MOBILE", "DESKTOP", "MOBILE"],
        }));
        let answer = owner.done("createCampaign", chosen.clone(), selection).await;
        let campaign = id(&answer, "campaign");
        assert_eq!(answer["campaign"], json!({
            "id": campaign, "deepLinkHosts": ["*.brand.example", "shop.example"], "fallbackUrl": FALLBACK,
            "countries": ["AT", "DE"], "devices": ["DESKTOP", "MOBILE"],
        }));
        let update = async |more: Value| {
            let mut input = json!({ "id": campaign });
            merge(&mut input, more);
            let answer = owner.mutate("updateCampaign", input, "campaign { deepLinkHosts fallbackUrl countries devices }").await;
            (answer["campaign"].clone(), answer["userErrors"].clone())
        };
        let kept = update(json!({ "name": "Other" })).await.0;
        assert_eq!((&kept["countries"], &kept["fallbackUrl"]), (&json!(["AT", "DE"]), &json!(FALLBACK)));
        let cleared = update(json!({ "deepLinkHosts": [], "fallbackUrl": null, "countries": null, "devices": [] })).await.0;
        assert_eq!(cleared, json!({ "deepLinkHosts": [], "fallbackUrl": null, "countries": null, "devices": null }));
        let answer = owner.done("createCampaign", plain, selection).await;
        assert_eq!(answer["campaign"]["countries"], Value::Null);

        for (field, value, code) in [
            ("deepLinkHosts", json!(["https://shop.example"]), "INVALID_TEXT"),
            ("deepLinkHosts", json!(["shop.example", "*"]), "INVALID_TEXT"),
            ("deepLinkHosts", json!(vec!["a.example"; 101]), "BATCH_SIZE"),
            ("fallbackUrl", json!("https://{sub1}/"), "INVALID_URL"),
            ("fallbackUrl", json!("https://shop.example/{nothing}"), "INVALID_URL"),
            ("countries", json!(["DE", "UK"]), "INVALID_TEXT"),
            ("destinationUrl", json!("https://shop.example\\@evil.example/"), "INVALID_URL"),
            ("destinationUrl", json!("https://bücher.example/"), "INVALID_URL"),
        ] {
            let mut create = chosen.clone();
            merge(&mut create, json!({ field: value }));
            for refused in [owner.mutate("createCampaign", create, "").await["userErrors"].clone(), update(json!({ field: value })).await.1] {
                assert_eq!((&refused[0]["code"], &refused[0]["field"]), (&json!(code), &json!([field])), "{value}");
            }
        }
    }

    async fn links_of_two_affiliates_are_told_apart(app) {
        let owner = app.owner();
        let (programme, first) = programme(&owner, json!({})).await;
        let affiliate = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &affiliate).await;
        let second = path(&owner, &link).await;
        let visitor = Visitor::new(&app.url);
        let cookie = visitor.get(&first).await.cookie().expect("a cookie").to_owned();
        let recorded = click(&owner, &visitor.get_with(&second, &[("cookie", &cookie)]).await.click()).await;
        assert_eq!((&recorded["affiliate"]["id"], &recorded["isUnique"]), (&json!(affiliate), &json!(true)));
    }
}

/// Whoever asks is a proxy that is trusted.
fn behind_a_proxy(tuning: &mut Tuning) {
    tuning.settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
}

on_both_tuned! { behind_a_proxy =>
    async fn cookie_is_kept_to_https_where_a_trusted_proxy_says_so(app) {
        let (_, path) = programme(&app.owner(), json!({})).await;
        let visitor = Visitor::new(&app.url);
        for (told, secure) in [("https", true), ("http", false), ("https, http", false)] {
            let answer = visitor.get_with(&path, &[("x-forwarded-proto", told)]).await;
            assert_eq!(answer.header("set-cookie").expect("a cookie").ends_with("; Secure"), secure, "{told}");
        }
    }
}

fn under_https(tuning: &mut Tuning) {
    tuning.settings.public_url = Some("https://go.example/".to_owned());
}

on_both_tuned! { under_https =>
    async fn public_address_is_in_links_and_keeps_cookies_to_https(app) {
        let owner = app.owner();
        let (programme, path) = programme(&owner, json!({})).await;
        let link = owner.data("query($id: ID!) { link(id: $id) { url } }", json!({ "id": programme.link })).await;
        assert_eq!(link["link"]["url"], format!("https://go.example{path}"));
        let answer = Visitor::new(&app.url).get(&path).await;
        assert!(answer.header("set-cookie").expect("a cookie").ends_with("; Secure"));
    }
}
