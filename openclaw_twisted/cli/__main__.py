"""`python -m openclaw_twisted.cli`: the command, where its script is not on the PATH."""

from openclaw_twisted.cli import main

__all__: list[str] = []

main(prog_name="openclaw-gateway")
