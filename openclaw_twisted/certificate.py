"""The certificate that the gateway shows to clients: read from its files, and again when it was renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.logger import Logger
from zope.interface import implementer

from openclaw_twisted.config.settings import TlsSettings
from openclaw_twisted.errors import ConfigError, Problem

__all__ = ["Certificate"]

_log = Logger()


@implementer(IOpenSSLContextFactory)
class Certificate:
    """What `gateway.tls` names: a certificate, its chain and its key, the same for all who connect.

    Raises `ConfigError` for files that cannot be used.
    """

    def __init__(self, tls: TlsSettings) -> None:
        self.files = _files(tls)
        self._pem, self._options = _load(self.files)

    def getContext(self) -> Any:  # noqa: N802 - Twisted's name; it asks for each connection
        """Return what a connection is encrypted by."""
        return self._options.getContext()

    def read_again(self) -> None:
        """Show what the files hold now to whoever connects next; files that cannot be used change nothing."""
        try:
            pem, options = _load(self.files)
        except ConfigError as error:
            (problem,) = error.problems
            _log.error("the certificate that was in use stays in use: {problem}", problem=str(problem))
            return
        if pem != self._pem:
            self._pem, self._options = pem, options
            _log.info("the certificate was read again")


def _files(tls: TlsSettings) -> tuple[Path, Path]:
    problems = [
        Problem(f"gateway.tls.{key}", "is needed when gateway.tls.enabled is true. Name a PEM file.")
        for key, path in (("certPath", tls.cert_path), ("keyPath", tls.key_path))
        if path is None
    ]
    if problems:
        raise ConfigError("gateway.tls", tuple(problems))
    return Path(tls.cert_path or "").expanduser(), Path(tls.key_path or "").expanduser()


def _load(files: tuple[Path, Path]) -> tuple[list[bytes], Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from OpenSSL.SSL import Error as SSLError
    from twisted.internet.ssl import CertificateOptions

    try:
        pem = [file.read_bytes() for file in files]
        # Twisted's annotations still name pyOpenSSL's objects, which pyOpenSSL itself deprecates.
        key: Any = load_pem_private_key(pem[1], password=None)
        certificates: list[Any] = x509.load_pem_x509_certificates(pem[0])
        options = CertificateOptions(
            privateKey=key, certificate=certificates[0], extraCertChain=certificates[1:]
        )
        options.getContext()  # fails here, and not at the first connection, if key and certificate differ
    except (OSError, SSLError, TypeError, ValueError) as error:
        message = f"the certificate and key cannot be used ({error}). Check both PEM files."
        raise ConfigError("gateway.tls", (Problem("gateway.tls", message),)) from error
    return pem, options
