"""The one pipeline: every door hands a run request in here."""
