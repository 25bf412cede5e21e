"""Features of frozen models, kept by what made them (`store.identity_of`)."""
