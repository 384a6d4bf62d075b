"""The most urgent lane first, and sweeps all the same."""

from __future__ import annotations

from sandbox.queue.lanes import Order


def _begun(order: Order, runs: int, paused: frozenset[str] = frozenset()) -> list[str]:
    """The lanes of so many runs, while something waits in each."""
    begun = []
    for _ in range(runs):
        begun.append(order.lanes(paused)[0])  # type: ignore[arg-type]
        order.count()
    return begun


def test_escalations_come_before_all_else() -> None:
    assert Order(10).lanes(frozenset()) == ("escalation", "manual", "sweep")


def test_one_run_of_so_many_is_a_sweeps() -> None:
    assert _begun(Order(4), 8) == ["escalation"] * 3 + ["sweep"] + ["escalation"] * 3 + ["sweep"]


def test_the_rest_keeps_its_order_when_a_sweep_comes_first() -> None:
    order = Order(2)
    order.count()
    assert order.lanes(frozenset()) == ("sweep", "escalation", "manual")


def test_what_is_paused_is_left_out_also_of_the_trickle() -> None:
    assert _begun(Order(2), 4, frozenset({"sweep"})) == ["escalation"] * 4
    assert Order(2).lanes(frozenset({"escalation", "manual", "sweep"})) == ()
