"""People who sign in: a browser with cookies of its own, which reads forms and sends them as they were shown.

    link = await invite(running, "ada@example.com")
    async with person(running) as ada:
        await ada.sign_in(link)
        page = await ada.open("/keys")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from secrets import token_urlsafe
from urllib.parse import urlencode, urljoin

import aiohttp
import yarl

from gateway.core.people.sign_in import LINK_LIFETIME
from gateway.core.tenants.members import Member
from gateway.installation import open_installation
from gateway.store.members import SqlMembers
from gateway.store.orgs import SqlOrgs
from gateway.store.sign_in_links import SqlSignInLinks
from oauth.flow import hash_state
from tests.harness import RunningGateway, browser
from tests.pages.chromium import read_tags, read_words

#: What a browser says of a form that a page of the same site sent.
OWN_SITE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(slots=True, kw_only=True)
class Form:
    """A form as a page shows it: hidden and typed fields, and the buttons that have a name."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Page:
    """What came back, read whole."""

    url: str
    status: int
    location: str
    headers: Mapping[str, str]
    html: str

    @property
    def words(self) -> str:
        return read_words(self.html)

    @property
    def tags(self) -> list[str]:
        return read_tags(self.html)

    def form(self, action: str = "") -> Form:
        """The form that is sent to a path ending so."""
        reader = _Forms()
        reader.feed(self.html)
        fitting = [one for one in reader.forms if one.action.endswith(action) and not one.action.endswith("/sign-out")]
        assert fitting, f"no form for {action!r} on {self.url}: {self.words}"
        return fitting[-1]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(action=has.get("action", "")))
        is_sent = has.get("type") not in ("radio", "checkbox") or "checked" in has
        if tag == "input" and self.forms and has.get("name") and is_sent:
            self.forms[-1].fields[has["name"]] = has.get("value", "")


@dataclass(slots=True, kw_only=True)
class Person:
    """One browser at one gateway."""

    running: RunningGateway
    session: aiohttp.ClientSession

    async def open(self, path: str, *, headers: Mapping[str, str] | None = None) -> Page:
        """Opens a page, without following where it leads."""
        return await self._ask("GET", path, headers=headers or {})

    async def send(
        self, path: str, fields: Mapping[str, str] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Page:
        """Sends a form."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(OWN_SITE if headers is None else headers)}
        return await self._ask("POST", path, headers=sent, data=urlencode(fields or {}).encode())

    async def press(self, page: Page, action: str = "", **typed: str) -> Page:
        """Sends the form of a page with what was typed."""
        form = page.form(action)
        return await self.send(urljoin(page.url, form.action), {**form.fields, **typed})

    async def sign_in(self, link: str) -> Page:
        """Opens a sign-in link and presses its button."""
        shown = await self.open(link)
        assert shown.status == 200, shown.words
        done = await self.press(shown)
        assert done.status == 303, done.words
        return done

    async def sign_out(self, **more: str) -> Page:
        token = (await self.open("/keys")).form("/keys").fields["form_token"]
        return await self.send("/sign-out", {"form_token": token, **more})

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}

    async def _ask(self, method: str, path: str, *, headers: Mapping[str, str], data: bytes | None = None) -> Page:
        url = urljoin(self.running.url, path)
        async with self.session.request(
            method, yarl.URL(url, encoded=True), headers=headers, data=data, allow_redirects=False
        ) as answer:
            return Page(
                url=url,
                status=answer.status,
                location=answer.headers.get("Location", ""),
                headers=answer.headers,
                html=await answer.text(),
            )


@asynccontextmanager
async def person(running: RunningGateway, link: str | None = None) -> AsyncIterator[Person]:
    """A person with a browser, signed in by a link if one is given."""
    async with browser() as session:
        somebody = Person(running=running, session=session)
        if link is not None:
            await somebody.sign_in(link)
        yield somebody


async def invite(
    running: RunningGateway, email: str = "ada@example.com", *, org: str | None = None, name: str | None = None
) -> str:
    """What `skillway orgs invite` does, by the test's own clock; gives back the link."""
    link = token_urlsafe(32)
    assert running.services is not None
    clock = running.services.clock
    async with open_installation(running.services.settings) as opened:
        members = SqlMembers(opened.database, clock=clock)
        known = await members.by_email(email)
        member = known or await members.add(org or running.org.id, email=email, name=name)
        links = SqlSignInLinks(opened.database, clock=clock)
        await links.make(member, hash_state(link), expires_at=clock() + LINK_LIFETIME)
    return f"{running.url}/sign-in/link?t={link}"


async def member_of(running: RunningGateway, email: str = "ada@example.com") -> Member:
    assert running.services is not None
    async with open_installation(running.services.settings) as opened:
        found = await SqlMembers(opened.database).by_email(email)
    assert found is not None
    return found


async def suspend(running: RunningGateway, *, undo: bool = False) -> None:
    """What `skillway orgs suspend` does to the gateway's own org."""
    assert running.services is not None
    async with open_installation(running.services.settings) as opened:
        await SqlOrgs(opened.database).suspend(running.org.id, suspended=not undo)
