import csv
import json
import os
from functools import partial

import numpy as np
import pytest

from facekd.data_tools import align_workers
from facekd.data_tools.align import TEMPLATE, warp_face
from facekd.data_tools.align_log import AlignLog, Outcome
from facekd.data_tools.align_set import align_set, list_photographs
from facekd.data_tools.align_workers import Settings
from facekd.data_tools.detect import NOTHING, Detections, YuNet
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.landmark_table import read_landmarks
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError

FACES = SyntheticFaces(identities=2, images_per_identity=3, size=112, seed=5)
PEOPLE = ["ann/1.jpg", "ann/2.png", "ann/10.jpg", "bob/1.jpg", "bob/in plenty/2.jpg", "loose.jpg"]


def photograph(number):
    """A drawn face somewhere in a grey picture, and its landmarks."""
    x, y = 20 + 7 * number, 11 * number
    picture = np.full((200, 220, 3), 90 + 10 * number, np.uint8)
    picture[y : y + 112, x : x + 112] = FACES.image(number)
    return picture, TEMPLATE + np.float32([x, y]) + np.float32(number / 3)


class Known:
    """Finds what `photograph` put there, told by its grey: nothing in 0, two faces in 5."""

    def find(self, image):
        number = (int(image[-1, -1, 0]) - 90 + 5) // 10
        if number <= 0:
            return NOTHING
        points = photograph(number)[1]
        landmarks = np.stack([points / 4, points] if number == 5 else [points])
        boxes = np.concatenate([landmarks.min(1), landmarks.max(1)], axis=1)
        return Detections(boxes, landmarks, np.full(len(boxes), 0.9, np.float32))


@pytest.fixture
def source(tmp_path):
    for number, name in enumerate(PEOPLE):
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(photograph(number)[0]))
    return tmp_path / "photographs"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "given.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{axis}{i}" for i in range(1, 6) for axis in "xy")])
        for number, name in enumerate(PEOPLE):
            if number != 3:
                points = photograph(number)[1]
                writer.writerow([name, *(str(value) for value in points.ravel())])
    return path


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected_crop(path, number):
    return encode_jpeg(warp_face(decode_rgb(path.read_bytes()), photograph(number)[1]), 95)


@pytest.mark.parametrize("workers", [1, 2])
def test_crops_are_the_warp_at_the_given_landmarks(source, table, tmp_path, workers):
    done = align_set(
        Settings(source, tmp_path / "out", None),
        "given",
        landmarks=read_landmarks(table),
        workers=workers,
    )
    assert (done.images, done.crops, done.without, done.bad) == (6, 5, 1, 0)
    crops = {"ann/1.jpg", "ann/2.jpg", "ann/10.jpg", "bob/in plenty/2.jpg", "loose.jpg"}
    assert files(tmp_path / "out") == crops | {"landmarks.csv", "missed.csv"}
    for number, name in enumerate(PEOPLE):
        if number != 3:
            crop = (tmp_path / "out" / name).with_suffix(".jpg")
            assert crop.read_bytes() == expected_crop(source / name, number)
    assert rows(tmp_path / "out/missed.csv") == [{"image": "bob/1.jpg", "reason": "no face found"}]


def test_its_landmarks_give_the_same_crops_again(source, tmp_path):
    align_set(Settings(source, tmp_path / "one", Known), "known")
    given = read_landmarks(tmp_path / "one/landmarks.csv")
    align_set(Settings(source, tmp_path / "two", None), "given", landmarks=given)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    for name in files(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_one_face_or_all_of_them_best_first(source, tmp_path):
    one = align_set(Settings(source, tmp_path / "one", Known), "known")
    every = align_set(Settings(source, tmp_path / "all", Known, every_face=True), "known")
    assert (one.crops, every.crops) == (5, 6)
    best = (tmp_path / "one/loose.jpg").read_bytes()
    assert best == expected_crop(source / "loose.jpg", 5)
    assert (tmp_path / "all/loose_0.jpg").read_bytes() == best
    assert (tmp_path / "all/loose_1.jpg").read_bytes() != best
    assert (tmp_path / "all/ann/2_0.jpg").is_file()
    written = [r["crop"] for r in rows(tmp_path / "all/landmarks.csv") if r["image"] == "loose.jpg"]
    assert written == ["loose_0.jpg", "loose_1.jpg"]


def test_bad_images_are_listed_or_end_it(source, tmp_path):
    (source / "bob/1.jpg").write_bytes(b"no picture")
    done = align_set(Settings(source, tmp_path / "out", Known), "known")
    assert (done.crops, done.without, done.bad) == (4, 1, 1)
    missed = {row["image"]: row["reason"] for row in rows(tmp_path / "out/missed.csv")}
    assert missed["ann/1.jpg"] == "no face found"
    assert "10 bytes" in missed["bob/1.jpg"]
    stop = Settings(source, tmp_path / "other", Known, stop_on_bad=True)
    with pytest.raises(FacekdError, match=r"bob/1\.jpg: 10 bytes"):
        align_set(stop, "known")
    assert not (tmp_path / "other").exists()


def test_an_interrupted_run_goes_on(source, tmp_path):
    def interrupt(done, images):
        if done == 4:
            raise KeyboardInterrupt

    settings = Settings(source, tmp_path / "out", Known)
    with pytest.raises(KeyboardInterrupt):
        align_set(settings, "known", progress=interrupt)
    assert not (tmp_path / "out").exists()
    part = tmp_path / ".out.align"
    logged = [json.loads(line)["image"] for line in (part / ".align.jsonl").open().readlines()[1:]]
    assert logged == PEOPLE[:4]
    (part / "ann/2.jpg").unlink()
    with (part / ".align.jsonl").open("a") as file:
        file.write('{"image": "torn')
    seen = []
    done = align_set(settings, "known", progress=lambda i, n: seen.append((i, n)))
    assert done.kept == 3
    assert seen == [(4, 6), (5, 6), (6, 6)]
    align_set(Settings(source, tmp_path / "fresh", Known), "known")
    for name in files(tmp_path / "fresh"):
        assert (tmp_path / "fresh" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert not part.exists()


def test_it_goes_on_with_the_same_settings_only(tmp_path):
    with AlignLog(tmp_path / "log", {"detector": "one", "quality": 95}) as log:
        log.add(Outcome("a.jpg", [], "no face found"))
    with pytest.raises(FacekdError, match=r"other settings \(quality 95, now 90\).*--force"):
        AlignLog(tmp_path / "log", {"detector": "one", "quality": 90})
    (tmp_path / "log").write_bytes((tmp_path / "log").read_bytes() + b"[]\n")
    with pytest.raises(FacekdError, match="damaged"):
        AlignLog(tmp_path / "log", {"detector": "one", "quality": 95})


def test_what_is_there_is_replaced_by_force_only_and_if_its_own(source, tmp_path):
    settings = Settings(source, tmp_path / "out", Known)
    align_set(settings, "known")
    with pytest.raises(FacekdError, match="there already"):
        align_set(settings, "known")
    (tmp_path / "out/ann/1.jpg").write_bytes(b"old")
    assert align_set(settings, "known", force=True).crops == 5
    assert not (tmp_path / "out/ann/1.jpg").exists()
    (tmp_path / "out/landmarks.csv").unlink()
    with pytest.raises(FacekdError, match="not made by align"):
        align_set(settings, "known", force=True)
    with pytest.raises(FacekdError, match="lie in one another"):
        align_set(Settings(source, source / "aligned", Known), "known")


def test_no_face_at_all_is_an_error_and_leaves_nothing(source, tmp_path):
    nobody = {"elsewhere/1.jpg": NOTHING}
    with pytest.raises(FacekdError, match=r"no face was cut out of 6 images.*elsewhere/1\.jpg"):
        align_set(Settings(source, tmp_path / "out", None), "given", landmarks=nobody)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photographs"]


def test_photographs_are_listed_as_people_read_and_crops_do_not_collide(source, tmp_path):
    (source / "ann/1.PNG").write_bytes(b"")
    (source / "ann/.hidden.jpg").write_bytes(b"")
    (source / "ann/notes.txt").write_bytes(b"")
    (source / "circle").symlink_to(source)
    listed = {p.image: p.crop for p in list_photographs(source)}
    assert list(listed)[:4] == ["ann/1.jpg", "ann/1.PNG", "ann/2.png", "ann/10.jpg"]
    assert listed["ann/1.jpg"] == "ann/1.jpg"
    assert listed["ann/1.PNG"] == "ann/1.PNG"
    assert listed["ann/2.png"] == "ann/2"
    assert len(listed) == 7
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacekdError, match="no images below"):
        list_photographs(tmp_path / "empty")
    with pytest.raises(FacekdError, match="is not a folder"):
        list_photographs(tmp_path / "nothing")


def test_a_detector_that_cannot_be_opened_in_a_process_is_told(source, tmp_path):
    settings = Settings(source, tmp_path / "out", partial(YuNet, tmp_path / "none.onnx"))
    with pytest.raises(FacekdError, match="there is no detector"):
        align_set(settings, "none")


def test_large_photographs_are_handed_on_one_at_a_time(source, tmp_path, monkeypatch):
    """So that a group of them does not fill the memory; nothing is lost where groups end."""
    monkeypatch.setattr(align_workers, "_GROUP_BYTES", 1)
    settings = Settings(source, tmp_path, Known)
    outcomes = list(align_workers.align_each(settings, list_photographs(source), 1))
    assert [outcome.image for outcome in outcomes] == PEOPLE
    assert [len(outcome.faces) for outcome in outcomes] == [0, 1, 1, 1, 1, 1]


def test_a_process_that_dies_is_told(source, tmp_path):
    settings = Settings(source, tmp_path / "out", partial(os._exit, 9))
    with pytest.raises(FacekdError, match="a process that aligns photographs died"):
        align_set(settings, "dying", workers=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x1\na,1\n", "no column 'y1'"),
        ("image,{points}\na,1,2,3,4,5,6,7,8,9,ten\n", "line 2: y5 is 'ten', no number"),
        ("image,{points}\na,1,2,3,4,5,6,7,8,9,inf\n", "line 2: y5 is 'inf', no finite number"),
        ("image,{points}\na,,2,3,4,5,6,7,8,9,1\n", "line 2: x1 is '', no number"),
    ],
)
def test_landmarks_that_are_none_are_told_with_their_line(tmp_path, text, message):
    points = ",".join(f"{axis}{i}" for i in range(1, 6) for axis in "xy")
    (tmp_path / "l.csv").write_text(text.format(points=points))
    with pytest.raises(FacekdError, match=message):
        read_landmarks(tmp_path / "l.csv")


def test_a_rec_or_tar_has_its_tables_beside_it(source, tmp_path):
    (source / "loose.jpg").unlink()
    (source / "bob/in plenty").rename(source / "cy")
    for name in ("out.rec", "out.tar"):
        done = align_set(Settings(source, tmp_path / name, Known), "known")
        assert (done.images, done.crops, done.without) == (5, 4, 1)
        made = open_labelled(tmp_path / name)
        assert list(made.names) == ["ann", "bob", "cy"]
        assert made.labels.tolist() == [0, 0, 1, 2]
        assert bytes(made.images.encoded(3)) == expected_crop(source / "cy/2.jpg", 4)
        assert len(rows(tmp_path / "out.landmarks.csv")) == 4
        assert rows(tmp_path / "out.missed.csv")[0]["image"] == "ann/1.jpg"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_rec_needs_a_folder_an_identity(source, tmp_path):
    with pytest.raises(FacekdError, match="is not NAME/IMAGE"):
        align_set(Settings(source, tmp_path / "out.rec", Known), "known")


@pytest.mark.parametrize("count", [0, 1, 8, 100, 5000])
@pytest.mark.parametrize("workers", [2, 3])
def test_processes_are_handed_few_photographs_at_first_and_at_last(count, workers):
    photographs = [align_workers.Photograph(f"{i}.jpg", str(i)) for i in range(count)]
    chunks = list(align_workers._chunks(photographs, workers))
    assert [p for chunk in chunks for p in chunk] == photographs
    sizes = [len(chunk) for chunk in chunks]
    if count == 5000:
        assert max(sizes) == 128
        assert max(sizes[0], *sizes[-workers:]) == 8
