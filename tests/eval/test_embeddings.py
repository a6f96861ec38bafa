import json

import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.embeddings import Embeddings, describe, open_embeddings


def rows(count=10, width=6, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(count, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_blocks_are_the_rows_in_order_as_float32(dtype):
    array = rows(dtype=dtype)
    embeddings = Embeddings(array)
    blocks = list(embeddings.blocks(size=4))
    assert [(part.start, part.stop) for part, _ in blocks] == [(0, 4), (4, 8), (8, 10)]
    assert {block.dtype for _, block in blocks} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), array.astype(np.float32))
    np.testing.assert_array_equal(embeddings.faces(), array.astype(np.float32))
    assert (embeddings.count, embeddings.dim) == (10, 6)


def test_halves_are_summed_with_flip_and_the_first_is_taken_without():
    array = rows()
    embeddings = Embeddings(array, halves=True)
    assert embeddings.dim == 3
    np.testing.assert_array_equal(embeddings.faces(flip=True), array[:, :3] + array[:, 3:])
    np.testing.assert_array_equal(embeddings.faces(flip=False), array[:, :3])


def test_float16_halves_are_summed_in_float32():
    array = np.array([[1.0, 2**-11]], np.float16)  # their sum is not a float16
    assert Embeddings(array, halves=True).faces()[0, 0] == 1 + 2**-11


def test_a_block_may_be_changed_without_changing_the_array():
    array = rows()
    for _, block in Embeddings(array).blocks():
        block[:] = 0
    assert array.any(axis=1).all()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e30])
def test_a_row_that_is_no_embedding_is_named_and_counted(value):
    array = rows()
    array[[5, 9]] = value
    with pytest.raises(FacekdError, match=r"faces\.npy: .* row 5 has norm .* \(2 of 10 are zero"):
        Embeddings(array, source="faces.npy").faces()


def test_halves_that_cancel_are_told_only_where_they_are_summed():
    array = rows()
    array[3, 3:] = -array[3, :3]
    embeddings = Embeddings(array, halves=True)
    assert embeddings.faces(flip=False)[3].any()
    with pytest.raises(FacekdError, match=r"row 3 has norm 0 \(1 of 10"):
        embeddings.faces(flip=True)


def test_missing_faces_are_rows_of_zeros_whatever_the_file_holds():
    array = rows()
    array[2], array[7] = np.nan, 0.0
    missing = np.isin(np.arange(10), [1, 2, 7])
    faces = Embeddings(array, missing=missing).faces()
    assert not faces[missing].any()
    np.testing.assert_array_equal(faces[~missing], array[~missing])
    array[4] = np.nan
    with pytest.raises(FacekdError, match=r"row 4 has norm nan \(1 of 10"):
        Embeddings(array, missing=missing).faces()


@pytest.mark.parametrize(
    ("array", "halves", "says"),
    [
        (np.ones(4, np.float32), False, r"an array of float32 \(4,\)"),
        (np.ones((2, 3, 4), np.float32), False, r"an array of float32 \(2, 3, 4\)"),
        (np.ones((0, 4), np.float32), False, r"an array of float32 \(0, 4\)"),
        (np.ones((2, 4), np.int8), False, "an array of int8"),
        (np.ones((2, 4), np.longdouble), False, "an array of float128"),
        (np.ones((2, 5), np.float32), True, "rows of 5 numbers cannot be halved"),
    ],
)
def test_arrays_that_are_no_embeddings(tmp_path, array, halves, says):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FacekdError, match=rf"a\.npy: .*{says}|a\.npy: {says}"):
        open_embeddings(tmp_path / "a.npy", halves=halves)


def test_a_file_is_mapped_not_read(tmp_path):
    np.save(tmp_path / "a.npy", rows())
    embeddings = open_embeddings(tmp_path / "a.npy", count=10)
    assert isinstance(embeddings.array, np.memmap)
    assert not embeddings.halves
    np.testing.assert_array_equal(embeddings.faces(), rows())


def test_files_that_are_no_arrays(tmp_path):
    with pytest.raises(FacekdError, match=r"a\.npy cannot be read: No such file"):
        open_embeddings(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(FacekdError, match=r"a\.npy cannot be read as a \.npy file"):
        open_embeddings(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FacekdError, match=r"a\.npy cannot be read as a \.npy file"):
        open_embeddings(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_text("no array")
    with pytest.raises(FacekdError) as told:
        open_embeddings(tmp_path / "a.npy")
    assert "pickle" not in str(told.value)  # numpy advises to load such files unsafely
    np.savez(tmp_path / "a.npz", a=rows())
    with pytest.raises(FacekdError, match="is an archive of arrays"):
        open_embeddings(tmp_path / "a.npz")


def test_a_file_of_another_set_is_told(tmp_path):
    np.save(tmp_path / "a.npy", rows())
    with pytest.raises(FacekdError, match="holds 10 embeddings for 11 faces"):
        open_embeddings(tmp_path / "a.npy", count=11)
    with pytest.raises(FacekdError, match="10 embeddings, but it is told of 11 faces"):
        open_embeddings(tmp_path / "a.npy", missing=np.zeros(11, bool))


def test_the_description_says_whether_rows_are_halves(tmp_path):
    np.save(tmp_path / "a.npy", rows())
    (tmp_path / "a.json").write_text(describe((10, 6), halves=True, model="student"))
    embeddings = open_embeddings(tmp_path / "a.npy")
    assert embeddings.halves
    assert embeddings.description["model"] == "student"
    with pytest.raises(FacekdError, match="says that a row holds the image's and the mirrored"):
        open_embeddings(tmp_path / "a.npy", halves=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a description .*its format is None"),
        ('{"halves": true}', "is not a description .*its format is None"),
        (json.dumps({"format": 2}), "its format is 2"),
        (describe((11, 6), halves=True), r"shape \[11, 6\].* has the shape \[10, 6\]"),
        (describe((10, 6)), "halves None"),
    ],
)
def test_descriptions_that_cannot_be_trusted(tmp_path, text, says):
    np.save(tmp_path / "a.npy", rows())
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FacekdError, match=rf"a\.json .*{says}"):
        open_embeddings(tmp_path / "a.npy")
