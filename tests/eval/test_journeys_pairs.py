"""Pairs of every form, all pairs and saved scores through the whole command."""

import json
import shutil

import numpy as np
import pytest
import torch
from eval_command import EACH, PEOPLE, TINY, clustered, evaluate

from facekd.cli.eval import main
from facekd.data_tools.binfile import read_bin, write_bin
from facekd.data_tools.pairs import from_bin
from facekd.eval.evaluate import MOST_LISTED
from facekd.model import FaceModel

MODEL = ("--model", f"tiny={TINY}", "--device", "cpu")
LABELS = np.repeat(np.arange(PEOPLE), EACH)
LEFT, RIGHT = np.triu_indices(len(LABELS), 1)
SAME = LABELS[LEFT] == LABELS[RIGHT]


def cosines(embeddings, left=LEFT, right=RIGHT):
    e = embeddings.astype(float)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    return np.sum(e[left] * e[right], axis=1)


def check_points(model, scores, same):
    """Every operating point against counting, one threshold after the other."""
    impostors = scores[~same]
    told = 0
    for point in model["tar_at_far"]:
        allowed = int(point["target_far"] * len(impostors) * (1 + 1e-12))
        assert point["allowed"] == allowed
        if not allowed:
            assert (point["tar"], point["threshold"]) == (None, None)
            continue
        told += 1
        levels = [t for t in scores[same] if (impostors >= t).sum() <= allowed]
        best = min(levels)
        assert point["tar"] == np.mean(scores[same] >= best)
        assert point["threshold"] == pytest.approx(best, abs=1e-6)
        assert point["false_accepts"] == (impostors >= best).sum()
    assert told >= 2


# all pairs


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Made embeddings of the 60 faces; all 1,770 cosines are well apart."""
    path = tmp_path_factory.mktemp("embeddings") / "made.npy"
    np.save(path, clustered(LABELS))
    return path


@pytest.mark.parametrize("set_name", ["people", "people.rec"])
def test_all_pairs_of_a_folder_and_of_a_rec(benches, embeddings, tmp_path, set_name):
    made = evaluate(tmp_path, "--bench", benches / set_name, "--embeddings", embeddings)
    bench, model = made.bench("people"), made.model("people")
    assert bench["kind"] == "all pairs"
    assert (bench["genuine"], bench["impostors"]) == (SAME.sum(), (~SAME).sum())
    check_points(model, cosines(np.load(embeddings)), SAME)
    assert [point["target_far"] for point in model["tar_at_far"]][-1] == 1e-8


def test_a_folder_and_its_rec_score_alike(joint, benches, tmp_path):
    record = evaluate(tmp_path, "--bench", benches / "people.rec", *MODEL)
    folder, other = joint.model("people"), record.model("people")
    for one, two in zip(folder["tar_at_far"], other["tar_at_far"], strict=True):
        assert one["tar"] == two["tar"]
    assert folder["auc"] == pytest.approx(other["auc"], abs=1e-12)


def test_all_pairs_with_a_bootstrap_are_listed(benches, embeddings, tmp_path):
    command = ("--bench", benches / "people", "--embeddings", embeddings)
    streamed = evaluate(tmp_path / "a", *command)
    listed = evaluate(tmp_path / "b", *command, "--bootstrap", "30")
    found = listed.model("people")["bootstrap"]
    assert (found["subjects"], found["replicates"]) == (PEOPLE, 30)
    assert "identities of" in found["subjects_from"]
    assert listed.bench("people")["folds"] is None
    np.testing.assert_allclose(
        listed.scores("people")["scores"][0], cosines(np.load(embeddings)), atol=1e-7
    )
    for one, two in zip(
        *(run.model("people")["tar_at_far"] for run in (streamed, listed)), strict=True
    ):
        assert (one["target_far"], one["tar"]) == (two["target_far"], two["tar"])


def test_too_many_pairs_for_a_bootstrap(benches, embeddings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("facekd.eval.evaluate.MOST_LISTED", 1000)
    command = ["--bench", str(benches / "people"), "--embeddings", str(embeddings)]
    assert main([*command, "--bootstrap", "5", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "people: the pairs of 60 images are streamed" in error
    assert "up to 1,000 pairs they can" in error
    assert MOST_LISTED == 10_000_000


def test_groups_of_images_of_a_folder(benches, embeddings, tmp_path):
    lines = ["image,pose"]
    for i, label in enumerate(LABELS.tolist()):
        person = f"person_{label:02d}"
        pose = "left" if label % 2 else "right"
        lines.append(f"{person}/{person}_{i % EACH + 1:04d}.jpg,{pose}")
    (tmp_path / "pose.csv").write_text("\n".join(lines))
    command = ("--bench", benches / "people", "--embeddings", embeddings, "--fars", "1e-2")
    made = evaluate(tmp_path / "out", *command, "--groups", tmp_path / "pose.csv")
    (report,) = made.model("people")["groups"]
    scores = cosines(np.load(embeddings))
    for rate in report["rates"]:
        odd = rate["group"] == "left"
        member = (LABELS[LEFT] % 2 == odd) & (LABELS[RIGHT] % 2 == odd)
        assert rate["genuine"] == (member & SAME).sum()
        assert rate["fnmr"] == np.mean(scores[member & SAME] < report["threshold"])
        assert rate["fmr"] == np.mean(scores[member & ~SAME] >= report["threshold"])


# saved scores


def write_scores_csv(path, seed=0, shift=0.0):
    """400 pairs in 5 folds of people of their own, with two groups."""
    rng = np.random.default_rng(seed)
    lines = ["score,same,fold,group,subject_a,subject_b"]
    for i in range(400):
        fold, same = i % 5, i % 2 == 0
        score = rng.normal(1.0 + shift if same else 0.0, 0.6)
        one, other = rng.choice(12, 2, replace=False)
        people = f"f{fold}p{one},f{fold}p{one if same else other}"
        lines.append(f"{score:.9f},{int(same)},set{fold},{'ab'[i % 3 == 0]},{people}")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A report on scores of another program."""
    folder = tmp_path_factory.mktemp("scored")
    path = write_scores_csv(folder / "mine.csv")
    return evaluate(folder / "out", "--scores", path, "--bootstrap", "25", "--fars", "1e-1,1e-2")


def test_scores_with_folds_groups_and_people(scored):
    rows = np.genfromtxt(
        scored.out.parent / "mine.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    bench, model = scored.bench("scores"), scored.model("scores")
    assert (bench["folds"], bench["genuine"], bench["impostors"]) == (5, 200, 200)
    check_points(model, rows["score"], rows["same"].astype(bool))
    assert [rate["group"] for rate in model["groups"][0]["rates"]] == ["a", "b"]
    assert len(model["accuracy"]["per_fold"]) == 5
    assert model["bootstrap"]["subjects"] == len({*rows["subject_a"], *rows["subject_b"]})
    assert model["bootstrap"]["subjects_from"] == "mine.csv, columns subject_a and subject_b"


def test_scores_of_two_models_on_the_same_pairs_are_compared(tmp_path):
    one = write_scores_csv(tmp_path / "one.csv")
    lines = one.read_text().splitlines()
    better = [
        f"{0.9 + i / 1e4 if ',1,set' in line else -i / 1e4},{line.partition(',')[2]}"
        for i, line in enumerate(lines[1:])
    ]
    (tmp_path / "two.csv").write_text("\n".join([lines[0], *better]))
    made = evaluate(tmp_path / "out", "--scores", one, "--scores", f"new={tmp_path}/two.csv")
    (difference,) = made.bench("scores")["comparisons"]
    assert difference["model"] == "new"
    assert difference["accuracy"]["difference"] > 0.1
    assert [model["name"] for model in made.bench("scores")["models"]] == ["one", "new"]


def test_scores_without_people_give_the_reason_instead_of_an_interval(tmp_path):
    (tmp_path / "s.csv").write_text("score,same\n" + "0.9,1\n0.1,0\n0.4,true\n0.5,False\n" * 9)
    made = evaluate(tmp_path / "out", "--scores", tmp_path / "s.csv", "--bootstrap", "10")
    found = made.model("scores")["bootstrap"]
    assert found["replicates"] == 0
    assert "do not say who is in a pair" in found["reason"]
    assert "do not say who is in a pair" in made.printed


@pytest.fixture(scope="module")
def drawn(benches, tmp_path_factory):
    """The tiny network on the .bin, with a bootstrap."""
    command = ("--bench", "drawn", "--data", benches, *MODEL)
    return evaluate(tmp_path_factory.mktemp("drawn"), *command, "--bootstrap", "20")


def test_people_of_a_bin_are_inferred_and_it_says_so(drawn):
    found = drawn.model("drawn")["bootstrap"]
    assert found["subjects_from"].startswith("inferred")
    assert found["subjects"] > 10
    assert "inferred" in drawn.printed


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_scores_of_a_benchs_pairs(drawn, benches, tmp_path, suffix):
    scores = drawn.scores("drawn")["scores"][0]
    path = tmp_path / f"tiny.{suffix}"
    if suffix == "npy":
        np.save(path, scores)
    else:
        path.write_text("\n".join(["score", *map(repr, scores.tolist())]))
    command = ("--bench", "drawn", "--data", benches, "--bootstrap", "20")
    made = evaluate(tmp_path / "out", *command, "--scores", path)
    left_out = {"file", "image_size", "scored", "quality"}
    one, two = (
        {k: v for k, v in r.model("drawn").items() if k not in left_out} for r in (made, drawn)
    )
    assert one == two
    assert made.model("drawn")["scored"] == "scores as given"


def test_a_threshold_of_one_set_on_another(scored, drawn, benches, tmp_path):
    results = scored.out / "results.json"
    command = ("--bench", "drawn", "--data", benches, *MODEL)
    made = evaluate(tmp_path / "a", *command, "--threshold-from", results)
    points = made.model("drawn")["transferred"]
    set_there = scored.model("scores")["tar_at_far"]
    assert [p["threshold"] for p in points] == [p["threshold"] for p in set_there]
    saved = drawn.scores("drawn")
    for point in points:
        accepted = saved["scores"][0] >= point["threshold"]
        assert point["far"] == accepted[~saved["same"]].mean()
        assert point["tar"] == accepted[saved["same"]].mean()
        assert str(results) in point["source"]
    # to scores that bring their own answers, too, and by the bench's name
    other = write_scores_csv(tmp_path / "other.csv", seed=1)
    threshold = ("--threshold-from", f"{results}:scores")
    applied = evaluate(tmp_path / "b", "--scores", other, *threshold).model("scores")
    assert len(applied["transferred"]) == 2
    assert applied["groups"][0]["threshold"] == set_there[0]["threshold"]


def test_groups_by_pair(drawn, benches, tmp_path):
    (tmp_path / "g.csv").write_text("group\n" + "\n".join("pq"[i % 2] for i in range(80)))
    command = ("--bench", "drawn", "--data", benches, *MODEL, "--fars", "0.1")
    made = evaluate(tmp_path / "out", *command, "--groups", tmp_path / "g.csv")
    (report,) = made.model("drawn")["groups"]
    saved = drawn.scores("drawn")
    accepted = saved["scores"][0] >= report["threshold"]
    for rate in report["rates"]:
        member = np.arange(80) % 2 == "pq".index(rate["group"])
        assert rate["fmr"] == accepted[member & ~saved["same"]].mean()
        assert rate["fnmr"] == 1 - accepted[member & saved["same"]].mean()


def test_compared_folders_equal_the_joint_run(drawn, benches, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "other.npy", rng.normal(size=80))
    command = ("--bench", "drawn", "--data", benches)
    scores = ("--scores", f"other={tmp_path}/other.npy")
    alone = evaluate(tmp_path / "alone", *command, *scores, "--bootstrap", "20")
    joint = evaluate(tmp_path / "joint", *command, *MODEL, *scores, "--bootstrap", "20")
    compared = evaluate(tmp_path / "compared", "--compare", drawn.out, alone.out)
    assert compared.results["benches"] == joint.results["benches"]
    reversed_ = evaluate(tmp_path / "r", "--compare", drawn.out, alone.out, "--baseline", "other")
    (difference,) = reversed_.bench("drawn")["comparisons"]
    assert difference["model"] == "tiny"


@pytest.mark.parametrize("name", ["joint", "scored", "drawn"])
def test_a_report_read_back_is_the_same_report(name, request, tmp_path):
    """1:1, 1:N, streamed pairs; with groups, folds, people: all of it is kept."""
    made = request.getfixturevalue(name)
    again = evaluate(tmp_path, "--compare", made.out)
    for file in ("results.csv", "results.md", "results.tex"):
        assert (tmp_path / file).read_text() == (made.out / file).read_text()
    assert again.results["benches"] == made.results["benches"]


# lists of pairs


@pytest.fixture(scope="module")
def lists(benches, tmp_path_factory):
    """The faces of people/ as a CSV of pairs, as LFW and as CFP lay theirs out."""
    folder = tmp_path_factory.mktemp("lists")
    name = "person_{:02d}".format
    genuine = [(p, i, p, j) for p in range(PEOPLE) for i, j in ((1, 2), (3, 4))][:20]
    impostor = [(p, 1 + k, (p + 3 + k) % PEOPLE, 2 + k) for k in (0, 2) for p in range(PEOPLE)][:20]
    folds = [pair for i in range(0, 20, 2) for pair in (*genuine[i : i + 2], *impostor[i : i + 2])]
    shutil.copytree(benches / "people", folder / "lfw")
    lines = ["10\t2"]
    for a, i, b, j in folds:
        same = a == b
        lines.append(f"{name(a)}\t{i}\t{j}" if same else f"{name(a)}\t{i}\t{name(b)}\t{j}")
    (folder / "lfw/pairs.txt").write_text("\n".join(lines) + "\n")
    image = "{0}/{0}_{1:04d}.jpg".format
    rows = [f"{image(name(a), i)},{image(name(b), j)},{int(a == b)}" for a, i, b, j in folds]
    (folder / "pairs.csv").write_text("a,b,same\n" + "\n".join(rows) + "\n")
    write_cfp(folder / "cfp", benches / "people", folds)
    return folder


def write_cfp(folder, people, pairs):
    protocol = folder / "Protocol"
    for kind, first in (("F", 1), ("P", 1)):
        lines = []
        for p in range(PEOPLE):
            for i in range(first, EACH + 1):
                place = (
                    f"Data/Images/{p + 1:03d}/{'frontal' if kind == 'F' else 'profile'}/{i:02d}.jpg"
                )
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(people / f"person_{p:02d}/person_{p:02d}_{i:04d}.jpg", folder / place)
                lines.append(f"{p * EACH + i} ../{place}")
        protocol.mkdir(exist_ok=True)
        (protocol / f"Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for which in ("FF", "FP"):
        for fold in range(10):
            split = protocol / f"Split/{which}/{fold + 1:02d}"
            split.mkdir(parents=True)
            for title, part in (
                ("same", pairs[4 * fold : 4 * fold + 2]),
                ("diff", pairs[4 * fold + 2 : 4 * fold + 4]),
            ):
                lines = [f"{a * EACH + i},{b * EACH + j}" for a, i, b, j in part]
                (split / f"{title}.txt").write_text("\n".join(lines) + "\n")


def test_a_csv_lfws_and_cfps_folders_score_alike(lists, benches, tmp_path):
    runs = {
        "pairs": evaluate(
            tmp_path / "csv", "--bench", f"{lists}/pairs.csv:{benches}/people", *MODEL
        ),
        "lfw": evaluate(tmp_path / "lfw", "--bench", f"{lists}/lfw/", *MODEL),
        "cfp_fp": evaluate(tmp_path / "fp", "--bench", lists / "cfp", *MODEL),
        "cfp_ff": evaluate(tmp_path / "ff", "--bench", f"{lists}/cfp:FF", *MODEL),
    }
    first = runs["pairs"].scores("pairs")
    for name, made in runs.items():
        assert made.bench(name)["folds"] == 10
        saved = made.scores(name)
        np.testing.assert_array_equal(saved["same"], first["same"])
        np.testing.assert_allclose(saved["scores"], first["scores"], atol=1e-6)
        assert made.model(name)["image_size"] == "32x32"


def test_people_of_pairs_txt_are_known(lists, tmp_path):
    made = evaluate(tmp_path, "--bench", lists / "lfw", *MODEL, "--bootstrap", "15")
    found = made.model("lfw")["bootstrap"]
    assert (found["subjects"], found["subjects_from"]) == (PEOPLE, "pairs.txt")


def test_missing_images_are_counted_where_asked(lists, tmp_path, capsys):
    folder = tmp_path / "lfw"
    shutil.copytree(lists / "lfw", folder)
    (folder / "person_00/person_00_0001.jpg").unlink()
    assert main(["--bench", str(folder), *map(str, MODEL), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert "person_00_0001.jpg (1 of " in error
    assert "--missing count" in error
    assert not (tmp_path / "o").exists()
    made = evaluate(tmp_path / "out", "--bench", folder, *MODEL, "--missing", "count")
    assert made.bench("lfw")["not_found"] == 1
    assert "no face found in 1 of them" in made.printed
    assert made.model("lfw")["image_size"] == "32x32"  # of one that is there
    before = evaluate(tmp_path / "before", "--bench", lists / "lfw", *MODEL).scores("lfw")
    rejected = made.scores("lfw")["scores"][0] == -1
    assert rejected.sum() == 2
    np.testing.assert_allclose(
        made.scores("lfw")["scores"][0][~rejected], before["scores"][0][~rejected], atol=1e-6
    )


def test_repeated_pairs_are_kept_where_asked(lists, tmp_path):
    lines = (lists / "pairs.csv").read_text().splitlines()
    (tmp_path / "again.csv").write_text("\n".join([*lines, lines[1], lines[-1]]))
    bench = f"{tmp_path}/again.csv:{lists}/lfw"
    made = evaluate(tmp_path / "out", "--bench", bench, *MODEL, "--keep-duplicates")
    assert (made.bench("again")["genuine"], made.bench("again")["impostors"]) == (21, 21)
    assert "2 that occurred before" in made.bench("again")["source"]


def test_what_a_file_does_not_say_of_its_input(lists, tmp_path):
    model = FaceModel.create("mbf", 8, 32, input_range=(-2.0, 2.0), channels="bgr")
    model.save(tmp_path / "ours.pt")
    torch.save({"state_dict": model.backbone.state_dict()}, tmp_path / "theirs.pth")
    command = ("--bench", lists / "lfw", "--device", "cpu", "--model")
    said = evaluate(tmp_path / "a", *command, tmp_path / "ours.pt").scores("lfw")["scores"]
    told = ("--input-range=-2,2", "--channels", "bgr")
    made = evaluate(tmp_path / "b", *command, tmp_path / "theirs.pth", *told)
    np.testing.assert_array_equal(made.scores("lfw")["scores"], said)
    plain = evaluate(tmp_path / "c", *command, tmp_path / "theirs.pth").scores("lfw")["scores"]
    assert (plain != said).any()


def test_bf16_is_another_precision_and_another_file(lists, tmp_path):
    command = ("--bench", lists / "lfw", *MODEL, "--save-embeddings", tmp_path / "kept")
    full = evaluate(tmp_path / "a", *command).scores("lfw")["scores"]
    made = evaluate(tmp_path / "b", *command, "--precision", "bf16")
    half = made.scores("lfw")["scores"]
    assert made.model("lfw")["scored"].endswith("embedding added, network in bf16")
    assert len([*(tmp_path / "kept").glob("*.npy")]) == 2
    assert (full != half).any()
    np.testing.assert_allclose(full, half, atol=0.02)


def test_embeddings_of_all_images_of_a_bin(benches, tmp_path):
    """Images that occur twice are kept once; others' files have a row for each occurrence."""
    data = read_bin(benches / "drawn.bin")
    pairs = from_bin(benches / "drawn.bin")
    different = len(pairs.images)
    assert different < 2 * len(pairs)
    rng = np.random.default_rng(0)
    each = rng.normal(size=(different, 8)).astype(np.float32)
    every = np.empty((2 * len(pairs), 8), np.float32)
    every[0::2], every[1::2] = each[pairs.left], each[pairs.right]
    assert len(data.encoded) == len(every)
    np.save(tmp_path / "each.npy", each)
    np.save(tmp_path / "every.npy", every)
    made = evaluate(
        tmp_path / "out",
        *("--bench", benches / "drawn.bin"),
        *("--embeddings", tmp_path / "each.npy", "--embeddings", tmp_path / "every.npy"),
    )
    one, two = made.scores("drawn")["scores"]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(
        one, cosines(every, np.arange(0, 160, 2), np.arange(1, 160, 2)), atol=1e-6
    )
    assert made.model("drawn")["scored"] == "cosine of two embeddings, as saved"


def test_results_have_their_figures_and_page(lists, tmp_path):
    made = evaluate(tmp_path, "--bench", lists / "lfw", *MODEL, figures=True)
    for name in ("roc.svg", "det.pdf", "histogram.png", "reject.svg", "report.html"):
        assert (made.out / name).stat().st_size > 1000
        assert name in made.printed


# real faces


@pytest.mark.data
def test_a_few_hundred_lfw_pairs(data_dir, tmp_path):
    lfw = from_bin(data_dir / "lfw/lfw.bin")
    chosen = np.concatenate([np.arange(600 * f + 285, 600 * f + 315) for f in range(10)])
    order = np.stack([lfw.left[chosen], lfw.right[chosen]], axis=1).ravel().tolist()
    write_bin(
        tmp_path / "few.bin", [lfw.images.encoded[i] for i in order], lfw.same[chosen].tolist()
    )
    made = evaluate(tmp_path / "out", "--bench", tmp_path / "few.bin", *MODEL, "--bootstrap", "20")
    bench, model = made.bench("few"), made.model("few")
    assert (bench["genuine"], bench["impostors"], bench["folds"]) == (150, 150, 10)
    assert model["image_size"] == "112x112 -> 32x32"
    saved = made.scores("few")
    check_points(model, saved["scores"][0], saved["same"])
    assert 0.4 < model["accuracy"]["mean"] < 0.8  # it never learned a face


@pytest.mark.data
def test_all_pairs_of_records_that_mxnet_wrote(data_dir, tmp_path):
    path = data_dir / "formats/face2rec/train.rec"
    kept = ("--save-embeddings", tmp_path / "kept")
    made = evaluate(tmp_path / "out", "--bench", path, *MODEL, *kept, "--fars", "1e-1,1e-2,1e-3")
    bench = made.bench("train")
    assert (bench["genuine"], bench["impostors"]) == (30 * 45, 300 * 299 // 2 - 30 * 45)
    (file,) = (tmp_path / "kept").glob("*.npy")
    halves = np.load(file)
    scores = cosines(halves[:, :8] + halves[:, 8:], *np.triu_indices(300, 1))
    labels = np.repeat(np.arange(30), 10)
    same = np.equal(*(labels[i] for i in np.triu_indices(300, 1)))
    for point in made.model("train")["tar_at_far"]:
        accepted = scores[same] >= point["threshold"] - 1e-7
        assert point["tar"] == pytest.approx(accepted.mean(), abs=0.002)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["format"] == 2
