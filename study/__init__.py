"""What is run, where and in which order: a YAML study becomes stored trials."""
