"""An event-driven gateway that lets OpenAI clients talk to your own agents."""

__all__ = ["__version__"]

__version__ = "0.1.0"
