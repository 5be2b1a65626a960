"""A search for the recipe that meets goals for loss, latency and size."""
