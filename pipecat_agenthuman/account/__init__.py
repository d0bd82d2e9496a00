"""The Agent Human account on the command line: avatars, what may still be used, sessions."""
