from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ordered_id import new_digits, new_id


class NewIdTests(SynchronousTestCase):
    def test_it_is_a_uuid_of_version_7(self) -> None:
        for _ in range(1000):
            text = new_id()
            made = uuid.UUID(text)
            self.assertEqual((made.version, made.variant, str(made)), (7, uuid.RFC_4122, text))

    def test_it_begins_with_the_time(self) -> None:
        before = time.time_ns() // 1_000_000
        milliseconds = uuid.UUID(new_id()).int >> 80
        self.assertTrue(before <= milliseconds <= time.time_ns() // 1_000_000)

    def test_everything_else_is_random(self) -> None:
        rest = [uuid.UUID(new_id()).int & (1 << 80) - 1 for _ in range(1000)]
        always, ever = rest[0], 0
        for bits in rest:
            always &= bits
            ever |= bits
        self.assertEqual(len(set(rest)), 1000)
        # Four bits tell the version and two the variant, which is binary 10.
        self.assertEqual((always, ever), (7 << 76 | 2 << 62, (1 << 80) - 1 & ~(8 << 76 | 1 << 62)))

    def test_threads_get_different_ones(self) -> None:
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: new_id(), range(20_000)))
        self.assertEqual(len(set(made)), len(made))

    def test_the_digits_alone(self) -> None:
        digits = new_digits()
        self.assertEqual((len(digits), uuid.UUID(digits).version), (32, 7))
