"""The site that `serve.py` serves: django-oauth-toolkit, a login for any name, an API, and a door for tests.

Django imports it by name once it is configured.
"""

# mypy: disable-error-code="import-untyped, import-not-found, misc, no-untyped-call, untyped-decorator"

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.utils import timezone
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.models import AccessToken, Application, DeviceGrant, Grant, RefreshToken
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views.device import DeviceAuthorizationView
from oauth2_provider.views.mixins import OAuthLibMixin

config: dict[str, Any] = settings.SKILLWAY
counts: Counter[str] = Counter(
    token=0, code=0, refresh=0, invalid_grant=0, revoked=0, resource=0, unauthorized=0
)
#: Every request to the token, revocation and resource routes, as it came.
seen: list[dict[str, Any]] = []
#: What the API behind the tokens keeps.
notes: list[dict[str, Any]] = []
#: Answers that the next token requests get instead of ours.
planned: deque[dict[str, Any]] = deque()
#: Held while counting: requests come in on several threads.
tally = threading.Lock()
#: One token request at a time: two with one refresh token must never both find it unused.
turn = threading.Lock()

NEVER = timedelta(days=1)


class Validator(OAuth2Validator):
    """Lets one client use every grant but the password's; the package ties a client to a single one."""

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return grant_type != "password"


class AnyLogin:
    """Signs in whoever says a name."""

    def authenticate(self, request: HttpRequest, username: str = "", password: str = "") -> Any:
        return get_user_model().objects.get_or_create(username=username)[0] if username else None

    def get_user(self, key: int) -> Any:
        return get_user_model().objects.filter(pk=key).first()


class DeviceAuthorization(DeviceAuthorizationView):
    """Drops the scope that oauthlib 4 tells and the package (3.4.1) cannot store."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, told, status = super().create_device_authorization_response(request)
        if isinstance(told, dict):
            told.pop("scope", None)
        return headers, told, status


Answer = Callable[[HttpRequest], HttpResponse]


def watch(answer: Answer) -> Answer:
    """The outermost middleware: counts, notes, and does what this run's configuration asks for."""
    watched = {
        "/o/token/": watch_token,
        "/o/revoke_token/": watch_revocation,
        "/api/me": watch_resource,
        "/api/notes": watch_resource,
    }

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path not in watched:
            return name_issuer(answer(request))
        seen.append({
            "method": request.method,
            "path": request.path,
            "query": request.META["QUERY_STRING"],
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.body.decode(errors="replace"),
        })
        return watched[request.path](request, answer)

    return middleware


def watch_token(request: HttpRequest, answer: Answer) -> HttpResponse:
    grant_type = request.POST.get("grant_type")
    with tally:
        counts["token"] += 1
        counts["code"] += grant_type == "authorization_code"
        counts["refresh"] += grant_type == "refresh_token"
        plan = planned.popleft() if planned else None
    if plan:
        return HttpResponse(plan["body"], status=plan["status"], headers=plan["headers"])
    with turn:
        response = answer(request)
    body = json.loads(response.content)
    with tally:
        counts["invalid_grant"] += body.get("error") == "invalid_grant"
    if grant_type == "refresh_token" and not config["repeat_refresh_token"]:
        body.pop("refresh_token", None)
        response.content = json.dumps(body)
    time.sleep(config["token_delay"])
    return response


def watch_revocation(request: HttpRequest, answer: Answer) -> HttpResponse:
    response = answer(request)
    with tally:
        counts["revoked"] += response.status_code == 200
    return response


def watch_resource(request: HttpRequest, answer: Answer) -> HttpResponse:
    response = answer(request)
    with tally:
        counts["resource"] += 1
        counts["unauthorized"] += response.status_code == 401
    return response


def name_issuer(response: HttpResponse) -> HttpResponse:
    """The package always names its issuer (RFC 9207); a test may want no issuer, or a false one."""
    location = response.get("Location", "")
    if config["iss"] is True or not any(location.startswith(uri) for uri in config["redirect_uris"]):
        return response
    parts = urlsplit(location)
    pairs = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "iss"]
    if config["iss"]:
        pairs.append(("iss", config["iss"]))
    response["Location"] = urlunsplit(parts._replace(query=urlencode(pairs)))
    return response


class Protected(OAuthLibMixin, View):
    """What a bearer token opens: 401 without a valid one, 403 without the scope (RFC 6750 §3.1)."""

    #: method -> the scopes that it takes.
    scopes: dict[str, list[str]] = {}
    wanted: list[str] = []

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        valid, checked = self.verify_request(request)
        if not valid:
            # The package's own view answers 403; RFC 6750 §3.1 wants 401, and a client refreshes only then.
            known = "Authorization" in request.headers
            challenge = 'Bearer error="invalid_token"' if known else "Bearer"
            headers = {"WWW-Authenticate": challenge}
            return JsonResponse({"error": "invalid_token"}, status=401, headers=headers)
        self.wanted = self.scopes.get(request.method or "", [])
        if self.wanted and not self.verify_request(request)[0]:
            return JsonResponse({"error": "insufficient_scope", "scope": " ".join(self.wanted)}, status=403)
        self.token = checked.access_token
        return super().dispatch(request, *args, **kwargs)

    def get_scopes(self) -> list[str]:
        return self.wanted

    def login(self) -> str:
        return str(self.token.user.get_username() if self.token.user else self.token.application.client_id)


class Me(Protected):
    """Whose token it is."""

    def get(self, request: HttpRequest) -> HttpResponse:
        login = self.login()
        return JsonResponse({"login": login, "name": login[:1].upper() + login[1:], "scope": self.token.scope})


class Notes(Protected):
    """The notes of whoever it is: reading takes `read`, adding `write`."""

    scopes = {"GET": ["read"], "POST": ["write"]}

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"notes": [note for note in notes if note["owner"] == self.login()]})

    def post(self, request: HttpRequest) -> HttpResponse:
        with tally:
            note = {"id": len(notes) + 1, "owner": self.login(), "text": json.loads(request.body)["text"]}
            notes.append(note)
        return JsonResponse(note, status=201)


@csrf_exempt
def control(request: HttpRequest, verb: str) -> HttpResponse:
    message = json.loads(request.body)
    if verb == "counts":
        return JsonResponse(counts)
    if verb == "requests":
        return JsonResponse(seen, safe=False)
    if verb == "expire":
        AccessToken.objects.update(expires=timezone.now() - NEVER)
    if verb == "revoke":
        RefreshToken.objects.filter(revoked=None).update(revoked=timezone.now(), access_token=None)
        for model in (AccessToken, Grant, DeviceGrant):
            model.objects.all().delete()
    if verb == "plan":
        with tally:
            planned.extend(message["answers"])
    if verb == "redirect-uri":
        config["redirect_uris"].append(message["uri"])
        Application.objects.update(redirect_uris=" ".join(config["redirect_uris"]))
    return JsonResponse({})


urlpatterns = [
    path("login", LoginView.as_view(template_name="login.html")),
    path("api/me", csrf_exempt(Me.as_view())),
    path("api/notes", csrf_exempt(Notes.as_view())),
    path("control/<slug:verb>", control),
    path("o/device-authorization/", DeviceAuthorization.as_view()),
    path("o/", include("oauth2_provider.urls")),
]
