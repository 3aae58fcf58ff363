//! Statements: they say how a balance came about, and agree with the ledger whatever the period.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::Instant;

use crate::{
    payouts::{draft, earn, payouts, quick, submit},
    support::{Client, on_both},
};

async fn statement(client: &Client, affiliate: &str, from: Instant, until: Instant) -> Value {
    let query = "query($id: ID!, $from: DateTime!, $until: DateTime!) { statement(affiliateId: $id, currency: \"EUR\", \
                 from: $from, until: $until) { opening { amount } earned { amount } paid { amount } closing { amount } } }";
    client.data(query, json!({ "id": affiliate, "from": from, "until": until })).await["statement"].take()
}

/// Opening, earned, paid, closing.
fn amounts(statement: &Value) -> [&str; 4] {
    ["opening", "earned", "paid", "closing"].map(|part| statement[part]["amount"].as_str().expect("an amount"))
}

on_both! {
    async fn statement_tells_what_was_earned_and_paid(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let begin = app.clock.now();
        earn(app, &owner, &programme, "490.00").await;
        app.clock.advance(TimeDelta::days(31));
        let second = app.clock.now();
        earn(app, &owner, &programme, "100.00").await;
        submit(&owner, &draft(&owner).await).await;
        app.clock.advance(TimeDelta::days(31));
        let third = app.clock.now();

        let affiliate = programme.affiliate.as_str();
        assert_eq!(amounts(&statement(&owner, affiliate, begin, second).await), ["0.00", "49.00", "0.00", "49.00"]);
        assert_eq!(amounts(&statement(&owner, affiliate, second, third).await), ["49.00", "10.00", "59.00", "0.00"]);
        assert_eq!(amounts(&statement(&owner, affiliate, begin, third).await), ["0.00", "59.00", "59.00", "0.00"]);
        assert_eq!(amounts(&statement(&owner, affiliate, third, third).await), ["0.00", "0.00", "0.00", "0.00"]);
    }

    async fn statement_is_a_file_for_people_too(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let begin = app.clock.now();
        earn(app, &owner, &programme, "490.00").await;
        submit(&owner, &draft(&owner).await).await;
        app.clock.advance(TimeDelta::days(31));
        let own = app.affiliate(&programme.affiliate);
        let query = "query($id: ID!, $from: DateTime!, $until: DateTime!, $form: DownloadForm) { statement(affiliateId: $id, \
                     currency: \"EUR\", from: $from, until: $until) { download(form: $form) { name mediaType base64 } } }";
        let period = (begin, app.clock.now());
        let read = async |form: Value| {
            let variables = json!({ "id": programme.affiliate, "from": period.0, "until": period.1, "form": form });
            let mut file = own.data(query, variables).await["statement"]["download"].take();
            let bytes = file["base64"].take();
            let bytes = data_encoding::BASE64.decode(bytes.as_str().expect("a file").as_bytes()).expect("base64");
            (file["name"].take(), file["mediaType"].take(), bytes)
        };
        let (name, media_type, csv) = read(json!("CSV")).await;
        let csv = String::from_utf8(csv).expect("UTF-8");
        let stem = format!("{}-EUR-{}", programme.affiliate, begin.format("%Y-%m-%d"));
        assert_eq!((name, media_type), (json!(format!("{stem}.csv")), json!("text/csv")));
        assert!(csv.starts_with("field,value\r\npayer,home\r\naffiliate,aff_"), "{csv}");
        let amounts = "opening balance,0.00 EUR\r\nearned,49.00 EUR\r\nreversed,0.00 EUR\r\nadjusted,0.00 EUR\r\n\
                       paid,-49.00 EUR\r\nclosing balance,0.00 EUR\r\n";
        assert!(csv.ends_with(amounts), "{csv}");
        let (name, media_type, pdf) = read(Value::Null).await;
        assert_eq!((name, media_type), (json!(format!("{stem}.pdf")), json!("application/pdf")));
        assert!(pdf.starts_with(b"%PDF"));
        app.clock.advance(TimeDelta::days(1));
        assert_eq!(read(json!("PDF")).await.2, pdf);
    }

    async fn payout_that_fails_or_comes_back_is_not_paid(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let begin = app.clock.now();
        earn(app, &owner, &programme, "100.00").await;
        let batch = draft(&owner).await;
        submit(&owner, &batch).await;
        let payout = payouts(&batch).remove(0);
        owner.done("markPayoutPaid", json!({ "id": payout, "reference": "r" }), "").await;
        let paid = app.clock.now() + TimeDelta::seconds(1);
        let affiliate = programme.affiliate.as_str();
        assert_eq!(amounts(&statement(&owner, affiliate, begin, paid).await), ["0.00", "10.00", "10.00", "0.00"]);
        app.clock.advance(TimeDelta::days(20));
        owner.done("markPayoutReturned", json!({ "id": payout, "reference": "b", "reason": "closed" }), "").await;
        let end = app.clock.now() + TimeDelta::seconds(1);
        assert_eq!(amounts(&statement(&owner, affiliate, paid, end).await), ["0.00", "0.00", "-10.00", "10.00"]);
    }

    async fn affiliate_reads_its_own_statement_only(app) {
        let owner = app.owner();
        let (own, foreign) = (quick(&owner).await, quick(&owner).await);
        let begin = app.clock.now();
        earn(app, &owner, &own, "100.00").await;
        let end = app.clock.now() + TimeDelta::seconds(1);
        let ada = app.affiliate(&own.affiliate);
        assert_eq!(amounts(&statement(&ada, &own.affiliate, begin, end).await)[3], "10.00");
        assert!(statement(&ada, &foreign.affiliate, begin, end).await.is_null());
        assert!(statement(&app.stranger(), &own.affiliate, begin, end).await.is_null());
    }

    async fn period_that_runs_backwards_is_refused(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let query = "query($id: ID!) { statement(affiliateId: $id, currency: \"EUR\", from: \"2026-02-01T00:00:00Z\", \
                     until: \"2026-01-01T00:00:00Z\") { currency } }";
        let (_, body) = owner.send(query, json!({ "id": programme.affiliate })).await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "OUT_OF_RANGE", "{body}");
    }
}
