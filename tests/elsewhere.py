"""What `skills.yaml` says of an integration whose every address is to be a server of a test."""

from __future__ import annotations

from typing import Any

from skills_catalog.model import Integration


def moved(integration: Integration, to: str) -> dict[str, Any]:
    """All addresses of calls on the server `to`: their paths stay, with the fields in them; fields in hosts go.

    An OAuth integration gets a client too, and sends its token requests to `/token` there.
    """

    def there(url: str) -> str:
        _, _, path = url.partition("://")[2].partition("/")
        return f"{to}/{path}"

    override: dict[str, Any] = {"base_url": there(integration.base_url)}
    if integration.servers:
        override["servers"] = {name: there(url) for name, url in integration.servers.items()}
    if own := {method.name: {"base_url": there(method.base_url)} for method in integration.auth if method.base_url}:
        override["auth"] = own
    if any(method.is_oauth for method in integration.auth):
        override |= {"client_id": "gateway", "client_secret": "not a secret", "token_url": f"{to}/token"}
    return override
