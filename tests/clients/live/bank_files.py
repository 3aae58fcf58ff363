"""Files for banks, held against what others make of them: the schemas of ISO 20022 and of the German banks by PyPI
`xmlschema`, ACH files by PyPI `achkit`, account numbers by PyPI `schwifty`."""

import os
import subprocess
import time
import uuid

import achkit
import schwifty
import xmlschema
from gql import Client, GraphQLRequest
from gql.transport.requests import RequestsHTTPTransport

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


def earned(currency: str, accounts: list) -> None:
    """An affiliate for each account, with something to be paid."""
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
             idempotencyKey=str(uuid.uuid4()), saleAmount={"amount": f"{100 + number}.50", "currency": currency})


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


def check_sepa() -> None:
    print("- a SEPA file keeps to the schema, and to the German banks' stricter one")
    address = {"street": "Hauptstraße", "buildingNumber": "1", "postCode": "10115", "town": "Köln", "country": "DE"}
    debtor = {"name": "Müller & Söhne GmbH", "iban": IBANS[0], "bic": "COBADEFFXXX", "address": address}
    mutate("setPayingAccount", "payingAccount { mask }", account={"sepa": debtor})
    accounts = [{"sepa": {"iban": iban}} for iban in IBANS]
    accounts[0]["sepa"]["bic"] = "COBADEFFXXX"
    earned("EUR", list(zip(HOLDERS, accounts)))
    content = exported(submitted("EUR", len(accounts)), "SEPA_CREDIT_TRANSFER")
    for path in SCHEMAS:
        xmlschema.XMLSchema(path).validate(content)
    for iban in IBANS:
        assert f"<IBAN>{schwifty.IBAN(iban).compact}</IBAN>" in content, iban


def check_ibans() -> None:
    print("- account numbers: we and schwifty take, and refuse, the same")
    affiliate = made("createAffiliate", "affiliate", name="Ada", email=f"{uuid.uuid4().hex}@partner.example")
    document = (
        "mutation ($input: SetPayoutDestinationInput!) "
        "{ setPayoutDestination(input: $input) { userErrors { code } } }"
    )
    for iban in IBANS:
        for place in range(4, len(iban)):
            digit = iban[place]
            changed = iban[:place] + ("7" if digit != "7" else "8") + iban[place + 1:]
            values = {"affiliateId": affiliate, "currency": "EUR", "holder": "Ada", "account": {"sepa": {"iban": changed}}}
            answer = SESSION.execute(GraphQLRequest(document, variable_values={"input": values}))
            taken = not answer["setPayoutDestination"]["userErrors"]
            assert taken == schwifty.IBAN(changed, allow_invalid=True).is_valid, changed


def check_ach() -> None:
    print("- an ACH file passes achkit's reconciliation")
    originator = {"companyName": "Shop Inc", "companyId": "1234567890", "bankRoutingNumber": "021000021",
                  "bankName": "First Bank"}
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
    entries = [entry for batch in achkit.parse(content)["batches"] for entry in batch["entries"]]
    assert [entry["routing"] for entry in entries] == routing, entries
    assert sum(entry["amount_cents"] for entry in entries) == 1005 + 1015 + 1025, entries


check_sepa()
check_ibans()
check_ach()
