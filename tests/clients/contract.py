"""What every client has to be able to do with a gateway: here are the tests, a client says how it does it.

Import this module, not the classes: trial would run those again in every module that has their names.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from pydantic import BaseModel
from twisted.trial.unittest import SynchronousTestCase

from tests.clients.model import CITY, COMPLETION_TOKENS, DEGREES, PROMPT_TOKENS, said_so_far
from tests.clients.stage import TOKEN, Stage, stage

__all__ = [
    "ANYBODY",
    "MODELS",
    "OPENAI_ERRORS",
    "Asking",
    "ListsModels",
    "Reply",
    "Temperature",
    "Tests",
    "weather",
]

HANG_UP_SECONDS = 0.25
MODELS = [
    "openclaw",
    "openclaw/default",
    *(
        f"openclaw/{agent}"
        for agent in ("failing", "impatient", "limited", "main", "refusing", "unreachable")
    ),
]


@dataclass(frozen=True)
class Asking:
    """Whom a client asks and as whom; `retries` is how often it may try again by itself."""

    model: str = "openclaw"
    _: KW_ONLY
    key: str = TOKEN
    user: str | None = None
    session: str | None = None
    retries: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"x-openclaw-session-key": self.session} if self.session else {}


ANYBODY = Asking()


@dataclass(frozen=True)
class Reply:
    """What a client made of an answer: its text, the pieces it came in, and the tokens, prompt's first."""

    text: str
    _: KW_ONLY
    pieces: tuple[str, ...] = ()
    tokens: tuple[int, int] | None = None


TROUBLE = {
    "a wrong key": (Asking(key="wrong"), "hi"),
    "an unknown model": (Asking("gpt-4o"), "hi"),
    "a refusal": (Asking("openclaw/refusing"), "fail 400"),
    "a long conversation": (Asking("openclaw/refusing"), "fail 400 context"),
    "a rate limit": (Asking("openclaw/limited"), "fail 429"),
    "an overloaded provider": (Asking("openclaw/failing"), "fail 503"),
    "an unreachable provider": (Asking("openclaw/unreachable"), "hi"),
    "a silent provider": (Asking("openclaw/impatient"), "be silent"),
}


class Temperature(BaseModel):
    """What a structured answer holds."""

    city: str
    degrees: int


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"rain in {city}"


OPENAI_ERRORS = {
    "a wrong key": "AuthenticationError",
    "an unknown model": "NotFoundError",
    "a refusal": "BadRequestError",
    "a long conversation": "BadRequestError",
    "a rate limit": "RateLimitError",
    "an overloaded provider": "InternalServerError",
    "an unreachable provider": "InternalServerError",
    "a silent provider": "InternalServerError",
}
"""What `openai` calls the kinds of `TROUBLE`, and whoever is built on it."""


class Tests(SynchronousTestCase):
    """The tests, and what a client has to say for them."""

    maxDiff = None
    stage: Stage
    errors: dict[str, str]
    """How the client calls each kind of `TROUBLE`."""
    broken: str
    """How it calls an answer that breaks off."""

    def setUp(self) -> None:
        self.stage = stage(f"{type(self).__module__}.{type(self).__qualname__}")

    # What a client has to say.

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        raise NotImplementedError

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        raise NotImplementedError

    def loop(self, prompt: str, *, streamed: bool) -> str:
        """Offer the tool `weather`, let the client run it, and return the final answer."""
        raise NotImplementedError

    def forced(self, prompt: str) -> tuple[str, Any]:
        """Demand a call of `weather`; returns the called name and the arguments."""
        raise NotImplementedError

    def structured(self, prompt: str) -> Any:
        """Ask for a `Temperature` in the client's own way; returns it as a dict."""
        raise NotImplementedError

    def abandon(self, prompt: str) -> float:
        """Hang up after the first piece of a stream; returns when, by `time.monotonic`."""
        raise NotImplementedError

    def named(self, error: BaseException) -> str:
        return type(error).__name__

    # What has to hold.

    def test_plain(self) -> None:
        reply = self.ask("Hello there.")
        self.assertEqual(said_so_far("Hello there."), reply.text)
        self.assertEqual((PROMPT_TOKENS, COMPLETION_TOKENS), reply.tokens)

    def test_stream(self) -> None:
        reply = self.stream("Hello there.")
        self.assertEqual(said_so_far("Hello there."), reply.text)
        self.assertEqual(reply.text, "".join(reply.pieces))
        self.assertGreater(len([piece for piece in reply.pieces if piece]), 1)
        self.assertEqual((PROMPT_TOKENS, COMPLETION_TOKENS), reply.tokens)

    def test_tool_loop(self) -> None:
        said = self.loop("What weather has Oslo?", streamed=False)
        self.assertEqual(f"The tool said: rain in {CITY}", said)

    def test_tool_loop_of_streams(self) -> None:
        said = self.loop("What weather has Oslo?", streamed=True)
        self.assertEqual(f"The tool said: rain in {CITY}", said)

    def test_forced_tool(self) -> None:
        prompt = self.unique("Hello.")
        self.assertEqual(("weather", {"city": CITY}), self.forced(prompt))
        (asked,) = self.stage.model.requests(prompt)
        self.assertIn(
            asked["tool_choice"], ("required", {"type": "function", "function": {"name": "weather"}})
        )

    def test_structured(self) -> None:
        self.assertEqual({"city": CITY, "degrees": DEGREES}, self.structured("Where is it how warm?"))

    def test_errors(self) -> None:
        found = {kind: self.failure(self.ask, prompt, asking) for kind, (asking, prompt) in TROUBLE.items()}
        self.assertEqual(self.errors, found)

    def test_errors_of_a_stream(self) -> None:
        found = {
            kind: self.failure(self.stream, prompt, asking) for kind, (asking, prompt) in TROUBLE.items()
        }
        self.assertEqual(set(self.errors), {kind for kind, name in found.items() if name != "nothing"})

    def test_stream_that_breaks_off(self) -> None:
        self.assertEqual(self.broken, self.failure(self.stream, "break off", Asking("openclaw/failing")))

    def test_retry(self) -> None:
        prompt = self.unique("fail 429 once")
        reply = self.ask(prompt, Asking("openclaw/limited", retries=2))
        self.assertEqual(said_so_far(prompt), reply.text)
        self.assertEqual(2, len(self.stage.model.requests(prompt)))

    def test_cancel(self) -> None:
        prompt = self.unique("hang")
        abandoned = self.abandon(prompt)
        self.assertLess(self.stage.model.hung_up(prompt) - abandoned, HANG_UP_SECONDS)

    def test_session_by_user(self) -> None:
        self.remembers(Asking(user=self.unique("ann")))

    def test_session_by_header(self) -> None:
        self.remembers(Asking(session=self.unique("chat")))

    def test_no_session(self) -> None:
        self.ask("I am Ann.")
        self.assertEqual(said_so_far("Who am I?"), self.ask("Who am I?").text)

    def remembers(self, asking: Asking) -> None:
        self.ask("I am Ann.", asking)
        self.assertEqual(said_so_far("I am Ann.", "Who am I?"), self.ask("Who am I?", asking).text)

    def unique(self, text: str) -> str:
        return f"{text} {uuid.uuid4()}"

    def failure(self, do: Callable[[str, Asking], object], prompt: str, asking: Asking) -> str:
        try:
            do(prompt, asking)
        except Exception as error:  # noqa: BLE001 - which one it is is the question
            return self.named(error)
        return "nothing"


class ListsModels(Tests):
    """A client that can also list the models."""

    def models(self) -> list[str]:
        raise NotImplementedError

    def test_models(self) -> None:
        self.assertEqual(MODELS, sorted(self.models()))
