"""Finds the slice updates that may write into the state buffer itself, instead of copying a whole KV cache.

A decoder step writes a few rows of a large cache: ``read_state``, ``slice_update``, ``write_state``. Without this, each
would copy the cache. The result is the same bit for bit; what cannot be shown safe keeps the copy.
"""

from __future__ import annotations

from phantom_edge.runtime.mil.compile import Function, Step
from phantom_edge.runtime.mil.ops_index import slice_update_in_place
from phantom_edge.runtime.mil.registry import OPS


def use_state_in_place(function: Function) -> int:
    """Rewrites the safe slice updates of `function`; gives their number."""
    last_use = _last_uses(function)
    sharing: dict[int, set[int]] = {}  # slot of a value -> slots of the states whose memory it may share
    read_from: dict[int, tuple[int, int]] = {}  # slot read by read_state -> (state, place of the read)
    count = 0
    for place, step in enumerate(function.steps):
        shared = set().union(*(sharing.get(slot, set()) for slot in step.reads()))
        if step.op == "read_state":
            state = dict(step.slots)["input"]
            shared = {state}
            read_from[step.outs[0]] = (state, place)
        elif step.op == "slice_update" and _is_safe(function, place, read_from, sharing, last_use):
            step.run = slice_update_in_place
            shared = {read_from[dict(step.slots)["x"]][0]}
            count += 1
        elif OPS[step.op].fresh:
            shared = set()
        for slot in step.outs:
            sharing[slot] = shared
    return count


def _last_uses(function: Function) -> dict[int, int]:
    last = {slot: place for place, step in enumerate(function.steps) for slot in step.reads()}
    return last | {slot: len(function.steps) for slot in function.outputs.values()}


def _is_safe(function: Function, place: int, read_from: dict[int, tuple[int, int]], sharing: dict[int, set[int]],
             last_use: dict[int, int]) -> bool:
    step = function.steps[place]
    operands = dict(step.slots)
    if operands["x"] not in read_from or last_use[operands["x"]] != place:
        return False
    state, read_place = read_from[operands["x"]]
    if any(_writes(other, state) for other in function.steps[read_place:place]):
        return False  # what was read is no longer what the state holds
    if any(state in shared and slot != operands["x"] and last_use.get(slot, -1) >= place
           for slot, shared in sharing.items()):
        return False  # somebody still needs the old rows
    if list(step.reads()).count(operands["x"]) != 1:
        return False
    for other in function.steps[place + 1 :]:
        if _writes(other, state):
            return dict(other.slots)["data"] == step.outs[0]
        if state in other.reads():
            return False  # reads the state before the update is meant to be seen
    return False


def _writes(step: Step, state: int) -> bool:
    return step.op == "write_state" and dict(step.slots)["input"] == state
