"""A page of judged prompts, to be read by whoever writes them."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyzers import sql
from analyzers.bloat_sections import Judged
from analyzers.window import Window


@dataclass(frozen=True, slots=True)
class Shown:
    """A section with who sends it, in how many calls. `name` tells it from others."""

    who: str
    role: str
    name: str
    calls: int
    judged: Judged


def write(path: Path, sections: Sequence[Shown], window: Window, model: str, least_keep: float) -> None:
    """In the place of what is there, for its owner's eyes alone. Raises OSError."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(page(sections, window, model, least_keep))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(sections: Sequence[Shown], window: Window, model: str, least_keep: float) -> str:
    """One HTML document that asks for nothing else and runs nothing."""
    import jinja2  # noqa: PLC0415 - takes 40 ms, and nobody may ask for a page

    style = sql.read("bloat_page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    return environment.from_string(sql.read("bloat_page.html.j2")).render(
        style=style,
        style_hash=f"sha256-{digest}",
        window=window,
        model=model,
        least_keep=least_keep,
        sections=[
            {
                "who": one.who,
                "role": one.role,
                "name": one.name,
                "calls": one.calls,
                "words": one.judged.words,
                "little": one.judged.little,
                "passages": one.judged.passages,
                "stretches": one.judged.stretches,
            }
            for one in sections
        ],
    )
