from dataclasses import replace

from chipwatt.agent.attribution.alone import Alone
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag
from chipwatt.core.records import DeviceWindow
from chipwatt.core.workload import Binding, Holding
from fakes.device_windows import a_run

GPU, OTHER, CPU = DeviceId(DeviceKind.GPU, 0), DeviceId(DeviceKind.GPU, 1), DeviceId(DeviceKind.CPU)
(WINDOW,) = a_run([1])
WINDOWS = [
    replace(WINDOW, device=GPU),
    replace(WINDOW, device=OTHER),
    replace(WINDOW, device=CPU, domain=Domain.PACKAGE),
    replace(WINDOW, device=CPU, domain=Domain.PSYS),
    replace(WINDOW, device=DeviceId(DeviceKind.MODULE), domain=Domain.MODULE),
]


def a_binding(number: int, *devices: DeviceId, cgroup: str = "") -> Binding:
    return Binding(bytes([number] * 16), bytes(16), cgroup, tuple(Holding(d) for d in devices))


BOARD = replace(WINDOW, device=DeviceId(DeviceKind.BOARD), domain=Domain.BOARD)
MEMORY = replace(WINDOW, device=DeviceId(DeviceKind.MEMORY), domain=Domain.DRAM)


def marks(windows: list[DeviceWindow]) -> list[bool]:
    return [bool(window.flags & Flag.HELD_ALONE) for window in windows]


def test_without_bindings_nothing_is_marked() -> None:
    alone = Alone()
    alone.bind([])
    assert alone.marked(WINDOWS) is WINDOWS


def test_a_chip_of_one_workload_is_marked_with_what_is_around_it_and_stays_so() -> None:
    alone = Alone()
    alone.bind([a_binding(1, GPU)])
    assert marks(alone.marked(WINDOWS)) == [True, False, False, True, True]
    alone.bind([])
    assert marks(alone.marked(WINDOWS)) == [True, False, False, True, True]


def test_a_chip_of_several_is_not() -> None:
    alone = Alone()
    alone.bind([a_binding(1, GPU, cgroup="a"), a_binding(2, GPU, OTHER, cgroup="b")])
    assert marks(alone.marked(WINDOWS)) == [False, True, False, True, True]


def test_processors_belong_to_the_only_one_with_a_cgroup() -> None:
    alone = Alone()
    alone.bind([a_binding(1, cgroup="a")])
    assert marks(alone.marked(WINDOWS)) == [False, False, True, True, True]


def test_a_board_is_around_chips_and_memory_beside_processors() -> None:
    of_gpu, of_cpus = Alone(), Alone()
    of_gpu.bind([a_binding(1, GPU)])
    of_cpus.bind([a_binding(1, cgroup="a")])
    assert marks(of_gpu.marked([BOARD, MEMORY])) == [True, False]
    assert marks(of_cpus.marked([BOARD, MEMORY])) == [True, True]
