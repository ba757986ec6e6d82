from __future__ import annotations

from semconv.grouping import Edge, group


def edge(rule: str, left: int, right: int, reporters: str = "ab", agreement: int = 3) -> Edge:
    return Edge(rule, left, right, reporters[0], reporters[1], agreement)  # type: ignore[arg-type]


def groups(*edges: Edge, nesting: frozenset[tuple[int, int]] = frozenset()) -> list[list[int]]:
    return sorted(sorted(members) for members in group(edges, nesting).groups)


def test_equal_ids_chain_through_several_libraries() -> None:
    assert groups(edge("id", 1, 2, "ab"), edge("id", 2, 3, "bc")) == [[1, 2, 3]]


def test_one_library_is_not_in_a_group_twice_even_through_a_third_record() -> None:
    """1 and 3 are of library a and not nested: the second edge would bring them together through 2."""
    result = group([edge("id", 1, 2, "ab"), edge("id", 3, 2, "ab")], frozenset())
    assert [sorted(members) for members in result.groups] == [[1, 2]]
    assert result.doubtful == {(3, 2)}


def test_one_library_may_stand_in_a_group_twice_as_ancestor_and_descendant() -> None:
    nesting = frozenset({(1, 2)})
    assert groups(edge("nested", 1, 2, "aa"), nesting=nesting) == [[1, 2]]


def test_nested_records_pair_one_to_one_per_library() -> None:
    """Two identical calls under one wrapper: the wrapper is the first, the second stays and is doubtful."""
    nesting = frozenset({(1, 2), (1, 3)})
    result = group([edge("nested", 1, 2, "ab"), edge("nested", 1, 3, "ab")], nesting)
    assert [sorted(members) for members in result.groups] == [[1, 2]]
    assert result.doubtful == {(1, 3)}


def test_three_libraries_around_one_call_become_one() -> None:
    nesting = frozenset({(1, 2), (1, 3), (2, 3)})
    edges = [edge("nested", 1, 2, "ab"), edge("nested", 2, 3, "bc"), edge("nested", 1, 3, "ac")]
    assert groups(*edges, nesting=nesting) == [[1, 2, 3]]


def test_records_that_only_look_alike_stay_apart_and_are_doubtful() -> None:
    result = group([edge("doubt", 1, 2, "aa")], frozenset())
    assert result.groups == ()
    assert result.doubtful == {(1, 2)}


def test_an_edge_refused_for_different_counts_is_no_doubt() -> None:
    result = group([edge("id", 1, 2, "ab"), edge("id", 3, 2, "ab", agreement=0)], frozenset())
    assert result.doubtful == frozenset()
