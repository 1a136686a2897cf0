"""The training loop: what it minimises, resuming, divergence, ADMM, several processes."""

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from networks import tiny

from hwgen.errors import HwgenError
from hwgen.quantize import Policy, accuracy, assigned, fit, prepare
from hwgen.quantize.datasets import Batches, Split
from hwgen.quantize.losses import Loss

HERE = Path(__file__).resolve().parent


def images():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 4
    return Split((rng.integers(0, 128, (64, 2, 9, 8)) + 32 * labels[:, None, None, None]).astype(np.uint8), labels)


def loader():
    return Batches(images(), 16, 8, shuffle=True)


def prepared(policy=None):
    batches = Batches(images(), 64, 8)
    return prepare(tiny(1), policy or Policy.rmsmp((40, 40, 20), reassign_every=2), *next(iter(batches)))


def equal(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("admm", [0.0, 0.01])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resuming_gives_the_same_bits(admm, stop, tmp_path):
    settings = {"weight_decay": 0.01, "norm_batches": 2, "admm": admm}
    torch.manual_seed(5)
    whole = prepared()
    losses = fit(whole, loader(), 4, 5e-3, **settings)

    def interrupt(done, steps, loss):
        if done == 4 * stop + 2:
            raise Interrupted

    torch.manual_seed(5)
    path = tmp_path / "c.pt"
    with pytest.raises(Interrupted):
        fit(prepared(), loader(), 4, 5e-3, **settings, checkpoint=path, progress=interrupt)
    torch.manual_seed(99)
    again = prepared()
    seen = []
    resumed = fit(again, loader(), 4, 5e-3, **settings, checkpoint=path, resume=True,
                  progress=lambda done, steps, loss: seen.append(done))
    assert seen[0] == 4 * stop + 1
    assert resumed == losses
    assert equal(whole, again)


def test_a_finished_training_is_not_repeated(tmp_path):
    first, second = prepared(), prepared()
    fit(first, loader(), 2, 5e-3, checkpoint=tmp_path / "c.pt", resume=True)
    fit(second, loader(), 2, 5e-3, checkpoint=tmp_path / "c.pt", resume=True,
        progress=lambda *_: pytest.fail("trained"))
    assert equal(first, second)


def test_rows_are_assigned_anew(monkeypatch):
    from hwgen.quantize import fit as module

    calls = []
    monkeypatch.setattr(sys.modules[module.__module__], "reassign", lambda *_: calls.append(1))
    for epochs, expected in ((1, 0), (2, 0), (3, 1), (5, 2)):  # never after the last epoch
        calls.clear()
        fit(prepared(), loader(), epochs, 1e-3)
        assert len(calls) == expected


@pytest.mark.parametrize("epoch", [1, 3])
def test_divergence(epoch, tmp_path):
    qmodel = prepared()

    def poison(done, steps, loss):
        if done == 4 * (epoch - 1) + 1:
            with torch.no_grad():
                qmodel.classify.bias.fill_(float("nan"))

    where = "there is no earlier checkpoint" if epoch == 1 else "last good checkpoint is .*c.pt, after epoch 2"
    with pytest.raises(HwgenError, match=f"the loss is nan in epoch {epoch}; .*{where}; .*smaller learning rate"):
        fit(qmodel, loader(), 4, 1e-3, checkpoint=tmp_path / "c.pt", progress=poison)


@pytest.mark.parametrize(("change", "message"), [
    ({"lr": 1e-3}, "made with lr=0.005, not 0.001"),
    ({"epochs": 3}, "made with epochs=2, not 3"),
    ({"admm": 0.1}, "made with admm=0.0, not 0.1"),
])
def test_another_training_s_checkpoint(change, message, tmp_path):
    settings = {"epochs": 2, "lr": 5e-3} | change
    fit(prepared(), loader(), 2, 5e-3, checkpoint=tmp_path / "c.pt")
    with pytest.raises(HwgenError, match=message):
        fit(prepared(), loader(), **settings, checkpoint=tmp_path / "c.pt", resume=True)


def test_bad_checkpoints(tmp_path):
    with pytest.raises(HwgenError, match="does not exist"):
        fit(prepared(), loader(), 1, 1e-3, checkpoint=tmp_path / "none" / "c.pt")
    with pytest.raises(HwgenError, match="name the checkpoint"):
        fit(prepared(), loader(), 1, 1e-3, resume=True)
    with pytest.raises(HwgenError, match="epochs must be at least 1"):
        fit(prepared(), loader(), 0, 1e-3)
    (tmp_path / "c.pt").write_bytes(b"nonsense")
    with pytest.raises(HwgenError, match="cannot be read"):
        fit(prepared(), loader(), 1, 1e-3, checkpoint=tmp_path / "c.pt", resume=True)
    fit(nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), loader(), 1, 1e-3, checkpoint=tmp_path / "d.pt")
    with pytest.raises(HwgenError, match="another network"):
        fit(prepared(), loader(), 1, 1e-3, checkpoint=tmp_path / "d.pt", resume=True)


def test_the_teacher_s_part_by_hand():
    teacher = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        teacher.weight.copy_(torch.tensor([[2.0], [0.0]]))
    inputs, labels = torch.ones(1, 1), torch.tensor([0])
    outputs = torch.tensor([[1.0, 0.0]], requires_grad=True)
    p = 1 / (1 + np.exp(-1.0))  # the teacher's answer softened by 2
    q = 1 / (1 + np.exp(-0.5))
    soft = 4 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    hard = -np.log(1 / (1 + np.exp(-1.0)))
    found = Loss(0.0, teacher, 0.25, 2.0)(outputs, inputs, labels)
    assert float(found.detach()) == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-5)
    assert float(Loss()(outputs, inputs, labels).detach()) == pytest.approx(hard, rel=1e-5)


def test_distilling_follows_the_teacher_and_not_the_labels():
    torch.manual_seed(7)
    wrong = Batches(Split(images().codes, (images().labels + 1) % 4), 16, 8, shuffle=True)
    teacher = tiny(1)
    fit(teacher, wrong, 30, 2e-2)
    assert accuracy(teacher, wrong) > 0.9
    teacher.zero_grad()
    qmodel = prepared(Policy.fixed4())
    fit(qmodel, loader(), 30, 2e-2, teacher=teacher, distill=1.0)
    assert accuracy(qmodel, wrong) > 0.8 > 0.2 > accuracy(qmodel, loader())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


def test_admm_draws_weights_to_the_grid():
    """Without a task the penalty alone halves the distance to the grid again and again."""
    from hwgen.quantize.admm import Admm

    torch.manual_seed(3)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(144, 6))
    qmodel = prepare(layer, Policy.msq(), torch.rand(16, 2, 9, 8))
    weight, quantizer = qmodel.get_submodule("1").weight, qmodel.get_submodule("1").weight_quant

    def gap():
        with torch.no_grad():
            return float((weight - quantizer.rounded(weight)).square().sum())

    start, grids = gap(), Admm(qmodel, 1.0, 3)
    assert torch.equal(quantizer(weight), weight)
    optimizer = torch.optim.SGD([weight], lr=0.3)
    for epoch in range(3):
        for _ in range(10):
            optimizer.zero_grad()
            grids.penalty().backward()
            optimizer.step()
        grids.end_epoch(epoch)
    assert gap() < start / 100
    assert not torch.equal(quantizer(weight), weight)  # the phase is over: weights are rounded
    assert float(grids.penalty()) == 0


def test_admm_learns():
    torch.manual_seed(6)
    qmodel = prepared(Policy.msq())
    history = fit(qmodel, loader(), 12, 5e-3, admm=1e-3)
    assert history[-1] < 0.8 * history[0]
    assert set(assigned(qmodel)["conv1"]) == {"sp2", "fixed4"}


def test_two_processes(tmp_path):
    """torchrun with gloo: both end with the same bits, and with what one process makes of the joined batches."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29631",
               str(HERE / "two_processes.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "c.pt").exists()
    import two_processes

    alone = two_processes.train(two_processes.Joined(), None).state_dict()
    assert all(torch.allclose(first[name], alone[name], atol=2e-4) for name in first)
    start = two_processes.network().state_dict()
    assert any(not torch.allclose(first[name], start[name], atol=1e-2) for name in first)
