"""By how much things may be off, in seconds, and why."""

READING_SECS = 0.012
"""The tones are read in steps of 5 ms, and a clock of the avatar's may be off by as much."""

HIDDEN_SECS = 0.005
"""Of a word before a pause, too little for the tones to be read, but not for the service."""

TAIL_SECS = 0.06
"""From an interruption to silence, beside the network: a chunk of the transport is 40 ms."""

LEAD_SECS = 0.2
"""What the transport is given at once of speech that it is to say."""

OVERLAP_SECS = 0.045
"""Two voices at a time for less than this is the end of a chunk."""

TEXT_SECS = 0.1
BOT_SECS = 0.1
LATE_SECS = 0.3
STOP_SECS = 0.25
NO_STOP_SECS = 3.0
"""Silence after which Pipecat takes an utterance without an end for over."""

HELD_SECS = 0.12
"""What a resampler holds of an utterance until its end, at 8 kHz (92 ms), and a little more."""

CRUMB_SECS = 0.12
"""Of a sound that does not fill the transport's chunk and resampler: it waits for more there."""

CRUMB_AT_8_KHZ_SECS = 0.24
"""The same where the resampler goes from 8 kHz, or to it."""

PASS_SECS = 0.005
LOSS_SECS = 0.06
"""What is lost, or heard twice, where another mouth takes over, beside the network."""

ANSWER_SECS = 6.0
"""How long nobody knows what a server that fell silent has taken: 5 s for an answer, and a bit."""

REPEATED_SECS = 2.0
"""How long the answer to speech that was interrupted may come once more."""

END_SECS = 17.0
"""From an ``EndFrame``, or from the last sound, to the end of the pipeline: draining, closing."""
