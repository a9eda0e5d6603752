from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import SourceUnavailable
from chipwatt.agent.sources.rapl_perf import RaplPerfConfig, RaplPerfSource
from chipwatt.core.model import AbsentReason, Domain
from fakes.event_source import make_event_source, place_cpu


def opened(sysfs: Path) -> RaplPerfSource:
    source = RaplPerfSource(RaplPerfConfig(sysfs=sysfs))
    try:
        source.open()
    except SourceUnavailable as absent:
        if absent.reason is AbsentReason.PERMISSION_DENIED:
            pytest.skip("system-wide perf events are not allowed here")
        raise
    return source


def test_reads_a_live_kernel_counter_in_microjoules(tmp_path: Path) -> None:
    source = opened(make_event_source(tmp_path))
    try:
        first = source.poll()
        time.sleep(0.2)
        second = source.poll()
    finally:
        source.close()
    assert [reading.sensor for reading in first] == [0, 1]
    elapsed_ns = second[0].mono_ns - first[0].mono_ns
    truth_uj = elapsed_ns * 1_000_000 / 2**32
    assert second[0].value - first[0].value == pytest.approx(truth_uj, rel=0.02, abs=2)


def test_packages_keep_their_numbers(tmp_path: Path) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs")
    make_event_source(tmp_path, cpus="0,1")
    place_cpu(tmp_path, 0, 1)
    place_cpu(tmp_path, 1, 0)
    source = RaplPerfSource(RaplPerfConfig(sysfs=tmp_path))
    try:
        sensors = source.open()
    except SourceUnavailable:
        pytest.skip("system-wide perf events are not allowed here")
    finally:
        source.close()
    assert [str(sensor.device) for sensor in sensors] == ["cpu/1", "cpu/1", "cpu/0", "cpu/0"]
    assert {sensor.domain for sensor in sensors} == {Domain.PACKAGE, Domain.DRAM}
    assert all(sensor.root for sensor in sensors)


def test_dies_of_one_package_are_told_apart(tmp_path: Path) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs")
    make_event_source(tmp_path, events=("energy-pkg",), cpus="0-1")
    place_cpu(tmp_path, 0, 0)
    place_cpu(tmp_path, 1, 0)
    source = opened(tmp_path)
    source.close()
    sensors = RaplPerfSource(RaplPerfConfig(sysfs=tmp_path))
    try:
        assert [s.device.ordinal for s in sensors.open()] == [0, 1]
    finally:
        sensors.close()


def test_psys_counts_only_where_nothing_inside_reports(tmp_path: Path) -> None:
    source = RaplPerfSource(
        RaplPerfConfig(sysfs=make_event_source(tmp_path, ("energy-pkg", "energy-psys")))
    )
    lonely = RaplPerfSource(
        RaplPerfConfig(sysfs=make_event_source(tmp_path / "lonely", ("energy-psys",)))
    )
    try:
        assert [s.root for s in source.open()] == [True, False]
        assert [s.root for s in lonely.open()] == [True]
    except SourceUnavailable:
        pytest.skip("system-wide perf events are not allowed here")
    finally:
        source.close()
        lonely.close()


def test_absent_pmu_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as absent:
        RaplPerfSource(RaplPerfConfig(sysfs=tmp_path)).open()
    assert absent.value.reason is AbsentReason.NOT_PRESENT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give root away")
def test_without_privilege_the_fix_is_named() -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from chipwatt.agent.sensing.contract import SourceUnavailable\n"
        "from chipwatt.agent.sources.rapl_perf import RaplPerfConfig, RaplPerfSource\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    RaplPerfSource(RaplPerfConfig(sysfs=Path(sys.argv[1]))).open()\n"
        "except SourceUnavailable as absent:\n"
        "    print(absent.reason.name, absent.detail)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        make_event_source(Path(folder))
        command = [sys.executable, "-c", program, folder]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    if not result.stdout:
        pytest.skip("this kernel lets everybody count system-wide")
    assert result.stdout.startswith("PERMISSION_DENIED")
    assert "CAP_PERFMON" in result.stdout


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("type", "garbage"),
        ("type", ""),
        ("type", "99999999999999999999"),
        ("cpumask", None),
        ("cpumask", ""),
        ("cpumask", "0-99999999999"),
        ("cpumask", "3-1"),
        ("events/energy-pkg", "umask=1"),
        ("events/energy-pkg", "event=0x1ffffffffffffffff"),
        ("events/energy-pkg.scale", "nan"),
        ("events/energy-pkg.scale", "1e-999999999"),
        ("events/energy-pkg.scale", "-1"),
        ("events/energy-pkg.scale", None),
    ],
)
def test_a_malformed_pmu_is_told_with_its_file_and_what_is_right(
    tmp_path: Path, file: str, text: str | None
) -> None:
    make_event_source(tmp_path)
    path = tmp_path / "bus/event_source/devices/power" / file
    path.unlink()
    if text is not None:
        path.write_text(text + "\n")
    with pytest.raises(SourceUnavailable) as absent:
        RaplPerfSource(RaplPerfConfig(sysfs=tmp_path)).open()
    assert absent.value.reason is AbsentReason.LIBRARY_FAILED
    assert absent.value.detail.startswith(f"{path} ")
    assert "where the kernel writes" in absent.value.detail


@pytest.mark.parametrize("package", [-1, 70_000])
def test_package_numbers_that_cannot_be_give_way_to_positions(tmp_path: Path, package: int) -> None:
    make_event_source(tmp_path)
    place_cpu(tmp_path, 0, package)
    source = RaplPerfSource(RaplPerfConfig(sysfs=tmp_path))
    try:
        sensors = source.open()
    except SourceUnavailable:
        pytest.skip("system-wide perf events are not allowed here")
    finally:
        source.close()
    assert {str(sensor.device) for sensor in sensors} == {"cpu/0"}
