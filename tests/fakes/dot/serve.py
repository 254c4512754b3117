"""Starts django-oauth-toolkit on waitress as a real OAuth authorization server for the tests.

The first line of stdin is the configuration; the first line of stdout is `{"port": …}` once it answers.
The process ends when stdin does, so that none outlives its parent. The site itself is `project.py`.
"""

# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-call"

import json
import os
import secrets
import socket
import sys
import threading
from typing import Any

import django
import waitress
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application


def main() -> None:
    config = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    configure(config, issuer=f"http://127.0.0.1:{port}")
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    add_clients(config)
    server = waitress.create_server(get_wsgi_application(), sockets=[listener], threads=16)
    print(json.dumps({"port": port}), flush=True)
    server.run()


def configure(config: dict[str, Any], *, issuer: str) -> None:
    settings.configure(
        SKILLWAY=config,
        SECRET_KEY=secrets.token_hex(24),
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="project",
        STATIC_URL="/static/",
        LOGIN_URL="/login",
        LOGGING={
            "version": 1,
            "handlers": {"stderr": {"class": "logging.StreamHandler"}},
            "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
        },
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "oauth2_provider"],
        MIDDLEWARE=[
            "project.watch",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        AUTHENTICATION_BACKENDS=["project.AnyLogin"],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")],
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(config["folder"], "provider.db"),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
            },
        }},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        # Tables straight from the models: the database is always new, and the migrations take three seconds.
        MIGRATION_MODULES={"auth": None, "contenttypes": None, "oauth2_provider": None},
        OAUTH2_PROVIDER={
            "OAUTH2_VALIDATOR_CLASS": "project.Validator",
            "OIDC_ISS_ENDPOINT": issuer,
            "SCOPES": {scope: scope for scope in config["scopes"]},
            "PKCE_REQUIRED": True,
            "ACCESS_TOKEN_EXPIRE_SECONDS": config["access_token_ttl"],
            "ROTATE_REFRESH_TOKEN": config["rotate"],
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "OAUTH_DEVICE_VERIFICATION_URI": f"{issuer}/o/device/",
            # RFC 9700: no plain PKCE, no implicit or password grant, `iss` in every authorization response.
            "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
            "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
            "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
            "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
            "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        },
    )


def add_clients(config: dict[str, Any]) -> None:
    from oauth2_provider.models import Application

    for client in config["clients"]:
        Application.objects.create(
            name=client["id"],
            client_id=client["id"],
            client_secret=client["secret"],
            hash_client_secret=False,
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            redirect_uris=" ".join(config["redirect_uris"]),
        )


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
