"""GET /: one line for curl, a plain page for browsers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from openclaw_twisted import __version__
from openclaw_twisted.config.settings import EndpointsSettings
from openclaw_twisted.http.endpoint import Call, Reply

__all__ = ["Home"]

_SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OpenClaw Gateway</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}
  code {{ background: #8882; padding: .1em .3em; border-radius: .2em }}
  :root {{ color-scheme: light dark }}
</style>
<h1>OpenClaw Gateway</h1>
<p>{line}</p>
<p>OpenAI clients: set the base URL to <code>{base}/v1</code> and the API key to the gateway's secret.</p>
"""


@dataclass(frozen=True)
class Home:
    """The front door for people who look with a browser; tells nothing that needs a secret."""

    endpoints: EndpointsSettings

    async def __call__(self, call: Call) -> Reply:
        """Answer in the form that the caller prefers."""
        paths = self._paths()
        if paths:
            says = f"The OpenAI API is at {' and '.join(paths)}; WebSocket clients connect on this port."
        else:
            says = (
                "WebSocket clients connect on this port. The OpenAI API is off: "
                "gateway.http.endpoints.chatCompletions.enabled switches it on."
            )
        line = f"openclaw-twisted {__version__}. {says}"
        if "text/html" not in (call.header("accept") or ""):
            return Reply(body=f"{line}\n".encode(), content_type="text/plain; charset=utf-8")
        scheme = "https" if call.request.isSecure() else "http"
        base = f"{scheme}://{call.header('host') or 'localhost'}"
        page = _PAGE.format(line=escape(line), base=escape(base))
        return Reply(body=page.encode(), content_type="text/html; charset=utf-8", headers=_SECURITY)

    def _paths(self) -> list[str]:
        """Return where models can be asked."""
        switches = {
            "/v1/chat/completions": self.endpoints.chat_completions.enabled,
            "/v1/responses": self.endpoints.responses.enabled,
        }
        return [path for path, enabled in switches.items() if enabled]
