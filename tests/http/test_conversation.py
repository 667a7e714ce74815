from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import ToolSpec
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.conversation import check_named


class _Looked(list[ToolSpec]):
    """Tools that count how often somebody goes through them."""

    times = 0

    def __iter__(self) -> Iterator[ToolSpec]:
        self.times += 1
        return super().__iter__()


class Named(SynchronousTestCase):
    def test_tools_are_looked_through_once_for_however_many_names(self) -> None:
        names = [f"f{n}" for n in range(10)]
        tools = _Looked(map(ToolSpec, names))
        check_named(names, tools, "tool_choice")
        self.assertEqual(tools.times, 1)

    def test_one_that_is_missing(self) -> None:
        with self.assertRaises(InvalidRequestError) as caught:
            check_named(["f", "g"], [ToolSpec("f")], "tool_choice")
        self.assertEqual(caught.exception.param, "tool_choice")
