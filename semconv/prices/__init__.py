"""List prices: where they come from, which model a call's model id means, and what a call costs by them."""

from semconv.prices.snapshot import Snapshot, compile_snapshot

__all__ = ["Snapshot", "compile_snapshot"]
