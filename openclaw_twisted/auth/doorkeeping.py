"""Everything a door needs to decide who may knock, come in and from where."""

from __future__ import annotations

from dataclasses import dataclass

from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.gate import Gate

__all__ = ["Doorkeeping"]


@dataclass(frozen=True, kw_only=True)
class Doorkeeping:
    """The rules of one door: its host names, its web origins, the proxies it trusts, and the gate."""

    hosts: HostRule
    origins: OriginRule
    proxies: TrustedProxies
    gate: Gate
