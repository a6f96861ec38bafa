import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data_tools import verify as verify_module
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.data_tools.verify import open_checks, verify
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError

JPEG = encode_jpeg(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
STEP = 8 + 24 + len(JPEG) + (-len(JPEG) % 4)  # bytes of a record with this image


def bad(path, **settings):
    checks = open_checks(path)
    findings = verify(checks, **settings)
    assert list(findings) == sorted(findings)
    return [(f.record, f.offset, f.reason) for f in findings.values()]


def write_face2rec(path, images=6):
    with RecordWriter(path) as writer:
        writer.write(0, pack(IRHeader(np.array([images + 1, images + 2]), 0), b""))
        for key in range(1, images + 1):
            writer.write(key, pack(IRHeader(0.0, key), JPEG))
        writer.write(images + 1, pack(IRHeader(np.array([1, images + 1]), images + 1), b""))
    lines = path.with_suffix(".idx").read_text().splitlines()
    return [int(line.split("\t")[1]) for line in lines], lines


def break_bytes(path, at, new):
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


def test_finds_every_kind_of_bad_record(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(IRHeader(np.array([7, 10]), 0), b""))
        for key, (label, image) in enumerate(
            [(0.0, JPEG), (1.5, JPEG), (0.0, JPEG[:-9]), (0.0, b""), (0.0, b"x"), (0.0, JPEG)], 1
        ):
            writer.write(key, pack(IRHeader(label, key), image))
        writer.write(7, pack(IRHeader(np.array([1, 7]), 7), b""))
        writer.write(8, b"short")
    lines = path.with_suffix(".idx").read_text().splitlines()
    offsets = [int(line.split("\t")[1]) for line in lines]
    break_bytes(path, offsets[6], b"\xff")
    path.with_suffix(".idx").write_text("\n".join([*lines, "9\t999999"]))
    reasons = {
        2: "has the label 1.5",
        3: f"a JPEG of {len(JPEG) - 9} bytes is cut short",
        4: "holds no image bytes",
        5: "1 bytes do not decode",
        6: f"no record starts at byte {offsets[6]}",
        8: "a payload of 5 bytes is shorter",
        9: "byte 999999 lies past the end",
    }
    found = bad(path)
    assert [(record, offset) for record, offset, _ in found] == [
        (key, ([*offsets, 999999])[key]) for key in reasons
    ]
    for (_, _, reason), expected in zip(found, reasons.values(), strict=True):
        assert reason.startswith(expected)


def test_index_into_the_middle_missing_double(tmp_path):
    path = tmp_path / "a.rec"
    offsets, lines = write_face2rec(path)
    index = path.with_suffix(".idx")
    index.write_text("\n".join([*lines[:2], f"2\t{offsets[2] + 8}", *lines[3:]]))
    assert bad(path) == [
        (0, 0, "this header speaks of 8 records in all, and there are 9."),
        (None, offsets[2], "the index has no entry for this record."),
        (
            2,
            offsets[2] + 8,
            f"the index points into the middle of the record that starts at byte {offsets[2]}.",
        ),
    ]
    index.write_text("\n".join([*lines[:3], f"2\t{offsets[3]}", *lines[4:]]))
    assert bad(path) == [(2, offsets[3], "the index lists the record 2 more than once.")]
    index.write_text("\n".join([*lines[:3], f"3\t{offsets[2]}", *lines[4:]]))
    assert [(record, reason) for record, _, reason in bad(path)] == [
        (3, "the index gives the records 2 and 3 one place."),
        (None, "the index has no entry for this record."),
    ]
    index.write_text("\n".join(["what is this", *lines]))
    assert [reason for *_, reason in bad(path)] == [
        f"{index} line 1 is not 'key<tab>offset' (b'what is this'): delete the file and the index "
        "is rebuilt from the .rec."
    ]


def test_shuffled_index_is_noted_and_sound(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        for key in [4, 1, 3]:
            writer.write(key, pack(IRHeader(0.0, key), JPEG))
    assert bad(path) == []
    assert open_checks(path).notes == ["the record numbers in a.idx do not rise: a shuffled set."]
    path.with_suffix(".idx").unlink()
    assert bad(path) == []


@pytest.mark.parametrize("indexed", [True, False])
def test_a_length_too_long_is_told_where_it_stands(tmp_path, indexed):
    path = tmp_path / "a.rec"
    offsets, _ = write_face2rec(path)
    length = offsets[3] - offsets[2] - 8
    break_bytes(path, offsets[2] + 4, (length + 8).to_bytes(4, "little"))
    if not indexed:
        path.with_suffix(".idx").unlink()
    assert bad(path) == [
        (
            2,
            offsets[2],
            f"its length is wrong: the next record starts at byte {offsets[3]}, before this one's "
            "end.",
        )
    ]


@pytest.mark.parametrize("indexed", [True, False])
def test_a_truncated_file(tmp_path, indexed):
    path = tmp_path / "a.rec"
    offsets, _ = write_face2rec(path)
    path.write_bytes(path.read_bytes()[: offsets[5] + 100])
    if not indexed:
        path.with_suffix(".idx").unlink()
    found = bad(path)
    assert [(record, offset) for record, offset, _ in found] == (
        [(key, offsets[key]) for key in (5, 6, 7)] if indexed else [(0, 0), (5, offsets[5])]
    )


def test_flipped_bits_are_found_or_harmless(tmp_path):
    """Whatever bit flips: never a crash, and no sound record is called bad for it."""
    path = tmp_path / "a.rec"
    offsets, _ = write_face2rec(path, images=3)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(sound), 200, replace=False).tolist():
        break_bytes(path, bit // 8, bytes([sound[bit // 8] ^ 1 << bit % 8]))
        hit = int(np.searchsorted(offsets, bit // 8, side="right")) - 1
        assert {offset for _, offset, _ in bad(path)} <= {offsets[hit], 0}
        path.write_bytes(sound)


def test_bin_folder_and_shards(tmp_path):
    write_bin(tmp_path / "a.bin", [JPEG, b"x", JPEG, JPEG], [True, False])
    ((record, offset, reason),) = bad(tmp_path / "a.bin")
    assert (record, offset) == (1, None)
    assert reason.startswith("1 bytes do not decode as an image")
    (tmp_path / "faces" / "ann").mkdir(parents=True)
    (tmp_path / "faces" / "ann" / "1.jpg").write_bytes(JPEG)
    (tmp_path / "faces" / "ann" / "2.jpg").write_bytes(b"x")
    ((record, offset, reason),) = bad(tmp_path / "faces")
    assert (record, offset) == ("ann/2.jpg", None)
    assert reason.startswith("1 bytes do not decode as an image")
    items = [Item("ann", f"{i}.jpg", 0, JPEG[:-9] if i == 2 else JPEG) for i in range(4)]
    write_set(items, tmp_path / "shards", "tar", shard_images=2)
    ((record, offset, reason),) = bad(tmp_path / "shards")
    assert (record, offset) == ("ann/2.jpg", 512)
    assert "cut short" in reason
    shards = sorted((tmp_path / "shards").iterdir())
    shards[0].write_bytes(shards[0].read_bytes()[:1000])
    assert [record for record, *_ in bad(tmp_path / "shards")] == ["ann/2.jpg", shards[0].name]


def test_a_record_and_the_list_beside_it(tmp_path):
    items = [Item("ann", f"{i}.jpg", 0, JPEG) for i in range(3)]
    write_set(items, tmp_path / "a.rec")
    assert bad(tmp_path / "a.rec") == []
    listed = tmp_path / "a.lst"
    listed.write_text(listed.read_text().replace("2\t0\t", "2\t4\t"))
    assert [(record, reason) for record, _, reason in bad(tmp_path / "a.rec")] == [
        (2, "it has the label 0, and a.lst gives it 4.")
    ]
    listed.write_text("what")
    assert bad(tmp_path / "a.rec") == []
    assert "the list of names is not used" in open_checks(tmp_path / "a.rec").notes[0]


def test_only_sets_can_be_verified(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(FacekdError, match="holds no records to verify"):
        open_checks(tmp_path / "a.npy")


def make_half_bad(path, count=400):
    with RecordWriter(path) as writer:
        for key in range(count):
            writer.write(key, pack(IRHeader(0.0, key), JPEG if key % 3 else JPEG[:-5]))


def test_broken_off_it_goes_on_and_finds_the_same(tmp_path):
    path, state = tmp_path / "a.rec", tmp_path / "state"
    make_half_bad(path)
    undisturbed = verify(open_checks(path))
    assert len(undisturbed) == 134
    checks = open_checks(path)
    sound, checked = checks.check, []

    def check(i):
        if i == 250:
            raise KeyboardInterrupt
        return sound(i)

    checks.check = check
    with pytest.raises(KeyboardInterrupt):
        verify(checks, state)
    assert json.loads(state.read_text())["done"] == 250
    checks.check = lambda i: (checked.append(i), sound(i))[1]
    assert verify(checks, state) == undisturbed
    assert checked == list(range(250, 400))
    os.utime(path, ns=(1, 1))  # another file: what was found in the first one is not believed
    ticks = []
    assert verify(open_checks(path), state, 1, ticks.append) == undisturbed
    assert ticks[0] == 0
    assert len(ticks) == 401


@pytest.mark.parametrize("kind", ["rec", "bin", "folder", "tar"])
def test_processes_find_the_same(tmp_path, monkeypatch, kind):
    path = tmp_path / ("faces" + {"rec": ".rec", "bin": ".bin"}.get(kind, ""))
    images = [JPEG if i % 3 else JPEG[:-5] for i in range(700)]
    if kind == "bin":
        write_bin(path, images, [True, False] * 175)
    else:
        write_set([Item("ann", f"{i}.jpg", 0, image) for i, image in enumerate(images)], path, kind)
    alone = verify(open_checks(path))
    assert len(alone) == 234
    monkeypatch.setattr(verify_module, "_FEW", 0)
    together = verify(open_checks(path), tmp_path / "state", workers=2)
    assert list(together.items()) == list(alone.items())


def test_what_the_decoder_complains_of_is_bad(tmp_path, capfd):
    """A sector of zeros within the picture's data: it decodes, and libjpeg only mutters."""
    damaged = bytearray(encode_jpeg(SyntheticFaces(1, 1).image(0)))
    damaged[2000:2512] = bytes(512)
    decode_rgb(bytes(damaged))
    assert "Corrupt JPEG data" in capfd.readouterr().err
    items = [Item("ann", f"{i}.jpg", 0, bytes(damaged) if i == 1 else JPEG) for i in range(3)]
    write_set(items, tmp_path / "a.rec")
    ((record, _, reason),) = bad(tmp_path / "a.rec")
    assert record == 2
    assert reason.startswith("its data is damaged: the decoder says 'Corrupt JPEG data")
    assert capfd.readouterr().err == ""


def test_a_damaged_state_file_is_told(tmp_path):
    make_half_bad(tmp_path / "a.rec", 3)
    (tmp_path / "state").write_text("{")
    with pytest.raises(FacekdError, match="remove it"):
        verify(open_checks(tmp_path / "a.rec"), tmp_path / "state")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_of_the_command_loses_nothing(tmp_path, workers):
    path, table = tmp_path / "a.rec", tmp_path / "bad.csv"
    make_half_bad(path, 3000)
    (tmp_path / "slowly.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it\n"
        "from facekd.cli.data import main\n"
        "from facekd.data_tools import verify\n"
        "from facekd.data_tools.record_checks import RecordChecks\n"
        "check = RecordChecks.check\n"
        "RecordChecks.check = lambda self, i: (time.sleep(0.002), check(self, i))[1]\n"
        "verify._FEW, verify._SAVE_EVERY = 0, 0.1\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    command = ["verify", str(path), "--workers", str(workers), "--csv"]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slowly.py"), *command, str(table)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    state = tmp_path / ".bad.csv.verify"
    waited = time.monotonic() + 60
    while not state.exists() and time.monotonic() < waited:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.endswith(b"interrupted\n")
    assert b"Traceback" not in error
    assert 0 < json.loads(state.read_text())["done"] < 3000
    assert not table.exists()
    code = "import sys; from facekd.cli.data import main; sys.exit(main(sys.argv[1:]))"
    for target in (table, tmp_path / "again.csv"):
        done = subprocess.run([sys.executable, "-c", code, *command, str(target)])
        assert done.returncode == 2
    assert table.read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert table.read_text().count("\n") == 1001
    assert not state.exists()


def test_a_process_that_dies_is_told_and_what_was_found_is_kept(tmp_path):
    path, table = tmp_path / "a.rec", tmp_path / "bad.csv"
    make_half_bad(path, 1200)
    (tmp_path / "dying.py").write_text(
        "import os, signal, sys\n"
        "from facekd.cli.data import main\n"
        "from facekd.data_tools import verify\n"
        "from facekd.data_tools.record_checks import RecordChecks\n"
        "check = RecordChecks.check\n"
        "def dying(self, i):\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if i == 1100 else check(self, i)\n"
        "RecordChecks.check = dying\n"
        "verify._FEW = 0\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    command = ["verify", str(path), "--workers", "2", "--csv", str(table)]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "dying.py"), *command], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "error: one of 2 worker processes died (killed, or out of memory?)" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / ".bad.csv.verify").read_text())["done"] < 1200
    assert main(command) == 2
    assert len(table.read_text().splitlines()) == 401


def test_saves_are_few(tmp_path, monkeypatch):
    make_half_bad(tmp_path / "a.rec")
    saved = []
    monkeypatch.setattr(verify_module, "_save", lambda *given: saved.append(given[2]))
    verify(open_checks(tmp_path / "a.rec"), tmp_path / "state")
    assert saved == [400]


@pytest.mark.data
def test_real_files_are_sound(data_dir):
    assert bad(data_dir / "formats" / "face2rec") == []
    assert bad(data_dir / "formats" / "small_lfw.bin") == []
