"""How host names become addresses: in threads of their own, each name once at a time."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

__all__ = ["Lookups", "look_names_up_apart"]

THREADS = 10


def look_names_up_apart(reactor: Any) -> None:
    """Have the reactor look names up where nothing else is kept waiting.

    A name server that does not answer holds a thread for many seconds. The reactor's few threads have other
    work: without one no agent's prompt is read, and no agent answers.
    """
    threads = _Threads(0, THREADS, "names")
    threads.start()
    reactor.installNameResolver(Lookups(GAIResolver(reactor, lambda: threads)))


@implementer(IHostnameResolver)
class Lookups:
    """A resolver that asks another one: once for all who want the same at the same time.

    Who asks again for a name that hangs would otherwise take thread after thread, until no other name can be
    looked up either.
    """

    def __init__(self, resolver: IHostnameResolver) -> None:
        self._resolver = resolver
        self._under_way: dict[object, _Lookup] = {}

    def resolveHostName(  # noqa: N802 - the interface's name, like those of the arguments
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Tell the receiver, when all are known, the addresses of a name."""
        kinds = None if addressTypes is None else tuple(addressTypes)
        asked = (hostName, portNumber, kinds, transportSemantics)
        lookup = self._under_way.get(asked)
        if lookup is not None:
            return lookup.join(resolutionReceiver)
        lookup = self._under_way[asked] = _Lookup(hostName, lambda: self._under_way.pop(asked))
        resolution = lookup.join(resolutionReceiver)
        self._resolver.resolveHostName(lookup, hostName, portNumber, addressTypes, transportSemantics)
        return resolution


@implementer(IResolutionReceiver, IHostResolution)
class _Lookup:
    """One name that is being looked up, and who waits for it."""

    def __init__(self, name: str, forget: Any) -> None:
        self.name = name
        self._forget = forget
        self._waiting: list[IResolutionReceiver] = []
        self._addresses: list[IAddress] = []

    def join(self, receiver: IResolutionReceiver) -> IHostResolution:
        self._waiting.append(receiver)
        receiver.resolutionBegan(self)
        return self

    def cancel(self) -> None:
        """Do nothing: what a thread asks the system for cannot be stopped, and others may wait for it."""

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """Do nothing: everybody who waits was told by `join`."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self._forget()
        for receiver in self._waiting:
            for address in self._addresses:
                receiver.addressResolved(address)
            receiver.resolutionComplete()


class _Thread(Thread):
    """One that the end of the process does not wait for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _Threads(ThreadPool):
    threadFactory = _Thread  # noqa: N815 - Twisted's name
