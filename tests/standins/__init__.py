"""Stand-ins: servers on 127.0.0.1 that keep to the contracts of outside systems, faults included."""
