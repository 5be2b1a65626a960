"""Turns: how many threads work at once, and in which order."""

from __future__ import annotations

import threading

from bertedge.serve.turns import Turns


class Asking:
    """A thread that waits for a turn."""

    def __init__(self, turns: Turns, order: list[str], name: str, *, begun: bool) -> None:
        before = waiting(turns)

        def work() -> None:
            turns.take(begun=begun)
            order.append(name)
            turns.give()

        self.thread = threading.Thread(target=work)
        self.thread.start()
        while waiting(turns) == before:
            pass


def waiting(turns: Turns) -> int:
    return len(turns._begun) + len(turns._new)


def test_those_that_have_begun_come_first_and_each_in_its_order() -> None:
    turns, order = Turns(1), list[str]()
    turns.take()
    asked = [
        Asking(turns, order, name, begun=begun)
        for name, begun in (("new 1", False), ("begun 1", True), ("new 2", False), ("begun 2", True))
    ]
    turns.give()
    for one in asked:
        one.thread.join()
    assert order == ["begun 1", "begun 2", "new 1", "new 2"]


def test_as_many_as_there_are_turns() -> None:
    turns, order = Turns(2), list[str]()
    with turns.turn(), turns.turn():
        third = Asking(turns, order, "third", begun=False)
        with turns.pause():  # another thread has the turn meanwhile
            third.thread.join()
        assert order == ["third"]
    with turns.turn(), turns.turn():
        pass
