from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.errors import ModelNotReadyError, UpstreamError
from openclaw_twisted.providers.scripted import Pause, Scripted, reply
from tests.http.door import HELLO, DoorCase, text_of

KEY = {"idempotency-key": "k-1"}


class Fetching(Scripted):
    """A provider whose model is not always there."""

    ready = True

    def check(self, model: str) -> None:
        if not self.ready:
            raise ModelNotReadyError("The model is being fetched.")


class Repeated(DoorCase):
    def asked(self) -> int:
        return len(self.door.runs.provider.requests)

    async def test_a_repetition_gets_the_answer_of_the_first(self) -> None:
        self.open(reply("one"), reply("two"))
        first, second = await self.chat(KEY), await self.chat(KEY)
        self.assertEqual(self.asked(), 1)
        self.assertEqual(first.json["choices"], second.json["choices"])
        for header in ("x-openclaw-run-id", "x-openclaw-session-key"):
            self.assertEqual(first.headers[header], second.headers[header])

    async def test_a_repeated_stream_is_told_again_from_its_beginning(self) -> None:
        self.open(reply("one ", "two"), reply("another"))
        for _ in range(2):
            _, events = await self.stream(KEY)
            heard = await events.rest()
            self.assertEqual((text_of(heard), heard[-1]), ("one two", "data: [DONE]"))
        self.assertEqual(self.asked(), 1)

    async def test_a_repetition_joins_a_run_that_goes_on_when_the_first_is_gone(self) -> None:
        pause = Pause()
        self.open([pause, *reply("ok")])
        _, first = await self.stream(KEY)
        await first.queue.get()
        _, second = await self.stream(KEY)
        await second.queue.get()
        assert first.transport is not None
        first.transport.loseConnection()
        await self.until(lambda: self.door.connections == 1)
        self.assertFalse(pause.cancelled)
        pause.go_on()
        self.assertEqual(text_of(await second.rest()), "ok")
        self.assertEqual(self.asked(), 1)

    async def test_when_all_are_gone_the_run_ends(self) -> None:
        pause = Pause()
        self.open([pause])
        asking = [Deferred.fromCoroutine(self.chat(KEY)) for _ in range(2)]
        await self.until(lambda: self.door.connections == 2 and pause.reached)
        for one in asking:
            one.addErrback(lambda _failure: None)
            one.cancel()
        await self.until(lambda: pause.cancelled)

    async def test_another_body_under_the_same_key_is_refused(self) -> None:
        self.open(reply("one"), reply("two"))
        await self.chat(KEY)
        for headers, more in ((KEY, {"temperature": 0}), (KEY | {"x-openclaw-session-key": "other"}, {})):
            answer = await self.chat(headers, **more)
            self.assertEqual(answer.status, 400)
            self.assertIn("Idempotency-Key", answer.error["message"])
        self.assertEqual(self.asked(), 1)

    async def test_the_same_body_at_another_address_is_another_request(self) -> None:
        self.open(reply("one"), reply("two"), reply("three"))
        self.assertEqual((await self.chat(KEY, input="hi")).status, 200)
        both = (await self.ask("POST", "/v1/responses", headers=KEY, body=HELLO | {"input": "hi"})).error
        self.assertIn("Idempotency-Key", both["message"])

    async def test_a_failure_is_tried_again(self) -> None:
        self.open([UpstreamError("no")], reply("ok"))
        self.assertEqual([(await self.chat(KEY)).status for _ in range(2)], [502, 200])

    async def test_openais_clients_number_their_retries(self) -> None:
        self.open(reply("one"), reply("two"))
        counts = ["0", "1", "0", "2"]
        texts = [
            (await self.chat({"x-stainless-retry-count": count})).json["choices"][0]["message"]["content"]
            for count in counts
        ]
        self.assertEqual(texts, ["one", "one", "two", "two"])

    async def test_a_question_asked_once_more_does_not_get_the_answer_before(self) -> None:
        provider = Fetching(reply("one"), reply("two"))
        self.open(provider=provider)
        await self.chat({"x-stainless-retry-count": "0"})
        provider.ready = False
        self.assertEqual((await self.chat({"x-stainless-retry-count": "0"})).status, 503)
        provider.ready = True
        answer = await self.chat({"x-stainless-retry-count": "1"})
        self.assertEqual(answer.json["choices"][0]["message"]["content"], "two")

    async def test_an_oversized_key_is_refused(self) -> None:
        self.open()
        self.assertEqual((await self.chat({"idempotency-key": "k" * 256})).status, 400)


class Restarted(DoorCase):
    """Another process, with the store of the one before."""

    SESSION = KEY | {"x-openclaw-session-key": "main"}

    async def restart(self, *scripts: Any) -> None:
        runs = self.door.runs
        await self.door.stop()
        await self.until(lambda: not runs.runner.active())
        store = runs.store
        await store.close()
        self.open(*scripts, store=store)

    def asked(self) -> int:
        return len(self.door.runs.provider.requests)

    async def test_a_finished_request_gets_its_answer_again(self) -> None:
        for headers in (KEY, self.SESSION):
            self.open(reply("one"))
            before = await self.chat(headers)
            await self.restart(reply("never"))
            for _ in range(2):
                after = await self.chat(headers)
                self.assertEqual(after.json["choices"], before.json["choices"])
                for header in ("x-openclaw-run-id", "x-openclaw-session-key"):
                    self.assertEqual(after.headers[header], before.headers[header])
            _, events = await self.stream(headers | {"idempotency-key": "k-2"})
            await events.rest()
            self.assertEqual(self.asked(), 1)
            await self.door.stop()

    async def test_a_stream_is_told_again(self) -> None:
        self.open(reply("one ", "two"))
        _, events = await self.stream(KEY)
        await events.rest()
        await self.restart()
        _, events = await self.stream(KEY)
        heard = await events.rest()
        self.assertEqual((text_of(heard), heard[-1]), ("one two", "data: [DONE]"))

    async def test_what_the_restart_cut_off_is_told_to_whoever_named_it(self) -> None:
        pause = Pause()
        self.open([pause])
        asking = Deferred.fromCoroutine(self.chat(self.SESSION))
        asking.addErrback(lambda _failure: None)
        await self.until(lambda: pause.reached)
        await self.door.runs.store.close()
        await self.restart(reply("never"))
        answer = await self.chat(self.SESSION)
        self.assertEqual((answer.status, answer.error["code"]), (409, "run_interrupted"))
        self.assertEqual(self.asked(), 0)
        self.assertEqual((await self.chat(KEY | {"idempotency-key": "k-2"})).status, 200)

    async def test_another_body_is_still_refused(self) -> None:
        self.open(reply("one"))
        await self.chat(KEY)
        await self.restart(reply("two"))
        self.assertEqual((await self.chat(KEY, temperature=0)).status, 400)

    async def test_an_openai_client_that_tries_again_doubles_nothing_in_its_session(self) -> None:
        numbered = {"x-openclaw-session-key": "main", "x-stainless-retry-count": "0"}
        self.open(reply("one"))
        before = await self.chat(numbered)
        await self.restart(reply("never"))
        after = await self.chat(numbered | {"x-stainless-retry-count": "1"})
        self.assertEqual(after.json["choices"], before.json["choices"])
        self.assertEqual(self.asked(), 0)
        self.assertEqual(len(await self.door.runs.store.history("agent:main:main")), 2)
