"""Several processes write the same bytes as one, and leave nothing behind when they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools import forming
from facekd.data_tools.convert import convert
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError

JPEG = b"\xff\xd8not a picture, but nobody looks\xff\xd9"
COUNT = forming.FEW + 30


@pytest.fixture(scope="module", autouse=True)
def no_flush():
    """Flushing the whole disk is slow where others write to it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Plain records, numbered with a gap, every third of several labels, one of another size."""
    path = tmp_path_factory.mktemp("source") / "a.rec"
    real = encode_jpeg(np.full((8, 8, 3), 90, dtype=np.uint8))
    with RecordWriter(path) as writer:
        for i in range(COUNT):
            label = np.array([i // 7, 0.1], np.float32) if i % 3 == 2 else i // 7
            image = real if i % 5 else JPEG + i.to_bytes(4, "big") * 900
            writer.write(3 + i, pack(IRHeader(label, 3 + i), image))
    return path


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("middle", ["folder", "tar", "rec"])
def test_the_bytes_do_not_depend_on_the_workers(tmp_path, source, middle):
    for workers in (1, 2):
        root = tmp_path / str(workers)
        between = root / ("middle/a.rec" if middle == "rec" else "middle")
        done = convert(
            source, between, to=middle, shuffle=4, workers=workers, shard_images=COUNT // 3
        )
        assert (done.count, done.skipped) == (COUNT, [])
        convert(between, root / "back" / "a.rec", workers=workers)
    one, two = files(tmp_path / "1"), files(tmp_path / "2")
    assert one == two
    assert len([name for name in one if name.endswith(".tar")]) == (4 if middle == "tar" else 0)
    for suffix in (".rec", ".idx"):
        assert two[f"back/a{suffix}"] == source.with_suffix(suffix).read_bytes()


def test_webdataset_reads_the_shards_of_several_workers(tmp_path, source):
    webdataset = pytest.importorskip("webdataset")
    convert(source, tmp_path / "shards", to="tar", workers=2, shard_images=200)
    urls = str(tmp_path / "shards" / "{000000..000002}.tar")
    found = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [int(sample["__key__"]) for sample in found] == list(range(3, COUNT + 3))
    images = open_labelled(source).images
    assert [sample["jpg"] for sample in found] == [bytes(images.encoded(i)) for i in range(COUNT)]
    assert [int(sample["cls"]) for sample in found] == [i // 7 for i in range(COUNT)]
    assert json.loads(found[2]["json"])["labels"] == np.array([0, 0.1], np.float32).tolist()


def test_what_cannot_be_read_is_named_or_left_out(tmp_path, source):
    convert(source, tmp_path / "people")
    bad = sorted((tmp_path / "people").rglob("*.jpg"))[300]
    bad.write_bytes(b"")
    sentence = f"{bad} holds no image bytes"
    with pytest.raises(FacekdError, match=sentence):
        convert(tmp_path / "people", tmp_path / "b.rec", workers=2)
    assert os.listdir(tmp_path) == ["people"]
    done = convert(tmp_path / "people", tmp_path / "b.rec", on_bad_record="skip", workers=2)
    assert done.count == COUNT - 1
    assert [sentence in told for told in done.skipped] == [True]


def test_two_images_of_one_name_in_two_processes(tmp_path, source):
    lines = [f"{3 + i}\t{i // 7}\tx/{i % (COUNT - 1)}.jpg\n" for i in range(COUNT)]
    for suffix in (".rec", ".idx"):
        os.link(source.with_suffix(suffix), tmp_path / f"a{suffix}")
    (tmp_path / "a.lst").write_text("".join(lines))
    with pytest.raises(FacekdError, match=r"two images are called x/0\.jpg"):
        convert(tmp_path / "a.rec", tmp_path / "b", workers=2)
    assert not list(tmp_path.glob("*b*"))


STOPPED = """
import signal
import sys
from facekd.cli.data import main
from facekd.data_tools import convert as module

def told(pieces, total):
    for number, piece in enumerate(pieces):
        if number == 5:
            print("begun", flush=True)
            sys.stdin.readline()
        yield piece

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    import tqdm
    tqdm.tqdm = lambda pieces, what, total, **more: told(pieces, total)
    sys.exit(main(["convert", *sys.argv[1:], "--workers", "2"]))
"""


def children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in listed}
    return [int(pid) for pid, name in names.items() if b"spawn_main" in name]


def gone(pids: list[int]) -> bool:
    """Whether processes have ended, within a while."""
    for _ in range(600):
        if not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
@pytest.mark.parametrize("stop", ["worker", "ctrl-c", "kill"])
def test_stopped_it_leaves_nothing_and_nobody(tmp_path, source, stop):
    script = tmp_path / "script.py"
    script.write_text(STOPPED)
    command = [sys.executable, script, source, tmp_path / "out"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    assert process.stdout.readline() == "begun\n"
    workers = children(process.pid)
    assert len(workers) == 2
    if stop == "worker":
        os.kill(workers[0], signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT if stop == "ctrl-c" else signal.SIGKILL)
    _, error = process.communicate("go on\n", timeout=60)
    assert gone(workers)
    assert not (tmp_path / "out").exists()
    if stop == "kill":
        convert(source, tmp_path / "out")
    elif stop == "worker":
        assert process.returncode == 2
        assert "error: one of 2 worker processes died (killed, or out of memory?)" in error
    assert "Traceback" not in error
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["script.py"] + (["out"] if stop == "kill" else [])
    )
