"""What a latency measurement says and leaves alone. Times themselves are left to the bench: a test must not flake."""

import gc
import inspect
import signal
import tempfile
import threading
import time

import pytest
import torch
from filelock import FileLock
from torch import nn

from hadnas.errors import MeasurementError, UnknownName
from hadnas.measure.latency.latency import LOCK, latency, protocol, protocol_key
from hadnas.measure.latency.reference import Reference, reference
from tests.networks import work

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """A lock of the test's own: another measurement on this host must not hold up the tests."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / LOCK


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten(), nn.Linear(288, 10))


def test_a_network_against_itself():
    found = latency(reference(1), SHAPE, seconds=0.5)
    assert 0.2 < found.ratio < 5  # 1, but for a machine that is very busy
    assert 0 < found.min_ms <= found.median_ms <= found.p90_ms
    assert found.n >= 5 and found.iqr >= 0 and found.ratio_iqr >= 0
    assert found.noisy == (found.ratio_iqr > 0.05)


def test_a_slower_network_has_the_larger_ratio():
    class Slow(nn.Module):
        def forward(self, x):
            work(0.05)  # the reference at 8 x 8 takes less than a millisecond
            return x

    found = latency(Slow(), SHAPE, seconds=0.2)
    assert found.min_ms >= 50 and found.ratio > 1


def test_an_unsteady_network_is_flagged():
    class Unsteady(nn.Module):
        calls = 0

        def forward(self, x):
            Unsteady.calls += 1
            work(0.02 if Unsteady.calls % 2 else 0.06)
            return x

    found = latency(Unsteady(), SHAPE, seconds=1.2)
    assert found.noisy and found.ratio_iqr > 0.05


def test_everything_is_left_as_it_was():
    net = small().train()
    net[1].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    latency(net, SHAPE, seconds=0.1, threads=threads + 1, dtype=torch.float64)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters()) and bool((net[0].weight.grad == 1).all())
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == threads
    assert gc.isenabled() and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_threads_and_the_lock_are_given_back_after_a_failure(own_lock):
    threads = torch.get_num_threads()
    with pytest.raises(MeasurementError, match=r"\(Sequential\) .*\(2, 3, 8, 8\), backend 'eager'"):
        latency(small(), (3, 8, 8), batch=2, threads=threads + 1)
    assert torch.get_num_threads() == threads
    with FileLock(own_lock, timeout=0):
        pass


def test_the_candidate_runs_in_evaluation_mode_on_the_threads_asked_for():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.get_num_threads(), tuple(x.shape), x.dtype, torch.is_grad_enabled()))
            return x

    latency(Spy().train(), SHAPE, seconds=0.05, threads=2, batch=3, dtype=torch.float64)
    assert set(seen) == {(False, 2, (3, 1, 8, 8), torch.float64, False)}


def test_one_thread_is_timed_by_its_own_clock():
    class Waits(nn.Module):
        def forward(self, x):
            time.sleep(0.0005)
            return x

    own, passing = (latency(Waits(), SHAPE, seconds=0.05, threads=threads) for threads in (1, 2))
    assert own.protocol["clock"] == "thread" and passing.protocol["clock"] == "wall"
    assert own.median_ms < 0.5 <= passing.median_ms


def test_one_measurement_at_a_time(own_lock):
    done = threading.Event()

    def measure():
        latency(small(), SHAPE, seconds=0.05)
        done.set()

    worker = threading.Thread(target=measure)
    with FileLock(own_lock):
        worker.start()
        assert not done.wait(0.5)
    assert done.wait(60)
    worker.join()


def test_a_network_runs_at_the_same_depth_whoever_asks():
    """The interpreter's stack is made of pieces: at some depths every call of a module takes and returns one."""
    depths: set[int] = set()

    class Spy(nn.Module):
        def forward(self, x):
            depths.add(len(inspect.stack(0)))
            return x

    def from_below(depth):
        if depth:
            from_below(depth - 1)
        else:
            latency(Spy(), SHAPE, seconds=0.01)

    from_below(0)
    seen = set(depths)
    from_below(90)
    assert depths == seen


def test_the_protocol_defines_the_measurement():
    found = latency(small(), SHAPE, seconds=0.05, batch=2)
    assert found.protocol == protocol(SHAPE, batch=2)
    assert found.protocol_key == protocol_key(protocol(SHAPE, batch=2))
    assert found.protocol["device"] == "cpu" and found.protocol["device_name"]
    assert found.protocol["versions"] == {"torch": torch.__version__}
    others = [
        protocol(SHAPE),
        protocol((1, 8, 9), batch=2),
        protocol(SHAPE, batch=2, threads=2),
        protocol(SHAPE, batch=2, dtype=torch.bfloat16),
        protocol(SHAPE, batch=2, backend="compile"),
        protocol(SHAPE, batch=2, reference=nn.Conv2d(1, 1, 1)),
        protocol(SHAPE, batch=2, reference=nn.Conv2d(1, 2, 1)),
    ]
    assert len({protocol_key(p) for p in (*others, found.protocol)}) == 8


def test_the_key_is_the_same_everywhere():
    assert protocol_key({"b": [1, 2], "a": "x"}) == protocol_key({"a": "x", "b": [1, 2]}) == "5125d018f84d"


def test_the_reference_is_fixed():
    one, two = reference(3), reference(3)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    for size in (1, 8, 33):
        assert one(torch.zeros(2, 3, size, size)).shape == (2, 10)
    assert isinstance(one, Reference) and not one.training


def test_an_interrupt_ends_the_measurement_and_leaves_nothing_running(own_lock):
    threads, running = torch.get_num_threads(), threading.active_count()
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        latency(small(), SHAPE, seconds=60, threads=threads + 1)
    timer.join()
    assert threading.active_count() == running and gc.isenabled()
    assert torch.get_num_threads() == threads
    with FileLock(own_lock, timeout=0):
        pass


def test_a_module_that_fails_late_is_named_and_cannot_spoil_its_input():
    class Late(nn.Module):
        calls = 0

        def forward(self, x):
            Late.calls += 1
            if Late.calls > 40:
                raise ValueError("later")
            return x.mul_(float("nan"))

    class Sees(nn.Module):
        def forward(self, x):
            assert torch.isfinite(x).all()
            return x

    with pytest.raises(MeasurementError, match=r"\(Late\) .*ValueError: later"):
        latency(Late(), SHAPE, seconds=5, reference=Sees())


REFUSED = {
    "no device": ({"device": "foo"}, MeasurementError, "'cpu' and 'cuda' are allowed"),
    "no time": ({"seconds": float("nan")}, MeasurementError, "positive numbers"),
    "a part of a batch": ({"batch": 1.5}, MeasurementError, "whole ones"),
    "backend": ({"backend": "tensorrt"}, UnknownName, "unknown backend 'tensorrt'"),
    "device": ({"device": "mps"}, MeasurementError, "'cpu' and 'cuda' are allowed"),
    "batch": ({"batch": 0}, MeasurementError, "positive numbers"),
    "threads": ({"threads": 0}, MeasurementError, "positive numbers"),
    "seconds": ({"seconds": 0}, MeasurementError, "positive numbers"),
}


@pytest.mark.parametrize(("wrong", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(wrong, kind, message):
    with pytest.raises(kind, match=message):
        latency(small(), SHAPE, **wrong)


def test_a_shape_of_nothing_is_refused():
    with pytest.raises(MeasurementError, match=r"shape \(1, -8, 8\).*positive numbers"):
        latency(small(), (1, -8, 8))


def test_a_default_device_does_not_move_the_input():
    module = small()
    with torch.device("meta"):
        assert latency(module, SHAPE, seconds=0.05).n >= 5


def test_a_module_without_weights_is_refused():
    with pytest.raises(MeasurementError, match="meta device: no weights"):
        latency(small().to("meta"), SHAPE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no CUDA device")
def test_cuda_where_there_is_none():
    with pytest.raises(MeasurementError, match="CUDA"):
        latency(small(), SHAPE, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_by_events():
    net = small()
    found = latency(net, SHAPE, device="cuda", seconds=0.5)
    assert 0 < found.min_ms < 1000 and found.protocol["device"] == "cuda"
    assert all(p.device.type == "cpu" for p in net.parameters())
