"""The playout clock: what was written, sent, confirmed and heard. Pure: time is an argument."""
