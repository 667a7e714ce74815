"""What each Claude model takes, read off its name.

The Messages API is one, but what it refuses changes with the model: how thinking is asked for and turned off,
whether sampling may be tuned, whether a tool may be forced. A model that is newer than this table is taken to
be like the newest; one with another name (other companies offer this API too) like the oldest, which is the
form that was copied.
https://platform.claude.com/docs/en/build-with-claude/thinking
https://platform.claude.com/docs/en/models/opus-5-5/migration-guide
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

__all__ = ["Claude", "claude"]

_NAME = re.compile(r"claude-(?:([a-z]+)-)?(\d+)(?:[-.](\d{1,2})(?!\d))?(?:-([a-z]+))?")
_UNVERSIONED = "claude-mythos-preview"


class Claude(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes.

    `adaptive`: it chooses how much to think, guided by one of `efforts`, in place of a budget. `off`: the
    kind of thinking that stands for none, None when that is what it does unasked, or never does
    (`always_thinks`). `forced`: a call of a tool can be demanded. `sampling`: temperature and top_p can be
    set. `schemas`: answers and tool calls can be held to a JSON schema. `continues`: a last turn of its own
    is a beginning that it goes on with.
    """

    adaptive: bool = False
    off: Literal["disabled", "between_tools"] | None = None
    always_thinks: bool = False
    forced: bool = True
    sampling: bool = True
    schemas: bool = False
    continues: bool = True
    efforts: tuple[str, ...] = ()


_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_OLDEST = Claude()


def claude(model: str) -> Claude:
    """Return what the model of this name takes, whatever its provider puts round the name."""
    name = model.lower()
    if _UNVERSIONED in name:
        return _newest("mythos", (5, 0))
    found = _NAME.search(name)
    if found is None:
        return _OLDEST
    family = found[1] or found[4] or ""
    version = (int(found[2]), int(found[3] or 0))
    if version >= (4, 7):
        return _newest(family, version)
    if version == (4, 6):
        return Claude(adaptive=True, schemas=True, continues=False, efforts=("low", "medium", "high", "max"))
    return Claude(schemas=version >= (4, 5))


def _newest(family: str, version: tuple[int, int]) -> Claude:
    off: Literal["disabled", "between_tools"] | None = None
    always_thinks = False
    if version >= (5, 0):
        if family == "sonnet" and version > (5, 0):
            off = "between_tools"
        elif family in {"haiku", "sonnet"} or (family, version) == ("opus", (5, 0)):
            off = "disabled"
        else:
            always_thinks = True
    return Claude(
        adaptive=True,
        off=off,
        always_thinks=always_thinks,
        forced=version <= (5, 0) or family == "haiku",
        sampling=False,
        schemas=True,
        continues=False,
        efforts=_EFFORTS,
    )
