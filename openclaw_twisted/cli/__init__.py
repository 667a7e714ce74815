"""The `openclaw-gateway` command."""
