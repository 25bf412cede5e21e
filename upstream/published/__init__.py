"""Published models under s3prl's own names, exact where -k gives a local copy."""
