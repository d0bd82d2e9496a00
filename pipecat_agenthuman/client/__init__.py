"""The Agent Human service, for any program: REST, WebSocket, the life of a session. No Pipecat."""
