from __future__ import annotations

import json

from tests.cli.case import CommandTestCase, run_child

__all__ = ["LocalTests"]


class LocalTests(CommandTestCase):
    """What needs no network: fetching itself is tested with the store."""

    def status(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.succeed("local", "status", "--json"))
        return document

    def test_status_of_a_model_that_is_still_to_be_fetched(self) -> None:
        path = self.state / "models" / "qwen2.5-coder-0.5b.gguf"
        document = self.status()
        document.pop("engineInstalled")  # depends on what this machine has
        self.assertEqual(
            {
                "model": "local/qwen2.5-coder-0.5b",
                "path": str(path),
                "present": False,
                "fetchedBytes": 0,
                "sizeBytes": 491_400_064,
                "ownFile": False,
                "embedding": None,
            },
            document,
        )
        said = self.succeed("local", "status")
        self.assertIn(f"file    {path}\n", said)
        self.assertIn("0 of 491 MB fetched; get the rest with: openclaw-gateway local pull", said)
        self.assertRegex(said, r"engine  (installed|missing)")
        self.assertFalse(self.state.exists())

    def test_a_file_of_ones_own(self) -> None:
        path = self.home / "My Model.gguf"
        path.write_bytes(b"GGUF" + bytes(2_000_000))
        self.assertIn("local/my-model is the local model", self.succeed("local", "use", str(path)))
        document = self.status()
        self.assertEqual(("local/my-model", str(path)), (document["model"], document["path"]))
        self.assertEqual((True, True), (document["present"], document["ownFile"]))
        self.assertIn("your own, 2 MB", self.succeed("local", "status"))
        path.unlink()
        self.assertIn("is not there", self.succeed("local", "status"))

    def test_pulling_what_is_ones_own_fetches_nothing(self) -> None:
        path = self.home / "mine.gguf"
        path.write_bytes(b"GGUF")
        self.succeed("local", "use", str(path))
        done = run_child("local", "pull", environ=self.environ)
        self.assertEqual(
            (0, f"{path} is there and in order.\n", ""), (done.returncode, done.stdout, done.stderr)
        )

    def test_pulling_what_nobody_knows(self) -> None:
        done = run_child("local", "pull", "--model", "gpt-4", environ=self.environ)
        self.assertEqual((1, ""), (done.returncode, done.stdout))
        self.assertIn("Error: The local model cannot be used", done.stderr)
        self.assertIn("Known are qwen2.5-coder-0.5b", done.stderr)

    def test_a_model_that_we_know(self) -> None:
        said = self.succeed("local", "use", "smollm2-135m")
        self.assertIn("still to be fetched:  openclaw-gateway local pull\n", said)
        self.assertEqual("local/smollm2-135m", self.status()["model"])

    def test_the_model_of_embeddings(self) -> None:
        self.configure('{models: {embedding: "local/all-minilm-l6-v2"}}')
        self.assertEqual(
            {
                "model": "local/all-minilm-l6-v2",
                "path": str(self.state / "models" / "all-minilm-l6-v2.gguf"),
                "present": False,
                "fetchedBytes": 0,
                "sizeBytes": 91_099_884,
            },
            self.status()["embedding"],
        )
        said = self.succeed("local", "status")
        self.assertIn("model   local/qwen2.5-coder-0.5b\n", said)
        self.assertIn("embeds  local/all-minilm-l6-v2\n", said)
        self.assertIn(
            "0 of 91 MB fetched; get the rest with: openclaw-gateway local pull --model all-minilm-l6-v2",
            said,
        )
        self.configure('{models: {embedding: "mock/small", providers: {mock: {baseUrl: "http://a/v1"}}}}')
        self.assertIsNone(self.status()["embedding"])
        self.configure('{models: {embedding: "local/qwen2.5-coder-0.5b"}}')
        self.assertIn("names no local embedding model", self.fail_with(1, "local", "status"))

    def test_a_model_of_embeddings_does_not_chat(self) -> None:
        said = self.fail_with(1, "local", "use", "all-minilm-l6-v2")
        self.assertIn('Set models.embedding to "local/all-minilm-l6-v2"', said)

    def test_what_cannot_be_used(self) -> None:
        self.assertIn("Known are qwen2.5-coder-0.5b", self.fail_with(1, "local", "use", "gpt-4"))
        self.assertIn("No such file", self.fail_with(1, "local", "use", str(self.home / "no.gguf")))
        path = self.home / "text.gguf"
        path.write_text("text")
        self.assertIn("is not a GGUF file", self.fail_with(1, "local", "use", str(path)))
        self.assertFalse((self.state / "models").exists())

    def test_a_path_in_the_configuration_wins_and_that_is_said(self) -> None:
        self.configure('{models: {providers: {local: {path: "/srv/other.gguf"}}}}')
        result = self.invoke("local", "use", "smollm2-135m")
        self.assertEqual(0, result.exit_code)
        self.assertIn("models.providers.local.path is set to /srv/other.gguf, and wins", result.stderr)
        self.assertEqual("/srv/other.gguf", self.status()["path"])

    def test_agents_that_ask_for_another_one_are_told_about(self) -> None:
        self.configure('{agents: {defaults: {model: "local/qwen2.5-coder-0.5b"}}}')
        said = self.invoke("local", "use", "smollm2-135m").stderr
        self.assertIn(
            'agents.defaults.model is local/qwen2.5-coder-0.5b. Set it to "local/smollm2-135m"', said
        )
        self.assertEqual("", self.invoke("local", "use", "qwen2.5-coder-0.5b").stderr)
        self.configure('{agents: {defaults: {model: "openai/gpt"}}}')
        self.assertEqual("", self.invoke("local", "use", "smollm2-135m").stderr)
