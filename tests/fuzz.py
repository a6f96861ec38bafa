"""Damage files that users bring and read them: a FacekdError or a valid read, and nothing else.

    python tests/fuzz.py --count 500            # spread over all targets
    python tests/fuzz.py rec --seed 17          # one case again

Each case is a number: it seeds the choice of the file and all the damage done to it. A case that
hangs, needs more memory than it may, or raises any other error is told with the command that
repeats it; one that crashes is the last that stderr names.
"""

import argparse
import io
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from ijb_shaped import make_ijb

from facekd.data.exclude import excluded
from facekd.data_tools.binfile import read_bin
from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.group_files import read_groups
from facekd.data_tools.ijb import open_pairs, open_search
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.landmark_table import read_landmarks
from facekd.data_tools.lst import read_list
from facekd.data_tools.pair_files import from_csv, from_lfw_pairs
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.verify import open_checks, verify
from facekd.errors import FacekdError
from facekd.eval.embeddings import open_embeddings
from facekd.eval.saved_report import read_report
from facekd.eval.score_files import read_scored_pairs, read_scores
from facekd.eval.transfer import read_thresholds

FIXTURES = Path(__file__).parent / "fixtures"
SECONDS = 5
MEMORY = 1 << 30  # bytes a case may add to what the process has

Files = dict[str, bytes]
Damage = Callable[[bytes, random.Random], bytes]


class TooLong(BaseException):
    """A case ran out of time; no reader may catch it."""


@dataclass(frozen=True)
class Target:
    """Files that are read together.

    Attributes:
        make: Their sound contents; a name may hold folders.
        read: Reads them from a folder, and all that they promise.
        damage: What, besides anything at random, is done to them, by the end of the file's name.
    """

    make: Callable[[], Files]
    read: Callable[[Path], object]
    damage: dict[str, Damage]


WORDS = (b"\xff" * 4, bytes(4), b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0\0\0\x20", b"\0\0\1\0")
TEXTS = (
    b"-1 0 99999999999999999999 1e308 nan inf 0x10 \xd9\xa3 ../../../../etc/passwd /etc/passwd "
    b'C:\\x \xff\xfe \xef\xbb\xbf \0 " "" , \t \n \r\n \r ; \' {} [] null true [[[[[[[[ 1_0 1e400'
).split(b" ")


OPCODES = b"]()}NtlaesSTUBC\x8e\x96XVcR\x93bo0.2\x94qrhj\x85\x86\x87\x95IJKL\x8a\x8b"


def flip_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(changed)


def cut_or_double(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    end = min(len(data), at + chance.choice([1, 4, 40, 512, len(data)]))
    return data[:at] + data[at:end] * chance.choice([0, 0, 2, 50]) + data[end:]


def extreme_word(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data)) & ~chance.choice([0, 3])
    return data[:at] + chance.choice(WORDS) + data[at + 4 :]


def other_text(data: bytes, chance: random.Random) -> bytes:
    """A field of a text becomes another, or a line comes twice, or fields change places."""
    separator = chance.choice([b",", b"\t", b" ", b"\n", b'"', b":"])
    fields = data.split(separator)
    at = chance.randrange(len(fields))
    match chance.randrange(4):
        case 0:
            fields[at] = chance.choice(TEXTS) * chance.choice([1, 1, 1, 5000])
        case 1:
            fields.insert(at, fields[chance.randrange(len(fields))])
        case 2:
            fields[at], fields[0] = fields[0], fields[at]
        case 3:
            del fields[at]
    return separator.join(fields)


def record_words(data: bytes, chance: random.Random) -> bytes:
    """Magic, cflag, length, flag, label or id of some record becomes another."""
    starts = [at for at in range(0, len(data) - 8, 4) if data[at : at + 4] == b"\x0a\x23\xd7\xce"]
    at = chance.choice(starts or [0]) + 4 * chance.randrange(7)
    (word,) = struct.unpack_from("<I", data.ljust(at + 4, b"\0"), at)
    word = chance.choice(
        [word ^ 1 << chance.randrange(32), word + 4, word - 1, chance.randrange(1 << 32), 1 << 29]
    )
    return data[:at] + struct.pack("<I", word & 0xFFFFFFFF) + data[at + 4 :]


def jpeg_words(data: bytes, chance: random.Random) -> bytes:
    """Size, components or length of some JPEG segment becomes another."""
    marks = [at for at in range(len(data) - 9) if data[at] == 0xFF and data[at + 1] >= 0xC0]
    at = chance.choice(marks or [0]) + chance.randrange(2, 9)
    return data[:at] + chance.choice([b"\xff\xff", b"\0\0", b"\0\1", b"\x40\0"]) + data[at + 2 :]


def opcodes(data: bytes, chance: random.Random) -> bytes:
    """A byte becomes an opcode of a pickle, or some are put in."""
    at = chance.randrange(len(data))
    some = bytes(chance.choice(OPCODES) for _ in range(chance.choice([1, 1, 3, 2000])))
    return data[:at] + some + data[at + chance.randrange(2) :]


def tar_headers(data: bytes, chance: random.Random) -> bytes:
    """Name, size or type of some member becomes another; the checksum is mended mostly."""
    changed = bytearray(data)
    at = 512 * chance.randrange(max(1, len(data) // 512 - 2))
    match chance.randrange(4):
        case 0:
            name = chance.choice([b"/etc/x.jpg", b"../x.jpg", b"a\\b.jpg", b"", b"x.jpg", b"\xff"])
            changed[at : at + 100] = name.ljust(100, b"\0")
        case 1:
            size = chance.choice([b"77777777777\0", b"-0000000001\0", b"\xff" * 12, b"\x80" * 12])
            changed[at + 124 : at + 136] = size
        case 2:
            changed[at + 156] = chance.choice(b"0123456789xgLKSDVM\0")
        case 3:
            changed[at + chance.randrange(512)] = chance.randrange(256)
    if chance.randrange(4):
        changed[at + 148 : at + 156] = b" " * 8
        total = sum(changed[at : at + 512])
        changed[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(changed)


def image(number: int, side: int = 24) -> bytes:
    """A JPEG, PNG, BMP or WebP of noise."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    suffix = [".jpg", ".png", ".bmp", ".webp"][number % 4]
    return cv2.imencode(suffix, pixels)[1].tobytes() if number % 4 else encode_jpeg(pixels)


def made_records() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.rec"
        with RecordWriter(path) as writer:
            for i in range(8):
                label = np.array([i // 2, 7], np.float32) if i == 5 else i // 2
                writer.write(i, pack(IRHeader(label, i), image(i)))
        lines = [f"{i}\t{i // 2}\tperson{i // 2}/{i}.jpg\n" for i in range(8)]
        lines[5] = "5\t2\t7\tperson2/5.jpg\n"
        return {
            "a.rec": path.read_bytes(),
            "a.idx": path.with_suffix(".idx").read_bytes(),
            "a.lst": "".join(lines).encode(),
        }


def mxnets_records() -> Files:
    folder = FIXTURES / "mxnet191"
    return {f"a.{end}": (folder / f"records.{end}").read_bytes() for end in ("rec", "idx")}


def read_payloads(folder: Path) -> None:
    told = None
    for on_bad in ("error", "skip"):
        try:
            records = FaceRecords(folder / "a.rec", on_bad_record=on_bad)
            assert len(records.keys) == len(records.labels) == len(records) > 0
            assert records.labels.min() >= 0
            for i in range(len(records)):
                assert len(records.encoded(i)) > 0
        except FacekdError as error:
            told = error
    verify(open_checks(folder / "a.rec"))
    if told is not None:
        raise told


def read_records(folder: Path) -> None:
    read_payloads(folder)
    read_set(folder / "a.rec")


def read_set(path: Path) -> None:
    found = open_labelled(path)
    assert len(found.images) == len(found.labels) == len(found.ids)
    for i in range(len(found.images)):
        assert found.images[i].dtype == np.uint8


def made_bin(protocol: int, kind: Callable[[bytes], object]) -> Files:
    content = ([kind(image(i)) for i in range(6)], [True, False, True])
    return {"a.bin": pickle.dumps(content, protocol)}


def read_pickle(folder: Path) -> None:
    found = read_bin(folder / "a.bin")
    assert len(found.encoded) == 2 * len(found.same)
    for encoded in found.encoded:
        decode_rgb(encoded)


def made_tar() -> Files:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for i in range(5):
            told = f'{{"identity": "p{i // 2}", "name": "{i}.jpg", "label": {i // 2}}}'
            texts = {"jpg": image(4 * i), "cls": b"%d" % (i // 2), "json": told.encode()}
            for suffix, data in texts.items():
                member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return {"a.tar": content.getvalue()}


def made_pairs() -> Files:
    faces = {f"p{i}/p{i}_{j:04d}.jpg": image(0, 8 + i) for i in range(3) for j in (1, 2)}
    rows = [("0", "0", 1), ("1", "1", 1), ("0", "1", 0), ("1", "2", 0)]
    listed = [(f"p{a}/p{a}_0001.jpg", f"p{b}/p{b}_0002.jpg", same) for a, b, same in rows]
    table = "a,b,same,group,subject_a,subject_b\n" + "".join(
        f"{a},{b},{same},g{i % 2},{a[:2]},{b[:2]}\n" for i, (a, b, same) in enumerate(listed)
    )
    groups = "image,group\n" + "".join(f"{name},g\n" for name in faces)
    lfw = "p0\t1\t2\np1\t1\t2\np0\t1\tp1\t2\np1\t1\tp2\t2\n"
    left_out = "image,identity\np0/p0_0001.jpg,\n,p2\n"
    texts = {"pairs.csv": table, "groups.csv": groups, "pairs.txt": lfw, "out.csv": left_out}
    return {name: text.encode() for name, text in texts.items()} | faces


class _Source:
    """As much of a training source as an exclusion list needs."""

    labels = np.arange(6) // 2

    def called(self) -> tuple[list[str], list[str]]:
        names = [f"p{i}/p{i}_{j:04d}.jpg" for i in range(3) for j in (1, 2)]
        return names, ["p0", "p1", "p2"]

    def called_skipped(self) -> list[str]:
        return []


def read_lists(folder: Path) -> None:
    told = None
    for work in (
        lambda: from_csv(folder / "pairs.csv").images[0],
        lambda: read_groups(folder / "groups.csv", from_csv(folder / "pairs.csv")),
        lambda: from_lfw_pairs(folder / "pairs.txt").images[0],
        lambda: excluded(_Source(), folder / "out.csv"),
    ):
        try:
            work()
        except FacekdError as error:
            told = error
    if told is not None:
        raise told


def made_scores() -> Files:
    array, scores, cosines = io.BytesIO(), io.BytesIO(), np.linspace(-1, 1, 12)
    np.save(array, np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32))
    np.save(scores, cosines)
    table = "score,same,subject_a,subject_b,fold\n" + "".join(
        f"{x:.4f},{i % 2},a{i},{'a' if i % 2 else 'b'}{i},{i // 6}\n" for i, x in enumerate(cosines)
    )
    points = ",".join(f"{name}{i}" for i in range(1, 6) for name in "xy")
    return {
        "e.npy": array.getvalue(),
        "e.json": b'{"format": 1, "shape": [6, 8], "halves": true}',
        "s.npy": scores.getvalue(),
        "s.csv": table.encode(),
        "points.csv": f"image,{points},score\na/1.jpg,{'1,2,' * 5}0.9\n".encode(),
    }


def read_numbers(folder: Path) -> None:
    told = None
    for work in (
        lambda: open_embeddings(folder / "e.npy").faces(),
        lambda: read_scores(folder / "s.npy"),
        lambda: read_scored_pairs(folder / "s.csv"),
        lambda: read_landmarks(folder / "points.csv"),
    ):
        try:
            work()
        except FacekdError as error:
            told = error
    if told is not None:
        raise told


def below(folder: Path) -> Files:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def made_ijb() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        make_ijb(Path(folder), faces=80, images=False)
        return below(Path(folder))


def read_ijb(folder: Path) -> None:
    open_pairs(folder, "ijbc")
    open_search(folder, "ijbc")


def read_saved(folder: Path) -> None:
    told = None
    try:
        read_thresholds(folder / "results.json", model="one", bench="made")
    except FacekdError as error:
        told = error
    read_report(folder)
    if told is not None:
        raise told


RECORD: dict[str, Damage] = {".rec": record_words, ".idx": other_text, ".lst": other_text}
TARGETS = {
    "rec": Target(made_records, read_records, RECORD),
    "rec_mxnet": Target(mxnets_records, read_payloads, RECORD),
    "rec_alone": Target(lambda: {"a.rec": made_records()["a.rec"]}, read_records, RECORD),
    "lst": Target(
        lambda: {"a.lst": made_records()["a.lst"]}, lambda f: read_list(f / "a.lst"), RECORD
    ),
    "bin0": Target(lambda: made_bin(0, bytes), read_pickle, {".bin": opcodes}),
    "bin2": Target(
        lambda: made_bin(2, lambda x: np.frombuffer(x, np.uint8)), read_pickle, {".bin": opcodes}
    ),
    "bin4": Target(lambda: made_bin(4, bytes), read_pickle, {".bin": opcodes}),
    "bin5": Target(
        lambda: made_bin(5, lambda x: np.frombuffer(x, np.uint8).copy()),
        read_pickle,
        {".bin": opcodes},
    ),
    "tar": Target(made_tar, lambda folder: read_set(folder / "a.tar"), {".tar": tar_headers}),
    "jpeg": Target(
        lambda: {f"{i}.img": image(i) for i in (0, 4, 8, 1, 2, 3)},
        lambda folder: [decode_rgb(path.read_bytes()) for path in sorted(folder.iterdir())],
        {".img": jpeg_words},
    ),
    "lists": Target(made_pairs, read_lists, {".csv": other_text, ".txt": other_text}),
    "numbers": Target(made_scores, read_numbers, {".csv": other_text, ".json": other_text}),
    "ijb": Target(made_ijb, read_ijb, {".txt": other_text, ".csv": other_text}),
    "report": Target(lambda: below(FIXTURES / "report_format2"), read_saved, {".json": other_text}),
}


def damaged(files: Files, target: Target, chance: random.Random) -> Files:
    """The files with one of them damaged, once or a few times."""
    names = [name for name in files if not target.damage or Path(name).suffix in target.damage]
    name = chance.choice(names + [n for n in files if n.endswith((".npy", ".npz"))])
    data = files[name]
    own = target.damage.get(Path(name).suffix, flip_bytes)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        if data:
            way = chance.choice([own, own, own, flip_bytes, cut_or_double, extreme_word])
            data = way(data, chance)
    return files | {name: data}


def run_case(name: str, seed: int, files: Files, folder: Path) -> bool:
    """Read one damaged set of files; whether it could be read."""
    target = TARGETS[name]
    chance = random.Random(f"{name} {seed}")
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in damaged(files, target, chance).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        target.read(folder)
    except FacekdError as error:
        text = str(error)
        assert text, "an error without words"
        assert "MemoryError" not in text, text
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def _on_alarm(number: int, frame: object) -> None:
    raise TooLong


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; 0 where all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=1, help="cases, over all targets")
    parser.add_argument("--seed", type=int, default=0, help="the first case of each target")
    chosen = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGALRM, _on_alarm)
    names = chosen.targets or list(TARGETS)
    bounds = np.linspace(0, chosen.count, len(names) + 1).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        contents = {name: TARGETS[name].make() for name in names}
        for name in names:  # what is sound can be read, and everything is imported by then
            case = Path(folder) / "sound" / name
            for path, data in contents[name].items():
                (case / path).parent.mkdir(parents=True, exist_ok=True)
                (case / path).write_bytes(data)
            TARGETS[name].read(case)
        _limit_memory()
        failed = 0
        for name, (start, end) in zip(names, pairwise(bounds), strict=True):
            fine = 0
            for seed in range(chosen.seed, chosen.seed + max(1, end - start)):
                print(f"\r{name} {seed}", end="", file=sys.stderr, flush=True)
                try:
                    fine += run_case(name, seed, contents[name], Path(folder) / "case")
                except BaseException:
                    traceback.print_exc()
                    print(f"again: python tests/fuzz.py {name} --seed {seed}", flush=True)
                    failed = 1
            print(f"\n{name}: seeds {chosen.seed} to {seed}, {fine} read, the others refused")
    return failed


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
