"""Every option is read, from each of its places; what cannot be used is named with its place."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner

from gateway.cli.serving import serve
from gateway.installation import read_catalog
from gateway.operator_file import BadSetting, Override
from gateway.plans import Plan
from gateway.settings import Settings, load_settings, options, public_url_of
from oauth.secret import Secret
from skills_catalog.catalog import Catalog
from skills_catalog.loader import load_catalog

#: For every setting: a text that it takes, what becomes of it, and a text that it refuses.
EXAMPLES: dict[str, tuple[str, Any, str | None]] = {
    "data_dir": ("/var/lib/skillway", Path("/var/lib/skillway"), None),
    "config": ("here.yaml", Path("here.yaml"), "nowhere.yaml"),
    "host": ("::1", "::1", None),
    "port": ("0", 0, "65536"),
    "public_url": ("https://skillway.example/gate/", "https://skillway.example/gate", "skillway.example"),
    "database_url": ("postgresql://u:p@db/x", Secret("postgresql://u:p@db/x"), "sqlite:///x"),
    "valkey_url": ("redis://cache:6379/0", Secret("redis://cache:6379/0"), None),
    "master_key": ("a" * 64, Secret("a" * 64), None),
    "master_key_previous": ("b" * 64, Secret("b" * 64), None),
    "tenancy": ("separate", "separate", "one-owner"),
    "verify_connect": ("session", "session", "sessions"),
    # Not one character is changed: it is compared exactly.
    "oidc_issuer": ("https://id.example.com/realm/", "https://id.example.com/realm/", "id.example.com"),
    "oidc_client_id": ("gateway", "gateway", None),
    "oidc_client_secret": ("s3cret", Secret("s3cret"), None),
    "oidc_on_api": ("on", True, "yes"),
    "mcp_oauth": ("on", True, "yes"),
    "signup": ("operator", "operator", "closed"),
    "signup_token": ("a" * 16, Secret("a" * 16), "a" * 15),
    "signup_plan": ("free", "free", None),
    "allowed_private_networks": (
        "10.0.0.0/8, fd00::/8 192.168.1.7",
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"), ipaddress.ip_network("192.168.1.7/32")),
        "10.0.0.0/33",
    ),
    "approval_lifetime": ("30m", 1800, "soon"),
    "sync_ceiling": ("12.5", 12.5, "nan"),
    "run_workers": ("4", 4, "0"),
    "retention": ("12h", 12 * 3600, "a week"),
    "webhook_rate": ("0.5", 0.5, "0"),
    "body_limit": ("512KiB", 512 * 1024, "8MB"),
    "body_room": ("64MiB", 64 * 1024**2, "0"),
    "response_limit": ("1 GiB", 1024**3, "-1"),
    "answer_room": ("2 GiB", 2 * 1024**3, "0"),
    "file_limit": ("1000", 1000, "-1"),
    "file_retention": ("2d", 172800, "2w"),
    "storage_limit": ("1000", 1000, "lots"),
    "inline_limit": ("1000", 1000, "1e3"),
    "drain": ("5", 5.0, "0"),
    "trusted_proxies": ("127.0.0.1", (ipaddress.ip_network("127.0.0.1/32"),), "proxy.example"),
    "tls_ca_file": ("CA", Path("CA"), "here.yaml"),
    "log_format": ("json", "json", "yaml"),
    "upgrade_url": ("https://skillway.example/plans", "https://skillway.example/plans", "javascript:alert(1)"),
    "hooks": ("sign_requests, add_date", ("sign_requests", "add_date"), "Sign"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.yaml").write_text("{}")
    (tmp_path / "CA").write_bytes(trustme.CA().cert_pem.bytes())
    return tmp_path


def read(text: str, environ: dict[str, str] | None = None) -> tuple[Settings, Any]:
    Path("skills.yaml").write_text(text)
    return load_settings(environ or {})


def test_each_setting_has_an_example_here() -> None:
    assert set(EXAMPLES) == {option.name for option in fields(Settings)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_setting_is_read_from_the_environment(name: str) -> None:
    text, value, _ = EXAMPLES[name]
    settings, _ = load_settings({f"SKILLWAY_{name.upper()}": text})
    assert getattr(settings, name) == value
    assert getattr(settings, name) != getattr(Settings(), name)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "config"])
def test_each_setting_is_read_from_skills_yaml_in_either_case(name: str) -> None:
    text, value, _ = EXAMPLES[name]
    for spelled in (name, name.upper()):
        settings, _ = read(json.dumps({"settings": {spelled: text}}))
        assert getattr(settings, name) == value


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_setting_is_read_from_a_file_that_the_environment_names(name: str, folder: Path) -> None:
    text, value, _ = EXAMPLES[name]
    (folder / "given").write_text(text + "\n")
    settings, _ = load_settings({f"SKILLWAY_{name.upper()}_FILE": str(folder / "given")})
    assert getattr(settings, name) == value


@pytest.mark.parametrize("name", [name for name, (_, _, bad) in EXAMPLES.items() if bad is not None])
def test_a_bad_value_is_refused_by_the_name_of_its_setting_and_with_what_is_expected(name: str) -> None:
    bad = str(EXAMPLES[name][2])
    with pytest.raises(
        BadSetting, match=f"^SKILLWAY_{name.upper()}: (expected (a|an|one|networks|https?|postgresql)|there is no)"
    ):
        load_settings({f"SKILLWAY_{name.upper()}": bad})
    if name != "config":
        with pytest.raises(BadSetting, match=rf"^skills\.yaml:3: settings\.{name}: expected "):
            read(f"catalog: {{}}\nsettings:\n  {name}: {json.dumps(bad)}\n")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("port", "８７００"), ("port", "-1"), ("port", "8700.0"), ("port", "²"), ("drain", "inf"), ("drain", "-5"),
        ("drain", "1e5"), ("drain", "0.0"), ("public_url", "https://user:pass@skillway.example"),
        ("public_url", "https://skillway.example/?x"), ("public_url", "ftp://skillway.example"),
        ("public_url", "https://[::1"), ("retention", "-1d"), ("allowed_private_networks", "10.0.0.0/8;11.0.0.0/8"),
        ("tls_ca_file", "/nonexistent"),
    ],
)  # fmt: skip
def test_values_that_nearly_fit_are_refused_too(name: str, bad: str) -> None:
    with pytest.raises(BadSetting, match=f"^SKILLWAY_{name.upper()}: expected "):
        load_settings({f"SKILLWAY_{name.upper()}": bad})


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    Path("skills.yaml").write_text("settings: {port: 1001, host: 127.0.0.2, drain: 7}")
    settings, _ = load_settings({"SKILLWAY_PORT": "1002", "SKILLWAY_HOST": "127.0.0.3"}, port="1003", host=None)
    assert (settings.port, settings.host, settings.drain) == (1003, "127.0.0.3", 7.0)


def test_an_empty_value_is_the_default() -> None:
    settings, _ = read("settings: {drain: , host: ''}", {"SKILLWAY_PORT": "", "SKILLWAY_DATABASE_URL": ""})
    assert settings == Settings()


@pytest.mark.parametrize("text", ["", "{}", "# nothing but words\n", "catalog:\nintegrations:\nplans:\nsettings:\n"])
def test_an_empty_skills_yaml_is_valid(text: str) -> None:
    settings, installation = read(text)
    assert settings == Settings()
    assert installation.integrations is None
    assert len(read_catalog(installation).integrations) >= 5


def test_without_the_file_every_default_holds_and_a_file_that_is_named_must_be_there() -> None:
    assert load_settings({})[0] == Settings()
    with pytest.raises(BadSetting, match=r"SKILLWAY_CONFIG: there is no file skils\.yaml"):
        load_settings({}, config="skils.yaml")


def test_a_secret_never_shows_in_a_repr() -> None:
    environ = {
        "SKILLWAY_MASTER_KEY": "planted-master", "SKILLWAY_MASTER_KEY_PREVIOUS": "planted-previous",
        "SKILLWAY_DATABASE_URL": "postgresql://u:planted-password@db/x", "SKILLWAY_VALKEY_URL": "redis://:planted-too@c",
    }  # fmt: skip
    shown = repr(read("integrations: {github: {client_id: id, client_secret: planted-client}}", environ))
    assert "planted" not in shown


@pytest.mark.parametrize("bad", ["mysql://root:planted-password@db/x", "planted-password"])
def test_a_refused_secret_is_not_repeated(bad: str) -> None:
    with pytest.raises(BadSetting) as refused:
        load_settings({"SKILLWAY_DATABASE_URL": bad})
    assert "planted" not in str(refused.value)


def test_a_secret_in_a_file_must_be_readable_text_and_given_once(folder: Path) -> None:
    (folder / "bytes").write_bytes(b"\xff\xfe\x00")
    for environ, said in [
        ({"SKILLWAY_MASTER_KEY_FILE": "/nonexistent"}, "^SKILLWAY_MASTER_KEY_FILE: No such file"),
        ({"SKILLWAY_MASTER_KEY_FILE": str(folder)}, "^SKILLWAY_MASTER_KEY_FILE: Is a directory"),
        ({"SKILLWAY_MASTER_KEY_FILE": str(folder / "bytes")}, "^SKILLWAY_MASTER_KEY_FILE: .* is not text"),
        ({"SKILLWAY_MASTER_KEY_FILE": "x", "SKILLWAY_MASTER_KEY": "y"}, "SKILLWAY_MASTER_KEY_FILE, not both"),
    ]:
        with pytest.raises(BadSetting, match=said):
            load_settings(environ)


# -------------------------------------------------------------------------------------------------- unknown names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("integratons: {}", r"skills\.yaml:1: integratons: unknown key 'integratons'; did you mean 'integrations'\?"),
        ("catalog:\n  path: []", r"skills\.yaml:2: catalog\.path: .*did you mean 'paths'"),
        ("settings:\n  prot: 1", r"skills\.yaml:2: settings\.prot: .*did you mean 'PORT'"),
        ("integrations:\n  github:\n    clientid: x", r"skills\.yaml:3: .*did you mean 'client_id'"),
        ("plans:\n  free:\n    request_per_minute: 1", r"skills\.yaml:3: .*did you mean 'requests_per_minute'"),
        ("plans: {free: {xyz: 1}}", r"skills\.yaml:1: .*unknown key 'xyz'; known here: requests_per_minute"),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        read(text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SKILLWAY_PROT", "there is no setting SKILLWAY_PROT; did you mean SKILLWAY_PORT"),
        ("SKILLWAY_DATABASE_URI", "did you mean SKILLWAY_DATABASE_URL"),
        ("SKILLWAY_XYZZY_PLUGH", "there is no setting SKILLWAY_XYZZY_PLUGH$"),
    ],
)
def test_an_unknown_setting_of_the_environment_is_refused_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        load_settings({name: "1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "expected a mapping"),
        ("catalog: [a]", r"skills\.yaml:1: catalog: expected a mapping"),
        ("catalog: {integrations: github}", "expected `all` or a list of slugs"),
        ("catalog: {paths: here}", "expected a list of folders or files"),
        ("catalog: {paths: [{a: b}]}", "expected a list of folders or files"),
        ("integrations: {github: yes please}", "expected a mapping"),
        ("integrations: {github: {enabled: no}}", "expected true or false"),
        ("integrations: {github: {client_id: 7}}", "expected text"),
        ("integrations: {github: {scopes: repo}}", "expected a list of OAuth scopes"),
        ("plans: {free: {connections: many}}", "expected a whole number, or null"),
        ("plans: {free: {connections: -1}}", "expected a whole number, or null"),
        ("plans: {free: {connections: true}}", "expected a whole number, or null"),
        ("plans: {free: {connections: 1.5}}", "expected a whole number, or null"),
        ("settings: {host: {a: b}}", r"skills\.yaml:1: settings\.host: expected one value"),
        ("settings: {port: 1, port: 2}", "port"),
        ("settings: {port: &x 1}", r"skills\.yaml:1"),
        ("settings: {port: !!int 1}", r"skills\.yaml:1"),
        ("settings: {", r"skills\.yaml:\d"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        read(text)


# ------------------------------------------------------------------------------------------- what the file chooses


def test_names_of_the_environment_are_put_in_their_places_and_a_missing_one_leaves_nothing() -> None:
    text = """
settings: {data_dir: "${HOME}/skillway", allowed_private_networks: ["${NET}", 10.1.0.0/16]}
integrations:
  github: {client_id: "${GITHUB_ID}", client_secret: "${GITHUB_SECRET}", base_url: "https://${HOST}/api"}
  overskill: {client_id: "${NOT_SET}", client_secret: "${NOT_SET}"}
  skycot: {client_id: "$NOT_A_NAME {x}"}
"""
    environ = {
        "HOME": "/home/me",
        "NET": "10.0.0.0/16",
        "GITHUB_ID": "id",
        "GITHUB_SECRET": "s$1${X}",
        "HOST": "corp.example",
    }
    settings, installation = read(text, environ)
    assert settings.data_dir == Path("/home/me/skillway")
    assert [str(network) for network in settings.allowed_private_networks] == ["10.0.0.0/16", "10.1.0.0/16"]
    github = installation.overrides["github"]
    assert (github.client_id, github.client_secret.reveal()) == ("id", "s$1${X}")
    assert github.addresses == {"base_url": "https://corp.example/api"}
    assert installation.overrides["overskill"] == Override()
    assert installation.overrides["skycot"].client_id == "$NOT_A_NAME {x}"


def test_plans_are_limits_by_name_and_null_is_none() -> None:
    _, installation = read("plans: {free: {connections: 3, api_keys: 0}, pro: {connections: null}, all: {}}")
    assert installation.plans == {
        "free": Plan(name="free", connections=3, api_keys=0),
        "pro": Plan(name="pro"),
        "all": Plan(name="all"),
    }


def test_addresses_and_scopes_of_a_definition_are_replaced() -> None:
    text = """
integrations:
  github:
    base_url: https://git.corp.example/api/v3
    authorization_url: https://git.corp.example/login/oauth/authorize
    token_url: https://git.corp.example/login/oauth/access_token
    scopes: [repo]
"""
    plain = read_catalog(read("{}")[1]).integrations["github"]
    ours = read_catalog(read(text)[1]).integrations["github"]
    assert ours.base_url == "https://git.corp.example/api/v3"
    [before] = [method for method in plain.auth if method.type == "oauth2"]
    [after] = [method for method in ours.auth if method.type == "oauth2"]
    assert after == dataclasses.replace(
        before,
        authorization_url="https://git.corp.example/login/oauth/authorize",
        token_url="https://git.corp.example/login/oauth/access_token",
        scopes=dataclasses.replace(before.scopes, default=("repo",)),
    )
    assert [method for method in ours.auth if method.type != "oauth2"] == [
        method for method in plain.auth if method.type != "oauth2"
    ]


@pytest.mark.parametrize(
    "address", ["base_url", "authorization_url", "token_url", "refresh_url", "revocation_url", "issuer"]
)
@pytest.mark.parametrize("bad", ["git.corp.example", "ftp://git.corp.example", "https://", "https://a b/", "//evil"])
def test_an_address_that_is_none_is_refused_at_the_start_and_not_at_the_first_call(address: str, bad: str) -> None:
    with pytest.raises(BadSetting, match=rf"skills\.yaml:1: integrations\.github\.{address}: expected an address"):
        read(f"integrations: {{github: {{{address}: {json.dumps(bad)}}}}}")


def test_only_the_chosen_integrations_are_on() -> None:
    _, installation = read("catalog: {integrations: [github, overten]}\nintegrations: {overten: {enabled: false}}")
    assert list(read_catalog(installation).integrations) == ["github"]


def test_what_is_off_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def noted(paths: Iterable[Path]) -> Catalog:
        paths = list(paths)
        asked.extend(path.name for path in paths)
        return load_catalog(paths)

    monkeypatch.setattr("gateway.installation.load_catalog", noted)
    read_catalog(read("catalog: {integrations: [github]}\nintegrations: {overten: {enabled: false}}")[1])
    assert asked == ["github.yaml", "overten.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "catalog: {integrations: [githb]}",
        "catalog: {integrations: [overten, githb]}",
        "integrations: {githb: {enabled: false}}",
    ],
)
def test_a_slug_that_does_not_exist_is_refused_with_the_nearest(text: str) -> None:
    with pytest.raises(BadSetting, match=r"there is no integration 'githb'; did you mean 'github'\?"):
        read_catalog(read(text)[1])


def test_paths_are_looked_for_beside_the_file_that_names_them(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "skills.yaml").write_text("catalog: {paths: [./mine, /abs]}")
    _, installation = load_settings({}, config=str(folder / "etc" / "skills.yaml"))
    assert installation.paths == (folder / "etc" / "mine", Path("/abs"))


# ------------------------------------------------------------------------------------------------ what others see


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:4711"),
        ({"host": "::1"}, "http://[::1]:4711"),
        ({"host": "localhost"}, "http://localhost:4711"),
        ({"host": "0.0.0.0", "public_url": "https://skillway.example/"}, "https://skillway.example"),
    ],
)
def test_the_public_address_is_made_of_the_port_really_bound_unless_it_is_said(given: dict[str, str], url: str) -> None:
    settings, _ = load_settings({f"SKILLWAY_{name.upper()}": value for name, value in given.items()})
    assert public_url_of(settings, 4711) == url


def test_help_settings_lists_every_setting_with_its_default() -> None:
    done = CliRunner().invoke(serve, ["--help-settings"])
    assert done.exit_code == 0
    for name, default, help_ in options():
        assert f"{name}  (default: {default})\n    {help_}\n" in done.output
    assert {name for name, _, _ in options()} == {f"SKILLWAY_{name.upper()}" for name in EXAMPLES}


def test_every_setting_is_read_by_something() -> None:
    """A setting that changes nothing is a promise broken."""
    root = Path(__file__).resolve().parents[1] / "gateway"
    source = "".join(path.read_text() for path in root.rglob("*.py"))
    # Some are read by way of what they are by default.
    unread = [name for name in EXAMPLES if f"settings.{name}" not in source and f"def effective_{name}" not in source]
    assert unread == []
