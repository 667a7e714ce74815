from automat import NoTransition
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.runs.lifecycle import new_lifecycle

PATHS = {
    ("begin",): "running",
    ("begin", "finish"): "finished",
    ("begin", "fail"): "failed",
    ("begin", "cancel"): "cancelled",
    ("fail",): "failed",
    ("cancel",): "cancelled",
}
INPUTS = ("begin", "finish", "fail", "cancel")


class States(SynchronousTestCase):
    def test_a_new_run_is_queued(self) -> None:
        self.assertEqual(new_lifecycle().status(), "queued")

    def test_every_path(self) -> None:
        for path, status in PATHS.items():
            lifecycle = new_lifecycle()
            for step in path:
                getattr(lifecycle, step)()
            self.assertEqual(lifecycle.status(), status, path)

    def test_what_has_ended_stays_ended(self) -> None:
        for path in PATHS:
            if path == ("begin",):
                continue
            for step in INPUTS:
                lifecycle = new_lifecycle()
                for earlier in path:
                    getattr(lifecycle, earlier)()
                with self.assertRaises(NoTransition, msg=(path, step)):
                    getattr(lifecycle, step)()

    def test_nothing_finishes_before_it_began(self) -> None:
        with self.assertRaises(NoTransition):
            new_lifecycle().finish()
