"""Every model of a command line on every bench it names."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.cli._face_embeddings import FaceEmbeddings
from facekd.cli._options import refuse_unused
from facekd.cli._sources import Source
from facekd.data_tools.ijb import TemplatePairs
from facekd.data_tools.labelled import LabelledImages
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.benchmarks import Bench, data_folder, find_bench
from facekd.eval.embeddings import Embeddings
from facekd.eval.evaluate import (
    Judge,
    LoadedBench,
    default_fars,
    faces_of,
    kind_of,
    list_all_pairs,
    trials_of,
)
from facekd.eval.results import BenchResult, ModelResult
from facekd.eval.score_files import read_scored_pairs, read_scores
from facekd.eval.templates import TemplateProtocol
from facekd.eval.together import Together
from facekd.eval.transfer import read_thresholds
from facekd.eval.verification import Questions, verify
from facekd.files import in_the_way

SCORES = "scores"


class Evaluator:
    """All sources on all benches.

    Whatever can be found wrong before the first image is embedded is.

    Args:
        arguments: The command line's.
        sources: Models, embeddings and scores by name.
        together: The processes that share the work.

    Attributes:
        folder: Where the report goes.

    Raises:
        FacekdError: A bench is not known, or does not fit the sources or what is asked of it; a
            model does not load; there is no such baseline; the report cannot go where it should.
    """

    def __init__(
        self, arguments: argparse.Namespace, sources: Sequence[Source], together: Together
    ) -> None:
        self.arguments, self.sources, self.together = arguments, sources, together
        self.protocol = TemplateProtocol(
            norm=not arguments.no_norm,
            detector=not arguments.no_detector,
            flip=not arguments.no_flip,
        )
        names = [source.name for source in sources]
        self.baseline: str = arguments.baseline or names[0]
        if self.baseline not in names:
            raise FacekdError(
                f"--baseline {self.baseline} is none of the models: {', '.join(names)}."
            )
        self.thresholds = {}
        if arguments.threshold_from:
            path, bench = _file_and_word(arguments.threshold_from)
            self.thresholds = {
                name: read_thresholds(path, model=name, bench=bench) for name in names
            }
        self.benches = self._find_benches()
        refuse_unused(arguments, sources, self.benches)
        self.folder = _report_folder(arguments.out, [b.name for b in self.benches] or [SCORES])
        self.embeddings = FaceEmbeddings(arguments, sources, together, self.folder)

    def run(self) -> tuple[BenchResult, ...]:
        """The results, bench by bench."""
        if not self.benches:
            return (self._scored_pairs(),)
        judges = [self._open(bench) for bench in self.benches]
        return tuple(map(self._run, self.benches, judges))

    def _find_benches(self) -> list[Bench]:
        """None where the scores bring their own answers."""
        asked = self.arguments
        if not asked.bench:
            if asked.groups:
                raise FacekdError(
                    "--groups labels the pairs of a bench; scores without one bring their groups "
                    "in a column group."
                )
            return []
        names = list(dict.fromkeys(name.strip() for name in asked.bench.split(",")))
        data = data_folder(asked.data)
        benches = [find_bench(name, data) for name in names if name]
        if not benches:
            raise FacekdError(
                f"--bench {asked.bench} names no bench; --list shows those there are."
            )
        if len({bench.name for bench in benches}) < len(benches):
            raise FacekdError(f"--bench {asked.bench} names two benches alike; rename one file.")
        self._check_fit(benches)
        return benches

    def _check_fit(self, benches: Sequence[Bench]) -> None:
        """Whether the sources, and what is asked, can be had on these benches."""
        asked = self.arguments
        if len(benches) > 1 and any(source.kind != "model" for source in self.sources):
            raise FacekdError(
                "embeddings and scores belong to one bench; give --bench one name with them."
            )
        if all(bench.kind == "ijb_1n" for bench in benches):
            for option in ("bootstrap", "groups", "threshold_from", "fars"):
                if getattr(asked, option):
                    raise FacekdError(
                        f"--{option.replace('_', '-')} is about pairs, which {asked.bench} (1:N) "
                        "has none of; leave it out."
                    )

    def _open(self, bench: Bench) -> Judge:
        """Read a bench and whatever is asked of it; nothing is embedded."""
        asked = self.arguments
        loaded = bench.load(
            self.embeddings.input_size,
            duplicates=asked.keep_duplicates,
            missing_ok=asked.missing == "count",
        )
        if faces_of(loaded).images is None and self.embeddings.models:
            raise FacekdError(
                f"{bench.name}: the images are not there ({bench.path}/loose_crop); put them "
                "there, or give saved embeddings with --embeddings NAME=FILE."
            )
        fars = asked.fars or default_fars(loaded)  # those of all pairs, listed or not
        if isinstance(loaded, LabelledImages) and (asked.bootstrap or asked.groups):
            loaded = list_all_pairs(loaded)
        trials = trials_of(loaded, _groups(asked.groups, loaded), people=asked.bootstrap > 0)
        return Judge(loaded, trials, self._questions(fars), self.protocol, self.together)

    def _run(self, bench: Bench, judge: Judge) -> BenchResult:
        loaded, faces = judge.bench, faces_of(judge.bench)
        quick_first = sorted(self.sources, key=lambda source: source.kind == "model")
        made = {source.name: self._judge(judge, source) for source in quick_first}
        return BenchResult(
            name=bench.name,
            source=loaded.source,
            kind=kind_of(loaded),
            images=faces.count,
            models=tuple(made[source.name] for source in self.sources),
            baseline=self.baseline,
            not_found=faces.not_found,
            folds=_fold_count(getattr(loaded, "folds", None)),
        )

    def _judge(self, judge: Judge, source: Source) -> ModelResult:
        thresholds = self.thresholds.get(source.name, ())
        if source.kind == "scores":
            file = str(source.path)
            same = None if judge.trials is None else judge.trials.same
            numbers = judge.from_scores(read_scores(file, same), thresholds, file)
            return ModelResult(source.name, file, "", numbers, "scores as given")
        embeddings = self.embeddings.of(source, judge.bench)
        return ModelResult(
            name=source.name,
            file=str(source.path),
            image_size=self.embeddings.image_size(source, judge.bench),
            numbers=judge.from_embeddings(embeddings, thresholds),
            scored=self._scored(judge.bench, embeddings, source),
        )

    def _scored(self, bench: LoadedBench, embeddings: Embeddings, source: Source) -> str:
        """How scores come to be, in words."""
        protocol = replace(self.protocol, flip=self.protocol.flip and embeddings.halves)
        unknown = source.kind == "embeddings" and not (embeddings.halves or embeddings.description)
        if not isinstance(bench, PairSet | LabelledImages):
            how = f"cosine of two templates, {protocol.words(flip_known=not unknown)}"
        elif unknown:
            how = "cosine of two embeddings, as saved"
        else:
            flip = "with the mirrored image's embedding added" if protocol.flip else "without flip"
            how = f"cosine of two embeddings, {flip}"
        asked = self.arguments.precision if source.kind == "model" else ""
        bf16 = embeddings.description.get("precision", asked) == "bf16"
        return f"{how}, network in bf16" if bf16 else how

    def _questions(self, fars: tuple[float, ...]) -> Questions:
        asked = self.arguments
        return Questions(fars, asked.protocol, asked.bootstrap, asked.seed)

    def _scored_pairs(self) -> BenchResult:
        """Score files that bring their own answers are a bench, if they are of the same pairs."""
        asked = self._questions(self.arguments.fars or Questions().fars)
        models = []
        read = [read_scored_pairs(source.path) for source in self.sources]
        first = read[0][1]
        for source, (scores, trials) in zip(self.sources, read, strict=True):
            if not trials.same_as(first):
                raise FacekdError(
                    f"{source.path} does not list the pairs of {self.sources[0].path}: same, fold, "
                    "group or the subjects differ; evaluate it by itself."
                )
            thresholds = self.thresholds.get(source.name, ())
            numbers = verify(scores, trials, replace(asked, thresholds=thresholds))
            models.append(
                ModelResult(source.name, str(source.path), "", numbers, "scores as given")
            )
        return BenchResult(
            name=SCORES,
            source=", ".join(str(source.path) for source in self.sources),
            kind="scored pairs",
            images=0,
            models=tuple(models),
            baseline=self.baseline,
            folds=_fold_count(first.folds),
        )


def _report_folder(given: str | None, benches: Sequence[str]) -> Path:
    """Where the report goes, after a look whether it can: hours of work may lie before it."""
    folder = Path(given) if given else Path("runs/eval") / "+".join(benches)
    if (fault := in_the_way(folder)) is not None:
        raise FacekdError(
            f"the report cannot go to {folder}: {fault} is no folder that can be written to; give "
            "another --out DIR."
        )
    return folder


def _groups(given: str | None, bench: LoadedBench) -> NDArray[np.str_] | None:
    """Each pair's group: from the file given, else what the pair list itself says."""
    if given is None:
        return getattr(bench, "groups", None)
    from facekd.data_tools.group_files import pair_groups, read_groups

    path, column = _file_and_word(given)
    if isinstance(bench, PairSet):
        return read_groups(path, bench, column)
    if isinstance(bench, TemplatePairs):
        ids = [str(number) for number in bench.faces.template_ids.tolist()]
        return pair_groups(path, bench.left, bench.right, ids, key="template", column=column)
    return None  # 1:N beside 1:1


def _file_and_word(text: str) -> tuple[Path, str | None]:
    """FILE, or FILE:WORD."""
    path, mark, word = text.rpartition(":")
    if not mark or Path(text).exists():
        return Path(text), None
    return Path(path), word


def _fold_count(folds: NDArray[np.int64] | None) -> int | None:
    return None if folds is None else len(np.unique(folds))
