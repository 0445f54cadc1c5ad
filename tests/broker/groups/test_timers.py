from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.groups.timers import Key, Kind, Timers

KEYS = [Key(Kind.SESSION, "g", str(n)) for n in range(4)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "cancel", "due"]),
            st.sampled_from(KEYS),
            st.integers(0, 20),
        )
    )
)
def test_timers_are_a_dict_of_deadlines_with_its_minimum(steps: list[tuple[str, Key, int]]) -> None:
    timers, model = Timers(), dict[Key, int]()
    for what, key, at_ms in steps:
        if what == "set":
            timers.set(key, at_ms)
            model[key] = at_ms
        elif what == "cancel":
            timers.cancel(key)
            model.pop(key, None)
        else:
            due = timers.due(at_ms)
            passed = [k for k, at in model.items() if at <= at_ms]
            assert (due is None) == (not passed)
            if due is not None:
                earliest = min(model.values())
                assert model.pop(due) == earliest
        assert timers.next_ms() == min(model.values(), default=None)
        assert len(timers) == len(model)


def test_a_session_that_is_pushed_back_ten_thousand_times_does_not_fill_the_heap() -> None:
    timers = Timers()
    for now in range(10_000):
        timers.set(KEYS[0], now + 100)
        timers.set(KEYS[1], 20_000 - now)
    assert len(timers._heap) <= 64 + 4 * 2 + 1
    assert timers.next_ms() == 10_001
