"""What the dialect tables want of a list of attributes, worked out once for each list of keys that is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

from semconv.dialect_rules import NO_DIALECT, Claim, ContentRule, Rules, general_key
from semconv.documents import Places, places

# How long keys and lists of them may be that are remembered.
_LONGEST_KEY: Final = 256
_LONGEST_SHAPE: Final = 100


InnerClaim = tuple[Claim, str]  # and its place in the document, as evidence names it


class KeyPlan(NamedTuple):
    """All that is done with one attribute key. ``rank`` is its dialect's, NO_DIALECT for a key of none."""

    rank: int
    content: ContentRule | None
    claims: tuple[Claim, ...]  # of the value itself, whatever else is there
    inner: Places[InnerClaim]  # of places in the document that it is
    conditional: tuple[Claim, ...]  # of the value itself, where another attribute says so


# A claimed key of a shape: its place among the keys; slot, exact type and precedence of its claim where that is
# its only one (0 for one that goes before all others of its column; else 0, None, 0); all its claims.
Wanted = tuple[int, int, type | None, int, tuple[Claim, ...]]
# A key of a shape whose value is a document: its place among the keys, itself, whether its text is content,
# and what is claimed within.
WantedDocument = tuple[int, str, bool, Places[InnerClaim]]
# A claimed key of a shape, and the one whose value must be as the claim says: their places among the keys.
WantedIf = tuple[int, int, Claim]
Pick = Callable[[list[Any]], tuple[Any, ...]]


Further = tuple[tuple[WantedDocument, ...], tuple[WantedIf, ...]]
# How columns are filled at once where each value has the type that it should have, no text is empty and no number
# negative, so that the keys alone tell which claim wins each column: picks the values that must be so; their types;
# picks the integers, None where there are none; of all values with a None behind them makes those of all columns;
# and what is claimed besides.
Usual = tuple[Pick, tuple[type, ...], Pick | None, Pick, tuple[Wanted, ...]]
# The keys whose text is content.
Marked = tuple[tuple[str, ContentRule], ...]
# What is done with a list of attributes, by their keys alone: the lowest rank of their dialects, those that are
# content, and the keys that are claimed: at once, and how that usually goes; within documents and on conditions,
# None where there are none. Plain tuples: unpacking one takes half of a NamedTuple's time.
Shape = tuple[
    int,
    Marked,
    tuple[Wanted, ...],
    Usual | None,
    Further | None,
]


class KeyPlans(dict[str, KeyPlan]):
    """Key → plan, worked out when a key is first met and remembered."""

    def __init__(self, rules: Rules, most: int) -> None:
        super().__init__()
        self.columns = len(rules.columns)
        self._rules = rules
        self._most = most

    def __missing__(self, key: str) -> KeyPlan:
        plan = self._plan(key)
        if len(key) <= _LONGEST_KEY:
            if len(self) >= self._most:
                self.clear()
            self[key] = plan
        return plan

    def _plan(self, key: str) -> KeyPlan:
        general = general_key(key)
        claims = self._rules.claims.get(general, ())
        whole = tuple(claim for claim in claims if not claim.path and not claim.when)
        conditional = tuple(claim for claim in claims if claim.when)
        inner = places((claim.path, (claim, claim.place)) for claim in claims if claim.path)
        content = self._rules.content.get(general)
        if content is None and not whole:
            content = self._rules.content_by_suffix(key)
        return KeyPlan(self._rules.key_rank(key), content, whole, inner, conditional)


class Shapes(dict[tuple[str, ...], Shape]):
    """The keys of a list of attributes, in order → shape. One instrumentation sends few different ones."""

    def __init__(self, plans: KeyPlans, most: int) -> None:
        super().__init__()
        self._plans = plans
        self._most = most

    def __missing__(self, keys: tuple[str, ...]) -> Shape:
        shape = self._shape(keys)
        if len(keys) <= _LONGEST_SHAPE and max(map(len, keys), default=0) <= _LONGEST_KEY:
            if len(self) >= self._most:
                self.clear()
            self[keys] = shape
        return shape

    def _shape(self, keys: tuple[str, ...]) -> Shape:
        plans = [self._plans[key] for key in keys]
        rank = min((plan.rank for plan in plans), default=NO_DIALECT)
        marked = tuple(
            (key, plan.content) for key, plan in zip(keys, plans, strict=True) if plan.content is not None
        )
        wanted = tuple(_wanted(place, plan.claims) for place, plan in enumerate(plans) if plan.claims)
        documents = tuple(
            (place, keys[place], plan.content is not None, plan.inner)
            for place, plan in enumerate(plans)
            if plan.inner
        )
        conditional = tuple(
            (place, keys.index(claim.when[0]), claim)
            for place, plan in enumerate(plans)
            for claim in plan.conditional
            if claim.when and claim.when[0] in keys
        )
        within = {claim.slot for plan in plans for claim in _claims_within(plan.inner)}
        usual = _usual(wanted, within | {claim.slot for _, _, claim in conditional}, self._plans.columns)
        return rank, marked, wanted, usual, (documents, conditional) if documents or conditional else None


def _wanted(place: int, claims: tuple[Claim, ...]) -> Wanted:
    if len(claims) > 1:
        return place, 0, None, 0, claims
    [claim] = claims
    return place, claim.slot, claim.exact, 0 if claim.first else claim.precedence, claims


def _claims_within(tree: Places[InnerClaim]) -> Iterator[Claim]:
    for _, wishes, below in tree:
        yield from (claim for claim, _ in wishes)
        yield from _claims_within(below)


def _usual(wanted: tuple[Wanted, ...], contested: set[int], columns: int) -> Usual | None:
    """``contested`` are columns that are claimed in other ways too."""
    converted = {claim.slot for _, _, exact, _, claims in wanted if exact is None for claim in claims}
    plain = [one for one in wanted if one[2] is not None and one[1] not in contested | converted]
    if not plain:
        return None
    sources = [-1] * columns
    for place, slot, *_ in sorted(plain, key=lambda one: one[3]):
        if sources[slot] < 0:  # else claimed by one that goes before
            sources[slot] = place
    types = [exact for _, _, exact, _, _ in plain if exact is not None]
    counts = [place for place, _, exact, _, _ in plain if exact is int]
    return (
        _pick([place for place, *_ in plain]),
        (*types, types[-1]),
        _pick(counts) if counts else None,
        itemgetter(*sources),
        tuple(one for one in wanted if one not in plain),
    )


def _pick(chosen: list[int]) -> Pick:
    """The values at places; the last one is named twice, for one alone would not come as a tuple."""
    return itemgetter(*chosen, chosen[-1])
