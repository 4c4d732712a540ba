"""Cases: how one piece of work is claimed, moved, set aside, released and counted."""
