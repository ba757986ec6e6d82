"""``otlp-collector serve``: check that a server can run on this data directory, then be it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from collector import log as logs
from collector.config_section import ConfigError
from collector.data_dir import CannotStart, prepare, server_lock
from collector.memory import keep_at_hand

if TYPE_CHECKING:
    from collector.config import Config

log = logs.Log("server")

LOADER: Final = (sys.executable, "-m", "collector.loader")


def serve(config: Config, loader_command: Sequence[str] = LOADER) -> int:
    """Run the server until SIGTERM or SIGINT. The exit code: 0 stopped, 2 could not start, said on stderr."""
    os.umask(0o077)
    logs.configure(config.log_level)
    try:
        prepare(config.data_dir)
        with server_lock(config.data_dir):
            _make_redaction_key(config)
            _run(config, loader_command)
    except (CannotStart, ConfigError) as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0


def _make_redaction_key(config: Config) -> None:
    """Where one is needed; the loader only reads it, so that there is never a second. Raises ConfigError."""
    if made := config.redaction.make_key(config.data_dir, of_prompts=config.capture.prompt_hashes):
        log.info("made the key of the redaction; keep a copy of it", path=made)
    config.semconv_settings()


def _run(config: Config, loader_command: Sequence[str]) -> None:
    # Read when gRPC is imported: our children exec at once and need none of its work around fork().
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    # It would write a line to stderr for handshakes that fail and for odd headers, and anybody can send those.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    keep_at_hand()

    import uvloop  # noqa: PLC0415 - what cannot start says so without loading all this

    from collector.server import Server  # noqa: PLC0415

    uvloop.run(Server(config, loader_command).run())
