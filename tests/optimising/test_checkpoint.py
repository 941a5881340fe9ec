"""Checkpoints: a state that is saved and restored goes on as if nothing had happened, and a damaged one is refused."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from phonybrains.errors import TrainingError
from phonybrains.optimising.checkpoint import TrainState, load_weights

DECAYS = (0.9, 0.999)


def new_state(seed: int = 0, width: int = 8) -> TrainState:
    """A small network with convolutions in channels_last, and AdamW as the loop uses it."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, width, 3, padding=1), nn.GroupNorm(2, width), nn.SiLU(), nn.Conv2d(width, 3, 3)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(108, 1)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    return TrainState.start(network, optimizer, DECAYS)


def advance(state: TrainState, steps: int) -> TrainState:
    """Train, with numbers that belong to each step."""
    for _ in range(steps):
        x = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(state.step))
        loss = (state.network(x.contiguous(memory_format=torch.channels_last)) - x.mean((1, 2, 3))).square().mean()
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimizer.step()
        state.step += 1
        state.average()
    return state


def facts(state: TrainState) -> dict[str, torch.Tensor]:
    """Everything a state holds, by name."""
    found = {f"network/{n}": p.detach() for n, p in state.network.named_parameters()}
    found |= {f"best/{n}": t for n, t in state.best.items()}
    found |= {f"{d}/{n}": t for d, average in state.averages.items() for n, t in average.items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer/{index}/{n}": torch.as_tensor(v) for n, v in entry.items()}
    return found | {"step": torch.tensor(state.step), "best_loss": torch.tensor(state.best_loss, dtype=torch.float64)}


def assert_same(a: TrainState, b: TrainState) -> None:
    one, two = facts(a), facts(b)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


@pytest.fixture
def trained() -> TrainState:
    state = advance(new_state(), 5)
    state.best_loss, state.best = 0.1 + 0.2, {n: t.clone() for n, t in state.averages[0.9].items()}
    for number, average in enumerate(state.averages.values(), start=1):  # in so few steps they are all the same
        for tensor in average.values():
            tensor.add_(number * 0.01)
    return advance(state, 3)


@pytest.fixture
def restored(trained: TrainState, tmp_path: Path) -> TrainState:
    """A state of another start, restored from the file of the trained one."""
    trained.save(tmp_path / "state.safetensors")
    state = new_state(seed=1)
    state.restore(tmp_path / "state.safetensors")
    return state


def test_everything_comes_back(trained: TrainState, restored: TrainState):
    """Weights, averages, best, optimiser, step and best loss, to the last bit, into a state of another start."""
    assert_same(trained, restored)
    assert restored.step == 8
    assert restored.best_loss == 0.1 + 0.2


def test_a_restored_state_goes_on_as_the_saved_one(trained: TrainState, restored: TrainState):
    """Ten more steps end in the same bits."""
    assert_same(advance(trained, 10), advance(restored, 10))


def test_restored_moments_lie_in_memory_as_their_parameters_do(restored: TrainState):
    """The fused optimiser reads moments and weights in the order of memory: a kernel in channels_last needs both so."""
    kernels = [p for p in restored.network.parameters() if p.ndim == 4]
    assert kernels
    for parameter in restored.network.parameters():
        for name in ("exp_avg", "exp_avg_sq"):
            assert restored.optimizer.state[parameter][name].stride() == parameter.stride()
    assert any(not kernel.is_contiguous() for kernel in kernels)


def test_restoring_does_not_share_memory(restored: TrainState, tmp_path: Path):
    """Training on does not change the file, nor one average another."""
    path = tmp_path / "state.safetensors"
    before = path.read_bytes()
    advance(restored, 2)
    assert path.read_bytes() == before
    kept = restored.averages[0.999]["0.weight"].clone(), restored.best["0.weight"].clone()
    restored.averages[0.9]["0.weight"].zero_()
    assert torch.equal(restored.averages[0.999]["0.weight"], kept[0])
    assert torch.equal(restored.best["0.weight"], kept[1])


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path):
    """Without a file nothing changes."""
    state = new_state()
    state.restore(tmp_path / "nowhere.safetensors")
    assert_same(state, new_state())


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_bytes(b""),
    "a byte short": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "shifted": lambda p: p.write_bytes(b"x" + p.read_bytes()),
    "another step": lambda p: p.write_bytes(p.read_bytes().replace(b'"step":"8"', b'"step":"9"')),
    "no digest": lambda p: save_file(load_file(p), p, {"step": "8", "best_loss": "0.1"}),
    "length of the header": lambda p: flip(p, 3),
    "header": lambda p: flip(p, 40),
    "last bit": lambda p: flip(p, -1),
    "a weight": lambda p: flip(p, p.stat().st_size // 2),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_not_used(
    trained: TrainState, tmp_path: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
):
    """Whatever bit is another: the state stays at its start, says so in a line, and the next checkpoint is sound."""
    path = tmp_path / "state.safetensors"
    trained.save(path)
    before = path.read_bytes()
    damage(path)
    assert path.read_bytes() != before
    state = new_state()
    state.restore(path)
    assert_same(state, new_state())
    assert capsys.readouterr().out == "state.safetensors is damaged: what it held is made anew.\n"
    trained.save(path)
    state.restore(path)
    assert_same(state, trained)


def test_a_checkpoint_of_another_network_is_refused(trained: TrainState, tmp_path: Path):
    """Wider layers do not take narrower weights."""
    trained.save(tmp_path / "state.safetensors")
    with pytest.raises(TrainingError, match="cannot be used"):
        new_state(width=16).restore(tmp_path / "state.safetensors")


def test_a_failed_save_keeps_the_last_checkpoint(trained: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up while it is written is an OSError; the checkpoint before it is whole, no scrap is left."""
    path, write = tmp_path / "state.safetensors", Path.write_bytes
    trained.save(path)
    before = path.read_bytes()

    def half(self: Path, data: bytes) -> int:
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left") as caught:
        advance(trained, 1).save(path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_averages_by_hand():
    """Each average moves by 1 - min(decay, (1 + n) / (10 + n)) of the way to the weights after step n."""
    state = new_state()
    expected = {d: {n: t.double() for n, t in average.items()} for d, average in state.averages.items()}
    for step in range(1, 201):
        state.step = step
        with torch.no_grad():
            for parameter in state.network.parameters():
                parameter.add_(0.01)
        state.average()
        for decay, average in expected.items():
            rate = 1 - min(decay, (1 + step) / (10 + step))
            for name, parameter in state.network.named_parameters():
                average[name] += rate * (parameter.detach().double() - average[name])
    for decay, average in expected.items():
        for name, tensor in average.items():
            torch.testing.assert_close(state.averages[decay][name].double(), tensor, rtol=1e-5, atol=1e-5)
    assert not torch.equal(state.averages[0.9]["0.weight"], state.averages[0.999]["0.weight"])


def test_using_other_weights_is_temporary(trained: TrainState):
    """Inside, the network has the other weights and does not train; after, even after an error, it is as it was."""
    own = {n: p.detach().clone() for n, p in trained.network.named_parameters()}
    inside: list[bool] = []

    def fail_inside() -> None:
        with trained.using(trained.averages[0.999]) as network:
            inside.append(not network.training)
            inside.extend(torch.equal(p, trained.averages[0.999][n]) for n, p in network.named_parameters())
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_inside()
    assert len(inside) == 1 + len(own)
    assert all(inside)
    assert trained.network.training
    assert all(torch.equal(p, own[n]) for n, p in trained.network.named_parameters())


def test_load_weights_copies(trained: TrainState):
    """What is loaded is a copy in the parameter's own memory format."""
    weights = {n: torch.randn_like(p).contiguous() for n, p in trained.network.named_parameters()}
    strides = [p.stride() for p in trained.network.parameters()]
    load_weights(trained.network, weights)
    assert [p.stride() for p in trained.network.parameters()] == strides
    for name, parameter in trained.network.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.data_ptr() != weights[name].data_ptr()
