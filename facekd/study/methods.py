"""A study's table method by method: which rows count, their mean and spread, their differences.

Everything is worked out from the committed CSV; only ROC curves need kept scores.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.errors import FacekdError
from facekd.eval.seeds import SeedDifference, difference_over_seeds
from facekd.study.judged import unpack
from facekd.study.results import Row


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        values: One a seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Their standard deviation (n - 1 below); None for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class MethodRows:
    """The rows of one method, with one and the same settings.

    Attributes:
        name: The method.
        rows: By seed.
        older: How many rows with other settings were left out.
    """

    name: str
    rows: dict[int, Row]
    older: int

    def spread(self, column: str) -> Spread | None:
        """A column over the seeds; None where one of them has no number."""
        values = [row.get(column, "") for row in self.rows.values()]
        return Spread(tuple(map(float, values))) if values and all(values) else None

    def interval(self, bench: str) -> tuple[float, float]:
        """The mean ends of the seeds' 95 % intervals of accuracy."""
        ends = [self.spread(f"{bench}_accuracy_{end}") for end in ("low", "high")]
        low, high = (spread.mean for spread in ends if spread is not None)
        return low, high

    def correct(self, bench: str, seeds: Sequence[int]) -> NDArray[np.bool_]:
        """(seeds, pairs), which pairs were judged rightly.

        Raises:
            FacekdError: A cell is damaged.
        """
        try:
            return np.stack([unpack(self.rows[seed][f"{bench}_correct"]) for seed in seeds])
        except ValueError as error:
            raise FacekdError(
                f"method {self.name!r}: a cell {bench}_correct of the table is damaged ({error}); "
                "restore the file, or delete the row, and the run is judged again."
            ) from error

    def pairs_of(self, bench: str) -> str:
        """Which pairs it was judged on."""
        settings = json.loads(next(iter(self.rows.values()))["settings"])
        return str(settings["benches"].get(bench, ""))


def by_method(rows: Sequence[Row], study: str, methods: Sequence[str]) -> list[MethodRows]:
    """The methods that have rows, in the study's order; of each the newest settings only."""
    found = []
    for name in methods:
        own = [row for row in rows if (row["study"], row["method"]) == (study, name)]
        if own:
            newest = own[-1]["settings_hash"]
            kept = {int(row["seed"]): row for row in own if row["settings_hash"] == newest}
            found.append(MethodRows(name, dict(sorted(kept.items())), len(own) - len(kept)))
    return found


def against(base: MethodRows, method: MethodRows, bench: str) -> SeedDifference | None:
    """The method minus the baseline, over the seeds that both have; None where there are none.

    Raises:
        FacekdError: They were judged on other pairs; or a cell is damaged.
    """
    seeds = [seed for seed in base.rows if seed in method.rows]
    column = f"{bench}_correct"
    if not seeds or not all(m.rows[seed].get(column) for m in (base, method) for seed in seeds):
        return None
    if base.pairs_of(bench) != method.pairs_of(bench):
        raise FacekdError(
            f"{method.name!r} and the baseline {base.name!r} were judged on other pairs of "
            f"{bench} ({method.pairs_of(bench)}; {base.pairs_of(bench)}); run the study again: "
            "what is trained is only judged anew."
        )
    return difference_over_seeds(base.correct(bench, seeds), method.correct(bench, seeds))
