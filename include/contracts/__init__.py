"""What each workflow declares about itself: one YAML file per workflow, and the model that reads it."""
