"""What the description says is tried out on a running gateway: the short form, the same requests every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.fuzz import fuzz
from tests.harness import gateway_process

#: Few actions, but of every kind: path, query, body, a file.
SCOPES = ["overscore", "skycot"]


async def test_the_description_is_kept_whatever_is_sent(tmp_path: Path) -> None:
    options = ["--max-examples", "5", "--generation-deterministic"]
    async with gateway_process(tmp_path) as running:
        code, said = await fuzz(running, tmp_path, scopes=SCOPES, options=options)
    if code != 0:
        pytest.fail(said, pytrace=False)
    assert "Stateful" in said and "Coverage" in said
