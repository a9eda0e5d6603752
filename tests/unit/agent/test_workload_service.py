from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import grpc
import pytest

from chipwatt.agent.bindings import Bindings
from chipwatt.agent.workload_service import serve
from chipwatt.client.channel import InvalidRequest, NotKnown
from chipwatt.client.workloads import AgentUnreachable, WorkloadClient
from chipwatt.core.errors import ConfigError
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.workload import Binding, Holding
from chipwatt.v1 import workload_pb2 as pb
from chipwatt.v1 import workload_pb2_grpc

WHO, KIND = bytes(range(16)), bytes(range(16, 32))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="cw") as path:
        yield Path(path)


def asked(
    folder: Path,
    ask: Callable[[Path], None],
    group: str = "",
    devices: Collection[DeviceId] | None = (),
) -> list[Binding]:
    """Serve, let ``ask`` talk to the socket from another thread, return what is bound then."""
    path = folder / "workload.sock"
    bindings = Bindings(folder / "workloads.json", bytes(16), lambda _: None)

    async def session() -> None:
        server = await serve(path, group, bindings, lambda: devices)
        try:
            await asyncio.to_thread(ask, path)
        finally:
            await server.stop(None)

    asyncio.run(session())
    return bindings.all()


def test_bind_list_unbind(folder: Path) -> None:
    gpu = Holding(DeviceId(DeviceKind.GPU, 0, 7 << 100), 3, 7)
    binding = Binding(WHO, KIND, "system.slice/job", (gpu,))

    def ask(path: Path) -> None:
        with WorkloadClient(path) as client:
            assert client.bindings() == []
            assert not client.bind(binding).replaced
            assert client.bind(binding).replaced
            client.bind(Binding(KIND, cgroup="other"))
            assert client.bindings() == [binding, Binding(KIND, cgroup="other")]
            client.unbind(KIND)
            with pytest.raises(NotKnown, match=f"workload_id: {KIND.hex()} is not bound"):
                client.unbind(KIND)

    assert asked(folder, ask) == [binding]


def test_what_is_not_there_is_bound_with_a_warning(folder: Path) -> None:
    gpu, other = DeviceId(DeviceKind.GPU, 0, 7 << 100), DeviceId(DeviceKind.GPU, 1)
    binding = Binding(WHO, cgroup="chipwatt-test.slice/none", devices=(Holding(gpu),))

    def ask(path: Path) -> None:
        with WorkloadClient(path) as client:
            about_device, about_cgroup = client.bind(binding).warnings
            assert about_device == f"devices: this host measures no {gpu}; it measures gpu/1"
            assert about_cgroup.startswith("cgroup: no such cgroup now: chipwatt-test.slice/none;")
            assert client.bind(Binding(KIND, devices=(Holding(other),))).warnings == ()

    assert binding in asked(folder, ask, devices=[other])


def test_a_socket_is_its_owners(folder: Path) -> None:
    def ask(path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    asked(folder, ask)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_a_group_may_be_let_in(folder: Path) -> None:
    def ask(path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    asked(folder, ask, "root")


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        (pb.Workload(workload_id=b"x", cgroup="a"), "workload.workload_id"),
        (pb.Workload(workload_id=WHO, class_id=b"x", cgroup="a"), "workload.class_id"),
        (pb.Workload(workload_id=WHO, cgroup="/a"), "workload.cgroup"),
        (pb.Workload(workload_id=WHO, devices=["tpu/0"]), "workload.devices"),
        (pb.Workload(workload_id=WHO, devices=["cpu/0"] * 500), "workload.devices"),
        (pb.Workload(workload_id=WHO), "workload.devices"),
    ],
)
def test_what_cannot_be_bound_is_refused_by_its_field(
    folder: Path, workload: pb.Workload, field: str
) -> None:
    def ask(path: Path) -> None:
        with grpc.insecure_channel(f"unix:{path}") as channel:
            stub = workload_pb2_grpc.WorkloadServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Bind(pb.BindRequest(workload=workload), timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (caught.value.details() or "").startswith(f"{field}: ")

    assert asked(folder, ask) == []


def test_where_nobody_listens_is_one_sentence(folder: Path) -> None:
    with (
        WorkloadClient(folder / "workload.sock") as client,
        pytest.raises(AgentUnreachable, match="no agent answers at"),
    ):
        client.bindings()


def test_a_folder_where_others_may_write_is_no_place(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write there"):
        asked(folder, lambda _: None)
    with pytest.raises(ConfigError, match="too long for a socket"):
        asked(folder / ("x" * 120), lambda _: None)
    with pytest.raises(ConfigError, match="cannot be used"):
        asked(folder / "none", lambda _: None)


def test_a_group_that_is_not_there_is_a_sentence(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no group 'no-such-group'"):
        asked(folder, lambda _: None, "no-such-group")
    assert not any(folder.iterdir()), "no socket that nobody serves"


def test_a_group_that_gets_no_socket_leaves_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as the unit's filter answers

    monkeypatch.setattr(os, "chown", forbidden)
    monkeypatch.setattr(Path, "chmod", forbidden)
    with pytest.raises(ConfigError, match="cannot be given to"):
        asked(folder, lambda _: None, grp.getgrgid(os.getegid()).gr_name)
    assert not any(folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_in_the_way_is_named_and_stays(folder: Path, kind: str) -> None:
    path = folder / "workload.sock"
    if kind == "file":
        path.write_text("somebody's")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(ConfigError, match=f"{path}: something else is where the socket"):
        asked(folder, lambda _: None)
    assert path.is_file() or path.is_dir() or path.is_symlink()


def test_a_dead_socket_is_no_obstacle(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "workload.sock"))

    def ask(path: Path) -> None:
        with WorkloadClient(path) as client:
            assert client.bindings() == []

    asked(folder, ask)


def test_values_of_malformed_requests_go_nowhere(folder: Path) -> None:
    def ask(path: Path) -> None:
        with WorkloadClient(path) as client, pytest.raises(InvalidRequest):
            client._call(client._workloads.Bind, pb.BindRequest())

    assert asked(folder, ask) == []
