"""prompt-bloat with a real token classifier, of a thousandth of the size: it is taught here, in a second, that of all
words it knows "fluff" alone is not needed. For `make test-bloat`, where the extra is installed."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from analyzers import bloat_model, frame, registry
from analyzers.bloat_model import CannotJudge, Judge
from analyzers.window import Window
from tests.bloat_lake import FILLER, NEEDED, START, BloatLake, prompt

WORDS = (
    "fluff",
    "refund",
    "order",
    "what",
    "about",
    "be",
    "brief",
    "customer",
    ".",
    ",",
    "1",
    "2",
    "##s",
    "##ed",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LONGEST = 64
SOON = 60.0


def a_tokenizer() -> PreTrainedTokenizerFast:
    known = {token: number for number, token in enumerate((*SPECIAL, *WORDS))}
    made = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", known["[SEP]"]), ("[CLS]", known["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=LONGEST,
    )


def a_classifier(labels: int = 2) -> BertForTokenClassification:
    torch.manual_seed(1)
    return BertForTokenClassification(
        BertConfig(
            vocab_size=len(SPECIAL) + len(WORDS),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=LONGEST,
            num_labels=labels,
        )
    )


def taught(model: BertForTokenClassification) -> BertForTokenClassification:
    """On texts of words by chance, each labelled by itself: 0 is to drop, 1 to keep."""
    fluff = len(SPECIAL) + WORDS.index("fluff")
    steps = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(80):
        texts = torch.randint(1, len(SPECIAL) + len(WORDS), (16, LONGEST // 2))
        loss = model(input_ids=texts, labels=(texts != fluff).long()).loss
        steps.zero_grad()
        loss.backward()
        steps.step()
    return model.eval()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as one has it on disk."""
    torch.set_num_threads(1)
    where = tmp_path_factory.mktemp("model")
    a_tokenizer().save_pretrained(where)
    taught(a_classifier()).save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def judge(directory: Path) -> Judge:
    return bloat_model.load(str(directory))


def soon() -> float:
    return time.monotonic() + SOON


def test_words_are_judged_where_they_stand(judge: Judge) -> None:
    """Guarantee: every word once, in order, at its place, with the model's opinion of it; a word of several tokens has
    their mean, one that the tokenizer does not know is judged too."""
    text = "what  about fluffs, refunded orders; fluff été"
    words = judge(text, soon())
    assert [text[word.start : word.end] for word in words] == text.split()
    keep = {text[word.start : word.end]: word.keep for word in words}
    assert keep["fluff"] < 0.1
    assert 0.1 < keep["fluffs,"] < 0.9  # "fluff" is not needed, "##s" and "," are
    assert min(keep["what"], keep["about"], keep["refunded"], keep["orders;"]) > 0.9


def test_texts_of_many_times_what_the_model_takes_at_once(judge: Judge) -> None:
    """Guarantee: no word is lost, judged twice or given another's opinion where pieces meet."""
    text = ". ".join([FILLER, NEEDED] * 60)
    words = judge(text, soon())
    assert [text[word.start : word.end] for word in words] == text.split()
    wrong = [
        text[word.start : word.end]
        for word in words
        if (word.keep < 0.5) != text.startswith("fluff", word.start)
    ]
    # A mark at the end of a word is needed, by the model that was taught so.
    assert {*wrong} <= {"fluff."}


def test_scripts_without_spaces_have_words_too(judge: Judge) -> None:
    assert [(word.start, word.end) for word in judge("返金 refund", soon())] == [(0, 1), (1, 2), (3, 9)]


def test_nothing_is_judged_of_nothing(judge: Judge) -> None:
    assert judge("", soon()) == judge("  \n ", soon()) == []


def test_time_runs_out(judge: Judge) -> None:
    with pytest.raises(TimeoutError):
        judge(FILLER, time.monotonic() - 1)


def test_the_same_text_is_judged_the_same(judge: Judge, directory: Path) -> None:
    text = f"{FILLER}. {NEEDED}"
    again = bloat_model.load(str(directory))
    assert judge(text, soon()) == again(text, soon())


@pytest.mark.parametrize("what", ["nothing", "another kind", "an empty directory"])
def test_what_is_no_model_is_said(what: str, tmp_path: Path) -> None:
    """Guarantee: nothing is downloaded, no error of the libraries reaches the user, and a sentence says what to do."""
    if what == "another kind":
        a_tokenizer().save_pretrained(tmp_path)
        a_classifier(labels=5).save_pretrained(tmp_path)
    named = "somebody/no-such-model" if what == "nothing" else str(tmp_path)
    with pytest.raises(
        CannotJudge, match="is no classifier" if what == "another kind" else "not on this machine"
    ):
        bloat_model.load(named)


def test_the_analyzer_finds_the_filler(directory: Path, tmp_path: Path) -> None:
    """Scenario: each day a call with the same system text, half of which is filler. Guarantee: a finding of that half,
    priced, and a page in which it is struck out."""
    lake = BloatLake()
    for day in range(14):
        lake.call(day, START + dt.timedelta(days=day), [prompt(6, 6), ("user", f"what about order {day}?")])
    start = START.replace(tzinfo=dt.UTC)
    window = Window(start, start + dt.timedelta(days=14))
    connection = lake.stored()
    page = tmp_path / "prompts.html"
    report = registry.get("prompt-bloat").run(
        connection, window, {"model": str(directory), "html": str(page)}
    )
    (finding,) = frame.settle(connection, window, window.end, {"it": report})["it"].findings
    assert 0.4 < finding.evidence["share"] < 0.5
    assert 0.4 < float(finding.estimate.high.usd) < 14 * 0.1 * 0.5
    assert page.read_text().count("<del>fluff fluff") == 6


def test_the_libraries_are_imported_when_they_are_asked() -> None:
    """Guarantee: whoever looks at other analyzers, or at the list of all, waits for none of them."""
    listing = (
        "from analyzers import registry; registry.discover(); import sys; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", listing], check=True, env=os.environ)
