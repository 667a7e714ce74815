from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.certificate import Certificate
from openclaw_twisted.config.settings import TlsSettings
from openclaw_twisted.errors import ConfigError
from tests.certificates import certificate


def settings_of(cert: Path, key: Path) -> TlsSettings:
    return TlsSettings(enabled=True, cert_path=str(cert), key_path=str(key))


class CertificateTests(SynchronousTestCase):
    def test_files_that_cannot_be_used(self) -> None:
        cert, key = certificate(Path(self.mktemp()))
        _, other = certificate(Path(self.mktemp()))
        table = [
            (TlsSettings(enabled=True), "certPath"),
            (settings_of(cert, Path("/nonexistent")), "cannot be used"),
            (settings_of(key, key), "cannot be used"),
            (settings_of(cert, cert), "cannot be used"),
            (settings_of(cert, other), "cannot be used"),
        ]
        for tls, said in table:
            with self.assertRaises(ConfigError) as caught:
                Certificate(tls)
            self.assertIn(said, str(caught.exception))

    def test_a_renewed_one_is_shown_once_both_files_fit(self) -> None:
        folder = Path(self.mktemp())
        cert, key = certificate(folder)
        shown = Certificate(settings_of(cert, key))
        first = shown.getContext()
        shown.read_again()
        self.assertIs(shown.getContext(), first)
        new_cert, _ = certificate(Path(self.mktemp()))
        old = cert.read_bytes()
        new_cert.replace(cert)
        shown.read_again()  # its key is not there yet
        self.assertIs(shown.getContext(), first)
        cert.write_bytes(old)
        certificate(folder)
        shown.read_again()
        self.assertIsNot(shown.getContext(), first)
