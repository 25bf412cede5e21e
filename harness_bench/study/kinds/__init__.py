"""What jobs do: one module for each kind, with `run(place) -> JSON-ready outcome`."""
