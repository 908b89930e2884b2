"""A live run: devices, the session on them, recording and undo."""
