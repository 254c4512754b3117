"""Every option once: its name, type, default and help. Read from the environment and from `skills.yaml`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gateway import setting_kinds as kinds
from gateway.operator_file import BadSetting, Installation, installation_of, mapping, read_file, text_of, unknown
from gateway.setting_kinds import Network
from oauth.secret import Secret
from skills_catalog.names import nearest

PREFIX = "SKILLWAY_"
_ANSWER_ROOM = 512 * 1024**2
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _option(default: Any, parse: Callable[[str], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one process. `SKILLWAY_<NAME>` wins over `settings:` in `skills.yaml`."""

    data_dir: Path = _option(
        Path("data"), Path, "Folder of the SQLite database, the master key and copies made before migrations."
    )
    config: Path = _option(Path("skills.yaml"), Path, "The operator's file: integrations, OAuth clients, plans.")
    host: str = _option("127.0.0.1", str, "Address to listen on.")
    port: int = _option(8700, kinds.port, "Port to listen on; 0 takes a free one.")
    public_url: str | None = _option(
        None,
        kinds.public_url,
        "How browsers reach the gateway; required when the host is not loopback. Default: http://127.0.0.1:PORT.",
    )
    database_url: Secret | None = _option(
        None, lambda text: Secret(kinds.database(text)), "PostgreSQL; without it SQLite in the data folder."
    )
    valkey_url: Secret | None = _option(
        None,
        lambda text: Secret(kinds.valkey(text)),
        "Valkey or Redis, for limits that are exact across replicas; without it each goes by its share.",
    )
    master_key: Secret | None = _option(
        None,
        Secret,
        "32 bytes in base64 or hex that seal every credential. Default: made in the data folder for an empty database.",
    )
    master_key_previous: Secret | None = _option(
        None, Secret, "The master key before a change: given beside the new one, for one start."
    )
    tenancy: Literal["one_owner", "separate"] = _option(
        "one_owner",
        kinds.choice("one_owner", "separate"),
        "Whether all orgs belong to one operator, or know nothing of each other.",
    )
    verify_connect: Literal["none", "redirect", "session"] = _option(
        "none", kinds.choice("none", "redirect", "session"), "How the person who finished a connect flow is proven."
    )
    oidc_issuer: str | None = _option(
        None, kinds.issuer, "The OpenID provider that people sign in with, exactly as it names itself."
    )
    oidc_client_id: str | None = _option(None, str, "Our client at the OpenID provider.")
    oidc_client_secret: Secret | None = _option(None, Secret, "Its secret; a public client has none.")
    oidc_on_api: bool = _option(
        False, kinds.switch, "Whether the OpenID provider's ID tokens are taken on /v1 beside keys: on or off."
    )
    mcp_oauth: bool = _option(
        False,
        kinds.switch,
        "Whether /mcp takes the OpenID provider's access tokens beside keys, and says so: on or off.",
    )
    signup: Literal["off", "operator", "oidc", "open"] = _option(
        "off",
        kinds.choice("off", "operator", "oidc", "open"),
        "Who may make an org by POST /v1/signup: nobody, who has SIGNUP_TOKEN, people of the OpenID provider, anybody.",
    )
    signup_token: Secret | None = _option(None, kinds.token, "The secret that lets somebody sign up under `operator`.")
    signup_plan: str | None = _option(None, str, "The plan of orgs that signed up; required under `open`.")
    allowed_private_networks: tuple[Network, ...] = _option(
        (), kinds.networks, "CIDRs in which an upstream, OAuth endpoint or webhook may live, also by plain http."
    )
    approval_lifetime: int = _option(
        3600, kinds.days, "How long a call waits for a person to approve it: 1h, 30m, or seconds."
    )
    sync_ceiling: float = _option(300.0, kinds.positive, "Seconds a caller waits at most.")
    run_workers: int = _option(32, kinds.count, "Runs that one process carries out at once; more wait in line.")
    retention: int = _option(
        7 * 86400, kinds.days, "How long ended calls, events and deliveries are kept: 7d, 12h, or seconds."
    )
    webhook_rate: float = _option(20.0, kinds.rate, "Deliveries a second to one webhook, after an outage too.")
    body_limit: int = _option(8 * 1024**2, kinds.size, "Largest request body.")
    body_room: int = _option(
        128 * 1024**2,
        kinds.size,
        "What the bodies of all requests under way may take; of one org half. More are refused.",
    )
    response_limit: int = _option(64 * 1024**2, kinds.size, "Largest upstream answer, decoded.")
    answer_room: int | None = _option(
        None,
        kinds.size,
        "What the answers of all calls under way may take; of one org half. More reads are refused, of writes the data is "
        "left out. Default: 512 MiB, or twice the largest answer.",
    )
    file_limit: int = _option(100 * 1024**2, kinds.size, "Largest file, given for a call or answered by one.")
    file_retention: int = _option(86400, kinds.days, "How long files are kept: 1d, 12h, or seconds.")
    storage_limit: int = _option(
        10 * 1024**3, kinds.size, "What an org's files and kept answers may take; more files are refused then."
    )
    inline_limit: int = _option(1024**2, kinds.size, "Largest binary answer that stands in an envelope as base64.")
    drain: float = _option(30.0, kinds.positive, "Seconds that calls in flight may take after SIGTERM.")
    trusted_proxies: tuple[Network, ...] = _option(
        (), kinds.networks, "CIDRs of proxies whose X-Forwarded-For is believed: in logs, and in limits by address."
    )
    tls_ca_file: Path | None = _option(
        None, kinds.certificates, "Certificates (PEM) trusted for upstreams beside the system's."
    )
    log_format: Literal["text", "json"] | None = _option(
        None, kinds.choice("text", "json"), "How log lines look. Default: text on a terminal, else json."
    )
    upgrade_url: str | None = _option(
        None, kinds.url, "Where a person raises a plan: the `action_url` of refusals by plan."
    )
    hooks: tuple[str, ...] = _option(
        (), kinds.names, "Hooks of installed packages that definitions may name: code that requests pass through."
    )

    def effective_answer_room(self) -> int:
        return self.answer_room or max(_ANSWER_ROOM, 2 * self.response_limit)

    def effective_log_format(self) -> Literal["text", "json"]:
        return self.log_format or ("text" if sys.stderr.isatty() else "json")


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> tuple[Settings, Installation]:
    """Settings from flags (`given`, where not None), the environment, then `skills.yaml`; and that file's choices.

    Raises `BadSetting` with the name of the option or the line of the file.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in given.items() if value is not None}
    named = given.get("config") or _from_environment("config", environ)
    config = Path(named or "skills.yaml")
    if named and not config.exists():
        # The default file may be missing. One that was named is meant: with a slip of the pen all of it would be lost.
        raise BadSetting(f"{PREFIX}CONFIG: there is no file {config}")
    document = read_file(config)
    in_file = mapping(document, ("settings",))
    values: dict[str, Any] = {}
    known = {option.name: option for option in fields(Settings)}
    for name in in_file:
        if name.lower() not in known:
            raise BadSetting(unknown(document, ("settings", name), name, [n.upper() for n in known]))
    spelled = {name.lower(): name for name in in_file}
    for name, option in known.items():
        place = PREFIX + name.upper()
        text = str(given[name]) if name in given else _from_environment(name, environ)
        if text is None and name in spelled:
            text = text_of(document, spelled[name], environ)
            place = str(document.mistake(("settings", spelled[name]), ""))
        if text is None or text == "":
            continue
        try:
            values[name] = option.metadata["parse"](text)
        except ValueError as error:
            raise BadSetting(f"{place}: expected {error}") from None
    _refuse_unknown(environ, known)
    return Settings(**values), installation_of(document, config.parent, environ)


def check_together(settings: Settings, installation: Installation) -> None:
    """Raises `BadSetting` where settings that are right each for itself do not go together."""
    if settings.oidc_issuer is not None and settings.oidc_client_id is None:
        raise BadSetting(f"{PREFIX}OIDC_ISSUER needs {PREFIX}OIDC_CLIENT_ID: our client at that provider")
    if settings.oidc_issuer is None and (settings.oidc_client_id is not None or settings.oidc_on_api):
        name = "OIDC_ON_API" if settings.oidc_on_api else "OIDC_CLIENT_ID"
        raise BadSetting(f"{PREFIX}{name} needs {PREFIX}OIDC_ISSUER: the provider")
    if settings.mcp_oauth and settings.oidc_issuer is None:
        raise BadSetting(f"{PREFIX}MCP_OAUTH needs {PREFIX}OIDC_ISSUER: whose access tokens are taken")
    if settings.signup == "operator" and settings.signup_token is None:
        raise BadSetting(f"{PREFIX}SIGNUP=operator needs {PREFIX}SIGNUP_TOKEN: the secret that lets somebody sign up")
    if settings.signup == "oidc" and settings.oidc_issuer is None:
        raise BadSetting(f"{PREFIX}SIGNUP=oidc needs {PREFIX}OIDC_ISSUER: the provider whose people may sign up")
    if settings.signup == "open" and settings.tenancy != "separate":
        raise BadSetting(f"{PREFIX}SIGNUP=open lets strangers make orgs: it needs {PREFIX}TENANCY=separate")
    if settings.signup == "open" and settings.signup_plan is None:
        raise BadSetting(f"{PREFIX}SIGNUP=open needs {PREFIX}SIGNUP_PLAN: strangers must have limits")
    if settings.body_room < 2 * settings.body_limit:
        raise BadSetting(f"{PREFIX}BODY_ROOM must be at least twice {PREFIX}BODY_LIMIT: an org may have half of it")
    if settings.effective_answer_room() < 2 * settings.response_limit:
        raise BadSetting(f"{PREFIX}ANSWER_ROOM must be at least twice {PREFIX}RESPONSE_LIMIT: an org may have half of it")
    if settings.signup_plan is not None and settings.signup_plan not in installation.plans:
        near = nearest(settings.signup_plan, installation.plans)
        hint = f"; did you mean {near!r}?" if near else ""
        raise BadSetting(f"{PREFIX}SIGNUP_PLAN: there is no plan {settings.signup_plan!r} in skills.yaml{hint}")


def public_url_of(settings: Settings, port: int) -> str:
    """How browsers reach us: never taken from a request. Raises `BadSetting` where it has to be set."""
    if settings.public_url is not None:
        return settings.public_url
    if settings.host not in _LOOPBACK:
        raise BadSetting(
            f"SKILLWAY_PUBLIC_URL is required when the gateway listens on {settings.host}: "
            "links and OAuth redirects are made of it"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def options() -> list[tuple[str, str, str]]:
    """Name, default and help of every setting, for `--help-settings` and the README."""
    shown = []
    for option in fields(Settings):
        default = option.default if option.default is not MISSING else None
        text = "none" if default is None or default == () else str(default)
        if isinstance(default, bool):
            text = "on" if default else "off"
        shown.append((PREFIX + option.name.upper(), text, option.metadata["help"]))
    return shown


#: Read by the command line's own side.
_NOT_OPTIONS = frozenset({"SKILLWAY_URL", "SKILLWAY_API_KEY", "SKILLWAY_SHARED"})


def _from_environment(name: str, environ: Mapping[str, str]) -> str | None:
    plain = environ.get(PREFIX + name.upper())
    path = environ.get(PREFIX + name.upper() + "_FILE")
    if path is None:
        return plain
    if plain is not None:
        raise BadSetting(f"set {PREFIX}{name.upper()} or {PREFIX}{name.upper()}_FILE, not both")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise BadSetting(f"{PREFIX}{name.upper()}_FILE: {error.strerror}: {path}") from None
    except UnicodeDecodeError:
        raise BadSetting(f"{PREFIX}{name.upper()}_FILE: {path} is not text") from None


def _refuse_unknown(environ: Mapping[str, str], known: Mapping[str, Any]) -> None:
    for name in environ:
        if not name.startswith(PREFIX) or name in _NOT_OPTIONS:
            continue
        option = name[len(PREFIX) :].lower()
        if option not in known and option.removesuffix("_file") not in known:
            near = nearest(option, known)
            raise BadSetting(
                f"there is no setting {name}" + (f"; did you mean {PREFIX}{near.upper()}?" if near else "")
            )
