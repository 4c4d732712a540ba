"""Stock requests: what enters, leaves or changes its place is checked, decided on, posted, mirrored and closed."""
