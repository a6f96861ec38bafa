import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.score_files import read_scored_pairs, read_scores


def write(path, text):
    path.write_text(text)
    return path


def test_everything_a_csv_can_hold(tmp_path):
    path = write(
        tmp_path / "s.csv",
        "\ufeffsame, score ,group,fold,subject_a,subject_b,note\n"
        "1,0.75,young,b,ann,ann,x\n"
        'false,-1e-3,,a,ann,"bea, 2",y\n'
        "\n"
        "TRUE,.5,old,b,bea,bea,z\n",
    )
    scores, trials = read_scored_pairs(path)
    assert scores.dtype == np.float64
    assert scores.tolist() == [0.75, -1e-3, 0.5]
    assert trials.same.tolist() == [True, False, True]
    assert trials.folds.tolist() == [1, 0, 1]
    assert trials.groups.tolist() == ["young", "", "old"]
    (a, b), (c, d), (e, f) = trials.subjects.tolist()
    assert a == b == c
    assert e == f
    assert len({a, d, e}) == 3
    assert trials.subjects_from == "s.csv, columns subject_a and subject_b"


def test_what_a_csv_does_not_hold_is_not_there(tmp_path):
    _, trials = read_scored_pairs(write(tmp_path / "s.csv", "score,same\n1,1\n0,0\n"))
    assert (trials.folds, trials.groups, trials.subjects) == (None, None, None)
    assert "do not say who is in a pair" in trials.subjects_from


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rows below a header"),
        ("score,same\n", "no rows below a header"),
        ("scores,same\n1,1\n", "no column 'score'; did you mean 'scores'"),
        ("score\n1\n", "has no column same .*--bench"),
        ("score,same\n1,1\nnan,0\n", r"s\.csv, line 3: the score 'nan' .*1 of 2 lines"),
        ("score,same\n1,1\n,0\n", "line 3: the score '' is no finite number"),
        ("score,same\n1,1\ninf,0\nx,0\n", "line 3: the score 'inf' .*2 of 3 lines"),
        ("score,same\n1,1\n\n0,maybe\n", "line 4: same is 'maybe'; write 1 or 0"),
        ("score,same\n1,1\n0,1\n", r"s\.csv: none of its 2 pairs is impostor"),
        ("score,same\n1,0\n0,0\n", r"s\.csv: none of its 2 pairs is genuine"),
        ("score,same,fold\n1,1,0\n0,0,\n", "line 3: fold is empty"),
        (f"score,same,fold\n1,1,0\n0,0,{'1' * 256}\n", "line 3: fold has 256 characters"),
        (f"score,same,group\n1,1,{'a' * 256}\n0,0,\n", "line 2: group has 256 characters"),
        ("score,same,fold\n1,1,7\n0,0,7\n", "every pair is in fold 7"),
        ("score,same,subject_b\n1,1,p\n0,0,p\n", "has the column subject_b only"),
        ("score,same,subject_a,subject_b\n1,1,p,p\n0,0,p,\n", "line 3: subject_b is empty"),
        ("score,same,subject_a,subject_b\n1,1,p,q\n0,0,p,q\n", "line 2: a genuine pair of p and q"),
        ("score,same,subject_a,subject_b\n1,1,p,p\n0,0,q,q\n", "line 3: an impostor pair of q"),
        ("score,same\n1,1,1\n", "line 2 has 3 fields"),
        ("score,same,same\n1,1,1\n", "a column is named twice"),
    ],
)
def test_bad_csv(tmp_path, text, told):
    with pytest.raises(FacekdError, match=told):
        read_scored_pairs(write(tmp_path / "s.csv", text))


def test_scores_of_a_bench(tmp_path):
    np.save(tmp_path / "s.npy", np.array([0.5, -0.25], np.float32))
    scores = read_scores(tmp_path / "s.npy")
    assert (scores.dtype, scores.tolist()) == (np.float32, [0.5, -0.25])
    assert read_scores(write(tmp_path / "s.csv", "score\n0.5\n-0.25\n")).tolist() == [0.5, -0.25]


def test_answers_beside_the_scores_of_a_bench_must_be_the_benchs(tmp_path):
    path = write(tmp_path / "s.csv", "score,same\n0.5,1\n0.25,0\n0.75,1\n")
    assert read_scores(path, np.array([True, False, True])).tolist() == [0.5, 0.25, 0.75]
    with pytest.raises(FacekdError, match=r"line 3: same is not what .*\(2 of 3 lines\)"):
        read_scores(path, np.array([True, True, False]))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((3, 2)), r"float64 of shape \(3, 2\); scores are one float a pair"),
        (np.zeros(3, complex), "complex128"),
        (np.array(["a"]), "one float a pair"),
        (np.array([1.0, np.nan, np.inf]), "score 1, counted from 0, is nan .2 of 3"),
        (np.array([{}], dtype=object), "cannot be read as a .npy file of scores"),
    ],
)
def test_bad_arrays(tmp_path, array, told):
    np.save(tmp_path / "s.npy", array, allow_pickle=True)
    with pytest.raises(FacekdError, match=told):
        read_scores(tmp_path / "s.npy")


def test_files_that_hold_no_scores(tmp_path):
    with pytest.raises(FacekdError, match=r"cannot be read as a \.npy file of scores"):
        read_scores(write(tmp_path / "s.npy", "0.5"))
    with pytest.raises(FacekdError, match=r"is no \.csv, so it cannot say which pairs are genuine"):
        read_scored_pairs(tmp_path / "s.npy")
    np.savez(tmp_path / "s.npz", scores=np.zeros(3))
    with pytest.raises(FacekdError, match=r"holds several arrays.*--compare"):
        read_scores(tmp_path / "s.npz")
    with pytest.raises(FacekdError, match=r"cannot read .*gone\.csv: No such file"):
        read_scored_pairs(tmp_path / "gone.csv")
