"""How an agent's models are asked to answer, unless the caller says otherwise: the `params` settings."""

from __future__ import annotations

from openclaw_twisted.config.sampling import with_defaults

__all__ = ["with_defaults"]
