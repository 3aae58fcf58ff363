"""PyPI `gql`: queries and mutations by HTTP, sync and async, and subscriptions by WebSocket, with resume by cursor."""

import asyncio
import os
import subprocess
import uuid

from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.requests import RequestsHTTPTransport
from gql.transport.websockets import WebsocketsTransport

ENDPOINT = os.environ["TRIBUTARY_TEST_URL"] + "/graphql"
CLICK = os.environ["TRIBUTARY_TEST_CLICK"]
PATIENCE = 30

with open("../../schema.graphql") as file:
    SCHEMA = file.read()

CAMPAIGNS = "query ($first: Int!) { campaigns(first: $first) { nodes { id name } } }"
RECORD = """
    mutation ($input: RecordConversionInput!) {
      recordConversion(input: $input) { conversion { id status } userErrors { code } }
    }
"""
CONVERSIONS = """
    subscription ($after: Cursor) {
      conversions(after: $after) { cursor type conversion { id } }
    }
"""


def owner_token() -> str:
    command = [os.environ["TRIBUTARY_TEST_PROGRAM"], "token", "--tenant", "home", "--role", "owner"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


TOKEN = owner_token()
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def sale() -> dict:
    order = str(uuid.uuid4())
    amount = {"amount": "49.00", "currency": "EUR"}
    return {"idempotencyKey": f"key-{order}", "clickId": CLICK, "goal": "sale", "orderId": order, "saleAmount": amount}


def request(document: str, **variables) -> GraphQLRequest:
    return GraphQLRequest(document, variable_values=variables)


def check_synchronous() -> None:
    print("- a query, a mutation and an error, by requests; documents checked against the schema")
    client = Client(transport=RequestsHTTPTransport(url=ENDPOINT, headers=HEADERS), schema=SCHEMA)
    with client as session:
        campaigns = session.execute(request(CAMPAIGNS, first=10))["campaigns"]
        assert [node["name"] for node in campaigns["nodes"]] == ["Shoes"], campaigns
        recorded = session.execute(request(RECORD, input=sale()))["recordConversion"]
        assert recorded["conversion"]["status"] == "PENDING" and not recorded["userErrors"], recorded
        try:
            session.execute(request(CAMPAIGNS, first=1000))
            raise AssertionError("a page of 1000")
        except TransportQueryError as error:
            assert error.errors[0]["extensions"]["code"], error.errors


async def check_asynchronous() -> None:
    print("- a query and a mutation, by aiohttp")
    async with Client(transport=AIOHTTPTransport(url=ENDPOINT, headers=HEADERS), schema=SCHEMA) as session:
        assert (await session.execute(request(CAMPAIGNS, first=10)))["campaigns"]["nodes"]
        assert (await session.execute(request(RECORD, input=sale())))["recordConversion"]["conversion"]


async def check_websocket() -> None:
    print("- a query, a mutation and a subscription by WebSocket, which goes on by its cursor on the next one")
    cursor = None
    for _ in range(3):
        transport = WebsocketsTransport(
            url=ENDPOINT.replace("http", "ws"),
            init_payload={"token": TOKEN},
            # By default it offers the legacy one, too, and misreads the answer: it looks for the header in capitals.
            subprotocols=["graphql-transport-ws"],
        )
        async with asyncio.timeout(PATIENCE), Client(transport=transport, schema=SCHEMA) as session:
            assert (await session.execute(request(CAMPAIGNS, first=10)))["campaigns"]["nodes"]
            if cursor is None:
                cursor = (await session.execute(request("{ conversionCursor }")))["conversionCursor"]
            # Before anybody watches.
            expected = [await record(session), await record(session)]
            async for event in session.subscribe(request(CONVERSIONS, after=cursor)):
                assert event["conversions"]["conversion"]["id"] == expected.pop(0)
                cursor = event["conversions"]["cursor"]
                if not expected:
                    break


async def record(session) -> str:
    payload = await session.execute(request(RECORD, input=sale()))
    return payload["recordConversion"]["conversion"]["id"]


check_synchronous()
asyncio.run(check_asynchronous())
asyncio.run(check_websocket())
