"""Where a step's time goes: data, forward, backward, optimizer; measured without slowing it."""

import resource
import sys
import time
from typing import Any

import torch

PARTS = ("data", "forward", "backward", "step")


class StepTimer:
    """Sums the time between marks by part.

    On CUDA the device runs behind the host: marks are events in its stream, read only when `read`
    is called, and waiting for data is the host's own time. No step waits for the device.

    Args:
        device: Where the stage trains.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"
        self.steps = 0
        self.totals = dict.fromkeys(PARTS, 0.0)
        self._sums = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[str, torch.cuda.Event]] = []
        self._read_at = 0
        self._since = time.perf_counter()

    def mark(self, part: str) -> None:
        """What has happened since the last mark was this part of the step."""
        now = time.perf_counter()
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append((part, event))
        if part == "data" or not self.cuda:
            self._sums[part] += now - self._since
        self.steps += part == "step"
        self._since = now

    def rest(self) -> None:
        """What has happened since the last mark (a validation, a save) was no step's."""
        self._since = time.perf_counter()

    def read(self) -> dict[str, float]:
        """Milliseconds a step spent in each part, on average since the last reading."""
        if self._events:
            self._events[-1][1].synchronize()
            for (_, before), (part, event) in zip(self._events, self._events[1:], strict=False):
                if part != "data":
                    self._sums[part] += before.elapsed_time(event) / 1000
            self._events.clear()
        steps, self._read_at = max(1, self.steps - self._read_at), self.steps
        means = {part: round(1000 * seconds / steps, 3) for part, seconds in self._sums.items()}
        for part in PARTS:
            self.totals[part] += self._sums[part]
            self._sums[part] = 0.0
        return means


def peak_memory_mib(device: torch.device) -> float:
    """The most memory held so far, MiB: on the CUDA device, else by this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2 ** (20 if sys.platform == "darwin" else 10), 1)


def machine_summary(timer: StepTimer, device: torch.device, world: int) -> dict[str, Any]:
    """What a finished stage tells of its machine; of this sitting.

    Returns:
        `processes`, `step_ms` by part (means over the steps of this sitting) and `memory_mib`.
    """
    timer.read()
    steps = max(1, timer.steps)
    return {
        "processes": world,
        "step_ms": {part: round(1000 * total / steps, 3) for part, total in timer.totals.items()},
        "memory_mib": peak_memory_mib(device),
    }


def in_words(machine: dict[str, Any]) -> str:
    """The same as a sentence."""
    parts: dict[str, float] = machine["step_ms"]
    whole = sum(parts.values())
    shares = ", ".join(f"{part} {ms / max(whole, 1e-9):.0%}" for part, ms in parts.items())
    return (
        f"a step took {whole:.1f} ms ({shares}); peak memory of a process "
        f"{machine['memory_mib']:.0f} MiB"
    )
