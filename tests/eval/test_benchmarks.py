import numpy as np
import pytest

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.labelled import LabelledImages
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, describe_benches, find_bench
from facekd.eval.catalogue import CATALOGUE, ijb_files
from facekd.eval.synthetic_bench import synthetic_pairs

JPEG = encode_jpeg(np.zeros((8, 8, 3), np.uint8))


def put(root, *names, content=b""):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def data(tmp_path):
    names = ("lfw.bin", "faces/cfp_fp.bin", "faces/twice.bin", "more/twice.bin", "more/lfw.bin")
    put(tmp_path, *names, "own.csv")
    put(tmp_path, *(f"IJBC/{file}" for file in ijb_files("ijbc", False)))
    return tmp_path


def test_names_are_found_in_the_data_folder_at_two_depths(data):
    assert find_bench("lfw", data).path == data / "lfw.bin"
    assert find_bench("cfp_fp", data).path == data / "faces/cfp_fp.bin"
    own = find_bench("own", data)
    assert (own.kind, own.path) == ("csv", data / "own.csv")
    ijbc = find_bench("ijbc", data)
    assert (ijbc.name, ijbc.kind, ijbc.option, ijbc.path) == ("ijbc", "ijb", "ijbc", data / "IJBC")
    assert find_bench("synthetic", None).path is None
    put(data, "cfp/Protocol/Pair_list_F.txt")
    cfp = find_bench("cfp_ff", data)
    assert (cfp.name, cfp.kind, cfp.option, cfp.path) == ("cfp_ff", "cfp", "FF", data / "cfp")


def test_paths_say_by_themselves_how_they_are_read(data):
    put(data, "set/pairs.txt", "set/Ann/Ann_0001.jpg", "list.txt", "cfp/Protocol/x", "me/train.rec")
    put(data, "people/ann/1.jpg", content=JPEG)
    seen = {
        text: (found.name, found.kind, found.path.relative_to(data).as_posix(), found.option)
        for text in (
            "more/twice.bin",
            "own.csv",
            f"own.csv:{data}",
            "set",
            "set/pairs.txt",
            "set:all",
            "list.txt",
            "cfp",
            "cfp:FF",
            "IJBC",
            "IJBC:1n",
            "people",
            "me/train.rec",
        )
        for found in [find_bench(f"{data}/{text}", None)]
    }
    assert seen == {
        "more/twice.bin": ("twice", "bin", "more/twice.bin", ""),
        "own.csv": ("own", "csv", "own.csv", ""),
        f"own.csv:{data}": ("own", "csv", "own.csv", str(data)),
        "set": ("set", "lfw", "set/pairs.txt", ""),
        "set/pairs.txt": ("set", "lfw", "set/pairs.txt", ""),
        "set:all": ("set", "labelled", "set", ""),
        "list.txt": ("list", "lfw", "list.txt", ""),
        "cfp": ("cfp_fp", "cfp", "cfp", "FP"),
        "cfp:FF": ("cfp_ff", "cfp", "cfp", "FF"),
        "IJBC": ("ijbc", "ijb", "IJBC", "ijbc"),
        "IJBC:1n": ("ijbc_1n", "ijb_1n", "IJBC", "ijbc"),
        "people": ("people", "labelled", "people", ""),
        "me/train.rec": ("train", "labelled", "me/train.rec", ""),
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twice", r"faces/twice\.bin and .*more/twice\.bin; give the path"),
        ("nowhere/x.bin", r"bench file nowhere/x\.bin is not there"),
        ("nowhere/x", "bench folder nowhere/x is not there"),
        ("cplwf", r"no cplwf\.bin or cplwf\.csv in .*; did you mean 'cplfw'"),
        ("{data}/more", "is a folder of .bin files; give one of them, or the folder as --data"),
        ("{data}/README", "README is of no known kind; give a .bin, a .rec, a pair list"),
        ("{data}/lfw.bin:1n", "'1n' is no folder of the images that a .csv or .txt lists"),
        ("{data}/IJBC:FF", r"IJBC:FF: give .*IJBC, or .*IJBC:1n\."),
        ("{data}/cfp:FA", r"cfp:FA: give .*cfp, or .*cfp:FF or .*cfp:FP\."),
    ],
)
def test_what_cannot_be_found_is_told(data, name, words):
    put(data, "README", "cfp/Protocol/x")
    with pytest.raises(FacekdError, match=words):
        find_bench(name.format(data=data), data)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_missing_bench_is_explained(tmp_path, name):
    entry = CATALOGUE[name]
    with pytest.raises(FacekdError) as told:
        find_bench(name, tmp_path)
    for words in (
        entry.what,
        entry.size,
        f"{tmp_path}/{entry.places[0]}",
        "https://",
        entry.owners,
    ):
        assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_ijb_is_said_to_be_no_longer_handed_out(tmp_path):
    with pytest.raises(FacekdError, match=r"NIST.* stopped on 14 March 2023 .*--embeddings"):
        find_bench("ijbc", tmp_path)


def test_without_a_data_folder_the_error_says_how_to_name_one(monkeypatch, tmp_path):
    monkeypatch.delenv("FACEKD_DATA", raising=False)
    assert data_folder() is None
    with pytest.raises(FacekdError, match="set FACEKD_DATA, or give facekd-eval --data DIR"):
        find_bench("lfw", data_folder())
    with pytest.raises(FacekdError, match="and no FACEKD_DATA to look in; known: agedb_30"):
        find_bench("unheard-of", None)
    monkeypatch.setenv("FACEKD_DATA", str(tmp_path / "gone"))
    with pytest.raises(FacekdError, match=r"FACEKD_DATA names .*gone, which"):
        data_folder()
    assert data_folder(tmp_path) == tmp_path


def test_the_list_tells_what_is_there_what_is_missing_and_what_lacks_files(data):
    lines = {line.split()[0]: line for line in describe_benches(data)}
    assert set(lines) == {"synthetic", "twice", *CATALOGUE}
    assert lines["lfw"].split()[1] == "there"
    assert lines["lfw"].endswith(str(data / "lfw.bin"))
    assert lines["calfw"].split()[1] == "missing"
    assert f"{data}/calfw.bin" in lines["calfw"]
    assert "in part" in lines["ijbc_1n"]
    assert lines["ijbc_1n"].endswith(
        "IJBC lacks meta/ijbc_1N_gallery_G1.csv, meta/ijbc_1N_gallery_G2.csv, "
        "meta/ijbc_1N_probe_mixed.csv, loose_crop"
    )
    assert lines["ijbc"].endswith("IJBC lacks loose_crop")
    (data / "IJBC/loose_crop").mkdir()
    lines = {line.split()[0]: line for line in describe_benches(data)}
    assert lines["ijbc"].split()[1] == "there"
    assert all("missing" in line for line in describe_benches(None)[1:])


def test_loading_gives_pairs_or_labelled_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images = [encode_jpeg(image) for image in pixels]
    write_bin(tmp_path / "set.bin", [*images, *images[::2], *images[1::2]], [1, 0, 0, 1])
    for i, image in enumerate(images):
        put(tmp_path, f"people/{'ann' if i < 2 else 'bo'}/{i}.jpg", content=image)
    pairs = find_bench(f"{tmp_path}/set.bin", None).load_pairs(112)
    assert isinstance(pairs, PairSet)
    assert (len(pairs), pairs.name) == (4, "set")
    people = find_bench(f"{tmp_path}/people", None)
    loaded = people.load(112)
    assert isinstance(loaded, LabelledImages)
    assert (loaded.name, loaded.labels.tolist()) == ("people", [0, 0, 1, 1])
    with pytest.raises(
        FacekdError, match=r"bench people .* is no list of image pairs; while train"
    ):
        people.load_pairs(112)
    rows = "a,b,same\n0.jpg,1.jpg,1\n0.jpg,3.jpg,0\n1.jpg,0.jpg,1\n"
    put(tmp_path, "people/ann/3.jpg", content=images[3])
    put(tmp_path, "set.csv", content=rows.encode())
    listed = find_bench(f"{tmp_path}/set.csv:{tmp_path}/people/ann", None)
    with pytest.raises(FacekdError, match="--keep-duplicates"):
        listed.load(112)
    assert len(listed.load(112, duplicates=True)) == 3
    (tmp_path / "people/ann/3.jpg").unlink()
    with pytest.raises(FacekdError, match="--missing count"):
        listed.load(112, duplicates=True)
    assert listed.load(112, duplicates=True, missing_ok=True).found.tolist() == [True, True, False]


def test_synthetic_pairs_are_the_same_at_every_size_and_say_so():
    small, large = (synthetic_pairs(s, identities=40, images_each=4, pairs=200) for s in (32, 48))
    assert small.name == "synthetic"
    assert (small.left == large.left).all()
    assert small.images[0] is small.images[0]  # drawn once, however many models look at it
    assert (small.images[0].shape, large.images[0].shape) == ((32, 32, 3), (48, 48, 3))
    assert small.fingerprint != large.fingerprint
    assert "synthetic" in find_bench("synthetic", None).source == small.source


def test_the_synthetic_bench_has_twenty_thousand_pairs():
    pairs = find_bench("synthetic", None).load(32)
    assert len(pairs) == 20_000
    assert pairs.same.sum() == 10_000
    assert len(np.unique(pairs.folds)) == 10
