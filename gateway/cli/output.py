"""What a command prints: JSON alone on stdout for machines, tables on a terminal, everything else on stderr."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TextIO
from unicodedata import combining, east_asian_width

from gateway.cli.failures import CommandFailed
from gateway.cli.jsontext import Json, Number, dumps, loads, plain, pretty

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_RED, _YELLOW, _BOLD, _DIM = "31", "33", "1", "2"


def for_people(as_json: bool = False) -> bool:
    """Whether somebody reads stdout: it is a terminal, and they did not ask for JSON."""
    return not as_json and sys.stdout.isatty()


def answer(body: bytes) -> None:
    """What the gateway answered: untouched for machines, indented on a terminal."""
    if not sys.stdout.isatty():
        content((body if body.endswith(b"\n") else body + b"\n",))
        return
    try:
        text = pretty(loads(body), colour=_colour(sys.stdout))
    except (ValueError, RecursionError):
        text = plain(body.decode("utf-8", "replace"))
    sys.stdout.write(text + "\n")


def content(chunks: Iterable[bytes]) -> None:
    """Bytes as they are. A reader that has had enough (`| head`) changes nothing about how the command went."""
    try:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Nobody reads stdout any more: what is left of it goes nowhere, instead of failing when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def line(value: Json) -> None:
    """One value of our own as one line of JSON."""
    content((f"{dumps(value)}\n".encode(),))


def note(text: str) -> None:
    """One line for whoever watches, on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line on stderr that should not be overlooked."""
    print(f"{_paint(sys.stderr, 'Warning:', _YELLOW)} {plain(text)}", file=sys.stderr, flush=True)


def failure(failed: CommandFailed) -> None:
    """Why the command stopped: words on stderr, and the gateway's JSON on stdout where a machine reads it."""
    if not sys.stdout.isatty():
        answer(failed.body)
    problem = failed.problem
    lines = [f"{_paint(sys.stderr, 'Error:', _RED)} {plain(problem.message)} ({plain(problem.code)})"]
    lines += [f"  {plain(detail)}" for detail in problem.details[:20]]
    lines += [f"Fix: {plain(problem.action_url)}"] if problem.action_url else []
    lines += [f"Hint: {plain(problem.hint)}"] if problem.hint else []
    lines += [f"Run: {plain(problem.run_id)}"] if problem.run_id else []
    lines += ["Whether the call went through is not known."] if problem.outcome == "unknown" else []
    if problem.retry_after_ms and problem.retry_after_ms.isdecimal():
        lines.append(f"Try again in {-(-int(problem.retry_after_ms) // 1000)} s.")
    print("\n".join(lines), file=sys.stderr, flush=True)


def heading(text: str) -> None:
    """A line of text above a table or between parts of a page, on a terminal."""
    print(_paint(sys.stdout, plain(text), _BOLD))


def text(words: str) -> None:
    """A line of ordinary text on stdout, for people."""
    print(plain(words))


def table(names: Sequence[str], rows: Sequence[Sequence[Json]]) -> None:
    """Rows under column names, cut to the width of the terminal; the last column gives way first."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(names, *cells, strict=True)]
    room = get_terminal_size((100, 24)).columns
    widths[-1] = max(12, min(widths[-1], room - sum(widths[:-1]) - 2 * (len(widths) - 1)))
    print(_paint(sys.stdout, _row(names, widths), _BOLD))
    for row in cells:
        print(_row(row, widths))


def fields(members: dict[str, Json], indent: str = "") -> None:
    """One object as lines of name and value."""
    widest = max((len(name) for name in members), default=0)
    for name, value in members.items():
        print(f"{indent}{_paint(sys.stdout, plain(name).ljust(widest), _DIM)}  {_cell(value)}")


@contextmanager
def spinner(doing: str) -> Iterator[Callable[[str], None]]:
    """Something that moves on stderr while a call is under way, where somebody can see it; gives a way to tell more."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield note
        return
    done = threading.Event()
    drawing = threading.Thread(target=_draw, args=(plain(doing), done), daemon=True)
    drawing.start()
    try:
        yield lambda text: _above(plain(text))
    finally:
        done.set()
        drawing.join()


def _above(line: str) -> None:
    sys.stderr.write(f"\r{line}\x1b[K\n")
    sys.stderr.flush()


def _draw(doing: str, done: threading.Event) -> None:
    # The first frame waits: what answers at once needs no spinner.
    frame = 0
    while not done.wait(0.3 if frame == 0 else 0.1):
        sys.stderr.write(f"\r{_FRAMES[frame % len(_FRAMES)]} {doing}\x1b[K")
        sys.stderr.flush()
        frame += 1
    if frame:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(stream: TextIO, words: str, style: str) -> str:
    return f"\x1b[{style}m{words}\x1b[0m" if _colour(stream) else words


def _cell(value: Json) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return plain(value)
        case Number():
            return value.text
        case list() if all(isinstance(member, str) for member in value):
            return plain(", ".join(str(member) for member in value))
        case _:
            return plain(dumps(value))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_fit(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _fit(cell: str, width: int) -> str:
    missing = width - _width(cell)
    if missing >= 0:
        return cell + " " * missing
    while cell and _width(cell) > width - 1:
        cell = cell[:-1]
    return cell + "…"


def _width(cell: str) -> int:
    """How many columns the text takes: an ideograph takes two, a combining mark none."""
    if cell.isascii():
        return len(cell)
    return sum(0 if combining(mark) else 2 if east_asian_width(mark) in "WF" else 1 for mark in cell)
