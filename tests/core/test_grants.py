"""Grants: what they allow, and that what comes of narrowing is never wider than either side."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tenants.grants import LEVELS, Grant, level_of
from gateway.patterns import fits, is_pattern, within
from skills_catalog.loader import SHIPPED, load_catalog
from skills_catalog.model import Skill

USERS = ("default", "ada", "bob")
CONNECTIONS = ("conn_1", "conn_2")


@cache
def skills() -> tuple[Skill, ...]:
    catalog = load_catalog([SHIPPED])
    return tuple(skill for integration in catalog.integrations.values() for skill in integration.skills.values())


def skill(name: str) -> Skill:
    return next(one for one in skills() if one.id == name)


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=3).map(tuple)


PATTERNS = some(("*", "github", "github.*", "github.list_*", "*.get_*", "github.create_issue", "*_issue*", "overten"))
GRANTS = st.builds(
    Grant,
    scopes=st.just(("*",)) | some(("github", "overten", "skycot")),
    level=st.sampled_from(LEVELS),
    allow=st.none() | PATTERNS,
    deny=PATTERNS,
    users=st.none() | some(USERS),
    connections=st.none() | some(CONNECTIONS),
    expires_at=st.none() | st.floats(1e9, 2e9),
)


@given(GRANTS, GRANTS)
def test_what_is_narrowed_allows_nothing_that_either_side_does_not(mine: Grant, asked: Grant) -> None:
    narrow = mine.narrow(asked)
    for side in (mine, asked):
        for user in USERS:
            assert not any(narrow.allows(one, user) and not side.allows(one, user) for one in skills())
        for connection in CONNECTIONS:
            assert side.allows_connection(connection) or not narrow.allows_connection(connection)
        if side.expires_at is not None:
            assert narrow.expires_at is not None and narrow.expires_at <= side.expires_at


@given(GRANTS)
def test_narrowing_by_itself_changes_nothing_that_is_allowed(grant: Grant) -> None:
    narrow = grant.narrow(grant)
    for user in USERS:
        assert [narrow.allows(one, user) for one in skills()] == [grant.allows(one, user) for one in skills()]


@given(GRANTS)
def test_a_grant_is_read_as_it_was_written(grant: Grant) -> None:
    assert Grant.from_json(grant.to_json(), expires_at=grant.expires_at) == grant


def test_a_grant_written_before_there_were_levels_means_what_it_meant() -> None:
    assert Grant.from_json({"scopes": ["github"]}) == Grant(scopes=("github",), level="full_access")


@pytest.mark.parametrize(
    ("action", "level"),
    [
        ("github.list_issues", "read_only"),
        ("github.create_issue", "read_write"),
        ("github.update_issue", "read_write"),
        ("overten.delete_image", "full_access"),
    ],
)
def test_the_effect_of_an_action_says_which_level_it_takes(action: str, level: str) -> None:
    assert level_of(skill(action)) == level
    for other in LEVELS:
        assert Grant(level=other).allows(skill(action), "default") is (LEVELS.index(other) >= LEVELS.index(level))


def test_deny_wins_over_allow() -> None:
    grant = Grant(allow=("github.*",), deny=("github.create_*",))
    assert grant.allows(skill("github.list_issues"), "default")
    assert not grant.allows(skill("github.create_issue"), "default")
    assert not grant.allows(skill("overten.list_runs"), "default")


@pytest.mark.parametrize(
    ("users", "default"),
    [(None, "default"), (("ada",), "ada"), (("ada", "default"), "default"), (("ada", "bob"), None), ((), None)],
)
def test_a_key_of_one_user_acts_for_that_one(users: tuple[str, ...] | None, default: str | None) -> None:
    assert Grant(users=users).default_user == default


@pytest.mark.parametrize(
    ("pattern", "covers", "not_this"),
    [
        ("github.create_issue", "github.create_issue", "github.create_issue_comment"),
        ("github", "github.create_issue", "github2.create_issue"),
        ("github.*", "github.create_issue", "gitlab.create_issue"),
        ("*", "github.create_issue", ""),
        ("*.get_*", "github.get_repo", "github.forget"),
        ("git*.create_*_comment", "github.create_issue_comment", "github.create_comment"),
        ("x.a*a", "x.aa", "x.a"),
    ],
)
def test_a_pattern_covers_what_it_says(pattern: str, covers: str, not_this: str) -> None:
    assert is_pattern(pattern)
    assert fits(covers, [pattern])
    if not_this:
        assert not fits(not_this, [pattern])


@pytest.mark.parametrize(
    ("inner", "outer", "is_within"),
    [
        ("github.create_issue", "github.*", True),
        ("github.list_*", "github.*", True),
        ("github", "git*", True),
        ("github.*", "github.list_*", False),
        ("*", "github.*", False),
        ("github.*", "*", True),
        ("*.get_*", "github.*", False),
    ],
)
def test_a_pattern_lies_within_another(inner: str, outer: str, is_within: bool) -> None:
    assert within(inner, [outer]) is is_within


def test_many_stars_take_no_longer_than_few() -> None:
    """A matcher that tries every split of the name would not come back."""
    assert not fits("a" * 128, ["*a" * 79 + "b"])


@pytest.mark.parametrize("text", ["", "a b", "GitHub.x", "github..x", ".x", "github.", "a.b.c", "x" * 161, None, 7])
def test_what_is_no_pattern_is_told(text: object) -> None:
    assert not is_pattern(text)
