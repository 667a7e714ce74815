from __future__ import annotations

from dataclasses import replace

from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.auth.scopes import needed
from openclaw_twisted.config.settings import AuthSettings, RateLimitSettings, Secret, TrustedProxySettings
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.ws.door import AUTH_CHANGED_CLOSE, GOODBYE_SECONDS
from openclaw_twisted.ws.event_payloads import EVENTS
from openclaw_twisted.ws.protocol import CLOSE_TIMEOUT_SECONDS
from tests.ws.rig import CLOSE, RigTestCase, connect_params, loaded_of, masked


class DoorTests(RigTestCase):
    def test_every_method_has_a_scope(self):
        methods = self.rig().door.methods
        self.assertIn("agent", methods)
        open_to_all = [method for method in methods if needed(method) is None]
        self.assertEqual(open_to_all, ["health"])

    def test_hello_names_the_methods_and_events_that_there_are(self):
        door = self.rig()
        client = door.newcomer()
        client.request("1", "connect", **connect_params())
        features = client.frame()["payload"]["features"]
        self.assertEqual(features["methods"], list(door.door.methods))
        self.assertEqual(features["events"], [event.name for event in EVENTS])

    def test_connections_are_counted(self):
        door = self.rig()
        client, _newcomer = door.client(), door.newcomer()
        self.assertEqual(door.door.connections, 2)
        client.hang_up()
        self.assertEqual(door.door.connections, 1)


class TakeTests(RigTestCase):
    def test_methods_go_by_the_newest_settings_before_and_after_somebody_came(self):
        door = self.rig()
        client = None
        for trigger in ("/first", "/second"):
            loaded = loaded_of(session={"resetTriggers": [trigger]})
            door.door.take(replace(door.behind, loaded=loaded), door.rules)
            client = client or door.client()
            client.request(trigger, "config.get")
            config = client.frame()["payload"]["config"]
            self.assertEqual(config["session"]["resetTriggers"], [trigger])

    def test_a_socket_that_was_open_before_the_secret_changed_does_not_take_the_old_one(self):
        door, other = self.rig(), "another-token-for-tests"
        late, honest = door.newcomer(), door.newcomer()
        gate = Gate(
            AuthSettings(token=Secret(other)), FailureLimiter(RateLimitSettings(), door.clock.seconds)
        )
        door.door.take(door.behind, replace(door.rules, gate=gate))
        door.door.secret_changed(gate.secret_digest)
        late.request("1", "connect", **connect_params())
        self.assertEqual(late.frame()["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH")
        honest.request("1", "connect", **connect_params(auth={"token": other}))
        self.assertTrue(honest.frame()["ok"])

    def test_nobody_stays_in_by_the_old_rules_of_a_trusted_proxy(self):
        proxy = {"userHeader": "x-user", "allowUsers": ["ann", "bob"]}
        auth = {"mode": "trusted-proxy", "trustedProxy": proxy}
        door = self.rig(gateway={"auth": auth, "trustedProxies": ["10.0.0.1"]})
        user, newcomer = (door.newcomer("10.0.0.1", x_user=name) for name in ("ann", "bob"))
        user.request("1", "connect", **connect_params(auth={}))
        self.assertTrue(user.frame()["ok"])
        limiter = FailureLimiter(RateLimitSettings(), door.clock.seconds)
        for listed, outcome in (("ann", "bob"), None), (("ann",), (AUTH_CHANGED_CLOSE, "auth changed")):
            proxy_settings = TrustedProxySettings(user_header="x-user", allow_users=listed)
            settings = AuthSettings(mode="trusted-proxy", trusted_proxy=proxy_settings)
            gate = Gate(settings, limiter, trusted_proxies=door.rules.proxies)
            door.door.take(door.behind, replace(door.rules, gate=gate))
            for client in (user, newcomer):
                client.frames()
                self.assertEqual(client.outcome, outcome)


class CloseAllTests(RigTestCase):
    def setUp(self):
        self.door = self.rig()

    def test_clients_are_told_and_waited_for(self):
        old, new, newcomer = self.door.client(3), self.door.client(4), self.door.newcomer()
        done = self.door.door.close_all()
        told = {"reason": "gateway stopping"}
        self.assertEqual(old.frame()["payload"], told | {"restartExpectedMs": None})
        self.assertEqual(new.frame(), {"type": "event", "event": "shutdown", "payload": told, "seq": 1})
        self.assertEqual(newcomer.frames(), [])
        for client in (old, new, newcomer):
            self.assertEqual(client.outcome, (1012, "service restart"))
        for client in (old, new):
            self.assertNoResult(done)
            client.raw(masked(b"\x03\xf4", CLOSE))
            self.assertTrue(client.gone)
        self.assertNoResult(done)
        self.door.clock.advance(CLOSE_TIMEOUT_SECONDS)
        self.successResultOf(done)
        self.assertTrue(newcomer.gone)

    def test_who_does_not_answer_is_hung_up_on(self):
        client = self.door.client()
        done = self.door.door.close_all()
        self.door.clock.advance(GOODBYE_SECONDS - 0.1)
        self.assertNoResult(done)
        self.door.clock.advance(0.1)
        self.assertTrue(client.wire.aborted)
        self.successResultOf(done)

    def test_without_clients_there_is_nothing_to_wait_for(self):
        self.door.client().hang_up()
        self.successResultOf(self.door.door.close_all())

    def test_nobody_new_is_let_in(self):
        self.door.door.close_all()
        self.assertIn("HTTP/1.1 503", self.door.visitor().upgrade())

    def test_what_a_client_has_not_read_yet_comes_first(self):
        client = self.door.client()
        client.wire.producer.pauseProducing()
        client.request("1", "health")
        self.door.door.close_all(4000, "bye")
        self.assertEqual([frame.get("id") for frame in client.frames()], ["1", None])
        self.assertEqual(client.outcome, (4000, "bye"))

    def test_nothing_is_heard_from_those_who_are_being_closed(self):
        client, newcomer = self.door.client(), self.door.newcomer()
        self.door.door.close_all()
        client.frames()
        client.request("1", "agent", message="hi", idempotencyKey="k")
        newcomer.request("1", "connect", **connect_params())
        self.assertEqual(client.frames() + newcomer.frames(), [])
        self.assertEqual(self.door.runs.provider.requests, [])

    def test_a_run_that_ends_meanwhile_disturbs_nothing(self):
        pause = Pause()
        self.door.runs.provider.add([pause, *reply("hi")])
        client = self.door.client()
        client.request("1", "agent", message="hi", idempotencyKey="k")
        client.frames()
        self.door.door.close_all()
        self.assertEqual(client.frame()["event"], "shutdown")
        pause.go_on()
        self.assertEqual(client.frames(), [])

    def test_a_client_that_closes_and_then_reads_nothing_is_dropped_all_the_same(self):
        client = self.door.client()
        client.wire.stuck = True
        client.raw(masked(b"\x03\xe8", CLOSE))
        self.assertFalse(client.gone)
        done = self.door.door.close_all()
        self.door.clock.advance(CLOSE_TIMEOUT_SECONDS)
        self.assertTrue(client.wire.aborted)
        self.successResultOf(done)


class CloseWhereTests(RigTestCase):
    def test_those_who_came_in_with_a_secret_that_has_changed(self):
        door = self.rig()
        old, new = door.client(scopes=["operator.read"]), door.client()
        closed = door.door.close_where(
            lambda client: client.scopes == {"operator.read"}, AUTH_CHANGED_CLOSE, "auth changed"
        )
        old.frames()
        new.frames()
        self.assertEqual((closed, old.outcome, new.outcome), (1, (4001, "auth changed"), None))
