"""What was measured while the demo ran, and whether all of it was as it should be. Pure.

Times are seconds on one monotonic clock, audio is 16-bit mono PCM at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from pipecat_agenthuman.demo.script import ScriptLine
from pipecat_agenthuman.sandbox.sound import Heard
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE


@dataclass
class Take:
    """One line of the script, as it was spoken. What has not happened is None.

    Attributes:
        line: The line.
        synthesised: All audio that the TTS service made of it, converted for the wire.
        is_synthesised: Whether that is complete.
        first_audio_at: When the service got the first of it.
        first_sent_at: When the first of it had arrived at the sandbox.
        messages: How many confirmations came.
        confirmed_samples: How much audio they confirmed.
        started_at: When the service said that the bot started to speak.
        stopped_at: When it said that the bot stopped.
        interrupted_at: When the pipeline was interrupted.
        interrupt_sent_at: When that had arrived at the sandbox.
        cut_at: When the sandbox had silenced its avatar.
        interrupt_confirmed_at: When that was confirmed.
        words: What was passed on as heard.
        heard_samples: How much of it the room heard, by the sandbox's own account.
    """

    line: ScriptLine
    synthesised: bytearray = field(default_factory=bytearray, repr=False)
    is_synthesised: bool = False
    first_audio_at: float | None = None
    first_sent_at: float | None = None
    messages: int = 0
    confirmed_samples: int = 0
    started_at: float | None = None
    stopped_at: float | None = None
    interrupted_at: float | None = None
    interrupt_sent_at: float | None = None
    cut_at: float | None = None
    interrupt_confirmed_at: float | None = None
    words: list[str] = field(default_factory=list[str])
    heard_samples: int = 0

    @property
    def synthesised_samples(self) -> int:
        """Number of samples at 16 kHz that the TTS service made."""
        return len(self.synthesised) // BYTES_PER_SAMPLE

    @property
    def is_confirmed(self) -> bool:
        """Whether the sandbox has all of its audio."""
        return self.is_synthesised and self.confirmed_samples >= self.synthesised_samples


@dataclass(frozen=True)
class Performance:
    """The whole demo, when it is over.

    Attributes:
        takes: What was said, in order.
        heard: What a listener in the room heard.
        context: What the assistant said according to Pipecat's context, in order.
        errors: What was reported on the way.
        live_sessions: Sessions that have not ended.
    """

    takes: Sequence[Take]
    heard: Heard
    context: Sequence[str]
    errors: Sequence[str]
    live_sessions: int

    @property
    def spanned_secs(self) -> float:
        """Seconds from the first sound to the last, silences included."""
        segments = self.heard.segments
        return segments[-1].ends_at - segments[0].starts_at if segments else 0.0


@dataclass(frozen=True)
class Finding:
    """One thing that was verified.

    Attributes:
        is_good: Whether it holds.
        text: What holds, or what is wrong.
    """

    is_good: bool
    text: str


def verify(performance: Performance) -> list[Finding]:
    """Verify that the avatar said what it should, and nothing else.

    Args:
        performance: What was measured.

    Returns:
        What was found, in the order in which to tell it.
    """
    findings = [Finding(False, error) for error in performance.errors]
    if not findings:  # what broke off has no more to say than why
        findings += [*_verify_sound(performance), _verify_context(performance)]
    if performance.live_sessions:
        findings.append(Finding(False, f"{performance.live_sessions} session(s) never ended."))
    elif not performance.errors:
        findings.append(Finding(True, "The session was ended, and there was no error."))
    return findings


def _verify_sound(performance: Performance) -> Iterator[Finding]:
    pcm, position = performance.heard.pcm, 0
    whole = 0
    for take in performance.takes:
        part = pcm[position : position + take.heard_samples * BYTES_PER_SAMPLE]
        position += len(part)
        shown = _shortened(take.line.text)
        if not take.line.interrupted:
            whole += 1
            if part != bytes(take.synthesised):
                yield Finding(False, f"What was heard is not what was synthesised: {shown}")
                return
        elif len(part) == len(take.synthesised) or not take.synthesised.startswith(part):
            yield Finding(False, f"The interrupted text was not cut: {shown}")
            return
    if position != len(pcm):
        yield Finding(False, f"{_secs(len(pcm) - position):.3f} s were heard that nobody said.")
        return
    yield Finding(True, f"Every sample of {_texts(whole)} said to the end was heard.")
    for take in performance.takes:
        if take.line.interrupted:
            yield _verify_silence(performance, take)


def _verify_silence(performance: Performance, cut: Take) -> Finding:
    """Verify that an interrupted take is not heard any more once the sandbox knew."""
    first = sum(take.heard_samples for take in _before(performance.takes, cut))
    ended_at = _sounded_at(performance.heard, first + cut.heard_samples - 1)
    if cut.cut_at is None or ended_at is None:
        return Finding(False, "The interrupted text was not heard, or not interrupted.")
    late_secs = ended_at - cut.cut_at
    if late_secs > 0:
        return Finding(False, f"Heard {late_secs:.3f} s of the interrupted text too much.")
    return Finding(True, "Nothing of the interrupted text was heard after the interrupt.")


def _verify_context(performance: Performance) -> Finding:
    held = [word for message in performance.context for word in message.split()]
    heard = [word for take in performance.takes for word in take.words]
    said = [word for take in performance.takes for word in _words_to_expect(take)]
    joined = " ".join(heard).split()
    if joined != said:
        return Finding(False, f"Passed on as heard: {' '.join(joined)!r}")
    if held != said:
        return Finding(False, f"The context is not what was heard: {' '.join(held)!r}")
    return Finding(True, "The context holds the words that were heard, and no others.")


def _words_to_expect(take: Take) -> list[str]:
    """All words of a text said to the end; of one that was cut, as many as were passed on."""
    words = take.line.text.split()
    if take.line.interrupted:
        return words[: len(" ".join(take.words).split())]
    return words


@dataclass(frozen=True)
class Measures:
    """The numbers of a performance, in seconds; None if there is nothing to measure.

    Attributes:
        wire_secs: From the service's first audio to its arrival at the sandbox; the median.
        sound_secs: From the same to the first sound in the room; the median.
        interrupt_wire_secs: From the interruption to its arrival at the sandbox.
        interrupt_confirmed_secs: From the interruption to its confirmation.
        synthesised_secs: Speech that the TTS service made.
        heard_secs: Speech that the room heard.
        clock_error_secs: Largest distance between what the service said of the bot's
            speaking, and the first and last sample that sounded.
    """

    wire_secs: float | None
    sound_secs: float | None
    interrupt_wire_secs: float | None
    interrupt_confirmed_secs: float | None
    synthesised_secs: float
    heard_secs: float
    clock_error_secs: float | None


def measure(performance: Performance) -> Measures:
    """Compute the numbers of a performance.

    Args:
        performance: What was measured.

    Returns:
        The numbers.
    """
    takes = performance.takes
    sounds = [_sound_of(performance, take) for take in takes]
    interrupted = next((take for take in takes if take.interrupted_at is not None), None)
    errors = [
        abs(told - real)
        for take, (first_at, last_at) in zip(takes, sounds, strict=True)
        for told, real in ((take.started_at, first_at), (take.stopped_at, last_at))
        if told is not None and real is not None
    ]
    return Measures(
        wire_secs=_median(_after(take.first_sent_at, take.first_audio_at) for take in takes),
        sound_secs=_median(
            _after(first_at, take.first_audio_at)
            for take, (first_at, _) in zip(takes, sounds, strict=True)
        ),
        interrupt_wire_secs=interrupted
        and _after(interrupted.interrupt_sent_at, interrupted.interrupted_at),
        interrupt_confirmed_secs=interrupted
        and _after(interrupted.interrupt_confirmed_at, interrupted.interrupted_at),
        synthesised_secs=sum(take.synthesised_samples for take in takes) / WIRE_SAMPLE_RATE,
        heard_secs=performance.heard.duration_secs,
        clock_error_secs=max(errors, default=None),
    )


def _sound_of(performance: Performance, take: Take) -> tuple[float | None, float | None]:
    """When a take's first sample began to sound, and when its last one had."""
    if not take.heard_samples:
        return None, None
    first = sum(earlier.heard_samples for earlier in _before(performance.takes, take))
    begun_at = _sounded_at(performance.heard, first)
    last_at = _sounded_at(performance.heard, first + take.heard_samples - 1)
    return begun_at, None if last_at is None else last_at + 1 / WIRE_SAMPLE_RATE


def _before(takes: Sequence[Take], take: Take) -> Iterator[Take]:
    for earlier in takes:
        if earlier is take:
            return
        yield earlier


def _sounded_at(heard: Heard, sample: int) -> float | None:
    for segment in heard.segments:
        if segment.first_sample <= sample < segment.first_sample + segment.samples:
            return segment.starts_at + (sample - segment.first_sample) / WIRE_SAMPLE_RATE
    return None


def _after(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


def _median(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _secs(size: int) -> float:
    return size / BYTES_PER_SAMPLE / WIRE_SAMPLE_RATE


def _texts(number: int) -> str:
    return "the text" if number == 1 else f"the {number} texts"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
