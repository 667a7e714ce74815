"""What a Claude model takes, by its name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.providers.claude_models import Claude, claude

__all__ = ["NameTests"]

EFFORTS = ("low", "medium", "high", "xhigh", "max")
NEW = Claude(adaptive=True, sampling=False, schemas=True, continues=False, efforts=EFFORTS)


class NameTests(SynchronousTestCase):
    """The table holds whatever a provider puts round the name."""

    def test_a_name_of_somebody_else_is_the_form_that_was_copied(self) -> None:
        for name in ("MiniMax-M2", "kimi-for-coding", "glm-5", "claude", "claude-latest"):
            self.assertEqual(claude(name), Claude(), name)

    def test_budgets_up_to_4_5_and_schemas_from_then_on(self) -> None:
        for name in ("claude-3-5-sonnet-20241022", "claude-3-7-sonnet-latest", "claude-opus-4-20250514"):
            self.assertEqual(claude(name), Claude(), name)
        for name in ("claude-sonnet-4-5", "claude-haiku-4-5-20251001", "claude-opus-4.5"):
            self.assertEqual(claude(name), Claude(schemas=True), name)

    def test_4_6_chooses_for_itself(self) -> None:
        for name in ("claude-opus-4-6", "anthropic/claude-sonnet-4.6", "us.anthropic.claude-opus-4-6-v1"):
            taken = claude(name)
            self.assertEqual((taken.adaptive, taken.sampling, taken.continues), (True, True, False), name)
            self.assertEqual(taken.efforts, ("low", "medium", "high", "max"))

    def test_4_7_and_4_8_think_when_asked_to(self) -> None:
        for name in ("claude-opus-4-7", "anthropic/claude-4.7-opus", "Claude-Opus-4-8"):
            self.assertEqual((claude(name).off, claude(name).always_thinks), (None, False), name)
            self.assertEqual(claude(name), NEW, name)

    def test_from_5_on_they_think_unless_told_not_to(self) -> None:
        table = {
            "claude-opus-5": ("disabled", False, True),
            "claude-sonnet-5": ("disabled", False, True),
            "claude-haiku-5-5": ("disabled", False, True),
            "claude-sonnet-5-5": ("between_tools", False, False),
            "claude-opus-5-5": (None, True, False),
            "claude-fable-5": (None, True, True),
            "claude-fable-5-1": (None, True, False),
            "claude-mythos-preview": (None, True, True),
            "claude-opus-7": (None, True, False),
        }
        for name, expected in table.items():
            taken = claude(name)
            self.assertEqual((taken.off, taken.always_thinks, taken.forced), expected, name)
            self.assertFalse(taken.sampling or taken.continues, name)
