"""Personal data: where it is, what is known of a person, erasing it, and how long it is kept."""
