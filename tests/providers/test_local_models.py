"""Which local models a configuration asks for."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import ModelsSettings, ProviderSettings, Settings
from openclaw_twisted.errors import AgentNotFoundError, ConfigError
from openclaw_twisted.providers.known_models import DEFAULT_MODEL
from openclaw_twisted.providers.local_models import LocalModels, embedding_name
from tests.providers.stage import Stage

MINILM = "all-minilm-l6-v2"


class LocalModelsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.models = LocalModels(
            Stage(), Loaded(settings=Settings()), Path(self.mktemp()).absolute(), out=StringIO()
        )

    def test_embeddings_are_somebody_elses_unless_a_local_model_is_named(self) -> None:
        own = ProviderSettings(base_url="http://127.0.0.1:1/v1")
        self.assertEqual(embedding_name(ModelsSettings(embedding=f"local/{MINILM}")), MINILM)
        self.assertEqual(embedding_name(ModelsSettings(embedding="local/")), "")
        for embedding in (None, "", "openai/small", f"local-ai/{MINILM}"):
            self.assertIsNone(embedding_name(ModelsSettings(embedding=embedding)), embedding)
        self.assertIsNone(
            embedding_name(ModelsSettings(embedding=f"local/{MINILM}", providers={"local": own}))
        )

    def test_a_model_that_nobody_knows_is_refused(self) -> None:
        for name in ("", "gpt-9", DEFAULT_MODEL):
            error = self.assertRaises(ConfigError, self.models.embedder, name)
            self.assertIn(f"Known are local/{MINILM}.", error.message)

    def test_there_is_one_process_however_often_the_settings_are_read(self) -> None:
        self.assertIs(self.models.embedder(MINILM), self.models.embedder(MINILM))

    def test_there_is_one_model_that_chats_whoever_asks_for_it(self) -> None:
        chat = self.models.chat
        self.assertIs(chat, self.models.chat)
        self.assertEqual(chat.name, self.models.name)

    def test_the_provider_refuses_what_is_not_its_model(self) -> None:
        error = self.assertRaises(AgentNotFoundError, self.models.provider.check, "another")
        self.assertIn(f"local/{DEFAULT_MODEL}", error.message)

    def test_what_nobody_has_asked_has_nothing_to_stop(self) -> None:
        with capturedLogs() as events:
            self.successResultOf(Deferred.fromCoroutine(self.models.stop()))
        self.assertEqual([], [event["model"] for event in events])

    def test_every_model_stops(self) -> None:
        self.assertEqual(DEFAULT_MODEL, self.models.chat.name)
        self.models.embedder(MINILM)
        with capturedLogs() as events:
            self.successResultOf(Deferred.fromCoroutine(self.models.stop()))
        self.assertEqual({event["model"] for event in events}, {DEFAULT_MODEL, MINILM})
