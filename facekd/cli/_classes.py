"""`facekd-eval --classes`: how well networks of classification stages name classes."""

import argparse
from pathlib import Path

from facekd.cli._sources import read_models
from facekd.errors import FacekdError

TAKES = (
    "classes", "teacher_head", "model", "out", "no_figures", "device", "workers", "baseline",
)  # fmt: skip


def evaluate_classes(arguments: argparse.Namespace) -> int:
    """Judge every model on the images, print the table, write the report.

    Raises:
        FacekdError: No model; a model of faces or of other classes; images that are not there.
    """
    from facekd.cli._network import pick
    from facekd.data.classes import load_judged
    from facekd.distill.readout import name_classes
    from facekd.eval.class_report import ClassResult, class_table, write_class_report
    from facekd.eval.classification import classify
    from facekd.eval.table import as_text
    from facekd.train.class_model import ClassModel, load_class_model

    sources = read_models(arguments.model)
    first = next((s for s in sources if s.name == arguments.baseline), None)
    if arguments.baseline and first is None:
        raise FacekdError(f"--baseline {arguments.baseline}: there is no model of that name.")
    share, device = arguments.teacher_head, pick(arguments.device)
    results, told = [], ""
    for source in sorted(sources, key=lambda one: one is not first):
        model: ClassModel = load_class_model(source.path, share, device)
        size = model.network.preprocess.input_size
        images = load_judged(arguments.classes, model.label_map, size)
        scores = name_classes(model.network, model.readout, images, arguments.workers).numpy()
        numbers = classify(scores, images.labels, images.label_map.names)
        told = f"{len(images)} images of {images.num_classes} classes"
        results.append(ClassResult(source.name, numbers, _read_by(share), model.alike()))
    print(as_text(class_table(results)), end="\n\n")
    out = Path(arguments.out or "runs/eval/classes")
    written = write_class_report(results, told, out, figures=not arguments.no_figures)
    print(f"report: {out}/ ({', '.join(path.name for path in written)})")
    return 0


def _read_by(share: float) -> str:
    if share in (0, 1):
        return "teacher's head" if share else "own head"
    return f"{share:g} teacher's head"
