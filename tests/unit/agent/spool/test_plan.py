from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.spool.plan import LADDER_NS, Piece, next_step

MIB = 1 << 20
pieces = st.lists(
    st.builds(
        Piece,
        st.integers(1, 5 * MIB),
        st.sampled_from((0, *LADDER_NS)),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=30,
)


@given(pieces, st.integers(16384, 1 << 30))
def test_a_step_takes_free_neighbours_of_one_kind_one_rung_up(
    held: list[Piece], quota: int
) -> None:
    step = next_step(held, quota)
    able = [piece for piece in held if piece.free and piece.resolution_ns != LADDER_NS[-1]]
    if step is None:
        assert not able
        return
    run = held[step.first : step.end]
    assert run
    assert all(piece.free for piece in run)
    assert len({(piece.kin, piece.resolution_ns) for piece in run}) == 1
    rungs = (0, *LADDER_NS, LADDER_NS[-1])
    assert step.resolution_ns == rungs[rungs.index(run[0].resolution_ns) + 1]
    size = sum(piece.bytes for piece in run)
    assert len(run) == 1 or size <= 4 * MIB
    assert len(run) <= 2 or size <= quota // 8
    if run[0].resolution_ns != LADDER_NS[-1]:
        older = held[: step.first]
        assert not any(p.free and p.resolution_ns == run[0].resolution_ns for p in older)
    else:
        assert len(run) >= 2


@given(pieces, st.integers(16384, 1 << 30))
def test_steps_come_to_an_end(held: list[Piece], quota: int) -> None:
    """Each takes its records up a rung, whether that saves a byte or not."""
    for _ in range(len(held) * (len(LADDER_NS) + 1)):
        step = next_step(held, quota)
        if step is None:
            break
        size = sum(piece.bytes for piece in held[step.first : step.end])
        held[step.first : step.end] = [
            held[step.first]._replace(bytes=size, resolution_ns=step.resolution_ns)
        ]
    assert next_step(held, quota) is None


def test_age_decides_how_coarse_a_record_is() -> None:
    """Records that shrink as windows do: after any time the older is never the finer."""
    quota, held = 64 * MIB, list[Piece]()
    for _ in range(3000):
        held.append(Piece(MIB, 0, None, True))
        while sum(piece.bytes for piece in held) > quota:
            step = next_step(held, quota)
            assert step is not None
            size = sum(piece.bytes for piece in held[step.first : step.end])
            merged = Piece(max(1, size // 6), step.resolution_ns, None, True)
            held[step.first : step.end] = [merged]
        assert all(a.resolution_ns >= b.resolution_ns for a, b in pairwise(held))
    finest = sum(piece.bytes for piece in held if not piece.resolution_ns)
    assert quota // 2 <= finest <= quota
    assert len({piece.resolution_ns for piece in held}) >= 4
