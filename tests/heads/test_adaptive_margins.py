"""What margins remember is one thing for all processes, and what they do with it."""

import math

import pytest
import torch
from two_processes import run_together

from facekd.heads import MARGINS

SCRIPT = """
from facekd.heads import MARGINS

rng = torch.Generator().manual_seed(1)
draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
steps = [(draw(8, 6).tanh(), torch.randint(-1, 6, (8,), generator=rng), 9 * draw(8, 4))
         for _ in range(3)]
rows = slice(4 * rank, 4 * rank + 4) if world == 2 else slice(None)
for name in ("adaface", "curricularface"):
    margin = MARGINS[name]().double()
    for cosines, labels, embeddings in steps:
        result[name] = margin(cosines[rows], labels[rows], embeddings[rows])
    result |= {f"{name} {key}": value for key, value in margin.state_dict().items()}
"""


def test_two_processes_remember_what_one_would_of_the_joint_batch(tmp_path):
    alone = {}
    exec(SCRIPT, {"torch": torch, "rank": 0, "world": 1, "result": alone})
    first, second = run_together(SCRIPT, tmp_path)
    for key in ("adaface batch_mean", "adaface batch_std", "curricularface t"):
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], alone[key], rtol=1e-12, atol=0)
    for name in ("adaface", "curricularface"):
        both = torch.cat([first[name], second[name]])
        torch.testing.assert_close(both, alone[name], rtol=1e-12, atol=1e-14)


def test_running_statistics_converge_to_the_data():
    torch.manual_seed(0)
    ada, curricular = MARGINS["adaface"](t_alpha=0.05), MARGINS["curricularface"](alpha=0.05)
    for _ in range(300):
        z = torch.nn.functional.normalize(torch.randn(64, 8)) * (30 + 5 * torch.randn(64, 1))
        cosines = torch.rand(64, 3)
        labels = torch.randint(0, 3, (64,))
        ada(cosines, labels, z)
        curricular(cosines, labels, z)
    assert ada.batch_mean.item() == pytest.approx(30, abs=0.5)
    assert ada.batch_std.item() == pytest.approx(5, abs=0.3)
    assert curricular.t.item() == pytest.approx(0.5, abs=0.03)


def test_adaface_is_cosface_for_bad_images_and_more_for_good_ones():
    """Quality -1: cos(t + m); 0: cos t - m; 1: cos(t - m) - 2m."""
    margin = MARGINS["adaface"](m=0.3, h=1.0).eval()
    margin.batch_mean.fill_(20.0)
    margin.batch_std.fill_(5.0)
    z = torch.tensor([[1.0, 0.0], [20.0, 0.0], [90.0, 0.0]])
    t = math.acos(0.5)
    out = margin(torch.full((3, 1), 0.5), torch.zeros(3, dtype=torch.int64), z)[:, 0]
    expected = [math.cos(t + 0.3), math.cos(t) - 0.3, math.cos(t - 0.3) - 0.6]
    assert out.tolist() == pytest.approx(expected, abs=1e-6)


def test_magfaces_reward_grows_with_length_up_to_the_upper_end():
    margin = MARGINS["magface"]()
    z = torch.tensor([[5.0, 0.0], [11.0, 0.0], [50.0, 0.0], [110.0, 0.0], [200.0, 0.0]])
    z.requires_grad_()
    cost = margin.penalty(z)
    assert cost[0] > cost[1] > cost[2] > cost[3] == cost[4]
    assert cost[3].item() == pytest.approx(35 * (1 / 110 + 110 / 110**2))
    cost.sum().backward()
    assert z.grad[:, 0].tolist() == pytest.approx(
        [0.0, 35 * (1 / 110**2 - 1 / 11**2), 35 * (1 / 110**2 - 1 / 50**2), 0.0, 0.0], abs=1e-6
    )


def test_the_margin_in_magface_grows_with_length():
    margin = MARGINS["magface"]()
    z = torch.tensor([[1.0, 0.0], [60.0, 0.0], [500.0, 0.0]])
    out = margin(torch.full((3, 1), 0.5), torch.zeros(3, dtype=torch.int64), z)[:, 0]
    expected = [math.cos(math.acos(0.5) + m) for m in (0.45, 0.625, 0.8)]
    assert out.tolist() == pytest.approx(expected, abs=1e-6)
