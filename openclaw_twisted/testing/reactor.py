"""The reactor that the tests run on."""

from __future__ import annotations

from typing import Any

__all__ = ["real_reactor"]


def real_reactor() -> Any:
    """Return the reactor that the tests run on, for those that use real sockets."""
    from twisted.internet import reactor  # noqa: TID251 - the one place where tests get it

    return reactor
