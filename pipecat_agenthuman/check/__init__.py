"""``pipecat-agenthuman check``: why does the avatar not appear?"""
