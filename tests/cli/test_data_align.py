import csv
import subprocess
import sys

import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data_tools.align import TEMPLATE
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.synthetic import SyntheticFaces


@pytest.fixture
def source(tmp_path):
    """Three crops as photographs, one more that is none, and the landmarks of two."""
    faces = SyntheticFaces(3, 1, size=112)
    with (tmp_path / "given.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{axis}{i}" for i in range(1, 6) for axis in "xy")])
        for i in range(3):
            path = tmp_path / f"photographs/p{i}/1.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(encode_jpeg(faces.image(i)))
            if i:
                writer.writerow([f"p{i}/1.jpg", *TEMPLATE.ravel().tolist()])
    (tmp_path / "photographs/p0/2.jpg").write_bytes(b"\xff\xd8 cut short")
    return tmp_path / "photographs"


def align(source, target, *options):
    given = ["--landmarks", str(source.parent / "given.csv"), "--workers", "1"]
    return main(["align", str(source), str(target), *given, *options])


def test_counts_are_printed_and_the_missed_are_listed(source, tmp_path, capsys):
    assert align(source, tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert out.startswith("4 images: 2 crops, 1 images without a face, 1 unreadable.\n")
    assert f"{tmp_path}/out/missed.csv" in out
    assert align(source, tmp_path / "out") == 2
    assert "there already" in capsys.readouterr().err
    assert align(source, tmp_path / "out", "--force") == 0


def test_on_bad_error_ends_it(source, tmp_path, capsys):
    assert align(source, tmp_path / "out", "--on-bad-record", "error") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {source}/p0/2.jpg: ")


def test_nothing_aligned_is_exit_code_2(source, tmp_path, capsys):
    for person in ("p1", "p2"):
        (source / person / "1.jpg").unlink()
    assert align(source, tmp_path / "out") == 2
    assert "no face was cut out of 2 images (1 without a face, 1 unreadable)" in (
        capsys.readouterr().err
    )


def test_lower_quality_is_smaller(source, tmp_path):
    assert align(source, tmp_path / "one") == 0
    assert align(source, tmp_path / "two", "--quality", "50") == 0
    sizes = [(tmp_path / name / "p1/1.jpg").stat().st_size for name in ("one", "two")]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    "options", [[], ["--landmarks", "a", "--detector", "b"], ["--detector", "b", "--score", "2"]]
)
def test_one_way_to_find_faces_is_asked_for(options, capsys):
    with pytest.raises(SystemExit) as end:
        main(["align", "src", "dst", *options])
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_killed_run_goes_on_with_several_processes(source, tmp_path):
    """Killed in the middle, as by a full memory: the second run does only what is left."""
    jpeg = np.frombuffer((source / "p1/1.jpg").read_bytes(), np.uint8).tobytes()
    rows = (source.parent / "given.csv").read_text().splitlines()
    for i in range(400):
        (source / f"p1/{i + 2}.jpg").write_bytes(jpeg)
        rows.append(rows[1].replace("p1/1.jpg", f"p1/{i + 2}.jpg"))
    (source.parent / "given.csv").write_text("\n".join(rows) + "\n")
    killing = (
        "import os, sys\n"
        "from facekd.data_tools import align_set\n"
        "add = align_set.AlignLog.add\n"
        "def add_or_die(log, outcome):\n"
        "    add(log, outcome)\n"
        "    if len(log._places) == 100: os._exit(9)\n"
        "align_set.AlignLog.add = add_or_die\n"
        "from facekd.cli.data import main\n"
        "main(sys.argv[1:])\n"
    )
    command = ["align", source, tmp_path / "out", "--landmarks", source.parent / "given.csv"]
    command = [*map(str, command), "--workers"]
    done = subprocess.run([sys.executable, "-c", killing, *command, "1"], capture_output=True)
    assert done.returncode == 9, done.stderr
    assert not (tmp_path / "out").exists()
    code = "import sys; from facekd.cli.data import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "2"], capture_output=True, text=True
    )
    assert "404 images: 402 crops" in done.stdout, done.stderr
    assert "99 done by an interrupted run" in done.stdout
    assert len(list((tmp_path / "out/p1").iterdir())) == 401
