"""The program of the local model's own process: llama.cpp's HTTP server round one GGUF file.

It is run by path and imports nothing of this package, so that it starts fast and needs no import path.
What it promises its parent:

- One line of JSON on stdout, `{"ready": true, "url": ..., "pid": ...}`, when the model can be asked.
- Nothing but llama.cpp's log on stderr, and a line that says what went wrong if it cannot serve.
- It ends when its stdin does, so that it never outlives a parent that was killed.
- SIGTERM ends it at once, busy or not: there is nothing to save. SIGINT, which a terminal sends to parent
  and child alike, is left to the parent.

The key that requests must carry comes in the environment, where other users of the machine cannot read it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["KEY_VARIABLE", "main"]

KEY_VARIABLE = "OPENCLAW_LOCAL_MODEL_KEY"


def main(argv: Sequence[str], key: str) -> int:
    """Load the model, say that it is ready, and serve until stdin ends; return 1 if it cannot be loaded."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Only the ready line may reach the real stdout: what libraries print while they load goes to the log.
    answer = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    try:
        server = _load(_arguments(argv), key)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    answer.write(json.dumps({"ready": True, "url": server.listening_address, "pid": os.getpid()}) + "\n")
    answer.flush()
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)  # destroying the server would wait for the answers it is giving


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="local_server", description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="the GGUF file")
    parser.add_argument("--alias", required=True, help="the model's name")
    parser.add_argument(
        "--context", type=int, required=True, help="tokens of context for each answer at a time"
    )
    parser.add_argument("--parallel", type=int, required=True, help="answers at a time")
    parser.add_argument("--threads", type=int, required=True, help="threads to compute on")
    parser.add_argument("--cache-mib", type=int, required=True, help="memory for prompts seen before")
    parser.add_argument("--template", type=Path, help="a chat template to use in place of the file's own")
    parser.add_argument("--embedding", action="store_true", help="make embeddings instead of answers")
    return parser.parse_args(argv)


def _load(arguments: argparse.Namespace, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = ""
    params.n_parallel = arguments.parallel
    params.n_ctx = arguments.context * arguments.parallel
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.cache_ram_mib = arguments.cache_mib
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    if arguments.embedding:
        params.embedding = True
        # A text to embed is computed in one piece.
        params.n_batch = params.n_ubatch = arguments.context
    if arguments.template is not None:
        params.chat_template = arguments.template.read_text(encoding="utf-8")
    return xllamacpp.Server(params)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ[KEY_VARIABLE]))  # noqa: TID251 - this is an entry point
