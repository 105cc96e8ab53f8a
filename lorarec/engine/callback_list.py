"""CallbackList: several callbacks called as one, their states kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lorarec.contracts import Callback, TrainState
from lorarec.errors import CheckpointError


class CallbackList:
    """Calls each callback in order; a state is saved under the callback's place and name."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = list(callbacks)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def call(self, moment: str, state: TrainState) -> None:
        """Call the method `moment` of each: "on_epoch_end", say."""
        for callback in self.callbacks:
            getattr(callback, moment)(state)

    def state_dict(self) -> dict[str, Any]:
        """The state of every callback that has one."""
        return {key: state for key, callback in self._keyed() if (state := callback.state_dict())}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        """Give each callback its own. Raises CheckpointError if a state belongs to none of them."""
        keyed = dict(self._keyed())
        if unknown := sorted(set(states) - set(keyed)):
            raise CheckpointError(f"The checkpoint holds the state of callbacks this run does not have: {unknown}.")
        for key, state in states.items():
            keyed[key].load_state_dict(state)

    def _keyed(self) -> Iterator[tuple[str, Callback]]:
        return ((f"{place}:{callback.name}", callback) for place, callback in enumerate(self.callbacks))
