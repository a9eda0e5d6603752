"""Servers of LLM instances, simulated from the shipped request traces and measured phase power.

An instance is eight A100s in tensor parallel, which work in step: a chip, and its
host of eight, draw the same share of their rating. Each takes a random part of a
trace's requests, from a moment of its own in the recorded hour, and works prompts
off one by one (Splitwise's measured prompt time and peak power by prompt size) while
tokens of answers are decoded (45 ms each, 0.43 of TDP, whatever the batch); else it
idles at 0.21. A trace that has ended begins anew, with other requests from another
moment.

How large a part: the one at which chip, rack of 8 and row of 40 draw peaks in a
minute as the reference measured them (nameplate over peak 1.21, 1.66 and 1.84 for
conversation, 1.68 and 1.96 at rack and row for code). The predictor has no say in it.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import numpy as np

from chipwatt.core.tables import Array

HOUR_S = 3_600
CHIPS = 8
"""Of a server, all in step."""
SHARES = {"conv": 1 / 6, "code": 1 / 3.15}
_STRETCHES = 12
_TOKEN_S = 0.045
_DECODE, _IDLE = 0.43, 0.21


class DataMissing(Exception):
    """The shipped data is not here."""


def data_folder() -> Path:
    """Return the folder of the shipped data; raises DataMissing."""
    base = Path(os.environ.get("CHIPWATT_DATA", Path(__file__).parents[4] / "shared" / "data"))
    folder = base / "placement"
    if not folder.is_dir():
        raise DataMissing(f"no data for placement in {folder}: set CHIPWATT_DATA")
    return folder


class Part(Enum):
    """Which of the twelve stretches of a trace: what was set on some is judged on the others."""

    ALL = "all"
    EVEN = "even"
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Requests:
    """Arrival in seconds, tokens in, tokens out."""

    span_s: float
    """Of the recording: an hour, less a minute or two."""
    at_s: Array
    prompt: Array
    answer: Array


@cache
def requests(service: str, part: Part = Part.ALL) -> Requests:
    """Read one service's trace, ``conv`` or ``code``; a part's stretches are joined."""
    at, prompt, answer = [], [], []
    with (data_folder() / f"azure_llm_2023_{service}.csv").open() as file:
        for row in csv.DictReader(file):
            hours, minutes, seconds = row["TIMESTAMP"].split(" ")[1].split(":")
            at.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
            prompt.append(int(row["ContextTokens"]))
            answer.append(int(row["GeneratedTokens"]))
    whole = Requests(at[-1] - at[0], np.array(at) - at[0], np.array(prompt), np.array(answer))
    return whole if part is Part.ALL else _stretches(whole, part)


def _stretches(whole: Requests, part: Part) -> Requests:
    length_s = whole.span_s / _STRETCHES
    number = np.minimum(whole.at_s // length_s, _STRETCHES - 1)
    kept = number % 2 == (part is Part.ODD)
    # Each stretch moves up to the end of the one before it that is kept.
    moved = whole.at_s - (number - number // 2) * length_s
    return Requests(whole.span_s / 2, moved[kept], whole.prompt[kept], whole.answer[kept])


@cache
def _prompts() -> tuple[Array, Array, Array]:
    """Return prompt sizes, their time in seconds and their peak power as a share of TDP."""
    found: dict[int, list[tuple[float, float]]] = {}
    with (data_folder() / "splitwise_perf_model.csv").open() as file:
        for row in csv.DictReader(file):
            setup = (row["hardware"], row["model"], row["batch_size"], row["tensor_parallel"])
            power = float(row["peak_power"])
            if setup == ("a100-80gb", "llama2-70b", "1", "8") and power > 0:  # 0: not measured
                found.setdefault(int(row["prompt_size"]), []).append(
                    (float(row["prompt_time"]) / 1000, power)
                )
    sizes = sorted(found)
    means = np.array([np.mean(found[size], axis=0) for size in sizes])
    return np.array(sizes), means[:, 0], means[:, 1]


def servers(service: str, count: int, seed: int, hours: int = 1, part: Part = Part.ALL) -> Array:
    """Return power as a share of the rating: a row a server, a column a second."""
    rng = np.random.default_rng(seed)
    trace = requests(service, part)
    return np.stack([_server(trace, SHARES[service], rng, hours) for _ in range(count)])


def _server(trace: Requests, share: float, rng: np.random.Generator, hours: int) -> Array:
    at_s, prompt, answer = [], [], []
    for start_s in np.arange(0.0, hours * HOUR_S, trace.span_s):
        kept = rng.random(len(trace.at_s)) < share
        moved = (trace.at_s[kept] + rng.uniform(0, trace.span_s)) % trace.span_s
        at_s.append(moved + start_s)
        prompt.append(trace.prompt[kept])
        answer.append(trace.answer[kept])
    arrival = np.concatenate(at_s)
    order = np.argsort(arrival)
    arrival = arrival[order]
    sizes, times_s, powers = _prompts()
    tokens_in = np.concatenate(prompt)[order]
    takes_s = np.interp(tokens_in, sizes, times_s)
    draws = np.interp(tokens_in, sizes, powers)
    worked_s = np.cumsum(takes_s)
    done_s = worked_s + np.maximum.accumulate(arrival - (worked_s - takes_s))
    answered_s = np.maximum.accumulate(done_s + np.concatenate(answer)[order] * _TOKEN_S)
    idle_before = np.concatenate([[True], done_s[1:] > answered_s[:-1]])
    last = np.concatenate([np.flatnonzero(idle_before)[1:] - 1, [len(done_s) - 1]])
    ones, seconds = np.ones(len(done_s)), hours * HOUR_S
    prefill = _per_second(done_s - takes_s, done_s, ones, seconds)
    busy = _per_second(done_s[idle_before], answered_s[last], ones[: len(last)], seconds)
    decode = np.clip(np.minimum(busy, 1.0 - prefill), 0.0, None)
    idle = np.clip(1.0 - prefill - decode, 0.0, None)
    drawn = _per_second(done_s - takes_s, done_s, draws, seconds)
    power: Array = (drawn + decode * _DECODE + idle * _IDLE).astype(np.float32)
    return power


def _per_second(start_s: Array, end_s: Array, height: Array, seconds: int) -> Array:
    """Return the mean per second of a sum of boxes, by integrating its steps."""
    edges = np.concatenate([start_s, end_s])
    order = np.argsort(edges, kind="stable")
    edges = edges[order]
    level = np.cumsum(np.concatenate([height, -height])[order])
    area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(edges))])
    mean: Array = np.diff(np.interp(np.arange(seconds + 1.0), edges, area))
    return mean
