"""Finds the slice updates that may write into the state buffer itself, instead of copying a whole KV cache.

A decoder step writes a few rows of a large cache: ``read_state``, ``slice_update``, ``write_state``. Without
this, each would copy the cache. The result is the same bit for bit; what cannot be shown safe keeps the copy.
"""

from __future__ import annotations

from phantom_edge.mil.compile import Function
from phantom_edge.mil.ops_layout import slice_update_in_place
from phantom_edge.mil.registry import OPS


def use_state_in_place(function: Function) -> int:
    """Rewrites the safe slice updates of `function`; gives their number."""
    last_use = _last_uses(function)
    sharing: dict[int, set[int]] = {}  # slot of a value -> slots of the states whose memory it may share
    read_from: dict[int, int] = {}  # slot filled by read_state -> slot of the state
    count = 0
    for place, step in enumerate(function.steps):
        shared = set().union(*(sharing.get(slot, set()) for slot in step.reads()))
        if step.op == "read_state":
            state = dict(step.slots)["input"]
            shared = {state}
            read_from[step.outs[0]] = state
        elif step.op == "slice_update" and _is_safe(function, place, read_from, sharing, last_use):
            step.run = slice_update_in_place
            shared = {read_from[dict(step.slots)["x"]]}
            count += 1
        elif OPS[step.op].fresh:
            shared = set()
        for slot in step.outs:
            sharing[slot] = shared
    return count


def _last_uses(function: Function) -> dict[int, int]:
    last = {slot: place for place, step in enumerate(function.steps) for slot in step.reads()}
    return last | {slot: len(function.steps) for slot in function.outputs.values()}


def _is_safe(
    function: Function,
    place: int,
    read_from: dict[int, int],
    sharing: dict[int, set[int]],
    last_use: dict[int, int],
) -> bool:
    """Whether nothing else needs the old rows, and this write is the next thing that happens to the state.

    A state written anew since it was read needs no care: that write has bound another tensor to it.
    """
    step = function.steps[place]
    operands = dict(step.slots)
    if operands["x"] not in read_from or last_use[operands["x"]] != place:
        return False
    state = read_from[operands["x"]]
    others = (slot for slot, shared in sharing.items() if state in shared and slot != operands["x"])
    if any(last_use.get(slot, -1) >= place for slot in others):
        return False  # somebody still needs the old rows
    if list(step.reads()).count(operands["x"]) != 1:
        return False
    for other in function.steps[place + 1 :]:
        if other.op == "write_state" and dict(other.slots)["input"] == state:
            return dict(other.slots)["data"] == step.outs[0]
        if state in other.reads():
            return False  # reads the state before the update is meant to be seen
    return False
