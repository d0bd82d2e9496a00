"""Random whole calls in virtual time, and an oracle that listens to them.

``script`` says what happens in a call, and ``generator`` makes random ones; ``tones`` writes
numbered words as sound and reads them again; ``call`` plays a script with the real pipeline
against the sandbox, between the ``parts`` that speak, watch and play; ``oracle`` judges what was
heard and seen; ``shrinking`` makes a failing script small.

``python -m tests.support.fuzz --help`` plays calls by the thousand.
"""
