"""Long tests, run by hand or at night; the suite runs the short form of each."""
