"""Input items that are named by their ids: the parts of earlier answers that the store still has.

The id of an output item leads to its response's run, and the run to what was said. Clients that let the
server remember (the AI SDK does unless `store` is false) send `item_reference` items instead of earlier
answers.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from openclaw_twisted.boundaries import RunRecord, SessionStore
from openclaw_twisted.content import Message, text_of
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.responses_request import REFERENCE, InputItemIn

__all__ = ["MAX_REFERENCES", "ItemReferences"]

MAX_REFERENCES = 1000

_ITEM_ID = re.compile(r"(?P<kind>msg|fc|rs)_(?P<run>[0-9a-f]{32})_(?P<at>\d{1,4})", re.ASCII)
# A response is mostly the last one of its session, so its end is looked at first.
_LOOKED_AT = (4, 1000, 1_000_000_000)


class ItemReferences:
    """Finds what `item_reference` items mean."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def resolve(self, items: Sequence[InputItemIn]) -> list[InputItemIn]:
        """Return the items with every reference replaced by the item that it names.

        Raises `InvalidRequestError` for a reference to what is not kept, and for too many of them.
        """
        if sum(item.type == REFERENCE for item in items) > MAX_REFERENCES:
            raise InvalidRequestError(
                f"At most {MAX_REFERENCES} items by reference at a time.", param="input"
            )
        answers: dict[str, Message | None] = {}
        said: set[str] = set()
        return [
            await self._item(item.id or "", f"input[{at}].id", answers, said)
            if item.type == REFERENCE
            else item
            for at, item in enumerate(items)
        ]

    async def _item(
        self, name: str, param: str, answers: dict[str, Message | None], said: set[str]
    ) -> InputItemIn:
        found = _ITEM_ID.fullmatch(name)
        if found is None:
            raise _unknown(param)
        if found["kind"] == "rs":
            return InputItemIn(type="reasoning")
        run_id = str(uuid.UUID(found["run"]))
        if run_id not in answers:
            answers[run_id] = await self._answer(run_id)
        answer = answers[run_id]
        if answer is None:
            raise _unknown(param)
        if found["kind"] == "msg":
            # An answer is kept as one message, even if it was told in several with thoughts between them.
            # What says nothing holds the others' places, by which errors name the items after them.
            if run_id in said:
                return InputItemIn(type="reasoning")
            said.add(run_id)
            return InputItemIn(role="assistant", content=text_of(answer))
        if int(found["at"]) >= len(answer.tool_calls):
            raise _unknown(param)
        call = answer.tool_calls[int(found["at"])]
        return InputItemIn(type="function_call", call_id=call.id, name=call.name, arguments=call.arguments)

    async def _answer(self, run_id: str) -> Message | None:
        """Return what the model said in a run, None when that is not kept."""
        record = await self._store.run(run_id)
        if record is None or record.status != "finished":
            return None
        for limit in _LOOKED_AT:
            answer = await self._newest_answer(record, limit)
            if answer is not None:
                return answer
        return None

    async def _newest_answer(self, record: RunRecord, limit: int) -> Message | None:
        for kept in reversed(await self._store.history(record.session_key, limit)):
            if kept.run_id == record.run_id and kept.message.role == "assistant":
                return kept.message
        return None


def _unknown(param: str) -> InvalidRequestError:
    return InvalidRequestError(
        "No item of this id is kept. Send the item itself; with store: false clients do.", param=param
    )
