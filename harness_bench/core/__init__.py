"""What every room stands on: configs, files, logs, processes, caches."""
