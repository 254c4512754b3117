"""What the description says is tried out on a running gateway: the short form, the same requests every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.fuzz import fuzz
from tests.harness import gateway_process

#: Few actions, but of every kind: path, query, body, a file.
ALLOW = ["overscore.*", "skycot.create_project", "skycot.get_build_file", "overskill.list_apps"]


async def test_the_description_is_kept_whatever_is_sent(tmp_path: Path) -> None:
    options = ["--max-examples", "3", "--generation-deterministic"]
    async with gateway_process(tmp_path) as running:
        code, said = await fuzz(running, tmp_path, allow=ALLOW, options=options)
    if code != 0:
        pytest.fail(said, pytrace=False)
    assert "Stateful" in said and "Coverage" in said
