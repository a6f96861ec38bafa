"""facekd-model verify: two photographs, a threshold from a report, a verdict with its rates."""

import json
import re

import cv2
import numpy as np
import pytest
from eval_command import TINY, evaluate

import facekd
from facekd.cli.model import main
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.detect import NOTHING, Detections
from facekd.data_tools.images import decode_rgb, encode_jpeg, resize
from facekd.data_tools.one_face import cut_face
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.eval.benchmarks import synthetic_pairs

MODEL = ("--model", str(TINY))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """a0.jpg, a1.jpg, b0.jpg (two drawn people, 112 pixels), and reports of the tiny network."""
    folder = tmp_path_factory.mktemp("verify")
    faces = SyntheticFaces(2, 2, split="eval")
    for i, name in enumerate(("a0", "a1", "b0")):
        (folder / f"{name}.jpg").write_bytes(encode_jpeg(faces.image(i)))
    pairs = synthetic_pairs(32, identities=40, images_each=3, pairs=200)
    order = np.stack([pairs.left, pairs.right], axis=1).ravel().tolist()
    write_bin(
        folder / "drawn.bin", [encode_jpeg(pairs.images[i]) for i in order], pairs.same.tolist()
    )
    for out, more in (("report", ()), ("plain", ("--no-flip",))):
        given = ("--bench", folder / "drawn.bin", *MODEL, "--device", "cpu", "--workers", "0")
        evaluate(folder / out, *given, *more)
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)


def ask(capsys, *arguments):
    """The command's JSON."""
    assert main(["verify", *MODEL, "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The command's one sentence."""
    assert main(["verify", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize(("report", "flip"), [("report", True), ("plain", False)])
def test_threshold_and_rates_are_the_reports(capsys, place, report, flip):
    told = ask(capsys, "a0.jpg", "a1.jpg", "--aligned", "--report", report, "--far", "1e-1")
    model = json.loads((place / report / "results.json").read_text())["benches"][0]["models"][0]
    point = model["tar_at_far"][0]
    assert point["target_far"] == 0.1
    assert told["threshold"] == point["threshold"]
    assert told["target_far"] == 0.1
    assert told["flip"] is flip
    expected = told["expected"]
    assert (expected["far"], expected["far_interval"]) == (point["far"], point["far_interval"])
    assert expected["fnmr"] == pytest.approx(point["fnmr"])
    low, high = point["interval"]
    assert expected["fnmr_interval"] == pytest.approx([1 - high, 1 - low])
    crops = [resize(decode_rgb((place / f).read_bytes()), 32) for f in ("a0.jpg", "a1.jpg")]
    verdict = facekd.verify(*crops, point["threshold"], model=facekd.load_model(TINY), flip=flip)
    assert told["similarity"] == pytest.approx(verdict.similarity, abs=1e-6)
    assert told["same"] == verdict.same


def test_a_far_that_the_report_does_not_list_is_read_off_its_scores(capsys):
    told = ask(capsys, "a0.jpg", "b0.jpg", "--aligned", "--report", "report", "--far", "0.25")
    assert told["expected"]["far"] <= 0.25
    with np.load("report/scores/drawn.npz") as file:
        scores, same = file["scores"][0], file["same"]
    point = facekd.eval.tar_at_far(scores, same, 0.25)
    assert told["threshold"] == point.threshold


def test_a_given_threshold_has_the_rates_it_has_there(capsys):
    told = ask(capsys, "a0.jpg", "b0.jpg", "--aligned", "--report", "report", "--threshold", "-1")
    assert told["same"]
    assert (told["expected"]["far"], told["expected"]["fnmr"]) == (1, 0)
    assert told["target_far"] is None
    told = ask(capsys, "a0.jpg", "b0.jpg", "--aligned", "--threshold", "1", "--no-flip")
    assert (told["same"], told["expected"], told["flip"]) == (False, None, False)


def test_it_prints_and_draws(capsys, tmp_path):
    for number, more in enumerate((("--report", "report", "--far", "1e-1"), ("--threshold", "0"))):
        figure = tmp_path / f"{number}.png"
        given = ("a0.jpg", "a0.jpg", *MODEL, "--aligned", "--figure", str(figure), *more)
        assert main(["verify", *given]) == 0
        told = capsys.readouterr().out
        assert "similarity  +1.0000" in told
        assert "verdict     same person" in told
        assert ("FAR <= 1e-1 on drawn" in told) == ("one person taken for two" in told)
        assert ("(given)" in told) == (number == 1)
        assert cv2.imread(str(figure)).shape[1] == 820
        assert f"{figure} is there already" in refused(capsys, *given)


def test_models_are_named_as_in_the_report(capsys):
    given = ("--bench", "drawn.bin", "--device", "cpu", "--workers", "0")
    evaluate("two", *given, "--model", f"one={TINY}", "--model", f"other={TINY}")
    pair = ("a0.jpg", "a1.jpg", "--aligned", "--report", "two", "--far", "0.1")
    assert "has: 'one', 'other'" in refused(capsys, *pair, *MODEL)
    assert main(["verify", *pair, "--model", f"other={TINY}"]) == 0
    assert "; other, two)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a0.jpg", "b0.jpg", "--aligned"), "a similarity needs a threshold"),
        (("a0.jpg", "b0.jpg", "--aligned", "--threshold", "0", "--bench", "x"), "about a report"),
        (("a0.jpg", "gone.jpg", "--aligned", "--threshold", "0"), "gone.jpg: No such file"),
        (("a0.jpg", "drawn.bin", "--aligned", "--threshold", "0"), "drawn.bin: .* no JPEG"),
        (("a0.jpg", "wide.png", "--aligned", "--threshold", "0"), "wide.png has 20x10 pixels"),
        (("a0.jpg", "b0.jpg", "--detector", "gone.onnx", "--threshold", "0"), "no detector gone"),
        (("a0.jpg", "b0.jpg", "--aligned", "--report", "gone"), "gone/results.json"),
        (("a0.jpg", "b0.jpg", "--aligned", "--report", "report"), "needs at least 1,000"),
        (
            ("a0.jpg", "b0.jpg", "--aligned", "--report", "report", "--no-flip", "--far", "0.1"),
            "a threshold holds for scores made alike",
        ),
        (
            ("a0.jpg", "b0.jpg", "--aligned", "--report", "report", "--bench", "lfw"),
            "no bench of pairs 'lfw'.*has: 'drawn'",
        ),
        (
            ("a0.jpg", "b0.jpg", "--aligned", "--threshold", "0", "--figure", "x.bmp"),
            "does not end in .png, .svg, .pdf",
        ),
        (("a0.jpg", "b0.jpg", "--aligned", "--threshold", "0", "--score", "0.5"), "--score is for"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, place, given, words):
    cv2.imwrite("wide.png", np.zeros((10, 20, 3), np.uint8))
    told = refused(capsys, *given, *MODEL)
    assert re.search(words, told), told


class Drawn:
    """A detector that gives what it was made with, whatever the picture."""

    def __init__(self, *found):
        self.found = list(found)

    def find(self, image):
        return self.found.pop(0)


def faces(*middles):
    """Faces 40 pixels wide about some middles."""
    points = np.array([[-8, -8], [8, -8], [0, 0], [-7, 9], [7, 9]], np.float32)
    boxes = [(x - 20, y - 20, x + 20, y + 20) for x, y in middles]
    marks = np.stack([points + np.float32(middle) for middle in middles])
    return Detections(np.float32(boxes), marks, np.ones(len(middles), np.float32))


def test_of_several_faces_the_most_central_is_cut_out_and_said(tmp_path):
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[5:95, 20:80] = 200  # the face in the middle is bright
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    one = cut_face(tmp_path / "p.png", Drawn(faces((5, 5), (50, 50), (95, 5))))
    assert one.told == "3 faces found, the largest and most central one taken"
    assert one.crop.shape == (112, 112, 3)
    assert one.crop[40:100, 40:72].min() == 200
    border = cut_face(tmp_path / "p.png", Drawn(NOTHING, faces((100, 100))))
    assert border.told == "found only with a black border around it"
    with pytest.raises(facekd.FacekdError, match=r"p.png: no face found \(100x100 pixels\)"):
        cut_face(tmp_path / "p.png", Drawn(NOTHING, NOTHING))


def test_real_photographs(capsys, data_dir):
    people = data_dir / "lfw_raw10" / "images"
    folders = sorted(people.iterdir())
    one, other = sorted(folders[0].iterdir()), sorted(folders[1].iterdir())
    detector = data_dir / "weights" / "face_detection_yunet.onnx"
    network = data_dir / "weights" / "mobilefacenet_arcface128.onnx"
    how = ("--detector", str(detector), "--threshold", "0.3", "--json", "--no-flip")
    for pair, same in (((one[0], one[1]), True), ((one[0], other[0]), False)):
        assert main(["verify", *map(str, pair), "--model", str(network), *how]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["same"] is same
        assert abs(told["similarity"] - 0.3) > 0.1
