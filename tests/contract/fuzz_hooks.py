"""What schemathesis cannot know: which cursors are of our making."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from gateway.store.cursors import cursor_of

schemathesis.openapi.format("cursor", st.sampled_from([cursor_of(1_795_348_800_000, "ent_0193"), cursor_of(0, "a")]))
