//! Files for banks and from banks: what is written is written once, whatever comes back is told once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{
    domain::problem::ProblemCode,
    services::{
        ServiceError,
        payouts::files::{self, Export, Exported},
    },
};
use tributary_entity::kinds::{PayoutFileFormat, Role};

use crate::{
    payout_file_shapes::keep_to_schemas,
    payouts::{another, earn, payouts, quick, submit},
    support::{Client, Programme, Terms, TestApp, on_both, programme::sale, surface::status_report, tap::viewer},
};

const DOCUMENT: &str = "document { name mediaType content file { id part items digest batch { id } } }";
const FILE: &str = "payoutFile { id items }";
const NOTICES: &str = "query($filter: PayoutNoticeFilterInput) { payoutNotices(first: 20, order: CREATED_ASC, filter: $filter) \
    { totalCount edges { node { reference status outcome reason payout { id status } } } } }";

async fn debtor(client: &Client) {
    let account = json!({ "sepa": {
        "name": "Müller GmbH", "iban": "DE89 3704 0044 0532 0130 00", "bic": "COBADEFFXXX",
        "address": { "street": "Hauptstraße", "buildingNumber": "1", "postCode": "10115", "town": "Berlin", "country": "DE" },
    } });
    let set = client.done("setPayingAccount", json!({ "account": account }), "payingAccount { method mask }").await;
    assert_eq!(set["payingAccount"], json!({ "method": "SEPA", "mask": "DE89…3000" }));
}

async fn in_sepa(client: &Client, affiliate: &str, holder: &str) {
    let destination = json!({
        "affiliateId": affiliate, "currency": "EUR", "holder": holder,
        "account": { "sepa": { "iban": "NL91ABNA0417164300" } },
    });
    client.done("setPayoutDestination", destination, "").await;
}

/// A submitted batch of two payouts in SEPA; the batch, and its payouts in the order in which they were made.
async fn two(app: &TestApp, owner: &Client) -> (Value, Vec<String>) {
    debtor(owner).await;
    let ada = quick(owner).await;
    let bob = another(owner, &ada).await;
    in_sepa(owner, &ada.affiliate, "Ада Łukasz").await;
    in_sepa(owner, &bob.affiliate, "Bob & Söhne").await;
    earn(app, owner, &ada, "100.00").await;
    earn(app, owner, &bob, "200.50").await;
    let batch = crate::payouts::draft(owner).await;
    submit(owner, &batch).await;
    let mut ids = payouts(&batch);
    ids.sort();
    (batch, ids)
}

async fn export(client: &Client, batch: &Value, format: &str) -> Value {
    let input = json!({ "batchId": batch["id"], "format": format });
    client.done("exportPayoutFile", input, DOCUMENT).await["document"].take()
}

async fn import(client: &Client, format: &str, content: &str) -> Value {
    client.done("importPayoutFile", json!({ "format": format, "content": content }), &format!("replayed {FILE}")).await
}

async fn notices(client: &Client, file: &Value) -> Vec<(String, String)> {
    let data = client.data(NOTICES, json!({ "filter": { "fileIds": [file["payoutFile"]["id"]] } })).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let edges = data["payoutNotices"]["edges"].as_array().expect("a page");
    edges.iter().map(|edge| (text(&edge["node"]["status"]), text(&edge["node"]["outcome"]))).collect()
}

async fn payout(client: &Client, id: &str) -> Value {
    let query = "query($id: ID!) { payout(id: $id) { status reason reference bankReference } }";
    client.data(query, json!({ "id": id })).await["payout"].take()
}

/// Takes the files' contents away, which the database refuses.
async fn forget_contents(app: &TestApp) {
    let trigger = if app.auditor.is_postgres() {
        "DROP TRIGGER payout_file_content_append_only ON payout_file_content"
    } else {
        "DROP TRIGGER payout_file_content_no_delete"
    };
    for sql in [trigger, "DELETE FROM payout_file_content"] {
        app.auditor.run(sql).await.expect("known names");
    }
}

async fn payout_net(client: &Client, id: &str) -> String {
    let data = client.data("query($id: ID!) { payout(id: $id) { net { amount } } }", json!({ "id": id })).await;
    data["payout"]["net"]["amount"].as_str().expect("an amount").to_owned()
}

/// A bank's notification of one booking.
fn notification(reference: &str, booking: &str, direction: &str, amount: &str, returned: Option<&str>) -> String {
    let back = returned.map_or_else(String::new, |code| format!("<RtrInf><Rsn><Cd>{code}</Cd></Rsn></RtrInf>"));
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.054.001.08\"><BkToCstmrDbtCdtNtfctn>\
         <GrpHdr><MsgId>{booking}</MsgId><CreDtTm>2026-11-26T10:00:00</CreDtTm></GrpHdr><Ntfctn><Id>1</Id>\
         <Ntry><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
         <AcctSvcrRef>{booking}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd>\
         </Fmly></Domn></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>\
         <Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>{back}</TxDtls></NtryDtls></Ntry>\
         </Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    )
}

/// A bank's notification that it booked a whole file as one debit, and names none of its payments.
fn batch_booking(file: &Value, booking: &str, amount: &str, count: usize) -> String {
    let name = file["file"]["id"].as_str().expect("an id").replace('_', "-");
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.054.001.08\"><BkToCstmrDbtCdtNtfctn>\
         <GrpHdr><MsgId>{booking}</MsgId><CreDtTm>2026-11-26T10:00:00</CreDtTm></GrpHdr><Ntfctn><Id>1</Id>\
         <Ntry><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
         <AcctSvcrRef>{booking}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd>\
         </Fmly></Domn></BkTxCd><NtryDtls><Btch><PmtInfId>{name}</PmtInfId><NbOfTxs>{count}</NbOfTxs></Btch></NtryDtls>\
         </Ntry></Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    )
}

/// Writes the next part of at most two payouts; its file and content, or the code of why there is none.
async fn part(
    app: &TestApp,
    client: &Client,
    batch: &Value,
    format: PayoutFileFormat,
    part: i32,
) -> Result<Exported, ProblemCode> {
    let batch_id = batch["id"].as_str().expect("an id").parse().expect("an id");
    let viewer = viewer(app, client).await;
    let export = files::export(&app.services, &viewer, None, Export { batch_id, format, part }, 2).await;
    export.map(|outcome| outcome.value).map_err(|error| match error {
        ServiceError::Refused(problems) => problems[0].code,
        error => panic!("{error}"),
    })
}

/// All parts of a batch, and how many payouts each has: no payout is in two, and each is the same bytes again, also by
/// another size.
async fn parts(app: &TestApp, client: &Client, batch: &Value, format: PayoutFileFormat) -> Vec<(String, i64)> {
    assert_eq!(
        part(app, client, batch, format, 2).await.map(|_| ()),
        Err(ProblemCode::NotFound),
        "none before the first"
    );
    let mut written = Vec::new();
    for number in 1..=3 {
        let Exported { file, content } = part(app, client, batch, format, number).await.expect("a part");
        assert_eq!((file.part, file.digest.len()), (number, 64));
        written.push((content, file.items));
    }
    assert_eq!(
        part(app, client, batch, format, 4).await.map(|_| ()),
        Err(ProblemCode::InvalidTransition),
        "none is left"
    );
    for (number, (content, items)) in (1..).zip(&written) {
        let input = json!({ "batchId": batch["id"], "format": format.as_str(), "part": number });
        let again = client.done("exportPayoutFile", input, DOCUMENT).await["document"].take();
        assert_eq!(
            (again["content"].as_str(), &again["file"]["items"]),
            (Some(&content[..]), &json!(items)),
            "part {number}"
        );
    }
    for id in payouts(batch) {
        assert_eq!(payout(client, &id).await["status"], "IN_TRANSIT");
        let reference = payout(client, &id).await["bankReference"].as_str().expect("a reference").to_owned();
        assert_eq!(written.iter().filter(|(content, _)| content.contains(&reference)).count(), 1, "{reference}");
    }
    written
}

/// Five affiliates with an account each, who are owed 10.00, 11.00, 12.00, 13.00 and 14.00; a submitted batch that pays them.
async fn five(app: &TestApp, owner: &Client, currency: &'static str, account: &Value) -> Value {
    let terms = Terms { currency, hold_seconds: 0, ..Terms::default() };
    let ada = Programme::build(owner, &terms).await;
    for number in 0..5 {
        let one = if number == 0 { ada.clone() } else { another(owner, &ada).await };
        let destination =
            json!({ "affiliateId": one.affiliate, "currency": currency, "holder": "Ada", "account": account });
        owner.done("setPayoutDestination", destination, "").await;
        let click = one.click(owner).await;
        let mut input = sale(&click, &format!("part-{number}"), &format!("{}.00", 100 + 10 * number));
        input["saleAmount"]["currency"] = json!(currency);
        owner.done("recordConversion", input, "").await;
    }
    app.release_holds().await;
    let selection = "payoutBatch { id payouts(first: 10) { edges { node { id } } } }";
    let batch = owner.done("createPayoutBatch", json!({ "currency": currency }), selection).await["payoutBatch"].take();
    submit(owner, &batch).await;
    batch
}

/// An ACH file of one payout, of the entry class that the originator means; and its return.
async fn ach_file_comes_back(app: &TestApp, corporate: &Value, entry_class: &str) {
    let owner = app.owner();
    let account = json!({ "ach": {
        "companyName": "Shop Inc", "companyId": "1234567890", "bankRoutingNumber": "021000021", "bankName": "First Bank",
        "corporate": corporate,
    } });
    owner.done("setPayingAccount", json!({ "account": account }), "").await;
    let dollars = crate::support::Terms { currency: "USD", hold_seconds: 0, ..crate::support::Terms::default() };
    let ada = crate::support::Programme::build(&owner, &dollars).await;
    let destination = json!({
        "affiliateId": ada.affiliate, "currency": "USD", "holder": "Zoë",
        "account": { "ach": { "routingNumber": "011401533", "accountNumber": "12-345", "accountType": "CHECKING" } },
    });
    owner.done("setPayoutDestination", destination, "").await;
    let click = ada.click(&owner).await;
    let mut sale = crate::support::programme::sale(&click, &click, "100.00");
    sale["saleAmount"]["currency"] = json!("USD");
    owner.done("recordConversion", sale, "").await;
    app.release_holds().await;
    let batch = owner.done("createPayoutBatch", json!({ "currency": "USD" }), "payoutBatch { id }").await;
    let batch = batch["payoutBatch"].clone();
    submit(&owner, &batch).await;
    let file = export(&owner, &batch, "NACHA").await;
    let content = file["content"].as_str().expect("a text");
    assert!(content.lines().count() == 10 && content.lines().all(|line| line.len() == 94), "{content}");
    let header = content.lines().nth(1).expect("of the batch");
    assert_eq!(header.get(50..53), Some(entry_class), "{header}");
    let mut lines: Vec<String> = content.lines().map(str::to_owned).collect();
    let addenda = format!("799R03{}{:6}{}{:44}021000029999999", &lines[2][79..94], "", &lines[2][3..11], "");
    lines.insert(3, addenda);
    let back = import(&owner, "NACHA_RETURN", &lines.join("\n")).await;
    assert_eq!(notices(&owner, &back).await, [("RETURNED".to_owned(), "APPLIED".to_owned())]);
    let data = owner.data(NOTICES, json!({ "filter": { "fileIds": [back["payoutFile"]["id"]] } })).await;
    let node = &data["payoutNotices"]["edges"][0]["node"];
    assert_eq!((&node["reason"], &node["payout"]["status"]), (&json!("R03"), &json!("RETURNED")));
}

on_both! {
    async fn batch_that_is_too_large_for_one_sepa_file_has_parts(app) {
        let owner = app.owner();
        debtor(&owner).await;
        let batch = five(app, &owner, "EUR", &json!({ "sepa": { "iban": "NL91ABNA0417164300" } })).await;
        let parts = parts(app, &owner, &batch, PayoutFileFormat::SepaCreditTransfer).await;
        let told = |name: &str| -> Vec<String> {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            let one = |(content, _): &(String, i64)| {
                let from = content.find(&open).expect("there") + open.len();
                content[from..].split(&close).next().expect("closed").to_owned()
            };
            parts.iter().map(one).collect()
        };
        assert_eq!(parts.iter().map(|(_, items)| *items).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(told("NbOfTxs"), ["2", "2", "1"]);
        let sums: Vec<i64> = told("CtrlSum").iter().map(|sum| sum.replace('.', "").parse().expect("digits")).collect();
        assert_eq!(sums.iter().sum::<i64>(), 1_000 + 1_100 + 1_200 + 1_300 + 1_400, "{sums:?}");
        let messages = told("MsgId");
        assert!(messages[0] != messages[1] && messages[1] != messages[2] && messages[0] != messages[2], "{messages:?}");
        let (files, _): (Vec<String>, Vec<i64>) = parts.into_iter().unzip();
        keep_to_schemas(&files).await;
    }

    async fn batch_that_is_too_large_for_one_ach_file_has_parts(app) {
        let owner = app.owner();
        let account = json!({ "ach": {
            "companyName": "Shop Inc", "companyId": "1234567890", "bankRoutingNumber": "021000021", "bankName": "First Bank",
        } });
        owner.done("setPayingAccount", json!({ "account": account }), "").await;
        let account = json!({ "routingNumber": "091000019", "accountNumber": "12-3", "accountType": "CHECKING" });
        let batch = five(app, &owner, "USD", &json!({ "ach": account })).await;
        let parts = parts(app, &owner, &batch, PayoutFileFormat::Nacha).await;
        let mut total = 0;
        for (content, items) in &parts {
            let lines: Vec<&str> = content.lines().collect();
            assert!(lines.len().is_multiple_of(10) && lines.iter().all(|line| line.len() == 94), "{content}");
            let entries: Vec<i64> =
                lines.iter().filter(|line| line.starts_with('6')).map(|line| line[29..39].parse().expect("digits")).collect();
            assert_eq!(i64::try_from(entries.len()), Ok(*items));
            // The file's control record counts and sums its own entries alone.
            let control = lines.iter().find(|line| line.starts_with('9') && !line.starts_with("99999")).expect("a record");
            assert_eq!(control[13..21].parse::<i64>(), Ok(*items), "{control}");
            assert_eq!(control[43..55].parse::<i64>(), Ok(entries.iter().sum()), "{control}");
            total += entries.iter().sum::<i64>();
        }
        assert_eq!(parts.iter().map(|(_, items)| *items).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(total, 6_000);
    }

    async fn sepa_file_is_the_same_bytes_each_time(app) {
        let owner = app.owner();
        let (batch, ids) = two(app, &owner).await;
        let first = export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
        let content = first["content"].as_str().expect("a text");
        for part in ["<NbOfTxs>2</NbOfTxs>", "<CtrlSum>30.05</CtrlSum>", "<Nm>Ada Lukasz</Nm>", "<Nm>Bob + Soehne</Nm>"] {
            assert!(content.contains(part), "{part} in {content}");
        }
        let (ada, bob) = (content.find(&ids[0].replace('_', "-")), content.find(&ids[1].replace('_', "-")));
        assert!(ada.is_some() && ada < bob, "{content}");
        assert_eq!((&first["file"]["items"], &first["mediaType"]), (&json!(2), &json!("application/xml")));
        app.clock.advance(TimeDelta::days(40));
        // Neither time nor new settings change what was handed out.
        let other = json!({ "sepa": {
            "name": "Other", "iban": "NL91ABNA0417164300", "address": { "town": "Amsterdam", "country": "NL" },
        } });
        owner.done("setPayingAccount", json!({ "account": other }), "").await;
        assert_eq!(export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await, first);
        assert_eq!(payout(&owner, &ids[0]).await["status"], "IN_TRANSIT");
        assert_eq!(payout(&owner, &ids[0]).await["bankReference"], ids[0].replace('_', "-"));
        // They are in no other file.
        let second = json!({ "batchId": batch["id"], "format": "CSV" });
        assert_eq!(owner.refusal("exportPayoutFile", second).await, "INVALID_TRANSITION");
        let part = json!({ "batchId": batch["id"], "format": "SEPA_CREDIT_TRANSFER", "part": 3 });
        assert_eq!(owner.refusal("exportPayoutFile", part).await, "NOT_FOUND");
        let told = "SELECT COUNT(*) FROM event WHERE kind = 'PAYOUT_FILE_CHANGED'";
        assert_eq!(app.auditor.number(told).await, 2);
        let query = "mutation($input: ExportPayoutFileInput!) { exportPayoutFile(input: $input) { replayed } }";
        let input = json!({ "input": { "batchId": batch["id"], "format": "CSV" } });
        assert_eq!(app.role(Role::Manager).error_code(query, input).await, "FORBIDDEN");
    }

    async fn file_is_kept_as_it_was_handed_out(app) {
        let owner = app.owner();
        for format in ["SEPA_CREDIT_TRANSFER", "CSV"] {
            let (batch, _) = two(app, &owner).await;
            let first = export(&owner, &batch, format).await;
            // As if another version spelled names otherwise.
            app.auditor.run("UPDATE payout_destination SET holder = 'Another'").await.expect("a known column");
            app.clock.advance(TimeDelta::days(1));
            assert_eq!(export(&owner, &batch, format).await, first, "{format}");
        }
        // One from before contents were kept is written again.
        let (batch, _) = two(app, &owner).await;
        let first = export(&owner, &batch, "CSV").await;
        forget_contents(app).await;
        assert_eq!(export(&owner, &batch, "CSV").await, first);
    }

    async fn file_without_an_account_or_a_submitted_batch_is_refused(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        in_sepa(&owner, &ada.affiliate, "Ada").await;
        earn(app, &owner, &ada, "100.00").await;
        let batch = crate::payouts::draft(&owner).await;
        let input = json!({ "batchId": batch["id"], "format": "SEPA_CREDIT_TRANSFER" });
        assert_eq!(owner.refusal("exportPayoutFile", input.clone()).await, "INVALID_TRANSITION");
        submit(&owner, &batch).await;
        assert_eq!(owner.refusal("exportPayoutFile", input.clone()).await, "INVALID_TRANSITION");
        let wrong = json!({ "batchId": batch["id"], "format": "NACHA_RETURN" });
        assert_eq!(owner.refusal("exportPayoutFile", wrong).await, "OUT_OF_RANGE");
        debtor(&owner).await;
        export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
    }

    async fn bank_tells_what_became_of_each_payment_once(app) {
        let owner = app.owner();
        let (batch, ids) = two(app, &owner).await;
        export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
        let reference = |id: &str| id.replace('_', "-");
        let rejected = status_report("R-1", &reference(&ids[0]), "RJCT");
        let first = import(&owner, "PAYMENT_STATUS_REPORT", &rejected).await;
        assert_eq!(notices(&owner, &first).await, [("REJECTED".to_owned(), "APPLIED".to_owned())]);
        let failed = payout(&owner, &ids[0]).await;
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("FAILED"), &json!("AC04")));
        // The same file is no second one; the same line in another file does nothing.
        let again = import(&owner, "PAYMENT_STATUS_REPORT", &rejected).await;
        assert_eq!((&again["replayed"], &again["payoutFile"]), (&json!(true), &first["payoutFile"]));
        let padded = format!("{rejected}\n");
        let same_line = import(&owner, "PAYMENT_STATUS_REPORT", &padded).await;
        assert_eq!(notices(&owner, &same_line).await, [("REJECTED".to_owned(), "REPEATED".to_owned())]);

        let paid = notification(&reference(&ids[1]), "B-1", "DBIT", "20.05", None);
        let paid = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &paid).await;
        assert_eq!(notices(&owner, &paid).await, [("PAID".to_owned(), "APPLIED".to_owned())]);
        assert_eq!(payout(&owner, &ids[1]).await["status"], "PAID");
        // Weeks later it comes back: not of another amount, then of its own.
        app.clock.advance(TimeDelta::days(30));
        let wrong = notification(&reference(&ids[1]), "B-2", "CRDT", "20.00", Some("AC04"));
        let wrong = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &wrong).await;
        assert_eq!(notices(&owner, &wrong).await, [("RETURNED".to_owned(), "REFUSED".to_owned())]);
        let back = notification(&reference(&ids[1]), "B-3", "CRDT", "20.05", Some("AC04"));
        let back = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &back).await;
        assert_eq!(notices(&owner, &back).await, [("RETURNED".to_owned(), "APPLIED".to_owned())]);
        assert_eq!(payout(&owner, &ids[1]).await["status"], "RETURNED");
        let nobody = notification("somebody's own", "B-4", "DBIT", "1.00", None);
        import(&owner, "DEBIT_CREDIT_NOTIFICATION", &nobody).await;
        let unknown = owner.data(NOTICES, json!({ "filter": { "outcomes": ["UNKNOWN"] } })).await;
        assert_eq!(unknown["payoutNotices"]["edges"][0]["node"]["reference"], "somebody's own");
        assert_eq!(unknown["payoutNotices"]["totalCount"], 1);
    }

    async fn booking_of_a_whole_file_settles_what_is_under_way_of_it(app) {
        let owner = app.owner();
        let told = |lines: &[(&str, &str)]| -> Vec<(String, String)> {
            lines.iter().map(|(status, outcome)| ((*status).to_owned(), (*outcome).to_owned())).collect()
        };
        let (batch, ids) = two(app, &owner).await;
        let file = export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
        // Of another sum: for somebody to look at.
        let wrong = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &batch_booking(&file, "B-1", "30.00", 2)).await;
        assert_eq!(notices(&owner, &wrong).await, told(&[("PAID", "REFUSED")]));
        for id in &ids {
            assert_eq!(payout(&owner, id).await["status"], "IN_TRANSIT");
        }
        let whole = batch_booking(&file, "B-2", "30.05", 2);
        let booked = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &whole).await;
        assert_eq!(notices(&owner, &booked).await, told(&[("PAID", "APPLIED"), ("PAID", "APPLIED")]));
        for id in &ids {
            assert_eq!(payout(&owner, id).await["status"], "PAID");
        }
        assert_eq!(import(&owner, "DEBIT_CREDIT_NOTIFICATION", &whole).await["replayed"], true);
        // The same line in another file, and the same booking under another name.
        for again in [format!("{whole}\n"), batch_booking(&file, "B-3", "30.05", 2)] {
            let again = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &again).await;
            assert_eq!(notices(&owner, &again).await, told(&[("PAID", "REPEATED")]));
        }
        // What the bank refused is not in its sum.
        let (batch, ids) = two(app, &owner).await;
        let file = export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
        let rejected = status_report("R-1", &ids[0].replace('_', "-"), "RJCT");
        import(&owner, "PAYMENT_STATUS_REPORT", &rejected).await;
        let rest = payout_net(&owner, &ids[1]).await;
        let booked = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &batch_booking(&file, "B-4", &rest, 1)).await;
        assert_eq!(notices(&owner, &booked).await, told(&[("PAID", "APPLIED")]));
        assert_eq!(payout(&owner, &ids[0]).await["status"], "FAILED");
        assert_eq!(payout(&owner, &ids[1]).await["status"], "PAID");
    }

    async fn line_that_contradicts_a_payout_is_a_difference_of_the_books(app) {
        let owner = app.owner();
        let (batch, ids) = two(app, &owner).await;
        let file = export(&owner, &batch, "SEPA_CREDIT_TRANSFER").await;
        let reference = |id: &str| id.replace('_', "-");
        import(&owner, "PAYMENT_STATUS_REPORT", &status_report("R-1", &reference(&ids[0]), "RJCT")).await;
        // What failed is debited, what is under way as another sum, and then a whole file; a rejection of what was paid.
        let debit = |id: &str, booking: &str, amount: &str| notification(&reference(id), booking, "DBIT", amount, None);
        for content in [
            debit(&ids[0], "B-1", &payout_net(&owner, &ids[0]).await),
            debit(&ids[1], "B-2", "1.00"),
            batch_booking(&file, "B-3", "30.05", 2),
        ] {
            let refused = import(&owner, "DEBIT_CREDIT_NOTIFICATION", &content).await;
            assert_eq!(notices(&owner, &refused).await, [("PAID".to_owned(), "REFUSED".to_owned())]);
            // The same line in another file is the same difference.
            import(&owner, "DEBIT_CREDIT_NOTIFICATION", &format!("{content}\n")).await;
        }
        import(&owner, "DEBIT_CREDIT_NOTIFICATION", &debit(&ids[1], "B-4", &payout_net(&owner, &ids[1]).await)).await;
        import(&owner, "PAYMENT_STATUS_REPORT", &status_report("R-2", &reference(&ids[1]), "RJCT")).await;
        // A second debit is a second difference.
        import(&owner, "DEBIT_CREDIT_NOTIFICATION", &debit(&ids[0], "B-5", &payout_net(&owner, &ids[0]).await)).await;
        let statuses = [payout(&owner, &ids[0]).await["status"].take(), payout(&owner, &ids[1]).await["status"].take()];
        assert_eq!(statuses, [json!("FAILED"), json!("PAID")]);

        let query = "{ reconciliationItems(first: 20) { edges { node { kind method status externalId detail \
            ours { amount } theirs { amount } payout { id } } } } }";
        let data = owner.data(query, json!({})).await;
        let edges = data["reconciliationItems"]["edges"].as_array().expect("a page");
        let mut items: Vec<Value> = edges.iter().map(|edge| edge["node"].clone()).collect();
        items.sort_by_key(|item| item["externalId"].to_string());
        // A line's name is its booking's, and which line of that it is.
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().split('/').next().unwrap_or_default().to_owned();
        let found: Vec<_> =
            items.iter().map(|item| ["kind", "externalId", "detail"].map(|name| text(item, name))).collect();
        let failed = "the payout is FAILED, the bank says Paid";
        assert_eq!(found[..4], [
            ["STATE", "B-1", failed],
            ["AMOUNT", "B-2", "the bank says Paid of another amount"],
            ["AMOUNT", "B-3", "the bank says Paid of a file as one sum, which is not that of what is under way of it"],
            ["STATE", "B-5", failed],
        ]);
        assert_eq!((found.len(), &*found[4][2]), (5, "the payout is PAID, the bank says Rejected"));
        let net = payout_net(&owner, &ids[1]).await;
        for (item, ours, theirs) in [(&items[1], &*net, "1.00"), (&items[2], &*net, "30.05")] {
            assert_eq!((&item["ours"]["amount"], &item["theirs"]["amount"]), (&json!(ours), &json!(theirs)), "{item}");
            assert_eq!((&item["method"], &item["status"]), (&json!("SEPA"), &json!("OPEN")));
        }
        assert_eq!((&items[0]["payout"]["id"], &items[1]["payout"]["id"]), (&json!(ids[0]), &json!(ids[1])));
        assert_eq!(items[2]["payout"], Value::Null);
    }

    async fn file_that_is_none_is_refused_and_changes_nothing(app) {
        let owner = app.owner();
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"cc\">]><Document>&b;</Document>";
        let deep = format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000));
        for content in ["", "<", "<Document/>", bomb, &deep, "101 but short"] {
            for format in ["PAYMENT_STATUS_REPORT", "DEBIT_CREDIT_NOTIFICATION", "NACHA_RETURN"] {
                let input = json!({ "format": format, "content": content });
                assert_eq!(owner.refusal("importPayoutFile", input).await, "INVALID_TEXT", "{format}");
            }
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout_file").await, 0);
    }

    async fn ach_file_is_written_and_its_returns_are_read(app) {
        // To consumers, then to companies: the originator says which.
        for (corporate, entry_class) in [(Value::Null, "PPD"), (json!(true), "CCD"), (json!(false), "PPD")] {
            ach_file_comes_back(app, &corporate, entry_class).await;
        }
    }

    async fn advice_says_what_a_payout_pays_to_its_affiliate_alone(app) {
        let owner = app.owner();
        let (batch, ids) = two(app, &owner).await;
        let query = "query($id: ID!, $form: DownloadForm!) { payout(id: $id) { affiliate { id } \
            remittanceAdvice(form: $form) { name mediaType base64 } } }";
        let read = async |client: &Client, form: &str| {
            let data = client.data(query, json!({ "id": ids[0], "form": form })).await;
            let advice = &data["payout"]["remittanceAdvice"];
            let bytes = advice["base64"].as_str().map(|text| data_encoding::BASE64.decode(text.as_bytes()).expect("base64"));
            (bytes, data["payout"]["affiliate"]["id"].as_str().map(str::to_owned))
        };
        let (csv, whose) = read(&owner, "CSV").await;
        let csv = String::from_utf8(csv.expect("written")).expect("UTF-8");
        assert!(csv.contains("payer,home\r\n") && csv.contains("account,NL91…4300\r\n"), "{csv}");
        assert!(csv.contains("earned since,10.00 EUR\r\n") && csv.ends_with("this payout,10.00 EUR\r\n"), "{csv}");
        let (pdf, _) = read(&owner, "PDF").await;
        let own = app.affiliate(&whose.expect("somebody"));
        // Whatever is earned later.
        app.clock.advance(TimeDelta::days(1));
        assert_eq!(read(&own, "PDF").await.0, pdf);
        assert!(pdf.expect("written").starts_with(b"%PDF"));
        let others = payouts(&batch).into_iter().filter(|id| *id != ids[0]);
        for id in others {
            let foreign = own.data(query, json!({ "id": id, "form": "CSV" })).await;
            assert!(foreign["payout"].is_null());
        }
    }
}
