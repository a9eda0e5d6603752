"""GetProfile and ListProfiles: class profiles as clients see them."""

from __future__ import annotations

from chipwatt.collector.answering import invalid, not_found
from chipwatt.collector.placement.demand import parse_class_id, parse_workload_id
from chipwatt.collector.placement.phases import ClassProfile
from chipwatt.collector.placement.profiles import MAX_HW_CLASS, MIN_WINDOWS, Profiles
from chipwatt.v1 import placement_pb2 as pb


def get_profile(profiles: Profiles, request: pb.GetProfileRequest) -> pb.PowerProfile:
    """Return one class, of its phases the one asked for. Raises Refused."""
    class_id, asked = _asked_class(profiles, request)
    _check_hw_class(request.hw_class)
    _check_phase(request.phase)
    profile = profiles.profile(class_id, request.hw_class)
    if profile is None:
        on = f" on {request.hw_class!r}" if request.hw_class else ""
        raise not_found(f"{asked}: class {class_id.hex()} has fewer than {MIN_WINDOWS} windows{on}")
    message = profile_message(profile)
    if not _narrowed(message, request.phase):
        name = pb.Phase.Name(request.phase).removeprefix("PHASE_").lower()
        raise not_found(f"phase: class {class_id.hex()} was never seen in phase {name}")
    return message


def list_profiles(profiles: Profiles, request: pb.ListProfilesRequest) -> list[pb.PowerProfile]:
    """Return every class, on the hardware asked for or on each; by id. Raises Refused.

    Of a phase those that were seen in it.
    """
    _check_hw_class(request.hw_class)
    _check_phase(request.phase)
    messages = (profile_message(profile) for profile in profiles.all(request.hw_class or None))
    return [message for message in messages if _narrowed(message, request.phase)]


def profile_message(profile: ClassProfile) -> pb.PowerProfile:
    """Lay a profile out for an answer."""
    return pb.PowerProfile(
        class_id=profile.class_id.hex(),
        hw_class=profile.hw_class,
        windows=profile.windows,
        last_seen_unix_ns=profile.last_seen_unix_ns,
        mean_mw=profile.mean_mw,
        p50_mw=profile.p50_mw,
        p99_mw=profile.p99_mw,
        peak_mw=profile.peak_mw,
        phases=[
            pb.PhaseLevel(
                phase=pb.Phase.ValueType(level.phase),
                level_mw=level.level_mw,
                share_ppm=level.share_ppm,
            )
            for level in profile.phases
        ],
        swing_class=profile.swing_class,
        duty_ppm=profile.duty_ppm,
        coincidence_ppm=profile.coincidence_ppm,
        occupancy_ppm=profile.occupancy_ppm,
    )


def _asked_class(profiles: Profiles, request: pb.GetProfileRequest) -> tuple[bytes, str]:
    """Return the class that a request means, and the field that says so."""
    workload_id = request.workload_id
    if not workload_id:
        return parse_class_id(request.class_id, "class_id"), "class_id"
    if request.class_id:
        raise invalid("workload_id: give it or class_id, not both")
    class_id = profiles.class_of(parse_workload_id(workload_id, "workload_id"))
    if class_id is None:
        raise not_found(
            f"workload_id: no minute of workload {workload_id} under a class has come yet; bind it "
            "with a class_id, or ask by class_id"
        )
    return class_id, "workload_id"


def _narrowed(message: pb.PowerProfile, phase: pb.Phase.ValueType) -> bool:
    """Leave a profile one phase, or with none asked for all; return whether it has any left."""
    if not phase:
        return True
    kept = [level for level in message.phases if level.phase == phase]
    del message.phases[:]
    message.phases.extend(kept)
    return bool(kept)


def _check_phase(phase: int) -> None:
    if phase not in pb.Phase.values():
        raise invalid(f"phase: {phase} is no phase")


def _check_hw_class(hw_class: str) -> None:
    if len(hw_class) > MAX_HW_CLASS:
        raise invalid(f"hw_class: longer than {MAX_HW_CLASS} characters")
