"""Each file of `examples/` runs as it stands: against a gateway with a test key, and a model that goes by a plan."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import lacking
from tests.fakes.model import Model, Plan
from tests.fakes.upstream import Running, serve
from tests.fakes.venvs import PipFailed, python_with
from tests.harness import ROOT, RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = ROOT / "examples"
HERE = Path(__file__).parent
#: The agents, with the environment that has their packages: two, since some still need the MCP client of before.
AGENTS = {
    "agent_anthropic.py": "modern",
    "agent_google_genai.py": "modern",
    "agent_langchain.py": "legacy",
    "agent_llama_index.py": "legacy",
    "agent_openai.py": "modern",
    "agent_openai_agents.py": "modern",
    "agent_pydantic_ai.py": "modern",
}
#: The plain ones, with what runs them.
PLAIN = {"plain.py": ("python3",), "plain.mjs": ("node",), "plain.rb": ("ruby",), "plain.go": ("go", "run")}
PARAMS = {"repo": "acme/webapp", "title": "The login page is slow"}
PLAN: Plan = [
    ("search_skills", {"query": "open an issue", "integration": "github"}),
    ("describe_skill", {"integration": "github", "action": "create_issue"}),
    ("call_skill", {"integration": "github", "action": "create_issue", "params": PARAMS}),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An example that has ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True, kw_only=True)
class Stage:
    running: RunningGateway
    model: Running[Model]

    async def run(self, command: Sequence[str], *, key: str | None = None) -> Ran:
        """Runs with nothing in its environment but what the example says that it needs."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.running.data_dir),
            # Go compiles into a folder of its own.
            "GOCACHE": str(ROOT / ".cache" / "go"),
            "SKILLWAY_URL": self.running.url,
            "SKILLWAY_API_KEY": self.running.org.test if key is None else key,
            "MODEL": "openai:planned" if command[-1].endswith("agent_pydantic_ai.py") else "planned",
            **dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), Model.key),
            "OPENAI_BASE_URL": f"{self.model.base_url}/v1",
            "ANTHROPIC_BASE_URL": self.model.base_url,
            "GOOGLE_GEMINI_BASE_URL": self.model.base_url,
            # It would tell OpenAI of each run.
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    async def last_run(self) -> dict[str, object]:
        runs: dict[str, list[dict[str, object]]] = (
            await self.running.ask("GET", "/v1/runs?limit=1", key=self.running.org.test)
        ).json()
        return runs["runs"][0] if runs["runs"] else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with serve(Model(PLAN)) as model, gateway(tmp_path_factory.mktemp("examples")) as running:
        yield Stage(running=running, model=model)


async def interpreter(environment: str) -> str:
    try:
        return str(await asyncio.to_thread(python_with, HERE / f"{environment}.txt"))
    except PipFailed as error:
        lacking(str(error))
        raise


async def test_every_example_is_run_here_and_short() -> None:
    found = {file.name: file.read_text().splitlines() for file in EXAMPLES.iterdir() if file.is_file()}
    assert set(found) == {*AGENTS, *PLAIN, "mcp_client.py"}
    assert {name for name, lines in found.items() if len(lines) > 45} == set()


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_finds_the_action_and_opens_the_issue(stage: Stage, name: str) -> None:
    before = await stage.last_run()
    ran = await stage.run([await interpreter(AGENTS[name]), str(EXAMPLES / name)])
    assert ran.code == 0, ran.err
    assert ran.out.startswith("It is opened: https://github.com/acme/webapp/issues/")
    after = await stage.last_run()
    assert after != before and (after["integration"], after["action"]) == ("github", "create_issue")


async def test_the_mcp_client_finds_describes_and_calls(stage: Stage) -> None:
    ran = await stage.run([await interpreter("modern"), str(EXAMPLES / "mcp_client.py")])
    assert ran.code == 0, ran.err
    required, address = ran.out.splitlines()
    assert required == "['repo', 'title']" and address.startswith("https://github.com/acme/webapp/issues/")


@pytest.mark.parametrize("name", PLAIN)
async def test_a_plain_program_opens_the_issue_and_tells_why_it_cannot(stage: Stage, name: str) -> None:
    if not shutil.which(PLAIN[name][0]):
        if name == "plain.go":
            pytest.skip("Go is not here; it is too large to be installed for one file")
        lacking(PLAIN[name][0])
    command = [*PLAIN[name], str(EXAMPLES / name)]
    ran = await stage.run(command)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith("https://github.com/acme/webapp/issues/")
    refused = await stage.run(command, key=stage.running.org.live)
    assert refused.code == 1
    assert "The user needs to connect their github account first." in refused.err
    assert f"{stage.running.url}/connect/new?t=" in refused.err
