"""What both ends of the WebSocket know: messages, errors, audio. Pure."""
