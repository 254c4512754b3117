"""Every option once: its name, type, default and help. Read from the environment and from `skills.yaml`."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from gateway.plans import Plan, PlanMistake, read_plan
from oauth.secret import Secret
from skills_catalog.mistakes import CatalogError
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document, read

PREFIX = "SKILLWAY_"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: Characters of a secret that an operator chooses: fewer could be guessed over the network.
_SHORTEST_TOKEN = 16
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


class BadSetting(Exception):
    """An option whose value cannot be used; the message names it and says what is expected."""


def _size(text: str) -> int:
    """Bytes: `1048576`, `8MiB`, `512KiB`."""
    match = re.fullmatch(r"(\d{1,12}) ?(B|KiB|MiB|GiB)?", text)
    if not match or not int(match[1]):
        raise ValueError("a size such as 8MiB")
    return int(match[1]) * {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[match[2] or "B"]


def _days(text: str) -> int:
    """Seconds, from `7d`, `12h` or plain seconds."""
    match = re.fullmatch(r"(\d{1,9}) ?(s|m|h|d| days?)?", text)
    if not match:
        raise ValueError("a time such as 7d, 12h or 300")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[(match[2] or "s").strip()[:1]]


def _positive(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) or float(text) == 0:
        raise ValueError("a positive number of seconds such as 30 or 0.5")
    return float(text)


def _rate(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not 0.01 <= float(text) <= 1000:
        raise ValueError("a number a second from 0.01 to 1000")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        raise ValueError("a whole number from 1 to 9999")
    return int(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise ValueError("a port from 0 to 65535")
    return int(text)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in re.split(r"[,\s]+", text) if part)
    except ValueError:
        raise ValueError("networks such as 10.0.0.0/8, fd00::/8") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part for part in re.split(r"[,\s]+", text) if part))
    if not all(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) for name in names):
        raise ValueError("a list of names such as sign_requests, add_date")
    return names


def _certificates(text: str) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
    except OSError:
        raise ValueError("a file of certificates in PEM") from None
    return Path(text)


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("an address such as https://skillway.example.com")
    return text.rstrip("/")


def _url(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https"):
        raise ValueError("an http or https address")
    return text


def _database(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("postgresql://user:password@host/name (leave it out for SQLite)")
    return text


def _valkey(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "valkey://", "valkeys://", "unix://")):
        raise ValueError("redis://[:password@]host:port/0")
    return text.replace("valkey", "redis", 1) if text.startswith("valkey") else text


def _issuer(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("an issuer as it names itself, such as https://accounts.example.com")
    # Not one character is changed: it is compared exactly.
    return text


def _token(text: str) -> Secret:
    if len(text) < _SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"at least {_SHORTEST_TOKEN} printable characters without spaces")
    return Secret(text)


def _switch(text: str) -> bool:
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError("one of on, off")
    return known[text.lower()]


def _choice(*words: str) -> Callable[[str], Any]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


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
    port: int = _option(8700, _port, "Port to listen on; 0 takes a free one.")
    public_url: str | None = _option(
        None,
        _public_url,
        "How browsers reach the gateway; required when the host is not loopback. Default: http://127.0.0.1:PORT.",
    )
    database_url: Secret | None = _option(
        None, lambda text: Secret(_database(text)), "PostgreSQL; without it SQLite in the data folder."
    )
    valkey_url: Secret | None = _option(
        None,
        lambda text: Secret(_valkey(text)),
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
        _choice("one_owner", "separate"),
        "Whether all orgs belong to one operator, or know nothing of each other.",
    )
    verify_connect: Literal["none", "redirect", "session"] = _option(
        "none", _choice("none", "redirect", "session"), "How the person who finished a connect flow is proven."
    )
    oidc_issuer: str | None = _option(
        None, _issuer, "The OpenID provider that people sign in with, exactly as it names itself."
    )
    oidc_client_id: str | None = _option(None, str, "Our client at the OpenID provider.")
    oidc_client_secret: Secret | None = _option(None, Secret, "Its secret; a public client has none.")
    oidc_on_api: bool = _option(
        False, _switch, "Whether the OpenID provider's ID tokens are taken on /v1 beside keys: on or off."
    )
    mcp_oauth: bool = _option(
        False, _switch, "Whether /mcp takes the OpenID provider's access tokens beside keys, and says so: on or off."
    )
    signup: Literal["off", "operator", "oidc", "open"] = _option(
        "off",
        _choice("off", "operator", "oidc", "open"),
        "Who may make an org by POST /v1/signup: nobody, who has SIGNUP_TOKEN, people of the OpenID provider, anybody.",
    )
    signup_token: Secret | None = _option(None, _token, "The secret that lets somebody sign up under `operator`.")
    signup_plan: str | None = _option(None, str, "The plan of orgs that signed up; required under `open`.")
    allowed_private_networks: tuple[Network, ...] = _option(
        (), _networks, "CIDRs in which an upstream, OAuth endpoint or webhook may live, also by plain http."
    )
    approval_lifetime: int = _option(
        3600, _days, "How long a call waits for a person to approve it: 1h, 30m, or seconds."
    )
    sync_ceiling: float = _option(300.0, _positive, "Seconds a caller waits at most.")
    run_workers: int = _option(32, _count, "Runs that one process carries out at once; more wait in line.")
    retention: int = _option(
        7 * 86400, _days, "How long ended calls, events and deliveries are kept: 7d, 12h, or seconds."
    )
    webhook_rate: float = _option(20.0, _rate, "Deliveries a second to one webhook, after an outage too.")
    body_limit: int = _option(8 * 1024**2, _size, "Largest request body.")
    body_room: int = _option(
        128 * 1024**2, _size, "What the bodies of all requests under way may take; of one org half. More are refused."
    )
    response_limit: int = _option(64 * 1024**2, _size, "Largest upstream answer, decoded.")
    file_limit: int = _option(100 * 1024**2, _size, "Largest file, given for a call or answered by one.")
    file_retention: int = _option(86400, _days, "How long files are kept: 1d, 12h, or seconds.")
    storage_limit: int = _option(
        10 * 1024**3, _size, "What an org's files and kept answers may take; more files are refused then."
    )
    inline_limit: int = _option(1024**2, _size, "Largest binary answer that stands in an envelope as base64.")
    drain: float = _option(30.0, _positive, "Seconds that calls in flight may take after SIGTERM.")
    trusted_proxies: tuple[Network, ...] = _option(
        (), _networks, "CIDRs of proxies whose X-Forwarded-For is believed: in logs, and in limits by address."
    )
    tls_ca_file: Path | None = _option(
        None, _certificates, "Certificates (PEM) trusted for upstreams beside the system's."
    )
    log_format: Literal["text", "json"] | None = _option(
        None, _choice("text", "json"), "How log lines look. Default: text on a terminal, else json."
    )
    upgrade_url: str | None = _option(
        None, _url, "Where a person raises a plan: the `action_url` of refusals by plan."
    )
    hooks: tuple[str, ...] = _option(
        (), _names, "Hooks of installed packages that definitions may name: code that requests pass through."
    )

    def effective_log_format(self) -> Literal["text", "json"]:
        return self.log_format or ("text" if sys.stderr.isatty() else "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What the operator says about one integration."""

    enabled: bool = True
    client_id: str | None = None
    client_secret: Secret | None = None
    #: Definition keys to replace: `base_url`, and `authorization_url`, `token_url`, … of its OAuth methods.
    addresses: Mapping[str, str] = field(default_factory=dict)
    #: The same for single auth methods, by name.
    methods: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Other base URLs for the definition's `servers`.
    servers: Mapping[str, str] = field(default_factory=dict)
    #: OAuth scopes to ask for instead of the definition's.
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """`skills.yaml` as read: the operator's choices beside the settings."""

    #: Slugs that are on; None means all.
    integrations: tuple[str, ...] | None = None
    paths: tuple[Path, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)


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
    document = _read_file(config)
    in_file = _mapping(document, ("settings",))
    values: dict[str, Any] = {}
    known = {option.name: option for option in fields(Settings)}
    for name in in_file:
        if name.lower() not in known:
            raise BadSetting(_unknown(document, ("settings", name), name, [n.upper() for n in known]))
    spelled = {name.lower(): name for name in in_file}
    for name, option in known.items():
        place = PREFIX + name.upper()
        text = str(given[name]) if name in given else _from_environment(name, environ)
        if text is None and name in spelled:
            text = _text_in_file(document, spelled[name], environ)
            place = str(document.mistake(("settings", spelled[name]), ""))
        if text is None or text == "":
            continue
        try:
            values[name] = option.metadata["parse"](text)
        except ValueError as error:
            raise BadSetting(f"{place}: expected {error}") from None
    _refuse_unknown(environ, known)
    return Settings(**values), _installation(document, config.parent, environ)


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


def _text_in_file(document: Document, name: str, environ: Mapping[str, str]) -> str | None:
    value = document.value["settings"][name]
    if value is None:
        return None
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, (dict, list)) for part in parts):
        raise BadSetting(str(document.mistake(("settings", name), "expected one value, or a list of them")))
    return ",".join(_expand(str(part), environ) for part in parts)


def _read_file(path: Path) -> Document:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}") from None
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines()):
        # An operator who comments everything out has chosen the defaults.
        content = b"{}"
    try:
        document = read(content, str(path))
    except CatalogError as error:
        raise BadSetting(str(error)) from None
    if document.value is None:
        document = read(b"{}", str(path))
    if not isinstance(document.value, dict):
        raise BadSetting(f"{path}: expected a mapping")
    return document


def _installation(document: Document, folder: Path, environ: Mapping[str, str]) -> Installation:
    _only(document, (), ("catalog", "integrations", "plans", "settings"))
    catalog = _mapping(document, ("catalog",))
    _only(document, ("catalog",), ("integrations", "paths"))
    chosen = catalog.get("integrations", "all")
    if chosen != "all" and not _is_strings(chosen):
        raise BadSetting(str(document.mistake(("catalog", "integrations"), "expected `all` or a list of slugs")))
    paths = catalog.get("paths") or []
    if not _is_strings(paths):
        raise BadSetting(str(document.mistake(("catalog", "paths"), "expected a list of folders or files")))
    overrides = {slug: _override(document, slug, environ) for slug in _mapping(document, ("integrations",))}
    return Installation(
        integrations=None if chosen == "all" else tuple(chosen),
        paths=tuple(folder / path for path in paths),
        overrides=overrides,
        plans={name: _plan(document, name) for name in _mapping(document, ("plans",))},
    )


_ADDRESSES = (
    *("base_url", "request_token_url", "authorization_url", "token_url", "refresh_url", "revocation_url", "issuer"),
)
#: An origin and what follows; a host may hold `{field}`s that a connection fills in.
_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+([/?][^\s\\]*)?")


def _override(document: Document, slug: str, environ: Mapping[str, str]) -> Override:
    at = ("integrations", slug)
    given = _mapping(document, at)
    _only(document, at, ("enabled", "client_id", "client_secret", "scopes", "servers", "auth", *_ADDRESSES))
    texts = _texts(document, at, ("client_id", "client_secret"), environ, addresses=False)
    addresses = _texts(document, at, _ADDRESSES, environ)
    servers = _texts(document, (*at, "servers"), tuple(_mapping(document, (*at, "servers"))), environ)
    methods: dict[str, Mapping[str, str]] = {}
    for name in _mapping(document, (*at, "auth")):
        _only(document, (*at, "auth", name), _ADDRESSES)
        methods[name] = _texts(document, (*at, "auth", name), _ADDRESSES, environ)
    enabled, scopes = given.get("enabled", True), given.get("scopes")
    if not isinstance(enabled, bool):
        raise BadSetting(str(document.mistake((*at, "enabled"), "expected true or false")))
    if scopes is not None and not _is_strings(scopes):
        raise BadSetting(str(document.mistake((*at, "scopes"), "expected a list of OAuth scopes")))
    secret = texts.pop("client_secret", None)
    return Override(
        enabled=enabled,
        client_id=texts.pop("client_id", None),
        client_secret=Secret(secret) if secret else None,
        addresses=addresses,
        methods=methods,
        servers=servers,
        scopes=tuple(scopes) if scopes is not None else None,
    )


def _texts(
    document: Document,
    at: tuple[str, ...],
    names: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    addresses: bool = True,
) -> dict[str, str]:
    """The texts of a mapping, with what they name in the environment."""
    given = _mapping(document, at)
    texts: dict[str, str] = {}
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadSetting(str(document.mistake((*at, name), "expected text")))
        expanded = _expand(value, environ)
        if expanded and addresses and not _ADDRESS.fullmatch(expanded):
            raise BadSetting(str(document.mistake((*at, name), "expected an address such as https://api.example.com")))
        if expanded:
            texts[name] = expanded
        elif value and addresses:
            # The definition's own address would get credentials that were meant for this one.
            raise BadSetting(str(document.mistake((*at, name), f"the environment does not say {value}")))
    return texts


def _plan(document: Document, name: str) -> Plan:
    try:
        return read_plan(document, name)
    except PlanMistake as wrong:
        raise BadSetting(str(document.mistake(("plans", name, *wrong.path), str(wrong)))) from None


def _mapping(document: Document, path: tuple[str, ...]) -> dict[str, Any]:
    value = document.value
    for step in path:
        value = (value or {}).get(step)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadSetting(str(document.mistake(path, "expected a mapping")))
    return value


def _only(document: Document, path: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in _mapping(document, path):
        if name not in known:
            raise BadSetting(_unknown(document, (*path, name), name, list(known)))


def _unknown(document: Document, path: tuple[str, ...], name: str, known: list[str]) -> str:
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; known here: {', '.join(known)}"
    return str(document.mistake(path, f"unknown key {name!r}{hint}"))


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _expand(text: str, environ: Mapping[str, str]) -> str:
    """`${NAME}` from the environment; a name that is not set makes nothing."""
    return re.sub(r"\$\{(\w+)\}", lambda match: environ.get(match[1], ""), text)
