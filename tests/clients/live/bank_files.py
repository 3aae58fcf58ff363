"""Files for banks, held against what others make of them: the schemas of ISO 20022 and of the German banks by PyPI
`xmlschema`, ACH files by PyPI `achkit`, account numbers by PyPI `schwifty`; and documents for affiliates, read by PyPI
`pypdf`."""

import base64
import csv
import io
import os
import random
import re
import subprocess
import time
import uuid
from datetime import datetime, timedelta, timezone

import achkit
import pypdf
import schwifty
import xmlschema
from gql import Client, GraphQLRequest
from gql.transport.requests import RequestsHTTPTransport

# A run is repeated by setting it to what an earlier one printed.
SEED = os.environ.get("TRIBUTARY_TEST_SEED") or str(uuid.uuid4())
CHANCE = random.Random(SEED)
ENDPOINT = os.environ["TRIBUTARY_TEST_URL"] + "/graphql"
PATIENCE = 60
SCHEMAS = ["../data/iso20022/pain.001.001.09.xsd", "../data/iso20022/pain.001.001.09_GBIC_5.xsd"]
# Names in several scripts, with what banks do not take.
HOLDERS = ["Ада Лавлейс", "Søren Kierkegård & Søn", "王小明", "O'Neill / Ça va <b>", "Ελένη Παπαδοπούλου"]
IBANS = [
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
    "MT84MALT011000012345MTLCAST001S",
    "NO9386011117947",
]
SEPA = (
    "AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS SE SI SK "
    "SM VA"
).split()


def owner_token() -> str:
    command = [os.environ["TRIBUTARY_TEST_PROGRAM"], "token", "--tenant", "home", "--role", "owner"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


SESSION = Client(
    transport=RequestsHTTPTransport(url=ENDPOINT, headers={"Authorization": f"Bearer {owner_token()}"})
).connect_sync()


def mutate(mutation: str, selection: str, **values) -> dict:
    input_type = {"activateCampaign": "CampaignStatus", "approvePayoutBatch": "PayoutBatchStatus",
                  "submitPayoutBatch": "PayoutBatchStatus"}.get(mutation, mutation[0].upper() + mutation[1:])
    asked = f"{selection} userErrors {{ code message }}"
    document = f"mutation ($input: {input_type}Input!) {{ {mutation}(input: $input) {{ {asked} }} }}"
    payload = SESSION.execute(GraphQLRequest(document, variable_values={"input": values}))[mutation]
    assert not payload["userErrors"], (mutation, payload)
    return payload


def made(mutation: str, kind: str, **values) -> str:
    return mutate(mutation, f"{kind} {{ id }}", **values)[kind]["id"]


def earned(currency: str, accounts: list, sales: list[str] | None = None) -> None:
    """An affiliate for each account, with something to be paid: a tenth of its sale."""
    campaign = made("createCampaign", "campaign", name="Shoes", currency=currency, approval="AUTO", holdSeconds=0,
                    destinationUrl="https://shop.example/")
    made("createGoal", "goal", campaignId=campaign, code="sale", name="Sale")
    made("createCommissionRule", "commissionRule", campaignId=campaign, name="Standard", terms={"percent": "10"})
    made("activateCampaign", "campaign", id=campaign)
    for number, (holder, account) in enumerate(accounts):
        affiliate = made("createAffiliate", "affiliate", name=holder, email=f"{uuid.uuid4().hex}@partner.example")
        made("createEnrollment", "enrollment", campaignId=campaign, affiliateId=affiliate)
        link = made("createLink", "link", campaignId=campaign, affiliateId=affiliate)
        made("setPayoutDestination", "payoutDestination", affiliateId=affiliate, currency=currency, holder=holder,
             account=account)
        click = made("recordClick", "click", linkId=link)
        made("recordConversion", "conversion", clickId=click, goal="sale", orderId=str(uuid.uuid4()),
             idempotencyKey=str(uuid.uuid4()),
             saleAmount={"amount": sales[number] if sales else f"{100 + number}.50", "currency": currency})


def submitted(currency: str, count: int) -> str:
    """A submitted batch of all of them, once their commissions are released."""
    preview = "query ($filter: PayoutPreviewFilterInput) { payoutPreview(filter: $filter) { payouts } }"
    asked = GraphQLRequest(preview, variable_values={"filter": {"currency": currency}})
    until = time.monotonic() + PATIENCE
    while SESSION.execute(asked)["payoutPreview"]["payouts"] < count:
        assert time.monotonic() < until, "the commissions are not released"
        time.sleep(0.2)
    batch = made("createPayoutBatch", "payoutBatch", currency=currency)
    made("approvePayoutBatch", "payoutBatch", id=batch)
    made("submitPayoutBatch", "payoutBatch", id=batch)
    return batch


def exported(batch: str, file_format: str) -> str:
    first, second = (
        mutate("exportPayoutFile", "document { content }", batchId=batch, format=file_format)["document"]["content"]
        for _ in range(2)
    )
    assert first == second, "the same bytes"
    return first


def keeps_to_schemas(content: str) -> None:
    for path in SCHEMAS:
        xmlschema.XMLSchema(path).validate(content)


def check_sepa_shapes() -> None:
    print("- so do SEPA files with as little and as much as can be said")
    town = {"town": "Köln", "country": "DE"}
    longest = {"street": "ß" * 35, "buildingNumber": "1" * 16, "postCode": "1" * 16, "town": "ü" * 17, "country": "FI"}
    plain, with_bank = {"sepa": {"iban": IBANS[2]}}, {"sepa": {"iban": IBANS[2], "bic": "ABNANL2A"}}
    shapes = [
        # One transfer of the least amount, by a debtor that says no more than has to be said.
        ({"name": "A", "iban": IBANS[4], "address": town}, [("B", plain, "0.10")], ["0.01"]),
        # Names of 70 characters once they are spelled, the one that the bank would cut among them; the largest amount.
        ({"name": "Ä" * 35, "iban": IBANS[0], "bic": "COBADEFF", "address": longest},
         [("Œ" * 35, with_bank, "9999999999.90"), ("Ж" * 70, plain, "100.00"), ("x " * 35, plain, "0.10")],
         ["0.01", "10.00", "999999999.99"]),
        # What may stand at no end of a name, and no two of it together.
        ({"name": "/Ada//Bob/", "iban": IBANS[1], "address": town | {"postCode": "D-50667"}},
         [("/:Ada // Bob:/", plain, "20.00"), ("- Ada -", with_bank, "20.10")], ["2.00", "2.01"]),
    ]
    for debtor, transfers, amounts in shapes:
        mutate("setPayingAccount", "payingAccount { mask }", account={"sepa": debtor})
        earned("EUR", [(holder, account) for holder, account, _ in transfers], [sale for *_, sale in transfers])
        content = exported(submitted("EUR", len(transfers)), "SEPA_CREDIT_TRANSFER")
        keeps_to_schemas(content)
        assert sorted(re.findall(r'<InstdAmt Ccy="EUR">([\d.]+)<', content), key=float) == amounts, content
        assert ("<DbtrAgt><FinInstnId><BICFI>" in content) == ("bic" in debtor), content


def check_sepa() -> None:
    print("- a SEPA file keeps to the schema, and to the German banks' stricter one")
    address = {"street": "Hauptstraße", "buildingNumber": "1", "postCode": "10115", "town": "Köln", "country": "DE"}
    debtor = {"name": "Müller & Söhne GmbH", "iban": IBANS[0], "bic": "COBADEFFXXX", "address": address}
    mutate("setPayingAccount", "payingAccount { mask }", account={"sepa": debtor})
    accounts = [{"sepa": {"iban": iban}} for iban in IBANS]
    accounts[0]["sepa"]["bic"] = "COBADEFFXXX"
    earned("EUR", list(zip(HOLDERS, accounts)))
    batch = submitted("EUR", len(accounts))
    content = exported(batch, "SEPA_CREDIT_TRANSFER")
    keeps_to_schemas(content)
    for iban in IBANS:
        assert f"<IBAN>{schwifty.IBAN(iban).compact}</IBAN>" in content, iban
    check_documents(batch, [f"10.{5 + 10 * number:02}" for number in range(len(accounts))])


def read(document: dict) -> str:
    """The text of a document, as a reader of PDF finds it."""
    pages = pypdf.PdfReader(io.BytesIO(base64.b64decode(document["base64"])), strict=True).pages
    assert len(pages) == 1
    return pages[0].extract_text()


def check_sheet(pdf: dict, table: dict) -> list[str]:
    """Holds a document against the same one as a table; the amounts that both have."""
    text = read(pdf)
    header, payer, *rows = csv.reader(io.StringIO(base64.b64decode(table["base64"]).decode()))
    assert (header, payer[0]) == (["field", "value"], "payer") and payer[1] in text, text
    for name, value in rows:
        # Other scripts are spelled in the letters of the font.
        assert name in text.lower() and (value in text or not value.isascii()), (name, value, text)
    amounts = [value for _, value in rows if value.endswith(" EUR")]
    assert sorted(amounts) == sorted(re.findall(r"-?\d+\.\d\d EUR", text)), (amounts, text)
    return amounts


def check_documents(batch: str, expected: list[str]) -> None:
    print("- a reader of PDF finds in statements and advice the amounts that the tables have")
    query = """query ($id: ID!) { payoutBatch(id: $id) { payouts(first: 50) { edges { node {
        gross { amount } affiliate { id }
        pdf: remittanceAdvice(form: PDF) { base64 } csv: remittanceAdvice(form: CSV) { base64 } } } } } }"""
    edges = SESSION.execute(GraphQLRequest(query, variable_values={"id": batch}))["payoutBatch"]["payouts"]["edges"]
    payouts = [edge["node"] for edge in edges]
    assert sorted(payout["gross"]["amount"] for payout in payouts) == sorted(expected), payouts
    now = datetime.now(timezone.utc)
    period = {"from": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(days=1)).isoformat()}
    statement = """query ($id: ID!, $from: DateTime!, $until: DateTime!) {
        statement(affiliateId: $id, currency: "EUR", from: $from, until: $until) { earned { amount } paid { amount }
        pdf: download(form: PDF) { base64 } csv: download(form: CSV) { base64 } } }"""
    for payout in payouts:
        assert f"{payout['gross']['amount']} EUR" in check_sheet(payout["pdf"], payout["csv"]), payout
        values = {"id": payout["affiliate"]["id"], **period}
        stated = SESSION.execute(GraphQLRequest(statement, variable_values=values))["statement"]
        amounts = check_sheet(stated["pdf"], stated["csv"])
        assert f"{stated['earned']['amount']} EUR" in amounts and len(amounts) == 6, (stated, amounts)
        assert stated["earned"]["amount"] == payout["gross"]["amount"], stated


def mistyped(iban: str) -> list[str]:
    """A number as people get it wrong, and with check digits of the same remainder."""
    place = CHANCE.randrange(len(iban) - 1)
    other = CHANCE.choice([sign for sign in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" if sign != iban[place]])
    changed = [
        iban[:place] + other + iban[place + 1:],
        iban[:place] + iban[place + 1] + iban[place] + iban[place + 2:],
        iban[:place] + iban[place + 1:],
        iban[:place] + iban[place] + iban[place:],
    ]
    check = int(iban[2:4])
    changed += [f"{iban[:2]}{same:02}{iban[4:]}" for same in (check - 97, check + 97) if 0 <= same <= 99]
    return changed


def check_ibans() -> None:
    print(f"- account numbers: we and schwifty take, and refuse, the same (TRIBUTARY_TEST_SEED={SEED})")
    # Numbers of every country in SEPA, and of some that are not.
    drawn = [str(schwifty.IBAN.random(country, random=CHANCE)) for country in SEPA for _ in range(3)]
    # Of 97 numbers about five have check digits with another writing: there is always one to try.
    drawn += ["DE02230510302000698775", "DE98370400440532013000"]
    foreign = [str(schwifty.IBAN.random(country, random=CHANCE)) for country in ("BR", "TR", "AE")]
    affiliate = made("createAffiliate", "affiliate", name="Ada", email=f"{uuid.uuid4().hex}@partner.example")
    document = (
        "mutation ($input: SetPayoutDestinationInput!) "
        "{ setPayoutDestination(input: $input) { userErrors { code } } }"
    )
    counts = {True: 0, False: 0}
    for number in IBANS + drawn + foreign + [changed for iban in IBANS + drawn for changed in mistyped(iban)]:
        values = {"affiliateId": affiliate, "currency": "EUR", "holder": "Ada", "account": {"sepa": {"iban": number}}}
        answer = SESSION.execute(GraphQLRequest(document, variable_values={"input": values}))
        taken = not answer["setPayoutDestination"]["userErrors"]
        expected = schwifty.IBAN(number, allow_invalid=True).is_valid and number[:2] in SEPA
        assert taken == expected, (number, taken, expected, SEED)
        counts[taken] += 1
    assert counts[True] >= len(IBANS + drawn) - 1 and counts[False] >= 400, counts


def check_ach(is_corporate: bool) -> None:
    entry_class = "CCD" if is_corporate else "PPD"
    print(f"- an ACH file of {entry_class} entries passes achkit's reconciliation")
    originator = {"companyName": "Shop Inc", "companyId": "1234567890", "bankRoutingNumber": "021000021",
                  "bankName": "First Bank", "corporate": is_corporate}
    mutate("setPayingAccount", "payingAccount { mask }", account={"ach": originator})
    routing = ["011401533", "091000019", "021000021"]
    accounts = [
        (HOLDERS[number], {"ach": {"routingNumber": number_of_bank, "accountNumber": f"12-{number}",
                                   "accountType": ["CHECKING", "SAVINGS"][number % 2]}})
        for number, number_of_bank in enumerate(routing)
    ]
    earned("USD", accounts)
    content = exported(submitted("USD", len(accounts)), "NACHA")
    result = achkit.validate(content)
    assert result["ok"], result["errors"]
    # The entry class, as the header of the batch has it.
    assert [line[50:53] for line in content.splitlines() if line.startswith("5")] == [entry_class], content
    entries = [entry for batch in achkit.parse(content)["batches"] for entry in batch["entries"]]
    assert [entry["routing"] for entry in entries] == routing, entries
    assert sum(entry["amount_cents"] for entry in entries) == 1005 + 1015 + 1025, entries


check_sepa()
check_sepa_shapes()
check_ibans()
check_ach(False)
check_ach(True)
