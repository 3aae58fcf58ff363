//! Conversions from pages: the image, and the script that keeps the click id.

use reqwest::{Response, header};
use serde_json::{Value, json};

use crate::{
    postbacks::endpoint,
    support::{Programme, Terms, on_both},
};

async fn get(request: reqwest::RequestBuilder) -> Response {
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "image/gif");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    response
}

on_both! {
    async fn image_records_once_and_its_status_is_honest(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (pixel, _) = endpoint(&owner, json!({ "dialect": "PIXEL", "defaultGoal": "sale" })).await;
        assert!(pixel.contains("/pixel/"), "{pixel}");
        let click = programme.click(&owner).await;
        let http = reqwest::Client::new();
        let query = format!("?click_id={click}&order_id=1&amount=5.00&currency=EUR");
        for _ in 0..2 {
            let response = get(http.get(format!("{pixel}{query}"))).await;
            assert_eq!((response.status().as_u16(), response.headers().get("x-postback-code")), (200, None));
            let bytes = response.bytes().await.expect("a body");
            assert!(bytes.len() == 43 && bytes.starts_with(b"GIF89a"));
        }
        for (query, status, code) in [
            ("?order_id=2".to_owned(), 400, "REQUIRED"),
            (format!("?click_id={click}&order_id=1&amount=6.00&currency=EUR"), 409, "IDEMPOTENCY_CONFLICT"),
            (format!("?click_id={}&order_id=2", crate::support::surface::random_id("clk")), 422, "UNKNOWN_CLICK"),
        ] {
            let response = get(http.get(format!("{pixel}{query}"))).await;
            assert_eq!(response.status(), status, "{query}");
            assert_eq!(response.headers()["x-postback-code"], code);
            assert_eq!(response.bytes().await.expect("a body").len(), 43);
        }
        assert_eq!(get(http.get(format!("{}/pixel/none", app.url))).await.status(), 404);
        let sold = owner.data("{ conversions(first: 9, filter: { orderIds: [\"1\"] }) { nodes { status } } }", json!({})).await;
        assert_eq!(sold["conversions"]["nodes"], json!([{ "status": "APPROVED" }]));
    }

    async fn cookie_of_the_page_s_own_site_names_the_click(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (pixel, _) = endpoint(&owner, json!({ "dialect": "PIXEL", "defaultGoal": "sale" })).await;
        let click = programme.click(&owner).await;
        let http = reqwest::Client::new();
        let with_cookie = |order: &str, cookie: &str| {
            http.get(format!("{pixel}?order_id={order}")).header(header::COOKIE, format!("a=b; trb_click={cookie}"))
        };
        assert_eq!(get(with_cookie("1", &click)).await.status(), 200);
        assert_eq!(get(with_cookie("2", "nonsense")).await.status(), 400);
        let query = "{ conversions(first: 9) { nodes { orderId click { id } } } }";
        let recorded = owner.data(query, json!({})).await;
        assert_eq!(recorded["conversions"]["nodes"], json!([{ "orderId": "1", "click": { "id": click } }]));
    }

    async fn server_s_token_is_of_no_use_in_a_page(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (server, _) = endpoint(&owner, json!({ "defaultGoal": "sale" })).await;
        let image = server.replace("/postback/", "/pixel/");
        let click = programme.click(&owner).await;
        let response = get(reqwest::Client::new().get(format!("{image}?click_id={click}&order_id=1"))).await;
        assert_eq!((response.status().as_u16(), response.headers()["x-postback-code"].to_str().ok()), (403, Some("NOT_A_PIXEL")));
    }

    async fn beacon_of_any_page_is_taken(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (pixel, _) = endpoint(&owner, json!({ "dialect": "PIXEL", "defaultGoal": "sale" })).await;
        let url = pixel.replace("/pixel/", "/postback/");
        let click = programme.click(&owner).await;
        let beacon = reqwest::Client::new()
            .post(&url)
            .header(header::ORIGIN, "https://shop.example")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8")
            .body(format!("click_id={click}&orderId=1"));
        let response = beacon.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["conversionId"].as_str().map(|id| id.starts_with("cnv_")), Some(true));
    }

    async fn script_is_cached_and_asked_for_again(app) {
        let http = reqwest::Client::new();
        let response = http.get(format!("{}/t.js", app.url)).send().await.expect("an answer");
        let headers = response.headers().clone();
        assert_eq!(headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=3600");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
        let script = response.text().await.expect("a text");
        assert!(script.len() < 2_000 && script.contains("sendBeacon"), "{} bytes", script.len());
        for (tag, status) in [(headers[header::ETAG].to_str().expect("a tag"), 304), ("\"other\"", 200)] {
            let again = http.get(format!("{}/t.js", app.url)).header(header::IF_NONE_MATCH, tag);
            assert_eq!(again.send().await.expect("an answer").status(), status, "{tag}");
        }
    }
}
