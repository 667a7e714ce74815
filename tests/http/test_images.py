"""Images through the HTTP door: given in the request, or fetched from an address before the run."""

from base64 import b64encode
from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.content import ImagePart, TextPart
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor
from tests.http.door import DoorCase
from tests.http.images import png

FETCHING: dict[str, Any] = {
    "gateway": {
        "http": {
            "endpoints": {
                # A port of our own choice needs a host that is listed.
                "chatCompletions": {"images": {"allowUrl": True, "urlAllowlist": ["127.0.0.1"]}}
            }
        }
    }
}
PNG = png()
SEEN = ImagePart("image/png", b64encode(PNG).decode())


def about(url: str) -> list[dict[str, Any]]:
    text = {"type": "text", "text": "What is this?"}
    return [{"role": "user", "content": [text, {"type": "image_url", "image_url": {"url": url}}]}]


class Images(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.web = FakeUpstream(lambda call: call.answer(200, PNG, content_type="text/plain"))
        self.web.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.web.stop()))

    @property
    def address(self) -> str:
        return self.web.base_url + "/cat.png"

    async def test_the_model_sees_what_is_in_the_request(self) -> None:
        self.open(reply("A cat."))
        await self.chat(messages=about(f"data:image/png;base64,{SEEN.data}"))
        content = self.door.runs.provider.requests[0].messages[0].content
        self.assertEqual(content, (TextPart("What is this?"), SEEN))

    async def test_an_address_is_refused_unless_it_is_allowed(self) -> None:
        self.open()
        answer = await self.chat(messages=about(self.address))
        self.assertEqual(
            (answer.status, answer.error["param"]), (400, "messages[0].content[1].image_url.url")
        )
        self.assertIn("allowUrl", answer.error["message"])
        self.assertEqual(self.web.connections, 0)

    async def test_an_address_is_fetched_before_the_run(self) -> None:
        self.open(reply("A cat."), reply("A cat."), settings=FETCHING)
        answer = await self.chat(messages=about(self.address))
        self.assertEqual(answer.status, 200, answer.text)
        _, events = await self.stream(messages=about(self.address))
        await events.rest()
        for asked in self.door.runs.provider.requests:
            self.assertEqual(asked.messages[0].content, (TextPart("What is this?"), SEEN))

    async def test_a_repetition_needs_no_image_again(self) -> None:
        self.open(reply("A cat."), settings=FETCHING)
        key, messages = {"idempotency-key": "k"}, about(self.address)
        await self.chat(key, messages=messages)
        await self.web.stop()
        again = await self.chat(key, messages=messages)
        self.assertEqual(again.json["choices"][0]["message"]["content"], "A cat.")

    async def test_an_image_that_cannot_be_had_starts_no_run(self) -> None:
        self.open(settings=FETCHING)
        self.web.behaviour = lambda call: call.answer(404)
        for url in (self.address, "http://10.0.0.1/cat.png", "file:///etc/passwd"):
            answer = await self.chat(messages=about(url))
            self.assertEqual((answer.status, answer.error["type"]), (400, "invalid_request_error"), url)
        self.assertEqual(self.door.runs.provider.requests, [])

    async def test_a_client_that_hangs_up_stops_the_fetch(self) -> None:
        self.open(settings=FETCHING)
        calls: list[UpstreamCall] = []
        self.web.behaviour = calls.append
        asking = Deferred.fromCoroutine(self.chat(messages=about(self.address)))
        asking.addErrback(lambda _failure: None)
        await self.until(lambda: calls)
        asking.cancel()
        await self.until(lambda: not self.web.open)
