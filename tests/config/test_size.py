from __future__ import annotations

from openclaw_twisted.config.size import size_bytes
from tests.config.cases import ParseCase


class SizeTests(ParseCase):
    def test_sizes(self) -> None:
        for written, expected in (
            ("500mb", 500 * 2**20),
            ("10 GB", 10 * 2**30),
            ("1.5k", 1536),
            ("2GiB", 2**31),
            ("7", 7),
            (7, 7),
            ("7b", 7),
            ("1t", 2**40),
        ):
            self.assertEqual(size_bytes(written), expected, written)
        for written in ("", "gb", "-1gb", "10 potatoes", "1e9", "80%", "1,5gb"):
            with self.assertRaises(ValueError):
                size_bytes(written)

    def test_maintenance(self) -> None:
        text = """{session: {maintenance: {
            maxDiskBytes: '2gb', highWaterBytes: 1000, resetArchiveRetention: %s,
        }}}"""
        for written, expected in (("false", False), ("'12h'", 43_200.0), ("2", 172_800.0)):
            maintenance = self.loaded(text % written).settings.session.maintenance
            self.assertEqual((maintenance.max_disk_bytes, maintenance.high_water_bytes), (2**31, 1000))
            self.assertEqual(maintenance.reset_archive_retention_seconds, expected)
        self.problem(
            "{session: {maintenance: {maxDiskBytes: 'much'}}}", "session.maintenance.maxDiskBytes", "size"
        )
        self.problem(
            "{session: {maintenance: {resetArchiveRetention: true}}}",
            "session.maintenance.resetArchiveRetention",
            "",
        )
