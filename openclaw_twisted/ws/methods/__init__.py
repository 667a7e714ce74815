"""The methods that clients call, one family in a module."""
