from typing import Any

from openclaw_twisted.providers.scripted import reply
from tests.http.door import DoorCase, plain

APP = "https://app.example.org"
SETTINGS: dict[str, Any] = {
    "gateway": {"http": {"endpoints": {"chatCompletions": {"allowedOrigins": [APP]}}}}
}
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-os",
    "authorization": "",
}
CHAT = "/v1/chat/completions"


class CrossOrigin(DoorCase):
    async def test_nothing_is_granted_unless_it_is_configured(self) -> None:
        self.open()
        for method, status in (("OPTIONS", 405), ("POST", 403)):
            answer = await self.ask(method, CHAT, headers=PREFLIGHT)
            self.assertEqual(answer.status, status)
            self.assertFalse([name for name in answer.headers if name.startswith("access-control")])

    async def test_a_listed_origin_is_told_what_it_may_send(self) -> None:
        self.open(settings=SETTINGS)
        answer = await self.ask("OPTIONS", CHAT, headers=PREFLIGHT)
        self.assertEqual((answer.status, answer.text), (204, ""))
        self.assertEqual(answer.headers["access-control-allow-origin"], APP)
        self.assertEqual(answer.headers["access-control-allow-methods"], "POST")
        self.assertEqual(
            answer.headers["access-control-allow-headers"], PREFLIGHT["access-control-request-headers"]
        )
        self.assertEqual(answer.headers["vary"], "Origin")
        self.assertNotIn("access-control-allow-credentials", answer.headers)

    async def test_a_preflight_for_what_there_is_not(self) -> None:
        self.open(settings=SETTINGS)
        for path, method, status in (("/nowhere", "POST", 404), (CHAT, "DELETE", 405)):
            headers = PREFLIGHT | {"access-control-request-method": method}
            self.assertEqual((await self.ask("OPTIONS", path, headers=headers)).status, status)
        answer = await self.ask("OPTIONS", CHAT, headers=PREFLIGHT | {"host": "evil.example"})
        self.assertEqual(answer.status, 421)

    async def test_another_origin_is_granted_nothing(self) -> None:
        self.open(settings=SETTINGS)
        for origin in ("https://evil.example", "null", f"{APP}.evil.example", "http://app.example.org"):
            for method in ("OPTIONS", "POST"):
                answer = await self.ask(method, CHAT, headers=PREFLIGHT | {"origin": origin})
                self.assertGreaterEqual(answer.status, 400, origin)
                self.assertNotIn("access-control-allow-origin", answer.headers)

    async def test_answers_errors_and_streams_carry_the_headers(self) -> None:
        self.open(reply("ok"), reply("ok"), settings=SETTINGS)
        origin = {"origin": APP}
        good = await self.chat(origin)
        bad = await self.chat(origin, messages=[])
        stranger = await self.chat(origin | {"authorization": "Bearer wrong"})
        response, events = await self.stream(origin)
        await events.rest()
        self.assertEqual([good.status, bad.status, stranger.status, response.code], [200, 400, 401, 200])
        for headers in (good.headers, bad.headers, stranger.headers, plain(response.headers)):
            self.assertEqual(headers["access-control-allow-origin"], APP)
            self.assertIn("x-openclaw-run-id", headers["access-control-expose-headers"])
