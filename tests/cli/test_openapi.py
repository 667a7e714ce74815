from __future__ import annotations

import json

from openclaw_twisted.http.openapi import document
from tests.cli.case import CommandTestCase

__all__ = ["OpenApiTests"]


class OpenApiTests(CommandTestCase):
    def test_the_document_that_a_gateway_serves(self) -> None:
        self.assertEqual(json.loads(json.dumps(document())), json.loads(self.succeed("openapi")))
