"""A credential as plain JSON values, to be sealed; and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oauth.connections import Credential
from oauth.secret import Secret

_SECRETS = ("token", "token_secret", "refresh_token", "password", "client_secret", "private_key")


def credential_plain(credential: Credential) -> dict[str, object]:
    """Everything in it, its secrets readable: for the vault alone."""
    secrets = {name: getattr(credential, name) for name in _SECRETS}
    return {
        **{name: secret.reveal() for name, secret in secrets.items() if secret is not None},
        "username": credential.username,
        "client_id": credential.client_id,
        **({"key_id": credential.key_id} if credential.key_id is not None else {}),
        "fields": {name: secret.reveal() for name, secret in credential.fields.items()},
        "expires_at": credential.expires_at,
        "issued_at": credential.issued_at,
    }


def credential_of(plain: Mapping[str, Any]) -> Credential:
    """What `credential_plain` was made of."""
    return Credential(
        **{name: Secret(plain[name]) for name in _SECRETS if name in plain},
        username=plain["username"],
        client_id=plain["client_id"],
        key_id=plain.get("key_id"),
        fields={name: Secret(text) for name, text in plain["fields"].items()},
        expires_at=plain["expires_at"],
        issued_at=plain["issued_at"],
    )
