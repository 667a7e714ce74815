"""The settings that switch the APIs on, by the names that people are told."""

from __future__ import annotations

__all__ = ["CHAT_SWITCH", "RESPONSES_SWITCH"]

CHAT_SWITCH = "gateway.http.endpoints.chatCompletions.enabled"
RESPONSES_SWITCH = "gateway.http.endpoints.responses.enabled"
