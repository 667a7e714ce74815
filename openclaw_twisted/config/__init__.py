"""Settings: what the operator wrote, parsed once into typed values."""
