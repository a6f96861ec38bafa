"""No input file may block for ever or fill the memory, whichever reader it is given to."""

import os
import re
import socket
from functools import partial

import pytest

from facekd import input_file
from facekd.data_tools.binfile import read_bin
from facekd.data_tools.csv_table import read_csv
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.lst import read_list
from facekd.data_tools.mapped_file import map_file
from facekd.data_tools.pair_files import from_lfw_pairs
from facekd.data_tools.record_index import read_index
from facekd.data_tools.tar_shards import find_shards
from facekd.data_tools.text_table import read_table
from facekd.errors import FacekdError
from facekd.eval.embeddings import open_embeddings
from facekd.eval.saved_scores import read_scores_file
from facekd.eval.score_files import read_scores
from facekd.eval.transfer import read_thresholds
from facekd.fingerprint import file_fingerprint
from facekd.npy_file import map_npy
from facekd.yaml_reader import read_document

READERS = {
    "a.csv": read_csv,
    "a.txt": partial(read_table, columns={"name": str}),
    "pairs.txt": from_lfw_pairs,
    "a.bin": read_bin,
    "a.lst": read_list,
    "a.idx": read_index,
    "a.rec": map_file,
    "a.tar": find_shards,
    "map.json": LabelMap.load,
    "recipe.yaml": read_document,
    "results.json": partial(read_thresholds, model="a"),
    "embeddings.npy": open_embeddings,
    "scores.npy": read_scores,
    "array.npy": map_npy,
    "scores.npz": partial(read_scores_file, folds=10),
    "any": file_fingerprint,
}
MAPPED = (".npy", ".npz", ".rec", ".tar", "any")
WHOLE = [name for name in READERS if not name.endswith(MAPPED)]


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_told_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(FacekdError, match=rf"{re.escape(name)} is a pipe; write what it gives to"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_too_large_to_be_meant_is_not_read(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        file.truncate(100 << 30)  # takes no room on the disk
    told = rf"{re.escape(name)} has 107,374,182,400 bytes; such files are read whole and may have"
    with pytest.raises(FacekdError, match=told):
        READERS[name](tmp_path / name)


def test_other_things_that_are_no_files(tmp_path):
    with pytest.raises(FacekdError, match="/dev/zero is a device"):
        input_file.check_input("/dev/zero")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        with pytest.raises(FacekdError, match="s is a socket"):
            input_file.check_input(tmp_path / "s")
    with pytest.raises(IsADirectoryError):
        input_file.check_input(tmp_path)
    with pytest.raises(FileNotFoundError):
        input_file.check_input(tmp_path / "gone")


def test_the_limit_itself_is_allowed(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    input_file.check_input(tmp_path / "a", 5)
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(FacekdError, match="link has 5 bytes; such files are read whole and may"):
        input_file.check_input(tmp_path / "link", 4)
