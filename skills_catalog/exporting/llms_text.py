"""`/llms.txt` (https://llmstxt.org): the gateway as a whole, for a model that was given nothing but its address."""

from __future__ import annotations

from collections.abc import Sequence

from skills_catalog.exporting.markdown import label, sentence, visible
from skills_catalog.model import Integration

_ABOUT = """\
# Skillway

> A gateway to third-party APIs for agents: find an action, call it over HTTP, get `{{"status", "data"}}` back. The gateway holds the credentials; accounts are connected by a person in a browser.

Send `Authorization: Bearer` and an API key with every request; whoever runs this gateway gives you one. `POST {url}/v1/{{integration}}/{{action}}` with `{{"params": {{…}}}}` calls an action. An answer with `error` comes from the gateway, and says what to do; one with a `status` from 400 on is the service's own no. Where there is an `action_url`, show it to your user. Never ask for a password or token of a service.

## Finding and calling

- [Integrations]({url}/v1/skills): which services there are, and which are connected
- [Search]({url}/v1/skills/search?q=create+issue): actions by what they do, in your own words
- [Actions of one]({url}/v1/skills/{{integration}}): and the ways to connect it
- [One action]({url}/v1/skills/{{integration}}/{{action}}): its params as JSON Schema, examples, errors; read it before you call it
- [Connecting]({url}/v1/connect): POST `{{"integration": …}}`, and let your user open the `oauth_url` of the answer
- [Tools]({url}/v1/tools?format=openai): actions in the shape that a model's API takes; also `anthropic`, `gemini` and `mcp`

## Other ways in

- [MCP]({url}/mcp): the same over the Model Context Protocol, Streamable HTTP
- [OpenAPI]({url}/openapi.json): every route; with a key every action too
- [Routes for people]({url}/docs): the same as a page
"""


def llms_text(base_url: str, integrations: Sequence[Integration] | None = None) -> str:
    """The text for everybody; with `integrations`, those that a key may use, each with its address."""
    url = base_url.rstrip("/")
    text = _ABOUT.format(url=url)
    if integrations is None:
        return text + "\nWith a key this page also lists the integrations that the key may use.\n"
    lines = [
        f"- [{label(one.name)}]({url}/v1/skills/{one.slug}): {sentence(one.description)} "
        f"{len(one.skills)} action{'' if len(one.skills) == 1 else 's'}; as files at {url}/v1/{one.slug}/download"
        for one in integrations
        if one.skills
    ]
    return visible(text + "\n## Integrations\n\n" + "".join(f"{one}\n" for one in lines))

