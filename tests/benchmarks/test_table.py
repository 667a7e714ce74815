from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.programs import program


class Rows(SynchronousTestCase):
    def setUp(self):
        self.row = program("table").Row

    def test_the_cost_of_a_request_in_yardsticks(self):
        row = self.row(name="plain", cpu_ms=1.5)
        row.measure(self.row(name="plain", cpu_ms=0.25), self.row(name="plain", cpu_ms=1.0))
        self.assertEqual((row.times_answer, row.times_relay), (6.0, 1.5))
        self.assertTrue(row.line("gateway").endswith("6.00        1.50"))

    def test_a_stream_is_measured_by_its_chunks(self):
        row = self.row(name="stream", cpu_ms=9.0, cpu_us_per_chunk=30.0)
        row.measure(None, self.row(name="stream", cpu_ms=1.0, cpu_us_per_chunk=20.0))
        self.assertEqual((row.times_answer, row.times_relay), (None, 1.5))

    def test_memory(self):
        row = self.row(name="held", kib_each=30.0)
        row.measure(None, self.row(name="held", kib_each=20.0))
        self.assertEqual(row.times_relay, 1.5)

    def test_what_was_not_measured_has_no_multiple(self):
        row = self.row(name="plain", per_second=9.0)
        row.measure(self.row(name="plain", cpu_ms=0.25), self.row(name="plain", cpu_ms=0.0))
        self.assertEqual((row.times_answer, row.times_relay), (None, None))
