"""Speed, memory and size, beside floors of the same run: ``python -m tests.bench``."""
