from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.runs.lifecycle import Lifecycle, NoStepError

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
        self.assertEqual(Lifecycle().status, "queued")

    def test_every_path(self) -> None:
        for path, status in PATHS.items():
            lifecycle = Lifecycle()
            for step in path:
                getattr(lifecycle, step)()
            self.assertEqual(lifecycle.status, status, path)

    def test_what_has_ended_stays_ended(self) -> None:
        for path in PATHS:
            if path == ("begin",):
                continue
            for step in INPUTS:
                lifecycle = Lifecycle()
                for earlier in path:
                    getattr(lifecycle, earlier)()
                with self.assertRaises(NoStepError, msg=(path, step)):
                    getattr(lifecycle, step)()

    def test_nothing_finishes_before_it_began(self) -> None:
        with self.assertRaises(NoStepError):
            Lifecycle().finish()
