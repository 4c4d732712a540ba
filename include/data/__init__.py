"""The data layer: database, migrations, frames, normalisation, matching, validation."""
