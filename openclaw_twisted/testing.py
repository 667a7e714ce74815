"""Fakes and a whole gateway in memory, for our tests and for yours."""
