//! Shapes of SEPA files, from the least that has to be said to the most that can be: held against the schemas of ISO 20022
//! and of the German banks by PyPI `xmlschema`. What a file says is taken first by the checks that the API makes.

use std::{path::Path, process::Stdio};

use tokio::process::Command;
use tributary::{
    domain::{
        bank::{Address, FileHead, PayingAccount, PaymentFile, Transfer, Unwritable, sepa::CreditTransfers},
        payout_destination::{Account, NewDestination},
    },
    services::payouts::files::FILE_MAX,
};
use tributary_entity::{
    ids::{PayoutFileId, PayoutId},
    money::Currency,
};
use uuid::Uuid;

const SCHEMAS: [&str; 2] = ["pain.001.001.09.xsd", "pain.001.001.09_GBIC_5.xsd"];
/// Says each file that both schemas take, and fails at the first that one of them does not.
const VALIDATE: &str = "import sys, xmlschema\n\
                        schemas = [xmlschema.XMLSchema(path) for path in sys.argv[1:3]]\n\
                        for path in sys.argv[3:]: print(path, [schema.validate(path) for schema in schemas])";
/// The largest amount of a transfer, in cents.
const MOST: i64 = 99_999_999_999;
/// Accounts without their banks and with them; the shortest number and the longest.
const PAYEES: [(&str, Option<&str>); 5] = [
    ("NL91ABNA0417164300", None),
    ("NL91ABNA0417164300", Some("ABNANL2A")),
    ("NL91ABNA0417164300", Some("ABNANL2AXXX")),
    ("NO9386011117947", None),
    ("MT84MALT011000012345MTLCAST001S", Some("MALTMTMT")),
];

/// What the schemas have against files; nothing where they keep to them.
async fn refusal(files: &[String]) -> Option<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("clients/.venv/bin/python");
    assert!(
        python.exists(),
        "the client libraries are not installed: run tests/clients/setup, or all tests by `make test`"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).args(SCHEMAS).current_dir(tests.join("data/iso20022"));
    for (number, content) in files.iter().enumerate() {
        let path = folder.path().join(format!("{number}.xml"));
        std::fs::write(&path, content).expect("writable");
        command.arg(path);
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the program runs");
    let [taken, refused] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let is_whole = taken.lines().count() == files.len();
    assert_eq!(output.status.success(), is_whole, "{taken}{refused}");
    (!is_whole).then_some(refused)
}

/// Demands of files that they keep to both schemas.
pub async fn keep_to_schemas(files: &[String]) {
    if let Some(refused) = refusal(files).await {
        panic!("{refused}");
    }
}

fn euro() -> Currency {
    "EUR".parse().expect("known")
}

fn address([street, building_number, post_code]: [Option<&str>; 3], town: &str, country: &str) -> Address {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Address {
        street: own(street),
        building_number: own(building_number),
        post_code: own(post_code),
        town: town.to_owned(),
        country: country.to_owned(),
    }
}

fn town() -> Address {
    address([None, None, None], "Köln", "DE")
}

/// A debtor as it is kept.
fn debtor(name: &str, bic: Option<&str>, address: Address) -> PayingAccount {
    let (name, iban, bic) = (name.to_owned(), "DE89370400440532013000".to_owned(), bic.map(str::to_owned));
    PayingAccount::Sepa { name, iban, bic, address }.check().expect("an account that is taken")
}

/// A transfer to an account as it is kept.
fn transfer(holder: &str, (iban, bic): (&str, Option<&str>), amount_minor: i64) -> Transfer {
    let account = Account::Sepa { iban: iban.to_owned(), bic: bic.map(str::to_owned) };
    let new = NewDestination { affiliate_id: None, currency: euro(), holder: holder.to_owned(), account };
    let NewDestination { holder, account, .. } = new.check().expect("a destination that is taken");
    Transfer { payout_id: PayoutId::from_uuid(Uuid::new_v4()), amount_minor, holder, account }
}

fn written(account: &PayingAccount, transfers: &[Transfer]) -> Result<String, Unwritable> {
    let created_at = "2026-11-26T23:59:59.999Z".parse().expect("RFC 3339");
    let head = FileHead { id: PayoutFileId::from_uuid(Uuid::new_v4()), created_at };
    CreditTransfers.write(euro(), &head, Some(account), transfers)
}

#[tokio::test]
async fn debtors_and_payees_of_every_shape_keep_to_the_schemas() {
    let holders = [
        "B".to_owned(),
        // Of 70 characters once they are spelled, and of more.
        "Œ".repeat(35),
        "Ж".repeat(70),
        "王".repeat(70),
        "x ".repeat(35),
        "/:Ada // Bob:/".to_owned(),
    ];
    let mut transfers = Vec::new();
    for payee in PAYEES {
        for holder in &holders {
            transfers.extend([1, MOST].map(|amount| transfer(holder, payee, amount)));
        }
    }
    let (name, street, number) = ("Ä".repeat(35), "ß".repeat(35), "1".repeat(16));
    let longest = format!("{}x", "ü".repeat(17));
    let addresses = [
        town(),
        address([None, None, Some("D-50667")], "Köln", "DE"),
        address([Some("Hauptstraße"), Some("1 a/b"), Some("10115")], "Łódź", "pl"),
        address([Some(&*street), Some(&*number), Some(&*number)], &longest, "FI"),
    ];
    let mut files = Vec::new();
    for address in &addresses {
        for name in ["A", "Müller & Söhne GmbH", &*name] {
            for bic in [None, Some("COBADEFF"), Some("COBADEFFXXX")] {
                let content = written(&debtor(name, bic, address.clone()), &transfers).expect("written");
                assert_eq!(content.contains("<Othr><Id>NOTPROVIDED</Id></Othr>"), bic.is_none(), "{content}");
                files.push(content);
            }
        }
    }
    // What is at its most is whole in the file.
    let last = files.last().expect("several");
    for part in [
        format!("<Nm>{}</Nm>", "Ae".repeat(35)),
        format!("<Nm>{}</Nm>", "OE".repeat(35)),
        format!("<StrtNm>{}</StrtNm><BldgNb>{number}</BldgNb><PstCd>{number}</PstCd>", "s".repeat(70)),
        format!("<TwnNm>{}x</TwnNm>", "ue".repeat(17)),
        "<InstdAmt Ccy=\"EUR\">0.01</InstdAmt>".to_owned(),
        "<InstdAmt Ccy=\"EUR\">999999999.99</InstdAmt>".to_owned(),
    ] {
        assert!(last.contains(&part), "{part} in {last}");
    }
    keep_to_schemas(&files).await;
    // The schemas are asked at all.
    let longer = files[0].replace("<Nm>A</Nm>", &format!("<Nm>{}</Nm>", "A".repeat(71)));
    let refused = refusal(&[longer]).await.expect("a name that is too long");
    assert!(refused.contains("XsdMaxLengthFacet"), "{refused}");
}

#[tokio::test]
async fn file_that_is_full_of_the_largest_amounts_keeps_to_the_schemas() {
    let transfers: Vec<Transfer> = (0..FILE_MAX).map(|_| transfer("B", PAYEES[0], MOST)).collect();
    let content = written(&debtor("A", None, town()), &transfers).expect("written");
    assert!(content.contains(&format!("<NbOfTxs>{FILE_MAX}</NbOfTxs>")));
    keep_to_schemas(&[content]).await;
}

#[test]
fn amount_that_no_transfer_has_is_in_no_file() {
    let account = debtor("A", None, town());
    for amount in [-1, 0, MOST + 1] {
        let transfers = [transfer("B", PAYEES[0], 1), transfer("B", PAYEES[0], amount)];
        assert!(written(&account, &transfers).is_err(), "{amount}");
    }
}
