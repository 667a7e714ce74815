from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import ClientAddress, TrustedProxies, client_address
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.config.settings import RateLimitSettings
from openclaw_twisted.errors import RateLimitedError

SETTINGS = RateLimitSettings()


def client(peer: str, **fields: str) -> ClientAddress:
    headers = Headers({name: [value] for name, value in fields.items()})
    return client_address(peer, headers, TrustedProxies())


class FailureLimiterTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.limiter = FailureLimiter(SETTINGS, self.clock.seconds)
        self.them = client("203.0.113.9")

    def locked(self, who: ClientAddress, scope: str = "s") -> bool:
        try:
            self.limiter.check(scope, who)
        except RateLimitedError:
            return True
        return False

    def fail_times(self, count: int, who: ClientAddress, *, every: float = 0.0) -> int:
        """Fail up to `count` times, as the gate does, and return how many were looked at."""
        looked_at = 0
        for _ in range(count):
            if not self.locked(who):
                self.limiter.record("s", who)
                looked_at += 1
            self.clock.advance(every)
        return looked_at

    def test_ten_failures_lock_out(self):
        self.assertEqual(self.fail_times(9, self.them), 9)
        self.assertFalse(self.locked(self.them))
        self.assertEqual(self.fail_times(1000, self.them), 1)
        self.assertTrue(self.locked(self.them))

    def test_other_addresses_and_other_scopes_are_free(self):
        self.fail_times(10, self.them)
        self.assertFalse(self.locked(client("203.0.113.10")))
        self.assertFalse(self.locked(self.them, "device-token"))

    def test_retry_after_is_what_the_sdks_wait_for_and_then_the_truth(self):
        self.fail_times(10, self.them)
        error = self.assertRaises(RateLimitedError, self.limiter.check, "s", self.them)
        self.assertEqual(error.retry_after_seconds, 120.0)
        self.clock.advance(250)
        error = self.assertRaises(RateLimitedError, self.limiter.check, "s", self.them)
        self.assertEqual(error.retry_after_seconds, 50.0)

    def test_the_lockout_ends_and_leaves_nothing(self):
        self.fail_times(10, self.them)
        self.clock.advance(299.9)
        self.assertTrue(self.locked(self.them))
        self.clock.advance(0.2)
        self.assertFalse(self.locked(self.them))
        self.assertEqual(len(self.limiter), 0)
        self.assertEqual(self.fail_times(20, self.them), 10)

    def test_no_window_of_a_minute_holds_more_than_ten(self):
        """Nine at the end of one minute and nine at the start of the next are too many together."""
        self.limiter.record("s", self.them)
        self.clock.advance(59)
        self.fail_times(8, self.them)
        self.clock.advance(1.5)  # the first one has left the window
        self.assertEqual(self.fail_times(10, self.them), 2)

    def test_slow_failures_never_lock_out(self):
        self.assertEqual(self.fail_times(50, self.them, every=6.7), 50)

    def test_success_forgives(self):
        self.fail_times(9, self.them)
        self.limiter.forgive("s", self.them)
        self.assertEqual(len(self.limiter), 0)
        self.assertEqual(self.fail_times(9, self.them), 9)

    def test_ipv6_hosts_cannot_roam_in_their_network(self):
        looked_at = sum(self.fail_times(1, client(f"2001:db8:1:2::{n:x}")) for n in range(1, 100))
        self.assertEqual(looked_at, 10)
        self.assertFalse(self.locked(client("2001:db8:1:3::1")))

    def test_this_machine_is_exempt_but_its_browser_and_its_proxy_are_not(self):
        self.assertEqual(self.fail_times(100, client("127.0.0.1")), 100)
        self.assertEqual(self.fail_times(100, client("127.0.0.1", origin="http://evil.example")), 10)
        self.assertEqual(self.fail_times(100, client("127.0.0.7", cookie="a=b")), 10)
        self.assertEqual(self.fail_times(100, client("127.0.0.8", **{"x-forwarded-for": "127.0.0.1"})), 10)

    def test_this_machine_need_not_be_exempt(self):
        self.limiter = FailureLimiter(RateLimitSettings(exempt_loopback=False), self.clock.seconds)
        self.assertEqual(self.fail_times(100, client("127.0.0.1")), 10)

    def test_the_table_is_bounded_and_forgets_who_failed_longest_ago(self):
        self.limiter = FailureLimiter(SETTINGS, self.clock.seconds, max_entries=3)
        for last in (1, 2, 3):
            self.fail_times(10, client(f"203.0.113.{last}"))
        self.limiter.record("s", client("203.0.113.4"))
        self.assertEqual(len(self.limiter), 3)
        self.assertFalse(self.locked(client("203.0.113.1")))
        self.assertTrue(self.locked(client("203.0.113.2")))

    def test_who_fails_again_is_remembered_longer(self):
        self.limiter = FailureLimiter(SETTINGS, self.clock.seconds, max_entries=2)
        self.fail_times(9, self.them)
        self.limiter.record("s", client("203.0.113.1"))
        self.limiter.record("s", self.them)
        self.limiter.record("s", client("203.0.113.2"))
        self.assertTrue(self.locked(self.them))

    def test_a_lockout_is_logged_once_without_a_secret(self):
        with capturedLogs() as events:
            self.fail_times(100, self.them)
        self.assertEqual([(event["network"], event["attempts"]) for event in events], [("203.0.113.9", 10)])
