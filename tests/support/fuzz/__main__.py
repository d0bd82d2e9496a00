"""Plays random calls by the thousand, or one that is given.

python -m tests.support.fuzz -n 20000
python -m tests.support.fuzz --profile faults --seed 17
python -m tests.support.fuzz --script call.txt
python -m tests.support.fuzz --sweep
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.fuzz.call import play
from tests.support.fuzz.generator import PROFILES, make
from tests.support.fuzz.oracle import Finding, examine, judge
from tests.support.fuzz.script import (
    End,
    Say,
    Script,
    parse,
)
from tests.support.fuzz.shrinking import shrink
from tests.support.fuzz.sweep import CALLS, EVENTS, sweep


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="calls of each profile")
    parser.add_argument("--profile", choices=list(PROFILES), help="only this one")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seed", type=int, help="one call, with everything that came by")
    parser.add_argument("--script", type=Path, help="one call, as it was printed")
    parser.add_argument("--shrink", action="store_true", help="make failing scripts small")
    parser.add_argument("--plain", action="store_true", help="one call, played by the transport")
    parser.add_argument("-j", type=int, default=2, help="processes")
    parser.add_argument("--show", type=int, default=5, help="examples of each rule")
    parser.add_argument("--rule", help="shrink and show only what breaks this rule")
    parser.add_argument("--sweep", action="store_true", help="every event at every moment")
    options = parser.parse_args()
    if options.script:
        return _show(parse(options.script.read_text()), options)
    if options.seed is not None:
        return _show(make(options.profile or "mixed", options.seed), options)
    return _play_many(options)


def _show(script: Script, options: argparse.Namespace) -> int:
    found = judge(play(script, plain=True)) if options.plain else examine(script)
    if options.shrink and found:
        rule = options.rule or found[0].rule
        script = shrink(script, rule)
    call = play(script, plain=options.plain)
    print(script)
    _timeline(call)
    found = judge(call) if options.plain else examine(script)
    print("\n".join(map(str, found)) or "nothing found")
    return bool(found)


def _timeline(call) -> None:
    rows = [(at, f"{i:3} {type(step).__name__}") for i, (step, at) in enumerate(call.fed.items())]
    for where, seen in (("gate", call.gate), ("behind", call.behind)):
        for one in seen:
            name = type(one.frame).__name__
            if name in ("MetricsFrame", "BotSpeakingFrame", "HeartbeatFrame"):
                continue
            if name == "TTSAudioRawFrame" and where == "behind":
                continue
            text = getattr(one.frame, "text", "")
            rows.append((one.at, f"    {where:7} {'up' if one.up else '  '} {name} {text}"))
    for mouth, sighted in (("AVATAR", call.avatar), ("TRANSPORT", call.transport)):
        last = None
        for one in sighted:
            if one.cell.word != last:
                rows.append((one.at, f"        {mouth} w{one.cell.word}.{one.cell.index}"))
            last = one.cell.word
    for entry in call.sandbox_log:
        if entry["what"] not in ("ping", "pong"):
            at = call.sandbox_started_at + entry["at_secs"]
            shown = {
                k: v
                for k, v in entry.items()
                if k not in ("number", "at_secs", "wall", "session_id")
            }
            rows.append((at, f"            sandbox {shown}"))
    if call.ended_at:
        rows.append((call.ended_at, "THE PIPELINE ENDED"))
    previous = ("", 0)
    for at, row in sorted(rows, key=lambda one: one[0]):
        if row == previous[0]:
            continue
        print(f"{at - call.begun_at:8.3f} {row}")
        previous = (row, 0)
    print("\n".join(call.log))
    print(call.context, call.stats)


def _moment(script: Script) -> str:
    """When the event of a sweep happens, and in which call."""
    (event,) = [step for step in script.steps if not isinstance(step, Say | End)] or [
        script.steps[-1]
    ]
    texts = next((step.texts for step in script.steps if isinstance(step, Say)), "nothing")
    return f"{event.at:.2f} of {texts}"


def check(job: tuple[str, object]) -> tuple[str, object, list[Finding]]:
    profile, seed = job
    script = seed if isinstance(seed, Script) else make(profile, int(str(seed)))
    try:
        return profile, seed, examine(script)
    except Exception as error:  # noqa: BLE001 - a defect of the oracle; it is to be told
        return profile, seed, [Finding("ORACLE", type(error).__name__, repr(error))]


def _play_many(options: argparse.Namespace) -> int:
    profiles = [options.profile] if options.profile else list(PROFILES)
    jobs: list[tuple[str, object]] = [
        (profile, seed)
        for profile in profiles
        for seed in range(options.first, options.first + options.n)
    ]
    if options.sweep:
        jobs = [
            (event, script) for event in EVENTS for call in CALLS for script in sweep(call, event)
        ]
    begun_at = time.perf_counter()
    by_rule: dict[str, list[tuple[str, int, Finding]]] = defaultdict(list)
    failing: Counter[str] = Counter()
    with ProcessPoolExecutor(options.j) as pool:
        for profile, seed, found in pool.map(check, jobs, chunksize=8):
            failing[profile] += bool(found)
            for rule in {finding.rule for finding in found}:
                first = next(finding for finding in found if finding.rule == rule)
                by_rule[rule].append((profile, seed, first))
    secs = time.perf_counter() - begun_at
    for rule, cases in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        spread = Counter(profile for profile, _, _ in cases)
        print(f"{len(cases):5} {rule}   {dict(spread)}")
        for profile, seed, finding in cases[: options.show]:
            if isinstance(seed, Script):
                seed = f"at {_moment(seed)}"
            print(f"        {profile} {seed}: {finding}"[:200])
    speed = f"{len(jobs)} calls in {secs:.1f} s, {len(jobs) / secs:.1f} a second"
    print(f"{speed}; failing: {dict(+failing)}")
    return bool(by_rule)


if __name__ == "__main__":
    sys.exit(main())
