"""The key of the hashes: made once, for its owner alone, and nothing is loaded without the right one."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config, ConfigError
from semconv.prompt_hashes import hash_key
from semconv.settings import RedactionRules


def hashing(data_dir: Path, **more: Any) -> Config:
    return Config(data_dir=data_dir, redaction={"hash": ["app.customer"], "user_ids": "drop", **more})


def test_nothing_to_redact_needs_no_key(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    assert config.redaction.make_key(tmp_path) is None
    assert config.semconv_settings().redaction is None
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """32 random bytes, mode 0600; the loader, which gets the configuration as JSON, reads the same."""
    data = tmp_path / "data"
    data.mkdir()
    config = hashing(data)
    path = config.redaction.make_key(data)
    assert path == data / "redaction.key"
    assert (stat.S_IMODE(path.stat().st_mode), len(path.read_bytes())) == (0o600, 32)
    assert config.redaction.make_key(data) is None
    loader = Config.model_validate_json(config.model_dump_json()).semconv_settings().redaction
    assert loader == RedactionRules((), ("app.customer",), "drop", path.read_bytes())
    assert list(data.iterdir()) == [path]


def test_hashes_of_prompts_need_the_key_too_and_have_one_of_their_own_from_it(tmp_path: Path) -> None:
    """Nothing is redacted for their sake; without them nothing is hashed."""
    config = Config(data_dir=tmp_path, capture={"prompt_hashes": True})
    with pytest.raises(ConfigError, match=r"redaction\.key: .*otlp-collector serve makes it"):
        config.semconv_settings()
    path = config.redaction.make_key(tmp_path, of_prompts=True)
    assert path == tmp_path / "redaction.key"
    settings = config.semconv_settings()
    assert settings.redaction is None
    assert settings.prompt_hash_key == hash_key(path.read_bytes())
    assert settings.prompt_hash_key not in (b"", path.read_bytes())
    assert "prompt_hash_key" not in repr(settings)
    assert Config(data_dir=tmp_path).semconv_settings().prompt_hash_key == b""


def test_makers_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    config, found = hashing(tmp_path), []

    def make() -> None:
        config.redaction.make_key(tmp_path)
        found.append(config.semconv_settings().redaction.secret)  # type: ignore[union-attr]

    makers = [threading.Thread(target=make) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_missing_key_is_never_replaced_by_those_who_only_read(tmp_path: Path) -> None:
    """A second key would make two hashes of one value; a dry run, which stores none, brings a spare one."""
    config = hashing(tmp_path)
    with pytest.raises(ConfigError, match=r"redaction\.key: .*No such file.*otlp-collector serve makes it"):
        config.semconv_settings()
    assert config.semconv_settings(b"s" * 32).redaction.secret == b"s" * 32  # type: ignore[union-attr]
    assert not (tmp_path / "redaction.key").exists()


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"", 0o600, "0 bytes"),
        (b"x" * 15, 0o600, "15 bytes, 16 are needed"),
        (b"x" * 32, 0o644, "open to other users"),
        (b"x" * 32, 0o620, "open to other users"),
        (b"x" * 5000, 0o600, "larger than"),
        (None, 0, "No such file"),
    ],
)
@pytest.mark.parametrize("configured", [True, False], ids=["secret_file", "default"])
def test_a_key_that_cannot_be_used_fails_closed(
    tmp_path: Path, content: bytes | None, mode: int, reason: str, configured: bool
) -> None:
    """It is named, not replaced, and a spare one does not help."""
    path = tmp_path / ("own.key" if configured else "redaction.key")
    config = hashing(tmp_path, **({"secret_file": path} if configured else {}))
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    if configured or content is not None:
        assert config.redaction.make_key(tmp_path) is None
        with pytest.raises(ConfigError, match=reason):
            config.semconv_settings(b"s" * 32)
    with pytest.raises(ConfigError, match=f"{path}: key of the redaction: .*{reason}"):
        config.semconv_settings()
