"""`facekd-model export` and `card` given what they cannot use: one sentence, nothing written."""

import builtins
import subprocess
import sys

import pytest
from made_networks import drawn

from facekd.cli.model import main


@pytest.fixture
def student(tmp_path):
    path = tmp_path / "student.pt"
    drawn().save(path)
    return path


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "export as what? Give one or more of --onnx, --int8, --fp16, --torch-export"),
        ("--onnx a.pt", "--onnx a.pt does not end in .onnx."),
        ("--torch-export a.onnx", "--torch-export a.onnx does not end in .pt2."),
        ("--onnx a.onnx --fp16 a.onnx", "two of the files have one name"),
        ("--onnx x/a.onnx --fp16 y/a.onnx", "two of the files have one name"),
        ("--int8 a.onnx", "--int8 needs faces to learn its ranges from; give --calibrate SET."),
        ("--onnx a.onnx --calibrate t.rec", "--calibrate is about --int8 FILE; give both."),
        ("--onnx a.onnx --calibration-images 9", "--calibration-images is about --int8 FILE"),
        ("--onnx a.onnx --max-drop 1", "--max-drop is about --bench NAME; give both."),
        ("--onnx a.onnx --no-flip", "--no-flip is about --bench NAME; give both."),
        ("--torch-export a.pt2 --bench synthetic", "--bench measures ONNX files; give --onnx"),
        ("--onnx a.onnx --bench nothing", "bench 'nothing'"),
        ("--int8 a.onnx --calibrate no.rec", "labelled images: no.rec does not exist"),
        ("--onnx a.onnx --report no", "cannot read no/results.json"),
        ("--onnx student.pt/a.onnx", "cannot write student.pt/a.onnx"),
        ("--onnx /proc/a.onnx", "cannot write /proc/a.onnx"),
        ("--onnx student.md.onnx --channels bgr", "says itself that it takes rgb"),
    ],
)
def test_options_that_do_not_fit(student, capsys, monkeypatch, options, told):
    monkeypatch.chdir(student.parent)
    assert told in refused(capsys, "export", "student.pt", *options.split())
    assert left(student.parent) == ["student.pt"]


def test_drops_that_are_no_numbers(student, capsys):
    for text in ("nan", "-1", "a", "101"):
        with pytest.raises(SystemExit) as stopped:
            main(["export", str(student), "--max-drop", text])
        assert stopped.value.code == 2
        assert f"'{text}' is no number of points, 0 to 100" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "card"])
def test_sources_that_are_no_network(student, capsys, command):
    folder = student.parent
    (folder / "bad.pt").write_bytes(b"no network")
    more = ["--onnx", folder / "out.onnx"] if command == "export" else ["--out", folder / "out.md"]
    for name, told in (("no.pt", "does not exist"), ("bad.pt", "no file of plain weights")):
        assert told in refused(capsys, command, folder / name, *more)
    assert left(folder) == ["bad.pt", "student.pt"]


@pytest.mark.parametrize("command", ["export", "card"])
def test_a_graph_is_exported_no_further(tmp_path, capsys, command):
    from onnx import TensorProto, helper, save

    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"])], "g", [source], [target])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "g.onnx")
    more = ["--fp16", tmp_path / "a.onnx"] if command == "export" else []
    told = refused(capsys, command, tmp_path / "g.onnx", *more)
    assert "g.onnx is a graph already, without weights by name; give the .pt" in told
    assert left(tmp_path) == ["g.onnx"]


def test_nothing_is_overwritten_unasked(student, capsys):
    folder = student.parent
    for name in ("a.safetensors", "a.json", "a.md"):
        (folder / name).write_text("mine")
        told = refused(capsys, "export", student, "--safetensors", folder / "a.safetensors")
        assert f"{folder / name} is there already; give another name, or --force" in told
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
    (folder / "a.md").write_text("mine")
    command = ["export", str(student), "--safetensors", str(folder / "a.safetensors")]
    assert main([*command, "--force"]) == 0
    assert left(folder) == ["a.json", "a.md", "a.safetensors", "student.pt"]
    assert (folder / "a.md").read_text().startswith("# student\n")


@pytest.mark.parametrize("module", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_onnx_extra(student, capsys, monkeypatch, module):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == module:
            raise ImportError(f"No module named {module!r}", name=module)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    told = refused(capsys, "export", student, "--onnx", student.parent / "a.onnx")
    assert f"writing ONNX needs {module}, which is not installed: pip install facekd[onnx]" in told
    assert left(student.parent) == ["student.pt"]
    weights = str(student.parent / "a.safetensors")
    assert main(["export", str(student), "--safetensors", weights]) == 0


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from facekd.cli.model import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: sys.exit(bool({'torch', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--max-drop" in done.stdout
    assert "examples:" in done.stdout
