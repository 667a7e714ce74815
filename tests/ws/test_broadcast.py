"""Runs of every door, as the clients that are logged in hear of them."""

from __future__ import annotations

from typing import Any

from openclaw_twisted.events import Finished, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request
from openclaw_twisted.ws.broadcast import Broadcast
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.outbox import Outbox
from openclaw_twisted.ws.relay import DELTA_SECONDS
from tests.ws.rig import NOW, MemoryClient, RigTestCase, client_of


class BroadcastTestCase(RigTestCase):
    def setUp(self):
        self.door = self.rig()

    def start(self, *script: Any, key: str | None = None) -> Any:
        """Start a run as another door does."""
        self.door.runs.provider.add(script)
        run = self.door.runs.runner.start(run_request(run_id="r", key=key))
        run.result().addErrback(lambda _: None)
        return run

    def states(self, client: MemoryClient) -> list[str]:
        return [payload["state"] for payload in client.heard("chat")]


class AudienceTests(BroadcastTestCase):
    def test_everybody_who_may_read_hears_the_runs_of_every_door(self):
        reader = self.door.client(scopes=["operator.read"])
        writer = self.door.client(3, scopes=["operator.write"])
        nobody = self.door.client(scopes=["operator.approvals"])
        self.start(*reply("Hello"))
        for client in (reader, writer):
            self.assertEqual(self.states(client), ["delta", "final"])
        nobody.frames()
        self.assertEqual(nobody.events, [])

    def test_events_are_numbered_per_connection(self):
        first = self.door.client()
        self.start(*reply("a"))
        second = self.door.client(3)
        self.start(*reply("b"))
        for client, count in ((first, 10), (second, 5)):
            client.frames()
            self.assertEqual([event["seq"] for event in client.events], list(range(1, count + 1)))

    def test_tools_are_for_those_who_show_them(self):
        plain, shows = self.door.client(), self.door.client(caps=["tool-events"])
        self.start([ToolCallDelta(0, "c", "look", "{}")], [Finished("tool_calls")])
        for client in (plain, shows):
            client.frames()
        streams = [event["payload"].get("stream") for event in shows.events]
        self.assertEqual(streams, ["lifecycle", "tool", "lifecycle", None])
        self.assertEqual([event.get("seq") for event in shows.events], [1, None, 2, 3])
        self.assertEqual(len(plain.events), 3)

    def test_nothing_is_made_while_nobody_listens(self):
        pause = Pause()
        run = self.start([TextDelta("a")], pause, [TextDelta("b")], [Finished("stop")])
        feed = run.feed
        self.assertEqual(feed._listeners, {})
        client = self.door.client()
        self.assertEqual(len(feed._listeners), 1)
        client.hang_up()
        self.assertEqual(feed._listeners, {})
        late = self.door.client()
        pause.go_on()
        self.assertEqual(self.states(late), ["delta", "final"])
        self.assertEqual(self.door.door._broadcast._relays, {})

    def test_who_only_watches_health_costs_no_run_anything(self):
        self.door.client(scopes=[])
        run = self.start([TextDelta("a")], Pause())
        self.assertEqual(run.feed._listeners, {})


class OneRunTests(BroadcastTestCase):
    def test_a_run_of_another_door_is_stopped_here(self):
        client = self.door.client()
        run = self.start([TextDelta("so far")], Pause(), key="a")
        client.request("1", "chat.abort", sessionKey="a", runId="r")
        self.assertEqual(client.frame()["payload"]["runIds"], ["r"])
        self.assertEqual(run.status, "cancelled")
        self.assertEqual(self.states(client), ["delta", "aborted"])

    def test_a_run_waits_for_one_of_another_door_in_its_session(self):
        client = self.door.client()
        pause = Pause()
        self.start(pause, *reply("first"), key="a")
        self.door.runs.provider.add(reply("second"))
        client.request("2", "agent", message="hi", idempotencyKey="k", sessionKey="a")
        self.assertEqual(client.frame()["payload"]["status"], "accepted")
        self.assertEqual(len(self.door.runs.provider.requests), 1)
        pause.go_on()
        self.assertEqual(client.frame()["payload"]["result"]["payloads"][0]["text"], "second")
        said = [message.content for message in self.door.runs.provider.requests[1].messages]
        self.assertEqual(said, ["hi", "first", "hi"])


class SlowTests(BroadcastTestCase):
    def setUp(self):
        self.door = self.rig(gateway={"limits": {"softBufferBytes": 2000, "maxBufferedBytes": 100_000}})

    def talk(self, pieces: int) -> None:
        """Have a run say so many pieces, each told on its own."""
        pauses = [Pause() for _ in range(pieces)]
        script = [step for pause in pauses for step in ([TextDelta("x" * 100)], pause)]
        self.start(*script, [Finished("stop")])
        for pause in pauses:
            self.door.clock.advance(DELTA_SECONDS)
            pause.go_on()

    def test_who_does_not_read_holds_up_nobody_and_hears_the_end_whole(self):
        slow, quick = self.door.client(), self.door.client(3)
        slow.wire.producer.pauseProducing()
        self.talk(50)
        self.assertEqual(len(quick.heard("chat")), 51)
        self.assertEqual(slow.frames(), [])
        slow.wire.producer.resumeProducing()
        chat = slow.heard("chat")
        self.assertLess(len(chat), 20)
        self.assertEqual(chat[-2]["replace"], True)
        self.assertEqual(chat[-2]["deltaText"], "x" * 5000)
        self.assertEqual(chat[-1]["state"], "final")
        self.assertEqual([event["seq"] for event in slow.events], list(range(1, len(slow.events) + 1)))
        self.assertIsNone(slow.outcome)

    def test_every_client_of_a_version_gets_the_same_bytes(self):
        clients = [self.door.client() for _ in range(3)]
        self.start(*reply("Hello"))
        first, *others = [client.wire.value() for client in clients]
        self.assertEqual(first.count(b'"Hello"'), 5)
        self.assertEqual(others, [first, first])

    def test_a_thousand_clients_cost_one_encoding_for_each_version(self):
        shaped: list[bool] = []
        frames: list[bytes] = []

        def shape(speaks_4: bool) -> dict[str, bool]:
            shaped.append(speaks_4)
            return {"new": speaks_4}

        broadcast = Broadcast(self.door.clock, self.door.runs.runner, lambda: NOW)
        crowd = [Outbox(frames.append, self.fail, soft_bytes=1, hard_bytes=1000) for _ in range(1000)]
        crowd[7].pause()
        for number, outbox in enumerate(crowd):
            broadcast.join(outbox, client_of(3 + number % 2))
        broadcast.tell(Event("tick", shape))
        self.assertEqual(sorted(shaped), [False, True])
        self.assertEqual(len(frames), 999)
        self.assertEqual(len(set(frames)), 2)
        for outbox in crowd:
            broadcast.leave(outbox)
