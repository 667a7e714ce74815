"""The agents that the settings define, and which of them a request means."""
