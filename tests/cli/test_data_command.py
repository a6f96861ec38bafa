import json
import re
import subprocess
import sys

import numpy as np
import pytest

from facekd.cli.data import _COMMANDS, main
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack

JPEG = encode_jpeg(np.full((16, 16, 3), 7, np.uint8))


@pytest.fixture
def records(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key, image in enumerate([JPEG, b"not, a picture", JPEG]):
            writer.write(key, pack(IRHeader(0.0, key), image))
    return tmp_path / "a.rec"


def test_inspect_prints_a_table_or_json(records, capsys):
    assert main(["inspect", str(records)]) == 0
    assert "images per identity  min 3, median 3, p95 3, max 3" in capsys.readouterr().out
    assert main(["inspect", str(records), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3


def test_verify_lists_bad_records_and_exits_2(records, tmp_path, capsys):
    offset = 8 + 24 + len(JPEG) + (-len(JPEG) % 4)
    assert main(["verify", str(records)]) == 2
    table, err = capsys.readouterr()
    assert re.fullmatch(
        rf'record,offset,reason\n1,{offset},"?14 bytes do not decode as an image.*\n', table
    )
    assert "3 records checked, 1 bad." in err
    assert main(["verify", str(records), "--csv", str(tmp_path / "bad.csv")]) == 2
    assert capsys.readouterr().out == ""
    assert (tmp_path / "bad.csv").read_text() == table


def test_verify_of_sound_records_exits_0(tmp_path, capsys):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, pack(IRHeader(0.0, 0), JPEG))
    assert main(["verify", str(tmp_path / "a.rec")]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_bad_input_is_one_line(tmp_path, capsys, command):
    assert main([command, str(tmp_path / "nothing.rec")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        "inspect {}/a.rec --sheet {}/file/below.png",
        "verify {}/a.rec --csv {}/file/below.csv",
        "verify {}/a.rec --repair {}/file/below.rec",
        "make-pairs {}/a.rec {}/file/below.csv",
        "make-bin {}/a.rec {}/pairs.csv {}/file/below.bin",
        "overlap {}/a.rec {}/a.rec --csv {}/file/below.csv",
        "clean {}/a.rec --embeddings {}/gone.npy --out {}/file/below",
        "subset {}/a.rec {}/file/below.rec --images 2",
        "split {}/a.rec {}/file/below --val 0.5",
        "merge {}/a.rec {}/b.rec {}/file/below --to tar",
        "convert {}/a.rec {}/file/deep/below --workers 2",
        "convert {}/a.bin {}/file/below",
        "align {}/photographs {}/file/below --landmarks {}/gone.csv",
    ],
)
def test_an_output_that_cannot_be_written_is_told_first(records, tmp_path, capsys, command):
    (tmp_path / "file").write_text("")
    assert main(command.replace("{}", str(tmp_path)).split()) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"error: cannot write .*/below.*: .*/file is no folder that can be written to; .*\n", error
    )


def test_a_folder_that_only_looks_as_if_it_could_be_made(records, capsys):
    assert main(["verify", str(records), "--csv", "/proc/facekd/bad.csv"]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write to /proc/facekd: ")


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_subcommand_has_an_example_and_says_what_each_option_is(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert f"examples:\n  facekd-data {name} " in text
    assert max(map(len, text.splitlines())) <= 100
    bare = re.findall(r"^  --[a-z-]+(?: \S+)?\n(?!   )", text, re.MULTILINE)
    assert bare == []


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from facekd.cli.data import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert done.stdout.endswith("[]\n")
