"""What the tests of the way out share: requests to loopback, allowed networks, and a look at our memory."""

from pathlib import Path
from typing import Any, Self

from gateway.core.requests.request import UpstreamRequest

LOOPBACK = ("127.0.0.0/8", "::1/128")


def ask(base_url: str, method: str = "GET", **fields: Any) -> UpstreamRequest:
    """A request to the base URL of a fake: `ask(fake.base_url, "POST", body=b"…")`."""
    fields.setdefault("idempotent", method in ("GET", "HEAD", "PUT", "DELETE"))
    fields.setdefault("timeout", 5.0)
    fields.setdefault("path", "/thing")
    return UpstreamRequest(method=method, origin=base_url, **fields)


class peak:
    """How far the process' resident memory went up at its highest, in bytes."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self._grown = self._status("VmHWM") - self._before

    def __call__(self) -> int:
        return self._grown

    def _status(self, name: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)
