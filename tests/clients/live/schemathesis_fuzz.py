"""PyPI `schemathesis` as a fuzzer: documents made from the schema, for every root field, with values of every kind.

Whatever is sent, the node answers a well-formed GraphQL response: no 5xx, no fault of its own, no lost connection. What
became of the data is checked by the test that runs this.
"""

import os
import random
import subprocess
import time

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies

URL = os.environ["TRIBUTARY_TEST_URL"]
EXAMPLES = 300
TIME_LIMIT_SECS = 30
SEED = int(os.environ.get("TRIBUTARY_TEST_SEED") or random.SystemRandom().randrange(2**32))


def owner_token() -> str:
    command = [os.environ["TRIBUTARY_TEST_PROGRAM"], "token", "--tenant", "home", "--role", "owner"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def fault(response: requests.Response) -> str | None:
    """What is wrong with a response; none when it is one, of whatever content."""
    if response.status_code >= 500:
        return f"status {response.status_code}"
    try:
        body = response.json()
    except ValueError:
        return "not JSON"
    if not isinstance(body, dict) or not body.keys() <= {"data", "errors", "extensions"}:
        return "not a GraphQL response"
    errors = body.get("errors", [])
    if "data" not in body and not errors:
        return "neither data nor errors"
    for error in errors:
        code = error.get("extensions", {}).get("code")
        if not isinstance(error.get("message"), str) or not code:
            return "an error without message or code"
        if code in ("INTERNAL", "UNAVAILABLE"):
            return f"a fault of the node: {code}"
    return None


# What is of the right kind more often than not; everything else is made up by the schema.
def scalar(name: str, strategy) -> None:
    schemathesis.graphql.scalar(name, strategy.map(schemathesis.graphql.nodes.String))


TEXT = strategies.text(max_size=40)
scalar("CurrencyCode", strategies.sampled_from(["EUR", "USD", "JPY", "XXX", "eur", ""]))
AMOUNTS = strategies.decimals(places=2, min_value=0, max_value=10**9)
scalar("Decimal", (AMOUNTS | strategies.decimals()).map(str))
scalar("Cursor", TEXT)
scalar("Date", strategies.dates().map(str) | TEXT)
ADDRESSES = ["https://shop.example/?click={click}", "javascript:alert(1)", "http://", "x"]
scalar("URL", strategies.sampled_from(ADDRESSES) | TEXT)

schema = schemathesis.graphql.from_path("../../schema.graphql")
schema.config.update(base_url=f"{URL}/graphql")
operations = [result.ok() for result in schema.get_all_operations()]
cases = strategies.sampled_from(operations).flatmap(lambda operation: operation.as_strategy())
session = requests.Session()
session.headers["Authorization"] = f"Bearer {owner_token()}"
began = time.monotonic()
sent = 0


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(case=cases)
def answers_are_well_formed(case) -> None:
    global sent
    if time.monotonic() - began > TIME_LIMIT_SECS:
        return
    sent += 1
    response = session.post(f"{URL}/graphql", json={"query": case.body}, timeout=30)
    what = fault(response)
    assert what is None, f"{what}\n{case.body}\n{response.text}"


print(f"- {EXAMPLES} documents over {len(operations)} root fields, TRIBUTARY_TEST_SEED={SEED}")
answers_are_well_formed()
print(f"{sent} sent in {time.monotonic() - began:.1f} s")
assert sent, "nothing was sent"
assert requests.get(f"{URL}/healthz", timeout=30).ok, "the node lives"
