"""The models: how each kind of upstream is asked and how its answer is read."""
