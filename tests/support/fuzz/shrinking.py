"""Makes a failing script small: drops what is not needed for it to fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from tests.support.fuzz.oracle import examine
from tests.support.fuzz.script import End, Say, Script, Setup, Sound

_MOST_TRIALS = 400


def shrink(script: Script, rule: str) -> Script:
    """Make a script small that still breaks a rule.

    Args:
        script: It breaks the rule.
        rule: Name of the rule.
    """
    assert any(finding.rule == rule for finding in examine(script)), f"it does not break {rule!r}"
    trials = 0
    shrunk = True
    while shrunk:
        shrunk = False
        for smaller in _smaller(script):
            trials += 1
            if trials > _MOST_TRIALS:
                return script
            if any(finding.rule == rule for finding in examine(smaller)):
                script, shrunk = smaller, True
                break
    return script


def _smaller(script: Script) -> Iterator[Script]:
    steps = script.steps
    for position, step in enumerate(steps):
        if isinstance(step, End):
            continue  # Without it a call never ends, and that is another fault.
        yield replace(script, steps=steps[:position] + steps[position + 1 :])
    for field in fields(Setup):
        if field.name == "announced" and script.setup.join_secs:
            continue  # An avatar that is late without a word is another fault.
        if getattr(script.setup, field.name) != field.default:
            setup = replace(script.setup, **{field.name: field.default})
            yield replace(script, setup=setup)
    if any(getattr(step, "rate", 16_000) != 16_000 for step in steps):
        # All at once: a transport takes one rate in a call.
        same_rate = (replace(s, rate=16_000) if isinstance(s, Say | Sound) else s for s in steps)
        yield replace(script, steps=tuple(same_rate))
    for position, step in enumerate(steps):
        if not isinstance(step, Say):
            continue
        simpler = [replace(step, words=step.words[:-1])] if len(step.words) > 1 else []
        if len(step.words) > 3:
            simpler.insert(0, replace(step, words=step.words[: len(step.words) // 2]))
        for name, value in (
            ("channels", 1), ("frame_ms", 40), ("delivery", "burst"),
            ("texts", "none"), ("context", None), ("started", True), ("stopped", True),
            ("turn", False), ("kept", False), ("deaf", False), ("other", None), ("cut_ms", None),
        ):  # fmt: skip
            if getattr(step, name) != value:
                simpler.append(replace(step, **{name: value}))
        for one in simpler:
            yield replace(script, steps=(*steps[:position], one, *steps[position + 1 :]))
