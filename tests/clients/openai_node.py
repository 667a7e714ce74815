"""`openai` for Node, with chat completions."""

from __future__ import annotations

from tests.clients import contract, in_node
from tests.clients.contract import OPENAI_ERRORS

__all__ = ["ChatTests"]


class ChatTests(in_node.Tests, contract.ListsModels):
    script = "openai.mjs"
    errors = OPENAI_ERRORS
    broken = "APIError"

    def models(self) -> list[str]:
        return list(self.do("models"))
