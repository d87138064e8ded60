"""Files that start a cluster for one study: pure functions from a study and machines to text."""
