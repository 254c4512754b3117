"""The `webhooks` of a definition: what it may say of signatures and challenges, and where it contradicts itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skills_catalog.loader import SHIPPED, load_catalog, load_integration
from skills_catalog.mistakes import CatalogError
from tests.catalog.notes import NOTES

GOOD: dict[str, Any] = {
    "event": "type",
    "events": ["a", {"name": "b", "description": "B."}],
    "signature": {
        "header": "webhook-signature", "scheme": "v1,{signature}", "separator": " ", "encoding": "base64",
        "template": "{id}.{timestamp}.{body}", "id_header": "webhook-id", "timestamp_header": "webhook-timestamp",
        "secret_prefix": "whsec_", "secret_encoding": "base64", "tolerance": "5m",
    },
    "challenges": [
        {"method": "POST", "when": "type == 'url_verification'", "answer": "challenge"},
        {"method": "GET", "answer_param": "hub.challenge", "token_param": "hub.verify_token"},
    ],
}  # fmt: skip


def text(webhooks: dict[str, Any]) -> str:
    # JSON is YAML.
    return NOTES + "webhooks: " + json.dumps(webhooks) + "\n"


def test_the_whole_block_reaches_the_model() -> None:
    webhooks = load_integration(text(GOOD), source="notes.yaml").webhooks
    assert webhooks is not None
    assert webhooks["events"] == [{"name": "a"}, {"name": "b", "description": "B."}]
    assert webhooks["signature"] == {**GOOD["signature"], "tolerance": 300}
    assert webhooks["challenges"] == GOOD["challenges"]


def signed(**changes: Any) -> dict[str, Any]:
    spec = {**GOOD["signature"], **changes}
    return {**GOOD, "signature": {name: value for name, value in spec.items() if value is not None}}


@pytest.mark.parametrize(
    ("webhooks", "said"),
    [
        (signed(id_header=None), "`id_header` is missing"),
        (signed(timestamp_header=None), "Where the timestamp stands is missing"),
        (signed(template="{timestamp}"), "The body must be part"),
        (signed(template="{body}{nonce}"), "no placeholder nonce"),
        (signed(scheme="v1={signature}{signature}"), "stands twice"),
        (signed(scheme="{id}={signature}"), "no placeholder id"),
        (signed(scheme="v1"), "signature"),
        (signed(separator=""), "separator"),
        (signed(secret_encoding="rot13"), "secret_encoding"),
        ({**GOOD, "challenges": [{"method": "POST", "when": "a ==", "answer": "x"}]}, "Not a JMESPath"),
        ({**GOOD, "challenges": [{"method": "PUT", "when": "a", "answer": "x"}]}, "challenges"),
        ({**GOOD, "challenges": [{"method": "GET", "token_param": "x"}]}, "challenges"),
        ({**GOOD, "challenges": [{"method": "POST", "secret": "a", "secret_header": "X-A"}]}, "challenges"),
        ({**GOOD, "challenges": [{"method": "POST", "when": "a", "answer": {"b": "c =="}}]}, "Not a JMESPath"),
        ({**GOOD, "challenges": [{"method": "POST", "when": "a", "answer": {"b": {"hmac-sha256": "c =="}}}]}, "Not a JMESPath"),
        ({**GOOD, "challenges": [{"method": "POST", "when": "a", "answer": {"b": {"md5": "c"}}}]}, "challenges"),
        (
            {"challenges": [{"method": "POST", "when": "a", "answer": {"b": {"hmac-sha256": "c"}}}]},
            "There is nothing to sign it with",
        ),
        ({**GOOD, "challenges": [{"method": "POST", "secret": "a =="}]}, "Not a JMESPath"),
        ({**GOOD, "signature": {"path": "a ==", "algorithm": "token"}}, "Not a JMESPath"),
        ({**GOOD, "signature": {"path": "a", "algorithm": "hmac-sha256"}}, "can only be a token"),
        ({**GOOD, "signature": {"path": "a", "algorithm": "token", "header": "X-A"}}, "can only be a token"),
        ({**GOOD, "signature": {"algorithm": "token"}}, "signature"),
        ({**GOOD, "delivery_header": []}, "delivery_header"),
        ({**GOOD, "acknowledge": "html"}, "acknowledge"),
    ],
)
def test_what_cannot_work_is_told(webhooks: dict[str, Any], said: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load_integration(text(webhooks), source="notes.yaml")
    assert any(said in str(problem) for problem in caught.value.problems), caught.value.problems


def test_the_shipped_definitions_name_the_events_of_their_services() -> None:
    shipped = load_catalog([SHIPPED]).integrations
    counted = {slug: len(one.webhooks["events"]) for slug, one in shipped.items() if one.webhooks}
    assert counted["overskill"] == 11 and counted["skycot"] == 4 and counted["overten"] == 2
    assert counted["github"] >= 10
