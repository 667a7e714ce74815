"""Secrets at the HTTP door; tests/auth has every variant of every rule."""

from typing import Any

from openclaw_twisted.providers.scripted import reply
from tests.http.door import Answer, DoorCase

STRICT: dict[str, Any] = {"gateway": {"auth": {"rateLimit": {"maxAttempts": 3, "exemptLoopback": False}}}}


class Login(DoorCase):
    async def models(self, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("GET", "/v1/models", headers=given)

    async def test_only_the_secret_opens(self) -> None:
        self.open()
        token = self.door.TOKEN
        for offered in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token}  "):
            self.assertEqual((await self.models(authorization=offered)).status, 200, offered)
        wrong = [
            "",
            token,
            "Bearer",
            f"Basic {token}",
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            f"Bearer {token.upper()}",
            f"Bearer {token}, Bearer {token}",
            "Bearer \N{PILE OF POO}",
        ]
        for offered in wrong:
            answer = await self.models(authorization=offered)
            self.assertEqual(answer.status, 401, offered)
            told = (answer.error["message"], answer.error["type"])
            self.assertEqual(told, ("Unauthorized", "unauthorized"))
        for path in (f"/v1/models?token={token}", f"/v1/models?access_token={token}"):
            self.assertEqual((await self.ask("GET", path, headers={"authorization": ""})).status, 401)
        for header in ("x-api-key", "x-openclaw-token", "cookie"):
            answer = await self.ask("GET", "/v1/models", headers={"authorization": "", header: token})
            self.assertEqual(answer.status, 401, header)

    async def test_a_password(self) -> None:
        self.open(settings={"gateway": {"auth": {"mode": "password", "password": "correct horse battery"}}})
        self.assertEqual((await self.models(authorization="Bearer correct horse battery")).status, 200)
        self.assertEqual((await self.models()).status, 401)

    async def test_no_secret_for_this_machine_alone(self) -> None:
        self.open(reply("ok"), settings={"gateway": {"auth": {"mode": "none"}}})
        self.assertEqual((await self.chat({"authorization": ""})).status, 200)
        self.assertEqual((await self.models(x_forwarded_for="203.0.113.7")).status, 403)

    async def test_guessing_is_limited_and_the_right_secret_waits_too(self) -> None:
        self.open(settings=STRICT)
        for _ in range(3):
            self.assertEqual((await self.models(authorization="Bearer wrong")).status, 401)
        answer = await self.models()
        self.assertEqual((answer.status, answer.error["code"]), (429, "rate_limited"))
        self.assertLessEqual(int(answer.headers["retry-after"]), 120)

    async def test_programs_on_this_machine_are_spared_but_browsers_are_not(self) -> None:
        self.open(settings={"gateway": {"auth": {"rateLimit": {"maxAttempts": 3}}}})
        for _ in range(5):
            self.assertEqual((await self.models(authorization="Bearer wrong")).status, 401)
        origin = f"http://127.0.0.1:{self.door.port}"
        for _ in range(3):
            await self.models(authorization="Bearer wrong", origin=origin)
        self.assertEqual((await self.models(authorization="Bearer wrong", origin=origin)).status, 429)
        self.assertEqual((await self.models()).status, 200)

    async def test_users_of_a_proxy_that_limits_them(self) -> None:
        proxy = {"userHeader": "x-user", "allowLoopback": True}
        auth = {"mode": "trusted-proxy", "trustedProxy": proxy}
        self.open(reply("ok"), settings={"gateway": {"auth": auth, "trustedProxies": ["127.0.0.1"]}})
        ann = {"authorization": "", "x-user": "ann"}
        reads, writes = (ann | {"x-openclaw-scopes": f"operator.{may}"} for may in ("read", "write"))
        self.assertEqual((await self.ask("GET", "/v1/models", headers=reads)).status, 200)
        anew = [{"role": "user", "content": "/new and hi"}]
        for refused in (
            await self.chat(reads),
            await self.chat(writes | {"x-openclaw-model": "scripted/m"}),
            await self.chat(writes, user="ann", messages=anew),
        ):
            self.assertEqual((refused.status, refused.error["code"]), (403, "forbidden"), refused.text)
        self.assertEqual((await self.chat(writes)).status, 200)

    async def test_a_stranger_behind_a_proxy_does_not_lock_its_machine_out(self) -> None:
        self.open(settings={"gateway": {**STRICT["gateway"], "trustedProxies": ["127.0.0.1"]}})
        forged = {"x_forwarded_for": "203.0.113.9", "forwarded": "for=127.0.0.1"}
        for _ in range(3):
            self.assertEqual((await self.models(authorization="Bearer wrong", **forged)).status, 401)
        self.assertEqual((await self.models(**forged)).status, 429)
        self.assertEqual((await self.models()).status, 200)

    async def test_forwarding_headers_of_strangers_change_nothing(self) -> None:
        self.open(settings=STRICT)
        for at in range(3):
            await self.models(authorization="Bearer wrong", x_forwarded_for=f"203.0.113.{at}")
        self.assertEqual((await self.models(x_forwarded_for="203.0.113.9")).status, 429)
