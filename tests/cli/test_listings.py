from __future__ import annotations

from tests.cli.served import ServedTestCase

__all__ = ["ListingTests"]


class ListingTests(ServedTestCase):
    async def test_models(self) -> None:
        await self.gateway()
        self.assertEqual(
            "MODEL       NAME  CONTEXT  REASONING  AVAILABLE\nscripted/m  m     ?        ?          yes\n",
            await self.succeed("models", "list"),
        )
        document = await self.document("models", "list", "--agent", "main")
        self.assertEqual(["m"], [model["id"] for model in document["models"]])

    async def test_agents(self) -> None:
        await self.gateway()
        self.assertEqual(
            "AGENT  NAME  DEFAULT  MODELS\nmain   main  yes      scripted/m\n",
            await self.succeed("agents", "list"),
        )

    async def test_a_refusal_is_a_document_too(self) -> None:
        await self.gateway()
        document = await self.document("models", "list", "--agent", "nobody", code=1)
        self.assertIn("unknown agent id", document["summary"])
