"""The ways a file may be written that mean the same: older keys, both shapes of the agent list.

Each function changes the plain tree in place and tells the findings where the user wrote what it moved.
Whatever has the wrong type is left for the builder to name.
"""

from __future__ import annotations

import re
from typing import Any

from openclaw_twisted.config.findings import Findings, at

__all__ = ["normalise"]

_AGENT_ID = re.compile(r"[a-z0-9_][a-z0-9_-]*")
_UNFIT = re.compile(r"[^a-z0-9_-]+")
_MAX_ID_CHARACTERS = 64


def normalise(tree: dict[str, Any], findings: Findings) -> None:
    """Bring every accepted shape of the tree into the one that the structs describe."""
    agents = _object(tree, "agents")
    _agent_entries(agents, findings)
    _agent_models(agents)
    _local_model(_object(tree, "models"), findings)
    _reload_mode(_object(_object(tree, "gateway"), "reload"))
    _sessions(_object(tree, "session"), findings)
    _environment(_object(tree, "env"), findings)


def _object(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object at a key to be changed in place; an unattached empty one when there is none."""
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _agent_entries(agents: dict[str, Any], findings: Findings) -> None:
    """Read `agents.list` and `agents.entries` into one map by lower-case id."""
    entries, listed = agents.get("entries", {}), agents.pop("list", [])
    if not isinstance(entries, dict):
        return
    merged: dict[str, Any] = {}
    agents["entries"] = merged
    for key, entry in entries.items():
        _add_agent(merged, key, entry, at("agents.entries", key), findings)
    if not isinstance(listed, list):
        findings.refuse("agents.list", "must be a list of agents")
        return
    for index, entry in enumerate(listed):
        path = f"agents.list[{index}]"
        agent_id = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(agent_id, str):
            findings.refuse(path, 'needs a key "id" with a name')
            continue
        _add_agent(merged, agent_id, entry, path, findings)


def _add_agent(merged: dict[str, Any], written_id: str, entry: Any, path: str, findings: Findings) -> None:
    asked = written_id.strip().lower()
    agent_id = _UNFIT.sub("-", asked).strip("-")[:_MAX_ID_CHARACTERS]
    if not _AGENT_ID.fullmatch(agent_id):
        findings.refuse(
            path, "an agent's id has letters (a to z), digits, - and _; this one has none of them"
        )
        return
    if agent_id != asked:
        findings.warn(
            path, f'the agent\'s id is read as "{agent_id}": it has letters, digits, - and _, at most 64'
        )
    if agent_id in merged:
        first = findings.shown(at("agents.entries", agent_id))
        findings.refuse(path, f'is a second agent "{agent_id}"; the first is {first}')
        return
    if isinstance(entry, dict):
        inner = entry.get("id", written_id)
        if not isinstance(inner, str) or inner.strip().lower() not in {asked, agent_id}:
            findings.refuse(at(path, "id"), f'must be "{agent_id}" as its key says, or be left out')
        entry = {**entry, "id": agent_id}
    merged[agent_id] = entry
    if (moved := at("agents.entries", agent_id)) != path:
        findings.written_at[moved] = path


def _agent_models(agents: dict[str, Any]) -> None:
    """Give a `model` that only names fallbacks a primary model: an agent's that of the defaults."""
    defaults = _object(agents, "defaults")
    _complete_model(defaults, None)
    model = defaults.get("model")
    primary = model.get("primary") if isinstance(model, dict) else model
    for entry in _object(agents, "entries").values():
        if isinstance(entry, dict):
            _complete_model(entry, primary)


def _complete_model(holder: dict[str, Any], primary: object) -> None:
    model = holder.get("model")
    if not isinstance(model, dict) or "primary" in model:
        return
    if isinstance(primary, str):
        holder["model"] = {"primary": primary, **model}
    elif not model:
        del holder["model"]  # OpenClaw's setup may leave it empty
    elif isinstance(fallbacks := model.get("fallbacks"), list) and fallbacks:
        holder["model"] = {**model, "primary": fallbacks[0], "fallbacks": fallbacks[1:]}


def _local_model(models: dict[str, Any], findings: Findings) -> None:
    """Tell the model of this machine from an ordinary provider that somebody called `local`."""
    if models.pop("local", None) is not None:
        findings.refuse("models.local", "stands under models.providers.local")
    providers = _object(models, "providers")
    if "local" in providers and "baseUrl" not in _object(providers, "local"):
        models["local"] = providers.pop("local")
        findings.written_at["models.local"] = "models.providers.local"


def _reload_mode(reload: dict[str, Any]) -> None:
    if reload.get("mode") in ("hot", "restart"):  # no set: it may be anything, also what cannot be hashed
        reload["mode"] = "hybrid"


def _sessions(session: dict[str, Any], findings: Findings) -> None:
    """Read `session.idleMinutes` and `session.maintenance.pruneDays`, as they were called before.

    A `session.reset` without a mode has the one that its keys are for.
    """
    if "idleMinutes" in session:
        minutes = session.pop("idleMinutes")
        if "reset" not in session:
            session["reset"] = {"mode": "idle", "idleMinutes": minutes}
            findings.written_at["session.reset.idleMinutes"] = "session.idleMinutes"
    reset = _object(session, "reset")
    if "mode" not in reset and {"atHour", "idleMinutes"} & reset.keys():
        reset["mode"] = "daily" if "atHour" in reset else "idle"
    maintenance = _object(session, "maintenance")
    if "pruneDays" in maintenance:
        days = maintenance.pop("pruneDays")
        if "pruneAfter" not in maintenance:
            maintenance["pruneAfter"] = days
            findings.written_at["session.maintenance.pruneAfter"] = "session.maintenance.pruneDays"


def _environment(env: dict[str, Any], findings: Findings) -> None:
    """Read `env.NAME`, the older place of `env.vars.NAME`."""
    flat = {
        key: value for key, value in env.items() if key not in {"vars", "shellEnv"} and isinstance(value, str)
    }
    if not flat:
        return
    for key in flat:
        del env[key]
        findings.written_at[at("env.vars", key)] = at("env", key)
    named = env.setdefault("vars", {})
    if isinstance(named, dict):
        env["vars"] = flat | named
