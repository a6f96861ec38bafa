"""facekd-model bench: what it counts and measures, and the figure that it draws."""

import csv
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import drawn
from made_reports import pairs_bench
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import write_flat_net

from facekd import load_model
from facekd.backbones import count
from facekd.cli.model import main
from facekd.eval.draw_latency import Timed, draw, pareto, size, words
from facekd.eval.figures import write_figure
from facekd.eval.report import write_report
from facekd.eval.results import Evaluation
from facekd.export.bench import measure_costs
from facekd.export.facts import facts_of
from facekd.export.onnx import to_onnx, write_onnx
from facekd.export.onnx_count import count_onnx
from facekd.export.prepare import prepare

TINY = Path(__file__).parents[1] / "fixtures/format1_tiny.pt"  # 8 dimensions of 32 x 32 pixels


def test_the_command_measures_prints_and_draws(tmp_path, capsys):
    flat = write_flat_net(tmp_path / "flat.onnx", size=32, width=4, batch=1)
    bench = pairs_bench("lfw", ("tiny", "flat", "other"))
    write_report(Evaluation((bench,), "exact"), tmp_path / "report", figures=False)
    asked = ("--threads", "1", "--seconds", "0", "--report", str(tmp_path / "report"))
    out = tmp_path / "out"
    assert main(["bench", f"tiny={TINY}", str(flat), *asked, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "flat: onnxruntime, 1 thread"
    assert "bench.csv, accuracy-latency.png, accuracy-latency.svg" in printed.out
    with (out / "bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["runtime"]) for row in rows] == [
        ("tiny", "torch"),
        ("tiny", "onnxruntime"),
        ("flat", "onnxruntime"),
    ]
    params, macs = count(load_model(TINY).backbone, 32)
    for row in rows:
        ours = row["model"] == "tiny"
        assert int(row["parameters"]) == (params if ours else 4 * 3 * 32 * 32)
        assert int(row["macs"]) == (macs if ours else 4 * 3 * 32 * 32)
        assert int(row["batch"]) == (64 if ours else 1)  # the graph takes one image at a time
        assert row["threads"] == "1"
        assert 0 < float(row["latency"]) <= float(row["latency_p95"])
        assert float(row["images_per_second"]) > 0
        assert 0 < int(row["memory_empty"]) <= int(row["memory"]) <= int(row["memory_batch"])
    assert int(rows[0]["bytes"]) == TINY.stat().st_size
    assert int(rows[2]["bytes"]) == flat.stat().st_size
    assert "(at 1)" in printed.out
    assert cv2.imread(str(out / "accuracy-latency.png")).shape[1] > 800


def test_the_parents_memory_is_not_the_workers_nor_is_torch(tmp_path):
    held = np.ones(1 << 26)  # 512 MiB in this process
    flat = write_flat_net(tmp_path / "flat.onnx")
    (cost,) = measure_costs({"flat": flat}, threads=(1,), seconds=0)
    assert cost.memory < held.nbytes
    code = (
        "import sys; from pathlib import Path; from facekd.export.bench_worker import measure\n"
        f"measure(Path({str(flat)!r}), 'onnxruntime', 1, 32, 0)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_exported_graph_costs_what_the_network_does(tmp_path):
    model = drawn("mobilefacenet", 16, 32)
    path = tmp_path / "net.onnx"
    write_onnx(to_onnx(prepare(model), 32, facts_of(model)), path)
    params, macs = count(model.backbone, 32)
    counted, multiplied = count_onnx(path)
    assert multiplied == macs
    folded = sum(p.numel() for p in prepare(model).parameters())
    assert counted == pytest.approx(folded, rel=0.01)
    assert counted < params


def quantized(path, out_shape=("n", 5)):
    """uint8 weights behind DequantizeLinear, a linear layer 12 -> 5, and a shape."""
    nodes = [
        helper.make_node("Reshape", ["data", "shape"], ["flat"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["real"]),
        helper.make_node("Gemm", ["flat", "real", "bias"], ["out"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, 12], np.int64), "shape"),
        numpy_helper.from_array(np.ones((12, 5), np.int8), "weight"),
        numpy_helper.from_array(np.float32(0.5), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
        numpy_helper.from_array(np.zeros(5, np.float32), "bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 2, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out_shape)],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_scales_zero_points_and_shapes_are_no_parameters(tmp_path):
    assert count_onnx(quantized(tmp_path / "q.onnx")) == (65, 60)


networks = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).map(
        lambda both: Timed("x", float(both[0]), both[1] / 5, (0.0, 1.0))
    ),
    min_size=1,
    max_size=8,
)


@given(networks)
def test_pareto_is_what_no_other_beats(those):
    def beats(a, b):
        return (
            a.latency <= b.latency
            and a.accuracy >= b.accuracy
            and (a.latency, a.accuracy) != (b.latency, b.accuracy)
        )

    best = pareto(those)
    places = {(one.latency, one.accuracy) for one in best}
    assert places == {
        (one.latency, one.accuracy) for one in those if not any(beats(o, one) for o in those)
    }
    assert len(best) == len(places)
    assert all(a.latency < b.latency for a, b in itertools.pairwise(best))


@pytest.mark.parametrize("factor", [1.0, 40.0])
def test_one_network_and_many_are_drawn(tmp_path, factor):
    one = Timed("a_$x$", 2.0, 0.9, (0.88, 0.92))
    slow = replace(one, name="slow", latency=2.0 * factor, accuracy=0.95, interval=(0.94, 0.96))
    for those in ([one], [one, slow]):
        how = partial(draw, networks=those, title="lfw", condition="CPU")
        (path,) = write_figure(size(those), how, tmp_path / "f", ("svg",))
        assert path.stat().st_size > 5000
    assert words([one, slow]).endswith("Not beaten: a_$x$, slow." if factor > 1 else "slow.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gone.pt"], "gone.pt does not exist"),
        (["x.txt"], "x.txt has no suffix of a network's file"),
        ([str(TINY), str(TINY)], "two models are both named 'format1_tiny'"),
        ([str(TINY), "--bench", "lfw"], "--bench is one of a report's"),
        ([str(TINY), "--report", "report"], "no model 'format1_tiny'.*has: 'x', 'y'"),
        ([str(TINY), "--report", "report", "--bench", "cfp"], "no bench with an accuracy 'cfp'"),
        ([str(TINY), "--out", "x.txt"], "x.txt is in the way"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("nothing")
    evaluation = Evaluation((pairs_bench("lfw", ("x", "y")),), "exact")
    write_report(evaluation, "report", figures=False)
    assert main(["bench", *arguments, "--seconds", "0"]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error")]
    assert re.search(told, line), line
    assert not Path("runs").exists()
