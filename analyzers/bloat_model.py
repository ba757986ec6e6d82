"""How likely a prompt needs each of its words, by a token classifier such as LLMLingua-2 (Pan et al. 2024,
arXiv:2403.12968): a small model that was taught which tokens of a text to keep. Its libraries are the extra `bloat`.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

# The smaller of the two models that came with the paper; 0.7 GB.
DEFAULT_MODEL: Final = "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank"
# Longer inputs are no use to models of this kind.
_MOST_TOKENS: Final = 512
# Some 5 s of one core, by the default model; time is looked at in between.
_PIECES_AT_ONCE: Final = 4
# The default model takes 1.8 GB of address space beside the database's.
_LEAST_ADDRESS_SPACE: Final = 3 << 30
_KEEP: Final = 1  # the class that the paper's models give a token that is to stay
_SENTENCE_ENDS: Final = frozenset(".!?;\n")
# Scripts without spaces: each character is a word.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


class CannotJudge(Exception):  # noqa: N818 - the name says what is the case
    """There is no model to be asked; says what to do."""


class Word(NamedTuple):
    """Where it stands in its text, and how likely it is to be needed, 0 to 1."""

    start: int
    end: int
    keep: float


# All words of a text, in order. Raises TimeoutError where that is not done at a moment of time.monotonic().
Judge: TypeAlias = Callable[[str, float], list[Word]]


def load(model: str) -> Judge:
    """The classifier of that name or in that directory; nothing is downloaded. Raises CannotJudge."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise CannotJudge("prompts are judged by a model that needs: pip install 'spanledger[bloat]'")
    if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < _LEAST_ADDRESS_SPACE:
        raise CannotJudge(
            "a scheduled run has less memory than the model needs: run `otlp-analyze prompt-bloat` by hand or from "
            "cron, or allow more, `sql: {memory_limit: 3GB}`"
        )
    from transformers import (  # noqa: PLC0415 - takes seconds and 300 MB, and is no part of a normal installation
        AutoModelForTokenClassification,
        AutoTokenizer,
        logging,
    )

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = Path(model).expanduser()
    named = str(where) if where.is_dir() else model
    # Neither the network is asked nor code run that came with a model.
    own = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(named, **own)
        classifier = AutoModelForTokenClassification.from_pretrained(named, **own).eval()
    except (OSError, ValueError) as error:
        raise CannotJudge(
            f"the model {model} is not on this machine, or is none: fetch it with `hf download {model}`, or name "
            "another, or a directory, in `analyzers: {prompt-bloat: {model: ...}}`"
        ) from error
    if classifier.config.num_labels != _KEEP + 1 or not tokenizer.is_fast:
        raise CannotJudge(
            f"the model {model} is no classifier of tokens into those to drop and those to keep"
        )
    return _Classifier(tokenizer, classifier).words


class _Classifier:
    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model
        longest = getattr(model.config, "max_position_embeddings", _MOST_TOKENS)
        most = min(_MOST_TOKENS, tokenizer.model_max_length, longest)
        self._room = most - tokenizer.num_special_tokens_to_add()
        self._most = most

    def words(self, text: str, until: float) -> list[Word]:
        """As Judge has it."""
        pieces = [*self._pieces(text)]
        tokens: list[Word] = []
        for at in range(0, len(pieces), _PIECES_AT_ONCE):
            if time.monotonic() > until:
                raise TimeoutError
            tokens += self._tokens(text, pieces[at : at + _PIECES_AT_ONCE])
        return [*_words(text, tokens)]

    def _pieces(self, text: str) -> Iterator[tuple[int, int]]:
        """What the model takes at once, ending with a sentence where that is not too far back."""
        spans = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        first = 0
        while first < len(spans):
            last = min(first + self._room, len(spans))
            if last < len(spans):
                ends = (
                    at for at in range(last, first + self._room // 2, -1) if _ends(text, spans[at - 1][1])
                )
                last = next(ends, last)
            yield spans[first][0], spans[last - 1][1]
            first = last

    def _tokens(self, text: str, pieces: Sequence[tuple[int, int]]) -> Iterator[Word]:
        import torch  # noqa: PLC0415 - as above

        read = self._tokenizer(
            [text[start:end] for start, end in pieces],
            padding=True,
            truncation=True,
            max_length=self._most,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        spans = read.pop("offset_mapping").tolist()
        with torch.inference_mode():
            keep = torch.softmax(self._model(**read).logits, dim=-1)[..., _KEEP].tolist()
        for (begins, _), piece, likely in zip(pieces, spans, keep, strict=True):
            for (start, end), one in zip(piece, likely, strict=True):
                if end > start:  # the model's own marks have no place in the text
                    yield Word(begins + start, begins + end, one)


def _ends(text: str, end: int) -> bool:
    return text[end - 1] in _SENTENCE_ENDS


def _words(text: str, tokens: Sequence[Word]) -> Iterator[Word]:
    """A word is as likely to be needed as its tokens on average; one that the model did not see is."""
    at = 0
    for found in _WORD.finditer(text):
        start, end = found.span()
        while at < len(tokens) and tokens[at].end <= start:
            at += 1
        inside = [token.keep for token in tokens[at : at + end - start] if token.start < end]
        yield Word(start, end, sum(inside) / len(inside) if inside else 1.0)
