"""What lets an avatar into a room: tokens, read, judged and made."""
