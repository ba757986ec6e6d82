"""What a configuration names besides itself: tokens, keys and certificates in files."""

from __future__ import annotations

from typing import Final

from collector.config import Config
from collector.tls import Certificates

# Of a length that will do; nothing is hashed with it.
_SPARE_KEY: Final = bytes(32)


def check_files(config: Config) -> None:
    """Whether `serve` can use all of them; a key that it would make may be missing. Raises ConfigError."""
    config.secrets()
    Certificates(config.tls)
    config.semconv_settings(_SPARE_KEY)
    for webhook in config.alerts.channels.webhooks:
        webhook.key()
    for email in config.alerts.channels.email:
        email.login()
