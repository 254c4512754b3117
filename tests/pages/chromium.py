"""A headless Chromium driven over its DevTools protocol: what a person sees and presses, and what the browser did.

    async with chromium(tmp_path) as browser:
        page = await browser.page()
        await page.open("http://127.0.0.1:8700/connect/…")
        await page.press("button")

Pages are read and pressed without running a script in them, so that it works with scripts switched off.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

#: A loaded machine takes some seconds to start a browser.
START_SECONDS = 30
STEP_SECONDS = 20

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    # Nothing but this machine is reached, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The program, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the browser asked for, and on behalf of which page."""

    url: str
    page: str
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class Page:
    """One tab."""

    _browser: Chromium
    _session: str
    requests: list[Request] = field(default_factory=list)
    #: Violations of a policy and errors, as the console would show them, by the page's address.
    complaints: list[tuple[str, str]] = field(default_factory=list)
    #: Texts of dialogs: some script ran.
    dialogs: list[str] = field(default_factory=list)
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _at: str = ""

    async def open(self, url: str) -> None:
        """Goes to an address and waits until it has loaded."""
        async with self._loading():
            await self.send("Page.navigate", url=url)

    async def press(self, selector: str) -> None:
        """Clicks on the middle of an element, and waits for the page that it leads to."""
        async with self._loading():
            await self.choose(selector)

    async def choose(self, selector: str) -> None:
        """Clicks on the middle of an element that leads nowhere: a choice of a form."""
        node = await self._find(selector)
        await self.send("DOM.scrollIntoViewIfNeeded", nodeId=node)
        box = (await self.send("DOM.getBoxModel", nodeId=node))["model"]["content"]
        x, y = (box[0] + box[4]) / 2, (box[1] + box[5]) / 2
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        """Types into a field."""
        await self.send("DOM.focus", nodeId=await self._find(selector))
        await self.send("Input.insertText", text=text)

    async def clear(self, selector: str) -> None:
        """Empties a field, as marking all of it and deleting does."""
        await self.send("DOM.focus", nodeId=await self._find(selector))
        for key, modifiers, commands in (("a", 2, ["selectAll"]), ("Backspace", 0, ["deleteBackward"])):
            await self.send(
                "Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers, commands=commands
            )
            await self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def url(self) -> str:
        history = await self.send("Page.getNavigationHistory")
        return str(history["entries"][history["currentIndex"]]["url"])

    async def has(self, selector: str) -> bool:
        root = await self.send("DOM.getDocument", depth=0)
        found = await self.send("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        return bool(found["nodeId"])

    async def html(self) -> str:
        """The document as the browser understood it."""
        root = await self.send("DOM.getDocument", depth=0)
        return str((await self.send("DOM.getOuterHTML", nodeId=root["root"]["nodeId"]))["outerHTML"])

    async def text(self) -> str:
        """The words of the document's body, in one line."""
        return read_words(await self.html())

    async def tags(self) -> list[str]:
        """Names of all elements of the document, in order."""
        return read_tags(await self.html())

    async def shot(self, path: Path, *, width: int = 1000, height: int = 900, dark: bool = False) -> None:
        """Writes what is seen in a window of that size into a PNG file."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        shot = await self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def width(self) -> int:
        """How wide the document is: where that is more than the window of the last shot, something sticks out."""
        return int((await self.send("Page.getLayoutMetrics"))["cssContentSize"]["width"])

    async def switch_scripts_off(self) -> None:
        await self.send("Emulation.setScriptExecutionDisabled", value=True)

    def asked_by(self, origin: str) -> list[Request]:
        """What pages of an origin made the browser fetch, the pages themselves left out."""
        return [one for one in self.requests if origin_of(one.page) == origin and one.url != one.page]

    async def send(self, method: str, **params: Any) -> Any:
        return await self._browser.send(method, session=self._session, **params)

    def on_event(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Page.frameNavigated" and "parentId" not in params["frame"]:
            self._at = params["frame"]["url"]
        elif method == "Network.requestWillBeSent":
            request = params["request"]
            self.requests.append(Request(url=request["url"], page=params["documentURL"], headers=request["headers"]))
        elif method == "Log.entryAdded":
            entry = params["entry"]
            if entry["level"] == "error" and entry["source"] != "network":
                self._complain(entry["source"], entry["text"])
        elif method == "Audits.issueAdded":
            self._complain(params["issue"]["code"], json.dumps(params["issue"]["details"]))
        elif method == "Runtime.exceptionThrown":
            self._complain("exception", params["exceptionDetails"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._browser.soon("Page.handleJavaScriptDialog", session=self._session, accept=True)

    def _complain(self, kind: str, text: str) -> None:
        self.complaints.append((self._at, f"{kind}: {text}"))

    @asynccontextmanager
    async def _loading(self) -> AsyncIterator[None]:
        self._loaded.clear()
        yield
        async with asyncio.timeout(STEP_SECONDS):
            await self._loaded.wait()

    async def _find(self, selector: str) -> int:
        root = await self.send("DOM.getDocument", depth=0)
        found = await self.send("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        assert found["nodeId"], f"there is no {selector} on {await self.url()}: {await self.text()}"
        return int(found["nodeId"])


class Chromium:
    """A running browser with a profile of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self._errands: set[asyncio.Task[Any]] = set()

    async def page(self) -> Page:
        """A new tab in a window of its own, with no cookie in it."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(_browser=self, _session=session)
        self._pages[session] = page
        for domain in ("Page", "Network", "DOM", "Log", "Runtime", "Audits"):
            await page.send(f"{domain}.enable")
        return page

    async def send(self, method: str, *, session: str | None = None, **params: Any) -> Any:
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message if session is None else message | {"sessionId": session})
        async with asyncio.timeout(STEP_SECONDS):
            return await answer

    def soon(self, method: str, **params: Any) -> None:
        """The same without waiting: from where an event is handled."""
        errand = asyncio.ensure_future(self.send(method, **params))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def listen(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" not in told:
                page = self._pages.get(told.get("sessionId", ""))
                if page is not None:
                    page.on_event(told["method"], told["params"])
                continue
            waiting = self._waiting.pop(told["id"])
            if waiting.done():
                continue
            if "error" in told:
                waiting.set_exception(RuntimeError(told["error"]["message"]))
            else:
                waiting.set_result(told["result"])


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Chromium]:
    """Runs the browser until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="skillway-chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, *_FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )
        reading: asyncio.Task[Any] | None = None
        try:
            address = await asyncio.wait_for(_address(process), START_SECONDS)
            assert process.stderr is not None
            reading = asyncio.ensure_future(process.stderr.read())
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    browser = Chromium(socket)
                    listening = asyncio.ensure_future(browser.listen())
                    try:
                        yield browser
                    finally:
                        with contextlib.suppress(RuntimeError, TimeoutError, ConnectionError):
                            await browser.send("Browser.close")
                        listening.cancel()
                        await asyncio.wait([listening])
        finally:
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
            if reading is not None:
                await reading


async def _address(process: asyncio.subprocess.Process) -> str:
    """It says on stderr where it listens."""
    assert process.stderr is not None
    told = b""
    async for line in process.stderr:
        told += line
        if line.startswith(b"DevTools listening on "):
            return line.removeprefix(b"DevTools listening on ").decode().strip()
    raise RuntimeError(f"Chromium did not start: {told[-2000:].decode(errors='replace')}")


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden += tag in ("style", "script", "title")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script", "title")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def read_words(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    return " ".join(" ".join(reader.words).split())


def read_tags(html: str) -> list[str]:
    reader = _Reader()
    reader.feed(html)
    return reader.tags
