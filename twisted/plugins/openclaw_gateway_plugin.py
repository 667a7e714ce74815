"""Tell `twistd` about its `openclaw-gateway` command; `openclaw_twisted.tap` is imported when it is used."""

from twisted.application.service import ServiceMaker

__all__ = ["openclaw_gateway"]

openclaw_gateway = ServiceMaker(
    "OpenClaw Gateway",
    "openclaw_twisted.tap",
    "Serve the OpenAI Chat Completions API and OpenClaw's WebSocket for your own agents.",
    "openclaw-gateway",
)
