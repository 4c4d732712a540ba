"""What watches the work: alerts and their delivery."""
