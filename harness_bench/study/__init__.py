"""Many models, tasks and seeds as one job."""
