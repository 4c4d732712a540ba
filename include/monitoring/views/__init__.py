"""What the ops pages show, and what people do there to cases; it knows nothing of HTML."""
