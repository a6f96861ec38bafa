"""What exporting costs, and who decides."""

import re

import numpy as np
import pytest
from made_reports import pairs_bench

from facekd.cli.model import main
from facekd.errors import FacekdError
from facekd.eval.embed import score_pairs
from facekd.eval.evaluate import trials_of
from facekd.eval.results import Evaluation
from facekd.eval.verification import verify
from facekd.export.gate import decide, judge, open_gate, size_and_speed


def test_the_bad_end_of_the_paired_interval_decides():
    """The interval from its formula (Bonett and Price 2012), by hand."""
    evaluation = Evaluation((pairs_bench("made", ["float", "int8"], pairs=1000),), "exact")
    a, b = (model.numbers.accuracy.correct for model in evaluation.benches[0].models)
    n = len(a)
    gained, lost = (np.sum(b & ~a) + 1) / (n + 2), (np.sum(a & ~b) + 1) / (n + 2)
    half = 1.959964 * np.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    worst = 100 * (lost - gained + half)
    assert worst > 0
    (told,) = decide(evaluation, worst + 0.01)
    assert f"it loses at most {worst:.2f} points, {worst + 0.01:g} are allowed" in told
    with pytest.raises(FacekdError, match=r"int8 changes accuracy by -\d.*nothing was written"):
        decide(evaluation, worst - 0.01)


def test_a_gain_is_a_gain():
    evaluation = Evaluation((pairs_bench("made", ["weak", "strong"], pairs=1000),), "exact")
    bench = evaluation.benches[0]
    turned = Evaluation((type(bench)(**{**vars(bench), "baseline": "strong"}),), "exact")
    (told,) = decide(turned, 0)
    assert "weak changes accuracy by +" in told
    assert "it loses at most 0.00 points, 0 are allowed" in told


def test_judging_gives_what_evaluating_gives(exported, bench):
    gate = open_gate("tiny", bench, 112, max_drop=1.0, workers=0)
    found = judge(gate, {"student": exported.model}).benches[0]
    scores = score_pairs(gate.pairs, exported.model)
    wanted = verify(scores, trials_of(gate.pairs))
    ((_, numbers),) = found.verified()
    assert np.array_equal(numbers.scores, scores)
    assert numbers.accuracy.mean == wanted.accuracy.mean
    assert "tiny.bin" in found.words()
    assert "with the mirrored image's embedding added; image size 112x112" in found.words()


def test_before_and_after_are_printed(exported):
    for row in (
        r"tiny +student \(PyTorch\) +\d+\.\d\d ± \d",
        r"tiny +s.int8.onnx +\d+\.\d\d ± \d",
        r"tiny +s.int8.onnx - student \(PyTorch\) +accuracy +[+-]\d.*\[[+-]\d+\.\d\d, [+-]",
        r"tiny +s.int8.onnx - student \(PyTorch\) +TAR at 1e-1 +[+-]\d",
        r"s.onnx +\d+\.\d KiB +1.00 x +\d+\.\d\d +1.00 x",
        r"s.fp16.onnx +\d+\.\d KiB +\d\.\d\d x +\d+\.\d\d +\d\.\d\d x",
        r"s.fp16.onnx changes accuracy by .* 100 are allowed",
        r"wrote .*/s.md",
    ):
        assert re.search(row, exported.printed), row


def test_size_and_speed_are_those_of_the_files(exported):
    table = size_and_speed(
        [("a", exported.file("s.onnx")), ("b", exported.file("s.fp16.onnx"))], 112
    )
    sizes = [exported.file(name).stat().st_size for name in ("s.onnx", "s.fp16.onnx")]
    assert [row[2] for row in table.rows] == ["1.00 x", f"{sizes[0] / sizes[1]:.2f} x"]
    assert all(float(row[3]) > 0 for row in table.rows)


def test_what_may_lose_too_much_is_not_written(exported, faces, bench, tmp_path, capsys):
    out = tmp_path / "out"
    files = [
        "--onnx",
        str(out / "a.onnx"),
        "--int8",
        str(out / "b.onnx"),
        "--calibrate",
        str(faces),
    ]
    gate = ["--bench", "tiny", "--data", str(bench), "--max-drop", "0", "--workers", "0"]
    assert main(["export", str(exported.file("student.pt")), *files, *gate]) == 2
    told = capsys.readouterr().err
    assert re.search(r"^error: .*\.onnx changes accuracy by .* nothing was written", told)
    assert list(out.iterdir()) == []


def test_benches_that_decide_nothing(exported, faces, tmp_path):
    with pytest.raises(FacekdError, match="no list of image pairs; export with one"):
        open_gate(f"{faces}:all", None, 112)
    images = [path.relative_to(faces) for path in sorted(faces.glob("*/*.jpg"))[:5]]
    rows = [f"{images[0]},{images[1]},1", f"{images[0]},{images[4]},0"]
    (tmp_path / "p.csv").write_text("\n".join(["a,b,same", *rows]) + "\n")
    bench = f"{tmp_path}/p.csv:{faces}"
    assert open_gate(bench, None, 112).max_drop is None
    with pytest.raises(FacekdError, match=r"--max-drop is about accuracy, .* have no folds"):
        open_gate(bench, None, 112, max_drop=0.5)
