"""Series of published models that differ in one thing, as the paper draws them."""
