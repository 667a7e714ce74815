"""`openclaw-gateway local`: the model that runs on this machine, its file and how to get it."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw_twisted.cli.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openclaw_twisted.config.settings import LocalModelSettings
    from openclaw_twisted.providers.weight_sources import Source
    from openclaw_twisted.providers.weights import Weights, WeightsStatus, WeightsStore

__all__ = ["local"]

ENGINE = "xllamacpp"
LOCAL = "local/"
_MEGABYTE = 10**6

_config = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file."
)


@click.group(short_help="The model that runs on this machine.")
def local() -> None:
    """Fetch, choose and look at the model that runs on this machine."""


@local.command(short_help="Fetch the model's file.")
@click.option("--model", metavar="NAME", help="A model that we know, instead of the one that chats.")
@_config
def pull(model: str | None, config: Path | None) -> None:
    """Fetch the file of the local model and check it; an earlier attempt is gone on with.

    The progress goes to standard error. Ctrl-C keeps what has been fetched.
    """
    from openclaw_twisted.cli.foreground import in_foreground
    from openclaw_twisted.config.settings import EMBEDDING_KEY
    from openclaw_twisted.providers.local_models import embedding_name
    from openclaw_twisted.providers.transport import way_out
    from openclaw_twisted.providers.weight_sources import sources_of

    surroundings = Surroundings.of_this_process()
    loaded = surroundings.load(config)
    settings = loaded.settings.models.local

    async def fetch(reactor: Any) -> Weights:
        proxy_url = way_out(loaded.settings.proxy)
        sources = sources_of(reactor, surroundings.environ, sys.executable, proxy_url)
        store = _store(surroundings, reactor, sources)
        weights = store.known(model) if model else store.resolve(settings)
        await _pull(store, weights)
        return weights

    weights = in_foreground(fetch)
    click.echo(f"{weights.path} is there and in order.")
    if weights.known is not None and weights.known.embedding is not None:
        if embedding_name(loaded.settings.models) != weights.name:
            click.echo(f'To use it:  set {EMBEDDING_KEY} to "{LOCAL}{weights.name}"')
    elif weights != _store(surroundings).resolve(settings):
        click.echo(f"To use it:  openclaw-gateway local use {weights.name}")


async def _pull(store: WeightsStore, weights: Weights) -> None:
    from twisted.internet.defer import CancelledError

    from openclaw_twisted.providers.progress_bar import ProgressBar

    bar = ProgressBar(sys.stderr)
    if not store.present(weights):
        bar.announce(weights)
    try:
        await store.pull(weights, bar)
    except CancelledError:
        bar.finish()
        click.echo("Stopped. What was fetched is kept; the next pull goes on from there.", err=True)
        raise
    finally:
        bar.finish()


@local.command(short_help="Choose a GGUF file, or a model that we know.")
@click.argument("target", metavar="FILE|NAME")
@_config
def use(target: str, config: Path | None) -> None:
    """Choose the local model: a GGUF file of your own by its path, or a model that we know by its name.

    The choice holds from the gateway's next start on.
    """
    surroundings = Surroundings.of_this_process()
    settings = surroundings.load(config).settings
    store = _store(surroundings)
    if "/" not in target and not target.endswith(".gguf"):
        store.known(target)
    weights = store.use(target)
    name = f"local/{weights.name}"
    click.echo(f"{name} is the local model from the gateway's next start on.")
    path = settings.models.local.path
    if path is not None:
        click.echo(f"Warning: models.providers.local.path is set to {path}, and wins. Remove it.", err=True)
    wanted = settings.agents.defaults.model
    if wanted is not None and wanted.primary.startswith(LOCAL) and wanted.primary != name:
        click.echo(f'Warning: agents.defaults.model is {wanted.primary}. Set it to "{name}".', err=True)
    if not store.present(weights):
        click.echo("Its file is still to be fetched:  openclaw-gateway local pull")


@local.command(short_help="Show which model it is and whether its file is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@_config
def status(*, as_json: bool, config: Path | None) -> None:
    """Show which local models are in use, whether their files are there, and whether the engine is installed.

    These are the one that chats and, if `models.embedding` names one, the one of /v1/embeddings.
    """
    from openclaw_twisted.providers.local_models import embedding_name

    surroundings = Surroundings.of_this_process()
    models = surroundings.load(config).settings.models
    store = _store(surroundings)
    found = store.status(store.resolve(models.local))
    name = embedding_name(models)
    embedding = store.status(store.embedding(name)) if name is not None else None
    engine = find_spec(ENGINE) is not None
    if as_json:
        document = {
            **_facts(found),
            "ownFile": found.weights.known is None,
            "engineInstalled": engine,
            "embedding": _facts(embedding) if embedding is not None else None,
        }
        click.echo(json.dumps(document))
        return
    _show("model", found)
    if embedding is not None:
        _show("embeds", embedding)
    click.echo(f"engine  {_engine_words(installed=engine)}")


def _facts(found: WeightsStatus) -> dict[str, object]:
    return {
        "model": f"{LOCAL}{found.weights.name}",
        "path": str(found.weights.path),
        "present": found.present,
        "fetchedBytes": found.fetched_bytes,
        "sizeBytes": found.size_bytes,
    }


def _show(label: str, found: WeightsStatus) -> None:
    click.echo(f"{label:7} {LOCAL}{found.weights.name}")
    click.echo(f"file    {found.weights.path}")
    click.echo(f"        {_file_words(found)}")


def _file_words(found: WeightsStatus) -> str:
    if found.weights.known is None:
        return f"your own, {found.size_bytes // _MEGABYTE} MB" if found.present else "is not there"
    size = found.size_bytes // _MEGABYTE
    if found.present:
        return f"there and in order, {size} MB"
    there = found.fetched_bytes // _MEGABYTE
    return f"{there} of {size} MB fetched; get the rest with: {_pull_words(found.weights)}"


def _pull_words(weights: Weights) -> str:
    assert weights.known is not None
    option = f" --model {weights.name}" if weights.known.embedding is not None else ""
    return f"openclaw-gateway local pull{option}"


def _engine_words(*, installed: bool) -> str:
    return "installed" if installed else "missing; get it with: pip install 'openclaw-twisted[local]'"


def _settings(surroundings: Surroundings, config: Path | None) -> LocalModelSettings:
    return surroundings.load(config).settings.models.local


def _store(surroundings: Surroundings, reactor: Any = None, sources: Sequence[Source] = ()) -> WeightsStore:
    """Return the store; without a reactor and sources it can look, but not fetch."""
    from openclaw_twisted.providers.weights import WeightsStore

    return WeightsStore(reactor, surroundings.state_dir, sources=sources)
