"""Rules of the code that a reader relies on: which way imports run, who opens sockets, what a name may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from aiohttp import web

from gateway.core.errors import CODES, Refusal
from gateway.rest import routes as rest
from gateway.ui import routes as ui
from skills_catalog.names import RESERVED_ACTIONS, RESERVED_SLUGS
from tests.conftest import SHARED
from tests.harness import ROOT

PACKAGES = ("gateway", "oauth", "skills_catalog")
#: May import where it is needed: only the command that runs is loaded.
COMMAND_LINE = "gateway/cli/"
#: A driver is loaded only where its database is used.
LAZY = frozenset({"gateway/store/opening.py"})


@cache
def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name:
            yield node


# ------------------------------------------------------------------------------------------------------- imports


def test_imports_run_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [3-9] kept, 0 broken", done.stdout)


def test_imports_stand_at_the_top_of_their_module() -> None:
    inside = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not name.startswith(COMMAND_LINE) and name not in LAZY
    ]
    assert inside == []


def test_what_people_type_imports_nothing_of_the_server() -> None:
    """Their commands start in a fraction of the time that the server's libraries take to load."""
    script = (
        "import sys; from gateway.cli.main import PEOPLE, skillway; import click;"
        "[skillway.get_command(click.Context(skillway), name) for name in PEOPLE];"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'aiohttp','asyncio','yaml','sqlite3','cryptography',"
        "'jsonschema','jinja2','authlib','uvloop'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_the_surfaces_do_not_know_each_other() -> None:
    surfaces = ("gateway.rest", "gateway.ui", "gateway.mcp")
    wrong = [
        (name, imported)
        for name, tree in modules().items()
        for surface in surfaces
        if name.startswith(surface.replace(".", "/") + "/")
        for imported in imported_by(tree)
        if imported.startswith(tuple(other for other in surfaces if other != surface))
    ]
    assert wrong == []


def imported_by(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# ------------------------------------------------------------------------------------------------- the way out


def test_sockets_are_touched_by_the_upstream_the_listener_and_the_command_line_alone() -> None:
    """`tests/upstream/test_only_door.py` looks for whatever opens a connection; this one for sockets themselves."""
    allowed = {"gateway/app.py", "gateway/web/server.py"}
    touching = {
        name
        for name, tree in modules().items()
        if {"socket", "ssl", "http.client", "urllib.request"} & set(imported_by(tree))
    }
    outside = {name for name in touching if not name.startswith(("gateway/upstream/", COMMAND_LINE))}
    # Settings load a file of certificates to tell a bad one; they connect to nothing.
    assert outside - allowed == {"gateway/setting_kinds.py"}


def test_nothing_but_the_command_line_prints() -> None:
    printing = [
        f"{name}:{call.lineno}"
        for name, tree in modules().items()
        for call in calls(tree, "print")
        if not name.startswith(COMMAND_LINE)
    ]
    assert printing == []


# ------------------------------------------------------------------------------------------------ the error codes


def test_every_code_has_a_status_a_meaning_and_a_way_on() -> None:
    for name, code in CODES.items():
        assert re.fullmatch("[a-z_]+", name)
        assert 400 <= code.status < 600
        for sentence in (code.meaning, code.fix):
            assert re.fullmatch(r"[A-Z`].*\.", sentence, re.DOTALL), (name, sentence)
        assert Refusal(name, "x").status == code.status


def test_every_code_is_raised_somewhere_and_none_that_is_not_in_the_table() -> None:
    used: set[str] = set()
    for name, tree in modules().items():
        if name != "gateway/core/errors.py" and not name.startswith(COMMAND_LINE):
            used |= {
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    assert set(CODES) - used == set()
    literal = {
        call.args[0].value
        for tree in modules().values()
        for call in calls(tree, "Refusal")
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    assert literal - set(CODES) == set()


def test_every_code_is_met_in_a_test() -> None:
    told_of = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name)
    words = "\n".join(told_of)
    assert [name for name in CODES if not re.search(rf'["\']{name}["\']', words)] == []


@pytest.mark.shared
def test_every_code_has_the_status_of_the_contract() -> None:
    table = (SHARED / "design" / "rest-contract.md").read_text()
    promised: dict[str, set[int]] = {}
    for row in re.findall(r"^\| ([\d, ]+) \| (`.*) \|$", table, re.MULTILINE):
        statuses = {int(status) for status in row[0].split(",")}
        for code in re.findall(r"`([a-z_]+)`", row[1]):
            promised.setdefault(code, set()).update(statuses)
    assert len(promised) > 25
    # The route of the device login has its codes from RFC 8628 §3.5, and the last one from the seed.
    for code in ("authorization_pending", "slow_down", "access_denied", "expired_token", "already_used"):
        promised[code] = {400}
    # Came later: whatever a process can take at once has an end.
    promised["overloaded"] = {503}
    wrong = {name: code.status for name, code in CODES.items() if code.status not in promised.get(name, set())}
    assert wrong == {}


# -------------------------------------------------------------------------------------------------- the routes


def all_routes() -> list[web.RouteDef]:
    return [*rest.routes(), *ui.routes()]


def test_slugs_that_would_hide_behind_a_route_are_reserved() -> None:
    fixed = {segments[1] for segments in split_routes() if segments[0] == "v1" and not segments[1].startswith("{")}
    assert fixed - RESERVED_SLUGS == set()
    assert fixed >= {"skills", "connect", "connections", "verify"}


def test_actions_that_would_hide_behind_a_route_are_reserved() -> None:
    fixed = {
        route.path.split("/")[3]
        for route in all_routes()
        if route.method == "POST" and route.path.startswith("/v1/{integration}/")
    }
    assert {name for name in fixed if not name.startswith("{")} <= RESERVED_ACTIONS
    assert {"request"} == RESERVED_ACTIONS


def test_fixed_routes_stand_before_those_with_a_name_in_them() -> None:
    paths = [route.path for route in rest.routes()]
    for at, path in enumerate(paths):
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        hidden = [later for later in paths[at + 1 :] if pattern.fullmatch(later) and later != path]
        assert hidden == [], f"{path} stands before {hidden}"


@pytest.mark.shared
def test_the_routes_that_the_contract_promises_reserve_their_names() -> None:
    table = (SHARED / "design" / "rest-contract.md").read_text()
    promised = set(re.findall(r"/v1/([a-z]+)\b", table)) - {"github"}
    assert promised - RESERVED_SLUGS == set()
    assert RESERVED_SLUGS - promised <= {"download", "sandbox", "search"}


def split_routes() -> list[list[str]]:
    return [route.path.strip("/").split("/") for route in all_routes()]


# ------------------------------------------------------------------------------------------------ how code reads


def test_every_module_opens_with_one_sentence() -> None:
    wrong = []
    for name, tree in modules().items():
        opening = (ast.get_docstring(tree) or "").partition("\n\n")[0]
        if not re.fullmatch(r"(?s)[A-Z`'\d].*[.?]", opening) or opening.count("\n") > 1:
            wrong.append(name)
    assert wrong == []


def test_no_class_hides_what_it_is_behind_a_word_for_anything() -> None:
    vague = re.compile("Manager|Helper|Util|Service$|Handler$|Processor|Wrapper")
    named = [
        f"{name}: {node.name}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and vague.search(node.name)
    ]
    assert named == []


def test_data_that_holds_a_secret_never_shows_it() -> None:
    """A dataclass field of that name is a `Secret`, or says `repr=False`."""
    secret = re.compile(
        "^(access_token|refresh_token|id_token|client_secret|password|api_key|master_key|verifier|key|live)$"
    )
    shown = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or not any(
                "dataclass" in ast.unparse(d) for d in node.decorator_list
            ):
                continue
            own_repr = any(isinstance(part, ast.FunctionDef) and part.name == "__repr__" for part in node.body)
            for field in node.body:
                if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name) or own_repr:
                    continue
                kind, value = ast.unparse(field.annotation), ast.unparse(field.value) if field.value else ""
                holds = secret.match(field.target.id) and re.search(r"\b(str|bytes)\b", kind)
                if holds and "repr=False" not in value:
                    shown.append(f"{name}: {node.name}.{field.target.id}: {kind}")
    # Ids of keys, not keys.
    places = ("run.py: Run", "tenants/ledger.py: Entry", "calls/budgets.py: _Waiting", "messages/webhook.py: Webhook")
    ids = tuple(f"gateway/core/{place}.key" for place in places)
    assert [one for one in shown if not one.startswith(ids)] == []


def test_nothing_is_left_for_later() -> None:
    # `TODO` also is a word of vendors, as a value: never with a colon behind it.
    left = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?=[:( ]|$)|NotImplementedError")
    files = [ROOT / name for name in modules()]
    files += [
        path for suffix in ("yaml", "html", "sql", "css") for path in ROOT.glob(f"*/**/*.{suffix}") if is_ours(path)
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if left.search(line)
    ]
    assert found == []


def is_ours(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] in PACKAGES
