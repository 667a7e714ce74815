from __future__ import annotations

from twisted.logger import capturedLogs

from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.disk import PROBE_SECONDS
from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.examples import SESSION, run, turn
from tests.sessions.test_sqlite import SqliteStoreCase


class DiskWatchTests(SqliteStoreCase):
    def fill(self, store: SqliteStore) -> None:
        """Let a write fail on a disk with no page left."""
        self.on_writer(store, "PRAGMA max_page_count = 1")  # as many as there are
        with self.assertRaises(StorageError):
            self.do(store.commit(turn("too-large", SESSION, "x" * 100_000)))

    def wait_for_a_probe(self) -> None:
        self.reactor.advance(PROBE_SECONDS)
        self.reactor.wait_for_one_call()

    def test_a_disk_that_takes_nothing_is_tried_until_it_does(self) -> None:
        store = self.opened()
        self.assertTrue(store.disk_works)
        with capturedLogs() as logged:
            self.fill(store)
            self.assertFalse(store.disk_works)
            for _ in range(3):
                self.wait_for_a_probe()
                self.assertFalse(store.disk_works)
            self.on_writer(store, "PRAGMA max_page_count = 1000000")
            self.wait_for_a_probe()
        self.assertTrue(store.disk_works)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        told = [event["log_format"].partition("{path} ")[2].partition(":")[0] for event in logged]
        self.assertEqual(told, ["cannot be written", "can be written again"])

    def test_what_small_writes_still_find_room_does_not_call_it_well(self) -> None:
        store = self.opened()
        self.fill(store)
        self.do(store.begin(run("small")))
        self.assertFalse(store.disk_works)

    def test_a_probe_leaves_nothing_behind(self) -> None:
        store = self.opened()
        tables = "SELECT count(*) FROM sqlite_schema"
        self.fill(store)
        self.on_writer(store, "PRAGMA max_page_count = 1000000")
        before = self.ask_outside(tables)
        self.wait_for_a_probe()
        self.assertEqual(self.ask_outside(tables), before)

    def test_what_is_not_the_disks_fault_changes_nothing(self) -> None:
        store = self.opened()
        with self.assertRaises(StorageError):
            self.do(store.commit(turn("run-1", SESSION, "\ud800")))
        self.on_writer(store, "PRAGMA max_page_count = 1000000")
        self.assertTrue(store.disk_works)

    def test_a_closed_store_tries_no_more(self) -> None:
        store = self.opened()
        self.fill(store)
        self.do(store.close())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
