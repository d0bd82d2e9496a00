"""The demo: speech made on this machine, so that a bot can talk without any key.

Needs the extra ``demo``: ``pip install 'pipecat-agenthuman[demo]'``.
"""
