"""IJB 1:1 and 1:N through the whole command, on a made set of 2,000 faces with images on disk."""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import torch
from eval_command import TINY, evaluate

from facekd.model import FaceModel

CPU = ("--device", "cpu")


class Lists:
    """The set's text files, read by hand."""

    def __init__(self, folder):
        self.meta = folder / "meta"
        faces = self._lines("face_tid_mid.txt")
        points = self._lines("name_5pts_score.txt")
        self.templates = [int(fields[1]) for fields in faces]
        self.media = [int(fields[2]) for fields in faces]
        self.found = [any(float(x) != -1 for x in fields[1:11]) for fields in points]
        self.detector = [float(fields[11]) for fields in points]
        pairs = self._lines("template_pair_label.txt")
        self.pairs = [(int(a), int(b)) for a, b, _ in pairs]
        self.same = [label == "1" for _, _, label in pairs]

    def _lines(self, rest):
        return [line.split() for line in (self.meta / f"ijbc_{rest}").read_text().splitlines()]

    def subjects(self, rest):
        """Template -> subject of one of the 1:N lists."""
        lines = (self.meta / f"ijbc_1N_{rest}.csv").read_text().splitlines()[1:]
        return {int(line.split(",")[0]): int(line.split(",")[1]) for line in lines}

    def pool(self, embeddings, norm=True, detector=True):
        """Template -> unit vector, in double precision and one face after the other."""
        media = defaultdict(lambda: defaultdict(list))
        for i, face in enumerate(np.asarray(embeddings, dtype=float)):
            if self.found[i]:
                weight = self.detector[i] if detector else 1.0
                length = 1.0 if norm else sum(x * x for x in face) ** 0.5
                scaled = [weight * x / length for x in face]
                media[self.templates[i]][self.media[i]].append(scaled)
        pooled = {}
        for template, groups in media.items():
            means = [
                [sum(x) / len(x) for x in zip(*faces, strict=True)] for faces in groups.values()
            ]
            total = [sum(x) for x in zip(*means, strict=True)]
            length = sum(x * x for x in total) ** 0.5
            pooled[template] = [x / length for x in total]
        return pooled

    def scores(self, embeddings, **switches):
        pooled = self.pool(embeddings, **switches)
        return [
            sum(x * y for x, y in zip(pooled[a], pooled[b], strict=True))
            if a in pooled and b in pooled
            else -1.0
            for a, b in self.pairs
        ]


@pytest.fixture(scope="module")
def lists(benches):
    return Lists(benches / "IJBC")


@pytest.fixture(scope="module")
def halves(cache, joint):
    return np.load(saved_halves(cache))


def saved_halves(cache):
    """The file of `joint`'s faces, among those of other protocols."""
    files = cache.glob("tiny-ijbc-*.npy")
    return next(f for f in files if np.load(f, mmap_mode="r").shape[1] == 16)


def flipped(halves):
    return halves[:, :8].astype(float) + halves[:, 8:]


def test_scores_equal_slow_template_loops_over_the_saved_embeddings(joint, lists, halves):
    saved = joint.scores("ijbc")
    assert saved["same"].tolist() == lists.same
    np.testing.assert_allclose(saved["scores"][0], lists.scores(flipped(halves)), atol=1e-6)
    assert (saved["scores"] == -1).any()
    fars = [point["target_far"] for point in joint.model("ijbc")["tar_at_far"]]
    assert fars == [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]


def test_embeddings_are_the_networks_of_faces_warped_by_their_landmarks(benches, halves, lists):
    from facekd.data_tools.ijb import open_pairs

    images = open_pairs(benches / "IJBC", "ijbc").faces.images
    rows = [0, 5, 1000]
    assert all(lists.found[i] for i in rows)
    from facekd.eval.embed import embed_images

    few = embed_images([images[i] for i in rows], FaceModel.load(TINY), halves=True)
    np.testing.assert_allclose(halves[rows], few, rtol=1e-4, atol=1e-4)
    assert (halves[np.logical_not(lists.found)] == 0).all()


def test_failure_to_acquire_is_counted_and_told(joint, lists):
    missing = lists.found.count(False)
    assert missing > 10
    for name in ("ijbc", "ijbc_1n"):
        assert joint.bench(name)["not_found"] == missing
    assert f"no face found in {missing} of them" in joint.printed


def test_ranks_equal_a_slow_search(joint, lists, halves):
    pooled = lists.pool(flipped(halves))
    probes = lists.subjects("probe_mixed")
    found = joint.model("ijbc_1n")["identification"]["galleries"]
    for gallery, name in zip(found, ("G1", "G2"), strict=True):
        enrolled = lists.subjects(f"gallery_{name}")
        mated = [t for t, subject in probes.items() if subject in enrolled.values()]
        first = 0
        for probe in mated:
            if probe in pooled:
                alike = {s: np.dot(pooled[t], pooled[probe]) for t, s in enrolled.items()}
                first += max(alike, key=alike.get) == probes[probe]
        assert (gallery["name"], gallery["mated"]) == (name, len(mated))
        # of two templates as alike as float32 can tell, either may come first
        assert gallery["ranks"][0]["rate"] == pytest.approx(first / len(mated), abs=0.012)


@pytest.fixture
def embedded(monkeypatch):
    """How many images the network was given."""
    counts = []
    plain = FaceModel.embed

    def embed(self, images, **options):
        counts.append(len(images))
        return plain(self, images, **options)

    monkeypatch.setattr(FaceModel, "embed", embed)
    return counts


def run(out, benches, cache, *more, bench="ijbc", model=f"tiny={TINY}"):
    command = ("--bench", bench, "--data", benches, "--model", model, *CPU)
    kept = () if cache is None else ("--save-embeddings", cache)
    return evaluate(out, *command, *kept, *more)


def test_faces_are_embedded_once_for_both_benches(benches, tmp_path, embedded, lists):
    run(tmp_path, benches, None, "--no-flip", bench="ijbc,ijbc_1n")
    assert sum(embedded) == lists.found.count(True)


def test_the_same_run_does_not_embed_again(joint, benches, cache, tmp_path, embedded):
    again = run(tmp_path, benches, cache, bench="ijbc,ijbc_1n")
    assert embedded == []
    assert "nothing is embedded again" in again.printed
    assert again.results["benches"] == joint.results["benches"][:2]
    alone = run(tmp_path / "1n", benches, cache, bench="ijbc_1n")  # the faces are the same
    assert embedded == []
    assert alone.results["benches"] == joint.results["benches"][1:2]


def test_other_images_under_the_same_name_are_embedded(benches, tmp_path, embedded):
    for place, shift in (("a", 0), ("b", 1)):
        for path in (benches / "people").glob("*/*.jpg"):
            number = (int(path.stem[-1]) + shift) % 5 + 1
            copy = tmp_path / place / "people" / path.parent.name / f"{number}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        command = ("--bench", tmp_path / place / "people", "--model", TINY, *CPU)
        evaluate(tmp_path / f"out_{place}", *command, "--save-embeddings", tmp_path / "kept")
    assert sum(embedded) == 2 * 2 * 60


def test_another_network_or_protocol_does(joint, benches, cache, tmp_path, embedded, lists):
    found = lists.found.count(True)
    run(tmp_path / "a", benches, cache, "--no-flip")
    assert sum(embedded) == found
    other = FaceModel.load(TINY)  # alike in everything but its weights
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    other.save(tmp_path / "other.pt")
    run(tmp_path / "b", benches, cache, "--no-flip", model=f"tiny={tmp_path / 'other.pt'}")
    assert sum(embedded) == 2 * found


@pytest.mark.parametrize(
    ("switch", "words", "options"),
    [
        ("--no-norm", "N0 D1 F1", {"norm": False}),
        ("--no-detector", "N1 D0 F1", {"detector": False}),
        ("--no-flip", "N1 D1 F0", {}),
    ],
)
def test_switches(joint, benches, tmp_path, lists, halves, cache, switch, words, options):
    command = ("--bench", "ijbc", "--data", benches, "--embeddings", f"tiny={saved_halves(cache)}")
    made = evaluate(tmp_path, *command, switch)
    assert words in made.printed
    assert words in made.model("ijbc")["scored"]
    faces = halves[:, :8] if switch == "--no-flip" else flipped(halves)
    scores = made.scores("ijbc")["scores"][0]
    np.testing.assert_allclose(scores, lists.scores(faces, **options), atol=1e-6)
    assert (scores != joint.scores("ijbc")["scores"][0]).any()


def test_the_insightface_protocol(joint, benches, cache, tmp_path):
    theirs = run(tmp_path, benches, cache, "--protocol", "insightface", bench="ijbc,ijbc_1n")
    assert {point["rule"] for point in theirs.model("ijbc")["tar_at_far"]} == {"nearest"}
    galleries = theirs.model("ijbc_1n")["identification"]["galleries"]
    assert [gallery["name"] for gallery in galleries] == ["G1+G2"]
    assert "insightface" in theirs.printed
    ours = joint.scores("ijbc")["scores"]
    np.testing.assert_array_equal(theirs.scores("ijbc")["scores"], ours)


@pytest.fixture(scope="module")
def without_images(benches, tmp_path_factory):
    """The lists alone, as most people have them."""
    data = tmp_path_factory.mktemp("lists")
    shutil.copytree(benches / "IJBC/meta", data / "IJBC/meta")
    return data


@pytest.mark.parametrize("form", ["halves", "sums", "float16"])
def test_from_embeddings_alone(joint, without_images, halves, tmp_path, form):
    array = halves if form != "sums" else halves[:, :8] + halves[:, 8:]
    np.save(tmp_path / "tiny.npy", array.astype(np.float16) if form == "float16" else array)
    command = ("--data", without_images, "--embeddings", tmp_path / "tiny.npy")
    more = () if form == "sums" else ("--halves",)
    made = [
        evaluate(tmp_path / bench, "--bench", bench, *command, *more)
        for bench in ("ijbc", "ijbc_1n")
    ]
    scores, before = (r.scores("ijbc")["scores"] for r in (made[0], joint))
    if form == "float16":
        np.testing.assert_allclose(scores, before, atol=1e-3)
        return
    np.testing.assert_allclose(scores, before, atol=1e-7)
    assert made[0].model("ijbc")["auc"] == pytest.approx(joint.model("ijbc")["auc"], abs=1e-6)
    galleries = [r.model("ijbc_1n")["identification"]["galleries"] for r in (made[1], joint)]
    assert galleries[0] == galleries[1]
    assert ("N1 D1 F?" if form == "sums" else "N1 D1 F1") in made[0].printed


def test_bootstrap_knows_the_people_from_the_1n_lists(joint, benches, cache, tmp_path):
    made = run(tmp_path, benches, cache, "--bootstrap", "20", "--seed", "3", bench="ijbc,ijbc_1n")
    found = made.model("ijbc")["bootstrap"]
    assert (found["replicates"], found["seed"], found["subjects"]) == (20, 3, 50)
    assert "ijbc_1N_gallery_G1.csv" in found["subjects_from"]
    low, high = found["auc"]
    assert low < made.model("ijbc")["auc"] < high


def test_groups_of_templates(benches, cache, tmp_path, joint, lists):
    rows = [f"{t},{'odd' if t % 4 == 1 else 'even'}" for t in sorted(set(lists.templates))]
    (tmp_path / "age.csv").write_text("\n".join(["template,age", *rows]))
    made = run(tmp_path / "out", benches, cache, "--groups", f"{tmp_path}/age.csv:age")
    report = made.model("ijbc")["groups"][1]
    assert [rate["group"] for rate in report["rates"]] == ["even", "odd"]
    scores = made.scores("ijbc")["scores"][0]
    for rate in report["rates"]:
        rest = (1,) if rate["group"] == "odd" else (3,)  # template ids are odd
        member = [(a % 4, b % 4) == 2 * rest for a, b in lists.pairs]
        chosen = np.array(member) & ~np.array(lists.same)
        assert rate["impostors"] == chosen.sum()
        assert rate["fmr"] == np.mean(scores[chosen] >= report["threshold"])


def test_what_is_about_pairs_passes_1n_by(benches, cache, tmp_path, lists):
    (tmp_path / "g.csv").write_text(
        "pair,group\n" + "\n".join(f"{i},{'ab'[i % 2]}" for i in range(len(lists.pairs)))
    )
    made = run(
        tmp_path / "out",
        benches,
        cache,
        *("--groups", tmp_path / "g.csv", "--fars", "1e-2"),
        bench="ijbc,ijbc_1n",
    )
    assert [rate["group"] for rate in made.model("ijbc")["groups"][0]["rates"]] == ["a", "b"]
    assert "identification" in made.model("ijbc_1n")


def test_embeddings_of_many_faces_are_kept_unasked(benches, tmp_path, monkeypatch, embedded):
    monkeypatch.setattr("facekd.cli._face_embeddings.KEEP_FROM", 60)
    command = ("--bench", benches / "people", "--model", TINY, *CPU)
    evaluate(tmp_path, *command)
    assert sum(embedded) == 2 * 60
    assert len([*(tmp_path / "embeddings").glob("format1_tiny-people-*.npy")]) == 1
    evaluate(tmp_path, *command)
    assert sum(embedded) == 2 * 60


def test_scoring_saved_embeddings_loads_no_torch(benches, cache, joint, tmp_path):
    command = ["--bench", "ijbc", "--data", str(benches), "--embeddings", str(saved_halves(cache))]
    command += ["--out", str(tmp_path), "--no-figures"]
    code = "import sys; from facekd.cli.eval import main; assert main(sys.argv[1:]) == 0"
    code += "; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True)


def test_torchrun_gives_what_one_process_gives(joint, benches, tmp_path):
    """Faces split over two processes, and the blocks of all pairs of a folder."""
    command = ["--bench", f"ijbc,ijbc_1n,{benches}/people", "--data", str(benches), *CPU]
    command += ["--model", f"tiny={TINY}", "--out", str(tmp_path), "--no-figures"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "facekd.cli.eval"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, *command], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1
    two = json.loads((tmp_path / "results.json").read_text())["benches"]
    one = joint.results["benches"]
    assert [bench["name"] for bench in two] == ["ijbc", "ijbc_1n", "people"]
    assert two == one
