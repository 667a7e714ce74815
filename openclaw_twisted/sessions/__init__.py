"""Where conversations and runs are kept."""
